"""Optimizers: gradients in, updates out, each a pair of pure functions that :func:`chain` composes.

The convention is Optax's: ``init(params)`` and ``update(grads, state, params)``. :func:`apply_updates` *adds* the
updates to the params; the part with the learning rate multiplies by minus the rate. A state is a tree, and a learning
rate is a number or a schedule.
"""

from collections.abc import Callable
from functools import partial
from operator import add, itemgetter
from typing import Any, TypeAlias

import attrs
import numpy as np
from toolz import compose

from funcnn import tree
from funcnn.arrays import Array, as_dtype_of, check_array, check_floating, namespace, widened
from funcnn.errors import InputError, is_real, require
from funcnn.layer import Params
from funcnn.spec import Described, described

__all__ = ["Optimizer", "apply_updates", "chain", "stateless", "zeros_like"]

Updates: TypeAlias = Any
"""A tree like the params."""

Rule: TypeAlias = Callable[..., tuple[Array, ...]]
"""From arrays, a gradient first, to as many new ones, an update first, element by element."""

_LARGE, _PIECE = 1 << 20, 1 << 18  # elements


@attrs.frozen(eq=False, repr=False)
class Optimizer(Described):
    """Two pure functions; constructors such as :func:`funcnn.adam` make them.

    Attributes:
        init: ``init(params) -> state``.
        update: ``update(grads, state, params) -> (updates, state)``.
        learning_rate: ``learning_rate(state)``, the rate of the latest update; ``None`` if the optimizer has no rate.
            The rate of a chain is that of its last optimizer with a rate.

    >>> import numpy as np, funcnn as fn
    >>> optimizer = fn.sgd(0.1, momentum=0.9)
    >>> optimizer.learning_rate(optimizer.init(np.zeros(2)))
    0.1
    """

    init: Callable[[Params], Any]
    update: Callable[[Updates, Any, Params], tuple[Updates, Any]]
    learning_rate: Callable[[Any], Any] | None = None


@described
def chain(*optimizers: Optimizer) -> Optimizer:
    """The updates of each optimizer are the gradients of the next; the state is the tuple of their states."""
    for i, optimizer in enumerate(optimizers):
        require_optimizer(f"chain[{i}]", optimizer)

    def init(params: Params) -> tuple[Any, ...]:
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def update(grads: Updates, state: tuple[Any, ...], params: Params) -> tuple[Updates, tuple[Any, ...]]:
        states = []
        for optimizer, old in zip(optimizers, state, strict=True):
            grads, new = optimizer.update(grads, old, params)
            states.append(new)
        return grads, tuple(states)

    rates = [compose(each.learning_rate, itemgetter(i)) for i, each in enumerate(optimizers) if each.learning_rate]
    return Optimizer(init, update, rates[-1] if rates else None)


def stateless(update: Callable[[Updates, Params], Updates]) -> Optimizer:
    """The optimizer that applies ``update(grads, params)`` and remembers nothing."""

    def init(params: Params) -> tuple[()]:
        check_floating_leaves(params)
        return ()

    return Optimizer(init, lambda grads, state, params: (update(grads, params), state))


def require_optimizer(where: str, optimizer: object) -> None:
    """Raise unless ``optimizer`` is an Optimizer, not its constructor for instance."""
    fits = isinstance(optimizer, Optimizer)
    require(fits, where, "an Optimizer", repr(optimizer), "call its constructor: adam()")


def check_unit(where: str, **values: object) -> None:
    """Raise unless each value, a decay for instance, is in [0, 1)."""
    for name, value in values.items():
        require(is_real(value, low=0, below=1), where, f"a {name} in [0, 1)", repr(value))


def check_floating_leaves(params: Params) -> None:
    """Raise unless every leaf is a floating array: no optimizer can improve integers."""
    for path, leaf in tree.leaves_with_paths(params):
        check_floating("an optimizer", leaf, f"params {path}".rstrip())


def start_like(params: Params) -> Updates:
    """The first value of a state: zeros of 32 bits at least in place of every leaf, which must be floating."""
    check_floating_leaves(params)
    return tree.map(lambda param: namespace(param).zeros_like(widened(param)), params)


