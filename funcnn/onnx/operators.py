"""Read an operator of ONNX: it adds a layer with its params, or changes the order of the elements."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array
from funcnn.errors import InputError
from funcnn.layer import Layer
from funcnn.layers import activations as act
from funcnn.layers.batch_norm import BatchNormParams, batch_norm
from funcnn.layers.branches import add, concatenate
from funcnn.layers.combinators import identity
from funcnn.layers.dense import DenseParams, dense
from funcnn.layers.dropout import dropout
from funcnn.layers.embedding import EmbeddingParams, embedding
from funcnn.layers.normalization import LayerNormParams, RMSNormParams, layer_norm, rms_norm
from funcnn.onnx.images import IMAGES
from funcnn.onnx.progress import Node, Progress, Rule, as_one, biases_like, channels_last, features, in_order, index_of

__all__ = ["MERGES", "OPERATORS"]


def _affine(node: Node, progress: Progress, weights: Array, biases: Array) -> Progress:
    node.check(weights.ndim == 2, "weights (in, out)", weights.shape)
    progress, order = features(node, progress)
    node.check(len(weights) == order.size, f"weights ({order.size}, out)", weights.shape)
    return progress.then(dense(weights.shape[1]), DenseParams(weights[np.argsort(order)], biases)).ordered()


def _gemm(node: Node, progress: Progress) -> Progress:
    node.check(not node.attributes.get("transA"), "rows of samples", "columns (transA)")
    weights = node.constant(1) * progress.value.dtype.type(node.number("alpha", 1))
    weights = weights.T if node.attributes.get("transB") else weights
    biases = node.constant(2, np.zeros(1, weights.dtype)) * weights.dtype.type(node.number("beta", 1))
    return _affine(node, progress, weights, biases_like(node, biases, weights.shape[-1]))


def _matmul(node: Node, progress: Progress) -> Progress:
    weights = node.constant(1)
    return _affine(node, progress, weights, np.zeros(weights.shape[-1], weights.dtype))


def _bias(node: Node, progress: Progress) -> Progress:
    """An Add of a constant, which becomes biases of the dense layer before it."""
    more = next(constant for constant in node.constants if constant is not None)
    *before, (layer, params) = progress.layers or [(identity(), None)]
    if not isinstance(params, DenseParams) or not np.array_equal(progress.index, index_of(progress.shape)):
        raise InputError(node.place, "a bias behind a product with weights", f"a constant {more.shape}")
    whole = DenseParams(params.weights, params.biases + biases_like(node, more, len(params.biases)))
    return attrs.evolve(progress, layers=(*before, (layer, whole)))


def _batch_norm(node: Node, progress: Progress) -> Progress:
    node.check(not node.attributes.get("training_mode"), "a graph for inference", "training_mode")
    params = BatchNormParams(*(node.constant(i) for i in range(1, 5)))
    if progress.index.ndim > 1:
        progress = channels_last(node, progress)
    else:
        progress, order = features(node, progress)
        params = tree.map(itemgetter(np.argsort(order)), params)
    return progress.then(batch_norm(node.number("epsilon", 1e-5)), params)


def _norm(constructor: Callable[[float], Layer], kind: type[Any]) -> Rule:
    def norm(node: Node, progress: Progress) -> Progress:
        axis, last = node.axis(progress.index.ndim), progress.index.ndim - 1
        node.check(axis == last, f"the last axis, {last + 1}", axis + 1)
        progress, order = features(node, progress)
        scale = node.constant(1)
        both = [scale] if kind is RMSNormParams else [scale, node.constant(2, np.zeros_like(scale))]
        params = kind(*(leaf[np.argsort(order)] for leaf in both))
        return progress.then(constructor(node.number("epsilon", 1e-5)), params)

    return norm


def _softmax(constructor: Callable[[], Layer]) -> Rule:
    def softmax(node: Node, progress: Progress) -> Progress:
        rank = progress.index.ndim
        axis = node.axis(rank)
        if rank == 1:  # in any order
            return features(node, progress)[0].then(constructor())
        return in_order(node, progress, *(i for i in range(rank) if i != axis), axis).then(constructor())

    return softmax


def _elementwise(constructor: Callable[..., Layer], **defaults: float) -> Rule:
    """A layer whose arguments are float attributes; ``defaults`` are those of ONNX."""

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
    node.check(not node.constant(2, np.array(False)), "a graph for inference", "training_mode")
    return progress.then(dropout(float(node.constant(1, np.float32(0.5)))))


def _gather(node: Node, progress: Progress) -> Progress:
    table = node.constant(0)
    node.check(table.ndim == 2 and node.attributes.get("axis", 0) == 0, "rows of a table (n, features)", table.shape)
    progress = in_order(node, progress, *range(progress.index.ndim))
    return progress.then(embedding(*table.shape), EmbeddingParams(table)).ordered()


def _cast(node: Node, progress: Progress) -> Progress:
    """The first cast of the input sets the dtype that the model takes; a later cast must change nothing."""
    dtype = node.attributes["to"]
    if progress.untouched and not progress.is_cast:
        changes = progress.value.dtype != dtype
        return attrs.evolve(progress, value=progress.value.astype(dtype), is_cast=changes)
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
    """Another shape; one size may be unknown if the first one is the batch's."""
    sizes = [size if isinstance(size, int) else None for size in node.shape[1:]]
    if sizes.count(None) == 1 and node.shape[0] == node.batch is not None:
        left = progress.index.size // math.prod(size for size in sizes if size)
        sizes = [left if size is None else size for size in sizes]
    fits = None not in sizes and math.prod(size for size in sizes if size) == progress.index.size
    node.check(fits, "a shape (batch, ...) of as many elements", node.shape)
    return attrs.evolve(progress, index=progress.index.reshape(sizes))


