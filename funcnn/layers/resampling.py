"""Pooling and upsampling of images (batch, height, width, channels): layers without params."""

import math
import operator
from collections.abc import Callable
from typing import TypeAlias

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, as_dtype_of, check_floating, in_float32, namespace, widened
from funcnn.errors import InputError, is_count, require
from funcnn.layer import Layer, Residuals, parameterless
from funcnn.layers.windows import IMAGES, Pair, Windows, check_image, pair_of
from funcnn.spec import described

__all__ = ["avg_pool2d", "global_avg_pool", "max_pool2d", "upsample2d"]

X: TypeAlias = Float[Array, "batch height width channels"]
Y: TypeAlias = Float[Array, "batch rows columns channels"]


@described
def max_pool2d(size: int | Pair = 2, *, stride: int | Pair | None = None) -> Layer:
    """y[r, c] = max of x over the window at (stride r, stride c), by channel; the default stride is the size.

    The gradient goes to the first of equal values.
    """
    return _pool("max_pool2d", size, stride, _max, _max_vjp)


@described
def avg_pool2d(size: int | Pair = 2, *, stride: int | Pair | None = None) -> Layer:
    """y[r, c] = mean of x over the window at (stride r, stride c), by channel; the default stride is the size."""
    return _pool("avg_pool2d", size, stride, _mean, _mean_vjp)


@described
def global_avg_pool() -> Layer:
    """y = the mean of x over all axes but the batch and the channels: (batch, ..., channels) to (batch, channels).

    It replaces ``flatten`` before the last dense layer (Lin et al. 2014).

    Raises:
        InputError: Inputs have fewer than three axes, or are not floating.

    >>> import funcnn as fn
    >>> global_avg_pool().init(fn.Key(0), (7, 7, 32))[1]
    (32,)
    """
    expected = "inputs (batch, ..., channels)"

    def out_shape(in_shape: Shape) -> Shape:
        require(len(in_shape) > 1, "global_avg_pool", expected, repr(in_shape))
        return (in_shape[-1],)

    def forward(x: Float[Array, "batch *sizes channels"]) -> tuple[Float[Array, "batch channels"], Shape]:
        """The residual is the shape of x."""
        xp = check_floating("global_avg_pool", x)
        require(x.ndim > 2, "global_avg_pool", expected, x.shape)
        return as_dtype_of(x, xp.mean(widened(x), axis=tuple(range(1, x.ndim - 1)))), tuple(x.shape)

    def vjp(shape: Shape, dy: Float[Array, "batch channels"]) -> Array:
        """dx = dy / (number of places), at each of them."""
        batch, *sizes, channels = shape
        share = namespace(dy).reshape(dy / math.prod(sizes), (batch, *[1] * len(sizes), channels))
        return namespace(dy).broadcast_to(share, shape)

    return parameterless("global_avg_pool", out_shape, forward, vjp)


@described
def upsample2d(times: int = 2) -> Layer:
    """y[r, c] = x[r // times, c // times]: each pixel becomes a square (batch, times height, times width, channels).

    Raises:
        InputError: ``times`` is not a positive whole number; later, inputs of another shape.

    >>> import funcnn as fn
    >>> upsample2d(2).init(fn.Key(0), (7, 7, 32))[1]
    (14, 14, 32)
    """
    require(is_count(times), "upsample2d", "times to be a positive whole number", repr(times))

    def out_shape(in_shape: Shape) -> Shape:
        (height, width), channels = check_image("upsample2d", in_shape)
        return times * height, times * width, channels

    def forward(x: X) -> tuple[Y, tuple[()]]:
        xp = check_floating("upsample2d", x)
        require(x.ndim == 4, "upsample2d", IMAGES, x.shape)
        batch, height, width, channels = x.shape
        squares = xp.broadcast_to(x[:, :, None, :, None, :], (batch, height, times, width, times, channels))
        return xp.reshape(squares, (batch, times * height, times * width, channels)), ()

    def vjp(residuals: tuple[()], dy: Y) -> X:
        """dx is the sum of dy over each square."""
        xp, (batch, rows, columns, channels) = namespace(dy), dy.shape
        squares = xp.reshape(widened(dy), (batch, rows // times, times, columns // times, times, channels))
        return as_dtype_of(dy, xp.sum(squares, axis=(2, 4)))

    return parameterless("upsample2d", out_shape, forward, vjp)


def _pool(
    name: str,
    size: int | Pair,
    stride: int | Pair | None,
    pool: Callable[[Windows, Array], tuple[Array, Residuals]],
    pool_vjp: Callable[[Windows, Residuals, Array], Array],
) -> Layer:
    """One number for each window and channel."""
    pair = pair_of(name, "size", size)
    windows = Windows(pair, pair if stride is None else pair_of(name, "stride", stride))
    where = f"{name}({pair})"

    def out_shape(in_shape: Shape) -> Shape:
        image, channels = check_image(where, in_shape)
        windows.check(where, image)
        return (*windows.counts(image), channels)

    def forward(x: X) -> tuple[Y, Residuals]:
        check_floating(where, x)
        if x.ndim != 4:
            raise InputError(where, IMAGES, x.shape)
        windows.check(where, x.shape[1:3])
        return pool(windows, x)

    return parameterless(where, out_shape, forward, lambda residuals, dy: pool_vjp(windows, residuals, dy))


def _max(windows: Windows, x: X) -> tuple[Y, tuple[X, Y]]:
    """The residuals are x and y, which the layers before and after keep anyway."""
    y = windows.fold(namespace(x).maximum, x)
    return y, (x, y)


def _max_vjp(windows: Windows, residuals: tuple[X, Y], dy: Y) -> X:
    """dx is dy at the first place of the maximum."""
    x, y = residuals
    xp = namespace(y, dy)
    down, across = windows.slices(x.shape[1:3])
    rest, by_row = dy, []
    for rows in down:
        places = []
        for columns in across:
            places.append(xp.astype(x[:, rows, columns, :] == y, dy.dtype) * rest)
            rest = rest - places[-1]  # no later place gets it too
        by_row.append(xp.stack(places, axis=3))
    dwindows = xp.moveaxis(xp.stack(by_row, axis=2), 2, 3)  # the memory order of the image
    return windows.laid_back(dwindows, x.shape[1:3])


def _mean(windows: Windows, x: X) -> tuple[Y, Shape]:
    """The residual is the height and width of the image."""
    y = in_float32(lambda x: windows.fold(operator.add, x) / math.prod(windows.size), x)
    return y, x.shape[1:3]


def _mean_vjp(windows: Windows, image: Shape, dy: Y) -> X:
    """dx spreads dy evenly over the window."""
    share = dy[:, :, :, None, None, :] / math.prod(windows.size)
    dwindows = namespace(dy).broadcast_to(share, (*dy.shape[:3], *windows.size, dy.shape[3]))
    return windows.laid_back(dwindows, image)
