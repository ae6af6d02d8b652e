"""What onnxruntime says of each layer that is exported, beside what funcnn says.

python -m tests.onnx_table [NUMBER]

It prints the table of layers, and tries so many random architectures, 500 unless told.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from hypothesis import HealthCheck, given, settings, strategies as st

import funcnn as fn
from funcnn import onnx, tree
from funcnn.testing import strategies
from funcnn.testing.laws import as_dtype, batch_of, normal_inputs, randomized
from tests.catalogue import LAYERS, LAYERS_OF_INDICES, indices

ROWS = [*((*row, normal_inputs) for row in LAYERS), *((*row, indices) for row in LAYERS_OF_INDICES)]
"""A layer, the shape of its inputs, and how these are drawn."""

SHAPES = [(4,), (2, 3), (4, 5, 2), (6, 6, 1), ()]
"""Of the inputs of random architectures."""


def drawn(layer, in_shape, draw):
    """Random params of a layer, and a batch of inputs."""
    params, _ = layer.init(fn.Key(0), in_shape)
    return randomized(params, fn.Key(1)), as_dtype(batch_of(in_shape, fn.Key(2), 3, draw), np.float32)


def served(path, x):
    """What onnxruntime gives for the inputs, in order."""
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, tree.leaves(x), strict=True)))


def difference(layer, params, x, found):
    """The largest one between what was found and funcnn's outputs, which have to be alike in shape and dtype.

    It is relative to outputs larger than 1.
    """
    expected = tree.leaves(fn.predict(layer, params, x))
    assert [tree.kind(leaf) for leaf in found] == [tree.kind(leaf) for leaf in expected]
    return max(float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b)))) for a, b in zip(found, expected, strict=True))


def exported(path, layer, params, in_shape, x):
    """The largest difference between funcnn's outputs and those of onnxruntime, for the layer as a file."""
    onnx.export(path, layer, params, in_shape)
    return difference(layer, params, x, served(path, x))


def loaded(path, layer, params, x):
    """The largest difference between the outputs of a layer and of what its file is loaded as."""
    saved = onnx.load(path)
    return difference(layer, params, x, [fn.predict(saved.model, saved.params, x)])


@st.composite
def cases(draw):
    """A random architecture, its params and inputs, and the shape of these."""
    in_shape = draw(st.sampled_from(SHAPES))
    layer = draw(strategies.layers(in_shape))
    params = draw(strategies.params_for(layer, in_shape, np.float32))
    return layer, params, in_shape, draw(strategies.keys()).normal((3, *in_shape))


def main(number):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.onnx"
        print("| layer | inputs | exported | onnxruntime agrees | largest difference | loaded again |")
        print("|---|---|---|---|---:|---|")
        for layer, in_shape, draw in ROWS:
            params, x = drawn(layer, in_shape, draw)
            found = exported(path, layer, params, in_shape, x)
            try:
                again = "yes" if loaded(path, layer, params, x) < 1e-5 else "no"
            except fn.InputError as error:
                again = str(error).partition(": ")[2].partition("; ")[0]
            print(f"| `{layer}` | {in_shape} | yes | {'yes' if found < 1e-5 else 'no'} | {found:.1e} | {again} |")
        worst = [0.0, 0.0]

        @settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(cases())
        def tried(case):
            layer, params, in_shape, x = case
            worst[0] = max(worst[0], exported(path, layer, params, in_shape, x))
            worst[1] = max(worst[1], loaded(path, layer, params, x))

        tried()
        print(f"\n{number} random architectures: {worst[0]:.1e} at most in onnxruntime, {worst[1]:.1e} loaded again")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
