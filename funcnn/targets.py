"""Checks of the outputs, targets and weights that losses and metrics take; each raises ``InputError``.

Only values on NumPy are checked, since traced values are unknown.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from funcnn.annotations import Int, Num, Shaped
from funcnn.arrays import Array, as_dtype_of, check_floating, check_real, default_float, is_dtype, largest, namespace
from funcnn.errors import InputError

Targets: TypeAlias = Int[Array, "batch ..."] | Num[Array, "batch ... classes"]
Weights: TypeAlias = Shaped[Array, "batch ..."] | None
Check: TypeAlias = Callable[[str, Array], None]


def present(
    where: str, outputs: Array, targets: Array, weights: Array | None, *, classes: bool = False
) -> tuple[Array, Array, Array | None]:
    """The arguments of a loss or metric, checked, with each position as a sample.

    The axes of the positions are all but the last if that one holds ``classes``, else those of the weights. Samples of
    weight 0 become copies of the sample with the largest weight, so their outputs and targets, NaN included, change
    neither the value nor a gradient. Weights come back as by :func:`as_floating`.
    """
    check_floating(where, outputs, "outputs")
    check_real(where, "targets", targets)
    if outputs.ndim == 0 or outputs.shape[0] == 0:
        raise InputError(where, "outputs of at least one sample", outputs.shape)
    weights = None if weights is None else check_weights(where, weights)
    xp = namespace(outputs, targets) if weights is None else namespace(outputs, targets, weights)
    if xp is not np:  # some may be NumPy's
        outputs, weights = xp.asarray(outputs), None if weights is None else xp.asarray(weights)
    axes = outputs.ndim - 1 if classes else 1 if weights is None else weights.ndim
    if axes > 1:
        outputs, targets, weights = _as_samples(where, axes, outputs, targets, weights)
    if weights is None:
        return outputs, targets, None
    if weights.shape != outputs.shape[:1]:
        raise InputError(where, f"weights {outputs.shape[:1]}", weights.shape)
    if targets.shape[:1] != outputs.shape[:1]:
        raise InputError(where, f"targets of {outputs.shape[0]} samples", targets.shape)
    rows = xp.where(weights > 0, xp.arange(outputs.shape[0]), xp.argmax(weights))
    return xp.take(outputs, rows, axis=0), xp.take(xp.asarray(targets), rows, axis=0), weights


def _as_samples(
    where: str, axes: int, outputs: Array, targets: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """The arguments with their first ``axes`` axes as one; weights with fewer axes are broadcast over the others."""
    leading = outputs.shape[:axes]
    if targets.shape[:axes] != leading or 0 in leading:
        raise InputError(where, f"targets {leading}, or with more axes, and at least one", targets.shape)
    if weights is not None:
        if weights.shape != leading[: weights.ndim]:
            raise InputError(where, f"weights {leading[:1]} or {leading}", weights.shape)
        xp = namespace(weights)
        weights = xp.broadcast_to(xp.reshape(weights, weights.shape + (1,) * (axes - weights.ndim)), leading)
        weights = xp.reshape(weights, (-1,))
    outputs, targets = (namespace(x).reshape(x, (-1, *x.shape[axes:])) for x in (outputs, targets))
    return outputs, targets, weights


def check_weights(where: str, weights: Array) -> Array:
    """The weights as floating numbers, once they are at least 0 with a finite sum above 0."""
    check_real(where, "weights", weights)
    floating = as_floating(weights)
    if isinstance(weights, np.ndarray) and not (weights.size and weights.min() >= 0 and 0 < floating.sum() < np.inf):
        found = f"a least of {weights.min()} and a sum of {floating.sum()}" if weights.size else "none"
        raise InputError(where, "finite weights of at least 0, not all of them 0", found)
    return floating


def as_floating(weights: Array) -> Array:
    """Weights of any real dtype in the namespace's default floating dtype, or in their own if it is wider."""
    xp = namespace(weights)
    own = default_float(xp)
    floating = is_dtype(xp, weights.dtype, "real floating")
    return xp.astype(weights, xp.result_type(weights.dtype, own) if floating else own)


def distributions(where: str, outputs: Array, targets: Targets) -> Array:
    """Targets as distributions (batch, classes) of the outputs' dtype: integers become one-hot."""
    xp = namespace(outputs)
    if outputs.ndim != 2:
        raise InputError(where, "outputs (batch, classes)", outputs.shape)
    if targets.shape == outputs.shape:
        check_distributions(where, targets)
        return xp.astype(targets, outputs.dtype)
    batch, classes = outputs.shape
    if targets.shape != (batch,) or not is_dtype(namespace(targets), targets.dtype, "integral"):
        expected = f"targets as integers ({batch},) or distributions ({batch}, {classes})"
        raise InputError(where, expected, f"{targets.dtype} {targets.shape}")
    hits = targets[:, None] == xp.arange(classes)
    if not isinstance(hits, np.ndarray) or np.count_nonzero(hits) != batch:  # faster than checking every label
        check_labels(where, targets, classes)
    return xp.asarray(hits, dtype=outputs.dtype)  # a microsecond less than xp.astype


def check_labels(where: str, targets: Array, classes: int) -> None:
    """Raise unless each label is one of the classes."""
    if isinstance(targets, np.ndarray) and targets.size and largest(targets.astype(np.uint64), 0) < classes:
        return  # in one pass: as unsigned numbers, negative labels are huge
    _check_rows(f"labels from 0 to {classes - 1}", lambda labels: (labels >= 0) & (labels < classes))(where, targets)


def _check_rows(expected: str, fit: Callable[[Array], Array]) -> Check:
    """A check that refuses the first row for which ``fit(targets)`` is not all true."""

    def check(where: str, targets: Array) -> None:
        if isinstance(targets, np.ndarray) and not (fits := fit(targets)).all():
            row = int(np.argmin(fits.reshape(len(fits), -1).all(axis=1)))
            raise InputError(where, expected, f"{targets[row]} in row {row}")

    return check


check_distributions = _check_rows(
    "distributions, at least 0 with a sum of 1",
    lambda rows: (rows.min(axis=-1) >= 0) & (abs(rows.sum(axis=-1) - 1) < 1e-3),
)
check_probabilities = _check_rows("targets from 0 to 1", lambda values: (values >= 0) & (values <= 1))
check_signs = _check_rows("targets of -1 or 1", lambda values: abs(values) == 1)


def shares_of(outputs: Array, weights: Weights) -> Array:
    """Each sample's share (batch,) of the mean: 1 / batch, or its weight / the sum of all weights."""
    xp, batch = namespace(outputs), outputs.shape[0]
    if weights is None:
        return xp.full((batch,), 1 / batch, dtype=outputs.dtype)
    return as_dtype_of(outputs, xp.asarray(weights / namespace(weights).sum(weights)))
