"""The dense layer: an affine map of the features."""

from functools import partial
from typing import Any

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, check_array, check_like, namespace
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
    """y = x W + b, from inputs (batch, in) to outputs (batch, features).

    Args:
        features: The number of outputs.
        weights: Initializer of the weights, (in, features).
        biases: Initializer of the biases, (features,).

    Raises:
        InputError: ``features`` is no positive whole number; later, inputs that are not (batch, in) or not of
            the weights' dtype.

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
    """Params for inputs (batch, in), and the output shape (features,)."""
    check_init(f"dense({features})", key, in_shape, dtype)
    if len(in_shape) != 1:
        found = f"({', '.join(['batch', *map(str, in_shape)])})"
        raise InputError(f"dense({features})", "inputs (batch, in)", found, "put flatten() before it")
    params = DenseParams(
        weights=weights(key.at("weights"), (*in_shape, features), dtype),
        biases=biases(key.at("biases"), (features,), dtype),
    )
    return params, (features,)


def dense_forward(
    params: DenseParams, x: Float[Array, "batch in"], mode: Mode
) -> tuple[Float[Array, "batch out"], Float[Array, "batch in"]]:
    """y = x W + b; the residual is x."""
    del mode  # deterministic
    check_params("dense", params, DenseParams)
    inputs, features = params.weights.shape
    where = f"dense({features})"
    check_array(where, "inputs", x)
    if x.ndim != 2 or x.shape[1] != inputs:
        hint = "put flatten() before it" if x.ndim > 2 else "one sample alone is x[None]" if x.ndim == 1 else ""
        raise InputError(where, f"inputs (batch, {inputs})", x.shape, hint)
    check_like(where, x, params.weights)
    y = x @ params.weights
    y += params.biases
    return y, x


def dense_vjp(
    params: DenseParams, residuals: Float[Array, "batch in"], dy: Float[Array, "batch out"], *, need_dx: bool = True
) -> tuple[DenseParams, Float[Array, "batch in"] | None]:
    """dW = x^T dy, db = the sum of dy over the batch, dx = dy W^T."""
    dparams = DenseParams(weights=residuals.T @ dy, biases=namespace(dy).sum(dy, axis=0))
    return dparams, dy @ params.weights.T if need_dx else None
