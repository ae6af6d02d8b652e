"""Convolution along a sequence: :func:`funcnn.conv2d` on an image of one row."""

from typing import Any

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, check_array, namespace
from funcnn.errors import require
from funcnn.initializers import Initializer, he_normal, zeros
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init
from funcnn.layers.convolution import Conv2dParams, conv2d
from funcnn.layers.windows import Padding, padded
from funcnn.spec import described

__all__ = ["conv1d"]


@described
def conv1d(
    features: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    padding: Padding = "same",
    causal: bool = False,
    weights: Initializer = he_normal(),
    biases: Initializer = zeros(),
) -> Layer:
    """y[t] = sum over the window at stride t of x times W, plus b: (batch, length, in) to (batch, length, features).

    The params are those of :func:`conv2d` with a kernel of height 1.

    Args:
        features: The number of output channels.
        kernel: The length of the window.
        stride: Steps between windows.
        padding: As in :func:`conv2d`.
        causal: Whether the window ends at t, with zeros before the sequence; else t is in its middle (van den Oord et
            al. 2016).
        weights: Initializer of the weights, (1, kernel, in, features).
        biases: Initializer of the biases, (features,).

    Raises:
        InputError: As :func:`conv2d`, or ``causal`` is not a truth value; later, inputs of another shape.

    >>> conv1d(8, 3, causal=True).init(Key(0), (20, 4))[1]
    (20, 8)
    """
    require(isinstance(causal, bool), "conv1d", "True or False for causal", repr(causal))
    both = {"weights": weights, "biases": biases}
    of_rows = conv2d(features, (1, kernel), stride=(1, stride), padding="valid" if causal else padding, **both)
    before = kernel - 1 if causal else 0

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[Conv2dParams, Shape]:
        check_init("conv1d", key, in_shape, dtype)
        require(len(in_shape) == 2, "conv1d", "inputs (batch, length, in)", repr(in_shape))
        length, channels = in_shape
        params, (_, *out_shape) = of_rows.init(key, (1, before + length, channels), dtype=dtype)
        return params, tuple(out_shape)

    def forward(params: Conv2dParams, x: Float[Array, "batch length in"], mode: Mode) -> tuple[Array, Any]:
        check_array("conv1d", "inputs", x)
        require(x.ndim == 3, "conv1d", "inputs (batch, length, in)", x.shape)
        row = namespace(x).expand_dims(padded(x, 1, before, 0), axis=1)
        y, residuals = of_rows.forward(params, row, mode)
        return y[:, 0, ...], residuals

    def vjp(
        params: Conv2dParams, residuals: Any, dy: Float[Array, "batch length out"], *, need_dx: bool = True
    ) -> tuple[Conv2dParams, Array | None]:
        dparams, dx = of_rows.vjp(params, residuals, namespace(dy).expand_dims(dy, axis=1), need_dx=need_dx)
        return dparams, None if dx is None else dx[:, 0, before:, :]

    return Layer(init, forward, vjp)
