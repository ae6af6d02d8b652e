"""Read ONNX's operators on images and sequences (batch, channels, ...)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from funcnn.arrays import Array
from funcnn.errors import InputError
from funcnn.layer import Layer
from funcnn.layers.convolution import Conv2dParams, conv1d, conv2d, conv2d_transpose
from funcnn.layers.resampling import avg_pool2d, global_avg_pool, max_pool2d, upsample2d
from funcnn.layers.windows import Pair, Windows
from funcnn.onnx.progress import Node, Progress, Rule, biases_like, channels_last, in_order

__all__ = ["IMAGES"]


def _conv(node: Node, progress: Progress) -> Progress:
    progress, weights = channels_last(node, progress), np.moveaxis(node.constant(1), (0, 1), (-1, -2))
    *size, _, features = weights.shape
    stride = _stride(node, len(size))
    same, pads = _pads(node, _two(size), _two(stride), _two(progress.shape[:-1]))
    layer: Layer
    if len(size) == 1:
        causal = pads[1] == (size[0] - 1, 0) and pads != same
        padding = {"causal": True} if causal else _padding(node, same, pads)
        layer, weights = conv1d(features, size[0], stride=stride[0], **padding), weights[None]
    else:
        layer = conv2d(features, _short(size), stride=_short(stride), **_padding(node, same, pads))
    return _convolved(node, progress, layer, weights)


def _conv_transpose(node: Node, progress: Progress) -> Progress:
    progress, weights = channels_last(node, progress), np.moveaxis(node.constant(1), (0, 1), (-2, -1))
    *size, _, features = weights.shape
    node.check(len(size) == 2 and "output_shape" not in node.attributes, "windows of two axes", size)
    stride = _stride(node, 2)
    grown = [n * step for n, step in zip(progress.shape[:-1], stride, strict=True)]
    same, pads = _pads(node, _two(size), _two(stride), _two(grown))
    gaps = [max(step - n, 0) for n, step in zip(size, stride, strict=True)]
    more = [*node.attributes.get("output_padding", [0, 0])]
    node.check(more == gaps, f"output_padding {gaps}", more)
    layer = conv2d_transpose(features, _short(size), stride=_short(stride), **_padding(node, same, pads))
    return _convolved(node, progress, layer, weights)


def _convolved(node: Node, progress: Progress, layer: Layer, weights: Array) -> Progress:
    biases = biases_like(node, node.constant(2, np.zeros(1, weights.dtype)), weights.shape[-1])
    return _channels_first(progress.then(layer, Conv2dParams(np.ascontiguousarray(weights), biases)))


def _pool(constructor: Callable[..., Layer]) -> Rule:
    def pool(node: Node, progress: Progress) -> Progress:
        size = tuple(node.attributes["kernel_shape"])
        stride = _stride(node, len(size))
        node.check(len(size) == 2, "windows of two axes", size)
        node.check(not node.attributes.get("ceil_mode"), "windows inside the image", "ceil_mode")
        progress = channels_last(node, progress)
        _, pads = _pads(node, _two(size), _two(stride), _two(progress.shape[:-1]))
        node.check(pads == _NONE, "no pads", pads, "no pool of funcnn pads")
        options = {} if stride == size else {"stride": _short(stride)}
        return _channels_first(progress.then(constructor(_short(size), **options)))

    return pool


def _global_pool(node: Node, progress: Progress) -> Progress:
    return _averaged(node, progress, {*range(1, progress.index.ndim)}, keep=True)


def _mean(node: Node, progress: Progress) -> Progress:
    rank = progress.index.ndim
    axes = [*node.attributes["axes"]] if "axes" in node.attributes else node.constant(1).tolist()
    node.check(not {0, -rank - 1} & {*axes}, "axes behind the batch", axes)
    behind = {axis - 1 if axis > 0 else rank + axis for axis in axes}
    return _averaged(node, progress, behind, keep=bool(node.attributes.get("keepdims", 1)))


def _averaged(node: Node, progress: Progress, axes: set[int], keep: bool) -> Progress:
    """The mean over these axes, which must leave one axis."""
    kept = sorted({*range(progress.index.ndim)} - axes)
    fits = len(kept) == 1 and len(axes) > 0
    node.check(fits, "a mean over all axes but batch and channels", f"one that keeps {kept}")
    done = in_order(node, progress, *sorted(axes), *kept).then(global_avg_pool()).ordered()
    return attrs.evolve(done, index=np.expand_dims(done.index, sorted(axes))) if keep else done


def _resize(node: Node, progress: Progress) -> Progress:
    names = ("mode", "coordinate_transformation_mode", "nearest_mode")
    how = tuple(node.attributes.get(name) for name in names)
    node.check(how == (b"nearest", b"asymmetric", b"floor"), "mode nearest, asymmetric and floor", how)
    fixed = len(node.shape) == 4 and all(isinstance(size, int) for size in node.shape[1:])
    node.check(fixed, "images of a size that is known", node.shape)
    times = (np.array(node.shape[1:], float) / progress.index.shape).tolist()
    kept = times.index(min(times))
    down, right = (axis for axis in range(3) if axis != kept)
    whole = times[kept] == 1 and times[down] == times[right] == int(times[down])
    node.check(whole, "height and width times one whole number", times)
    return in_order(node, progress, down, right, kept).then(upsample2d(int(times[down]))).ordered(down, right, kept)


IMAGES: Mapping[str, Rule] = {
    "AveragePool": _pool(avg_pool2d),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_pool,
    "MaxPool": _pool(max_pool2d),
    "ReduceMean": _mean,
    "Resize": _resize,
}

_NONE = [(0, 0), (0, 0)]


def _stride(node: Node, rank: int) -> tuple[int, ...]:
    """The steps between windows; raises for windows that funcnn does not have."""
    node.check(rank in (1, 2), "windows of one or two axes", rank)
    for name, ones in (("group", 1), ("dilations", [1] * rank)):
        given = node.attributes.get(name, ones)
        node.check(given == ones, f"{name} {ones}", given)
    return tuple(node.attributes.get("strides", (1,) * rank))


def _pads(node: Node, size: Pair, stride: Pair, image: Pair) -> tuple[list[Pair], list[Pair]]:
    """The pads of funcnn's padding "same", and the operator's: before and after, by height and width."""
    same = Windows(size, stride, "same").pads(image)
    match node.attributes.get("auto_pad", b"NOTSET"):
        case b"SAME_UPPER":
            return same, same
        case b"VALID":
            return same, _NONE
        case b"NOTSET":
            pads = [*node.attributes.get("pads", [0] * 4)]
            half = len(pads) // 2
            return same, [*_NONE, *zip(pads[:half], pads[half:], strict=True)][-2:]
        case other:
            raise InputError(node.place, "auto_pad NOTSET, VALID or SAME_UPPER", other)


def _padding(node: Node, same: list[Pair], pads: list[Pair]) -> dict[str, Any]:
    """The padding as an argument of a convolution."""
    node.check(pads in (same, _NONE), f"pads {same} or none", pads, "no layer pads otherwise")
    return {} if pads == same else {"padding": "valid"}


def _channels_first(progress: Progress) -> Progress:
    """Outputs that are (batch, channels, ...) in ONNX."""
    return progress.ordered(*range(1, len(progress.shape)), 0)


def _two(sizes: Sequence[int]) -> Pair:
    """Height and width; a sequence is an image of one row."""
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _short(pair: Sequence[int]) -> int | Pair:
    return pair[0] if pair[0] == pair[1] else (pair[0], pair[1])