OPERATORS: Mapping[str, Rule] = {
    **IMAGES,
    "Add": _bias,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _same,
    "Dropout": _dropout,
    "Elu": _elementwise(act.elu, alpha=1.0),
    "Flatten": _rearranged,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Identity": _same,
    "LayerNormalization": _norm(layer_norm, LayerNormParams),
    "LeakyRelu": _elementwise(act.leaky_relu, alpha=0.01),
    "LogSoftmax": _softmax(act.log_softmax),
    "MatMul": _matmul,
    "RMSNormalization": _norm(rms_norm, RMSNormParams),
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
"""For operators with one input that is data, by name."""


def _added(node: Node, start: Progress, parts: Sequence[Progress]) -> Progress:
    def alike(part: Progress) -> bool:
        return part.shape == parts[0].shape and np.array_equal(part.index, parts[0].index)

    if not all(map(alike, parts)):
        parts = [in_order(node, part, *range(part.index.ndim)) for part in parts]
    node.check(all(map(alike, parts)), "branches of one shape", [part.index.shape for part in parts])
    return attrs.evolve(_together(add, start, parts), index=parts[0].index)


def _concatenated(node: Node, start: Progress, parts: Sequence[Progress]) -> Progress:
    rank = parts[0].index.ndim
    axis = node.axis(rank)
    if rank == 1:
        parts = [features(node, part)[0] for part in parts]
        offsets = accumulate((part.index.size for part in parts), initial=0)
        index = np.concatenate([part.index + offset for part, offset in zip(parts, offsets, strict=False)])
        return attrs.evolve(_together(concatenate, start, parts), index=index)
    order = [*(i for i in range(rank) if i != axis), axis]
    return _together(concatenate, start, [in_order(node, part, *order) for part in parts]).ordered(*order)


def _multiplied(node: Node, start: Progress, parts: Sequence[Progress]) -> Progress:
    """x sigmoid(x)."""
    made = sorted(repr(as_one(part.layers)[0]) for part in parts)
    fits = made == ["identity()", "sigmoid()"] and all(np.array_equal(part.index, start.index) for part in parts)
    node.check(fits, "x sigmoid(x)", f"the product of {' and '.join(made)}")
    return start.then(act.silu())


def _together(constructor: Callable[..., Layer], start: Progress, parts: Sequence[Progress]) -> Progress:
    """The branches as one layer."""
    layers, params = zip(*(as_one(part.layers) for part in parts), strict=True)
    return start.then(constructor(*layers), params)


MERGES: Mapping[str, Callable[[Node, Progress, Sequence[Progress]], Progress]] = {
    "Add": _added,
    "Concat": _concatenated,
    "Mul": _multiplied,
    "Sum": _added,
}
"""For operators where branches meet, by name."""
