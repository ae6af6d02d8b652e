"""Optimizers: gradients in, updates out, each a pair of pure functions that :func:`chain` composes.

The convention is Optax's: ``init(params)`` and ``update(grads, state, params)``. An update is *added* to the params
by :func:`apply_updates`; the minus of gradient descent stands in the learning rate. A state is a tree like any
other, and a learning rate is a number or a schedule; :func:`hyperparameters` reads the current one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import attrs

from funcnn import tree
from funcnn.arrays import Array, namespace
from funcnn.errors import is_real, require
from funcnn.layer import Params
from funcnn.schedules import Rate, as_schedule
from funcnn.spec import Described, described
from funcnn.tree import record

Updates: TypeAlias = Any
"""A tree like the params."""


@attrs.frozen(eq=False, repr=False)
class Optimizer(Described):
    """Two pure functions; constructors such as :func:`adam` make them.

    Attributes:
        init: ``init(params) -> state``.
        update: ``update(grads, state, params) -> (updates, state)``.
    """

    init: Callable[[Params], Any]
    update: Callable[[Updates, Any, Params], tuple[Updates, Any]]


@record
class MomentumState:
    """The state of :func:`accumulate_momentum`: the velocity, a tree like the params."""

    velocity: Updates


@record
class AdamState:
    """The state of :func:`adam`: finished updates, the rate of the latest, the running means of g and g^2."""

    step: int
    learning_rate: float
    mu: Updates
    nu: Updates


@record
class LearningRateState:
    """The state of :func:`scale_by_learning_rate`: finished updates, and the rate of the latest one."""

    step: int
    learning_rate: float


@described
def chain(*optimizers: Optimizer) -> Optimizer:
    """The updates of each optimizer are the gradients of the next; the state is a tuple of theirs."""
    for i, optimizer in enumerate(optimizers):
        fits = isinstance(optimizer, Optimizer)
        require(fits, f"chain[{i}]", "an Optimizer", repr(optimizer), "call its constructor: adam()")
    return Optimizer(partial(_chain_init, optimizers), partial(_chain_update, optimizers))


@described
def sgd(learning_rate: Rate, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Stochastic gradient descent: v = momentum v + g, then update = -rate v.

    With ``nesterov`` the update is -rate (g + momentum v) (Sutskever et al. 2013). This is the form of Optax and
    PyTorch; where the velocity takes the rate in, v = momentum v - rate g, it differs as soon as the rate changes.

    Raises:
        InputError: A negative learning rate, or a momentum outside [0, 1).

    >>> import numpy as np
    >>> optimizer = sgd(0.1)
    >>> updates, _ = optimizer.update(np.array([1.0, -2.0]), optimizer.init(np.zeros(2)), np.zeros(2))
    >>> updates
    array([-0.1,  0.2])
    """
    as_schedule("sgd", learning_rate)  # a bad one is refused by the name that was called
    require(momentum != 0 or not nesterov, "sgd", "a momentum above 0 for nesterov", momentum)
    steps = [accumulate_momentum(momentum, nesterov)] if momentum != 0 else []
    return chain(*steps, scale_by_learning_rate(learning_rate))


