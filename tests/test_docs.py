"""The page of the catalogue is up to date, the tables behind it are complete, and the citation is of this version."""

from pathlib import Path

import pytest

import funcnn as fn
from tests import docs


def test_the_page_is_what_the_code_says():
    page = Path(__file__).parent.parent / "docs" / "catalogue.md"
    assert page.read_text() == docs.page(), "make it again: python -m tests.docs > docs/catalogue.md"


@pytest.mark.parametrize("kind", docs.KINDS, ids=lambda kind: kind.title)
def test_every_part_stands_in_the_tables(kind):
    assert [name for name in docs.parts(kind) if not docs.rows_of(name, kind)] == []


def test_the_citation_is_of_this_version():
    assert f"\nversion: {fn.__version__}\n" in (Path(__file__).parent.parent / "CITATION.cff").read_text()
