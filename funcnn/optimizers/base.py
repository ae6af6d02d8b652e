"""Optimizers: gradients in, updates out, each a pair of pure functions that :func:`chain` composes.

The convention is Optax's: ``init(params)`` and ``update(grads, state, params)``. An update is *added* to the params
by :func:`apply_updates`; the minus of gradient descent stands in the learning rate. A state is a tree like any
other, and a learning rate is a number or a schedule.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import attrs

from funcnn import tree
from funcnn.arrays import Array, namespace
from funcnn.errors import require
from funcnn.layer import Params
from funcnn.spec import Described, described

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
    rates = [partial(_chain_rate, i, each.learning_rate) for i, each in enumerate(optimizers) if each.learning_rate]
    return Optimizer(partial(_chain_init, optimizers), partial(_chain_update, optimizers), rates[-1] if rates else None)


def require_optimizer(where: str, optimizer: object) -> None:
    """Raise unless it is an optimizer, rather than its constructor for instance."""
    fits = isinstance(optimizer, Optimizer)
    require(fits, where, "an Optimizer", repr(optimizer), "call its constructor: adam()")


def apply_updates(params: Params, updates: Updates) -> Params:
    """params + updates, leaf by leaf.

    >>> apply_updates((1.0, 2.0), (0.5, -0.5))
    (1.5, 1.5)
    """
    return tree.map(_add, params, updates)


def zeros_like(params: Params) -> Updates:
    """Zeros in the place of every leaf."""
    return tree.map(_zeros, params)


def stateless(update: Callable[[Updates, Params], Updates]) -> Optimizer:
    """The optimizer that applies ``update(grads, params)`` and remembers nothing."""
    return Optimizer(_nothing, partial(_stateless_update, update))


def _zeros(param: Array) -> Array:
    return namespace(param).zeros_like(param)


def _nothing(params: Params) -> tuple[()]:
    del params  # nothing to remember
    return ()


def _stateless_update(
    update: Callable[[Updates, Params], Updates], grads: Updates, state: tuple[()], params: Params
) -> tuple[Updates, tuple[()]]:
    return update(grads, params), state


def _add(param: Array, update: Array) -> Array:
    return param + update


def _chain_init(optimizers: Sequence[Optimizer], params: Params) -> tuple[Any, ...]:
    return tuple(optimizer.init(params) for optimizer in optimizers)


def _chain_update(
    optimizers: Sequence[Optimizer], grads: Updates, state: tuple[Any, ...], params: Params
) -> tuple[Updates, tuple[Any, ...]]:
    states = []
    for optimizer, old in zip(optimizers, state, strict=True):
        grads, new = optimizer.update(grads, old, params)
        states.append(new)
    return grads, tuple(states)


def _chain_rate(place: int, rate: Callable[[Any], Any], state: tuple[Any, ...]) -> Any:
    return rate(state[place])
