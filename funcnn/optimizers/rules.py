"""The rules: what becomes of a gradient, with the learning rate included.

A preset such as :func:`adamw` is a chain of parts: a direction, the learning rate, momentum. A learning rate is refused
if it is negative or not finite, a beta, decay or momentum outside [0, 1), an eps that is not above 0.
"""

from operator import attrgetter
from typing import Any, Literal, TypeAlias

from funcnn import tree
from funcnn.arrays import Array, namespace
from funcnn.errors import is_one_of, is_real, require
from funcnn.layer import Params
from funcnn.optimizers.base import Optimizer, Updates, by_leaf, chain, check_floating_leaves, start_like
from funcnn.optimizers.transforms import add_decayed_weights
from funcnn.schedules import Rate, as_schedule
from funcnn.spec import described
from funcnn.special import one_minus_power
from funcnn.tree import record

__all__ = ["AdamState", "LearningRateState", "MomentumState", "SquaresState", "accumulate_momentum", "adagrad", "adam"]
__all__ += ["adamw", "lion", "nadam", "rmsprop", "scale_by_adam", "scale_by_learning_rate", "scale_by_lion"]
__all__ += ["scale_by_rms", "scale_by_rss", "sgd"]

EpsPlacement: TypeAlias = Literal["inside", "outside"]
"""Where eps stands: ``"inside"`` for sqrt(v + eps), ``"outside"`` for sqrt(v) + eps."""

_latest_rate = attrgetter("learning_rate")


@record
class MomentumState:
    """The state of :func:`accumulate_momentum`: the velocity, a tree like the params."""

    velocity: Updates


@record
class AdamState:
    """The state of Adam: finished updates, the rate of the latest, and the decaying sums of g and g^2.

    The rate is ``None`` in :func:`scale_by_adam`, which has none. ``sums`` is the sum of beta1^(t - i) g_i over the
    updates i = 1 ... t, and ``squares`` that of beta2^(t - i) g_i^2. The running means are (1 - beta1) sums and
    (1 - beta2) squares: a sum takes a pass less over memory.
    """

    step: int
    learning_rate: float | None
    sums: Updates
    squares: Updates


@record
class SquaresState:
    """The state of :func:`scale_by_rss` and :func:`scale_by_rms`: the sum or running mean of g^2."""

    nu: Updates


@record
class LearningRateState:
    """The state of :func:`scale_by_learning_rate`: finished updates, and the rate of the latest one."""

    step: int
    learning_rate: float


