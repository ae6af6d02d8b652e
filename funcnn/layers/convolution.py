"""Convolution and pooling of images (batch, height, width, channels).

All of them look at the windows of an image, (batch, rows, columns, kernel height, kernel width, channels): a
convolution is one matrix product with them, a pooling their maximum or mean. Their VJP lays windows back
and adds them up.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import (
    Array,
    Shape,
    check_array,
    check_floating,
    check_like,
    in_float32,
    namespace,
)
from funcnn.errors import InputError, is_count, is_one_of, require
from funcnn.initializers import Initializer, check_initializer, he_normal, zeros
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, Residuals, Training, check_init, check_params
from funcnn.layers.banded import banded, rows_or, unbanded
from funcnn.layers.windows import Padding, Pair, Windows
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["Conv2dParams", "avg_pool2d", "conv2d", "conv2d_transpose", "max_pool2d"]

X: TypeAlias = Float[Array, "batch height width in"]
Y: TypeAlias = Float[Array, "batch rows columns out"]

_KEPT_BYTES = 1 << 23
"""NumPy's windows up to 8 MB stay for the VJP of a training step, still in the cache.

Measured: a step of LeNet with 32 images takes 4.6 ms instead of 4.9; larger windows, of 128 images, gain nothing.
"""


@record
class Conv2dParams:
    """The params of :func:`conv2d` and :func:`conv2d_transpose`."""

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
    windows = _windows("conv2d", features, kernel, stride, padding, weights, biases)
    where = f"conv2d({features}, {windows.size})"

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[Conv2dParams, Shape]:
        image, channels = _image_shape(where, key, in_shape, dtype)
        params = _drawn(key, (*windows.size, channels, features), dtype, weights, biases)
        padded = tuple(size + sum(pad) for size, pad in zip(image, windows.pads(image), strict=True))
        windows.check(where, padded)
        return params, (*windows.counts(padded), features)

    def forward(params: Conv2dParams, x: X, mode: Mode) -> tuple[Y, tuple[X, Array | None]]:
        """The residuals are x and its windows, or None where these are too many, and made again for the VJP."""
        check_params("conv2d", params, Conv2dParams)
        _check_images(where, x, params.weights.shape[2])
        xp = check_like(where, x, params.weights)
        rows = rows_or(windows, x, features)
        seen, kernel = rows.columns(x), banded(params.weights, windows, rows)
        y = xp.reshape(seen, (-1, seen.shape[3])) @ xp.reshape(kernel, (-1, kernel.shape[3]))
        y = xp.reshape(y, (*seen.shape[:2], seen.shape[2] * kernel.shape[3] // features, features))
        y += params.biases
        kept = isinstance(mode, Training) and isinstance(seen, np.ndarray) and seen.nbytes <= _KEPT_BYTES
        return y, (x, seen if kept else None)

    def vjp(
        params: Conv2dParams, residuals: tuple[X, Array | None], dy: Y, *, need_dx: bool = True
    ) -> tuple[Conv2dParams, X | None]:
        """dW is the windows' transpose times dy, db the sum of dy, and dx lays dy W^T back on the windows."""
        xp, (x, seen) = namespace(dy), residuals
        rows = rows_or(windows, x, features)
        seen, kernel = rows.columns(x) if seen is None else seen, banded(params.weights, windows, rows)
        by_window = xp.reshape(dy, (*seen.shape[:3], kernel.shape[3]))
        dkernel = xp.reshape(seen, (-1, seen.shape[3])).T @ xp.reshape(by_window, (-1, kernel.shape[3]))
        dweights = unbanded(xp.reshape(dkernel, kernel.shape), windows, rows)
        dparams = Conv2dParams(weights=dweights, biases=_over_images(dy))
        return dparams, rows.spread(by_window, kernel, x.shape[1:3]) if need_dx else None

    return Layer(init, forward, vjp)


