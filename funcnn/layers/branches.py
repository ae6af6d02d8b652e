"""Layers beside one another: several outputs of one input, several inputs, and their sum or concatenation.

======================= ================= =================
from                    to one array      to a tuple
======================= ================= =================
one array               ``serial``        ``fork``
a tuple                 ``joined``,       ``parallel``
                        ``summed``
======================= ================= =================

These are closed under ``serial``: :func:`add` is ``fork``, then ``summed``; :func:`concatenate` is ``fork``, then
``joined``; :func:`residual` adds :func:`funcnn.identity`. The forward pass of :func:`fork` is the ``juxt`` of its
stages.
"""

import operator
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from toolz import concat, juxt

from funcnn import tree
from funcnn.arrays import Array, Shapes, check_in_shape, namespace
from funcnn.errors import InputError, require
from funcnn.keys import Key, check_key
from funcnn.layer import Layer, Mode, Params, Residuals, calibrate
from funcnn.layers.combinators import identity
from funcnn.layers.stages import Each, any_calibrates, check_layers, located, stages_of
from funcnn.spec import described

__all__ = ["add", "concatenate", "fork", "joined", "parallel", "residual", "summed"]


@described
def residual(layer: Layer) -> Layer:
    """y = x + layer(x) (He et al. 2016); the layer keeps the shape.

    >>> import funcnn as fn
    >>> residual(fn.serial(fn.layer_norm(), fn.dense(64), fn.relu(), fn.dense(16))).init(Key(0), (16,))[1]
    (16,)
    """
    return _added("residual", (identity(), layer))


@described
def add(*layers: Layer) -> Layer:
    """y = sum_i layer_i(x): :func:`fork`, then :func:`summed`, with the params of the layers alone."""
    return _added("add", layers)


@described
def concatenate(*layers: Layer) -> Layer:
    """y = (layer_1(x), layer_2(x), ...) along the last axis: :func:`fork`, then :func:`joined`, as :func:`add`.

    >>> import funcnn as fn
    >>> concatenate(fn.identity(), fn.dense(3)).init(Key(0), (5,))[1]
    (8,)
    """
    expected = "layers with the same output shape but for the last axis"
    return _then(_forked("concatenate", layers), _joined("concatenate", expected, -1))


@described
def fork(*layers: Layer) -> Layer:
    """y_i = layer_i(x): one input to a tuple of outputs. dx is the sum of what the layers give.

    >>> import funcnn as fn
    >>> fork(fn.dense(3), fn.identity()).init(Key(0), (5,))[1]
    ((3,), (5,))
    """
    return _forked("fork", layers)


@described
def parallel(*layers: Layer) -> Layer:
    """y_i = layer_i(x_i): a tuple of inputs to a tuple of outputs; shapes and cotangents are tuples too.

    >>> import funcnn as fn
    >>> parallel(fn.dense(3), fn.identity()).init(Key(0), ((5,), (2,)))[1]
    ((3,), (2,))
    """
    check_layers("parallel", layers)

    def init(key: Key, in_shape: Each, *, dtype: Any = np.float32) -> tuple[Each, Each]:
        check_key("parallel", key)
        _check_several("parallel", in_shape, len(layers), "input shapes")
        return _initialized("parallel", layers, key, in_shape, dtype)

    def forward(params: Each, x: Each, mode: Mode) -> tuple[Each, Each]:
        _check_several("parallel", x, len(layers), "inputs")
        stages = stages_of("parallel", layers, params, mode)
        return _side_by_side([stage((part, ())) for stage, part in zip(stages, x, strict=True)])

    def vjp(params: Each, residuals: Each, dy: Each, *, need_dx: bool = True) -> tuple[Each, Each | None]:
        dparams, dx = _pulled(layers, params, residuals, dy, need_dx)
        return dparams, dx if need_dx else None

    def calibrated(params: Each, batches: list[Any]) -> tuple[Each, list[Any]]:
        return _calibrated(layers, params, zip(*batches, strict=True))

    return Layer(init, forward, vjp, calibrated if any_calibrates(layers) else None)


