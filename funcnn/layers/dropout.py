"""Dropout: noise while training, nothing at inference."""

from functools import partial

from funcnn.annotations import Bool, Float
from funcnn.arrays import Array, check_floating, namespace
from funcnn.errors import is_real, require
from funcnn.layer import Layer, Mode, Training, check_mode
from funcnn.layers.activations import init_same_shape
from funcnn.spec import described

__all__ = ["dropout"]


@described
def dropout(rate: float) -> Layer:
    """While training y = x m / (1 - rate), with m 0 at probability ``rate``, else 1; at inference y = x.

    ``rate`` is the probability to *drop* (in ``jax.example_libraries.stax`` it is that to keep). The mask is drawn
    from the mode's key (Srivastava et al. 2014, in the inverted form that leaves inference alone).

    Raises:
        InputError: ``rate`` is outside [0, 1): at 1 nothing would be left to scale.
    """
    fits = is_real(rate, low=0, below=1)
    require(fits, "dropout", "a rate, the probability to drop, in [0, 1)", repr(rate))
    return Layer(init_same_shape, partial(dropout_forward, rate), partial(dropout_vjp, rate))


def dropout_forward(
    rate: float, params: tuple[()], x: Float[Array, "*shape"], mode: Mode
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"] | tuple[()]]:
    """The residual is the mask while training, and empty at inference."""
    del params  # it has none
    check_floating(f"dropout({rate})", x)
    check_mode(f"dropout({rate})", mode)
    if not isinstance(mode, Training) or rate == 0:
        return x, ()
    kept = mode.key.bernoulli(1 - rate, x.shape)
    return _masked(x, kept, rate), kept


def dropout_vjp(
    rate: float,
    params: tuple[()],
    residuals: Bool[Array, "*shape"] | tuple[()],
    dy: Float[Array, "*shape"],
    *,
    need_dx: bool = True,
) -> tuple[tuple[()], Float[Array, "*shape"] | None]:
    """dx = dy m / (1 - rate) while training, dy at inference."""
    if not need_dx:
        return params, None
    return params, dy if isinstance(residuals, tuple) else _masked(dy, residuals, rate)


def _masked(x: Array, kept: Array, rate: float) -> Array:
    y = x * namespace(x).astype(kept, x.dtype)
    y *= 1 / (1 - rate)
    return y
