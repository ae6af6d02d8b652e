"""Convolution and pooling of images (batch, height, width, channels).

All of them look at the windows of an image, (batch, rows, columns, kernel height, kernel width, channels): a
convolution is one matrix product with them, a pooling their maximum or mean. Windows are stacked slices, and
their VJP lays the slices back and adds them up, so both are array-API expressions.
"""

import math
import operator
from functools import partial, reduce
from types import ModuleType
from typing import Any, Literal, TypeAlias

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
from funcnn.layer import Layer, Mode, check_init, check_params
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["Conv2dParams", "avg_pool2d", "conv2d", "max_pool2d"]

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = Literal["same", "valid"]


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
    kernel, stride = _pair("conv2d", "kernel", kernel), _pair("conv2d", "stride", stride)
    return Layer(
        partial(conv2d_init, features, kernel, stride, padding, weights, biases),
        partial(conv2d_forward, stride, padding),
        partial(conv2d_vjp, stride, padding),
    )


@described
def max_pool2d(size: int | Pair = 2, *, stride: int | Pair | None = None) -> Layer:
    """y[r, c] = max of x over the window at (stride r, stride c), by channel; the stride is the size unless given.

    Of equal values the first has the gradient.
    """
    size, stride = _pool("max_pool2d", size, stride)
    return Layer(
        partial(_pool_init, "max_pool2d", size, stride),
        partial(max_pool2d_forward, size, stride),
        partial(max_pool2d_vjp, size, stride),
    )


@described
def avg_pool2d(size: int | Pair = 2, *, stride: int | Pair | None = None) -> Layer:
    """y[r, c] = mean of x over the window at (stride r, stride c), by channel; the stride is the size unless given."""
    size, stride = _pool("avg_pool2d", size, stride)
    return Layer(
        partial(_pool_init, "avg_pool2d", size, stride),
        partial(avg_pool2d_forward, size, stride),
        partial(avg_pool2d_vjp, size, stride),
    )


def conv2d_init(
    features: int,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    weights: Initializer,
    biases: Initializer,
    key: Key,
    in_shape: Shape,
    *,
    dtype: Any = np.float32,
) -> tuple[Conv2dParams, Shape]:
    """Params for inputs (batch, height, width, in), and the output shape."""
    where = f"conv2d({features}, {kernel})"
    check_init(where, key, in_shape, dtype)
    height, width, channels = _image(where, in_shape)
    params = Conv2dParams(
        weights=weights(key.at("weights"), (*kernel, channels, features), dtype),
        biases=biases(key.at("biases"), (features,), dtype),
    )
    pads = _pads((height, width), kernel, stride, padding)
    padded = tuple(size + sum(pad) for size, pad in zip((height, width), pads, strict=True))
    _check_size(where, padded, kernel)
    return params, (*_counts(padded, kernel, stride), features)


def conv2d_forward(
    stride: Pair, padding: Padding, params: Conv2dParams, x: Float[Array, "batch height width in"], mode: Mode
) -> tuple[Float[Array, "batch rows columns out"], Array]:
    """The residuals are x; its windows are stacked again for the VJP, since they are as many times larger."""
    del mode  # deterministic
    check_params("conv2d", params, Conv2dParams)
    *kernel, channels, features = params.weights.shape
    where = f"conv2d({features}, {tuple(kernel)})"
    check_array(where, "inputs", x)
    if x.ndim != 4 or x.shape[3] != channels:
        raise InputError(where, f"inputs (batch, height, width, {channels})", x.shape)
    xp = check_like(where, x, params.weights)
    columns = _columns(x, tuple(kernel), stride, padding)
    y = xp.reshape(columns, (-1, columns.shape[-1])) @ xp.reshape(params.weights, (-1, features))
    y += params.biases
    return xp.reshape(y, (*columns.shape[:3], features)), x


def conv2d_vjp(
    stride: Pair,
    padding: Padding,
    params: Conv2dParams,
    residuals: Float[Array, "batch height width in"],
    dy: Float[Array, "batch rows columns out"],
    *,
    need_dx: bool = True,
) -> tuple[Conv2dParams, Float[Array, "batch height width in"] | None]:
    """dW is the windows' transpose times dy, db the sum of dy, and dx lays dy W^T back on the windows."""
    xp, x = namespace(dy), residuals
    *kernel, channels, features = params.weights.shape
    columns = _columns(x, tuple(kernel), stride, padding)
    rows = xp.reshape(dy, (-1, features))
    dparams = Conv2dParams(
        weights=xp.reshape(xp.reshape(columns, (-1, columns.shape[-1])).T @ rows, params.weights.shape),
        biases=xp.sum(rows, axis=0),
    )
    if not need_dx:
        return dparams, None
    dwindows = xp.reshape(rows @ xp.reshape(params.weights, (-1, features)).T, (*dy.shape[:3], *kernel, channels))
    pads = _pads(x.shape[1:3], tuple(kernel), stride, padding)
    (top, bottom), (left, right) = pads
    padded = (x.shape[1] + top + bottom, x.shape[2] + left + right)
    dx = windows_vjp(dwindows, padded, stride)
    return dparams, dx[:, top : top + x.shape[1], left : left + x.shape[2], :]


