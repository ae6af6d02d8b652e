"""The optimizers of *Neural Networks from Scratch in Python*, exactly, under the names and defaults of the book.

They differ from :mod:`funcnn.optimizers.rules`: epsilon is outside the root, accumulators start at 0, the velocity
includes the learning rate, and the rate of update t is learning_rate / (1 + decay t).
"""

from funcnn import optimizers
from funcnn.optimizers import Optimizer
from funcnn.schedules import inverse_time_decay

__all__ = ["adagrad", "adam", "rmsprop", "sgd"]


def sgd(learning_rate: float = 1.0, decay: float = 0.0, momentum: float = 0.0) -> Optimizer:
    """v = momentum v - rate g, update = v (chapter 10, Optimizer_SGD).

    >>> sgd(momentum=0.9)
    chain(scale_by_learning_rate(inverse_time_decay(1.0, 0.0)), accumulate_momentum(0.9))
    """
    rate = optimizers.scale_by_learning_rate(inverse_time_decay(learning_rate, decay))
    return optimizers.chain(rate, *([optimizers.accumulate_momentum(momentum)] if momentum else []))


def adagrad(learning_rate: float = 1.0, decay: float = 0.0, epsilon: float = 1e-7) -> Optimizer:
    """c = c + g^2, update = -rate g / (sqrt(c) + epsilon) (Optimizer_Adagrad)."""
    rate = inverse_time_decay(learning_rate, decay)
    return optimizers.adagrad(rate, initial_accumulator=0.0, eps=epsilon, eps_placement="outside")


def rmsprop(learning_rate: float = 0.001, decay: float = 0.0, epsilon: float = 1e-7, rho: float = 0.9) -> Optimizer:
    """c = rho c + (1 - rho) g^2, update = -rate g / (sqrt(c) + epsilon) (Optimizer_RMSprop)."""
    return optimizers.rmsprop(inverse_time_decay(learning_rate, decay), decay=rho, eps=epsilon, eps_placement="outside")


def adam(
    learning_rate: float = 0.001, decay: float = 0.0, epsilon: float = 1e-7, beta_1: float = 0.9, beta_2: float = 0.999
) -> Optimizer:
    """:func:`funcnn.adam` with the book's epsilon and decay (Optimizer_Adam)."""
    return optimizers.adam(inverse_time_decay(learning_rate, decay), beta_1, beta_2, epsilon)