def zeros_like(params: Params) -> Updates:
    """Zeros in place of every leaf."""

    def zeros(leaf: Array) -> Array:
        check_array("zeros_like", "leaves", leaf)
        return namespace(leaf).zeros_like(leaf)

    return tree.map(zeros, params)


def apply_updates(params: Params, updates: Updates) -> Params:
    """params + updates, leaf by leaf.

    Raises:
        InputError: The updates differ from the params in tree, shapes or dtypes.

    >>> import numpy as np
    >>> apply_updates((np.ones(2),), (np.array([0.5, -0.5]),))
    (array([1.5, 0.5]),)
    """
    return by_leaf(add, updates, params)


def by_leaf(f: Callable[..., Array], updates: Updates, *others: Any) -> Updates:
    """The tree of ``f(update, *others)`` for each leaf, in the update's dtype.

    Updates of 16 bits and their others come to ``f`` in 32. Nothing broadcasts: a tree whose leaves, shapes or dtypes
    are not those of the updates is refused.
    """
    values, whole = _computed(f, updates, others)
    return whole(values)


def advance(rule: Rule, grads: Updates, *states: Any) -> tuple[Any, ...]:
    """The trees of ``rule(g, *states) -> (update, *new states)`` for each leaf, checked as in :func:`by_leaf`."""
    values, whole = _computed(rule, grads, states)
    return tuple(map(whole, zip(*values, strict=True))) if values else (grads, *states)


def in_pieces(rule: Rule) -> Rule:
    """``rule``, which takes large NumPy arrays in pieces, so that what it works on stays in the cache.

    For a rule of many steps. It takes memory too, one array for each that it gives, and writes over it.
    """

    def cut(*arrays: Array) -> tuple[Array, ...]:
        if type(arrays[0]) is not np.ndarray or arrays[0].size < _LARGE or not all(map(_is_flat, arrays)):
            return rule(*arrays)
        new = tuple(map(np.empty_like, arrays))
        vectors = [array.reshape(-1) for array in (*arrays, *new)]
        for start in range(0, arrays[0].size, _PIECE):
            rule(*(vector[start : start + _PIECE] for vector in vectors))
        return new

    return cut


def _is_flat(array: Array) -> bool:
    return type(array) is np.ndarray and array.flags.c_contiguous


def _computed(f: Callable[..., Any], grads: Updates, others: tuple[Any, ...]) -> tuple[list[Any], Callable[..., Any]]:
    """The values of ``f`` for each leaf, and the function that makes a tree of such a list."""
    try:
        columns, whole = tree.columns(grads, *others)
        return [*map(f if _are_plain(*columns) else partial(_widely, f), *columns)], whole
    except (AttributeError, ValueError):  # of another tree, of unlike leaves, or of what is no array
        for other in others:
            unlike = [f"{path or 'the array'} is {b} instead of {a}" for path, a, b in tree.unlike(other, grads)]
            if unlike or not tree.same_structure(grads, other):
                what = "gradients and updates with the tree, shapes and dtypes of the params"
                raise InputError("an optimizer", what, "; ".join(unlike) or "another tree") from None
        raise


def _are_plain(first: list[Any], *others: list[Any]) -> bool:
    """Whether all are NumPy arrays of float32 or float64, like their neighbours: nothing to check or to convert."""
    for leaf in first:  # loops, since a step asks for every leaf
        if type(leaf) is not np.ndarray or leaf.dtype.char not in "fd":
            return False
    for column in others:
        for leaf, other in zip(first, column, strict=True):
            if type(other) is not np.ndarray or other.dtype is not leaf.dtype or other.shape != leaf.shape:
                return False
    return True


def _widely(f: Callable[..., Any], g: Array, *others: Array) -> Any:
    """``f(g, *others)`` in 32 bits at least, once the leaves are arrays that fit each other."""
    check_array("an optimizer", "gradients and updates", g)
    wide = widened(g)
    for other in others:
        if other.shape != g.shape or other.dtype not in (wide.dtype, g.dtype):
            raise ValueError("unlike leaves")
    found = f(wide, *map(widened, others))
    return (as_dtype_of(g, found[0]), *found[1:]) if isinstance(found, tuple) else as_dtype_of(g, found)