def max_pool2d_forward(
    size: Pair, stride: Pair, params: tuple[()], x: Float[Array, "batch height width channels"], mode: Mode
) -> tuple[Float[Array, "batch rows columns channels"], tuple[Array, Array]]:
    """The residuals are x and y, which the layers beside it keep anyway."""
    del params, mode  # it has none, and is deterministic
    xp = _check_images(f"max_pool2d({size})", x, size)
    y = reduce(xp.maximum, _places(x, size, stride))
    return y, (x, y)


def max_pool2d_vjp(
    size: Pair,
    stride: Pair,
    params: tuple[()],
    residuals: tuple[Array, Array],
    dy: Float[Array, "batch rows columns channels"],
    *,
    need_dx: bool = True,
) -> tuple[tuple[()], Float[Array, "batch height width channels"] | None]:
    """dx is dy where the maximum stood first."""
    if not need_dx:
        return params, None
    x, y = residuals
    xp = namespace(y)  # that of dy may be NumPy's beside arrays of another
    rest, dplaces = dy, []
    for place in _places(x, size, stride):
        dplaces.append(xp.astype(place == y, dy.dtype) * rest)
        rest = rest - dplaces[-1]  # taken
    dwindows = xp.reshape(xp.stack(dplaces, axis=3), (*dy.shape[:3], *size, dy.shape[3]))
    return params, windows_vjp(dwindows, x.shape[1:3], stride)


def avg_pool2d_forward(
    size: Pair, stride: Pair, params: tuple[()], x: Float[Array, "batch height width channels"], mode: Mode
) -> tuple[Float[Array, "batch rows columns channels"], Shape]:
    """The residual is the size of the image."""
    del params, mode  # it has none, and is deterministic
    _check_images(f"avg_pool2d({size})", x, size)
    y = in_float32(lambda x: reduce(operator.add, _places(x, size, stride)) / math.prod(size), x)
    return y, x.shape[1:3]


def avg_pool2d_vjp(
    size: Pair,
    stride: Pair,
    params: tuple[()],
    residuals: Shape,
    dy: Float[Array, "batch rows columns channels"],
    *,
    need_dx: bool = True,
) -> tuple[tuple[()], Float[Array, "batch height width channels"] | None]:
    """dx spreads dy evenly over the window."""
    if not need_dx:
        return params, None
    share = dy[:, :, :, None, None, :] / math.prod(size)
    dwindows = namespace(dy).broadcast_to(share, (*dy.shape[:3], *size, dy.shape[3]))
    return params, windows_vjp(dwindows, residuals, stride)


def windows(x: Array, size: Pair, stride: Pair) -> Array:
    """The windows (batch, rows, columns, *size, channels) of images (batch, height, width, channels)."""
    _check_size("windows", x.shape[1:3], size)
    xp = namespace(x)
    down, across = _offsets(x, size, stride)
    beside = xp.stack([x[:, :, columns, :] for columns in across], axis=3)  # what follows is copied in longer runs
    return xp.stack([beside[:, rows, ...] for rows in down], axis=3)


def windows_vjp(dwindows: Array, image: Shape, stride: Pair) -> Array:
    """Every window laid back on an image of this height and width, and added up."""
    by_row = _laid_back(widened(dwindows), image[1], stride[1], axis=2)  # (batch, rows, width, kernel height, channels)
    return as_dtype_of(dwindows, _laid_back(by_row, image[0], stride[0], axis=1))


def _laid_back(parts: Array, length: int, stride: int, axis: int) -> Array:
    """Along ``axis``, the sum over the kernel's axis of its slices, each from its own place on.

    The kernel's axis stands two behind ``axis``, the positions from which it looks. As many slices as the stride is
    long do not overlap, and are laid back together.
    """
    ahead, kernel = (slice(None),) * (axis + 2), parts.shape[axis + 2]
    runs = [slice(start, min(start + stride, kernel)) for start in range(0, kernel, stride)]
    return reduce(operator.add, (_laid(parts[(*ahead, run, ...)], run.start, length, stride, axis) for run in runs))


