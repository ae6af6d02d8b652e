"""Purity: the same arguments give the same bits, and nothing else changes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import readonly

__all__ = ["assert_pure", "assert_trees_alike", "assert_trees_close"]


def assert_pure(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call ``f`` twice with read-only arguments: both results have the same bits, and nothing else changes.

    Raises:
        AssertionError: ``f`` writes to an argument, gives another result the second time, or reads or changes
            NumPy's global random state.

    >>> assert_pure(np.add, np.ones(2), np.ones(2))
    >>> assert_pure(lambda x: np.add(x, 1.0, out=x), np.ones(2))
    Traceback (most recent call last):
    AssertionError: an argument is written to: output array is read-only
    """
    args, kwargs = tree.map(readonly, (args, kwargs))
    before, state = tree.map(np.copy, _arrays((args, kwargs))), np.random.get_state(legacy=False)
    try:
        first = f(*args, **kwargs)
        ensure(tree.equal(np.random.get_state(legacy=False), state), "the global random state has changed")
        np.random.standard_normal()  # in another global state the result must be the same
        second = f(*args, **kwargs)
    except ValueError as error:
        if "read-only" in str(error):
            raise AssertionError(f"an argument is written to: {error}") from error
        raise
    finally:
        np.random.set_state(state)
    ensure(tree.equal(first, second), "the second call with the same arguments gives another result")
    ensure(tree.equal(_arrays((args, kwargs)), before), "an argument has changed")


def assert_trees_alike(actual: Any, expected: Any) -> None:
    """Both trees have the same structure, shapes and dtypes.

    Raises:
        AssertionError: The message names every leaf that differs.

    >>> assert_trees_alike({"a": np.zeros(2, np.float32)}, {"a": np.ones(2)})
    Traceback (most recent call last):
    AssertionError: a is float32 (2,) instead of float64 (2,)
    """
    if not tree.same_structure(actual, expected):  # whose text takes long
        raise AssertionError(f"structures differ: {actual} and {expected}")
    _ensure_none(
        f"{path} is {a.dtype} {a.shape} instead of {b.dtype} {b.shape}"
        for path, a, b in _triples(actual, expected)
        if (a.dtype, a.shape) != (b.dtype, b.shape)
    )


def assert_trees_close(actual: Any, expected: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Both trees are alike, and elements differ by at most atol + rtol |expected|.

    Raises:
        AssertionError: The message names every leaf that differs, and by how much.

    >>> assert_trees_close({"a": np.zeros(2)}, {"a": np.array([0.0, 0.5])})
    Traceback (most recent call last):
    AssertionError: a differs by up to 0.5
    """
    assert_trees_alike(actual, expected)
    _ensure_none(
        f"{path} differs by up to {np.max(np.abs(a - b)):.3g}"
        for path, a, b in _triples(actual, expected)
        if not np.allclose(a, b, rtol=rtol, atol=atol)
    )


def assert_same_kinds(what: str, found: Any, expected: Any) -> None:
    """Both trees have the same paths, and leaves of the same kinds; the nodes may differ."""
    wrong = [f"{path or 'it'} is {b} instead of {a}" for path, a, b in tree.unlike(expected, found)]
    ensure(not wrong, f"{what}: {'; '.join(wrong)}")


def assert_same(what: str, found: Any, expected: Any) -> None:
    """Both trees have the same nodes and bits, except the bits of NaN, which JSON does not keep."""
    assert_same_kinds(what, found, expected)
    ensure(tree.same_structure(found, expected), f"{what}: the same leaves in another tree")
    for (path, a), b in zip(tree.leaves_with_paths(found), tree.leaves(expected), strict=True):
        text = f"is {a} instead of {b}" if np.size(b) == 1 else "differs"
        ensure(tree.equal(_one_nan(a), _one_nan(b)), f"{what}: {path or 'it'} {text}")


def ensure(condition: bool, message: str) -> None:
    """An assertion that ``python -O`` keeps."""
    if not condition:
        raise AssertionError(message)


def _ensure_none(wrong: Iterable[str]) -> None:
    text = "; ".join(wrong)
    ensure(not text, text)


def _one_nan(leaf: Any) -> Any:
    array = np.asarray(leaf)
    return np.where(np.isnan(array), array.dtype.type("nan"), array) if array.dtype.kind in "fc" else array


def _triples(actual: Any, expected: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Path and both leaves, as arrays."""
    pairs = zip(tree.leaves_with_paths(actual), tree.leaves(expected), strict=True)
    return ((path or "the value", np.asarray(a), np.asarray(b)) for (path, a), b in pairs)


def _arrays(arguments: Any) -> list[np.ndarray]:
    return [leaf for leaf in tree.leaves(arguments) if isinstance(leaf, np.ndarray)]
