"""A convolution of thin images as a convolution with windows as wide as the image, for compiled code.

Its kernel is a banded matrix: the given kernel at each of its places in a row, and zeros elsewhere. One product gives a
whole row of outputs. It multiplies more numbers, by zeros, and copies fewer, since these windows overlap in height
alone. An infinity in a row makes NaN of all outputs that see the row.
"""

import numpy as np

from funcnn.arrays import Array, namespace
from funcnn.layers.windows import Windows, padded

__all__ = ["banded", "rows_or", "unbanded"]

_COPY = 50
"""The time to copy one number into windows, in multiplications.

Measured on two cores, compiled by JAX, 128 images: a step of LeNet takes 15.5 ms instead of 37.
"""


def rows_or(windows: Windows, x: Array, features: int) -> Windows:
    """The windows of whole rows if a convolution of x is faster with them, else ``windows``.

    NumPy keeps ``windows``, since it copies a strided view as fast. So do kernels of height 1: along a sequence an
    infinity must not reach earlier positions.
    """
    if isinstance(x, np.ndarray):
        return windows
    (height, kernel), (down, _) = windows.size, windows.stride
    _, width = windows.padded(x.shape[1:3])
    cheaper = height > 1 and features * (width - kernel) <= _COPY * kernel
    return Windows((height, width), (down, width), windows.padding) if cheaper else windows


def banded(weights: Array, windows: Windows, rows: Windows) -> Array:
    """The kernel for windows of whole rows: (height, width of the row, in, columns * out).

    A line holds the kernel and then zeros, and is longer than the row by the stride. Repeated and cut into rows, it has
    the kernel a stride further to the right in each row.
    """
    if rows is windows:
        return weights
    xp, (height, kernel, channels, features) = namespace(weights), weights.shape
    width, stride, columns = rows.size[1], windows.stride[1], _columns(windows, rows)
    line = padded(xp.permute_dims(weights, (0, 2, 3, 1)), 3, 0, width + stride - kernel)
    lines = xp.broadcast_to(line[:, :, :, None, :], (height, channels, features, columns, width + stride))
    flat = xp.reshape(lines, (height, channels, features, columns * (width + stride)))[..., : columns * width]
    band = xp.reshape(flat, (height, channels, features, columns, width))
    return xp.reshape(xp.permute_dims(band, (0, 4, 1, 3, 2)), (height, width, channels, columns * features))


def unbanded(dband: Array, windows: Windows, rows: Windows) -> Array:
    """The VJP of :func:`banded`: the sum over the places of the kernel in a row."""
    if rows is windows:
        return dband
    xp, (height, width, channels, _) = namespace(dband), dband.shape
    kernel, stride, columns = windows.size[1], windows.stride[1], _columns(windows, rows)
    band = xp.permute_dims(xp.reshape(dband, (height, width, channels, columns, -1)), (0, 2, 4, 3, 1))
    flat = padded(xp.reshape(band, (*band.shape[:3], columns * width)), 3, 0, columns * stride)
    lines = xp.reshape(flat, (*band.shape[:3], columns, width + stride))[..., :kernel]
    return xp.permute_dims(xp.sum(lines, axis=3), (0, 3, 1, 2))


def _columns(windows: Windows, rows: Windows) -> int:
    """How many places the kernel has in a row."""
    return (rows.size[1] - windows.size[1]) // windows.stride[1] + 1
