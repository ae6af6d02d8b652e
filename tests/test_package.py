"""The package as a whole: what it imports, what it shows, and the first example."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import funcnn as fn

HEAVY = ("matplotlib", "PIL", "tyro", "jax", "torch", "hypothesis", "pooch", "tqdm", "onnx", "funcnn.onnx")

ROOT = Path(__file__).parent.parent
PAGES = [(ROOT / page).read_text() for page in ("README.md", "docs/engines.md", "docs/experiments.md", "docs/use.md")]
README = PAGES[0]
_, _, OWN_LAYER = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
EXAMPLES = [
    example
    for page in PAGES
    for example in re.findall(r"```python\n((?:(?!```).)*)```\n\n```text\n(.*?)\n```", page, re.DOTALL)
    if example[0] != OWN_LAYER
]


def fresh(code, folder=ROOT):
    """What ``code`` prints in a fresh interpreter, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


@pytest.mark.parametrize(
    ("code", "shown"), EXAMPLES, ids=["ten lines", "engine", "scale", "padding", "two outputs", "elsewhere"]
)
def test_an_example_prints_what_is_shown(code, shown, tmp_path):
    printed = fresh(code, tmp_path).strip()
    numbers = re.compile(r"\d+\.\d+")
    assert numbers.sub("N", printed) == numbers.sub("N", shown.strip())
    found, expected = ([float(number) for number in numbers.findall(text)] for text in (printed, shown))
    assert found == pytest.approx(expected, abs=0.02)  # the last digits depend on the BLAS kernel


def test_the_own_layer_of_the_readme_obeys_the_laws_and_its_fault_is_named():
    fresh(OWN_LAYER)
    wrong = OWN_LAYER.replace("dy * (scale - y", "-dy * (scale - y")
    assert wrong != OWN_LAYER
    command = [sys.executable, "-c", wrong]
    end = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip().splitlines()[-1]
    assert end in README


def test_importing_pulls_in_nothing_heavy():
    loaded = fresh(f"import sys, funcnn; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_what_is_shown_is_public_and_documented():
    shown = {name: getattr(fn, name) for name in dir(fn) if not name.startswith("_")}
    assert shown.keys() >= {"Key", "Layer", "dense", "dense_forward", "adam", "accuracy", "tree", "load_dataset"}
    assert all(thing.__name__.startswith("funcnn") for thing in shown.values() if isinstance(thing, ModuleType))
    assert not [name for name, thing in shown.items() if callable(thing) and not thing.__doc__]


def test_the_first_page_shows_where_to_look():
    for name in ("layers", "losses", "optimizers", "training", "data", "checkpoint", "testing", "keys", "tree", "spec"):
        assert f"\n    {name} " in fn.__doc__


@pytest.mark.parametrize(
    ("module", "missing", "extra"), [("funcnn.testing.strategies", "hypothesis", "test"), ("funcnn.jax", "jax", "jax")]
)
def test_a_missing_extra_is_named(module, missing, extra):
    command = [sys.executable, "-c", f"import sys; sys.modules[{missing!r}] = None; import {module}"]
    end = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip().splitlines()[-1]
    assert end.startswith("ModuleNotFoundError: ")
    assert end.endswith(f"pip install 'funcnn[{extra}]'")
