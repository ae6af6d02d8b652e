"""What each operator of ONNX adds to what is read: a layer with its params, or another order of the same values."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn.arrays import Array
from funcnn.errors import InputError
from funcnn.layer import Layer
from funcnn.layers import activations as act
from funcnn.layers.batch_norm import BatchNormParams, batch_norm
from funcnn.layers.combinators import add, concatenate
from funcnn.layers.convolution import Conv2dParams, avg_pool2d, conv2d, max_pool2d
from funcnn.layers.convolution1d import conv1d
from funcnn.layers.dense import DenseParams, dense
from funcnn.layers.dropout import dropout
from funcnn.layers.embedding import EmbeddingParams, embedding
from funcnn.layers.normalization import LayerNormParams, RMSNormParams, layer_norm, rms_norm
from funcnn.layers.resampling import global_avg_pool
from funcnn.layers.windows import Pair, Windows
from funcnn.onnx.progress import Node, Progress, channels_last, features, in_a_row, lined, plain

__all__ = ["MERGES", "OPERATORS"]

Operator: TypeAlias = Callable[[Node, Progress], Progress]


def _affine(node: Node, progress: Progress, weights: Array, biases: Array) -> Progress:
    node.check(weights.ndim == 2, "weights (in, out)", weights.shape)
    progress, order = features(node, progress)
    node.check(len(weights) == order.size, f"weights ({order.size}, out)", weights.shape)
    return progress.then(dense(weights.shape[1]), DenseParams(weights[np.argsort(order)], biases))


def _biases(node: Node, biases: Array, features: int) -> Array:
    fits = biases.size in (1, features) and biases.size == (biases.shape or (1,))[-1]
    node.check(fits, f"biases ({features},)", biases.shape)
    return np.broadcast_to(biases.ravel(), (features,)).copy()


def _gemm(node: Node, progress: Progress) -> Progress:
    node.check(not node.attributes.get("transA"), "rows of samples", "columns (transA)")
    weights = node.constant(1) * progress.value.dtype.type(node.number("alpha", 1))
    weights = weights.T if node.attributes.get("transB") else weights
    biases = node.constant(2, np.zeros(1, weights.dtype)) * weights.dtype.type(node.number("beta", 1))
    return _affine(node, progress, weights, _biases(node, biases, weights.shape[-1]))


def _matmul(node: Node, progress: Progress) -> Progress:
    weights = node.constant(1)
    return _affine(node, progress, weights, np.zeros(weights.shape[-1], weights.dtype))


def _bias(node: Node, progress: Progress) -> Progress:
    """An Add of a constant: biases of the dense layer before it."""
    more = next(constant for constant in node.constants if constant is not None)
    layer, params = progress.layers[-1] if progress.layers else (None, None)
    fits = isinstance(params, DenseParams) and np.array_equal(progress.index, plain(progress.shape))
    node.check(fits, "a bias behind a product with weights", f"a constant {more.shape}")
    whole = attrs.evolve(params, biases=params.biases + _biases(node, more, len(params.biases)))
    return attrs.evolve(progress, layers=(*progress.layers[:-1], (layer, whole)))


def _conv(node: Node, progress: Progress) -> Progress:
    progress = channels_last(node, progress)
    weights = np.moveaxis(node.constant(1), (0, 1), (-1, -2))
    *size, _, features = weights.shape
    rank = len(size)
    node.check(rank in (1, 2), "windows of one or two axes", rank)
    node.check(node.attributes.get("group", 1) == 1, "one group", node.attributes.get("group"))
    biases = _biases(node, node.constant(2, np.zeros(1, weights.dtype)), features)
    stride = tuple(node.attributes.get("strides", (1,) * rank))
    image, (kernel, steps) = progress.shape[:-1], (_two(size), _two(stride))
    kinds = {"same": Windows(kernel, steps, "same").pads(_two(image)), "valid": [(0, 0), (0, 0)]}
    if rank == 1:
        kinds["causal"] = [(0, 0), (size[0] - 1, 0)]
    pads = _pads(node, rank)
    kind = next((kind for kind, those in kinds.items() if those == pads or kind == pads), None)
    node.check(kind is not None, f"pads {' or '.join(map(str, kinds.values()))}", pads, "no layer pads so")
    if rank == 1:
        how: dict[str, Any] = {"causal": True} if kind == "causal" else {"padding": kind}
        layer, params = conv1d(features, size[0], stride=stride[0], **how), Conv2dParams(weights[None], biases)
    else:
        layer = conv2d(features, _short(size), stride=_short(stride), padding=kind)
        params = Conv2dParams(np.ascontiguousarray(weights), biases)
    return _channels_first(progress.then(layer, params))


def _channels_first(progress: Progress) -> Progress:
    return attrs.evolve(progress, index=np.moveaxis(plain(progress.shape), -1, 0))


def _pads(node: Node, rank: int) -> Any:
    """Before and after, by height and width; or the name of a way to pad."""
    node.check(set(node.attributes.get("dilations", [1])) == {1}, "no dilation", node.attributes.get("dilations"))
    match node.attributes.get("auto_pad", b"NOTSET"):
        case b"SAME_UPPER":
            return "same"
        case b"VALID":
            return "valid"
        case b"NOTSET":
            pads = [*node.attributes.get("pads", [0] * 2 * rank)]
            return [(0, 0)] * (2 - rank) + [*zip(pads[:rank], pads[rank:], strict=True)]
        case other:
            raise InputError(node.place, "auto_pad NOTSET, VALID or SAME_UPPER", other)


def _two(sizes: Sequence[int]) -> Pair:
    """Height and width; a sequence is an image of one row."""
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _short(pair: Sequence[int]) -> int | Pair:
    return pair[0] if pair[0] == pair[1] else (pair[0], pair[1])


def _pool(constructor: Callable[..., Layer]) -> Operator:
    def pool(node: Node, progress: Progress) -> Progress:
        size = tuple(node.attributes["kernel_shape"])
        node.check(len(size) == 2, "windows of two axes", size)
        node.check(not node.attributes.get("ceil_mode"), "windows inside the image", "ceil_mode")
        pads = _pads(node, 2)
        node.check(pads in ([(0, 0), (0, 0)], "valid"), "no pads", pads, "no pool of funcnn pads")
        stride = tuple(node.attributes.get("strides", (1, 1)))
        options = {} if stride == size else {"stride": _short(stride)}
        return _channels_first(channels_last(node, progress).then(constructor(_short(size), **options)))

    return pool


def _mean(node: Node, progress: Progress) -> Progress:
    """The mean over all axes but the batch and one."""
    rank = progress.index.ndim
    axes = node.attributes.get("axes") or node.constants[1:] and node.constant(1).tolist() or range(2, rank + 1)
    axes = {axis - 1 if axis > 0 else rank + axis for axis in axes}
    kept = [*({*range(rank)} - axes)]
    node.check(rank > 1 and len(kept) == 1, "a mean over all axes but batch and channels", f"{len(axes)} of {rank} axes")
    done = lined(node, progress, *sorted(axes), *kept).then(global_avg_pool())
    if not node.attributes.get("keepdims", 1):
        return done
    return attrs.evolve(done, index=np.expand_dims(done.index, sorted(axes)))


def _batch_norm(node: Node, progress: Progress) -> Progress:
    node.check(not node.attributes.get("training_mode"), "a graph for inference", "training_mode")
    several = progress.index.ndim > 1
    progress, order = (channels_last(node, progress), ...) if several else features(node, progress)
    order = order if order is ... else np.argsort(order)
    params = BatchNormParams(*(node.constant(i)[order] for i in range(1, 5)))
    return progress.then(batch_norm(node.number("epsilon", 1e-5)), params, progress.index)


def _norm(constructor: Callable[[float], Layer], kind: type[Any]) -> Operator:
    def norm(node: Node, progress: Progress) -> Progress:
        axis, last = node.axis(progress.index.ndim), progress.index.ndim - 1
        node.check(axis == last, f"the last axis, {last + 1}", axis + 1)
        progress, order = features(node, progress)
        scale = node.constant(1)
        both = [scale] if kind is RMSNormParams else [scale, node.constant(2, np.zeros_like(scale))]
        params = kind(*(leaf[np.argsort(order)] for leaf in both))
        return progress.then(constructor(node.number("epsilon", 1e-5)), params)

    return norm


def _softmax(constructor: Callable[[], Layer]) -> Operator:
    def softmax(node: Node, progress: Progress) -> Progress:
        rank = progress.index.ndim
        if rank == 1:
            return features(node, progress)[0].then(constructor())
        axis = node.axis(rank)
        return lined(node, progress, *(i for i in range(rank) if i != axis), axis).then(constructor())

    return softmax


def _elementwise(constructor: Callable[..., Layer], **defaults: float) -> Operator:
    """A layer whose arguments are floats among the attributes, each with its default in ONNX."""

    def elementwise(node: Node, progress: Progress) -> Progress:
        values = [node.number(name, otherwise) for name, otherwise in defaults.items()]
        return progress.then(constructor(*values))

    return elementwise


def _selu(node: Node, progress: Progress) -> Progress:
    given = node.number("alpha", 1.6732632), node.number("gamma", 1.0507010)
    node.check(np.allclose(given, (1.6732632, 1.0507010)), "the constants of Klambauer et al.", given)
    return progress.then(act.selu())


def _gelu(node: Node, progress: Progress) -> Progress:
    return progress.then(act.gelu(node.attributes.get("approximate", b"none") == b"tanh"))


def _dropout(node: Node, progress: Progress) -> Progress:
    return progress.then(dropout(float(node.constant(1, np.float32(0.5)))))


def _gather(node: Node, progress: Progress) -> Progress:
    table = node.constant(0)
    node.check(table.ndim == 2 and node.attributes.get("axis", 0) == 0, "rows of a table (n, features)", table.shape)
    progress = lined(node, progress, *range(progress.index.ndim))
    return progress.then(embedding(*table.shape), EmbeddingParams(table))


def _cast(node: Node, progress: Progress) -> Progress:
    """Inputs may be given as what they are cast to; later, only a cast that changes nothing is one."""
    dtype = node.attributes["to"]
    if not progress.layers:
        return attrs.evolve(progress, value=progress.value.astype(dtype))
    node.check(progress.value.dtype == dtype, progress.value.dtype.name, np.dtype(dtype).name)
    return progress


def _same(node: Node, progress: Progress) -> Progress:
    node.check(len(node.constants) == 1, "one input", len(node.constants))
    return progress


def _transpose(node: Node, progress: Progress) -> Progress:
    order = node.attributes.get("perm", range(progress.index.ndim, -1, -1))
    node.check(order[0] == 0, "the batch as the first axis", [*order])
    return attrs.evolve(progress, index=progress.index.transpose([axis - 1 for axis in order[1:]]))


def _rearranged(node: Node, progress: Progress) -> Progress:
    """Another shape, of which one size may be left to compute if the first one is the batch's."""
    sizes = [size if isinstance(size, int) else -1 for size in node.shape[1:]]
    open_ = sizes.count(-1)
    known = open_ == 0 or (open_ == 1 and node.shape[0] == node.batch is not None)
    fits = known and (math.prod(sizes) == progress.index.size if not open_ else progress.index.size % math.prod(sizes) == 0)
    node.check(fits, "a shape (batch, ...) of as many elements", node.shape)
    return attrs.evolve(progress, index=progress.index.reshape(sizes))


