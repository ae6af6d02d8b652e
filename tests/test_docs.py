"""The page of the catalogue is up to date, the tables behind it are complete, and the citation is of this version."""

from pathlib import Path

import pytest

import funcnn as fn
from tests import docs, test_check_experiment


def test_the_page_is_what_the_code_says():
    page = Path(__file__).parent.parent / "docs" / "catalogue.md"
    assert page.read_text() == docs.page(), "make it again: python -m tests.docs > docs/catalogue.md"


@pytest.mark.parametrize("kind", docs.KINDS, ids=lambda kind: kind.title)
def test_every_part_stands_in_the_tables(kind):
    assert [name for name in docs.parts(kind) if not docs.rows_of(name, kind)] == []


def test_the_page_of_laws_has_the_faults_of_experiments():
    page = (Path(__file__).parent.parent / "docs" / "laws.md").read_text()
    rows = [f"| {law} | {'; '.join(faults)} |" for law, faults in test_check_experiment.FAULTS.items()]
    assert [row for row in rows if row not in page] == [], "make it again: python -m tests.planted > docs/laws.md"


def test_the_citation_is_of_this_version():
    assert f"\nversion: {fn.__version__}\n" in (Path(__file__).parent.parent / "CITATION.cff").read_text()
