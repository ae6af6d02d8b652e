"""Layers made of layers: a combinator gives a :class:`Layer` again, so nesting needs no special case.

A layer with its params and mode is a *stage*, ``(x, residuals) -> (y, residuals)``: it puts what it keeps behind what
the stages before it kept. A layer with its params and residuals is a *pullback*, ``(dparams, dy) -> (dparams, dx)``.
The forward pass of :func:`serial` is the ``pipe`` of its stages, its VJP that of its pullbacks in reverse; the layers
of :func:`add` and :func:`concatenate` are the ``juxt`` of theirs. So ``serial`` is associative, and :func:`identity` is
its unit, bit for bit, for layers that draw nothing: what one draws depends on its place.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np
from toolz import concat, juxt, pipe

from funcnn import tree
from funcnn.arrays import Array, Shapes, check_dtype, namespace
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import UNPACK, Layer, Mode, Params, Residuals, check_mode, check_params
from funcnn.layers.activations import init_same_shape
from funcnn.spec import described

__all__ = ["add", "concatenate", "identity", "identity_forward", "identity_vjp", "parallel", "repeat", "residual"]
__all__ += ["serial", "serial_forward", "serial_vjp"]

Each: TypeAlias = Sequence[Any]
"""One thing for each layer: its params, its shape, its output."""

Stage: TypeAlias = Callable[[tuple[Any, Any]], tuple[Any, Any]]


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
    _check_layers("add", layers)

    def out_shape(shapes: Each) -> Shapes:
        if len(set(shapes)) != 1:
            raise InputError("add", "layers with the same output shape", shapes)
        return shapes[0]

    def join(outputs: Each) -> tuple[Array, tuple[()]]:
        return reduce(operator.add, outputs), ()

    return _joined(layers, out_shape, join, lambda kept, dy: [dy] * len(layers))


@described
def concatenate(*layers: Layer) -> Layer:
    """y = (layer_1(x), layer_2(x), ...), one beside the other along the last axis.

    >>> import funcnn as fn
    >>> concatenate(fn.identity(), fn.dense(3)).init(Key(0), (5,))[1]
    (8,)
    """
    _check_layers("concatenate", layers)

    def out_shape(shapes: Each) -> Shapes:
        if len({shape[:-1] for shape in shapes}) != 1 or () in shapes:
            raise InputError("concatenate", "layers with the same output shape but for the last axis", shapes)
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def join(outputs: Each) -> tuple[Array, tuple[int, ...]]:
        """The residual is where the features of each begin, and where those of the last end."""
        if any(y.ndim < 2 for y in outputs):
            raise InputError("concatenate", "outputs (batch, ..., features)", [y.shape for y in outputs])
        bounds = tuple(accumulate((y.shape[-1] for y in outputs), initial=0))
        return namespace(outputs[0]).concat(outputs, axis=-1), bounds

    return _joined(layers, out_shape, join, lambda bounds, dy: [dy[..., a:b] for a, b in pairwise(bounds)])


@described
def parallel(*layers: Layer) -> Layer:
    """y_i = layer_i(x_i): a tuple of inputs to a tuple of outputs; shapes and cotangents are tuples too.

    >>> import funcnn as fn
    >>> parallel(fn.dense(3), fn.identity()).init(Key(0), ((5,), (2,)))[1]
    ((3,), (2,))
    """
    _check_layers("parallel", layers)

    def init(key: Key, in_shape: Each, *, dtype: Any = np.float32) -> tuple[Each, Each]:
        check_key("parallel", key)
        if not isinstance(in_shape, tuple | list) or len(in_shape) != len(layers):
            raise InputError("parallel", f"a tuple of {len(layers)} input shapes", repr(in_shape))
        inits = [
            _located("parallel", i, layer.init, key.at(i), shape, dtype=dtype)
            for i, (layer, shape) in enumerate(zip(layers, in_shape, strict=True))
        ]
        params, shapes = zip(*inits, strict=True)
        return params, shapes

    def forward(params: Each, x: Each, mode: Mode) -> tuple[Each, Each]:
        several = isinstance(x, tuple | list)
        if not several or len(x) != len(layers):
            found = len(x) if several else f"one array {np.shape(x)}"
            raise InputError("parallel", f"a tuple of {len(layers)} inputs", found)
        stages = _stages("parallel", layers, params, mode)
        return _side_by_side([stage((part, ())) for stage, part in zip(stages, x, strict=True)])

    def vjp(params: Each, residuals: Each, dy: Each, *, need_dx: bool = True) -> tuple[Each, Each | None]:
        pulled = [layer.vjp(*own, need_dx=need_dx) for layer, *own in zip(layers, params, residuals, dy, strict=True)]
        dparams, dx = zip(*pulled, strict=True)
        return dparams, dx if need_dx else None

    return Layer(init, forward, vjp)


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
    _check_layers("serial", layers)
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


def serial_init(layers: Sequence[Layer], key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Each, Shapes]:
    """The params of each layer for the output shape of the one before, and the last output shape."""
    check_key("serial", key)
    check_dtype("serial", dtype)
    params, shape = [], in_shape
    for i, layer in enumerate(layers):
        own, shape = _located("serial", i, layer.init, key.at(i), shape, dtype=dtype)
        params.append(own)
    return tuple(params), shape


def serial_forward(layers: Sequence[Layer], params: Each, x: Array, mode: Mode) -> tuple[Array, Each]:
    """The composition of all forward functions; the residuals are those of each layer."""
    carried: tuple[Array, Each] = pipe((x, ()), *_stages("serial", layers, params, mode))
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


def _joined(
    layers: Sequence[Layer],
    out_shape: Callable[[Each], Shapes],
    join: Callable[[Each], tuple[Array, Residuals]],
    split: Callable[[Residuals, Array], Each],
) -> Layer:
    """y = join(layer_1(x), layer_2(x), ...): every layer has its part of ``split(dy)``, and dx is the sum of theirs."""
    branches = parallel(*layers)

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[Each, Shapes]:
        params, shapes = branches.init(key, [in_shape] * len(layers), dtype=dtype)
        return params, out_shape(shapes)

    def forward(params: Each, x: Array, mode: Mode) -> tuple[Array, tuple[Each, Residuals]]:
        outputs, residuals = _side_by_side(juxt(_stages("parallel", layers, params, mode))((x, ())))
        y, kept = join(outputs)
        return y, (residuals, kept)

    def vjp(params: Each, residuals: Residuals, dy: Array, *, need_dx: bool = True) -> tuple[Each, Array | None]:
        of_layers, kept = residuals
        dparams, dx = branches.vjp(params, of_layers, split(kept, dy), need_dx=need_dx)
        return dparams, None if dx is None else reduce(operator.add, dx)

    return Layer(init, forward, vjp)


def _check_layers(name: str, layers: tuple[Layer, ...]) -> None:
    require(len(layers) > 0 or name == "serial", name, "at least one layer", "none")
    for i, layer in enumerate(layers):
        require(isinstance(layer, Layer), f"{name}[{i}]", "a Layer", repr(layer), "call its constructor: relu()")


def _stages(name: str, layers: Sequence[Layer], params: Each, mode: Mode) -> list[Stage]:
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
    y, kept = _located(name, i, forward, params, x, mode)
    return y, (*residuals, kept)


def _pullback(
    vjp: Callable[..., Any], params: Params, residuals: Residuals, need_dx: bool, carried: tuple[Each, Array]
) -> tuple[Each, Array | None]:
    dparams, dy = carried
    own, dx = vjp(params, residuals, dy, need_dx=need_dx)
    return (own, *dparams), dx


def _side_by_side(pairs: Iterable[tuple[Any, Each]]) -> tuple[Each, Each]:
    """What stages beside each other give: all outputs, and all that was kept."""
    outputs, residuals = zip(*pairs, strict=True)
    return outputs, tuple(concat(residuals))


def _located(name: str, i: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` of the layer ``i``; what it refuses, it refuses at that place, which any other error notes."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise error.within(f"{name}[{i}]") from None
    except Exception as error:
        error.add_note(f"{name}[{i}]")
        raise