@described
def summed() -> Layer:
    """y = sum_i x_i: a tuple of inputs of one shape to their sum."""
    return _summed("summed", "inputs of the same shape")


@described
def joined(axis: int = -1) -> Layer:
    """y = (x_1, x_2, ...) along an axis: a tuple of inputs to one array.

    Args:
        axis: The axis, counted from the last one, -1.

    Raises:
        InputError: The axis is not a negative whole number; later, inputs that differ in another axis.

    >>> joined().init(Key(0), ((3,), (5,)))[1]
    (8,)
    """
    require(isinstance(axis, int) and axis < 0, "joined", "an axis counted from the last one, such as -1", repr(axis))
    return _joined("joined", f"inputs of the same shape but for axis {axis}", axis)


def _added(name: str, layers: tuple[Layer, ...]) -> Layer:
    return _then(_forked(name, layers), _summed(name, "layers with the same output shape"))


def _forked(name: str, layers: tuple[Layer, ...]) -> Layer:
    """All layers on one x."""
    check_layers(name, layers)

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Each, Each]:
        check_key(name, key)
        return _initialized(name, layers, key, [in_shape] * len(layers), dtype)

    def forward(params: Each, x: Array, mode: Mode) -> tuple[Each, Each]:
        return _side_by_side(juxt(stages_of(name, layers, params, mode))((x, ())))

    def vjp(params: Each, residuals: Each, dy: Each, *, need_dx: bool = True) -> tuple[Each, Array | None]:
        dparams, dx = _pulled(layers, params, residuals, dy, need_dx)
        return dparams, reduce(lambda a, b: tree.map(operator.add, a, b), dx) if need_dx else None

    def calibrated(params: Each, batches: list[Any]) -> tuple[Each, list[Any]]:
        return _calibrated(layers, params, [batches] * len(layers))

    return Layer(init, forward, vjp, calibrated if any_calibrates(layers) else None)


def _summed(name: str, expected: str) -> Layer:
    def init(key: Key, in_shape: Each, *, dtype: Any = np.float32) -> tuple[tuple[()], Shapes]:
        _check_shapes(name, in_shape)
        if len(set(in_shape)) != 1:
            raise InputError(name, expected, in_shape)
        return (), in_shape[0]

    def forward(params: tuple[()], x: Each, mode: Mode) -> tuple[Array, int]:
        """The residual is how many there are."""
        _check_several(name, x, None, "inputs")
        if len({part.shape for part in x}) != 1:  # or else they would be broadcast, and dy has another shape
            raise InputError(name, expected, [part.shape for part in x])
        return reduce(operator.add, x), len(x)

    def vjp(params: tuple[()], residuals: int, dy: Array, *, need_dx: bool = True) -> tuple[tuple[()], Each | None]:
        return params, (dy,) * residuals if need_dx else None

    return Layer(init, forward, vjp)


def _joined(name: str, expected: str, axis: int) -> Layer:
    def init(key: Key, in_shape: Each, *, dtype: Any = np.float32) -> tuple[tuple[()], Shapes]:
        _check_shapes(name, in_shape)
        if any(len(shape) < -axis for shape in in_shape) or len({_without(shape, axis) for shape in in_shape}) != 1:
            raise InputError(name, expected, in_shape)
        out_shape = list(in_shape[0])
        out_shape[axis] = sum(shape[axis] for shape in in_shape)
        return (), tuple(out_shape)

    def forward(params: tuple[()], x: Each, mode: Mode) -> tuple[Array, tuple[int, ...]]:
        """The residual is where each begins, and where the last ends."""
        _check_several(name, x, None, "inputs")
        if any(part.ndim <= -axis for part in x):
            raise InputError(name, "outputs (batch, ..., features)", [part.shape for part in x])
        bounds = tuple(accumulate((part.shape[axis] for part in x), initial=0))
        try:
            return namespace(x[0]).concat(x, axis=axis), bounds
        except (TypeError, ValueError) as error:
            raise InputError(name, expected, [part.shape for part in x]) from error

    def vjp(
        params: tuple[()], residuals: tuple[int, ...], dy: Array, *, need_dx: bool = True
    ) -> tuple[tuple[()], Each | None]:
        behind = (slice(None),) * (-axis - 1)
        parts = tuple(dy[(..., slice(a, b), *behind)] for a, b in pairwise(residuals))
        return params, parts if need_dx else None

    return Layer(init, forward, vjp)


