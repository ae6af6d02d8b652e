"""Layers side by side: several outputs of one input, several inputs, and their sum or concatenation.

======================= ================= =================
from                    to one array      to a tuple
======================= ================= =================
one array               ``serial``        ``fork``
a tuple                 ``joined``,       ``parallel``
                        ``summed``
======================= ================= =================

:func:`add` is ``fork``, then ``summed``; :func:`concatenate` is ``fork``, then ``joined``; :func:`residual` adds
:func:`funcnn.identity`. A tuple of inputs has a tuple of shapes.
"""

import operator
from functools import partial, reduce
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from toolz import concat

from funcnn import tree
from funcnn.arrays import Array, Shape, Shapes, check_in_shape, namespace
from funcnn.errors import InputError, require
from funcnn.keys import Key, check_key
from funcnn.layer import Layer, Mode, Params, Residuals, calibrate, parameterless
from funcnn.layers.combinators import Each, any_calibrates, check_layers, identity, located, stages
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
    """y = sum_i layer_i(x). The params are a tuple with those of each layer."""
    return _added("add", layers)


@described
def concatenate(*layers: Layer) -> Layer:
    """y = (layer_1(x), layer_2(x), ...) along the last axis. The params are a tuple with those of each layer.

    >>> import funcnn as fn
    >>> concatenate(fn.identity(), fn.dense(3)).init(Key(0), (5,))[1]
    (8,)
    """
    expected = "layers with the same output shape but for the last axis"
    return _then(_branches("concatenate", layers), _joined("concatenate", expected, -1))


@described
def fork(*layers: Layer) -> Layer:
    """y_i = layer_i(x): one input to a tuple of outputs; dx = sum_i dx_i.

    >>> import funcnn as fn
    >>> fork(fn.dense(3), fn.identity()).init(Key(0), (5,))[1]
    ((3,), (5,))
    """
    return _branches("fork", layers)


@described
def parallel(*layers: Layer) -> Layer:
    """y_i = layer_i(x_i): a tuple of inputs to a tuple of outputs.

    >>> import funcnn as fn
    >>> parallel(fn.dense(3), fn.identity()).init(Key(0), ((5,), (2,)))[1]
    ((3,), (2,))
    """
    return _branches("parallel", layers, several=True)


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


def _branches(name: str, layers: tuple[Layer, ...], *, several: bool = False) -> Layer:
    """All layers on one x, or with ``several`` each on its own part of a tuple."""
    check_layers(name, layers)

    def of_each(given: Any, what: str) -> Each:
        if several:
            _check_several(name, given, what, len(layers))
            return given  # type: ignore[no-any-return]
        return [given] * len(layers)

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Each, Each]:
        check_key(name, key)
        parts = enumerate(zip(layers, of_each(in_shape, "input shapes"), strict=True))
        pairs = [located(name, i, layer.init, key.at(i), shape, dtype=dtype) for i, (layer, shape) in parts]
        params, out_shapes = zip(*pairs, strict=True)
        return params, out_shapes

    def forward(params: Each, x: Any, mode: Mode) -> tuple[Each, Each]:
        xs = of_each(x, "inputs")
        pairs = [stage((part, ())) for stage, part in zip(stages(name, layers, params, mode), xs, strict=True)]
        y, residuals = zip(*pairs, strict=True)
        return y, tuple(concat(residuals))

    def vjp(params: Each, residuals: Each, dy: Each, *, need_dx: bool = True) -> tuple[Each, Any]:
        parts = zip(layers, params, residuals, dy, strict=True)
        pairs = [layer.vjp(*own, need_dx=need_dx) for layer, *own in parts]
        dparams, dx = zip(*pairs, strict=True)
        if not need_dx:
            return dparams, None
        return dparams, dx if several else reduce(partial(tree.map, operator.add), dx)

    def calibrated(params: Each, batches: list[Any]) -> tuple[Each, list[Any]]:
        of_layers = zip(*batches, strict=True) if several else [batches] * len(layers)
        parts = zip(layers, params, of_layers, strict=True)
        pairs = [calibrate(layer, own, [*each]) for layer, own, each in parts]
        done, outputs = zip(*pairs, strict=True)
        return done, [*zip(*outputs, strict=True)]

    return Layer(init, forward, vjp, calibrated if any_calibrates(layers) else None)


def _added(name: str, layers: tuple[Layer, ...]) -> Layer:
    return _then(_branches(name, layers), _summed(name, "layers with the same output shape"))


def _summed(name: str, expected: str) -> Layer:
    def out_shape(shapes: Each) -> Any:
        if len(set(shapes)) != 1:
            raise InputError(name, expected, shapes)
        return shapes[0]

    def forward(x: Each) -> tuple[Array, int]:
        """The residual is the number of inputs."""
        _check_several(name, x, "inputs")
        out_shape([part.shape for part in x])  # other shapes would be broadcast
        return reduce(operator.add, x), len(x)

    return parameterless(name, out_shape, forward, lambda count, dy: (dy,) * count, _check_shapes)


def _joined(name: str, expected: str, axis: int) -> Layer:
    def out_shape(shapes: Each) -> Shape:
        others = {tuple(size for i, size in enumerate(shape) if i != len(shape) + axis) for shape in shapes}
        if any(len(shape) < -axis for shape in shapes) or len(others) != 1:
            raise InputError(name, expected, shapes)
        joint = list(shapes[0])
        joint[axis] = sum(shape[axis] for shape in shapes)
        return tuple(joint)

    def forward(x: Each) -> tuple[Array, tuple[int, ...]]:
        """The residual is where each input begins along the axis, and where the last one ends."""
        _check_several(name, x, "inputs")
        if any(part.ndim <= -axis for part in x):
            raise InputError(name, "outputs (batch, ..., features)", [part.shape for part in x])
        bounds = tuple(accumulate((part.shape[axis] for part in x), initial=0))
        try:
            return namespace(*x).concat(x, axis=axis), bounds
        except (TypeError, ValueError) as error:
            raise InputError(name, expected, [part.shape for part in x]) from error

    def vjp(bounds: tuple[int, ...], dy: Array) -> Each:
        behind = (slice(None),) * (-axis - 1)
        return tuple(dy[(..., slice(start, end), *behind)] for start, end in pairwise(bounds))

    return parameterless(name, out_shape, forward, vjp, _check_shapes)


def _then(first: Layer, last: Layer) -> Layer:
    """``serial(first, last)`` for a last layer without params; the params are those of the first."""

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


def _check_shapes(name: str, in_shape: Any) -> None:
    _check_several(name, in_shape, "input shapes")
    for shape in in_shape:
        check_in_shape(name, shape)


def _check_several(name: str, given: Any, what: str, count: int | None = None) -> None:
    """Raise unless it is a tuple, of ``count`` things if that is given."""
    several = isinstance(given, tuple | list) and len(given) > 0
    if not several or (count is not None and len(given) != count):
        got = repr(given) if "shape" in what else len(given) if several else f"one array {np.shape(given)}"
        raise InputError(name, f"a tuple of {count or 'several'} {what}", got)
