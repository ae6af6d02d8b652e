"""Optimizers: gradients in, updates out, each a pair of pure functions that :func:`chain` composes.

The convention is Optax's: ``init(params)`` and ``update(grads, state, params)``. An update is *added* to the params
by :func:`apply_updates`; the minus of gradient descent stands in the learning rate. A state is a tree like any
other, and a learning rate is a number or a schedule.
"""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeAlias

import attrs
import numpy as np
from toolz import compose

from funcnn import tree
from funcnn.arrays import Array, as_dtype_of, check_array, check_floating, namespace, widened
from funcnn.errors import InputError, require
from funcnn.layer import Params
from funcnn.spec import Described, described

__all__ = ["Optimizer", "apply_updates", "chain", "stateless", "zeros_like"]

Updates: TypeAlias = Any
"""A tree like the params."""


@attrs.frozen(eq=False, repr=False)
class Optimizer(Described):
    """Two pure functions; constructors such as :func:`funcnn.adam` make them.

    Attributes:
        init: ``init(params) -> state``.
        update: ``update(grads, state, params) -> (updates, state)``.
        learning_rate: ``learning_rate(state)``, the rate of the latest update; ``None`` for one that has no rate. That
            of a chain is the rate of the last of its optimizers that has one.

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
    """The updates of each optimizer are the gradients of the next; the state is a tuple of theirs."""
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
    """Raise unless it is an optimizer, rather than its constructor for instance."""
    fits = isinstance(optimizer, Optimizer)
    require(fits, where, "an Optimizer", repr(optimizer), "call its constructor: adam()")


def check_floating_leaves(params: Params) -> None:
    """Raise unless every leaf is an array of floating numbers: of others no optimizer makes better ones."""
    for path, leaf in tree.leaves_with_paths(params):
        check_floating("an optimizer", leaf, f"params {path}".rstrip())


def start_like(params: Params) -> Updates:
    """Zeros in the place of every leaf, which is floating, of 32 bits at least: what a state begins with."""
    check_floating_leaves(params)
    return tree.map(lambda param: namespace(param).zeros_like(widened(param)), params)


def zeros_like(params: Params) -> Updates:
    """Zeros in the place of every leaf."""

    def zeros(leaf: Array) -> Array:
        check_array("zeros_like", "leaves", leaf)
        return namespace(leaf).zeros_like(leaf)

    return tree.map(zeros, params)


def apply_updates(params: Params, updates: Updates) -> Params:
    """params + updates, leaf by leaf.

    Raises:
        InputError: The updates have not the tree, shapes and dtypes of the params.

    >>> import numpy as np
    >>> apply_updates((np.ones(2),), (np.array([0.5, -0.5]),))
    (array([1.5, 0.5]),)
    """
    return by_leaf(1, lambda update, param: (param + update,), updates, params)[0]


def by_leaf(count: int, rule: Callable[..., tuple[Array, ...]], grads: Updates, *rest: Any) -> tuple[Any, ...]:
    """Trees of the ``count`` arrays that ``rule(g, *others)`` gives for each leaf, the first in the dtype of g.

    Where a gradient has 16 bits, the rule has 32 of it and of all others. A tree of other leaves, shapes or dtypes than
    the gradients is refused: nothing broadcasts.
    """
    try:
        rows, unflatten = tree.zipped(grads, *rest)
        values = [rule(*row) if _are_plain(*row) else _widely(rule, *row) for row in rows]
    except (AttributeError, ValueError):  # of another tree, of unlike leaves, or of what is no array
        for other in rest:
            unlike = [f"{path or 'the array'} is {b} instead of {a}" for path, a, b in tree.unlike(other, grads)]
            if unlike or not tree.same_structure(grads, other):
                what = "gradients and updates with the tree, shapes and dtypes of the params"
                raise InputError("an optimizer", what, "; ".join(unlike) or "another tree") from None
        raise
    return tuple(map(unflatten, zip(*values, strict=True) if values else [()] * count))


def _are_plain(g: Any, *others: Any) -> bool:
    """Whether all are NumPy's, of one shape and float32 or float64: there is nothing to check or to convert."""
    if type(g) is not np.ndarray or g.dtype.char not in "fd":
        return False
    dtype, shape = g.dtype, g.shape
    for other in others:  # a loop, since a step asks for every leaf
        if type(other) is not np.ndarray or other.dtype is not dtype or other.shape != shape:
            return False
    return True


def _widely(rule: Callable[..., tuple[Array, ...]], g: Array, *others: Array) -> tuple[Array, ...]:
    check_array("an optimizer", "gradients and updates", g)
    wide = widened(g)
    for other in others:
        if other.shape != g.shape or (other.dtype != wide.dtype and other.dtype != g.dtype):
            raise ValueError("unlike leaves")
    first, *after = rule(wide, *map(widened, others))
    return as_dtype_of(g, first), *after
