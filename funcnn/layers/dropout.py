"""Dropout: noise while training, nothing at inference."""

from typing import Any, TypeAlias

import numpy as np

from funcnn.annotations import Bool
from funcnn.arrays import Array, Shape, check_floating, namespace
from funcnn.errors import is_real, require
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, Training, check_init, check_mode
from funcnn.layers.activations import Same
from funcnn.spec import described

__all__ = ["dropout"]

Mask: TypeAlias = Bool[Array, "*shape"] | tuple[()]


@described
def dropout(rate: float) -> Layer:
    """While training y = x m / (1 - rate), each m being 0 with probability ``rate``, else 1; at inference y = x.

    ``rate`` is the probability to *drop*; in ``jax.example_libraries.stax`` it is the probability to keep. The mode's
    key draws the mask m (Srivastava et al. 2014, inverted, so that inference needs no factor).

    Raises:
        InputError: ``rate`` is outside [0, 1). At 1 nothing would be left to scale.
    """
    fits = is_real(rate, low=0, below=1)
    require(fits, "dropout", "a rate, the probability to drop, in [0, 1)", repr(rate))
    where = f"dropout({rate})"

    def masked(x: Array, kept: Array) -> Array:
        y = x * namespace(x).astype(kept, x.dtype)
        y *= 1 / (1 - rate)
        return y

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
        check_init(where, key, in_shape, dtype)
        return (), in_shape

    def forward(params: tuple[()], x: Same, mode: Mode) -> tuple[Same, Mask]:
        """The residual is the mask while training, and empty at inference."""
        check_floating(where, x)
        check_mode(where, mode)
        if not isinstance(mode, Training) or rate == 0:
            return x, ()
        kept = mode.key.bernoulli(1 - rate, x.shape)
        return masked(x, kept), kept

    def vjp(params: tuple[()], residuals: Mask, dy: Same, *, need_dx: bool = True) -> tuple[tuple[()], Same | None]:
        """dx = dy m / (1 - rate) while training, dy at inference."""
        if not need_dx:
            return params, None
        return params, dy if isinstance(residuals, tuple) else masked(dy, residuals)

    return Layer(init, forward, vjp)
