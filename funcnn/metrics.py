"""Metrics: numbers that one looks at, and their exact mean over batches."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolz import merge_with

from funcnn.arrays import Array, namespace, number
from funcnn.errors import InputError


def accuracy(outputs: Array, targets: Array, weights: Array | None = None) -> Any:
    """The share of samples whose largest output stands at the target, weighted where weights are given.

    Args:
        outputs: Logits or probabilities, (batch, classes).
        targets: Integers (batch,) or distributions (batch, classes).
        weights: Sample weights, (batch,).

    Raises:
        InputError: Targets or weights of another shape, or no samples.

    >>> import numpy as np
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    xp, (batch, _) = namespace(outputs), outputs.shape
    if targets.shape not in (outputs.shape, (batch,)) or batch == 0:
        expected = f"targets ({batch},) or {outputs.shape} of at least one sample"
        raise InputError("accuracy", expected, targets.shape)
    if weights is not None and weights.shape != (batch,):
        raise InputError("accuracy", f"weights ({batch},)", weights.shape)
    labels = xp.argmax(targets, axis=-1) if targets.ndim == 2 else targets
    correct = xp.argmax(outputs, axis=-1) == labels
    if weights is None:
        return number(xp.count_nonzero(correct)) / batch
    return number(xp.sum(xp.where(correct, weights, xp.zeros_like(weights)))) / number(xp.sum(weights))


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
