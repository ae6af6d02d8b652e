"""The translations of layers of one array, at inference.

Images stay (batch, height, width, channels) between layers. ONNX's operators on images take the channels first, so each
stands between two transpositions; a runtime cancels neighbouring ones.
"""

from collections.abc import Sequence
from typing import Any

from funcnn.layers import activations as act
from funcnn.layers.batch_norm import batch_norm
from funcnn.layers.combinators import identity
from funcnn.layers.convolution import conv1d, conv2d, conv2d_transpose
from funcnn.layers.dense import dense
from funcnn.layers.dropout import dropout
from funcnn.layers.embedding import embedding
from funcnn.layers.normalization import layer_norm, rms_norm
from funcnn.layers.resampling import avg_pool2d, global_avg_pool, max_pool2d, upsample2d
from funcnn.layers.shapes import flatten, reshape
from funcnn.layers.windows import Padding, Pair, Windows
from funcnn.onnx.graph import Graph, Translation, Value, Weights, translates


def _of(operator: str, **attributes: Any) -> Translation:
    """The translation of a layer that is one operator."""
    return lambda graph, params, x: graph.node(operator, x, **attributes)


translates(act.relu)(_of("Relu"))
translates(act.softplus)(_of("Softplus"))
translates(act.sigmoid)(_of("Sigmoid"))
translates(act.tanh)(_of("Tanh"))
translates(act.selu)(_of("Selu"))
translates(act.softmax)(_of("Softmax", axis=-1))
translates(act.log_softmax)(_of("LogSoftmax", axis=-1))
translates(flatten)(_of("Flatten", axis=1))


@translates(act.silu)
def _silu(graph: Graph, params: Any, x: Value) -> str:
    return graph.node("Mul", x, graph.node("Sigmoid", x))  # onnxruntime has no Swish


@translates(act.leaky_relu)
def _leaky_relu(graph: Graph, params: Any, x: Value, slope: float) -> str:
    return graph.node("LeakyRelu", x, alpha=slope)


@translates(act.elu)
def _elu(graph: Graph, params: Any, x: Value, alpha: float) -> str:
    return graph.node("Elu", x, alpha=alpha)


@translates(act.gelu)
def _gelu(graph: Graph, params: Any, x: Value, approximate: bool) -> str:
    return graph.node("Gelu", x, approximate="tanh" if approximate else "none")


@translates(identity)
@translates(dropout)
def _same(graph: Graph, params: Any, x: Value, **arguments: Any) -> Value:
    return x


@translates(reshape)
def _reshape(graph: Graph, params: Any, x: Value, shape: Sequence[int]) -> str:
    return graph.node("Reshape", x, [0, *shape])  # 0 keeps the size of the batch axis


@translates(dense)
def dense_nodes(graph: Graph, params: Any, x: Value | str, **arguments: Any) -> str:
    """x W + b."""
    return graph.node("Add", graph.node("MatMul", x, params.weights), params.biases)


@translates(embedding)
def _embedding(graph: Graph, params: Any, x: Value, **arguments: Any) -> str:
    return graph.node("Gather", params.table, x, axis=0)


@translates(layer_norm)
def _layer_norm(graph: Graph, params: Any, x: Value, eps: float) -> str:
    return graph.node("LayerNormalization", x, params.scale, params.offset, epsilon=eps, axis=-1)


@translates(rms_norm)
def _rms_norm(graph: Graph, params: Any, x: Value, eps: float) -> str:
    return graph.node("RMSNormalization", x, params.scale, epsilon=eps, axis=-1)


@translates(batch_norm)
def _batch_norm(graph: Graph, params: Any, x: Value, eps: float) -> str:
    both = (params.scale, params.offset, params.mean, params.variance)
    return _channels_first(graph, "BatchNormalization", x, *both, epsilon=eps)


@translates(conv2d)
def _conv2d(graph: Graph, params: Any, x: Value, stride: int | Pair, padding: Padding, **arguments: Any) -> str:
    windows = Windows(params.weights.shape[:2], _pair(stride), padding)
    weights = params.weights.transposed(3, 2, 0, 1)
    pads = _pads(windows.pads(x.shape[:2]))
    return _channels_first(graph, "Conv", x, weights, params.biases, strides=windows.stride, pads=pads)


@translates(conv1d)
def _conv1d(graph: Graph, params: Any, x: Value, stride: int, padding: Padding, causal: bool, **arguments: Any) -> str:
    weights = Weights(params.weights.name, params.weights.array[0])
    kernel = weights.shape[0]
    _, along = Windows((1, kernel), (1, stride), padding).pads((1, x.shape[0]))
    pads = (kernel - 1, 0) if causal else along
    weights = weights.transposed(2, 1, 0)
    return _channels_first(graph, "Conv", x, weights, params.biases, strides=(stride,), pads=pads)


@translates(conv2d_transpose)
def _conv2d_transpose(
    graph: Graph, params: Any, x: Value, stride: int | Pair, padding: Padding, **arguments: Any
) -> str:
    windows = Windows(params.weights.shape[:2], _pair(stride), padding)
    both = [*zip(windows.size, windows.stride, strict=True)]
    out = [n * step for n, (_, step) in zip(x.shape[:2], both, strict=True)]
    return _channels_first(
        graph,
        "ConvTranspose",
        x,
        params.weights.transposed(2, 3, 0, 1),
        params.biases,
        strides=windows.stride,
        pads=_pads(windows.pads((out[0], out[1]))),
        output_padding=[
            max(step - size, 0) for size, step in both
        ],  # a stride beyond the window leaves a gap at the end
    )


def _pool(operator: str) -> Translation:
    def pool(graph: Graph, params: Any, x: Value, size: int | Pair, stride: int | Pair | None) -> str:
        shape = _pair(size)
        strides = shape if stride is None else _pair(stride)
        return _channels_first(graph, operator, x, kernel_shape=shape, strides=strides)

    return pool


translates(max_pool2d)(_pool("MaxPool"))
translates(avg_pool2d)(_pool("AveragePool"))


@translates(global_avg_pool)
def _global_avg_pool(graph: Graph, params: Any, x: Value) -> str:
    return graph.node("ReduceMean", x, [*range(1, len(x.shape))], keepdims=0)


@translates(upsample2d)
def _upsample2d(graph: Graph, params: Any, x: Value, times: int) -> str:
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", x, "", [1.0, times, times, 1.0], **how)


def _channels_first(graph: Graph, operator: str, x: Value, *others: Weights, **attributes: Any) -> str:
    """The operator on x with the channels first, and its output with the channels last again."""
    axes = len(x.shape)
    if axes == 1:  # there is nothing to transpose
        return graph.node(operator, x, *others, **attributes)
    first = graph.node("Transpose", x, perm=(0, axes, *range(1, axes)))
    return graph.node("Transpose", graph.node(operator, first, *others, **attributes), perm=(0, *range(2, axes + 1), 1))


def _pads(pads: Sequence[Pair]) -> list[int]:
    """The pads before all axes, then the pads after them."""
    return [*(before for before, _ in pads), *(after for _, after in pads)]


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value
