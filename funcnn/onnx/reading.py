"""Read an ONNX file as a model and params, to train further.

The graph is followed from its input to its output. Each operator adds a layer, see :mod:`funcnn.onnx.operators`. Where
branches meet, all operators since they parted become one layer, such as ``add``.
"""

import json
import os
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array
from funcnn.checkpoint import SavedModel
from funcnn.data.datasets import SCALINGS
from funcnn.errors import InputError, imported, require
from funcnn.onnx.operators import MERGES, OPERATORS
from funcnn.onnx.progress import Node, Progress, as_one, end_at, index_of
from funcnn.onnx.writing import HINT, OPSET
from funcnn.reading import check_readable

__all__ = ["load"]

_OLDEST = 13  # before it, a softmax ran over all axes from one on

_FOLDED = {"Cast", "Concat", "Constant", "ConstantOfShape", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that are computed here if all their inputs are constant."""

_SHAPED = {"Dropout", "Reshape", "Squeeze", "Unsqueeze"}
"""Operators whose first input alone is data; they may compute a shape from the shape of the data."""


def load(path: str | Path, *, output: str | None = None) -> SavedModel:
    """Read a model that PyTorch, scikit-learn (by skl2onnx) or :func:`export` has written, to train it further.

    Weights become (in, out), and images (batch, height, width, channels), at input and output too. Weights that two
    operators share become two arrays.

    Args:
        path: The file.
        output: The name of the output, for a graph that has several.

    Raises:
        InputError: The file is missing or damaged, or its opset is not known; no layer has one of its operators, pads
            or orders of values; it has several inputs, or several outputs and ``output`` is not given.
        ModuleNotFoundError: The extra ``onnx`` is not installed.
    """
    onnx = imported(HINT, "onnx", "onnx.checker", "onnx.reference", "onnx.shape_inference")
    proto = _read(onnx, Path(path))
    try:
        source = Source.of(onnx, proto.graph)
        name = source.chosen(output)
        found = end_at(name, source.followed(source.begin(), source.input, name))
        model, params = as_one(found.layers)
        scaling, class_names = _metadata(proto)
    except InputError as error:
        raise error.within(f"{path}:") from None
    except Exception as error:  # a damaged graph raises anything
        raise InputError(str(path), "a graph that funcnn can read", repr(error)) from error
    versions = {str(proto.producer_name) or "producer": proto.producer_version, "opset": str(_opset(proto))}
    return SavedModel(model, params, found.in_shape, scaling, class_names, tree.frozendict(versions))


def _read(onnx: ModuleType, path: Path) -> Any:
    """The model, with the shapes of all values; raises unless its opset is known here."""
    where = str(path)
    check_readable(path)
    require(os.path.exists(path), where, "an ONNX model", "no such file")  # noqa: PTH110 a Path's raises for odd names
    try:
        proto = onnx.load(path)
    except Exception as error:  # of several kinds, of protobuf and of the operating system
        hint = "the file is damaged, or its external data are not beside it"
        raise InputError(where, "a whole ONNX model", _line(error), hint) from error
    opset = _opset(proto)
    known = _OLDEST <= opset <= OPSET
    require(known, where, f"a model of opset {_OLDEST} to {OPSET}", opset, "export it again with one of these")
    try:
        onnx.checker.check_model(proto, full_check=True)
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except Exception as error:
        raise InputError(where, "a model that onnx.checker takes", _line(error)) from error


def _opset(proto: Any) -> int:
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or repr(error)


def _metadata(proto: Any) -> tuple[str | None, tuple[str, ...]]:
    """Scaling and class names that :func:`export` wrote; another producer may mean something else by these words."""
    if proto.producer_name != "funcnn":
        return None, ()
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    try:
        names = json.loads(texts.get("class_names", "[]"))
    except ValueError as error:
        raise InputError("class_names", "a JSON list", texts["class_names"]) from error
    scaling = texts.get("scaling")
    require(scaling is None or scaling in SCALINGS, "scaling", f"one of {', '.join(SCALINGS)}", scaling)
    return scaling, tuple(map(str, names))


@attrs.frozen(eq=False)
class Source:
    """The graph of a file; the mappings are by the names of values.

    Attributes:
        onnx: The package.
        graph: The graph.
        input: The name of its one input.
        kinds: The types of values.
        constants: The values that are constant.
        producers: The operators that compute the others.
        above: The immediate dominator of a value: the last value on all paths from the input to it.
        depth: The number of dominators of a value.
        read: The values that were read already; this set grows.
    """

    onnx: ModuleType
    graph: Any
    input: str
    kinds: Mapping[str, Any]
    constants: Mapping[str, Array]
    producers: Mapping[str, Any]
    above: dict[str, str]
    depth: dict[str, int]
    read: set[str] = attrs.field(factory=set)

    @classmethod
    def of(cls, onnx: ModuleType, graph: Any) -> "Source":
        """The graph with what is constant computed."""
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in constants]
        require(len(inputs) == 1, "graph", "one input", ", ".join(inputs) or "none")
        for node in graph.node:
            if node.op_type in _FOLDED and all(name in constants for name in node.input):
                feeds = {name: constants[name] for name in node.input}
                (constants[node.output[0]],) = onnx.reference.ReferenceEvaluator(node).run(None, feeds)
        kinds = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
        producers = {name: node for node in graph.node for name in node.output if name not in constants}
        source = cls(onnx, graph, inputs[0], kinds, constants, producers, {}, {inputs[0]: 0})
        for node in graph.node:  # each after the nodes that it reads
            data = source.data(node)
            if data and all(name in source.depth for name in data):
                above = reduce(source.common, data)
                source.above.update(dict.fromkeys(node.output, above))
                source.depth.update(dict.fromkeys(node.output, source.depth[above] + 1))
        return source

    def data(self, node: Any) -> list[str]:
        """The inputs of an operator that are not constant."""
        names = [name for name in node.input if name and name not in self.constants]
        return names[:1] if node.op_type in _SHAPED else names

    def common(self, one: str, other: str) -> str:
        """The last value on all paths to either."""
        while one != other:
            if self.depth[one] < self.depth[other]:
                one, other = other, one
            one = self.above[one]
        return one

    def sizes(self, name: str) -> tuple[int | str | None, ...]:
        """The shape of a value; a name or ``None`` is a size that is not fixed."""
        kind = self.kinds.get(name)
        if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
            raise InputError(f"value {name!r}", "a tensor of known rank", "another kind of value, or rank")
        return tuple(
            size.dim_value if size.HasField("dim_value") else size.dim_param or None
            for size in kind.tensor_type.shape.dim
        )

    def chosen(self, output: str | None) -> str:
        """The name of the model's output; raises unless it is computed from the input."""
        names = [value.name for value in self.graph.output]
        require(output is not None or len(names) == 1, "graph", "one output", ", ".join(names), "choose by output=")
        name = names[0] if output is None else output
        require(name in self.depth, "graph", "an output that is computed from the input", repr(name))
        return name

    def begin(self) -> Progress:
        """The input, where reading begins."""
        batch, *behind = self.sizes(self.input) or (None, None)
        sizes = tuple(size for size in behind if isinstance(size, int))
        known = len(sizes) == len(behind)
        require(known, f"input {self.input!r}", "sizes that are known behind the batch", (batch, *behind))
        dtype = self.onnx.helper.tensor_dtype_to_np_dtype(self.kinds[self.input].tensor_type.elem_type)
        return Progress((), np.zeros((1, *sizes), dtype), index_of(sizes), sizes)

    def followed(self, progress: Progress, start: str, end: str) -> Progress:
        """The progress at ``start``, after reading on to ``end``."""
        names = []
        while end != start:
            names.append(end)
            end = self.above[end]
        return reduce(self._step, reversed(names), progress)

    def _step(self, progress: Progress, name: str) -> Progress:
        """Read one more operator, and the branches that meet in it."""
        node, data = self.producers[name], self.data(self.producers[name])
        word = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        place = f"{word} {node.name or name!r}"
        covered = word in (OPERATORS if len(data) == 1 else MERGES) and name == node.output[0]
        how = " of such inputs" if word in {**OPERATORS, **MERGES} else ""
        require(covered, place, "an operator that funcnn has a layer for", f"{word}{how}")
        require(name not in self.read, place, "branches that meet once", "some that cross")
        self.read.add(name)
        at = self._node(place, node)
        try:
            if len(data) == 1:
                done = OPERATORS[word](at, progress)
            else:
                branch = attrs.evolve(progress, layers=(), in_shape=None)
                done = MERGES[word](at, progress, [self.followed(branch, self.above[name], each) for each in data])
        except InputError as error:
            raise error.named(place) from None
        found, expected = done.index.shape, at.shape[1:]
        alike = len(found) == len(expected) and all(
            n == size or not isinstance(size, int) for n, size in zip(found, expected, strict=True)
        )
        at.check(alike, f"outputs {at.shape}", (at.batch, *found))
        return done

    def _node(self, place: str, node: Any) -> Node:
        """An operator as plain data."""
        attributes = {entry.name: self.onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if "to" in attributes:
            attributes["to"] = self.onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
        constants = tuple(self.constants.get(name) for name in node.input)
        batch = self.sizes(self.input)[0]
        return Node(place, constants, attributes, self.sizes(node.output[0]), batch)
