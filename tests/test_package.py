"""The package as a whole: what it imports and what it shows."""

from types import ModuleType

import pytest

import funcnn as fn
from tests.scripts import ran

HEAVY = ("matplotlib", "PIL", "tyro", "jax", "torch", "hypothesis", "pooch", "tqdm", "onnx")
HEAVY += ("funcnn.onnx", "funcnn.runs")


def fresh(code):
    """What ``code`` prints in a fresh interpreter, with warnings as errors."""
    return ran("-W", "error", "-c", code, check=True).stdout


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
    end = ran("-c", f"import sys; sys.modules[{missing!r}] = None; import {module}").stderr.strip().splitlines()[-1]
    assert end.startswith("ModuleNotFoundError: ")
    assert end.endswith(f"pip install 'funcnn[{extra}]'")
