"""Normalization over the features of each sample, whatever the other samples of the batch.

Inputs are (batch, ..., features); scale and offset are (features,). Both layers raise InputError for an eps that is not
above 0, and for inputs of other features or of another dtype than the params.
"""

from types import ModuleType
from typing import Any

import numpy as np

from funcnn import special
from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, as_dtype_of, check_array, check_like, namespace, widened
from funcnn.errors import InputError, is_real, require
from funcnn.initializers import Initializer, zeros
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init, check_params
from funcnn.layers.activations import Same
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["LayerNormParams", "RMSNormParams", "layer_norm", "rms_norm"]

_ONES, _ZEROS = Initializer(lambda key, shape, dtype: np.ones(shape, dtype)), zeros()


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
    """y = scale (x - mean) / sqrt(variance + eps) + offset, over the last axis (Ba et al. 2016)."""
    return _norm("layer_norm", LayerNormParams, eps)


@described
def rms_norm(eps: float = 1e-5) -> Layer:
    """y = scale x / sqrt(mean(x^2) + eps), over the last axis (Zhang and Sennrich 2019)."""
    return _norm("rms_norm", RMSNormParams, eps)


def _norm(name: str, kind: type[Any], eps: float) -> Layer:
    """The RMS norm; layer norm centres the inputs before it, and adds an offset."""
    require(is_real(eps) and eps > 0, name, "an eps above 0", repr(eps))
    where, centred = f"{name}()", kind is LayerNormParams

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[Any, Shape]:
        scale, offset = ones_and_zeros(name, key, in_shape, dtype)
        return kind(scale, offset) if centred else kind(scale), in_shape

    def forward(params: Any, x: Same, mode: Mode) -> tuple[Same, tuple[Array, Array]]:
        """The residuals are the normalized inputs and 1 / sqrt(mean square + eps)."""
        del mode  # deterministic
        check_params(where, params, kind)
        check_features(where, x, params.scale)
        wide = widened(x)
        normalized, inverse = _normalized(eps, _centred(wide) if centred else wide)
        y = normalized * params.scale
        return as_dtype_of(x, y + params.offset if centred else y), (normalized, inverse)

    def vjp(params: Any, residuals: tuple[Array, Array], dy: Same, *, need_dx: bool = True) -> tuple[Any, Same | None]:
        """dx = inverse (g - the component of g along the normalized inputs), with g = dy scale, centred as x was."""
        normalized, inverse = residuals
        dscale = as_dtype_of(params.scale, over_batch(dy * normalized))
        dparams = kind(dscale, as_dtype_of(params.scale, over_batch(dy))) if centred else kind(dscale)
        if not need_dx:
            return dparams, None
        g = widened(dy) * params.scale
        g = _centred(g) if centred else g
        along = normalized * namespace(g).mean(g * normalized, axis=-1, keepdims=True)
        return dparams, as_dtype_of(dy, inverse * (g - along))

    return Layer(init, forward, vjp)


def ones_and_zeros(name: str, key: Key, in_shape: Shape, dtype: Any) -> tuple[Array, Array]:
    """The first scale and offset; raises unless inputs have features."""
    check_init(name, key, in_shape, dtype)
    require(len(in_shape) > 0, name, "inputs (batch, ..., features)", "(batch,)")
    return _ONES(key, in_shape[-1:], dtype), _ZEROS(key, in_shape[-1:], dtype)


def check_features(where: str, x: Array, scale: Array) -> ModuleType:
    """Raise unless ``x`` has a feature for each element of ``scale``, and its dtype; gives the namespace."""
    check_array(where, "inputs", x)
    if x.ndim < 2 or x.shape[-1] != scale.shape[0]:
        raise InputError(where, f"inputs (batch, ..., {scale.shape[0]})", x.shape)
    return check_like(where, x, scale)


def over_batch(dy: Array) -> Array:
    """The sum over all axes but the last."""
    return namespace(dy).sum(dy, axis=tuple(range(dy.ndim - 1)))


def _centred(x: Array) -> Array:
    return x - namespace(x).mean(x, axis=-1, keepdims=True)


def _normalized(eps: float, x: Array) -> tuple[Array, Array]:
    """x inverse, and inverse = 1 / sqrt(mean(x^2) + eps), over the last axis."""

    def inverse_of(x: Array, eps: Any) -> Array:
        xp = namespace(x)
        return 1 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + eps)

    with np.errstate(over="ignore"):
        inverse = inverse_of(x, eps)
    if not isinstance(x, np.ndarray) or not inverse.all():  # a square may have overflowed
        unit = special.unit_of(x, axis=-1)
        inverse = inverse_of(x / unit, eps / unit / unit) / unit
    return x * inverse, inverse
