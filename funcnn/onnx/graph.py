"""A graph of ONNX operators as plain data, and the translation of a layer into a part of it.

A translation is a function that adds the operators of one layer to a graph. :func:`translates` registers it for the
layer's constructor. Nothing here needs the package ``onnx``.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shape
from funcnn.errors import InputError, require
from funcnn.layer import Layer, Params, predict
from funcnn.spec import constructors

__all__ = ["Graph", "Node", "Value", "Weights", "translated", "translates"]


@attrs.frozen(eq=False)
class Value:
    """An input or output of a layer: its name in the graph, and its array for one sample of zeros."""

    name: str
    array: Array

    @property
    def shape(self) -> Shape:
        """The shape of a sample, without the batch axis."""
        return tuple(self.array.shape[1:])


@attrs.frozen(eq=False)
class Weights:
    """An array of the params; its name in the graph is its path in the params."""

    name: str
    array: Array

    @property
    def shape(self) -> Shape:
        return tuple(self.array.shape)

    def transposed(self, *axes: int) -> "Weights":
        """The array with its axes in another order, under the same name."""
        return Weights(self.name, np.transpose(self.array, axes))


@attrs.frozen(eq=False)
class Node:
    """One operator; an attribute that is a :class:`Graph` is the body of a loop."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


Translation: TypeAlias = Callable[..., Any]
"""``(graph, params, x, **arguments) -> y``, see :func:`translates`."""

T = TypeVar("T", bound=Translation)

_TRANSLATIONS: dict[str, Translation] = {}


@attrs.frozen(eq=False)
class Graph:
    """A graph that grows while a model is translated: nodes and constants are added to it.

    Attributes:
        nodes: The operators, each after the operators that it reads.
        constants: The arrays that they read, by name; a graph and the bodies of its loops share them.
        inputs: The inputs of the graph.
        outputs: The outputs of the graph.
    """

    nodes: list[Node] = attrs.field(factory=list)
    constants: dict[str, Array] = attrs.field(factory=dict)
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    def node(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operator; gives the name of its output.

        Args:
            operator: Its name in https://onnx.ai/onnx/operators.
            inputs: Values, their names, weights, or numbers and arrays, which become constants of the graph. Whole
                numbers become int64, others float32.
            attributes: The attributes of the operator.
        """
        return self.nodes_of(operator, 1, *inputs, **attributes)[0]

    def nodes_of(self, operator: str, count: int, *inputs: Any, **attributes: Any) -> tuple[str, ...]:
        """Add an operator with ``count`` outputs; gives their names."""
        names = tuple(map(self._name, inputs))
        outputs = tuple(self.fresh(operator) for _ in range(count))
        self.nodes.append(Node(operator, names, outputs, attributes))
        return outputs

    def body(self, *inputs: Value) -> "Graph":
        """The graph of a loop's body, still without outputs; it shares the constants."""
        return Graph(constants=self.constants, inputs=inputs, numbers=self._numbers)

    def fresh(self, word: str) -> str:
        """A name that no other value has."""
        return f"{word}/{next(self._numbers)}"

    def _name(self, given: Any) -> str:
        match given:
            case str():
                return given
            case Value():
                return given.name
            case Weights():
                return self._constant(given.name, given.array)
            case _:
                array = np.asarray(given)
                array = array.astype(np.float32) if array.dtype.kind == "f" else array
                return self._constant(self.fresh("constant"), array)

    def _constant(self, name: str, array: Array) -> str:
        self.constants[name] = array
        return name


def translates(constructor: Callable[..., Layer]) -> Callable[[T], T]:
    """Register the decorated function as the translation of the constructor's layers.

    The function takes the graph, the params with :class:`Weights` as leaves, the inputs as a :class:`Value` or a tuple
    of them, and the arguments of the constructor by name. It returns the name of the output, or a tuple of names.

        @fn.onnx.translates(scaled_tanh)
        def _(graph, params, x, scale):
            return graph.node("Mul", scale, graph.node("Tanh", x))

    Raises:
        InputError: ``constructor`` is not decorated by ``@described``.
    """
    name = getattr(constructor, "__name__", "")
    known = constructors().get(name) is constructor
    require(known, "translates", "a constructor decorated by @described", repr(constructor))

    def register(translation: T) -> T:
        _TRANSLATIONS[name] = translation
        return translation

    return register


def translated(graph: Graph, layer: Layer, params: Params, x: Any) -> Any:
    """Add the operators of ``layer`` to the graph; gives its outputs for ``x``, both as :class:`Value` or tuples of it.

    Raises:
        InputError: The layer has no spec or no translation, or refuses the inputs.
    """
    where = repr(layer)
    if layer.spec is None:
        hint = "decorate its constructor by @funcnn.described, and write @funcnn.onnx.translates(constructor)"
        raise InputError(where, "a layer with a translation to ONNX", "one that was made by hand", hint)
    name = layer.spec.name
    if name not in _TRANSLATIONS:
        hint = f"write @funcnn.onnx.translates({name}) above a function (graph, params, x, **arguments) -> name of y"
        raise InputError(where, "a layer with a translation to ONNX", "none", hint)
    names = _TRANSLATIONS[name](graph, params, x, **layer.spec.arguments)
    with np.errstate(all="ignore"):  # zeros may divide by zero
        arrays = predict(layer, tree.map(_array, params), tree.map(_array, x))
    return tree.map(lambda array, name: Value(name.name if isinstance(name, Value) else name, array), arrays, names)


def _array(value: Value | Weights) -> Array:
    return value.array
