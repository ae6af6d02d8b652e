"""The progress of reading an ONNX graph: the layers so far, and the order of their elements.

ONNX has the channels of images first, funcnn has them last. So the elements of a value can have another order here than
in the graph. An index records the place of each one. Transposing and reshaping change only the index. A layer that
mixes elements, such as ``dense``, needs them in the graph's order, or permutes its weights.
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

__all__ = ["Node", "Progress", "Rule", "as_one", "biases_like", "channels_last", "end_at", "features", "in_order"]
__all__ += ["index_of"]


@attrs.frozen(eq=False)
class Node:
    """An operator of the file.

    Attributes:
        place: Its name in messages.
        constants: Its inputs, ``None`` where they are data or left out.
        attributes: The attributes that are set.
        shape: The sizes of its output; a name or ``None`` is a size that is not fixed.
        batch: The size or name of the batch axis.
    """

    place: str
    constants: tuple[Array | None, ...]
    attributes: Mapping[str, Any]
    shape: tuple[int | str | None, ...]
    batch: int | str | None

    def constant(self, i: int, otherwise: Any = None) -> Any:
        """The input ``i``, or ``otherwise`` if it is not a constant."""
        found = self.constants[i] if i < len(self.constants) else None
        found = otherwise if found is None else found
        self.check(found is not None, f"a constant as input {i}", "one that is computed")
        return found

    def number(self, name: str, otherwise: float) -> float:
        """A float attribute, with the digits of its 32 bits."""
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
    """The layers that were read so far, and the order of their output's elements.

    Attributes:
        layers: The layers, each with its params.
        value: Their output for one sample of zeros.
        index: For each element of a sample in the graph, its place in the value here, in row-major order.
        in_shape: The shape of an input; ``None`` in a branch, whose input is given.
        is_cast: Whether the graph casts its input to the dtype that the model takes.
    """

    layers: tuple[tuple[Layer, Params], ...]
    value: Array
    index: Array
    in_shape: Shape | None
    is_cast: bool = False

    @property
    def untouched(self) -> bool:
        """Whether there is only an input, whose layout and dtype are still free."""
        return not self.layers and self.in_shape is not None

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape[1:])

    def then(self, layer: Layer, params: Params = ()) -> "Progress":
        """Append a layer that keeps the order of the elements."""
        with np.errstate(all="ignore"):  # zeros may divide by zero
            value = predict(layer, params, self.value)
        return attrs.evolve(self, layers=(*self.layers, (layer, params)), value=value)

    def ordered(self, *order: int) -> "Progress":
        """The same value, which is now ONNX's with its axes in this order, or ONNX's itself without an order."""
        index = index_of(self.shape)
        return attrs.evolve(self, index=index.transpose(np.argsort(order)) if order else index)


Rule: TypeAlias = Callable[[Node, Progress], Progress]
"""Reads an operator with one input that is data."""


def as_one(layers: Sequence[tuple[Layer, Params]]) -> tuple[Layer, Params]:
    """Layers in a row and their params as one layer and its params."""
    if len(layers) == 1:
        return layers[0]
    if not layers:
        return identity(), ()
    made, params = zip(*layers, strict=True)
    return serial(*made), params


def index_of(shape: Shape) -> Array:
    """The index of elements in ONNX's order."""
    return np.arange(math.prod(shape)).reshape(shape)


def in_order(node: Node, progress: Progress, *order: int) -> Progress:
    """The value with the graph's axes in this order; an input that nothing has read yet takes that order."""
    shape = tuple(progress.index.shape[axis] for axis in order)
    if progress.untouched and np.array_equal(progress.index, index_of(progress.shape)):
        value = np.zeros((1, *shape), progress.value.dtype)
        return attrs.evolve(progress, value=value, in_shape=shape).ordered(*order)
    fits = np.array_equal(progress.index, index_of(shape).transpose(np.argsort(order)))
    node.check(fits, "values in the order that the layer reads", "others", "funcnn has the channels of images last")
    if progress.shape == shape:
        return progress
    return progress.then(flatten() if len(shape) == 1 else reshape(*shape))


def channels_last(node: Node, progress: Progress) -> Progress:
    """The value as (batch, ..., channels), which is (batch, channels, ...) in ONNX."""
    return in_order(node, progress, *range(1, progress.index.ndim), 0)


def features(node: Node, progress: Progress) -> tuple[Progress, Array]:
    """The value with ONNX's last axis as its last axis, and the index along that axis."""
    node.check(progress.index.ndim > 0, "inputs (batch, ..., features)", "(batch,)")
    if progress.index.ndim > 1:
        return in_order(node, progress, *range(progress.index.ndim)), np.arange(progress.index.shape[-1])
    return progress if len(progress.shape) == 1 else progress.then(flatten()), progress.index


def biases_like(node: Node, biases: Array, features: int) -> Array:
    """Biases (features,); in ONNX there may be one for all features, or axes of length one."""
    fits = biases.size in (1, features) and biases.size == (biases.shape or (1,))[-1]
    node.check(fits, f"biases ({features},)", biases.shape)
    return np.broadcast_to(biases.ravel(), (features,)).copy()


def end_at(name: str, progress: Progress) -> Progress:
    """The value as a model's output: in ONNX's order, or images with the channels last."""
    rank = progress.index.ndim
    if len(progress.shape) == rank > 1 and np.array_equal(progress.index, progress.ordered(*range(1, rank), 0).index):
        return progress
    return in_order(Node(f"output {name!r}", (), {}, (), None), progress, *range(rank))
