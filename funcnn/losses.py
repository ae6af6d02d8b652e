"""Losses: layers whose output is one number.

Outputs of a classification are (batch, ..., classes). Its targets are integers (batch, ...), or distributions (batch,
..., classes), one-hot or soft. Other targets have the shape of the outputs. A loss is the mean over samples and
positions. With weights (batch,) or (batch, ...) it is sum(w l) / sum(w): a weight of two counts the sample twice
(:func:`class_weights` makes such weights), and a weight of zero, for padding, removes the sample, even if it holds NaN.
Keras divides by the number of samples instead.

Outputs are float32, float64, or bfloat16 with JAX; the value of bfloat16 outputs is float32. Every loss raises
``InputError`` for outputs that are not floating, for targets of another shape (nothing broadcasts) or with values
outside its domain, and for weights of another shape.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from funcnn import special
from funcnn.annotations import Float, Int, Num
from funcnn.arrays import Array, Shape, as_dtype_of, check_array, is_dtype, largest, namespace, total, widened
from funcnn.errors import InputError, is_real, require
from funcnn.spec import Described, described
from funcnn.targets import (
    Check,
    Targets,
    Weights,
    check_distributions,
    check_labels,
    check_probabilities,
    check_signs,
    distributions,
    present,
    shares_of,
)

__all__ = ["Loss", "binary_cross_entropy", "categorical_cross_entropy", "class_weights", "hinge", "huber"]
__all__ += ["joint_loss", "kl_divergence", "mean_absolute_error", "mean_squared_error", "sigmoid_binary_cross_entropy"]
__all__ += ["softmax_cross_entropy"]


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
def softmax_cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """-sum_i t_i log softmax(z)_i for logits z, fused and stable: log-sum-exp minus the target's logit.

    The outputs are logits (batch, ..., classes), so the model ends without a softmax. ``label_smoothing`` s replaces t
    by (1 - s) t + s / classes (Szegedy et al. 2016).

    >>> import numpy as np
    >>> logits = np.array([[-800.0, 0.0]])
    >>> value, residuals = softmax_cross_entropy().forward(logits, np.array([0]))
    >>> float(value), softmax_cross_entropy().vjp(residuals).tolist()
    (800.0, [[-1.0, 1.0]])
    """
    fits = is_real(label_smoothing, low=0, below=1)
    require(fits, "softmax_cross_entropy", "a label_smoothing in [0, 1)", repr(label_smoothing))

    def judge(z: Array, t: Array, shares: Array) -> tuple[Array, Array, Array]:
        xp = namespace(z)
        if label_smoothing:
            t = (1 - label_smoothing) * t + label_smoothing / z.shape[1]
        shifted = z - largest(z, -1, keepdims=True)
        exponentials = xp.exp(shifted)
        # Where the target's logit is far above the others, their sum is 1 + others: log1p keeps the digits of others.
        others, own = xp.vecdot(exponentials, 1 - t), xp.vecdot(exponentials, t)
        surprises = xp.log1p(others + (own - 1))[:, None] - shifted
        with np.errstate(invalid="ignore"):
            value = shares @ xp.vecdot(t, surprises)
        if not isinstance(value, np.generic) or value != value:  # a logit may be -inf where its target is 0
            finite = xp.minimum(surprises, xp.finfo(z.dtype).max)
            value = shares @ xp.vecdot(t, xp.where(t == 0, finite, surprises))
        return value, exponentials / total(exponentials, -1, keepdims=True), t

    return _of_classes("softmax_cross_entropy", judge, lambda p, t: p - t)


@described
def categorical_cross_entropy() -> Loss:
    """-sum_i t_i log p_i for probabilities p, clipped to [1e-7, 1 - 1e-7] (so the largest value is 16.118).

    The outputs are probabilities (batch, ..., classes), so the model ends with a softmax. The gradient is -t / p with
    the clipped p, finite everywhere. After a softmax it agrees with :func:`softmax_cross_entropy` where p is at
    least 1e-7; below, the gradient of the logits vanishes with p, and only the fused loss still learns.

    >>> import numpy as np
    >>> value, residuals = categorical_cross_entropy().forward(np.array([[0.0, 1.0]]), np.array([0]))
    >>> round(float(value), 3)
    16.118
    """

    def judge(p: Array, t: Array, shares: Array) -> tuple[Array, Array, Array]:
        xp, p = namespace(p), _clipped(p)
        return shares @ -xp.vecdot(t, xp.log(p)), p, t

    return _of_classes("categorical_cross_entropy", judge, lambda p, t: -t / p)


@described
def kl_divergence() -> Loss:
    """sum_i t_i (log t_i - y_i) for log probabilities y, with 0 log 0 = 0 (Kullback and Leibler 1951).

    Targets are distributions in the shape of the outputs, (batch, ..., classes).
    """

    def loss(y: Array, t: Array) -> Array:
        xp = namespace(y)
        return t * (xp.log(t + xp.astype(t == 0, t.dtype)) - y)

    return _elementwise("kl_divergence", loss, lambda y, t: -t, check=check_distributions, summed=True)


@described
def sigmoid_binary_cross_entropy() -> Loss:
    """log(1 + exp(z)) - t z for logits z, stable for every z: binary cross-entropy, for each output alone.

    Targets are 0 or 1, or probabilities, in the shape of the outputs.

    >>> import numpy as np
    >>> value, _ = sigmoid_binary_cross_entropy().forward(np.array([[-800.0], [0.0]]), np.array([[1.0], [1.0]]))
    >>> round(float(value), 3)
    400.347
    """

    def loss(z: Array, t: Array) -> Array:
        xp = namespace(z)
        return xp.maximum(z, 0) - t * z + xp.log1p(xp.exp(-xp.abs(z)))

    def slope(z: Array, t: Array) -> Array:
        return (1 - t) * special.sigmoid(z) - t * special.sigmoid(-z)

    return _elementwise("sigmoid_binary_cross_entropy", loss, slope, check=check_probabilities)


@described
def binary_cross_entropy() -> Loss:
    """-t log p - (1 - t) log(1 - p) for probabilities p, clipped to [1e-7, 1 - 1e-7], gradient included.

    Targets are 0 or 1, or probabilities, in the shape of the outputs, (batch, ...).
    """

    def loss(p: Array, t: Array) -> Array:
        xp, p = namespace(p), _clipped(p)
        return -t * xp.log(p) - (1 - t) * xp.log1p(-p)

    def slope(p: Array, t: Array) -> Array:
        p = _clipped(p)
        return (p - t) / (p * (1 - p))

    return _elementwise("binary_cross_entropy", loss, slope, check=check_probabilities)


@described
def mean_squared_error() -> Loss:
    """(y - t)^2, for outputs and targets (batch, ...)."""
    return _elementwise("mean_squared_error", lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t))


@described
def mean_absolute_error() -> Loss:
    """|y - t|, for outputs and targets (batch, ...); the gradient is 0 where they are equal."""
    return _elementwise("mean_absolute_error", lambda y, t: abs(y - t), lambda y, t: namespace(y).sign(y - t))


@described
def huber(delta: float = 1.0) -> Loss:
    """(y - t)^2 / 2 where |y - t| <= delta, else delta (|y - t| - delta / 2), for (batch, ...) (Huber 1964).

    Raises:
        InputError: A delta that is not above 0.
    """
    require(is_real(delta) and delta > 0, "huber", "a delta above 0", repr(delta))

    def slope(y: Array, t: Array) -> Array:
        return namespace(y).clip(y - t, -delta, delta)

    return _elementwise("huber", lambda y, t: (cut := slope(y, t)) * (y - t - 0.5 * cut), slope)


@described
def hinge() -> Loss:
    """max(0, 1 - t y) for scores y and targets t of -1 or 1, not 0 or 1, both (batch, ...) (Cortes and Vapnik 1995)."""

    def slope(y: Array, t: Array) -> Array:
        return -t * namespace(y).astype(t * y < 1, y.dtype)

    return _elementwise("hinge", lambda y, t: namespace(y).maximum(1 - t * y, 0), slope, check=check_signs)


@described
def joint_loss(*losses: Loss, weights: Sequence[float] | None = None) -> Loss:
    """sum_i weights_i loss_i(outputs_i, targets_i), for a model of several outputs (Caruana 1997).

    Outputs and targets are tuples; the sample weights go to every loss.

    Args:
        losses: A loss for each output.
        weights: The weight of each loss; 1 unless given.

    Raises:
        InputError: An argument is no loss, or there is not one weight of at least 0 for each loss. At a call: there are
            more or fewer outputs or targets than losses.

    >>> import numpy as np
    >>> loss = joint_loss(mean_squared_error(), mean_absolute_error(), weights=(1.0, 0.5))
    >>> outputs, targets = (np.array([[3.0]]), np.array([[2.0]])), (np.array([[1.0]]), np.array([[0.0]]))
    >>> float(loss.forward(outputs, targets)[0])
    5.0
    """
    require(len(losses) > 0, "joint_loss", "at least one loss", "none")
    for i, loss in enumerate(losses):
        require_loss(f"joint_loss[{i}]", loss)
    shares = (1.0,) * len(losses) if weights is None else weights
    fits = isinstance(shares, tuple) and len(shares) == len(losses) and all(is_real(share, low=0) for share in shares)
    require(fits, "joint_loss", f"{len(losses)} weights of at least 0", repr(weights))

    def forward(outputs: Any, targets: Any, weights: Weights = None) -> tuple[Array, tuple[Any, ...]]:
        for name, given in (("outputs", outputs), ("targets", targets)):
            several = isinstance(given, tuple | list) and len(given) == len(losses)
            require(several, "joint_loss", f"a tuple of {len(losses)} {name}", type(given).__name__)
        each = zip(losses, outputs, targets, strict=True)
        values, residuals = zip(*(loss.forward(y, t, weights) for loss, y, t in each), strict=True)
        return sum(share * value for share, value in zip(shares, values, strict=True)), residuals

    def vjp(residuals: tuple[Any, ...]) -> tuple[Array, ...]:
        return tuple(share * loss.vjp(own) for share, loss, own in zip(shares, losses, residuals, strict=True))

    return Loss(forward, vjp)


def require_loss(where: str, loss: object) -> None:
    """Raise unless ``loss`` is a Loss, not its constructor for instance."""
    if not isinstance(loss, Loss):
        raise InputError(where, "a Loss", repr(loss), "call its constructor: softmax_cross_entropy()")


def class_weights(
    targets: Int[Array, "batch"], weights: Sequence[float] | Num[np.ndarray, "classes"]
) -> Float[Array, "batch"]:
    """The weights of a :class:`funcnn.Batch` that count every sample of class i ``weights[i]`` times.

    Raises:
        InputError: The targets are not labels (batch,), or a label has no weight.

    >>> import numpy as np
    >>> class_weights(np.array([0, 1, 1]), (2.0, 0.5)).tolist()
    [2.0, 0.5, 0.5]
    """
    check_array("class_weights", "targets", targets)
    xp = namespace(targets)
    weights = weights.tolist() if isinstance(weights, np.ndarray) else weights
    fits = isinstance(weights, tuple | list) and len(weights) > 0 and all(is_real(weight, low=0) for weight in weights)
    require(fits, "class_weights", "a list with a weight of at least 0 for each class", repr(weights))
    if targets.ndim != 1 or not is_dtype(xp, targets.dtype, "integral"):
        raise InputError("class_weights", "labels as integers (batch,)", f"{targets.dtype} {targets.shape}")
    check_labels("class_weights", targets, len(weights))
    return xp.take(xp.asarray(weights, dtype=xp.float32), targets, axis=0)


def _elementwise(
    name: str,
    f: Callable[[Array, Array], Array],
    df: Callable[[Array, Array], Array],
    *,
    check: Check | None = None,
    summed: bool = False,
) -> Loss:
    """f(y, t) for each output, averaged or ``summed`` within each sample; dy is df(y, t) times the output's share."""

    def forward(
        outputs: Float[Array, "batch ..."], targets: Num[Array, "batch ..."], weights: Weights = None
    ) -> tuple[Float[Array, ""], tuple[Array, Array, Array, Shape]]:
        samples, targets, weights = present(name, outputs, targets, weights, classes=summed)
        if samples.shape != targets.shape:
            expected = f"targets in the outputs' shape {samples.shape}"
            raise InputError(name, expected, targets.shape, "reshape one of them")
        if check is not None:
            check(name, targets)
        targets, y = as_dtype_of(samples, targets), widened(samples)
        shares, xp = shares_of(y, weights), namespace(y)
        losses = xp.reshape(f(y, widened(targets)), (y.shape[0], -1))
        return shares @ (xp.sum if summed else xp.mean)(losses, axis=1), (samples, targets, shares, outputs.shape)

    def vjp(residuals: tuple[Array, Array, Array, Shape]) -> Float[Array, "batch ..."]:
        outputs, targets, shares, shape = residuals
        share_of_output = 1.0 if summed else outputs.shape[0] / math.prod(outputs.shape)
        spread = namespace(outputs).reshape(shares, (-1, *[1] * (outputs.ndim - 1)))
        dy = as_dtype_of(outputs, df(widened(outputs), widened(targets)) * (spread * share_of_output))
        return dy if dy.shape == shape else namespace(dy).reshape(dy, shape)

    return Loss(forward, vjp)