OPERATORS: Mapping[str, Operator] = {
    "Add": _bias,
    "AveragePool": _pool(avg_pool2d),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _same,
    "Conv": _conv,
    "Dropout": _dropout,
    "Elu": _elementwise(act.elu, alpha=1.0),
    "Flatten": _rearranged,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "Identity": _same,
    "LayerNormalization": _norm(layer_norm, LayerNormParams),
    "LeakyRelu": _elementwise(act.leaky_relu, alpha=0.01),
    "LogSoftmax": _softmax(act.log_softmax),
    "MatMul": _matmul,
    "MaxPool": _pool(max_pool2d),
    "RMSNormalization": _norm(rms_norm, RMSNormParams),
    "ReduceMean": _mean,
    "Relu": _elementwise(act.relu),
    "Reshape": _rearranged,
    "Selu": _selu,
    "Sigmoid": _elementwise(act.sigmoid),
    "Softmax": _softmax(act.softmax),
    "Softplus": _elementwise(act.softplus),
    "Squeeze": _rearranged,
    "Sum": _same,
    "Tanh": _elementwise(act.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _rearranged,
}
"""What is done for an operator with one input that is data."""


def _added(node: Node, start: Progress, parts: Sequence[Progress]) -> Progress:
    one = parts[0]
    alike = all(part.shape == one.shape and np.array_equal(part.index, one.index) for part in parts)
    node.check(alike, "branches of one shape and order", [part.index.shape for part in parts])
    return _together(add, start, parts, one.index)


def _concatenated(node: Node, start: Progress, parts: Sequence[Progress]) -> Progress:
    rank = parts[0].index.ndim
    axis = node.axis(rank)
    if rank == 1:
        parts = [features(node, part)[0] for part in parts]
        offsets = accumulate((part.index.size for part in parts), initial=0)
        index = np.concatenate([part.index + offset for part, offset in zip(parts, offsets, strict=False)])
        return _together(concatenate, start, parts, index)
    order = [*(i for i in range(rank) if i != axis), axis]
    done = _together(concatenate, start, [lined(node, part, *order) for part in parts])
    return attrs.evolve(done, index=plain(done.shape).transpose(np.argsort(order)))


def _multiplied(node: Node, start: Progress, parts: Sequence[Progress]) -> Progress:
    """x sigmoid(x)."""
    made = sorted(repr(in_a_row(part.layers)[0]) for part in parts)
    node.check(made == ["identity()", "sigmoid()"], "x sigmoid(x)", f"the product of {' and '.join(made)}")
    return start.then(act.silu())


def _together(constructor: Callable[..., Layer], start: Progress, parts: Sequence[Progress], index: Any = None) -> Progress:
    """The layer of layers that the branches make."""
    layers, params = zip(*(in_a_row(part.layers) for part in parts), strict=True)
    return start.then(constructor(*layers), params, index)


MERGES: Mapping[str, Callable[[Node, Progress, Sequence[Progress]], Progress]] = {
    "Add": _added,
    "Concat": _concatenated,
    "Mul": _multiplied,
    "Sum": _added,
}
"""What is done where branches meet."""
