"""Layers one after another. A combinator gives a :class:`Layer`, so nesting needs no special case.

A layer with its params and mode is a *stage*, ``(x, residuals) -> (y, residuals)``, which appends its own residuals.
:func:`serial` is associative with :func:`identity` as its unit, bit for bit, for layers that draw nothing: what a layer
draws depends on its place.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import toolz

from funcnn import tree
from funcnn.arrays import Shapes, check_dtype, check_in_shape
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import UNPACK, Layer, Mode, Params, Residuals, calibrate, check_mode, check_params, parameterless
from funcnn.spec import MOST_PARTS, described

__all__ = ["identity", "repeat", "serial"]

Each: TypeAlias = Sequence[Any]
"""One thing for each layer, such as its params, shape or output."""

Stage: TypeAlias = Callable[[Any], Any]


@described
def identity() -> Layer:
    """y = x, one array or a tuple: the unit of :func:`serial`."""
    return parameterless("identity()", toolz.identity, lambda x: (x, ()), lambda _, dy: dy, check_shapes)


@described
def serial(*layers: Layer) -> Layer:
    """y = layer_n(... layer_1(x)).

    The params are a tuple with those of each layer. Layer ``i`` draws from ``key.at(i)`` and ``mode.at(i)``.

    Raises:
        InputError: An argument is not a layer; later, a layer raises, with its place in front of the message.

    >>> import funcnn as fn
    >>> serial(fn.relu(), fn.max_pool2d()).init(Key(0), (784,))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    funcnn.errors.InputError: serial[1] max_pool2d((2, 2)): expected inputs (batch, height, width, channels),
        got (batch, 784); put reshape(height, width, channels) before it
    """
    check_layers("serial", layers)

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Each, Shapes]:
        check_key("serial", key)
        check_dtype("serial", dtype)
        params, shape = [], in_shape
        for i, layer in enumerate(layers):
            own, shape = located("serial", i, layer.init, key.at(i), shape, dtype=dtype)
            params.append(own)
        return tuple(params), shape

    def forward(params: Each, x: Any, mode: Mode) -> tuple[Any, Each]:
        """The composition of all stages; the residuals are a tuple with those of each layer."""
        y, residuals = toolz.pipe((x, ()), *stages("serial", layers, params, mode))
        return y, residuals

    def vjp(params: Each, residuals: Each, dy: Any, *, need_dx: bool = True) -> tuple[Each, Any]:
        """The composition of all pullbacks in reverse; without ``need_dx`` it ends at the first layer with params."""
        first = 0 if need_dx else next((i for i, own in enumerate(params) if tree.leaves(own)), len(params))
        parts = [*enumerate(zip(layers, params, residuals, strict=True))][first:]
        pullbacks = [partial(_pullback, layer.vjp, own, kept, need_dx or i > first) for i, (layer, own, kept) in parts]
        dparams, dx = toolz.pipe(((), dy), *reversed(pullbacks))
        return (*params[:first], *dparams), dx if need_dx else None

    def calibrated(params: Each, batches: list[Any]) -> tuple[Each, list[Any]]:
        done = []
        for layer, own in zip(layers, params, strict=True):
            own, batches = calibrate(layer, own, batches)
            done.append(own)
        return tuple(done), batches

    return Layer(init, forward, vjp, calibrated if any_calibrates(layers) else None)


@described
def repeat(times: int, layer: Layer) -> Layer:
    """y = layer(... layer(x)), ``times`` times, each time with params of its own.

    Raises:
        InputError: ``times`` is not a positive whole number up to 10,000, or ``layer`` is not a layer.

    >>> import funcnn as fn
    >>> params, _ = repeat(2, fn.dense(3)).init(Key(0), (5,))
    >>> [layer.weights.shape for layer in params]
    [(5, 3), (3, 3)]
    """
    fits = is_count(times) and times <= MOST_PARTS
    require(fits, "repeat", f"times to be a positive whole number up to {MOST_PARTS:,}", repr(times))
    return serial(*[layer] * times)


def check_shapes(where: str, in_shape: Any) -> None:
    """Raise unless ``in_shape`` is a shape, or a tuple of shapes."""
    several = isinstance(in_shape, tuple | list) and any(isinstance(part, tuple | list) for part in in_shape)
    for part in in_shape if several else ():
        check_shapes(where, part)
    if not several:
        check_in_shape(where, in_shape)


def located(name: str, i: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` of the layer ``i``; an InputError gets the place in front, another error as a note."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise error.within(f"{name}[{i}]") from error.__cause__
    except Exception as error:
        error.add_note(f"{name}[{i}]")
        raise


def check_layers(name: str, layers: tuple[Layer, ...]) -> None:
    """Raise unless all are layers; only ``serial`` may have none."""
    require(len(layers) > 0 or name == "serial", name, "at least one layer", "none")
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"{name}[{i}]", "a Layer", repr(layer), "call its constructor: relu()")


def stages(name: str, layers: Sequence[Layer], params: Any, mode: Mode) -> list[Stage]:
    """Each layer as a stage.

    Raises:
        InputError: There are not params for each layer, or ``mode`` is not a mode; later, a layer raises.
    """
    check_mode(name, mode)
    check_params(name, params, tuple)
    if len(params) != len(layers):
        raise InputError(name, f"the params of {len(layers)} layers", f"those of {len(params)}", UNPACK)
    return [
        partial(_stage, name, i, layer.forward, own, mode.at(i))
        for i, (layer, own) in enumerate(zip(layers, params, strict=True))
    ]


def _stage(
    name: str, i: int, forward: Callable[..., Any], params: Params, mode: Mode, carried: tuple[Any, Each]
) -> tuple[Any, Each]:
    x, residuals = carried
    y, own = located(name, i, forward, params, x, mode)
    return y, (*residuals, own)


def _pullback(
    vjp: Callable[..., Any], params: Params, residuals: Residuals, need_dx: bool, carried: tuple[Each, Any]
) -> tuple[Each, Any]:
    """A stage of the way back, ``(dparams of later layers, dy) -> (dparams, dx)``."""
    dparams, dy = carried
    own, dx = vjp(params, residuals, dy, need_dx=need_dx)
    return (own, *dparams), dx


def any_calibrates(layers: Iterable[Layer]) -> bool:
    """Whether one of them has statistics of its inputs among its params."""
    return any(layer.calibrate is not None for layer in layers)