@described
def adam(learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam: steps of about the learning rate in each parameter, whatever the scale of its gradient.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and with t finished updates, this one included,
    update = -rate m' / (sqrt(v') + eps), m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) (Kingma and Ba 2015,
    algorithm 1, eps outside the root, as in Optax and PyTorch; the "eps hat" of their section 2, which Keras uses,
    is another constant).

    Raises:
        InputError: A negative learning rate, a beta outside [0, 1), or an eps that is not above 0.

    >>> adam(1e-3)
    adam()
    """
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        require(is_real(beta, low=0, below=1), "adam", f"a {name} in [0, 1)", repr(beta))
    require(is_real(eps, low=0) and eps > 0, "adam", "an eps above 0", repr(eps))
    schedule = as_schedule("adam", learning_rate)
    return Optimizer(partial(_adam_init, schedule), partial(_adam_update, schedule, beta1, beta2, eps))


@described
def accumulate_momentum(momentum: float, nesterov: bool = False) -> Optimizer:
    """v = momentum v + g; gives v, or g + momentum v with ``nesterov``."""
    require(is_real(momentum, low=0, below=1), "accumulate_momentum", "a momentum in [0, 1)", repr(momentum))
    return Optimizer(_momentum_init, partial(_momentum_update, momentum, nesterov))


@described
def scale_by_learning_rate(learning_rate: Rate) -> Optimizer:
    """-rate times the gradients; the state holds the rate of the latest update (before any, of the first)."""
    schedule = as_schedule("scale_by_learning_rate", learning_rate)
    return Optimizer(partial(_learning_rate_init, schedule), partial(_learning_rate_update, schedule))


def apply_updates(params: Params, updates: Updates) -> Params:
    """params + updates, leaf by leaf.

    >>> apply_updates((1.0, 2.0), (0.5, -0.5))
    (1.5, 1.5)
    """
    return tree.map(_add, params, updates)


def hyperparameters(state: Any) -> dict[str, Any]:
    """The current hyperparameters in an optimizer state, by name; of two with one name, the later in the chain.

    >>> import numpy as np
    >>> hyperparameters(sgd(0.1, momentum=0.9).init(np.zeros(2)))
    {'learning_rate': 0.1}
    """
    named = ((path.rpartition(".")[-1], leaf) for path, leaf in tree.leaves_with_paths(state))
    return {name: leaf for name, leaf in named if name == "learning_rate"}


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


def _zeros_like(params: Params) -> Updates:
    return tree.map(lambda param: namespace(param).zeros_like(param), params)


def _momentum_init(params: Params) -> MomentumState:
    return MomentumState(_zeros_like(params))


def _momentum_update(
    momentum: float, nesterov: bool, grads: Updates, state: MomentumState, params: Params
) -> tuple[Updates, MomentumState]:
    del params  # the gradients are enough

    def accumulated(g: Array, v: Array) -> Array:
        return g + momentum * v

    velocity = tree.map(accumulated, grads, state.velocity)
    return tree.map(accumulated, grads, velocity) if nesterov else velocity, MomentumState(velocity)


def _blend(difference: Array, old: Array, share: float) -> Array:
    """old + share difference, in place on the difference, which is a fresh array."""
    difference *= share
    difference += old
    return difference


def _adam_init(schedule: Callable[[Any], Any], params: Params) -> AdamState:
    return AdamState(0, schedule(0), _zeros_like(params), _zeros_like(params))


def _adam_update(
    schedule: Callable[[Any], Any],
    beta1: float,
    beta2: float,
    eps: float,
    grads: Updates,
    state: AdamState,
    params: Params,
) -> tuple[Updates, AdamState]:
    del params  # the gradients are enough
    step, rate = state.step + 1, schedule(state.step)
    # Correcting m and v would be two passes more over memory: m' / (sqrt(v') + eps) is
    # m / (sqrt(v) + eps root) * root / correction, with root the square root of v's correction.
    correction, root = 1 - beta1**step, (1 - beta2**step) ** 0.5
    scale, floor = -rate * root / correction, eps * root

    def rule(g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
        m = _blend(g - m, m, 1 - beta1)
        v = _blend(g * g - v, v, 1 - beta2)
        divisor = namespace(v).sqrt(v)
        divisor += floor
        update = m / divisor
        update *= scale
        return update, m, v

    updates, mu, nu = tree.map_to(3, rule, grads, state.mu, state.nu)
    return updates, AdamState(step, rate, mu, nu)


def _learning_rate_init(schedule: Callable[[Any], Any], params: Params) -> LearningRateState:
    del params  # any will do
    return LearningRateState(0, schedule(0))


def _learning_rate_update(
    schedule: Callable[[Any], Any], grads: Updates, state: LearningRateState, params: Params
) -> tuple[Updates, LearningRateState]:
    del params  # the gradients are enough
    rate = schedule(state.step)
    return tree.map(lambda g: -rate * g, grads), LearningRateState(state.step + 1, rate)
