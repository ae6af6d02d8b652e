"""Evaluation metrics that merge exactly across batches.

A mean over samples is a function ``(outputs, targets, weights=None)``, and :func:`weighted_mean` merges its values.
Other metrics are computed from tables that merge by addition: a :func:`confusion_matrix` gives :func:`precision`,
:func:`recall` and :func:`f1`; a :func:`reliability` table gives the :func:`calibration_error`.

In classification, outputs are logits or probabilities (batch, ..., classes), and targets are integers (batch, ...) or
distributions (batch, ..., classes); each position counts as a sample. In other metrics, targets have the shape of the
outputs, (batch, ...). Weights are (batch,), or (batch, ...) for each position. Every metric raises ``InputError`` for
targets or weights of another shape, and for no samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from toolz import merge_with

from funcnn.arrays import Array, check_real, default_float, is_dtype, namespace, number, widened
from funcnn.errors import InputError, is_count, is_real, require
from funcnn.spec import DescribedFunction, described
from funcnn.targets import check_distributions, check_labels, check_probabilities, present

__all__ = ["accuracy", "binary_accuracy", "calibration_error", "confusion_matrix", "exact_match", "f1"]
__all__ += ["negative_log_likelihood", "precision", "recall", "regression_accuracy", "reliability", "top_k_accuracy"]
__all__ += ["weighted_mean"]


def accuracy(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    """The weighted share of samples whose largest output is at the target.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    outputs, labels, weights = _classified("accuracy", outputs, targets, weights)
    return _share(_right(outputs, labels), weights)


