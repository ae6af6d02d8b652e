"""Layers made of layers: a combinator gives a :class:`Layer` again, so nesting needs no special case."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shape
from funcnn.errors import InputError, require
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, Params, Residuals
from funcnn.layers.activations import init_same_shape
from funcnn.spec import described


@described
def identity() -> Layer:
    """y = x: the unit of :func:`serial`."""
    return Layer(init_same_shape, identity_forward, identity_vjp)


@described
def serial(*layers: Layer) -> Layer:
    """The layers one after the other: x threads forward through all of them, dy threads back.

    The params are a tuple with those of each layer, and layer ``i`` draws from the keys ``key.at(i)`` and
    ``mode.at(i)``.

    Raises:
        InputError: An argument is no layer; later, what a layer raises, with the place of that layer.

    >>> import funcnn as fn
    >>> serial(fn.dense(128), fn.relu(), fn.dense(10)).forward
    functools.partial(<function serial_forward at ...>, (dense(128), relu(), dense(10)))
    >>> serial(fn.relu(), fn.dense(64)).init(Key(0), (10, 128))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    funcnn.errors.InputError: serial[1] dense(64): expected inputs (batch, in), got (batch, 10, 128);
        put flatten() before it
    """
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"serial[{i}]", "a Layer", repr(layer), "call its constructor: relu()")
    return Layer(partial(serial_init, layers), partial(serial_forward, layers), partial(serial_vjp, layers))


def identity_forward(params: tuple[()], x: Array, mode: Mode) -> tuple[Array, tuple[()]]:
    """y = x, and there is nothing to keep."""
    del params, mode  # it has none, and is deterministic
    return x, ()


def identity_vjp(
    params: tuple[()], residuals: tuple[()], dy: Array, *, need_dx: bool = True
) -> tuple[tuple[()], Array | None]:
    """dx = dy."""
    del residuals  # there are none
    return params, dy if need_dx else None


def serial_init(
    layers: Sequence[Layer], key: Key, in_shape: Shape, *, dtype: Any = np.float32
) -> tuple[tuple[Params, ...], Shape]:
    """The params of each layer for the output shape of the one before, and the last output shape."""
    params, shape = [], in_shape
    for i, layer in enumerate(layers):
        layer_params, shape = _located(i, layer.init, key.at(i), shape, dtype=dtype)
        params.append(layer_params)
    return tuple(params), shape


def serial_forward(
    layers: Sequence[Layer], params: Sequence[Params], x: Array, mode: Mode
) -> tuple[Array, tuple[Residuals, ...]]:
    """The composition of all forward functions; the residuals are those of each layer."""
    residuals = []
    for i, (layer, layer_params) in enumerate(zip(layers, params, strict=True)):
        x, layer_residuals = _located(i, layer.forward, layer_params, x, mode.at(i))
        residuals.append(layer_residuals)
    return x, tuple(residuals)


def serial_vjp(
    layers: Sequence[Layer],
    params: Sequence[Params],
    residuals: Sequence[Residuals],
    dy: Array,
    *,
    need_dx: bool = True,
) -> tuple[tuple[Params, ...], Array | None]:
    """The composition of all VJPs, last layer first.

    Without ``need_dx`` it ends at the first layer that has parameters, which computes no input gradient either:
    nobody would read it.
    """
    end = 0 if need_dx else _first_with_parameters(params)
    dparams = []
    for i in reversed(range(end, len(layers))):
        layer_dparams, dy = layers[i].vjp(params[i], residuals[i], dy, need_dx=need_dx or i > end)
        dparams.append(layer_dparams)
    return (*params[:end], *reversed(dparams)), dy if need_dx else None


def _first_with_parameters(params: Sequence[Params]) -> int:
    return next((i for i, layer_params in enumerate(params) if tree.leaves(layer_params)), len(params))


def _located(i: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function``; what it refuses, it refuses at place ``i``."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise error.within(f"serial[{i}]") from None
