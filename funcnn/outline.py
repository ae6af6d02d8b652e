"""The layers of a model, each at its place: as data, and as a table."""

from typing import Any

import attrs

from funcnn import tree
from funcnn.arrays import Shapes
from funcnn.keys import Key
from funcnn.layer import Layer, Params, check_layer, shapes_of
from funcnn.spec import map_parts

__all__ = ["summary"]


@attrs.frozen(eq=False)
class Part:
    """A layer at its place in a model.

    Attributes:
        path: The path of its params in the tree.
        layer: The layer.
        in_shape: The shape of one input.
        out_shape: The shape of one output.
        parameters: The number of its parameters, with those of the layers inside it.
        parts: The layers inside it, in the order of their ``init``.
    """

    path: str
    layer: Layer
    in_shape: Shapes
    out_shape: Shapes
    parameters: int
    parts: tuple["Part", ...]

    def innermost(self) -> list["Part"]:
        """The parts without parts; one that applies a cell to each position, as ``recurrent`` does, is whole."""
        whole = any(part.path == self.path and part.in_shape != self.in_shape for part in self.parts)
        return [self] if whole or not self.parts else [leaf for part in self.parts for leaf in part.innermost()]


def outline(layer: Layer, in_shape: Shapes) -> Part:
    """The layer with all layers inside it; it calls their ``init`` without drawing.

    Raises:
        InputError: The shapes do not fit.
    """
    levels: list[list[Part]] = [[]]

    def recording(part: Any) -> Any:
        """``part`` made again, so that its ``init`` records it and, inside it, the parts recorded meanwhile."""
        if not isinstance(part, Layer):
            return part
        again = map_parts(recording, part)

        def init(key: Key, in_shape: Shapes, **options: Any) -> tuple[Params, Shapes]:
            levels.append([])
            params, out_shape = again.init(key, in_shape, **options)
            inside = tuple(levels.pop())
            path = ".".join(map(str, key.path))
            levels[-1].append(Part(path, part, in_shape, out_shape, tree.size(params), inside))
            return params, out_shape

        return attrs.evolve(again, init=init)

    shapes_of(recording(layer), in_shape)
    return levels[0][0]


def summary(layer: Layer, in_shape: Shapes) -> str:
    """A table of the layers that do not only contain others: path of the params, output shape, number of parameters.

    Raises:
        InputError: The shapes do not fit.

    >>> import funcnn as fn
    >>> print(summary(fn.serial(fn.dense(128), fn.relu(), fn.dense(10)), (784,)))
    layer         output shape  parameters
    0 dense(128)  (128,)           100,480
    1 relu()      (128,)                 0
    2 dense(10)   (10,)              1,290
    total                          101,770
    """
    check_layer("summary", layer)
    parts = outline(layer, in_shape).innermost()
    rows = [(f"{part.path} {part.layer}".lstrip(), str(part.out_shape), part.parameters) for part in parts]
    rows.append(("total", "", sum(count for _, _, count in rows)))
    cells = [("layer", "output shape", "parameters"), *((name, shape, f"{count:,}") for name, shape, count in rows)]
    a, b, c = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(f"{x:<{a}}  {y:<{b}}  {z:>{c}}" for x, y, z in cells)
