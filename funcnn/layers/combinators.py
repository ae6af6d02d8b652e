"""Layers made of layers: a combinator gives a :class:`Layer` again, so nesting needs no special case.

A layer with its params and mode is a *stage*, ``(x, residuals) -> (y, residuals)``: it puts what it keeps behind what
the stages before it kept. A layer with its params and residuals is a *pullback*, ``(dparams, dy) -> (dparams, dx)``.
The forward pass of :func:`serial` is the ``pipe`` of its stages, its VJP that of its pullbacks in reverse; the layers
of :func:`add` and :func:`concatenate` are the ``juxt`` of theirs. So ``serial`` is associative, and :func:`identity` is
its unit, bit for bit, for layers that draw nothing: what one draws depends on its place.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias

import numpy as np
from toolz import concat, juxt, pipe

from funcnn import tree
from funcnn.arrays import Array, Shape, Shapes, check_dtype, namespace
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import UNPACK, Layer, Mode, Params, Residuals, check_mode, check_params
from funcnn.layers.activations import init_same_shape
from funcnn.spec import described

__all__ = ["add", "concatenate", "identity", "identity_forward", "identity_vjp", "parallel", "repeat", "residual"]
__all__ += ["serial", "serial_forward", "serial_vjp"]


@described
def identity() -> Layer:
    """y = x: the unit of :func:`serial`."""
    return Layer(init_same_shape, identity_forward, identity_vjp)


@described
def repeat(times: int, layer: Layer) -> Layer:
    """y = layer(... layer(x)), ``times`` times, each with params of its own.

    >>> import funcnn as fn
    >>> params, _ = repeat(2, fn.dense(3)).init(Key(0), (5,))
    >>> [layer.weights.shape for layer in params]
    [(5, 3), (3, 3)]
    """
    require(is_count(times), "repeat", "times to be a positive whole number", repr(times))
    return serial(*[layer] * times)


@described
def residual(layer: Layer) -> Layer:
    """y = x + layer(x) (He et al. 2016); the layer keeps the shape.

    >>> import funcnn as fn
    >>> residual(fn.serial(fn.layer_norm(), fn.dense(64), fn.relu(), fn.dense(16))).init(Key(0), (16,))[1]
    (16,)
    """
    return add(identity(), layer)


@described
def add(*layers: Layer) -> Layer:
    """y = sum_i layer_i(x); the output shapes must be the same."""
    layers = _checked("add", layers)
    return Layer(partial(add_init, layers), partial(add_forward, layers), partial(add_vjp, layers))


@described
def concatenate(*layers: Layer) -> Layer:
    """y = (layer_1(x), layer_2(x), ...), one beside the other along the last axis.

    >>> import funcnn as fn
    >>> concatenate(fn.identity(), fn.dense(3)).init(Key(0), (5,))[1]
    (8,)
    """
    layers = _checked("concatenate", layers)
    return Layer(
        partial(concatenate_init, layers), partial(concatenate_forward, layers), partial(concatenate_vjp, layers)
    )


@described
def parallel(*layers: Layer) -> Layer:
    """y_i = layer_i(x_i): a tuple of inputs to a tuple of outputs; shapes and cotangents are tuples too.

    >>> import funcnn as fn
    >>> parallel(fn.dense(3), fn.identity()).init(Key(0), ((5,), (2,)))[1]
    ((3,), (2,))
    """
    layers = _checked("parallel", layers)
    return Layer(partial(parallel_init, layers), partial(parallel_forward, layers), partial(parallel_vjp, layers))


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
    >>> serial(fn.relu(), fn.dense(64)).init(Key(0), (10, 128))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    funcnn.errors.InputError: serial[1] dense(64): expected inputs (batch, in), got (batch, 10, 128);
        put flatten() before it
    """
    layers = _checked("serial", layers)
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
    layers: Sequence[Layer], key: Key, in_shape: Shapes, *, dtype: Any = np.float32
) -> tuple[tuple[Params, ...], Shapes]:
    """The params of each layer for the output shape of the one before, and the last output shape."""
    check_key("serial", key)
    check_dtype("serial", dtype)
    params, shape = [], in_shape
    for i, layer in enumerate(layers):
        layer_params, shape = _located("serial", i, layer.init, key.at(i), shape, dtype=dtype)
        params.append(layer_params)
    return tuple(params), shape


