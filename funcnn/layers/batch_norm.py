"""Batch normalization without hidden state: its statistics are params, and the optimizer leaves them alone."""

import math
from typing import Any

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, as_dtype_of, as_rows, default_float, namespace, widened
from funcnn.errors import is_real, require
from funcnn.keys import Key
from funcnn.layer import INFERENCE, Layer, Mode, Training, check_params
from funcnn.layers.activations import Same
from funcnn.layers.normalization import check_features, ones_and_zeros, over_batch
from funcnn.spec import described
from funcnn.tree import constant, record

__all__ = ["BatchNormParams", "batch_norm"]


@record
class BatchNormParams:
    """The params of :func:`batch_norm`; only :func:`funcnn.calibrated` sets mean and variance."""

    scale: Float[Array, "features"]
    offset: Float[Array, "features"]
    mean: Float[Array, "features"] = constant()
    variance: Float[Array, "features"] = constant()


@described
def batch_norm(eps: float = 1e-5) -> Layer:
    """y = scale (x - mean) / sqrt(variance + eps) + offset, feature by feature (Ioffe and Szegedy 2015).

    Training takes mean and (biased) variance of the batch, over all axes but the last. Inference takes those in the
    params, which are 0 and 1 at first. :func:`funcnn.calibrated` computes them from data before the model is evaluated,
    so a forward pass stays pure (Wu and Johnson 2021, section 3, call this "precise"). Other libraries keep running
    averages, which every forward pass in training changes.

    Inputs are (batch, ..., features); each of the params is (features,).

    Raises:
        InputError: An eps that is not above 0; later, inputs of other features or of another dtype than the params.
    """
    require(is_real(eps) and eps > 0, "batch_norm", "an eps above 0", repr(eps))

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[BatchNormParams, Shape]:
        ones, zeros = ones_and_zeros("batch_norm", key, in_shape, dtype)
        return BatchNormParams(ones, zeros, zeros, ones), in_shape

    def forward(params: BatchNormParams, x: Same, mode: Mode) -> tuple[Same, Any]:
        """The residuals are the normalized inputs, 1 / sqrt(variance + eps), and whether the batch has given both."""
        check_params("batch_norm()", params, BatchNormParams)
        xp, wide, axes = check_features("batch_norm()", x, params.scale), widened(x), tuple(range(x.ndim - 1))
        own = isinstance(mode, Training)
        centred = wide - (xp.mean(wide, axis=axes) if own else params.mean)
        variance = xp.mean(centred * centred, axis=axes) if own else widened(params.variance)
        inverse = 1 / namespace(variance).sqrt(variance + eps)
        normalized = centred * inverse
        return as_dtype_of(x, normalized * params.scale + params.offset), (normalized, inverse, own)

    def vjp(params: BatchNormParams, residuals: Any, dy: Same, *, need_dx: bool = True) -> tuple[BatchNormParams, Any]:
        """In training dx has no component along 1 or the normalized inputs, over the batch."""
        (normalized, inverse, own), wide = residuals, widened(dy)
        doffset, dscale = over_batch(wide), over_batch(wide * normalized)
        along = widened(params.scale) * inverse
        dmean, dvariance = -doffset * along, -0.5 * dscale * along * inverse
        xp = namespace(dmean)
        constants = (xp.zeros_like(dmean), xp.zeros_like(dvariance)) if own else (dmean, dvariance)
        dparams = BatchNormParams(*(as_dtype_of(params.scale, leaf) for leaf in (dscale, doffset, *constants)))
        if not need_dx:
            return dparams, None
        count = math.prod(dy.shape[:-1])
        dx = wide - (doffset + normalized * dscale) / count if own else wide
        return dparams, as_dtype_of(dy, dx * along)

    def calibrate(params: BatchNormParams, batches: list[Array]) -> tuple[BatchNormParams, list[Array]]:
        check_params("batch_norm()", params, BatchNormParams)
        xp, own = namespace(batches[0]), default_float(namespace(batches[0]))
        rows = [xp.astype(as_rows(x), own) for x in batches]
        count = sum(x.shape[0] for x in rows)
        mean = sum(xp.sum(x, axis=0) for x in rows) / count
        variance = sum(xp.sum((x - mean) ** 2, axis=0) for x in rows) / count
        statistics = (as_dtype_of(params.scale, leaf) for leaf in (mean, variance))
        params = BatchNormParams(params.scale, params.offset, *statistics)
        return params, [forward(params, x, INFERENCE)[0] for x in batches]

    return Layer(init, forward, vjp, calibrate)
