"""What combinators share: layers as stages, and the place of what a layer refuses.

A layer with its params and mode is a *stage*, ``(x, residuals) -> (y, residuals)``: it puts what it keeps behind what
the stages before it kept.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from funcnn.arrays import Array
from funcnn.errors import InputError, require
from funcnn.layer import UNPACK, Layer, Mode, Params, check_mode, check_params

__all__ = ["Each", "any_calibrates", "check_layers", "located", "stages_of"]

Each: TypeAlias = Sequence[Any]
"""One thing for each layer: its params, its shape, its output."""

Stage: TypeAlias = Callable[[tuple[Any, Any]], tuple[Any, Any]]


def stages_of(name: str, layers: Sequence[Layer], params: Each, mode: Mode) -> list[Stage]:
    """Each layer as a stage; what one refuses, it refuses at its place."""
    check_mode(name, mode)
    check_params(name, params, tuple)
    if len(params) != len(layers):
        raise InputError(name, f"the params of {len(layers)} layers", f"those of {len(params)}", UNPACK)
    return [
        partial(_stage, name, i, layer.forward, own, mode.at(i))
        for i, (layer, own) in enumerate(zip(layers, params, strict=True))
    ]


def _stage(
    name: str, i: int, forward: Callable[..., Any], params: Params, mode: Mode, carried: tuple[Array, Each]
) -> tuple[Array, Each]:
    x, residuals = carried
    y, kept = located(name, i, forward, params, x, mode)
    return y, (*residuals, kept)


def located(name: str, i: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` of the layer ``i``; what it refuses, it refuses at that place, which any other error notes."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise error.within(f"{name}[{i}]") from None
    except Exception as error:
        error.add_note(f"{name}[{i}]")
        raise


def check_layers(name: str, layers: tuple[Layer, ...]) -> None:
    """Raise unless all are layers, and there is one at least, but for ``serial``."""
    require(len(layers) > 0 or name == "serial", name, "at least one layer", "none")
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"{name}[{i}]", "a Layer", repr(layer), "call its constructor: relu()")


def any_calibrates(layers: Iterable[Layer]) -> bool:
    """Whether one of them computes statistics from data."""
    return any(layer.calibrate is not None for layer in layers)