def serial_forward(
    layers: Sequence[Layer], params: Sequence[Params], x: Array, mode: Mode
) -> tuple[Array, tuple[Residuals, ...]]:
    """The composition of all forward functions; the residuals are those of each layer."""
    carried: tuple[Array, tuple[Residuals, ...]] = pipe((x, ()), *_stages("serial", layers, params, mode))
    return carried


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
    first = 0 if need_dx else _first_with_parameters(params)
    pullbacks = _pullbacks(layers[first:], params[first:], residuals[first:], need_dx=need_dx)
    dparams, dx = pipe(((), dy), *reversed(pullbacks))
    return (*params[:first], *dparams), dx if need_dx else None


def parallel_init(
    layers: Sequence[Layer], key: Key, in_shape: Sequence[Shapes], *, dtype: Any = np.float32
) -> tuple[tuple[Params, ...], tuple[Shapes, ...]]:
    """The params and output shape of each layer for the input shape of its own."""
    check_key("parallel", key)
    if not isinstance(in_shape, tuple | list) or len(in_shape) != len(layers):
        raise InputError("parallel", f"a tuple of {len(layers)} input shapes", repr(in_shape))
    inits = (
        _located("parallel", i, layer.init, key.at(i), shape, dtype=dtype)
        for i, (layer, shape) in enumerate(zip(layers, in_shape, strict=True))
    )
    return _transposed(inits)


def parallel_forward(
    layers: Sequence[Layer], params: Sequence[Params], x: Sequence[Array], mode: Mode
) -> tuple[tuple[Array, ...], tuple[Residuals, ...]]:
    """Each layer on the input of its own; the residuals are those of each."""
    several = isinstance(x, tuple | list)
    if not several or len(x) != len(layers):
        found = len(x) if several else f"one array {np.shape(x)}"
        raise InputError("parallel", f"a tuple of {len(layers)} inputs", found)
    stages = _stages("parallel", layers, params, mode)
    return _side_by_side(stage((part, ())) for stage, part in zip(stages, x, strict=True))


def parallel_vjp(
    layers: Sequence[Layer],
    params: Sequence[Params],
    residuals: Sequence[Residuals],
    dy: Sequence[Array],
    *,
    need_dx: bool = True,
) -> tuple[tuple[Params, ...], tuple[Array, ...] | None]:
    """Each layer's VJP on the cotangent of its own."""
    pulls = (
        layer.vjp(layer_params, layer_residuals, layer_dy, need_dx=need_dx)
        for layer, layer_params, layer_residuals, layer_dy in zip(layers, params, residuals, dy, strict=True)
    )
    dparams, dx = _transposed(pulls)
    return dparams, dx if need_dx else None


def add_init(
    layers: Sequence[Layer], key: Key, in_shape: Shape, *, dtype: Any = np.float32
) -> tuple[tuple[Params, ...], Shape]:
    """The params of each layer, and the output shape that all of them have."""
    params, shapes = parallel_init(layers, key, [in_shape] * len(layers), dtype=dtype)
    if len(set(shapes)) != 1:
        raise InputError("add", "layers with the same output shape", shapes)
    return params, shapes[0]


def add_forward(
    layers: Sequence[Layer], params: Sequence[Params], x: Array, mode: Mode
) -> tuple[Array, tuple[Residuals, ...]]:
    """The sum of the outputs; the residuals are those of each layer."""
    outputs, residuals = _side_by_side(juxt(_stages("parallel", layers, params, mode))((x, ())))
    return reduce(operator.add, outputs), residuals


def add_vjp(
    layers: Sequence[Layer],
    params: Sequence[Params],
    residuals: Sequence[Residuals],
    dy: Array,
    *,
    need_dx: bool = True,
) -> tuple[tuple[Params, ...], Array | None]:
    """The same dy to every layer; dx is the sum of theirs."""
    dparams, dx = parallel_vjp(layers, params, residuals, [dy] * len(layers), need_dx=need_dx)
    return dparams, None if dx is None else reduce(operator.add, dx)


