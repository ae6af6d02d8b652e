"""The translations of combinators, made of the translations of their layers."""

from collections.abc import Sequence
from typing import Any

from funcnn.layer import Layer
from funcnn.layers.branches import add, concatenate, fork, joined, parallel, residual, summed
from funcnn.layers.combinators import identity, located, repeat, serial
from funcnn.onnx.graph import Graph, Value, translated, translates


@translates(serial)
def _serial(graph: Graph, params: Any, x: Any, layers: Sequence[Layer]) -> Any:
    for i, (layer, own) in enumerate(zip(layers, params, strict=True)):
        x = located("serial", i, translated, graph, layer, own, x)
    return x


@translates(repeat)
def _repeat(graph: Graph, params: Any, x: Value, times: int, layer: Layer) -> Any:
    return _serial(graph, params, x, [layer] * times)


@translates(fork)
def _fork(graph: Graph, params: Any, x: Value, layers: Sequence[Layer]) -> tuple[Any, ...]:
    return _each("fork", graph, params, [x] * len(layers), layers)


@translates(parallel)
def _parallel(graph: Graph, params: Any, x: Sequence[Any], layers: Sequence[Layer]) -> tuple[Any, ...]:
    return _each("parallel", graph, params, x, layers)


@translates(joined)
def _joined(graph: Graph, params: Any, x: Sequence[Value], axis: int) -> str:
    return graph.node("Concat", *x, axis=axis)


@translates(summed)
def _summed(graph: Graph, params: Any, x: Sequence[Value]) -> str:
    return graph.node("Sum", *x)


@translates(add)
def _add(graph: Graph, params: Any, x: Any, layers: Sequence[Layer]) -> str:
    return _summed(graph, (), _each("add", graph, params, [x] * len(layers), layers))


@translates(concatenate)
def _concatenate(graph: Graph, params: Any, x: Any, layers: Sequence[Layer]) -> str:
    return _joined(graph, (), _each("concatenate", graph, params, [x] * len(layers), layers), -1)


@translates(residual)
def _residual(graph: Graph, params: Any, x: Value, layer: Layer) -> str:
    return _add(graph, params, x, (identity(), layer))


def _each(name: str, graph: Graph, params: Any, x: Sequence[Any], layers: Sequence[Layer]) -> tuple[Any, ...]:
    triples = enumerate(zip(layers, params, x, strict=True))
    return tuple(located(name, i, translated, graph, *triple) for i, triple in triples)
