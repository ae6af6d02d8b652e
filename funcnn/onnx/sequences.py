"""The translations of layers for sequences."""

import math
from typing import Any

import attrs
import numpy as np

from funcnn.layer import Layer, predict
from funcnn.layers.attention import attention, positions
from funcnn.layers.recurrent import gru, recurrent
from funcnn.onnx.graph import Graph, Value, translated, translates
from funcnn.onnx.layers import dense_nodes


@translates(attention)
def _attention(graph: Graph, params: Any, x: Value | tuple[Value, Value], heads: int, causal: bool, **_: Any) -> str:
    inputs, of_positions = x if isinstance(x, tuple) else (x, None)
    length, features = inputs.shape
    size = features // heads

    def of_heads(part: str, *order: int) -> str:
        return graph.node("Transpose", graph.node("Reshape", part, [0, length, heads, size]), perm=order)

    projected = dense_nodes(graph, params.inputs, inputs)
    queries, keys, values = graph.nodes_of("Split", 3, projected, axis=2, num_outputs=3)
    products = graph.node("MatMul", of_heads(queries, 0, 2, 1, 3), of_heads(keys, 0, 2, 3, 1))
    scores = graph.node("Mul", products, 1 / math.sqrt(size))
    if causal:
        scores = graph.node("Where", np.tril(np.ones((length, length), bool)), scores, -1e30)
    if of_positions is not None:
        present = graph.node("Unsqueeze", graph.node("Greater", of_positions, 0.0), [1, 2])
        scores = graph.node("Where", present, scores, -1e30)
    read = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), of_heads(values, 0, 2, 1, 3))
    together = graph.node("Reshape", graph.node("Transpose", read, perm=(0, 2, 1, 3)), [0, length, features])
    return dense_nodes(graph, params.outputs, together)


@translates(positions)
def _positions(graph: Graph, params: Any, x: Value, kind: str, **arguments: Any) -> str:
    if kind == "learned":
        return graph.node("Add", x, params.table)
    return graph.node("Add", x, predict(positions("sinusoidal"), (), np.zeros_like(x.array)))


@translates(gru)
def _gru(graph: Graph, params: Any, x: tuple[Value, Value], **arguments: Any) -> str:
    inputs, h = x
    of_x = graph.nodes_of("Split", 3, dense_nodes(graph, params.inputs, inputs), axis=1, num_outputs=3)
    of_h = graph.nodes_of("Split", 3, dense_nodes(graph, params.state, h), axis=1, num_outputs=3)
    r, z = [graph.node("Sigmoid", graph.node("Add", of_x[i], of_h[i])) for i in (0, 1)]
    n = graph.node("Tanh", graph.node("Add", of_x[2], graph.node("Mul", r, of_h[2])))
    return graph.node("Add", n, graph.node("Mul", z, graph.node("Sub", h, n)))


@translates(recurrent)
def _recurrent(graph: Graph, params: Any, x: Value, cell: Layer, features: int) -> str:
    """A Scan along axis 1, whose state begins with zeros."""
    state = Value(graph.fresh("state"), np.zeros((1, features), x.array.dtype))
    at = Value(graph.fresh("x"), x.array[:, 0, ...])
    body = graph.body(state, at)
    after = translated(body, cell, params, (at, state))
    outputs = tuple(Value(body.node("Identity", after), after.array) for _ in range(2))
    batch = graph.node("Shape", x, start=0, end=1)
    start = graph.node("Expand", state.array, graph.node("Concat", batch, [features], axis=0))
    loop = {"body": attrs.evolve(body, outputs=outputs), "num_scan_inputs": 1}
    _, states = graph.nodes_of("Scan", 2, start, x, **loop, scan_input_axes=[1], scan_output_axes=[1])
    return states
