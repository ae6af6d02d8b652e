"""Trees of arrays: nested records, tuples, lists and dicts; ``None`` is an empty tree.

Parameters, gradients, optimizer state and batches are frozen records: :func:`record` makes a class of them, and
:func:`map` reaches their arrays. Values under names that only a caller knows, such as metrics, are a
:class:`funcnn.nodes.frozendict`. Only this file imports ``optree``, which does the work.
"""

import builtins
import difflib
import itertools
import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import Any, TypeVar, dataclass_transform

import attrs
import numpy as np
import optree

from funcnn.arrays import namespace, readonly
from funcnn.errors import InputError, require
from funcnn.nodes import Flatten, Unflatten, frozendict as frozendict, on_node, register

_NAMESPACE, _CONSTANT = "funcnn", "constant"

_AS_VIEW = attrs.Converter(readonly)  # one for all: attrs looks up its signature for each new one

T = TypeVar("T")


@on_node
def _register(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    optree.register_pytree_node(cls, flatten, unflatten, namespace=_NAMESPACE)


def _as_views(cls: type, fields: list[Any]) -> list[Any]:
    for field in fields:
        if field.converter is not None:
            raise TypeError(f"{cls.__name__}.{field.name}: a record's field has no converter, it is mapped over")
    return [field.evolve(converter=_AS_VIEW) for field in fields]


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field,))
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen attrs record whose fields are the children of a tree.

    NumPy arrays are kept as read-only views, so a stray write raises. Records compare by identity;
    :func:`equal` and :func:`allclose` compare their arrays.

    >>> @record
    ... class Pair:
    ...     left: np.ndarray
    ...     right: np.ndarray
    >>> doubled = map(lambda x: 2 * x, Pair(np.ones(2), np.zeros(1)))
    >>> doubled
    Pair(left=float64 (2,), right=float64 (1,))
    >>> doubled.left
    array([2., 2.])
    """
    frozen: Any = attrs.frozen(cls, eq=False, repr=False, field_transformer=_as_views)
    if "__repr__" not in vars(cls):
        frozen.__repr__ = _repr  # compiled for each class, it took a fifth of import funcnn
    frozen._repr_html_ = lambda node: table(cls.__name__, node)
    register(frozen)
    return frozen  # type: ignore[no-any-return]


def _repr(node: Any) -> str:
    fields = (f"{field.name}={shown(getattr(node, field.name))}" for field in attrs.fields(type(node)))
    return f"{type(node).__qualname__.rpartition('>.')[2]}({', '.join(fields)})"


class _Text(str):
    __slots__ = ()
    __repr__ = str.__str__


def shown(tree: Any) -> str:
    """The repr of a tree, with the dtypes and shapes of its arrays instead of their numbers.

    >>> shown({"weights": np.zeros((784, 128), np.float32), "step": 3})
    "{'weights': float32 (784, 128), 'step': 3}"
    """
    return repr(map(lambda leaf: _Text(_leaf(leaf)), tree))


def _leaf(leaf: Any) -> str:
    return kind(leaf) if getattr(leaf, "ndim", 0) else repr(leaf)


def table(title: str, tree: Any) -> str:
    """An HTML table of the paths and kinds of all leaves, for notebooks."""
    from html import escape  # 10 ms that import funcnn does without

    cells = [(escape(path), escape(_leaf(leaf))) for path, leaf in leaves_with_paths(tree)]
    rows = "".join(f"<tr><td>{path}</td><td>{leaf}</td></tr>" for path, leaf in cells)
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def constant() -> Any:
    """A field of a record that belongs to the params but is not trained."""
    return attrs.field(metadata={_CONSTANT: True})


def trainable(params: Any) -> Any:
    """The params with ``None`` in place of each :func:`constant` field."""
    return optree.tree_map(
        lambda node: attrs.evolve(node, **dict.fromkeys(_constants(node))) if _constants(node) else node,
        params,
        is_leaf=_has_constants,
        namespace=_NAMESPACE,
    )


def with_constants(trained: Any, params: Any) -> Any:
    """The inverse of :func:`trainable`: ``trained`` with the constants of ``params``."""

    def whole(node: Any, new: Any) -> Any:
        names = _constants(node)
        return attrs.evolve(new, **{name: getattr(node, name) for name in names}) if names else new

    return optree.tree_map(whole, params, trained, is_leaf=_has_constants, namespace=_NAMESPACE)


def _has_constants(node: Any) -> bool:
    return bool(_constants(node))


def _constants(node: Any) -> list[str]:
    """The names of the constant fields of a record."""
    return [field.name for field in getattr(type(node), "__attrs_attrs__", ()) if _CONSTANT in field.metadata]


def map(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The tree of ``f(leaf, *leaves of rest)``; the trees in ``rest`` have the structure of ``tree``."""
    return optree.tree_map(f, tree, *rest, namespace=_NAMESPACE)


