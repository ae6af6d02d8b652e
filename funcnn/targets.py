"""What a loss accepts beside the outputs: targets of the right shape and value, and weights.

Values are checked on NumPy alone, where they are known; traced ones are not.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Int, Num

from funcnn.arrays import Array, is_dtype, namespace
from funcnn.errors import InputError

Targets: TypeAlias = Int[Array, "batch"] | Num[Array, "batch classes"]
Weights: TypeAlias = Num[Array, "batch"] | None


def distributions(where: str, outputs: Array, targets: Targets) -> Array:
    """Targets as distributions (batch, classes) of the outputs' dtype: integers become one-hot.

    Raises:
        InputError: The shapes do not fit, or targets are neither labels of the classes nor distributions over them.
    """
    xp = namespace(outputs)
    if outputs.ndim != 2 or outputs.shape[0] == 0:
        raise InputError(where, "outputs (batch, classes) of at least one sample", outputs.shape)
    if targets.shape == outputs.shape:
        check_distributions(where, targets)
        return xp.astype(targets, outputs.dtype)
    batch, classes = outputs.shape
    if targets.shape != (batch,) or not is_dtype(namespace(targets), targets.dtype, "integral"):
        expected = f"targets as integers ({batch},) or distributions ({batch}, {classes})"
        raise InputError(where, expected, f"{targets.dtype} {targets.shape}")
    hits = targets[:, None] == xp.arange(classes)
    if not isinstance(hits, np.ndarray) or np.count_nonzero(hits) != batch:  # faster than to look at every label
        check_labels(where, targets, classes)
    return xp.astype(hits, outputs.dtype)


def check_distributions(where: str, targets: Array) -> None:
    """Raise unless each row is a distribution over the classes."""
    _check(where, "distributions, at least 0 with a sum of 1", targets, _are_distributions)


def check_labels(where: str, targets: Array, classes: int) -> None:
    """Raise unless each label is one of the classes."""
    _check(where, f"labels from 0 to {classes - 1}", targets, lambda labels: (labels >= 0) & (labels < classes))


def check_probabilities(where: str, targets: Array) -> None:
    """Raise unless each target is in [0, 1]."""
    _check(where, "targets from 0 to 1", targets, lambda values: (values >= 0) & (values <= 1))


def check_signs(where: str, targets: Array) -> None:
    """Raise unless each target is -1 or 1."""
    _check(where, "targets of -1 or 1", targets, lambda values: abs(values) == 1)


def check_nothing(where: str, targets: Array) -> None:
    """Any value will do."""


def shares_of(where: str, outputs: Array, weights: Weights) -> Array:
    """Each sample's share (batch,) of the mean: 1 / batch, or its weight over the sum of all weights.

    Raises:
        InputError: The weights are not (batch,), or a weight is negative, or their sum is not finite and above 0.
    """
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


def _are_distributions(targets: Array) -> Array:
    """Whether each row (batch,) is at least 0 and sums to 1."""
    return (targets.min(axis=1) >= 0) & (abs(targets.sum(axis=1) - 1) < 1e-3)


def _check(where: str, expected: str, targets: Array, fit: Callable[[Array], Array]) -> None:
    """Raise for the first row in which not all of what ``fit`` gives is true."""
    if isinstance(targets, np.ndarray) and not (fits := fit(targets)).all():
        row = int(np.argmin(fits.reshape(len(fits), -1).all(axis=1)))
        raise InputError(where, expected, f"{targets[row]} in row {row}")