def concatenate_init(
    layers: Sequence[Layer], key: Key, in_shape: Shape, *, dtype: Any = np.float32
) -> tuple[tuple[Params, ...], Shape]:
    """The params of each layer, and the output shape with all their features."""
    params, shapes = parallel_init(layers, key, [in_shape] * len(layers), dtype=dtype)
    if len({shape[:-1] for shape in shapes}) != 1 or () in shapes:
        raise InputError("concatenate", "layers with the same output shape but for the last axis", shapes)
    return params, (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def concatenate_forward(
    layers: Sequence[Layer], params: Sequence[Params], x: Array, mode: Mode
) -> tuple[Array, tuple[tuple[Residuals, ...], tuple[int, ...]]]:
    """The outputs side by side; the residuals are those of each layer, and where each one's features end."""
    outputs, residuals = _side_by_side(juxt(_stages("parallel", layers, params, mode))((x, ())))
    if any(y.ndim < 2 for y in outputs):
        raise InputError("concatenate", "outputs (batch, ..., features)", [y.shape for y in outputs])
    ends = tuple(itertools.accumulate(y.shape[-1] for y in outputs))
    return namespace(outputs[0]).concat(outputs, axis=-1), (residuals, ends)


def concatenate_vjp(
    layers: Sequence[Layer],
    params: Sequence[Params],
    residuals: tuple[Sequence[Residuals], tuple[int, ...]],
    dy: Array,
    *,
    need_dx: bool = True,
) -> tuple[tuple[Params, ...], Array | None]:
    """Its own features of dy to every layer; dx is the sum of theirs."""
    residuals_of_layers, ends = residuals
    parts = [dy[..., start:end] for start, end in zip((0, *ends), ends, strict=False)]
    dparams, dx = parallel_vjp(layers, params, residuals_of_layers, parts, need_dx=need_dx)
    return dparams, None if dx is None else reduce(operator.add, dx)


def _checked(name: str, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    require(len(layers) > 0 or name == "serial", name, "at least one layer", "none")
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"{name}[{i}]", "a Layer", repr(layer), "call its constructor: relu()")
    return layers


Stage: TypeAlias = Callable[[tuple[Any, Any]], tuple[Any, Any]]


def _stages(name: str, layers: Sequence[Layer], params: Sequence[Params], mode: Mode) -> list[Stage]:
    """Each layer as a stage; what one refuses, it refuses at its place."""
    check_mode(name, mode)
    check_params(name, params, tuple)
    if len(params) != len(layers):
        raise InputError(name, f"the params of {len(layers)} layers", f"those of {len(params)}", UNPACK)
    return [
        partial(_stage, name, i, layer.forward, layer_params, mode.at(i))
        for i, (layer, layer_params) in enumerate(zip(layers, params, strict=True))
    ]


def _stage(
    name: str, i: int, forward: Callable[..., Any], params: Params, mode: Mode, carried: tuple[Array, tuple[Any, ...]]
) -> tuple[Array, tuple[Residuals, ...]]:
    x, residuals = carried
    y, kept = _located(name, i, forward, params, x, mode)
    return y, (*residuals, kept)


def _pullbacks(
    layers: Sequence[Layer], params: Sequence[Params], residuals: Sequence[Residuals], *, need_dx: bool
) -> list[Stage]:
    """Each layer as a pullback; all but the first give what the one before it needs."""
    return [
        partial(_pullback, layer.vjp, layer_params, kept, need_dx or i > 0)
        for i, (layer, layer_params, kept) in enumerate(zip(layers, params, residuals, strict=True))
    ]


def _pullback(
    vjp: Callable[..., Any], params: Params, residuals: Residuals, need_dx: bool, carried: tuple[tuple[Any, ...], Array]
) -> tuple[tuple[Params, ...], Array | None]:
    dparams, dy = carried
    layer_dparams, dx = vjp(params, residuals, dy, need_dx=need_dx)
    return (layer_dparams, *dparams), dx


def _side_by_side(pairs: Iterable[tuple[Any, tuple[Residuals, ...]]]) -> tuple[tuple[Any, ...], tuple[Residuals, ...]]:
    """What stages beside each other give: all outputs, and all that was kept."""
    outputs, residuals = _transposed(pairs)
    return outputs, tuple(concat(residuals))


def _transposed(pairs: Iterable[tuple[Any, Any]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A sequence of pairs as a pair of tuples."""
    first, second = zip(*pairs, strict=True)
    return first, second


def _first_with_parameters(params: Sequence[Params]) -> int:
    return next((i for i, layer_params in enumerate(params) if tree.leaves(layer_params)), len(params))


def _located(name: str, i: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` of the layer ``i``; what it refuses, it refuses at that place, which any other error notes."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise error.within(f"{name}[{i}]") from None
    except Exception as error:
        error.add_note(f"{name}[{i}]")
        raise