def _laid(slices: Array, start: int, length: int, stride: int, axis: int) -> Array:
    """``slices`` side by side, each position's from ``start + stride * position`` on, in a line of ``length`` zeros."""
    xp = namespace(slices)
    filled = _padded(slices, axis + 2, 0, stride - slices.shape[axis + 2])
    beside = xp.moveaxis(filled, axis + 2, axis + 1)
    line = xp.reshape(beside, (*beside.shape[:axis], beside.shape[axis] * stride, *beside.shape[axis + 2 :]))
    whole = _padded(line, axis, start, max(0, length - start - line.shape[axis]))
    return whole[(slice(None),) * axis + (slice(length), ...)]


def _padded(x: Array, axis: int, before: int, after: int) -> Array:
    """``x`` with so many zeros before and after it along ``axis``."""
    xp = namespace(x)
    start, end = (xp.zeros((*x.shape[:axis], n, *x.shape[axis + 1 :]), dtype=x.dtype) for n in (before, after))
    return xp.concat([start, x, end], axis=axis) if before + after else x


def _columns(x: Array, kernel: Pair, stride: Pair, padding: Padding) -> Array:
    """The windows of the padded image with kernel and channels in one axis: (batch, rows, columns, kernel size)."""
    for axis, (before, after) in enumerate(_pads(x.shape[1:3], kernel, stride, padding), start=1):
        x = _padded(x, axis, before, after)
    seen = windows(x, kernel, stride)
    return namespace(x).reshape(seen, (*seen.shape[:3], math.prod(seen.shape[3:])))


def _places(x: Array, size: Pair, stride: Pair) -> list[Array]:
    """What all windows have at each of their places in turn, row by row: (batch, rows, columns, channels)."""
    down, across = _offsets(x, size, stride)
    return [x[:, rows, columns, :] for rows in down for columns in across]


def _offsets(x: Array, size: Pair, stride: Pair) -> tuple[list[slice], list[slice]]:
    """Where all windows have each of their rows, and each of their columns."""
    counts = _counts(x.shape[1:3], size, stride)
    down, across = (
        [slice(offset, offset + (count - 1) * step + 1, step) for offset in range(length)]
        for length, count, step in zip(size, counts, stride, strict=True)
    )
    return down, across


def _pads(image: Shape, kernel: Pair, stride: Pair, padding: Padding) -> tuple[Pair, Pair]:
    """How many zeros go before and after, for height and width."""
    if padding == "valid":
        return (0, 0), (0, 0)
    missing = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(image, kernel, stride, strict=True)]
    (up, left) = (total // 2 for total in missing)
    return (up, missing[0] - up), (left, missing[1] - left)


def _check_size(where: str, image: Shape, size: Pair) -> None:
    if any(n < k for n, k in zip(image, size, strict=True)):
        raise InputError(where, f"images of at least {size[0]} x {size[1]}", f"{image[0]} x {image[1]}")


def _counts(image: Shape, size: Pair, stride: Pair) -> Pair:
    """How many windows there are, down and to the right."""
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(image, size, stride, strict=True))
    return rows, columns


def _pool(name: str, size: int | Pair, stride: int | Pair | None) -> tuple[Pair, Pair]:
    pair = _pair(name, "size", size)
    return pair, pair if stride is None else _pair(name, "stride", stride)


def _pool_init(
    name: str, size: Pair, stride: Pair, key: Key, in_shape: Shape, *, dtype: Any = np.float32
) -> tuple[tuple[()], Shape]:
    """No parameters, and as many rows and columns as there are windows."""
    where = f"{name}({size})"
    check_init(where, key, in_shape, dtype)
    height, width, channels = _image(where, in_shape)
    _check_size(where, (height, width), size)
    return (), (*_counts((height, width), size, stride), channels)


def _check_images(where: str, x: Array, size: Pair) -> ModuleType:
    """The namespace of ``x``, once it is known to be images that hold a window."""
    check_array(where, "inputs", x)
    if x.ndim != 4:
        raise InputError(where, "inputs (batch, height, width, channels)", x.shape)
    _check_size(where, x.shape[1:3], size)
    return check_floating(where, x)


def _image(where: str, in_shape: Shape) -> tuple[int, int, int]:
    if len(in_shape) != 3:
        shape = ", ".join(map(str, in_shape))
        hint = "put reshape(height, width, channels) before it"
        raise InputError(where, "inputs (batch, height, width, channels)", f"(batch, {shape})", hint)
    height, width, channels = in_shape
    return height, width, channels


def _pair(where: str, name: str, value: int | Pair) -> Pair:
    """One number for both directions, or two."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    fits = len(pair) == 2 and all(map(is_count, pair))
    require(fits, where, f"{name} to be one or two positive whole numbers", repr(value))
    return pair[0], pair[1]