@described
def sgd(learning_rate: Rate, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Stochastic gradient descent: v = momentum v + g, then update = -rate v (Robbins and Monro 1951; Polyak 1964).

    With ``nesterov`` the update is -rate (g + momentum v) (Sutskever et al. 2013). This is the form of Optax and
    PyTorch; where the velocity takes the rate in, v = momentum v - rate g, it differs as soon as the rate changes
    (``funcnn.nnfs.sgd``).

    >>> import numpy as np
    >>> optimizer = sgd(0.1)
    >>> updates, _ = optimizer.update(np.array([1.0, -2.0]), optimizer.init(np.zeros(2)), np.zeros(2))
    >>> updates
    array([-0.1,  0.2])
    """
    as_schedule("sgd", learning_rate)  # a bad one is refused by the name that was called
    momentum_part = accumulate_momentum(momentum, nesterov)
    require(momentum != 0 or not nesterov, "sgd", "a momentum above 0 for nesterov", momentum)
    return chain(*([momentum_part] if momentum != 0 else []), scale_by_learning_rate(learning_rate))


@described
def adam(learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam: steps of about the learning rate in each parameter, whatever the scale of its gradient.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and with t finished updates, this one included,
    update = -rate m' / (sqrt(v') + eps), m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) (Kingma and Ba 2015,
    algorithm 1, eps outside the root, as in Optax and PyTorch; the "eps hat" of their section 2, which Keras uses,
    is another constant).

    It equals ``chain(scale_by_adam(beta1, beta2, eps), scale_by_learning_rate(learning_rate))`` in one pass less.

    >>> adam()
    adam(0.001)
    """
    return _adam("adam", beta1, beta2, eps, schedule=as_schedule("adam", learning_rate))


@described
def adamw(
    learning_rate: Rate = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
    mask: str = "*",
) -> Optimizer:
    """Adam with decoupled weight decay: update = -rate (adam's direction + weight_decay params).

    Unlike an l2 penalty, the decay is not divided by sqrt(v) (Loshchilov and Hutter 2019). ``mask`` is as in
    :func:`add_decayed_weights`.
    """
    as_schedule("adamw", learning_rate)
    decay = add_decayed_weights(weight_decay, mask)
    return chain(scale_by_adam(beta1, beta2, eps), decay, scale_by_learning_rate(learning_rate))


@described
def nadam(learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam with Nesterov's momentum: m' = beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t) (Dozat 2016).

    beta1 is the same at every step, as in Optax; PyTorch and Keras let it grow by Dozat's schedule.
    """
    as_schedule("nadam", learning_rate)
    return chain(scale_by_adam(beta1, beta2, eps, nesterov=True), scale_by_learning_rate(learning_rate))


@described
def lion(learning_rate: Rate = 1e-4, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 1e-3) -> Optimizer:
    """The sign of a momentum: update = -rate (sign(beta1 m + (1 - beta1) g) + weight_decay params).

    Then m = beta2 m + (1 - beta2) g, from m = 0 (Chen et al. 2023). Defaults as in Optax.
    """
    as_schedule("lion", learning_rate)
    direction, decay = scale_by_lion(beta1, beta2), add_decayed_weights(weight_decay)
    return chain(direction, decay, scale_by_learning_rate(learning_rate))


@described
def scale_by_lion(beta1: float = 0.9, beta2: float = 0.99) -> Optimizer:
    """sign(beta1 m + (1 - beta1) g), as :func:`lion` says; the velocity of its state is m."""
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        require(is_real(beta, low=0, below=1), "scale_by_lion", f"a {name} in [0, 1)", repr(beta))

    def rule(g: Array, m: Array) -> tuple[Array, Array]:
        return namespace(g).sign(beta1 * m + (1 - beta1) * g), beta2 * m + (1 - beta2) * g

    def update(grads: Updates, state: MomentumState, params: Params) -> tuple[Updates, MomentumState]:
        updates, velocity = by_leaf(2, rule, grads, state.velocity)
        return updates, MomentumState(velocity)

    return Optimizer(lambda params: MomentumState(start_like(params)), update)


@described
def adagrad(
    learning_rate: Rate, initial_accumulator: float = 0.1, eps: float = 1e-7, eps_placement: EpsPlacement = "inside"
) -> Optimizer:
    """v = v + g^2, update = -rate g / sqrt(v + eps), from v = ``initial_accumulator`` (Duchi et al. 2011).

    Defaults as in Optax. PyTorch and the book *Neural Networks from Scratch* start from 0, with eps outside.
    """
    as_schedule("adagrad", learning_rate)
    return chain(scale_by_rss(initial_accumulator, eps, eps_placement), scale_by_learning_rate(learning_rate))


@described
def rmsprop(
    learning_rate: Rate,
    decay: float = 0.9,
    eps: float = 1e-8,
    eps_placement: EpsPlacement = "inside",
    momentum: float = 0.0,
) -> Optimizer:
    """v = decay v + (1 - decay) g^2, update = -rate g / sqrt(v + eps), then momentum (Tieleman and Hinton 2012).

    Defaults as in Optax. PyTorch and the book *Neural Networks from Scratch* have eps outside. The velocity takes the
    rate in, as in Optax: where the rate changes, PyTorch, which multiplies by it last, takes other steps.
    """
    as_schedule("rmsprop", learning_rate)
    parts = [scale_by_rms(decay, eps, eps_placement), scale_by_learning_rate(learning_rate)]
    momentum_part = accumulate_momentum(momentum)
    return chain(*parts, *([momentum_part] if momentum != 0 else []))


@described
def accumulate_momentum(momentum: float, nesterov: bool = False) -> Optimizer:
    """v = momentum v + g; gives v (Polyak 1964), or g + momentum v with ``nesterov`` (Sutskever et al. 2013)."""
    require(is_real(momentum, low=0, below=1), "accumulate_momentum", "a momentum in [0, 1)", repr(momentum))
    require(isinstance(nesterov, bool), "accumulate_momentum", "True or False for nesterov", repr(nesterov))

    def rule(g: Array, v: Array) -> tuple[Array, Array]:
        v = g + momentum * v
        return g + momentum * v if nesterov else v, v

    def update(grads: Updates, state: MomentumState, params: Params) -> tuple[Updates, MomentumState]:
        updates, velocity = by_leaf(2, rule, grads, state.velocity)
        return updates, MomentumState(velocity)

    return Optimizer(lambda params: MomentumState(start_like(params)), update)


@described
def scale_by_adam(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, nesterov: bool = False) -> Optimizer:
    """m' / (sqrt(v') + eps), as :func:`adam` says (or :func:`nadam`, with ``nesterov``), before the learning rate."""
    require(isinstance(nesterov, bool), "scale_by_adam", "True or False for nesterov", repr(nesterov))
    return _adam("scale_by_adam", beta1, beta2, eps, nesterov)


@described
def scale_by_rss(
    initial_accumulator: float = 0.1, eps: float = 1e-7, eps_placement: EpsPlacement = "inside"
) -> Optimizer:
    """g / sqrt(v + eps) with v the sum of g^2, as :func:`adagrad` says."""
    fits = is_real(initial_accumulator, low=0)
    require(fits, "scale_by_rss", "an initial_accumulator of at least 0", repr(initial_accumulator))
    return _by_squares("scale_by_rss", initial_accumulator, 1.0, 1.0, eps, eps_placement)


@described
def scale_by_rms(decay: float = 0.9, eps: float = 1e-8, eps_placement: EpsPlacement = "inside") -> Optimizer:
    """g / sqrt(v + eps) with v the running mean of g^2, as :func:`rmsprop` says."""
    require(is_real(decay, low=0, below=1), "scale_by_rms", "a decay in [0, 1)", repr(decay))
    return _by_squares("scale_by_rms", 0.0, decay, 1 - decay, eps, eps_placement)


@described
def scale_by_learning_rate(learning_rate: Rate) -> Optimizer:
    """-rate times the gradients; the state holds the rate of the latest update (before any, of the first)."""
    schedule = as_schedule("scale_by_learning_rate", learning_rate)

    def init(params: Params) -> LearningRateState:
        check_floating_leaves(params)
        return LearningRateState(0, schedule(0))

    def update(grads: Updates, state: LearningRateState, params: Params) -> tuple[Updates, LearningRateState]:
        rate = schedule(state.step)
        (updates,) = by_leaf(1, lambda g, param: (-rate * g,), grads, params)
        return updates, LearningRateState(state.step + 1, rate)

    return Optimizer(init, update, _latest_rate)


def _adam(
    where: str, beta1: float, beta2: float, eps: float, nesterov: bool = False, schedule: Any = None
) -> Optimizer:
    """Adam's direction; with a schedule, minus its rate times the direction."""
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        require(is_real(beta, low=0, below=1), where, f"a {name} in [0, 1)", repr(beta))
    _check_eps(where, eps)

    def init(params: Params) -> AdamState:
        return AdamState(0, schedule and schedule(0), start_like(params), start_like(params))

    def update(grads: Updates, state: AdamState, params: Params) -> tuple[Updates, AdamState]:
        step, rate = state.step + 1, schedule and schedule(state.step)
        # m and v are the sums here, not the means of :func:`adam`: m' = to_mean m and sqrt(v') = sqrt(v) / root. For
        # speed neither is corrected, m' / (sqrt(v') + eps) is scale m / (sqrt(v) + floor), and scale has the rate in
        # it: scale_by_adam and scale_by_learning_rate take 15 % longer together, on 100,000 float32 params or more.
        to_mean = (1 - beta1) / one_minus_power(beta1, step)
        root = (one_minus_power(beta2, step) / (1 - beta2)) ** 0.5
        scale, floor = (1.0 if rate is None else -rate) * to_mean * root, eps * root
        # Nesterov's m' is to_mean (ahead m + g): the sum as the next step corrects it, and g as this one does.
        ahead = nesterov and beta1 * one_minus_power(beta1, step) / one_minus_power(beta1, step + 1)

        def rule(g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
            m = beta1 * m
            m += g
            v = beta2 * v
            v += g * g
            divisor = namespace(v).sqrt(v)
            divisor += floor
            update = (ahead * m + g if nesterov else m) / divisor
            update *= scale
            return update, m, v

        updates, sums, squares = by_leaf(3, rule, grads, state.sums, state.squares)
        return updates, AdamState(step, rate, sums, squares)

    return Optimizer(init, update, schedule and _latest_rate)


def _by_squares(where: str, start: float, old: float, new: float, eps: float, placement: EpsPlacement) -> Optimizer:
    """v = old v + new g^2 from ``start``, and g over its root."""
    _check_eps(where, eps)
    known = is_one_of(placement, ("inside", "outside"))
    require(known, where, "an eps_placement of 'inside' or 'outside'", repr(placement))

    def rule(g: Array, v: Array) -> tuple[Array, Array]:
        sqrt = namespace(v).sqrt
        v = old * v + new * g * g
        return g / (sqrt(v + eps) if placement == "inside" else sqrt(v) + eps), v

    def update(grads: Updates, state: SquaresState, params: Params) -> tuple[Updates, SquaresState]:
        updates, nu = by_leaf(2, rule, grads, state.nu)
        return updates, SquaresState(nu)

    return Optimizer(lambda params: SquaresState(tree.map(lambda zeros: zeros + start, start_like(params))), update)


def _check_eps(where: str, eps: float) -> None:
    require(is_real(eps) and eps > 0, where, "an eps above 0", repr(eps))
