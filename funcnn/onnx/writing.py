"""Write a model to an ONNX file."""

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Shapes
from funcnn.checkpoint import checked
from funcnn.errors import InputError, imported, is_size, require
from funcnn.files import replacing
from funcnn.layer import Layer, Params, predict
from funcnn.onnx import combinators, layers, sequences  # noqa: F401 they register their translations
from funcnn.onnx.graph import Graph, Node, Value, Weights, translated
from funcnn.version import __version__

__all__ = ["HINT", "OPSET", "export"]

HINT = "funcnn.onnx takes the extra `onnx`: pip install 'funcnn[onnx]'"

OPSET, _IR_VERSION = 28, 14  # the newest of onnxruntime 1.32


def export(
    path: str | Path,
    model: Layer,
    params: Params,
    in_shape: Shapes,
    *,
    scaling: str | None = None,
    class_names: Iterable[str] = (),
) -> None:
    """Write a model at inference to an ONNX file; an existing file is replaced only by a whole new one.

    The batch axis is free; all other sizes come from ``in_shape``. Arrays are named by their paths in ``params``, such
    as ``0.weights``; kernels of convolutions have ONNX's layout. Input and output are ``x`` and ``y``, or ``x0``,
    ``x1`` and so on for tuples. The metadata are ``scaling``, and ``class_names`` as a JSON list.

    Args:
        path: The file, usually ``*.onnx``.
        model: A model of described constructors that have a translation, see :func:`translates`.
        params: Its params, float32.
        in_shape: The shape of one input, or a tuple of shapes, as ``model.init`` takes it.
        scaling: The name of the scaling of the inputs.
        class_names: The name of each label.

    Raises:
        InputError: The shapes do not fit, the params are of another model or not float32, or a layer has no
            translation.
        ModuleNotFoundError: The extra ``onnx`` is not installed.
    """
    onnx = imported(HINT, "onnx", "onnx.checker", "onnx.helper", "onnx.numpy_helper")
    arrays, dtype, names = checked("export", model, params, in_shape, scaling, class_names)
    hint = "tree.map(lambda leaf: leaf.astype(np.float32), params)"
    require(dtype == "float32", "export", "float32 params", dtype, hint)
    weights = tree.unflatten(params, [Weights(name or "params", array) for name, array in arrays.items()])
    proto = onnx.helper.make_model(
        _proto(onnx, "model", graph_of(model, weights, _zeros(model, params, in_shape))),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="funcnn",
        producer_version=__version__,
    )
    known = {"scaling": scaling or "", "class_names": json.dumps(names) if names else ""}
    onnx.helper.set_model_props(proto, {name: text for name, text in known.items() if text})
    try:
        onnx.checker.check_model(proto, full_check=True)
        written = proto.SerializeToString()
    except Exception as error:  # of several kinds: a user's translation is wrong, or the model beyond 2 GB
        raise InputError("export", "a graph that ONNX allows", str(error).strip()) from error
    with replacing(path) as part:
        part.write_bytes(written)


def graph_of(model: Layer, weights: Params, zeros: Any) -> Graph:
    """The graph of a model for one sample of zeros."""
    x = tree.map_with_paths(lambda path, array: Value(f"x{path}", array), zeros)
    graph = Graph(inputs=tuple(tree.leaves(x)))
    y = translated(graph, model, weights, x)
    named = tree.map_with_paths(lambda path, value: Value(f"y{path}", value.array), y)
    pairs = [*zip(tree.leaves(y), tree.leaves(named), strict=True)]
    graph.nodes.extend(Node("Identity", (inner.name,), (outer.name,), {}) for inner, outer in pairs)
    return attrs.evolve(graph, outputs=tuple(outer for _, outer in pairs))


def _zeros(model: Layer, params: Params, in_shape: Shapes) -> Any:
    """One sample of zeros: integers where the model refuses floating numbers."""

    def zeros(shape: Shapes) -> Any:
        return np.zeros((1, *shape), np.float32) if all(map(is_size, shape)) else tuple(map(zeros, shape))

    floats, refusals = zeros(in_shape), []
    for dtypes in product((np.float32, np.int64), repeat=len(tree.leaves(floats))):
        found = [leaf.astype(dtype) for leaf, dtype in zip(tree.leaves(floats), dtypes, strict=True)]
        x = tree.unflatten(floats, found)
        try:
            with np.errstate(all="ignore"):
                predict(model, params, x)
        except InputError as error:
            refusals.append(error)
        else:
            return x
    raise refusals[0]


def _proto(onnx: Any, name: str, graph: Graph, constants: bool = True) -> Any:
    """The GraphProto of a graph; the body of a loop reads the constants of the graph around it."""
    return onnx.helper.make_graph(
        [_node_proto(onnx, node) for node in graph.nodes],
        name,
        *([_value_proto(onnx, value) for value in values] for values in (graph.inputs, graph.outputs)),
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()] if constants else [],
    )


def _node_proto(onnx: Any, node: Node) -> Any:
    attributes = {
        name: _proto(onnx, name, value, constants=False) if isinstance(value, Graph) else value
        for name, value in node.attributes.items()
    }
    return onnx.helper.make_node(node.operator, node.inputs, node.outputs, name=node.outputs[0], **attributes)


def _value_proto(onnx: Any, value: Value) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.array.dtype)
    return onnx.helper.make_tensor_value_info(value.name, kind, ["batch", *value.shape])
