"""A section of a report to draw on: the page holds the model and classifies a drawing at once.

``drawing.js`` is the canvas. ``picture.js`` repeats ``funcnn/data/normalize.py``, and ``network.js`` the layers; tests
hold them equal.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from toolz import groupby

import funcnn as fn
from funcnn import tree
from funcnn.arrays import Array, Shape
from funcnn.data.datasets import SCALINGS, check_scaling
from funcnn.data.normalize import SIDE
from funcnn.errors import require
from funcnn.layer import Params, shapes_of
from funcnn.outline import Part, outline
from funcnn.runs.experiment import Section
from funcnn.runs.sections import rendered

LAYERS = (
    *("dense", "conv2d", "max_pool2d", "avg_pool2d", "batch_norm", "softmax", "log_softmax"),
    *("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "sigmoid", "tanh"),
    *("identity", "dropout", "flatten", "reshape"),
)
"""The layers that ``network.js`` computes, composed by ``serial`` and ``repeat``."""

SHAPES = ((SIDE * SIDE,), (SIDE, SIDE), (SIDE, SIDE, 1))
"""The shapes of MNIST's pictures as inputs."""

MOST_BYTES = 1_000_000
"""The most bytes of a model's arrays; in the page, three bytes take four letters."""


def drawing_section(
    model: fn.Layer, params: Params, in_shape: Shape, scaling: str, class_names: Sequence[str]
) -> Section:
    """A canvas to draw on with mouse, finger or keys, the image that the model sees, and its probabilities.

    Args:
        model: A classifier of :data:`LAYERS`; its outputs are logits or probabilities.
        params: Its params. In the page matrices have half precision, vectors single precision.
        in_shape: One of :data:`SHAPES`.
        scaling: The name of the inputs' scaling.
        class_names: The name of each label.

    Raises:
        InputError: The page does not know a layer, the shape or the scaling; the params belong to another model, do not
            fit in half precision or have more than :data:`MOST_BYTES`; or there are not as many names as outputs.
    """
    where = "drawing_section"
    require(in_shape in SHAPES, where, f"inputs {', '.join(map(str, SHAPES))}", in_shape)
    check_scaling(where, scaling)
    _, out_shape = shapes_of(model, in_shape)
    require(out_shape == (len(class_names),), where, f"an output for each of {len(class_names)} names", out_shape)
    data = {"scaling": SCALINGS[scaling], **in_page(model, params, in_shape)}
    return Section("Draw", rendered("drawing", data, class_names, SIDE))


def in_page(model: fn.Layer, params: Params, in_shape: Shape) -> dict[str, Any]:
    """A model for ``network.js``: its layers with their settings, and their arrays in base64, in the same order.

    Raises:
        InputError: As :func:`drawing_section`.
    """
    dtype = next((leaf.dtype for leaf in tree.leaves(params)), np.float32)
    fn.predict(model, params, np.zeros((1, *in_shape), dtype))  # refuses params of another model
    leaves = groupby(lambda leaf: leaf[0].rpartition(".")[0], tree.leaves_with_paths(params))
    layers, arrays = [], b""
    for part in _parts(outline(model, in_shape)):
        own = {path.rpartition(".")[2]: leaf for path, leaf in leaves.get(part.path, ())}
        layers.append(_settings(part, own))
        arrays += b"".join(_encoded(f"drawing_section {part.path} {name}", leaf) for name, leaf in own.items())
    require(len(arrays) <= MOST_BYTES, "drawing_section", f"a model of at most {MOST_BYTES:,} bytes", len(arrays))
    return {"layers": layers, "arrays": base64.b64encode(arrays).decode()}


def _parts(part: Part) -> Iterator[Part]:
    """The layers that the page computes in sequence."""
    name = part.layer.spec.name if part.layer.spec else ""
    if name in ("serial", "repeat"):
        for inner in part.parts:
            yield from _parts(inner)
    else:
        where = f"drawing_section {part.path} {part.layer}"
        require(name in LAYERS, where, f"a layer that the page knows, {', '.join(LAYERS)}", name or "another")
        yield part


def _settings(part: Part, params: dict[str, Array]) -> dict[str, Any]:
    """A layer for the page: its arguments without initializers, and the shapes of inputs, outputs and params."""
    assert part.layer.spec  # as _parts checked
    arguments = {name: value for name, value in part.layer.spec.arguments.items() if name not in params}
    shapes = [(name, leaf.shape) for name, leaf in params.items()]  # in the order in which they are read
    return {**arguments, "name": part.layer.spec.name, "shape": part.in_shape, "out": part.out_shape, "params": shapes}


def _encoded(where: str, leaf: Array) -> bytes:
    """The bytes of an array: half precision for matrices and kernels, single precision for vectors, which are small."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(leaf).astype("<f2" if leaf.ndim > 1 else "<f4")
    require(bool(np.isfinite(rounded).all()), where, "finite numbers up to 65504", "others")
    return rounded.tobytes()
