"""The dense layer: an affine map of the features."""

import math
from functools import partial
from typing import Any

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, as_rows, check_array, check_like, namespace, total
from funcnn.errors import InputError, is_count, require
from funcnn.initializers import Initializer, check_initializer, he_normal, zeros
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init, check_params
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["DenseParams", "dense", "dense_forward", "dense_init", "dense_vjp"]


@record
class DenseParams:
    """The params of :func:`dense`."""

    weights: Float[Array, "in out"]
    biases: Float[Array, "out"]


@described
def dense(features: int, weights: Initializer = he_normal(), biases: Initializer = zeros()) -> Layer:
    """y = x W + b, from inputs (batch, ..., in) to outputs (batch, ..., features).

    Args:
        features: The number of outputs.
        weights: Initializer of the weights, (in, features).
        biases: Initializer of the biases, (features,).

    Raises:
        InputError: ``features`` is not a positive whole number; later, inputs that are not (batch, ..., in) or have
            another dtype than the weights.

    >>> params, out_shape = dense(3).init(Key(0), (2,))
    >>> params.weights.shape, params.biases.shape, out_shape
    ((2, 3), (3,), (3,))
    """
    require(is_count(features), "dense", "features to be a positive whole number", repr(features))
    check_initializer("dense weights", weights)
    check_initializer("dense biases", biases)
    return Layer(partial(dense_init, features, weights, biases), dense_forward, dense_vjp)


def dense_init(
    features: int, weights: Initializer, biases: Initializer, key: Key, in_shape: Shape, *, dtype: Any = np.float32
) -> tuple[DenseParams, Shape]:
    """Params for inputs (batch, ..., in), and the output shape (..., features)."""
    where = f"dense({features})"
    check_init(where, key, in_shape, dtype)
    require(len(in_shape) > 0, where, "inputs (batch, ..., in)", "(batch,)")
    params = DenseParams(
        weights=weights(key.at("weights"), (in_shape[-1], features), dtype),
        biases=biases(key.at("biases"), (features,), dtype),
    )
    return params, (*in_shape[:-1], features)


def dense_forward(
    params: DenseParams, x: Float[Array, "batch *rest in"], mode: Mode
) -> tuple[Float[Array, "batch *rest out"], Float[Array, "batch *rest in"]]:
    """y = x W + b; the residual is x."""
    del mode  # deterministic
    check_params("dense", params, DenseParams)
    inputs, features = params.weights.shape
    where = f"dense({features})"
    check_array(where, "inputs", x)
    if x.ndim < 2 or x.shape[-1] != inputs:
        flat = math.prod(x.shape[1:]) == inputs
        hint = "one sample alone is x[None]" if x.ndim == 1 else "put flatten() before it" if flat else ""
        raise InputError(where, f"inputs (batch, ..., {inputs})", x.shape, hint)
    check_like(where, x, params.weights)
    y = as_rows(x) @ params.weights
    y += params.biases
    return _like(x, y), x


def dense_vjp(
    params: DenseParams,
    residuals: Float[Array, "batch *rest in"],
    dy: Float[Array, "batch *rest out"],
    *,
    need_dx: bool = True,
) -> tuple[DenseParams, Float[Array, "batch *rest in"] | None]:
    """dW = x^T dy, db = the sum of dy over all axes but the last, dx = dy W^T."""
    rows = as_rows(dy)
    dparams = DenseParams(weights=as_rows(residuals).T @ rows, biases=total(rows, 0))
    return dparams, _like(dy, rows @ params.weights.T) if need_dx else None


def _like(x: Array, rows: Array) -> Array:
    """Rows (rows, features) with the leading axes of ``x``."""
    return rows if x.ndim == 2 else namespace(x).reshape(rows, (*x.shape[:-1], rows.shape[-1]))
