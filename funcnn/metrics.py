"""Evaluation metrics that merge exactly across batches.

A metric that is a mean over samples is a function ``(outputs, targets, weights=None)``, and :func:`weighted_mean`
merges it. What is no mean comes from a table that merges by adding: a :func:`confusion_matrix` gives
:func:`precision`, :func:`recall` and :func:`f1`; :func:`reliability` gives the :func:`calibration_error`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from toolz import merge_with

from funcnn.arrays import Array, is_dtype, namespace, number
from funcnn.errors import InputError, is_count, is_real, require
from funcnn.spec import DescribedFunction, described
from funcnn.targets import check_distributions


def accuracy(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    """The share of samples whose largest output stands at the target, weighted where weights are given.

    Args:
        outputs: Logits or probabilities, (batch, classes).
        targets: Integers (batch,) or distributions (batch, classes).
        weights: Sample weights, (batch,).

    Raises:
        InputError: Targets that are neither, targets or weights of another shape, or no samples.

    >>> import numpy as np
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    labels = _labels("accuracy", outputs, targets, weights)
    return _share(namespace(outputs).argmax(outputs, axis=-1) == labels, weights)


@described
def top_k_accuracy(k: int) -> DescribedFunction:
    """The metric whether the target is among the k largest outputs; of equal outputs the first counts as larger.

    >>> import numpy as np
    >>> top_k_accuracy(2)(np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), np.array([1, 2]))
    0.5
    """
    require(is_count(k), "top_k_accuracy", "k to be a positive whole number", repr(k))
    return DescribedFunction(partial(_top_k, k))


def binary_accuracy(outputs: Array, targets: Array, weights: Array | None = None, *, threshold: float = 0.5) -> Any:
    """The mean share of right outputs, each on its own: right where output and target are on one side of a threshold.

    Args:
        outputs: Probabilities, (batch, ...); for logits the threshold is 0.
        targets: 0 or 1, in the shape of the outputs.
        weights: Sample weights, (batch,).
        threshold: Outputs above it are taken for 1.

    Raises:
        InputError: Targets or weights of another shape, or no samples.

    >>> import numpy as np
    >>> binary_accuracy(np.array([[0.9, 0.2, 0.6]]), np.array([[1, 0, 0]])) == 2 / 3
    True
    """
    _check_same_shape("binary_accuracy", outputs, targets, weights)
    return _mean((outputs > threshold) == (targets > 0.5), weights)


def exact_match(outputs: Array, targets: Array, weights: Array | None = None, *, threshold: float = 0.5) -> Any:
    """The share of samples all of whose outputs are right, for several labels a sample.

    >>> import numpy as np
    >>> exact_match(np.array([[0.9, 0.2], [0.9, 0.6]]), np.array([[1, 0], [1, 0]]))
    0.5
    """
    _check_same_shape("exact_match", outputs, targets, weights)
    xp = namespace(outputs)
    right = (outputs > threshold) == (targets > 0.5)
    return _share(xp.all(xp.reshape(right, (right.shape[0], -1)), axis=1), weights)


@described
def regression_accuracy(precision: float) -> DescribedFunction:
    """The metric of the share of outputs with |output - target| < precision.

    In *Neural Networks from Scratch* the precision is the standard deviation of the targets over 250.

    >>> import numpy as np
    >>> regression_accuracy(0.1)(np.array([[1.0], [2.0]]), np.array([[1.05], [2.2]]))
    0.5
    """
    fits = is_real(precision) and precision > 0
    require(fits, "regression_accuracy", "a precision above 0", repr(precision))
    return DescribedFunction(partial(_close, precision))


