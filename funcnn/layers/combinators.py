"""Layers one after another. A combinator gives a :class:`Layer`, so nesting needs no special case.

:func:`serial` is associative with :func:`identity` as its unit, bit for bit, for layers that draw nothing: what a layer
draws depends on its place.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import toolz

from funcnn import tree
from funcnn.arrays import Shapes, check_dtype, check_in_shape
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import UNPACK, Layer, Mode, calibrate, check_mode, check_params, parameterless
from funcnn.spec import MOST_PARTS, described

__all__ = ["identity", "repeat", "serial"]

Each: TypeAlias = Sequence[Any]
"""One thing for each layer, such as its params, shape or output."""


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
        """x goes through all layers; the residuals are those of each layer."""
        check_forward("serial", layers, params, mode)
        residuals = []
        for i, (layer, own) in enumerate(zip(layers, params, strict=True)):
            x, kept = located("serial", i, layer.forward, own, x, mode.at(i))
            residuals.append(kept)
        return x, tuple(residuals)

    def vjp(params: Each, residuals: Each, dy: Any, *, need_dx: bool = True) -> tuple[Each, Any]:
        """dy goes back through all layers, without ``need_dx`` only to the first one that has params."""
        first = 0 if need_dx else next((i for i, own in enumerate(params) if tree.leaves(own)), len(params))
        dparams = []
        for i, (layer, own, kept) in reversed([*enumerate(zip(layers, params, residuals, strict=True))][first:]):
            d_own, dy = layer.vjp(own, kept, dy, need_dx=need_dx or i > first)
            dparams.append(d_own)
        return (*params[:first], *reversed(dparams)), dy if need_dx else None

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
        raise error.within(f"{name}[{i}]") from None
    except Exception as error:
        error.add_note(f"{name}[{i}]")
        raise


def check_layers(name: str, layers: tuple[Layer, ...]) -> None:
    """Raise unless all are layers; only ``serial`` may have none."""
    require(len(layers) > 0 or name == "serial", name, "at least one layer", "none")
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"{name}[{i}]", "a Layer", repr(layer), "call its constructor: relu()")


def check_forward(name: str, layers: Sequence[Layer], params: Any, mode: Any) -> None:
    """Raise unless there are params for each layer, and ``mode`` is a mode."""
    check_mode(name, mode)
    check_params(name, params, tuple)
    if len(params) != len(layers):
        raise InputError(name, f"the params of {len(layers)} layers", f"those of {len(params)}", UNPACK)


def any_calibrates(layers: Iterable[Layer]) -> bool:
    """Whether one of them has statistics of its inputs among its params."""
    return any(layer.calibrate is not None for layer in layers)
