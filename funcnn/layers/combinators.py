"""Layers one after another: a combinator gives a :class:`Layer` again, so nesting needs no special case.

The forward pass of :func:`serial` is the ``pipe`` of its stages. A layer with its params and residuals is a *pullback*,
``(dparams, dy) -> (dparams, dx)``; the VJP is the ``pipe`` of the pullbacks in reverse. So ``serial`` is associative,
and :func:`identity` is its unit, bit for bit, for layers that draw nothing: what one draws depends on its place.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from toolz import pipe

from funcnn import tree
from funcnn.arrays import Array, Shapes, check_dtype
from funcnn.errors import is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import Layer, Mode, Params, Residuals, calibrate
from funcnn.layers.activations import init_same_shape
from funcnn.layers.stages import Each, any_calibrates, check_layers, located, stages_of
from funcnn.spec import MOST_PARTS, described

__all__ = ["identity", "identity_forward", "identity_vjp", "repeat", "serial", "serial_forward", "serial_vjp"]


@described
def identity() -> Layer:
    """y = x: the unit of :func:`serial`."""
    return Layer(init_same_shape, identity_forward, identity_vjp)


@described
def serial(*layers: Layer) -> Layer:
    """y = layer_n(... layer_1(x)): x threads forward through all layers, dy threads back.

    The params are a tuple with those of each layer, and layer ``i`` draws from the keys ``key.at(i)`` and
    ``mode.at(i)``.

    Raises:
        InputError: An argument is no layer; later, what a layer raises, with the place of that layer.

    >>> import funcnn as fn
    >>> serial(fn.dense(128), fn.relu(), fn.dense(10)).forward
    functools.partial(<function serial_forward at ...>, (dense(128), relu(), dense(10)))
    >>> serial(fn.relu(), fn.max_pool2d()).init(Key(0), (784,))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    funcnn.errors.InputError: serial[1] max_pool2d((2, 2)): expected inputs (batch, height, width, channels),
        got (batch, 784); put reshape(height, width, channels) before it
    """
    check_layers("serial", layers)

    def calibrated(params: Each, batches: list[Any]) -> tuple[Each, list[Any]]:
        done = []
        for layer, own in zip(layers, params, strict=True):
            own, batches = calibrate(layer, own, batches)
            done.append(own)
        return tuple(done), batches

    return Layer(
        partial(serial_init, layers),
        partial(serial_forward, layers),
        partial(serial_vjp, layers),
        calibrated if any_calibrates(layers) else None,
    )


@described
def repeat(times: int, layer: Layer) -> Layer:
    """y = layer(... layer(x)), ``times`` times, each with params of its own.

    Raises:
        InputError: ``times`` is not a positive whole number up to 10,000, or ``layer`` is no layer.

    >>> import funcnn as fn
    >>> params, _ = repeat(2, fn.dense(3)).init(Key(0), (5,))
    >>> [layer.weights.shape for layer in params]
    [(5, 3), (3, 3)]
    """
    fits = is_count(times) and times <= MOST_PARTS
    require(fits, "repeat", f"times to be a positive whole number up to {MOST_PARTS:,}", repr(times))
    return serial(*[layer] * times)


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


def serial_init(layers: Sequence[Layer], key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Each, Shapes]:
    """The params of each layer for the output shape of the one before, and the last output shape."""
    check_key("serial", key)
    check_dtype("serial", dtype)
    params, shape = [], in_shape
    for i, layer in enumerate(layers):
        own, shape = located("serial", i, layer.init, key.at(i), shape, dtype=dtype)
        params.append(own)
    return tuple(params), shape


def serial_forward(layers: Sequence[Layer], params: Each, x: Array, mode: Mode) -> tuple[Array, Each]:
    """The composition of all forward functions; the residuals are those of each layer."""
    carried: tuple[Array, Each] = pipe((x, ()), *stages_of("serial", layers, params, mode))
    return carried


def serial_vjp(
    layers: Sequence[Layer], params: Each, residuals: Each, dy: Array, *, need_dx: bool = True
) -> tuple[Each, Array | None]:
    """The composition of all VJPs, last layer first.

    Without ``need_dx`` it ends at the first layer that has parameters, which computes no input gradient either:
    nobody would read it.
    """
    first = 0 if need_dx else next((i for i, own in enumerate(params) if tree.leaves(own)), len(params))
    pullbacks = [
        partial(_pullback, layer.vjp, own, kept, need_dx or i > 0)  # all but the first give what the one before needs
        for i, (layer, own, kept) in enumerate(zip(layers[first:], params[first:], residuals[first:], strict=True))
    ]
    dparams, dx = pipe(((), dy), *reversed(pullbacks))
    return (*params[:first], *dparams), dx if need_dx else None


def _pullback(
    vjp: Callable[..., Any], params: Params, residuals: Residuals, need_dx: bool, carried: tuple[Each, Array]
) -> tuple[Each, Array | None]:
    dparams, dy = carried
    own, dx = vjp(params, residuals, dy, need_dx=need_dx)
    return (own, *dparams), dx