@described
def conv2d_transpose(
    features: int,
    kernel: int | Pair = 3,
    *,
    stride: int | Pair = 1,
    padding: Padding = "same",
    weights: Initializer = he_normal(),
    biases: Initializer = zeros(),
) -> Layer:
    """y = the sum of x[r, c] W laid on the window at (stride r, stride c), plus b (Zeiler et al. 2010).

    It is the transpose of the linear map of a :func:`conv2d` (Dumoulin and Visin 2016), with stride > 1 a learned
    upsampling. Keras and JAX (with ``transpose_kernel``) have the last two axes of the weights the other way round.

    Args:
        features: The number of output channels.
        kernel: Height and width of the window.
        stride: Steps between windows, down and to the right.
        padding: ``"same"`` for outputs of stride times the size, cut as :func:`conv2d` pads; ``"valid"`` for whole
            windows, stride times the size and max(kernel - stride, 0) more.
        weights: Initializer of the weights, (height, width, in, features).
        biases: Initializer of the biases, (features,).

    Raises:
        InputError: What :func:`conv2d` refuses; later, inputs of another shape.

    >>> conv2d_transpose(8, 4, stride=2).init(Key(0), (7, 7, 16))[1]
    (14, 14, 8)
    """
    windows = _windows("conv2d_transpose", features, kernel, stride, padding, weights, biases)
    where = f"conv2d_transpose({features}, {windows.size})"

    def grown(image: Shape) -> Shape:
        """Height and width of the outputs for those of the inputs."""
        over = [max(k - s, 0) if padding == "valid" else 0 for k, s in zip(windows.size, windows.stride, strict=True)]
        return tuple(n * s + more for n, s, more in zip(image, windows.stride, over, strict=True))

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[Conv2dParams, Shape]:
        image, channels = _image_shape(where, key, in_shape, dtype)
        return _drawn(key, (*windows.size, channels, features), dtype, weights, biases), (*grown(image), features)

    def forward(params: Conv2dParams, x: X, mode: Mode) -> tuple[Y, X]:
        del mode  # deterministic
        check_params("conv2d_transpose", params, Conv2dParams)
        _check_images(where, x, params.weights.shape[2])
        xp = check_like(where, x, params.weights)
        return windows.spread(x, xp.moveaxis(params.weights, 2, 3), grown(x.shape[1:3])) + params.biases, x

    def vjp(params: Conv2dParams, residuals: X, dy: Y, *, need_dx: bool = True) -> tuple[Conv2dParams, X | None]:
        """With the windows of dy, dx is a :func:`conv2d` without biases, and dW their transpose times x."""
        xp, x, (height, width, channels, _) = namespace(dy), residuals, params.weights.shape
        seen = windows.columns(dy)
        seen = xp.reshape(seen, (-1, seen.shape[3]))
        dweights = xp.reshape(seen.T @ xp.reshape(x, (-1, channels)), (height, width, features, channels))
        dparams = Conv2dParams(weights=xp.moveaxis(dweights, 3, 2), biases=_over_images(dy))
        if not need_dx:
            return dparams, None
        return dparams, xp.reshape(seen @ xp.reshape(xp.moveaxis(params.weights, 2, 3), (-1, channels)), x.shape)

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
    y = windows.fold(namespace(x).maximum, x)
    return y, (x, y)


def _max_vjp(windows: Windows, residuals: tuple[Array, Array], dy: Array) -> Array:
    """dx is dy where the maximum stood first."""
    x, y = residuals
    xp = namespace(y)  # that of dy may be NumPy's beside arrays of another
    down, across = windows.slices(x.shape[1:3])
    rest, by_row = dy, []
    for rows in down:
        places = []
        for columns in across:
            places.append(xp.astype(x[:, rows, columns, :] == y, dy.dtype) * rest)
            rest = rest - places[-1]  # taken
        by_row.append(xp.stack(places, axis=3))
    dwindows = xp.moveaxis(xp.stack(by_row, axis=2), 2, 3)  # in memory as they lie in the image
    return windows.laid_back(dwindows, x.shape[1:3])


def _mean(windows: Windows, x: Array) -> tuple[Array, Shape]:
    """The residual is the size of the image."""
    y = in_float32(lambda x: windows.fold(operator.add, x) / math.prod(windows.size), x)
    return y, x.shape[1:3]


def _mean_vjp(windows: Windows, residuals: Shape, dy: Array) -> Array:
    """dx spreads dy evenly over the window."""
    share = dy[:, :, :, None, None, :] / math.prod(windows.size)
    dwindows = namespace(dy).broadcast_to(share, (*dy.shape[:3], *windows.size, dy.shape[3]))
    return windows.laid_back(dwindows, residuals)


def _windows(name: str, features: Any, kernel: Any, stride: Any, padding: Any, weights: Any, biases: Any) -> Windows:
    """Those of a convolution, once its arguments are checked."""
    require(is_count(features), name, "features to be a positive whole number", repr(features))
    require(is_one_of(padding, ("same", "valid")), name, "a padding of 'same' or 'valid'", repr(padding))
    check_initializer(f"{name} weights", weights)
    check_initializer(f"{name} biases", biases)
    return Windows(_pair(name, "kernel", kernel), _pair(name, "stride", stride), padding)


def _drawn(key: Key, shape: Shape, dtype: Any, weights: Initializer, biases: Initializer) -> Conv2dParams:
    """The params of a convolution whose weights have this shape."""
    return Conv2dParams(weights(key.at("weights"), shape, dtype), biases(key.at("biases"), shape[3:], dtype))


def _over_images(dy: Array) -> Array:
    """The sum for each channel, over the images first: 0.1 ms instead of 1.6 for the first layer of LeNet."""
    xp = namespace(dy)
    return xp.sum(xp.sum(dy, axis=0), axis=(0, 1))


def _check_images(where: str, x: Array, channels: int) -> None:
    """Raise unless ``x`` is an array of images with so many channels."""
    check_array(where, "inputs", x)
    if x.ndim != 4 or x.shape[3] != channels:
        raise InputError(where, f"inputs (batch, height, width, {channels})", x.shape)


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
