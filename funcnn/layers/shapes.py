"""Layers that only change the shape."""

import math
from typing import Any, TypeAlias

import numpy as np

from funcnn.annotations import Shaped
from funcnn.arrays import Array, Shape, check_array, namespace
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init
from funcnn.spec import described

__all__ = ["flatten", "flatten_forward", "flatten_vjp", "reshape"]

Samples: TypeAlias = Shaped[Array, "batch ..."]


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
    where, elements = f"reshape{shape}", math.prod(shape)

    def check(in_shape: Shape) -> None:
        if math.prod(in_shape) != elements:
            raise InputError(where, f"{elements} elements a sample", f"{math.prod(in_shape)}: {in_shape}")

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
        check_init(where, key, in_shape, dtype)
        check(in_shape)
        return (), shape

    def forward(params: tuple[()], x: Samples, mode: Mode) -> tuple[Samples, Shape]:
        """The residual is the shape of x."""
        del params, mode  # it has none, and is deterministic
        _check_batch(where, x)
        check(x.shape[1:])
        return namespace(x).reshape(x, (x.shape[0], *shape)), x.shape

    return Layer(init, forward, flatten_vjp)


def flatten_init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
    """No parameters; the output shape is one axis of all features."""
    check_init("flatten()", key, in_shape, dtype)
    return (), (math.prod(in_shape),)


def flatten_forward(params: tuple[()], x: Samples, mode: Mode) -> tuple[Shaped[Array, "batch features"], Shape]:
    """The residual is the shape of x."""
    del params, mode  # it has none, and is deterministic
    _check_batch("flatten()", x)
    return namespace(x).reshape(x, (x.shape[0], math.prod(x.shape[1:]))), x.shape


def flatten_vjp(
    params: tuple[()], residuals: Shape, dy: Samples, *, need_dx: bool = True
) -> tuple[tuple[()], Samples | None]:
    """dx is dy in the shape of x."""
    return params, namespace(dy).reshape(dy, residuals) if need_dx else None


def _check_batch(where: str, x: Array) -> None:
    check_array(where, "inputs", x)
    require(x.ndim > 0, where, "inputs (batch, ...)", x.shape)
