"""Images made larger, and images made one number a channel: layers without parameters."""

import math
from typing import Any

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, as_dtype_of, check_floating, namespace, widened
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init
from funcnn.spec import described

__all__ = ["global_avg_pool", "upsample2d"]


@described
def global_avg_pool() -> Layer:
    """y = the mean of x over all axes but the batch and the channels: (batch, ..., channels) to (batch, channels).

    It takes the place of flattening before the last dense layer (Lin et al. 2014).

    Raises:
        InputError: Inputs of less than three axes, or not floating.

    >>> global_avg_pool().init(Key(0), (7, 7, 32))[1]
    (32,)
    """

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
        check_init("global_avg_pool", key, in_shape, dtype)
        require(len(in_shape) > 1, "global_avg_pool", "inputs (batch, ..., channels)", repr(in_shape))
        return (), (in_shape[-1],)

    def forward(params: tuple[()], x: Float[Array, "batch *sizes channels"], mode: Mode) -> tuple[Array, Shape]:
        """The residual is the shape."""
        del params, mode  # it has none, and is deterministic
        xp = check_floating("global_avg_pool", x)
        if x.ndim < 3:
            raise InputError("global_avg_pool", "inputs (batch, ..., channels)", x.shape)
        return as_dtype_of(x, xp.mean(widened(x), axis=tuple(range(1, x.ndim - 1)))), tuple(x.shape)

    def vjp(
        params: tuple[()], residuals: Shape, dy: Float[Array, "batch channels"], *, need_dx: bool = True
    ) -> tuple[tuple[()], Array | None]:
        """dx = dy / (number of places), at each of them."""
        batch, *sizes, channels = residuals
        share = namespace(dy).reshape(dy / math.prod(sizes), (batch, *[1] * len(sizes), channels))
        return params, namespace(dy).broadcast_to(share, residuals) if need_dx else None

    return Layer(init, forward, vjp)


@described
def upsample2d(times: int = 2) -> Layer:
    """y[r, c] = x[r // times, c // times]: each pixel becomes a square (batch, times height, times width, channels).

    Raises:
        InputError: ``times`` is not a positive whole number; later, inputs of another shape.

    >>> upsample2d(2).init(Key(0), (7, 7, 32))[1]
    (14, 14, 32)
    """
    require(is_count(times), "upsample2d", "times to be a positive whole number", repr(times))
    expected = "inputs (batch, height, width, channels)"

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
        check_init("upsample2d", key, in_shape, dtype)
        require(len(in_shape) == 3, "upsample2d", expected, repr(in_shape))
        height, width, channels = in_shape
        return (), (times * height, times * width, channels)

    def forward(params: tuple[()], x: Float[Array, "batch height width channels"], mode: Mode) -> tuple[Array, Any]:
        """There is nothing to keep."""
        del params, mode  # it has none, and is deterministic
        xp = check_floating("upsample2d", x)
        if x.ndim != 4:
            raise InputError("upsample2d", expected, x.shape)
        batch, height, width, channels = x.shape
        squares = xp.broadcast_to(x[:, :, None, :, None, :], (batch, height, times, width, times, channels))
        return xp.reshape(squares, (batch, times * height, times * width, channels)), ()

    def vjp(
        params: tuple[()],
        residuals: tuple[()],
        dy: Float[Array, "batch rows columns channels"],
        *,
        need_dx: bool = True,
    ) -> tuple[tuple[()], Array | None]:
        """dx is the sum of dy over each square."""
        xp, (batch, rows, columns, channels) = namespace(dy), dy.shape
        squares = xp.reshape(widened(dy), (batch, rows // times, times, columns // times, times, channels))
        return params, as_dtype_of(dy, xp.sum(squares, axis=(2, 4))) if need_dx else None

    return Layer(init, forward, vjp)
