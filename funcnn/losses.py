"""Losses: layers whose output is one number.

Targets of a classification are integers (batch,) or distributions (batch, classes), one-hot or soft. A loss is
the mean over the samples, weighted where weights (batch,) are given: sum(w l) / sum(w), so that a weight of two
is the sample twice. Nothing broadcasts: shapes that do not fit are refused.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import numpy as np
from jaxtyping import Float, Int, Num

from funcnn.arrays import Array, check_floating, namespace
from funcnn.errors import InputError
from funcnn.spec import Described, described

Targets: TypeAlias = Int[Array, "batch"] | Num[Array, "batch classes"]
Weights: TypeAlias = Num[Array, "batch"] | None


@attrs.frozen(eq=False, repr=False)
class Loss(Described):
    """Two pure functions; constructors such as :func:`softmax_cross_entropy` make them.

    Attributes:
        forward: ``forward(outputs, targets, weights=None) -> (value, residuals)``.
        vjp: ``vjp(residuals) -> doutputs``, the gradient of the value with respect to the outputs.
    """

    forward: Callable[..., tuple[Array, Any]]
    vjp: Callable[[Any], Array]


@described
def softmax_cross_entropy() -> Loss:
    """-sum_i t_i log softmax(z)_i for logits z, fused and stable: log-sum-exp minus the target's logit.

    The outputs are logits (batch, classes), so the model ends without a softmax.

    Raises:
        InputError: Outputs that are not floating (batch, classes), or targets or weights that do not fit them.

    >>> logits = np.array([[-800.0, 0.0]])
    >>> value, residuals = softmax_cross_entropy().forward(logits, np.array([0]))
    >>> float(value), softmax_cross_entropy().vjp(residuals).tolist()
    (800.0, [[-1.0, 1.0]])
    """
    return Loss(softmax_cross_entropy_forward, softmax_cross_entropy_vjp)


@described
def categorical_cross_entropy() -> Loss:
    """-sum_i t_i log p_i for probabilities p, which are clipped to [1e-7, 1 - 1e-7] (so the most is 16.118).

    The outputs are probabilities (batch, classes), so the model ends with a softmax. The gradient is -t / p with the
    clipped p, finite everywhere. Behind a softmax it agrees with :func:`softmax_cross_entropy` where p is at least
    1e-7; below, the gradient of the logits fades with p, and only the fused loss still learns.

    Raises:
        InputError: Outputs that are not floating (batch, classes), or targets or weights that do not fit them.

    >>> value, residuals = categorical_cross_entropy().forward(np.array([[0.0, 1.0]]), np.array([0]))
    >>> round(float(value), 3)
    16.118
    """
    return Loss(categorical_cross_entropy_forward, categorical_cross_entropy_vjp)


def softmax_cross_entropy_forward(
    outputs: Float[Array, "batch classes"],
    targets: Targets,
    weights: Weights = None,
) -> tuple[Float[Array, ""], tuple[Array, Array, Array]]:
    """The loss; the residuals are probabilities, target distributions and each sample's share of the mean."""
    xp = check_floating("softmax_cross_entropy", outputs)
    targets, shares = _prepared("softmax_cross_entropy", outputs, targets, weights)
    shifted = outputs - xp.max(outputs, axis=-1, keepdims=True)
    exponentials = xp.exp(shifted)
    sums = xp.sum(exponentials, axis=-1, keepdims=True)
    losses = xp.sum(targets * (xp.log(sums) - shifted), axis=-1)
    return shares @ losses, (exponentials / sums, targets, shares)


def softmax_cross_entropy_vjp(residuals: tuple[Array, Array, Array]) -> Float[Array, "batch classes"]:
    """dz = (p - t) / batch, for targets that sum to 1."""
    probabilities, targets, shares = residuals
    return (probabilities - targets) * shares[:, None]


def categorical_cross_entropy_forward(
    outputs: Float[Array, "batch classes"],
    targets: Targets,
    weights: Weights = None,
) -> tuple[Float[Array, ""], tuple[Array, Array, Array]]:
    """The loss; the residuals are clipped probabilities, target distributions and shares of the mean."""
    xp = check_floating("categorical_cross_entropy", outputs)
    targets, shares = _prepared("categorical_cross_entropy", outputs, targets, weights)
    clipped = xp.clip(outputs, 1e-7, 1 - 1e-7)
    losses = -xp.sum(targets * xp.log(clipped), axis=-1)
    return shares @ losses, (clipped, targets, shares)


def categorical_cross_entropy_vjp(residuals: tuple[Array, Array, Array]) -> Float[Array, "batch classes"]:
    """dp = -t / p / batch, with the clipped p."""
    clipped, targets, shares = residuals
    return -targets / clipped * shares[:, None]


def _prepared(where: str, outputs: Array, targets: Targets, weights: Weights) -> tuple[Array, Array]:
    """Targets as distributions, and the samples' shares of the mean."""
    return _distributions(where, outputs, targets), _shares(where, outputs, weights)


def _distributions(where: str, outputs: Array, targets: Targets) -> Array:
    """Targets as distributions (batch, classes) of the outputs' dtype: integers become one-hot."""
    xp = namespace(outputs)
    if outputs.ndim != 2 or outputs.shape[0] == 0:
        raise InputError(where, "outputs (batch, classes) of at least one sample", outputs.shape)
    if targets.shape == outputs.shape:
        _check_distributions(where, targets)
        return xp.astype(targets, outputs.dtype)
    batch, classes = outputs.shape
    if targets.shape != (batch,) or not namespace(targets).isdtype(targets.dtype, "integral"):
        expected = f"targets as integers ({batch},) or distributions ({batch}, {classes})"
        raise InputError(where, expected, f"{targets.dtype} {targets.shape}")
    if isinstance(targets, np.ndarray) and (targets.min() < 0 or targets.max() >= classes):  # values, so not traced
        row = int(np.argmax((targets < 0) | (targets >= classes)))
        raise InputError(where, f"labels from 0 to {classes - 1}", f"{targets[row]} in row {row}")
    return xp.astype(targets[:, None] == xp.arange(classes), outputs.dtype)


def _check_distributions(where: str, targets: Array) -> None:
    """On NumPy, where the values are known: each row is at least 0 and sums to 1."""
    if isinstance(targets, np.ndarray):
        fits = (targets.min(axis=1) >= 0) & (abs(targets.sum(axis=1) - 1) < 1e-3)
        if not fits.all():
            row = int(np.argmin(fits))
            raise InputError(where, "distributions, at least 0 with a sum of 1", f"{targets[row]} in row {row}")


def _shares(where: str, outputs: Array, weights: Weights) -> Array:
    """Each sample's share (batch,) of the mean: 1 / batch, or its weight over the sum of all weights."""
    xp = namespace(outputs)
    batch = outputs.shape[0]
    if weights is None:
        return xp.full((batch,), 1 / batch, dtype=outputs.dtype)
    if weights.shape != (batch,):
        raise InputError(where, f"weights ({batch},)", weights.shape)
    if isinstance(weights, np.ndarray) and not (weights.min() >= 0 and 0 < weights.sum() < np.inf):
        found = f"a least of {weights.min()} and a sum of {weights.sum()}"
        raise InputError(where, "finite weights of at least 0, not all of them 0", found)
    weights = xp.astype(weights, outputs.dtype)
    return weights / xp.sum(weights)
