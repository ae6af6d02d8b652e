"""Layers that only change the shape."""

import math
from typing import Any

import numpy as np
from jaxtyping import Shaped

from funcnn.arrays import Array, Shape, namespace
from funcnn.keys import Key
from funcnn.layer import Layer, Mode
from funcnn.spec import described


@described
def flatten() -> Layer:
    """Inputs (batch, ...) as (batch, features), in row-major order.

    >>> flatten().init(Key(0), (28, 28))
    ((), (784,))
    """
    return Layer(flatten_init, flatten_forward, flatten_vjp)


def flatten_init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
    """No parameters; the output shape is one axis of all features."""
    del key, dtype  # nothing is drawn
    return (), (math.prod(in_shape),)


def flatten_forward(
    params: tuple[()], x: Shaped[Array, "batch ..."], mode: Mode
) -> tuple[Shaped[Array, "batch features"], Shape]:
    """The residual is the shape of x."""
    del params, mode  # it has none, and is deterministic
    return namespace(x).reshape(x, (x.shape[0], math.prod(x.shape[1:]))), x.shape


def flatten_vjp(
    params: tuple[()], residuals: Shape, dy: Shaped[Array, "batch features"], *, need_dx: bool = True
) -> tuple[tuple[()], Shaped[Array, "batch ..."] | None]:
    """dx is dy in the shape of x."""
    return params, namespace(dy).reshape(dy, residuals) if need_dx else None