@described
def top_k_accuracy(k: int) -> DescribedFunction:
    """The share of samples whose target is among the k largest outputs; among equal outputs, the first ranks higher.

    >>> top_k_accuracy(2)(np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), np.array([1, 2]))
    0.5
    """
    require(is_count(k), "top_k_accuracy", "k to be a positive whole number", repr(k))

    def metric(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
        outputs, labels, weights = _classified("top_k_accuracy", outputs, targets, weights)
        xp = namespace(outputs)
        own = xp.take_along_axis(outputs, labels[:, None], axis=1)
        earlier = xp.arange(outputs.shape[1])[None, :] < labels[:, None]
        ahead = ~(outputs <= own) | ((outputs == own) & earlier)  # NaN is ahead of all
        return _share(xp.count_nonzero(ahead, axis=1) < k, weights)

    return DescribedFunction(metric)


def binary_accuracy(outputs: Array, targets: Array, weights: Array | None = None, *, threshold: float = 0.5) -> Any:
    """The mean share of outputs on the same side of the threshold as their target.

    Targets are 0 or 1, and an output above the threshold counts as 1. For logits the threshold is 0.

    >>> binary_accuracy(np.array([[0.9, 0.2, 0.6]]), np.array([[1, 0, 0]])) == 2 / 3
    True
    """
    right, weights = _right_sides("binary_accuracy", outputs, targets, weights, threshold)
    return _mean(right, weights)


def exact_match(outputs: Array, targets: Array, weights: Array | None = None, *, threshold: float = 0.5) -> Any:
    """The share of samples with all outputs right, as in :func:`binary_accuracy`, for several labels per sample.

    >>> exact_match(np.array([[0.9, 0.2], [0.9, 0.6]]), np.array([[1, 0], [1, 0]]))
    0.5
    """
    right, weights = _right_sides("exact_match", outputs, targets, weights, threshold)
    xp = namespace(right)
    return _share(xp.all(xp.reshape(right, (right.shape[0], -1)), axis=1), weights)


@described
def regression_accuracy(precision: float) -> DescribedFunction:
    """The share of outputs with |output - target| < precision.

    In *Neural Networks from Scratch* the precision is the standard deviation of the targets / 250.

    >>> regression_accuracy(0.1)(np.array([[1.0], [2.0]]), np.array([[1.05], [2.2]]))
    0.5
    """
    require(is_real(precision) and precision > 0, "regression_accuracy", "a precision above 0", repr(precision))

    def metric(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
        outputs, targets, weights = _alike("regression_accuracy", outputs, targets, weights)
        return _mean(namespace(outputs).abs(outputs - targets) < precision, weights)

    return DescribedFunction(metric)


def negative_log_likelihood(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    """The mean of -log p of the target, for probabilities (batch, classes); infinite at p = 0 (scikit-learn clips p).

    >>> round(negative_log_likelihood(np.array([[0.5, 0.5]]), np.array([0])), 4)
    0.6931
    """
    outputs, labels, weights = _classified("negative_log_likelihood", outputs, targets, weights)
    xp = namespace(outputs)
    return _mean(-xp.log(xp.take_along_axis(outputs, labels[:, None], axis=1)[:, 0]), weights)


def confusion_matrix(outputs: Array, targets: Array, weights: Array | None = None) -> Array:
    """The number, or total weight, of samples of each class (row) per predicted class (column); matrices add up.

    A sample with an output that is NaN counts in equal parts for each wrong class.

    >>> confusion_matrix(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 1, 0]))
    array([[0., 1.],
           [1., 1.]])
    """
    outputs, labels, weights = _classified("confusion_matrix", outputs, targets, weights)
    xp, count = namespace(outputs), outputs.shape[1]
    dtype = default_float(xp) if weights is None else weights.dtype
    rows, columns = (
        xp.astype(indices[:, None] == xp.arange(count), dtype) for indices in (labels, xp.argmax(outputs, axis=-1))
    )
    columns = xp.where(_is_number(outputs)[:, None], columns, (1 - rows) / (count - 1))
    return (rows if weights is None else rows * weights[:, None]).T @ columns


def precision(matrix: Array) -> Array:
    """Per class: true positives / predicted positives; 0 for a class that was never predicted.

    >>> precision(np.array([[3.0, 1.0], [1.0, 1.0]]))
    array([0.75, 0.5 ])
    """
    right, predicted, _ = _counts("precision", matrix)
    return _ratio(right, predicted)


def recall(matrix: Array) -> Array:
    """Per class: true positives / samples of the class; 0 for a class without samples.

    >>> recall(np.array([[3.0, 1.0], [0.0, 0.0]]))
    array([0.75, 0.  ])
    """
    right, _, support = _counts("recall", matrix)
    return _ratio(right, support)


def f1(matrix: Array) -> Array:
    """Per class: 2 precision recall / (precision + recall); 0 where both are 0 (van Rijsbergen 1979)."""
    right, predicted, support = _counts("f1", matrix)
    return _ratio(2 * right, predicted + support)


def reliability(outputs: Array, targets: Array, weights: Array | None = None, *, bins: int = 10) -> Array:
    """For probabilities (batch, classes), a table (bins, 3) of weight, confidence and correctness; tables add up.

    The confidence is the largest probability; bin i holds the samples with confidence in (i / bins, (i + 1) / bins].
    """
    require(is_count(bins), "reliability", "bins to be a positive whole number", repr(bins))
    outputs, labels, weights = _classified("reliability", outputs, targets, weights)
    xp = namespace(outputs)
    largest = xp.max(widened(outputs), axis=-1)
    confidence = xp.astype(largest, default_float(xp))
    correct = xp.astype(_right(outputs, labels), default_float(xp))
    weight = xp.ones_like(confidence) if weights is None else weights
    known = xp.where(_is_number(outputs), largest, xp.zeros_like(largest))
    bin_of = xp.clip(xp.astype(xp.ceil(known * bins), xp.int32) - 1, 0, bins - 1)
    members = xp.astype(bin_of[:, None] == xp.arange(bins), weight.dtype)
    return members.T @ xp.stack([weight, weight * confidence, weight * correct], axis=1)


def calibration_error(table: Array) -> Any:
    """The weighted mean of |correctness - confidence| over the bins of a :func:`reliability` table (Guo et al. 2017).

    >>> calibration_error(np.array([[10.0, 9.0, 5.0]]))
    0.4
    """
    _check_table("calibration_error", table, columns=3)
    xp = namespace(table)
    return number(xp.sum(xp.abs(table[:, 2] - table[:, 1]))) / number(xp.sum(table[:, 0]))


def weighted_mean(parts: Iterable[tuple[float, Mapping[str, Any]]]) -> dict[str, float]:
    """The mean of metrics over (weight, metrics) pairs: exact if each weight is the total weight of its batch.

    >>> weighted_mean([(3, {"loss": 1.0}), (1, {"loss": 5.0})])
    {'loss': 2.0}
    """
    pairs = [*parts] if isinstance(parts, Iterable) else []
    fits = bool(pairs) and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs)
    require(fits, "weighted_mean", "pairs of weight and metrics", repr(parts))
    weights, metrics = zip(*pairs, strict=True)
    total, names = sum(weights), {tuple(sorted(each)) for each in metrics}
    require(total > 0, "weighted_mean", "weights with a sum above 0", total)
    require(len(names) == 1, "weighted_mean", "metrics of the same names", " and ".join(map(repr, names)))

    def mean(values: Sequence[Any]) -> float:
        return float(sum(weight * value for weight, value in zip(weights, values, strict=True)) / total)

    means: dict[str, float] = merge_with(mean, *metrics)
    return means


def _classified(where: str, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """The checked outputs, labels (batch,) and weights."""
    outputs, targets, weights = present(where, outputs, targets, weights, classes=True)
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        hint = "for anything else choose other metrics: binary_accuracy, or none"
        raise InputError(where, "outputs (batch, classes) of two classes or more", outputs.shape, hint)
    if targets.shape not in (outputs.shape, outputs.shape[:1]):
        raise InputError(where, f"targets {outputs.shape[:1]} or {outputs.shape}", targets.shape)
    if targets.ndim == 2:
        check_distributions(where, targets)
        return outputs, namespace(outputs).argmax(targets, axis=-1), weights
    if not is_dtype(namespace(targets), targets.dtype, "integral"):
        raise InputError(where, "integers or distributions as targets", targets.dtype, "a regression has no accuracy")
    check_labels(where, targets, outputs.shape[1])
    return outputs, targets, weights


def _alike(where: str, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    outputs, targets, weights = present(where, outputs, targets, weights)
    if targets.shape != outputs.shape:
        raise InputError(where, f"targets {outputs.shape}", targets.shape)
    return outputs, targets, weights


def _right_sides(
    where: str, outputs: Array, targets: Array, weights: Array | None, threshold: float
) -> tuple[Array, Array | None]:
    """Whether each output is on the side of its target, which NaN never is; and the weights."""
    require(is_real(threshold), where, "a threshold that is a number", repr(threshold))
    outputs, targets, weights = _alike(where, outputs, targets, weights)
    check_probabilities(where, targets)
    return ((outputs > threshold) == (targets > 0.5)) & (outputs == outputs), weights


def _right(outputs: Array, labels: Array) -> Array:
    """Whether the largest output is at the label, and no output is NaN."""
    if isinstance(outputs, np.ndarray) and (top := outputs.item(outputs.argmax())) == top:  # argmax finds NaN
        return outputs.argmax(axis=-1) == labels  # np.argmax takes a microsecond more
    return (namespace(outputs).argmax(outputs, axis=-1) == labels) & _is_number(outputs)


def _is_number(outputs: Array) -> Array:
    """Whether no output of a sample is NaN."""
    largest = namespace(outputs).max(outputs, axis=-1)
    return largest == largest


def _share(correct: Array, weights: Array | None) -> Any:
    """The share of true samples (batch,), counted exactly."""
    xp = namespace(correct)
    if weights is None:
        count = number(xp.count_nonzero(correct))  # an int on NumPy
        return (count if isinstance(count, int) else xp.astype(count, default_float(xp))) / correct.shape[0]
    return number(xp.sum(xp.where(correct, weights, xp.zeros_like(weights)))) / number(xp.sum(weights))


def _mean(values: Array, weights: Array | None) -> Any:
    """The mean within each sample (batch, ...), then over the samples."""
    xp = namespace(values)
    values = xp.astype(values, default_float(xp) if weights is None else weights.dtype)
    samples = xp.mean(xp.reshape(values, (values.shape[0], -1)), axis=1)
    return number(xp.mean(samples)) if weights is None else number(xp.sum(samples * weights)) / number(xp.sum(weights))


def _check_table(where: str, table: Array, columns: int | None = None) -> None:
    """Raise unless the table has this number of columns, or is square."""
    check_real(where, "values of a table", table)
    if table.ndim != 2 or table.shape[0] == 0 or table.shape[1] != (columns or table.shape[0]):
        raise InputError(where, f"a table (rows, {columns or 'rows'})", table.shape)


def _counts(where: str, matrix: Array) -> tuple[Array, Array, Array]:
    """Per class: true positives, predicted positives and samples, the diagonal and both sums of the matrix."""
    _check_table(where, matrix)
    xp = namespace(matrix)
    right = xp.sum(matrix * xp.eye(matrix.shape[0], dtype=matrix.dtype), axis=0)
    return right, xp.sum(matrix, axis=0), xp.sum(matrix, axis=1)


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, and 0 where the whole is 0."""
    xp = namespace(part)
    return part / xp.where(whole == 0, xp.ones_like(whole), whole)
