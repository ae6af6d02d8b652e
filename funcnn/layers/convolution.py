"""Convolution and pooling of images (batch, height, width, channels).

All of them look at the windows of an image, (batch, rows, columns, kernel height, kernel width, channels): a
convolution is one matrix product with them, a pooling their maximum or mean. Windows are stacked slices, and
their VJP lays the slices back and adds them up, so both are array-API expressions.
"""

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import (
    Array,
    Shape,
    as_dtype_of,
    check_array,
    check_floating,
    check_like,
    in_float32,
    namespace,
    widened,
)
from funcnn.errors import InputError, is_count, is_one_of, require
from funcnn.initializers import Initializer, check_initializer, he_normal, zeros
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, Residuals, check_init, check_params
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["Conv2dParams", "avg_pool2d", "conv2d", "max_pool2d"]

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = Literal["same", "valid"]
X: TypeAlias = Float[Array, "batch height width in"]
Y: TypeAlias = Float[Array, "batch rows columns out"]


@record
class Conv2dParams:
    """The params of :func:`conv2d`."""

    weights: Float[Array, "height width in out"]
    biases: Float[Array, "out"]


@described
def conv2d(
    features: int,
    kernel: int | Pair = 3,
    *,
    stride: int | Pair = 1,
    padding: Padding = "same",
    weights: Initializer = he_normal(),
    biases: Initializer = zeros(),
) -> Layer:
    """y[r, c] = sum over the window at (stride r, stride c) of x times W, plus b (LeCun et al. 1989).

    Args:
        features: The number of output channels.
        kernel: Height and width of the window.
        stride: Steps between windows, down and to the right.
        padding: ``"valid"`` for windows inside the image; ``"same"`` pads zeros, the odd one below and to the right,
            so that there are ceil(size / stride) windows (as in TensorFlow and JAX).
        weights: Initializer of the weights, (height, width, in, features).
        biases: Initializer of the biases, (features,).

    Raises:
        InputError: A size is no positive whole number, or padding another word; later, inputs of another shape.
    """
    require(is_count(features), "conv2d", "features to be a positive whole number", repr(features))
    require(is_one_of(padding, ("same", "valid")), "conv2d", "a padding of 'same' or 'valid'", repr(padding))
    check_initializer("conv2d weights", weights)
    check_initializer("conv2d biases", biases)
    windows = Windows(_pair("conv2d", "kernel", kernel), _pair("conv2d", "stride", stride), padding)
    where = f"conv2d({features}, {windows.size})"

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[Conv2dParams, Shape]:
        image, channels = _image_shape(where, key, in_shape, dtype)
        params = Conv2dParams(
            weights=weights(key.at("weights"), (*windows.size, channels, features), dtype),
            biases=biases(key.at("biases"), (features,), dtype),
        )
        padded = tuple(size + sum(pad) for size, pad in zip(image, windows.pads(image), strict=True))
        windows.check(where, padded)
        return params, (*windows.counts(padded), features)

    def forward(params: Conv2dParams, x: X, mode: Mode) -> tuple[Y, X]:
        """The residual is x; its windows, many times larger, are stacked again for the VJP."""
        del mode  # deterministic
        check_params("conv2d", params, Conv2dParams)
        check_array(where, "inputs", x)
        channels = params.weights.shape[2]
        if x.ndim != 4 or x.shape[3] != channels:
            raise InputError(where, f"inputs (batch, height, width, {channels})", x.shape)
        xp = check_like(where, x, params.weights)
        seen = windows.columns(x)
        y = xp.reshape(seen, (-1, seen.shape[3])) @ xp.reshape(params.weights, (-1, features))
        y += params.biases
        return xp.reshape(y, (*seen.shape[:3], features)), x

    def vjp(params: Conv2dParams, residuals: X, dy: Y, *, need_dx: bool = True) -> tuple[Conv2dParams, X | None]:
        """dW is the windows' transpose times dy, db the sum of dy, and dx lays dy W^T back on the windows."""
        xp, x, shape = namespace(dy), residuals, params.weights.shape
        seen, rows = windows.columns(x), xp.reshape(dy, (-1, features))
        dparams = Conv2dParams(
            weights=xp.reshape(xp.reshape(seen, (-1, seen.shape[3])).T @ rows, shape),
            biases=xp.sum(rows, axis=0),
        )
        if not need_dx:
            return dparams, None
        dwindows = xp.reshape(rows @ xp.reshape(params.weights, (-1, features)).T, (*dy.shape[:3], *shape[:3]))
        _, height, width, _ = x.shape
        (top, bottom), (left, right) = windows.pads((height, width))
        dx = windows.laid_back(dwindows, (height + top + bottom, width + left + right))
        return dparams, dx[:, top : top + height, left : left + width, :]

    return Layer(init, forward, vjp)


