"""What combinators share: layers as stages, and the place of a layer in front of what it raises.

A layer with its params and mode is a *stage*, ``(x, residuals) -> (y, residuals)``, which appends its own residuals.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from funcnn.errors import InputError, require
from funcnn.layer import UNPACK, Layer, Mode, Params, check_mode, check_params

__all__ = ["Each", "any_calibrates", "check_layers", "located", "stages_of"]

Each: TypeAlias = Sequence[Any]
"""One thing for each layer, such as its params, shape or output."""

Stage: TypeAlias = Callable[[tuple[Any, Any]], tuple[Any, Any]]


def stages_of(name: str, layers: Sequence[Layer], params: Each, mode: Mode) -> list[Stage]:
    """Each layer as a stage."""
    check_mode(name, mode)
    check_params(name, params, tuple)
    if len(params) != len(layers):
        raise InputError(name, f"the params of {len(layers)} layers", f"those of {len(params)}", UNPACK)

    def stage(i: int, layer: Layer, own: Params) -> Stage:
        own_mode = mode.at(i)

        def run(carried: tuple[Any, Each]) -> tuple[Any, Each]:
            x, residuals = carried
            y, kept = located(name, i, layer.forward, own, x, own_mode)
            return y, (*residuals, kept)

        return run

    return [stage(i, layer, own) for i, (layer, own) in enumerate(zip(layers, params, strict=True))]


def located(name: str, i: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` of the layer ``i``; an InputError gets the place in front, another error as a note."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise error.within(f"{name}[{i}]") from None
    except Exception as error:
        error.add_note(f"{name}[{i}]")
        raise


def check_layers(name: str, layers: tuple[Layer, ...]) -> None:
    """Raise unless all are layers; only ``serial`` may have none."""
    require(len(layers) > 0 or name == "serial", name, "at least one layer", "none")
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"{name}[{i}]", "a Layer", repr(layer), "call its constructor: relu()")


def any_calibrates(layers: Iterable[Layer]) -> bool:
    """Whether one of them has statistics of its inputs among its params."""
    return any(layer.calibrate is not None for layer in layers)
