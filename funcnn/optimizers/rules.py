"""The rules: what becomes of a gradient, with the learning rate included.

Most are chains of parts: a direction, the learning rate, momentum. A learning rate is refused if it is negative or not
finite, a beta, decay or momentum outside [0, 1), an eps that is not above 0.
"""

from funcnn.errors import require
from funcnn.optimizers.base import Optimizer, chain
from funcnn.optimizers.scaling import (
    EpsPlacement,
    accumulate_momentum,
    adam_direction,
    descent,
    scale_by_adam,
    scale_by_lion,
    scale_by_rms,
    scale_by_rss,
)
from funcnn.optimizers.transforms import add_decayed_weights
from funcnn.schedules import Rate, as_schedule
from funcnn.spec import described

__all__ = ["adagrad", "adam", "adamw", "lion", "nadam", "rmsprop", "sgd"]


@described
def sgd(learning_rate: Rate, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Stochastic gradient descent: v = momentum v + g, then update = -rate v (Robbins and Monro 1951; Polyak 1964).

    With ``nesterov`` the update is -rate (g + momentum v) (Sutskever et al. 2013). This is the form of Optax and
    PyTorch. The other form, v = momentum v - rate g (``funcnn.nnfs.sgd``), differs once the rate changes.

    >>> import numpy as np
    >>> optimizer = sgd(0.1)
    >>> updates, _ = optimizer.update(np.array([1.0, -2.0]), optimizer.init(np.zeros(2)), np.zeros(2))
    >>> updates
    array([-0.1,  0.2])
    """
    momentum_part = accumulate_momentum(momentum, nesterov)
    require(momentum != 0 or not nesterov, "sgd", "a momentum above 0 for nesterov", momentum)
    return chain(*([momentum_part] if momentum != 0 else []), descent("sgd", learning_rate))


@described
def adam(learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam: steps of about the learning rate in each parameter, whatever the scale of its gradient.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and with t finished updates, this one included,
    update = -rate m' / (sqrt(v') + eps), m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) (Kingma and Ba 2015,
    algorithm 1).

    As in Optax and PyTorch, eps is outside the root; Keras uses the "eps hat" of section 2, another constant.

    It equals ``chain(scale_by_adam(beta1, beta2, eps), scale_by_learning_rate(learning_rate))`` in one pass less.

    >>> adam()
    adam(0.001)
    """
    return adam_direction("adam", beta1, beta2, eps, schedule=as_schedule("adam", learning_rate))


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
    direction, decay = scale_by_adam(beta1, beta2, eps), add_decayed_weights(weight_decay, mask)
    return chain(direction, decay, descent("adamw", learning_rate))


@described
def nadam(learning_rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam with Nesterov's momentum: m' = beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t) (Dozat 2016).

    beta1 is constant, as in Optax; in PyTorch and Keras it grows by Dozat's schedule.
    """
    return chain(scale_by_adam(beta1, beta2, eps, nesterov=True), descent("nadam", learning_rate))


@described
def lion(learning_rate: Rate = 1e-4, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 1e-3) -> Optimizer:
    """The sign of a momentum: update = -rate (sign(beta1 m + (1 - beta1) g) + weight_decay params).

    Then m = beta2 m + (1 - beta2) g, from m = 0 (Chen et al. 2023). Defaults as in Optax.
    """
    direction, decay = scale_by_lion(beta1, beta2), add_decayed_weights(weight_decay)
    return chain(direction, decay, descent("lion", learning_rate))


@described
def adagrad(
    learning_rate: Rate, initial_accumulator: float = 0.1, eps: float = 1e-7, eps_placement: EpsPlacement = "inside"
) -> Optimizer:
    """v = v + g^2, update = -rate g / sqrt(v + eps), from v = ``initial_accumulator`` (Duchi et al. 2011).

    Defaults as in Optax. PyTorch and the book *Neural Networks from Scratch* start from 0, with eps outside.
    """
    return chain(scale_by_rss(initial_accumulator, eps, eps_placement), descent("adagrad", learning_rate))


@described
def rmsprop(
    learning_rate: Rate,
    decay: float = 0.9,
    eps: float = 1e-8,
    eps_placement: EpsPlacement = "inside",
    momentum: float = 0.0,
) -> Optimizer:
    """v = decay v + (1 - decay) g^2, update = -rate g / sqrt(v + eps), then momentum (Tieleman and Hinton 2012).

    Defaults as in Optax. PyTorch and the book *Neural Networks from Scratch* have eps outside. The rate multiplies the
    direction before momentum, as in Optax; PyTorch multiplies last, which differs where the rate changes.
    """
    parts = [scale_by_rms(decay, eps, eps_placement), descent("rmsprop", learning_rate)]
    momentum_part = accumulate_momentum(momentum)
    return chain(*parts, *([momentum_part] if momentum != 0 else []))
