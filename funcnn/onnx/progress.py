"""How far an ONNX graph is read: the layers so far, and the order of their elements.

ONNX has the channels of images first, funcnn has them last. So the elements of a value can be in another order here
than in the graph. An index records where each one is. Transposing and reshaping change the index alone. A layer that
mixes elements, such as ``dense``, finds them in order, or takes its weights in the order that the elements have here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn.arrays import Array, Shape
from funcnn.errors import require
from funcnn.layer import Layer, Params, predict
from funcnn.layers.combinators import identity, serial
from funcnn.layers.shapes import flatten, reshape

__all__ = ["Node", "Operator", "Progress", "begun", "biases_like", "channels_last", "ended", "features", "in_a_row"]
__all__ += ["lined", "plain"]


@attrs.frozen(eq=False)
class Node:
    """An operator of the file.

    Attributes:
        place: How a message names it.
        constants: Its inputs, ``None`` for those that are data or left out.
        attributes: Those that are set.
        shape: The sizes of its output, with names or ``None`` for those that are not fixed.
        batch: The size or name of the batch axis.
    """

    place: str
    constants: tuple[Array | None, ...]
    attributes: Mapping[str, Any]
    shape: tuple[int | str | None, ...]
    batch: int | str | None

    def constant(self, i: int, otherwise: Any = None) -> Any:
        """The input ``i``, which has to be a constant unless there is an alternative."""
        found = self.constants[i] if i < len(self.constants) else None
        found = otherwise if found is None else found
        self.check(found is not None, f"a constant as input {i}", "one that is computed")
        return found

    def number(self, name: str, otherwise: float) -> float:
        """A float among the attributes, with the digits that its 32 bits have."""
        return float(str(np.float32(self.attributes.get(name, otherwise))))

    def axis(self, rank: int, otherwise: int = -1) -> int:
        """The attribute ``axis``, counted among the ``rank`` axes behind the batch."""
        axis: int = self.attributes.get("axis", otherwise)
        self.check(axis != 0 and axis != -rank - 1, "an axis behind the batch", axis)
        return axis - 1 if axis > 0 else rank + axis

    def check(self, condition: bool, expected: str, got: object, hint: str = "") -> None:
        require(condition, self.place, expected, got, hint)


@attrs.frozen(eq=False)
class Progress:
    """How far a graph is read.

    Attributes:
        layers: The layers so far, each with its params.
        value: What they give for one sample of zeros.
        index: For each element of a sample in the graph, its place in the value here, in row-major order.
        in_shape: The shape of an input; ``None`` in a branch, whose input is given.
        is_cast: Whether the model takes another dtype than the graph, which casts its input to it.
    """

    layers: tuple[tuple[Layer, Params], ...]
    value: Array
    index: Array
    in_shape: Shape | None
    is_cast: bool = False

    @property
    def untouched(self) -> bool:
        """Whether there is nothing but an input, which may still come in another layout or dtype."""
        return not self.layers and self.in_shape is not None

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape[1:])

    def then(self, layer: Layer, params: Params = ()) -> "Progress":
        """After one more layer that keeps the order of the elements."""
        with np.errstate(all="ignore"):  # zeros are no real input
            value = predict(layer, params, self.value)
        return attrs.evolve(self, layers=(*self.layers, (layer, params)), value=value)

    def ordered(self, *order: int) -> "Progress":
        """The same with values that lie as ONNX's do with their axes in this order; without an order, as ONNX's do."""
        index = plain(self.shape)
        return attrs.evolve(self, index=index.transpose(np.argsort(order)) if order else index)


Operator: TypeAlias = Callable[[Node, Progress], Progress]
"""What is done for an operator with one input that is data."""


def begun(shape: Shape, dtype: Any) -> Progress:
    """Where reading begins: nothing but an input."""
    return Progress((), np.zeros((1, *shape), dtype), plain(shape), shape)


def in_a_row(layers: Sequence[tuple[Layer, Params]]) -> tuple[Layer, Params]:
    """Layers and their params as one."""
    if len(layers) == 1:
        return layers[0]
    if not layers:
        return identity(), ()
    made, params = zip(*layers, strict=True)
    return serial(*made), params


def plain(shape: Shape) -> Array:
    """Where elements stand that lie as ONNX has them."""
    return np.arange(math.prod(shape)).reshape(shape)


def lined(node: Node, progress: Progress, *order: int) -> Progress:
    """The value with its axes in this order of those in the graph; the model's input is taken in that order."""
    shape = tuple(progress.index.shape[axis] for axis in order)
    if progress.untouched and np.array_equal(progress.index, plain(progress.shape)):
        value = np.zeros((1, *shape), progress.value.dtype)
        return attrs.evolve(progress, value=value, in_shape=shape).ordered(*order)
    fits = np.array_equal(progress.index, plain(shape).transpose(np.argsort(order)))
    node.check(fits, "values in the order that the layer reads", "others", "funcnn has the channels of images last")
    if progress.shape == shape:
        return progress
    return progress.then(flatten() if len(shape) == 1 else reshape(*shape))


def channels_last(node: Node, progress: Progress) -> Progress:
    """Values (batch, ..., channels) of those that ONNX has as (batch, channels, ...)."""
    return lined(node, progress, *range(1, progress.index.ndim), 0)


def features(node: Node, progress: Progress) -> tuple[Progress, Array]:
    """Values whose last axis is ONNX's last axis, and where the elements of that stand."""
    node.check(progress.index.ndim > 0, "inputs (batch, ..., features)", "(batch,)")
    if progress.index.ndim > 1:
        return lined(node, progress, *range(progress.index.ndim)), np.arange(progress.index.shape[-1])
    return progress if len(progress.shape) == 1 else progress.then(flatten()), progress.index


def biases_like(node: Node, biases: Array, features: int) -> Array:
    """Biases (features,), of which ONNX may have one for all, or axes of length one."""
    fits = biases.size in (1, features) and biases.size == (biases.shape or (1,))[-1]
    node.check(fits, f"biases ({features},)", biases.shape)
    return np.broadcast_to(biases.ravel(), (features,)).copy()


def ended(name: str, progress: Progress) -> Progress:
    """Values that are a model's outputs: as ONNX has them, or images with the channels last."""
    rank = progress.index.ndim
    if len(progress.shape) == rank > 1 and np.array_equal(progress.index, progress.ordered(*range(1, rank), 0).index):
        return progress
    return lined(Node(f"output {name!r}", (), {}, (), None), progress, *range(rank))
