"""A layer is a record of three pure functions; a model is a layer too.

The vocabulary is the same everywhere: ``params``; ``x`` and ``y`` for input and output; ``residuals``, which the
forward pass keeps for the VJP; and the cotangents ``dy``, ``dx`` and ``dparams``, each with the shape and dtype of the
array that it is named after. Axis 0 of ``x`` and ``y`` is the batch; shapes are written without it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shapes, check_array, check_dtype, check_in_shape
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, Label, ShapeKey, check_key
from funcnn.spec import Described

__all__ = ["INFERENCE", "Layer", "Training", "calibrated", "predict", "pullback"]

Params: TypeAlias = Any
Residuals: TypeAlias = Any


@attrs.frozen
class Training:
    """The mode of a training step, whose random layers draw from the key."""

    key: Key

    def at(self, label: Label) -> "Training":
        """The mode of the child ``label``, with a key of its own."""
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


def check_layer(where: str, layer: Any) -> None:
    """Raise unless it is a layer; the hint is for a constructor that was not called."""
    if not isinstance(layer, Layer):
        raise InputError(where, "a Layer", repr(layer), "call its constructor: dense(10)")


def check_mode(where: str, mode: Any) -> None:
    """Raise unless ``mode`` is a mode; a flag such as ``True`` would silently mean inference."""
    if not isinstance(mode, Mode):
        raise InputError(where, "a mode, Training(key) or INFERENCE", repr(mode))


def check_init(where: str, key: Any, in_shape: Any, dtype: Any) -> None:
    """Raise unless a layer can be initialized with these."""
    check_key(where, key)
    check_in_shape(where, in_shape)
    check_dtype(where, dtype)


UNPACK = "init gives two things: params, out_shape = layer.init(key, in_shape)"
"""The hint for params that are not those of the layer."""


def check_params(where: str, params: Any, kind: type) -> None:
    """Raise unless ``params`` are of this class; the hint is for the whole result of ``init``."""
    if not isinstance(params, kind):
        expected = "params that are " + ("a tuple" if kind is tuple else kind.__name__)
        raise InputError(where, expected, f"a {type(params).__name__}", UNPACK)


@attrs.frozen(eq=False, repr=False)
class Layer(Described):
    """Three pure functions; constructors such as :func:`funcnn.dense` make them.

    Attributes:
        init: ``init(key, in_shape, *, dtype=float32) -> (params, out_shape)``; the params are a tree, ``()`` for
            a layer without any.
        forward: ``forward(params, x, mode) -> (y, residuals)``; the mode is ``Training(key)`` or ``INFERENCE``.
        vjp: ``vjp(params, residuals, dy, *, need_dx=True) -> (dparams, dx)``, the vector-Jacobian product:
            ``dparams`` has the tree of ``params``, and ``dx`` is ``None`` where it is not needed.
        calibrate: ``calibrate(params, batches) -> (params, outputs)``, only for layers whose params hold statistics of
            their inputs: the params with the statistics of all batches, and the outputs of each batch at inference.
    """

    init: Callable[..., tuple[Params, Shapes]]
    forward: Callable[[Params, Array, Mode], tuple[Array, Residuals]]
    vjp: Callable[..., tuple[Params, Array | None]]
    calibrate: Callable[[Params, list[Any]], tuple[Params, list[Any]]] | None = None


def parameterless(
    where: str,
    out_shape: Callable[[Shapes], Shapes],
    forward: Callable[[Any], tuple[Any, Residuals]],
    vjp: Callable[[Residuals, Any], Any],
    check_shape: Callable[[str, Any], None] = check_in_shape,
) -> Layer:
    """A layer without params or randomness: ``forward(x) -> (y, residuals)`` and ``vjp(residuals, dy) -> dx``.

    ``out_shape`` maps the shape of an input to the shape of an output, or raises, as ``check_shape`` does. The layer
    pickles if these functions do.
    """
    return Layer(partial(_init, where, check_shape, out_shape), partial(_forward, forward), partial(_vjp, vjp))


def _init(
    where: str,
    check_shape: Callable[[str, Any], None],
    out_shape: Callable[[Shapes], Shapes],
    key: Key,
    in_shape: Shapes,
    *,
    dtype: Any = np.float32,
) -> tuple[tuple[()], Shapes]:
    """No params, and the shape of an output."""
    check_key(where, key)
    check_shape(where, in_shape)
    check_dtype(where, dtype)
    return (), out_shape(in_shape)


def _forward(forward: Callable[[Any], tuple[Any, Any]], params: tuple[()], x: Any, mode: Mode) -> tuple[Any, Any]:
    del params, mode  # it has none, and is deterministic
    return forward(x)


def _vjp(
    vjp: Callable[[Residuals, Any], Any], params: tuple[()], residuals: Residuals, dy: Any, *, need_dx: bool = True
) -> tuple[tuple[()], Any]:
    return params, vjp(residuals, dy) if need_dx else None


def predict(layer: Layer, params: Params, x: Array) -> Array:
    """The outputs (batch, *out_shape) for inputs (batch, *in_shape), at inference.

    >>> import numpy as np, funcnn as fn
    >>> predict(fn.relu(), (), np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    check_layer("predict", layer)
    y, _ = layer.forward(params, x, INFERENCE)
    return y


def calibrate(layer: Layer, params: Params, batches: list[Any]) -> tuple[Params, list[Any]]:
    """Call ``layer.calibrate``; a layer without it keeps its params."""
    if layer.calibrate is not None:
        return layer.calibrate(params, batches)
    return params, [predict(layer, params, batch) for batch in batches]


def calibrated(model: Layer, params: Params, inputs: Any, *, batch_size: int = 1000) -> Params:
    """The params with the statistics of ``inputs`` (samples, ...), for :func:`funcnn.batch_norm` at inference.

    Each layer has the statistics of all its inputs together; ``batch_size`` changes only their rounding. A model
    without such layers keeps its params.

    Raises:
        InputError: ``batch_size`` is not a positive whole number, or there are no inputs.

    >>> import numpy as np, funcnn as fn
    >>> model = fn.batch_norm()
    >>> params, _ = model.init(fn.Key(0), (1,))
    >>> calibrated(model, params, np.array([[1.0], [3.0]], np.float32)).mean
    array([2.], dtype=float32)
    """
    check_layer("calibrated", model)
    require(is_count(batch_size), "calibrated", "batch_size to be a positive whole number", repr(batch_size))
    if model.calibrate is None:
        return params
    for leaf in tree.leaves(inputs):
        check_array("calibrated", "inputs", leaf)
    samples = min((leaf.shape[0] if leaf.ndim else 0 for leaf in tree.leaves(inputs)), default=0)
    require(samples > 0, "calibrated", "inputs of at least one sample", "none")
    return calibrate(model, params, [*tree.pieces(inputs, samples, batch_size)])[0]


def pullback(
    layer: Layer, params: Params, x: Array, mode: Mode = INFERENCE
) -> tuple[Array, Callable[..., tuple[Params, Array | None]]]:
    """The outputs, and the function from ``dy`` to ``(dparams, dx)``, as ``jax.vjp`` gives them.

    >>> import numpy as np, funcnn as fn
    >>> y, pull = pullback(fn.relu(), (), np.array([[-1.0, 2.0]]))
    >>> pull(np.array([[5.0, 5.0]]))
    ((), array([[0., 5.]]))
    """
    check_layer("pullback", layer)
    y, residuals = layer.forward(params, x, mode)
    return y, partial(layer.vjp, params, residuals)


def shapes_of(layer: Layer, in_shape: Shapes, **options: Any) -> tuple[Params, Shapes]:
    """``init`` without drawing: the params have its tree, shapes and dtypes, and take no memory."""
    with np.errstate(all="ignore"):  # a user's init may divide by what it draws
        return layer.init(ShapeKey(0), in_shape, **options)