def map_with_paths(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The tree of ``f(path, leaf, *leaves of rest)``, with paths as :func:`leaves_with_paths` gives them.

    >>> map_with_paths(lambda path, x: 0 if path == "b" else x, {"a": 1, "b": 2})
    {'a': 1, 'b': 0}
    """
    return optree.tree_map_with_path(
        lambda path, *leaves: f(".".join(builtins.map(str, path)), *leaves), tree, *rest, namespace=_NAMESPACE
    )


def columns(tree: Any, *rest: Any) -> tuple[list[list[Any]], Callable[[Any], Any]]:
    """The leaves of each tree, and the function from new leaves to a tree; all have the structure of the first.

    >>> columns((7, 9), (2, 5))[0]
    [[7, 9], [2, 5]]
    """
    first, structure = optree.tree_flatten(tree, namespace=_NAMESPACE)
    return [first, *builtins.map(structure.flatten_up_to, rest)], structure.unflatten


def leaves(tree: Any) -> list[Any]:
    """The leaves, in the order of fields, positions and sorted keys."""
    return optree.tree_leaves(tree, namespace=_NAMESPACE)


def leaves_with_paths(tree: Any) -> Iterator[tuple[str, Any]]:
    """Pairs of path and leaf; a path joins field names, positions and keys with dots.

    >>> dict(leaves_with_paths(({"a": 1.0}, (2.0, 3.0))))
    {'0.a': 1.0, '1.0': 2.0, '1.1': 3.0}
    """
    paths, values, _ = optree.tree_flatten_with_path(tree, namespace=_NAMESPACE)
    return zip((".".join(builtins.map(str, path)) for path in paths), values, strict=True)


def nodes(kind: type[T], tree: Any) -> list[T]:
    """The outermost nodes of a class, in order.

    >>> nodes(tuple, {"a": (1, 2), "b": 3})
    [(1, 2)]
    """
    found = optree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, kind), namespace=_NAMESPACE)
    return [node for node in found if isinstance(node, kind)]


def pieces(tree: Any, rows: int, size: int) -> Iterator[Any]:
    """The first ``rows`` rows of all arrays, cut into trees of ``size`` rows; the last may have fewer.

    >>> list(pieces({"a": np.arange(3)}, 3, 2))
    [{'a': array([0, 1])}, {'a': array([2])}]
    """
    slices = (slice(start, min(start + size, rows)) for start in range(0, rows, size))
    return (map(itemgetter((piece, ...)), tree) for piece in slices)


def unflatten(template: Any, values: list[Any]) -> Any:
    """A tree with the structure of ``template`` and the leaves ``values``, in the order of :func:`leaves`."""
    return optree.tree_unflatten(optree.tree_structure(template, namespace=_NAMESPACE), values)


def matching(where: str, pattern: str, tree: Any) -> Any:
    """A tree like ``tree`` that says of each leaf whether its path matches the shell pattern.

    Raises:
        InputError: No leaf matches; the message names the nearest paths.

    >>> matching("freeze", "*.weights", {"0": {"weights": 1.0, "biases": 2.0}})
    {'0': {'weights': True, 'biases': False}}
    """
    paths = [path for path, _ in leaves_with_paths(tree)]
    found = [fnmatchcase(path, pattern) for path in paths]
    if paths and not any(found):
        nearest = ", ".join(difflib.get_close_matches(pattern, paths, n=3, cutoff=0))
        raise InputError(where, "a pattern that matches the path of a leaf", repr(pattern), f"the nearest: {nearest}")
    return unflatten(tree, found)


def evolve_at(tree: Any, path: str, f: Callable[[Any], Any]) -> Any:
    """The tree with ``f`` applied to the one leaf at ``path``.

    Raises:
        InputError: There is no leaf at the path; the message lists all paths.

    >>> evolve_at({"a": 1, "b": (2, 3)}, "b.0", lambda x: 10 * x)
    {'a': 1, 'b': (20, 3)}
    """
    paths = [other for other, _ in leaves_with_paths(tree)]
    require(path in paths, "evolve_at", f"one of the paths {', '.join(paths)}", repr(path))
    return map_with_paths(lambda other, leaf: f(leaf) if other == path else leaf, tree)


def ravel(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All elements as one vector, and the function from such a vector back to a tree.

    >>> vector, unravel = ravel((np.ones((2, 2)), np.zeros(1)))
    >>> vector
    array([1., 1., 1., 1., 0.])
    >>> unravel(2 * vector)[0].shape
    (2, 2)
    """
    arrays = leaves(tree)
    require(len(arrays) > 0, "ravel", "a tree with at least one array", tree)
    xp = namespace(arrays[0])
    ends = [*itertools.accumulate(math.prod(array.shape) for array in arrays)]

    def unravel(vector: Any) -> Any:
        require(vector.shape == (ends[-1],), "unravel", f"a vector ({ends[-1]},)", vector.shape)
        parts = zip(arrays, [0, *ends], ends, strict=False)
        return unflatten(tree, [xp.reshape(vector[start:end], array.shape) for array, start, end in parts])

    return xp.concat([xp.reshape(array, (-1,)) for array in arrays]), unravel


def same_structure(left: Any, right: Any) -> bool:
    """Whether both trees have the same records, tuples and dicts around their leaves."""
    a, b = (optree.tree_structure(tree, namespace=_NAMESPACE) for tree in (left, right))
    return a == b


def kind(leaf: Any) -> str:
    """The dtype and shape of an array; the type of any other leaf.

    >>> kind(np.zeros(2)), kind(0.0)
    ('float64 (2,)', 'float')
    """
    return f"{leaf.dtype} {tuple(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__


def unlike(left: Any, right: Any) -> list[tuple[str, str, str]]:
    """The path and both kinds of every leaf whose kind differs, or that is missing on one side.

    >>> unlike({"a": 1, "b": 2.0}, {"a": 1, "b": 2, "c": 3})
    [('b', 'float', 'int'), ('c', 'missing', 'int')]
    """
    kinds = [{path: kind(leaf) for path, leaf in leaves_with_paths(tree)} for tree in (left, right)]
    triples = ((path, *(known.get(path, "missing") for known in kinds)) for path in {**kinds[0], **kinds[1]})
    return [(path, a, b) for path, a, b in triples if a != b]


def equal(left: Any, right: Any) -> bool:
    """Whether structure, dtypes, shapes and every bit of the leaves are the same.

    >>> equal((np.zeros(2), 1), (np.zeros(2), 1)), equal((0.0,), (-0.0,))
    (True, False)
    """
    return same_structure(left, right) and all(builtins.map(_same_bits, leaves(left), leaves(right)))


def allclose(left: Any, right: Any, *, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Whether structure and shapes are the same and ``|left - right| <= atol + rtol |right|`` in every leaf.

    Leaves that are not numbers, such as keys, must be equal.
    """

    def close(a: Any, b: Any) -> bool:
        if {np.asarray(leaf).dtype.kind for leaf in (a, b)} & {*"OUS"}:  # objects and texts
            return _same_bits(a, b)
        return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=rtol, atol=atol)

    return same_structure(left, right) and all(builtins.map(close, leaves(left), leaves(right)))


def size(tree: Any) -> int:
    """The number of array elements in all leaves.

    >>> size((np.zeros((3, 4)), np.zeros(4)))
    16
    """
    return sum(math.prod(np.shape(leaf)) for leaf in leaves(tree))


def _same_bits(left: Any, right: Any) -> bool:
    a, b = np.asarray(left), np.asarray(right)
    if a.dtype == object or b.dtype == object:
        return bool(left == right)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