@described
def max_pool2d(size: int | Pair = 2, *, stride: int | Pair | None = None) -> Layer:
    """y[r, c] = max of x over the window at (stride r, stride c), by channel; the stride is the size unless given.

    Of equal values the first has the gradient.
    """
    return _pool("max_pool2d", size, stride, _max, _max_vjp)


@described
def avg_pool2d(size: int | Pair = 2, *, stride: int | Pair | None = None) -> Layer:
    """y[r, c] = mean of x over the window at (stride r, stride c), by channel; the stride is the size unless given."""
    return _pool("avg_pool2d", size, stride, _mean, _mean_vjp)


@attrs.frozen
class Windows:
    """The windows of an image: their height and width, the steps between them, and whether zeros go around it."""

    size: Pair
    stride: Pair
    padding: Padding = "valid"

    def check(self, where: str, image: Shape) -> None:
        """Raise unless an image of this height and width holds one."""
        if image[0] < self.size[0] or image[1] < self.size[1]:
            raise InputError(where, f"images of at least {self.size[0]} x {self.size[1]}", f"{image[0]} x {image[1]}")

    def counts(self, image: Shape) -> Pair:
        """How many there are, down and to the right."""
        rows, columns = [(n - k) // s + 1 for n, k, s in zip(image, self.size, self.stride, strict=True)]
        return rows, columns

    def pads(self, image: Shape) -> list[Pair]:
        """How many zeros go before and after, by height and width."""
        if self.padding == "valid":
            return [(0, 0), (0, 0)]
        missing = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(image, self.size, self.stride, strict=True)]
        return [(total // 2, total - total // 2) for total in missing]

    def slices(self, image: Shape) -> list[list[slice]]:
        """Where all of them have each of their rows, and each of their columns."""
        return [
            [slice(offset, offset + (count - 1) * step + 1, step) for offset in range(length)]
            for length, count, step in zip(self.size, self.counts(image), self.stride, strict=True)
        ]

    def places(self, x: Array) -> list[Array]:
        """What all of them have at each of their places in turn, row by row: (batch, rows, columns, channels)."""
        down, across = self.slices(x.shape[1:3])
        return [x[:, rows, columns, :] for rows in down for columns in across]

    def of(self, x: Array) -> Array:
        """Those of images (batch, height, width, channels): (batch, rows, columns, *size, channels)."""
        self.check("windows", x.shape[1:3])
        xp, (down, across) = namespace(x), self.slices(x.shape[1:3])
        beside = xp.stack([x[:, :, columns, :] for columns in across], axis=3)  # what follows is copied in longer runs
        return xp.stack([beside[:, rows, ...] for rows in down], axis=3)

    def columns(self, x: Array) -> Array:
        """Those of the padded images, kernel and channels in one axis: (batch, rows, columns, kernel size)."""
        for axis, (before, after) in enumerate(self.pads(x.shape[1:3]), start=1):
            x = _padded(x, axis, before, after)
        seen = self.of(x)
        return namespace(x).reshape(seen, (*seen.shape[:3], math.prod(seen.shape[3:])))

    def laid_back(self, dwindows: Array, image: Shape) -> Array:
        """Each laid back on an image of this height and width, and added up: the VJP of :meth:`of`."""
        by_row = _laid_back(
            widened(dwindows), image[1], self.stride[1], axis=2
        )  # (batch, rows, width, kernel rows, in)
        return as_dtype_of(dwindows, _laid_back(by_row, image[0], self.stride[0], axis=1))


def _laid_back(parts: Array, length: int, stride: int, axis: int) -> Array:
    """Along ``axis``, the sum over the kernel's axis, two behind it, of its slices, each from its own place on.

    As many slices as the stride is long do not overlap: they are laid side by side, in a line of ``length``.
    """
    xp, ahead, kernel = namespace(parts), (slice(None),) * axis, parts.shape[axis + 2]

    def line(start: int) -> Array:
        slices = parts[(*ahead, slice(None), slice(None), slice(start, min(start + stride, kernel)), ...)]
        beside = xp.moveaxis(_padded(slices, axis + 2, 0, stride - slices.shape[axis + 2]), axis + 2, axis + 1)
        joined = xp.reshape(beside, (*beside.shape[:axis], beside.shape[axis] * stride, *beside.shape[axis + 2 :]))
        return _padded(joined, axis, start, max(0, length - start - joined.shape[axis]))[(*ahead, slice(length), ...)]

    return reduce(operator.add, map(line, range(0, kernel, stride)))


def _padded(x: Array, axis: int, before: int, after: int) -> Array:
    """``x`` with so many zeros before and after it along ``axis``."""
    if before + after == 0:
        return x
    xp = namespace(x)
    start, end = [xp.zeros((*x.shape[:axis], n, *x.shape[axis + 1 :]), dtype=x.dtype) for n in (before, after)]
    return xp.concat([start, x, end], axis=axis)


def _pool(
    name: str,
    size: int | Pair,
    stride: int | Pair | None,
    pool: Callable[[Windows, Array], tuple[Array, Residuals]],
    pool_vjp: Callable[[Windows, Residuals, Array], Array],
) -> Layer:
    """A layer without parameters that makes one number of each window and channel."""
    pair = _pair(name, "size", size)
    windows = Windows(pair, pair if stride is None else _pair(name, "stride", stride))
    where = f"{name}({pair})"

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
        image, channels = _image_shape(where, key, in_shape, dtype)
        windows.check(where, image)
        return (), (*windows.counts(image), channels)

    def forward(params: tuple[()], x: X, mode: Mode) -> tuple[Y, Residuals]:
        del params, mode  # it has none, and is deterministic
        check_array(where, "inputs", x)
        if x.ndim != 4:
            raise InputError(where, "inputs (batch, height, width, channels)", x.shape)
        windows.check(where, x.shape[1:3])
        check_floating(where, x)
        return pool(windows, x)

    def vjp(params: tuple[()], residuals: Residuals, dy: Y, *, need_dx: bool = True) -> tuple[tuple[()], X | None]:
        return params, pool_vjp(windows, residuals, dy) if need_dx else None

    return Layer(init, forward, vjp)


def _max(windows: Windows, x: Array) -> tuple[Array, tuple[Array, Array]]:
    """The residuals are x and y, which the layers beside it keep anyway."""
    y = reduce(namespace(x).maximum, windows.places(x))
    return y, (x, y)


def _max_vjp(windows: Windows, residuals: tuple[Array, Array], dy: Array) -> Array:
    """dx is dy where the maximum stood first."""
    x, y = residuals
    xp = namespace(y)  # that of dy may be NumPy's beside arrays of another
    rest, dplaces = dy, []
    for place in windows.places(x):
        dplaces.append(xp.astype(place == y, dy.dtype) * rest)
        rest = rest - dplaces[-1]  # taken
    dwindows = xp.reshape(xp.stack(dplaces, axis=3), (*dy.shape[:3], *windows.size, dy.shape[3]))
    return windows.laid_back(dwindows, x.shape[1:3])


def _mean(windows: Windows, x: Array) -> tuple[Array, Shape]:
    """The residual is the size of the image."""
    y = in_float32(lambda x: reduce(operator.add, windows.places(x)) / math.prod(windows.size), x)
    return y, x.shape[1:3]


def _mean_vjp(windows: Windows, residuals: Shape, dy: Array) -> Array:
    """dx spreads dy evenly over the window."""
    share = dy[:, :, :, None, None, :] / math.prod(windows.size)
    dwindows = namespace(dy).broadcast_to(share, (*dy.shape[:3], *windows.size, dy.shape[3]))
    return windows.laid_back(dwindows, residuals)


def _image_shape(where: str, key: Key, in_shape: Shape, dtype: Any) -> tuple[Shape, int]:
    """(height, width) and channels, once it is known that the layer can be initialized with them."""
    check_init(where, key, in_shape, dtype)
    if len(in_shape) != 3:
        shape = ", ".join(map(str, in_shape))
        hint = "put reshape(height, width, channels) before it"
        raise InputError(where, "inputs (batch, height, width, channels)", f"(batch, {shape})", hint)
    return in_shape[:2], in_shape[2]


def _pair(where: str, name: str, value: int | Pair) -> Pair:
    """One number for both directions, or two."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    fits = len(pair) == 2 and all(map(is_count, pair))
    require(fits, where, f"{name} to be one or two positive whole numbers", repr(value))
    return pair[0], pair[1]
