"""What a layer is: three pure functions, and what one can do with any layer.

A model is a layer too, so everything here works on both. The vocabulary is the same everywhere: ``params``,
``x`` and ``y`` for input and output, ``residuals`` for what the forward pass keeps for the backward pass, and
``dy``, ``dx``, ``dparams`` for cotangents, each with the shape and dtype of what it is named after. Axis 0 of
``x`` and ``y`` is the batch; shapes are written without it.
"""

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from funcnn import tree
from funcnn.arrays import Array, Shape, Shapes
from funcnn.keys import Key, Label
from funcnn.spec import Described, map_parts

Params: TypeAlias = Any
Residuals: TypeAlias = Any


@attrs.frozen
class Training:
    """The mode of a training step, with the key that its random layers draw from."""

    key: Key

    def at(self, label: Label) -> "Training":
        """The mode of the child ``label``: every child draws from a key of its own."""
        return Training(self.key.at(label))


@attrs.frozen
class Inference:
    """The mode in which nothing is random; :data:`INFERENCE` is its one value."""

    def at(self, label: Label) -> "Inference":
        """The mode of the child ``label``, which is the same."""
        del label  # nothing is drawn
        return self


INFERENCE = Inference()

Mode: TypeAlias = Training | Inference


@attrs.frozen(eq=False, repr=False)
class Layer(Described):
    """Three pure functions; constructors such as :func:`funcnn.dense` make them.

    Attributes:
        init: ``init(key, in_shape, *, dtype=float32) -> (params, out_shape)``; the params are a tree, ``()`` for
            a layer without any.
        forward: ``forward(params, x, mode) -> (y, residuals)``; the mode is ``Training(key)`` or ``INFERENCE``.
        vjp: ``vjp(params, residuals, dy, *, need_dx=True) -> (dparams, dx)``, the vector-Jacobian product:
            ``dparams`` has the tree of ``params``, and ``dx`` is ``None`` where it is not needed.
    """

    init: Callable[..., tuple[Params, Shapes]]
    forward: Callable[[Params, Array, Mode], tuple[Array, Residuals]]
    vjp: Callable[..., tuple[Params, Array | None]]


def predict(layer: Layer, params: Params, x: Array) -> Array:
    """The outputs (batch, *out_shape) for inputs (batch, *in_shape), with nothing random.

    >>> import numpy as np, funcnn as fn
    >>> predict(fn.relu(), (), np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    y, _ = layer.forward(params, x, INFERENCE)
    return y


def pullback(
    layer: Layer, params: Params, x: Array, mode: Mode = INFERENCE
) -> tuple[Array, Callable[..., tuple[Params, Array | None]]]:
    """The outputs, and the function from ``dy`` to ``(dparams, dx)``, as ``jax.vjp`` gives them.

    >>> import numpy as np, funcnn as fn
    >>> y, pull = pullback(fn.relu(), (), np.array([[-1.0, 2.0]]))
    >>> pull(np.array([[5.0, 5.0]]))
    ((), array([[0., 5.]]))
    """
    y, residuals = layer.forward(params, x, mode)

    def pull(dy: Array, *, need_dx: bool = True) -> tuple[Params, Array | None]:
        return layer.vjp(params, residuals, dy, need_dx=need_dx)

    return y, pull


def summary(layer: Layer, in_shape: Shape) -> str:
    """A table of the innermost layers with their places, output shapes and numbers of parameters.

    Raises:
        InputError: The shapes do not fit.

    >>> import funcnn as fn
    >>> print(summary(fn.serial(fn.dense(128), fn.relu(), fn.dense(10)), (784,)))
    layer           output shape  parameters
    [0] dense(128)  (128,)           100,480
    [1] relu()      (128,)                 0
    [2] dense(10)   (10,)              1,290
    total                            101,770
    """
    rows: list[tuple[str, Shape, int]] = []
    params, _ = _noting(layer, "", rows).init(Key(0), in_shape)
    cells = [
        ("layer", "output shape", "parameters"),
        *((name, str(shape), f"{count:,}") for name, shape, count in rows),
        ("total", "", f"{tree.size(params):,}"),
    ]
    names, shapes, counts = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(f"{name:<{names}}  {shape:<{shapes}}  {count:>{counts}}" for name, shape, count in cells)


def _noting(layer: Layer, path: str, rows: list[tuple[str, Shape, int]]) -> Layer:
    """``layer``, made again so that the ``init`` of every innermost layer adds its row to ``rows``."""
    places = itertools.count()

    def noting(part: Described) -> Described:
        return _noting(part, f"{path}[{next(places)}]", rows) if isinstance(part, Layer) else part

    composed = map_parts(noting, layer)
    if next(places):
        return composed

    def init(key: Key, in_shape: Shape, **options: Any) -> tuple[Params, Shape]:
        params, out_shape = layer.init(key, in_shape, **options)
        rows.append((f"{path} {layer}".lstrip(), out_shape, tree.size(params)))
        return params, out_shape

    return attrs.evolve(layer, init=init)