def negative_log_likelihood(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    """The mean of -log p of the target, for probabilities (batch, classes).

    >>> import numpy as np
    >>> round(negative_log_likelihood(np.array([[0.5, 0.5]]), np.array([0])), 4)
    0.6931
    """
    labels, xp = _labels("negative_log_likelihood", outputs, targets, weights), namespace(outputs)
    chosen = xp.take_along_axis(outputs, labels[:, None], axis=1)[:, 0]
    return _mean(-xp.log(chosen), weights)


def confusion_matrix(outputs: Array, targets: Array, weights: Array | None = None) -> Array:
    """How often, or with what weight, each class (row) is taken for each (column); those of batches add up.

    >>> import numpy as np
    >>> confusion_matrix(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 1, 0]))
    array([[0., 1.],
           [1., 1.]])
    """
    labels, xp = _labels("confusion_matrix", outputs, targets, weights), namespace(outputs)
    rows, columns = (_one_hot(indices, outputs) for indices in (labels, xp.argmax(outputs, axis=-1)))
    return (rows if weights is None else rows * xp.astype(weights, outputs.dtype)[:, None]).T @ columns


def precision(matrix: Array) -> Array:
    """Of what was taken for each class, the share that is; 0 where nothing was.

    >>> import numpy as np
    >>> precision(np.array([[3.0, 1.0], [1.0, 1.0]]))
    array([0.75, 0.5 ])
    """
    return _ratio(_diagonal(matrix), namespace(matrix).sum(matrix, axis=0))


def recall(matrix: Array) -> Array:
    """Of each class, the share that was taken for it; 0 where there is none.

    >>> import numpy as np
    >>> recall(np.array([[3.0, 1.0], [0.0, 0.0]]))
    array([0.75, 0.  ])
    """
    return _ratio(_diagonal(matrix), namespace(matrix).sum(matrix, axis=1))


def f1(matrix: Array) -> Array:
    """2 precision recall / (precision + recall) of each class; 0 where both are (van Rijsbergen 1979)."""
    xp = namespace(matrix)
    return _ratio(2 * _diagonal(matrix), xp.sum(matrix, axis=0) + xp.sum(matrix, axis=1))


def reliability(outputs: Array, targets: Array, weights: Array | None = None, *, bins: int = 10) -> Array:
    """For probabilities (batch, classes), a table (bins, 3) of weight, confidence and correctness; tables add up.

    The confidence is the largest probability, and bin i holds those in (i / bins, (i + 1) / bins].

    Raises:
        InputError: ``bins`` is no positive whole number, or targets or weights have another shape.
    """
    require(is_count(bins), "reliability", "bins to be a positive whole number", repr(bins))
    labels, xp = _labels("reliability", outputs, targets, weights), namespace(outputs)
    confidence = xp.max(outputs, axis=-1)
    correct = xp.astype(xp.argmax(outputs, axis=-1) == labels, outputs.dtype)
    weight = xp.ones_like(confidence) if weights is None else xp.astype(weights, outputs.dtype)
    bin_of = xp.clip(xp.astype(xp.ceil(confidence * bins), xp.int32) - 1, 0, bins - 1)
    members = xp.astype(bin_of[:, None] == xp.arange(bins), outputs.dtype)
    return members.T @ xp.stack([weight, weight * confidence, weight * correct], axis=1)


def calibration_error(table: Array) -> Any:
    """The mean of |correctness - confidence| over the bins of a :func:`reliability` table (Guo et al. 2017).

    >>> import numpy as np
    >>> calibration_error(np.array([[10.0, 9.0, 5.0]]))
    0.4
    """
    xp = namespace(table)
    return number(xp.sum(xp.abs(table[:, 2] - table[:, 1]))) / number(xp.sum(table[:, 0]))


def weighted_mean(parts: Iterable[tuple[float, Mapping[str, Any]]]) -> dict[str, float]:
    """The mean of metrics over pairs of weight and metrics: exact where a weight is what its metrics average over.

    >>> weighted_mean([(3, {"loss": 1.0}), (1, {"loss": 5.0})])
    {'loss': 2.0}
    """
    weights, metrics = zip(*parts, strict=True)
    total = sum(weights)

    def mean(values: Sequence[Any]) -> float:
        return float(sum(weight * value for weight, value in zip(weights, values, strict=True)) / total)

    means: dict[str, float] = merge_with(mean, *metrics)
    return means


def _top_k(k: int, outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    labels, xp = _labels("top_k_accuracy", outputs, targets, weights), namespace(outputs)
    own = xp.take_along_axis(outputs, labels[:, None], axis=1)
    earlier = xp.arange(outputs.shape[1])[None, :] < labels[:, None]
    ahead = ~(outputs <= own) | ((outputs == own) & earlier)  # NaN is ahead of all: a network that diverged is wrong
    return _share(xp.count_nonzero(ahead, axis=1) < k, weights)


def _close(precision: float, outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    _check_same_shape("regression_accuracy", outputs, targets, weights)
    return _mean(namespace(outputs).abs(outputs - targets) < precision, weights)


def _labels(where: str, outputs: Array, targets: Array, weights: Array | None) -> Array:
    """The targets as integers (batch,), once all shapes fit."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        hint = "for anything else choose other metrics: binary_accuracy, or none"
        raise InputError(where, "outputs (batch, classes) of two classes or more", outputs.shape, hint)
    if targets.shape not in (outputs.shape, outputs.shape[:1]) or outputs.shape[0] == 0:
        expected = f"targets {outputs.shape[:1]} or {outputs.shape} of at least one sample"
        raise InputError(where, expected, targets.shape)
    _check_weights(where, outputs, weights)
    if targets.ndim == 2:
        check_distributions(where, targets)
        return namespace(outputs).argmax(targets, axis=-1)
    if not is_dtype(namespace(targets), targets.dtype, "integral"):
        raise InputError(where, "integers or distributions as targets", targets.dtype, "a regression has no accuracy")
    return targets


def _check_same_shape(where: str, outputs: Array, targets: Array, weights: Array | None) -> None:
    if targets.shape != outputs.shape or outputs.shape[0] == 0:
        raise InputError(where, f"targets {outputs.shape} of at least one sample", targets.shape)
    _check_weights(where, outputs, weights)


def _check_weights(where: str, outputs: Array, weights: Array | None) -> None:
    if weights is not None and weights.shape != outputs.shape[:1]:
        raise InputError(where, f"weights {outputs.shape[:1]}", weights.shape)


def _share(correct: Array, weights: Array | None) -> Any:
    """The share of true samples (batch,), counted exactly."""
    xp = namespace(correct)
    if weights is None:
        count = number(xp.count_nonzero(correct))  # an int of NumPy's, which divides as it is
        return (count if isinstance(count, int) else xp.astype(count, _float(xp))) / correct.shape[0]
    return number(xp.sum(xp.where(correct, weights, xp.zeros_like(weights)))) / number(xp.sum(weights))


def _mean(values: Array, weights: Array | None) -> Any:
    """The mean within each sample (batch, ...), then over the samples."""
    xp = namespace(values)
    values = xp.reshape(xp.astype(values, _float(xp) if weights is None else weights.dtype), (values.shape[0], -1))
    samples = xp.mean(values, axis=1)
    return number(xp.mean(samples)) if weights is None else number(xp.sum(samples * weights)) / number(xp.sum(weights))


def _float(xp: ModuleType) -> Any:
    """The namespace's own floating dtype."""
    return xp.asarray(0.0).dtype


def _one_hot(labels: Array, outputs: Array) -> Array:
    xp = namespace(outputs)
    return xp.astype(labels[:, None] == xp.arange(outputs.shape[1]), outputs.dtype)


def _diagonal(matrix: Array) -> Array:
    xp = namespace(matrix)
    return xp.sum(matrix * xp.eye(matrix.shape[0], dtype=matrix.dtype), axis=0)


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, and 0 where the whole is 0."""
    xp = namespace(part)
    return part / xp.where(whole == 0, xp.ones_like(whole), whole)
