"""Layers one after another. A combinator gives a :class:`Layer`, so nesting needs no special case.

The forward pass of :func:`serial` is the ``pipe`` of its stages. A layer with its params and residuals is a *pullback*,
``(dparams, dy) -> (dparams, dx)``; the VJP is the ``pipe`` of the pullbacks in reverse. So ``serial`` is associative
with :func:`identity` as its unit, bit for bit, for layers that draw nothing: what a layer draws depends on its place.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from toolz import pipe

from funcnn import tree
from funcnn.arrays import Shapes, check_dtype
from funcnn.errors import is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import Layer, Mode, Params, Residuals, calibrate, parameterless
from funcnn.layers.stages import Each, any_calibrates, check_layers, located, stages_of
from funcnn.spec import MOST_PARTS, described

__all__ = ["identity", "repeat", "serial"]


@described
def identity() -> Layer:
    """y = x: the unit of :func:`serial`."""
    return parameterless("identity()", lambda in_shape: in_shape, lambda x: (x, ()), lambda _, dy: dy)


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
        """The residuals are those of each layer."""
        carried: tuple[Any, Each] = pipe((x, ()), *stages_of("serial", layers, params, mode))
        return carried

    def vjp(params: Each, residuals: Each, dy: Any, *, need_dx: bool = True) -> tuple[Each, Any]:
        """Without ``need_dx`` it ends at the first layer that has params: no layer before it needs its ``dy``."""
        first = 0 if need_dx else next((i for i, own in enumerate(params) if tree.leaves(own)), len(params))

        def pullback(i: int, layer: Layer, own: Params, kept: Residuals) -> Callable[[tuple[Each, Any]], Any]:
            def pull(carried: tuple[Each, Any]) -> tuple[Each, Any]:
                dparams, dy = carried
                d_own, dx = layer.vjp(own, kept, dy, need_dx=need_dx or i > first)
                return (d_own, *dparams), dx

            return pull

        places = [*enumerate(zip(layers, params, residuals, strict=True))][first:]
        dparams, dx = pipe(((), dy), *(pullback(i, *place) for i, place in reversed(places)))
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
    """y = layer(... layer(x)), ``times`` times, each time with other params.

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
