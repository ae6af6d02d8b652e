"""Normalization over the features of each sample.

Batch norm is left out on purpose: its running statistics are state that a forward pass would have to change,
and its outputs make the samples of a batch depend on each other. Layer norm and RMS norm do without.
"""

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from funcnn import special
from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, as_dtype_of, check_array, check_like, namespace, widened
from funcnn.errors import InputError, is_real, require
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init, check_params
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["LayerNormParams", "RMSNormParams", "layer_norm", "rms_norm"]


@record
class LayerNormParams:
    """The params of :func:`layer_norm`."""

    scale: Float[Array, "features"]
    offset: Float[Array, "features"]


@record
class RMSNormParams:
    """The params of :func:`rms_norm`."""

    scale: Float[Array, "features"]


@described
def layer_norm(eps: float = 1e-5) -> Layer:
    """y = scale (x - mean) / sqrt(variance + eps) + offset, over the last axis (Ba et al. 2016).

    Inputs are (batch, ..., features), scale and offset (features,).

    Raises:
        InputError: An eps that is not above 0; later, inputs of other features or of another dtype than the params.
    """
    require(is_real(eps) and eps > 0, "layer_norm", "an eps above 0", repr(eps))
    return Layer(layer_norm_init, partial(layer_norm_forward, eps), layer_norm_vjp)


@described
def rms_norm(eps: float = 1e-5) -> Layer:
    """y = scale x / sqrt(mean(x^2) + eps), over the last axis (Zhang and Sennrich 2019).

    Inputs are (batch, ..., features), the scale is (features,).

    Raises:
        InputError: An eps that is not above 0; later, inputs of other features or of another dtype than the params.
    """
    require(is_real(eps) and eps > 0, "rms_norm", "an eps above 0", repr(eps))
    return Layer(rms_norm_init, partial(rms_norm_forward, eps), rms_norm_vjp)


def layer_norm_init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[LayerNormParams, Shape]:
    """A scale of ones and an offset of zeros for the last axis; the shape stays."""
    features = _features("layer_norm", key, in_shape, dtype)
    return LayerNormParams(np.ones(features, dtype), np.zeros(features, dtype)), in_shape


def layer_norm_forward(
    eps: float, params: LayerNormParams, x: Float[Array, "*shape"], mode: Mode
) -> tuple[Float[Array, "*shape"], tuple[Array, Array]]:
    """The residuals are the normalized inputs and 1 / sqrt(variance + eps)."""
    del mode  # deterministic
    check_params("layer_norm()", params, LayerNormParams)
    xp = _check_features("layer_norm()", x, params.scale)
    wide = widened(x)
    normalized, inverse = _normalized(eps, wide - xp.mean(wide, axis=-1, keepdims=True))
    return as_dtype_of(x, normalized * params.scale + params.offset), (normalized, inverse)


def layer_norm_vjp(
    params: LayerNormParams, residuals: tuple[Array, Array], dy: Float[Array, "*shape"], *, need_dx: bool = True
) -> tuple[LayerNormParams, Float[Array, "*shape"] | None]:
    """dx is g / sqrt(variance + eps) without its components along 1 and the normalized inputs, g = dy scale."""
    normalized, inverse = residuals
    dscale, doffset = _over_batch(dy * normalized), _over_batch(dy)
    dparams = LayerNormParams(as_dtype_of(params.scale, dscale), as_dtype_of(params.scale, doffset))
    if not need_dx:
        return dparams, None
    g = widened(dy) * params.scale
    dx = inverse * _without(g - namespace(g).mean(g, axis=-1, keepdims=True), normalized)
    return dparams, as_dtype_of(dy, dx)


def rms_norm_init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[RMSNormParams, Shape]:
    """A scale of ones for the last axis; the shape stays."""
    return RMSNormParams(np.ones(_features("rms_norm", key, in_shape, dtype), dtype)), in_shape


def rms_norm_forward(
    eps: float, params: RMSNormParams, x: Float[Array, "*shape"], mode: Mode
) -> tuple[Float[Array, "*shape"], tuple[Array, Array]]:
    """The residuals are the normalized inputs and 1 / sqrt(mean(x^2) + eps)."""
    del mode  # deterministic
    check_params("rms_norm()", params, RMSNormParams)
    _check_features("rms_norm()", x, params.scale)
    normalized, inverse = _normalized(eps, widened(x))
    return as_dtype_of(x, normalized * params.scale), (normalized, inverse)


def rms_norm_vjp(
    params: RMSNormParams, residuals: tuple[Array, Array], dy: Float[Array, "*shape"], *, need_dx: bool = True
) -> tuple[RMSNormParams, Float[Array, "*shape"] | None]:
    """dx is g / sqrt(mean(x^2) + eps) without its component along the normalized inputs, g = dy scale."""
    normalized, inverse = residuals
    dparams = RMSNormParams(as_dtype_of(params.scale, _over_batch(dy * normalized)))
    return dparams, as_dtype_of(dy, inverse * _without(widened(dy) * params.scale, normalized)) if need_dx else None


def _features(name: str, key: Key, in_shape: Shape, dtype: Any) -> int:
    check_init(name, key, in_shape, dtype)  # nothing is drawn
    if not in_shape:
        raise InputError(name, "inputs (batch, ..., features)", "(batch,)")
    return in_shape[-1]


def _check_features(where: str, x: Array, scale: Array) -> ModuleType:
    """The namespace of ``x``, once it is known to have a feature for each element of ``scale``."""
    check_array(where, "inputs", x)
    if x.ndim < 2 or x.shape[-1] != scale.shape[0]:
        raise InputError(where, f"inputs (batch, ..., {scale.shape[0]})", x.shape)
    return check_like(where, x, scale)


def _normalized(eps: float, x: Array) -> tuple[Array, Array]:
    """x over its root mean square, and one over that root."""
    with np.errstate(over="ignore"):
        inverse = _inverse(eps, x)
    if not isinstance(x, np.ndarray) or not inverse.all():  # a square may be infinite
        unit = special.unit_of(x, axis=-1)
        inverse = _inverse(eps / unit / unit, x / unit) / unit
    return x * inverse, inverse


def _inverse(eps: Any, x: Array) -> Array:
    xp = namespace(x)
    return 1 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + eps)


def _without(g: Array, direction: Array) -> Array:
    """g minus its component along ``direction``, whose mean square is one (but for eps)."""
    return g - direction * namespace(g).mean(g * direction, axis=-1, keepdims=True)


def _over_batch(dy: Array) -> Array:
    """The sum over all axes but the last."""
    return namespace(dy).sum(dy, axis=tuple(range(dy.ndim - 1)))