def _of_classes(
    name: str,
    judge: Callable[[Array, Array, Array], tuple[Array, Array, Array]],
    slope: Callable[[Array, Array], Array],
) -> Loss:
    """``judge(y, t, shares)`` gives the value, p and t; dy is ``slope(p, t)`` times the sample's share."""

    def forward(
        outputs: Float[Array, "batch *positions classes"], targets: Targets, weights: Weights = None
    ) -> tuple[Float[Array, ""], tuple[Array, Array, Array, Shape]]:
        samples, targets, weights = present(name, outputs, targets, weights, classes=True)
        y = widened(samples)
        targets, shares = distributions(name, y, targets), shares_of(y, weights)
        value, p, targets = judge(y, targets, shares)
        return value, (p, targets, as_dtype_of(samples, shares), outputs.shape)

    def vjp(residuals: tuple[Array, Array, Array, Shape]) -> Float[Array, "batch *positions classes"]:
        p, targets, shares, shape = residuals
        dy = as_dtype_of(shares, slope(p, targets) * shares[:, None])
        return dy if dy.shape == shape else namespace(dy).reshape(dy, shape)

    return Loss(forward, vjp)


def _clipped(p: Array) -> Array:
    return namespace(p).clip(p, 1e-7, 1 - 1e-7)
