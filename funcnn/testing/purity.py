"""Purity: the same arguments give the same bits, and nothing else changes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import readonly


def assert_pure(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call ``f`` twice with read-only arguments; results must agree bit for bit, and all else stay as it was.

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
        assert repr(np.random.get_state(legacy=False)) == repr(state), "the global random state has changed"
        np.random.standard_normal()  # in another global state the result must be the same
        second = f(*args, **kwargs)
    except ValueError as error:
        if "read-only" in str(error):
            raise AssertionError(f"an argument is written to: {error}") from error
        raise
    finally:
        np.random.set_state(state)
    assert tree.equal(first, second), "the second call with the same arguments gives another result"
    assert tree.equal(_arrays((args, kwargs)), before), "an argument has changed"


def assert_trees_close(actual: Any, expected: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Both trees have the same structure, shapes and dtypes, and elements differ by at most atol + rtol |expected|.

    Raises:
        AssertionError: Names every leaf that differs, and by how much.

    >>> assert_trees_close({"a": np.zeros(2)}, {"a": np.array([0.0, 0.5])})
    Traceback (most recent call last):
    AssertionError: a differs by up to 0.5
    """
    assert tree.same_structure(actual, expected), f"structures differ: {actual} and {expected}"
    pairs = zip(tree.leaves_with_paths(actual), tree.leaves(expected), strict=True)
    found = [difference for (path, a), b in pairs if (difference := _difference(path or "the value", a, b, rtol, atol))]
    assert not found, "; ".join(found)


def _difference(path: str, actual: Any, expected: Any, rtol: float, atol: float) -> str:
    a, b = np.asarray(actual), np.asarray(expected)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{path} is {a.dtype} {a.shape} instead of {b.dtype} {b.shape}"
    if np.allclose(a, b, rtol=rtol, atol=atol):
        return ""
    return f"{path} differs by up to {np.max(np.abs(a - b)):.3g}"


def _arrays(arguments: Any) -> list[np.ndarray]:
    return [leaf for leaf in tree.leaves(arguments) if isinstance(leaf, np.ndarray)]
