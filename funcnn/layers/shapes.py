"""Layers that only change the shape."""

import math
from functools import partial
from typing import Any

import numpy as np

from funcnn.annotations import Shaped
from funcnn.arrays import Array, Shape, check_array, namespace
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init
from funcnn.spec import described

__all__ = ["flatten", "flatten_forward", "flatten_vjp", "reshape"]


@described
def flatten() -> Layer:
    """y = x as (batch, features), in row-major order.

    >>> flatten().init(Key(0), (28, 28))
    ((), (784,))
    """
    return Layer(flatten_init, flatten_forward, flatten_vjp)


@described
def reshape(*shape: int) -> Layer:
    """y = x as (batch, *shape), in row-major order.

    Raises:
        InputError: A size is no positive whole number; later, inputs with another number of elements.

    >>> reshape(28, 28, 1).init(Key(0), (784,))
    ((), (28, 28, 1))
    """
    require(all(map(is_count, shape)), "reshape", "sizes that are positive whole numbers", shape)
    return Layer(partial(reshape_init, shape), partial(reshape_forward, shape), flatten_vjp)


def reshape_init(shape: Shape, key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
    """No parameters; the output shape is ``shape``."""
    check_init(f"reshape{shape}", key, in_shape, dtype)
    _check_elements(shape, in_shape)
    return (), shape


def reshape_forward(
    shape: Shape, params: tuple[()], x: Shaped[Array, "batch ..."], mode: Mode
) -> tuple[Shaped[Array, "batch ..."], Shape]:
    """The residual is the shape of x."""
    del params, mode  # it has none, and is deterministic
    _check_batch(f"reshape{shape}", x)
    _check_elements(shape, x.shape[1:])
    return namespace(x).reshape(x, (x.shape[0], *shape)), x.shape


def flatten_init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
    """No parameters; the output shape is one axis of all features."""
    check_init("flatten()", key, in_shape, dtype)
    return (), (math.prod(in_shape),)


def flatten_forward(
    params: tuple[()], x: Shaped[Array, "batch ..."], mode: Mode
) -> tuple[Shaped[Array, "batch features"], Shape]:
    """The residual is the shape of x."""
    del params, mode  # it has none, and is deterministic
    _check_batch("flatten()", x)
    return namespace(x).reshape(x, (x.shape[0], math.prod(x.shape[1:]))), x.shape


def flatten_vjp(
    params: tuple[()], residuals: Shape, dy: Shaped[Array, "batch ..."], *, need_dx: bool = True
) -> tuple[tuple[()], Shaped[Array, "batch ..."] | None]:
    """dx is dy in the shape of x."""
    return params, namespace(dy).reshape(dy, residuals) if need_dx else None


def _check_batch(where: str, x: Array) -> None:
    check_array(where, "inputs", x)
    require(x.ndim > 0, where, "inputs (batch, ...)", x.shape)


def _check_elements(shape: Shape, in_shape: Shape) -> None:
    found, expected = math.prod(in_shape), math.prod(shape)
    if found != expected:
        raise InputError(f"reshape{shape}", f"{expected} elements a sample", f"{found}: {in_shape}")