def _then(first: Layer, last: Layer) -> Layer:
    """``serial(first, last)`` for a last layer without params: the params are those of the first alone."""

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Params, Shapes]:
        params, shapes = first.init(key, in_shape, dtype=dtype)
        return params, last.init(key, shapes, dtype=dtype)[1]

    def forward(params: Params, x: Any, mode: Mode) -> tuple[Any, tuple[Residuals, Residuals]]:
        between, of_first = first.forward(params, x, mode)
        y, of_last = last.forward((), between, mode)
        return y, (of_first, of_last)

    def vjp(params: Params, residuals: Residuals, dy: Any, *, need_dx: bool = True) -> tuple[Params, Any]:
        of_first, of_last = residuals
        return first.vjp(params, of_first, last.vjp((), of_last, dy)[1], need_dx=need_dx)

    def calibrated(params: Params, batches: list[Any]) -> tuple[Params, list[Any]]:
        params, batches = calibrate(first, params, batches)
        return params, calibrate(last, (), batches)[1]

    return Layer(init, forward, vjp, calibrated if first.calibrate else None)


def _initialized(name: str, layers: Sequence[Layer], key: Key, shapes: Each, dtype: Any) -> tuple[Each, Each]:
    inits = [
        located(name, i, layer.init, key.at(i), shape, dtype=dtype)
        for i, (layer, shape) in enumerate(zip(layers, shapes, strict=True))
    ]
    params, out_shapes = zip(*inits, strict=True)
    return params, out_shapes


def _pulled(layers: Sequence[Layer], params: Each, residuals: Each, dy: Each, need_dx: bool) -> tuple[Each, Each]:
    pulled = [layer.vjp(*own, need_dx=need_dx) for layer, *own in zip(layers, params, residuals, dy, strict=True)]
    dparams, dx = zip(*pulled, strict=True)
    return dparams, dx


def _calibrated(layers: Sequence[Layer], params: Each, batches: Iterable[Any]) -> tuple[Each, list[Any]]:
    """Each layer for the batches of its own; each output is the tuple of theirs."""
    pairs = [calibrate(layer, own, [*each]) for layer, own, each in zip(layers, params, batches, strict=True)]
    done, outputs = zip(*pairs, strict=True)
    return done, [*zip(*outputs, strict=True)]


def _side_by_side(pairs: Iterable[tuple[Any, Each]]) -> tuple[Each, Each]:
    """What stages beside each other give: all outputs, and all that was kept."""
    outputs, residuals = zip(*pairs, strict=True)
    return outputs, tuple(concat(residuals))


def _without(shape: Shapes, axis: int) -> Shapes:
    return tuple(size for i, size in enumerate(shape) if i != len(shape) + axis)


def _check_shapes(name: str, in_shape: Any) -> None:
    _check_several(name, in_shape, None, "input shapes")
    for shape in in_shape:
        check_in_shape(name, shape)


def _check_several(name: str, given: Any, count: int | None, what: str) -> None:
    """Raise unless it is a tuple, of so many where that is known."""
    several = isinstance(given, tuple | list) and len(given) > 0
    if not several or (count is not None and len(given) != count):
        found = repr(given) if "shape" in what else len(given) if several else f"one array {np.shape(given)}"
        raise InputError(name, f"a tuple of {count or 'several'} {what}", found)
