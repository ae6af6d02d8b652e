"""Every block of code and every output of README, CONTRIBUTING and docs is what the page says."""

import contextlib
import re
import sys

import pytest

from tests.pages import PAGES, ROOT, check_page, corrected

PAGES_BY_NAME = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}


@pytest.mark.parametrize("name", PAGES_BY_NAME)
def test_a_page_is_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wave", raising=False)  # another is in the standard library
    with contextlib.chdir(tmp_path):
        check_page(PAGES_BY_NAME[name], tmp_path)


def block(text, fence="python"):
    return f"```{fence}\n{text}\n```\n"


FAULTS = {
    "another text": block("print('a')") + block("b", "text"),
    "another number": block("print(0.51)") + block("0.48", "text"),
    "another per cent": block("print('51.1%')") + block("48.9%", "text"),
    "another whole number": block("print(3, 0.5)") + block("4 0.5", "text"),
    "a line more": block("print('a\\nb')") + block("a", "text"),
    "no text": block("print('a')"),
    "nothing is raised": block("print('a')") + block("ValueError: a", "text"),
    "another error": block("raise ValueError('b')") + block("ValueError: a", "text"),
    "an error": block("raise ValueError('b')"),
    "no Python": block("a b", 'python title="PyTorch"'),
    "a command fails": block("false", "sh"),
    "a command prints something else": block("echo a", "sh") + block("b", "text"),
    "no such option": block("python -m experiments.mnist --hiden 3", 'sh title="a day"'),
    "no such option of a verb": block("python -m experiments.mnist reproduce a --epochs 3", 'sh title="a day"'),
    "no such file": block('--8<-- "experiments/nothing.py"', 'python title="nothing"'),
    "an unknown language": block("a", "pyhton"),
}


@pytest.mark.parametrize("page", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_a_page_is_caught(page, tmp_path):
    with pytest.raises((AssertionError, ValueError, SyntaxError, FileNotFoundError)):
        check_page(page, tmp_path)


def test_what_may_differ(tmp_path):
    page = (
        block("x = 0.49")
        + block("print(x, '49.1%', ' a-20261130-120000')")
        + block("0.50 48.0% a-20251130-110000", "text")
        + block("print('loss seconds\\n0.5 3.1\\n0.4 9.9\\nlate')")
        + block("loss  seconds\n0.5   0.1\n...\nlate", "text")
        + block("raise ValueError('b')")
        + block("ValueError: b", "text")
        + block("a = 3", 'python title="own.py"')
        + block("pip install nothing && python -c 'import own; print(own.a)'", "sh")
        + block("3", "text")
        + block("import torch.no_such_thing", 'python title="PyTorch"')
    )
    with contextlib.chdir(tmp_path):
        check_page(page, tmp_path)


def test_a_page_can_be_corrected(tmp_path):
    page = block("print('a')") + block("b", "text") + block("print(0.5)") + block("0.51", "text")
    assert corrected(page, tmp_path) == page.replace("b\n", "a\n")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_a_link_of_a_page_beside_the_site_is_not_dead(name):
    links = re.findall(r"\]\((?!http)([^)#]+)(?:#([^)]+))?\)", PAGES_BY_NAME[name])
    assert links
    for path, anchor in links:
        target = ROOT / path
        assert target.exists(), path
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]
