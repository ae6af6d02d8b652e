"""A section of a report to draw on: the page holds the model, and says at once what it takes a drawing for.

``picture.js`` makes of a drawing what ``funcnn/data/normalize.py`` makes of a picture, ``network.js`` computes the
model, ``drawing.js`` is the paper. A test holds the first two equal to what they repeat.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from toolz import groupby

import funcnn as fn
from funcnn import tree
from funcnn.arrays import Array, Shape
from funcnn.data import SCALINGS
from funcnn.data.normalize import SIDE
from funcnn.errors import is_one_of, require
from funcnn.layer import Params, Part, outline
from funcnn.runs.experiment import Section
from funcnn.runs.sections import rendered
from funcnn.spec import to_plain

LAYERS = (
    *("dense", "conv2d", "max_pool2d", "avg_pool2d", "batch_norm", "softmax", "log_softmax"),
    *("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "sigmoid", "tanh"),
    *("identity", "dropout", "flatten", "reshape"),
)
"""The layers that ``network.js`` computes, composed by ``serial`` and ``repeat``."""

MOST_BYTES = 1_000_000
"""How many the arrays of a model may have in the page, where each three of them take four letters."""


def drawing_section(
    model: fn.Layer, params: Params, in_shape: Shape, scaling: str, class_names: Sequence[str], title: str = "Draw"
) -> Section:
    """A paper to draw on with mouse, finger or keys, what the model sees of the drawing, and its probabilities.

    Args:
        model: A classifier of :data:`LAYERS`; its outputs are logits or probabilities.
        params: Its params. In the page matrices have half precision, vectors single precision.
        in_shape: That of MNIST's pictures, (784,), (28, 28) or (28, 28, 1).
        scaling: The name of the scaling of the inputs.
        class_names: The name of each label.
        title: The heading.

    Raises:
        InputError: A layer that the page does not know, weights that half precision cannot hold or that are more than
            :data:`MOST_BYTES`, another shape or scaling, or not as many names as classes.
    """
    where, shapes = "drawing_section", ((SIDE * SIDE,), (SIDE, SIDE), (SIDE, SIDE, 1))
    require(in_shape in shapes, where, f"inputs {', '.join(map(str, shapes))}", in_shape)
    require(is_one_of(scaling, SCALINGS), where, f"a scaling of {', '.join(SCALINGS)}", repr(scaling))
    (_, *out_shape) = fn.predict(model, params, np.zeros((1, *in_shape), np.float32)).shape
    require(out_shape == [len(class_names)], where, f"an output for each of {len(class_names)} names", out_shape)
    parts = [*_parts(outline(model, in_shape))]
    leaves = groupby(lambda leaf: leaf[0].rpartition(".")[0], tree.leaves_with_paths(params))
    owned = [(part, {path.rpartition(".")[2]: leaf for path, leaf in leaves.get(part.path, ())}) for part in parts]
    content = b"".join(_encoded(path, leaf) for part in parts for path, leaf in leaves.get(part.path, ()))
    require(len(content) <= MOST_BYTES, where, f"a model of at most {MOST_BYTES:,} bytes in the page", len(content))
    data = {
        "scaling": SCALINGS[scaling],
        "layers": [_settings(part, own) for part, own in owned],
        "arrays": base64.b64encode(content).decode(),
    }
    return Section(title, rendered("drawing", data, class_names, SIDE))


def _parts(part: Part) -> Iterator[Part]:
    """The layers that the page computes one after another."""
    name = part.layer.spec.name if part.layer.spec else ""
    if name in ("serial", "repeat"):
        for inner in part.parts:
            yield from _parts(inner)
    else:
        where = f"drawing_section {part.path} {part.layer}"
        require(name in LAYERS, where, f"a layer that the page knows, {', '.join(LAYERS)}", name or "another")
        yield part


def _settings(part: Part, params: dict[str, Array]) -> dict[str, Any]:
    """A layer as the page makes it: its arguments but for initializers, and the shapes of all it takes and gives."""
    arguments = to_plain(part.layer)["arguments"]
    plain = {name: value for name, value in arguments.items() if name not in params}
    shapes = {name: leaf.shape for name, leaf in params.items()}
    return {**plain, "name": part.layer.spec.name, "shape": part.in_shape, "out": part.out_shape, "params": shapes}


def _encoded(path: str, leaf: Array) -> bytes:
    """The bytes of an array: half precision for matrices, whose errors cancel, single precision for vectors."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(leaf).astype("<f2" if leaf.ndim > 1 else "<f4")
    require(bool(np.isfinite(rounded).all()), f"drawing_section {path}", "numbers up to 65504", "others")
    return rounded.tobytes()
