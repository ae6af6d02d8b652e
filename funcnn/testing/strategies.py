"""Hypothesis strategies: keys, arrays, labels, batches, architectures, and params for them.

Import the module by name, ``from funcnn.testing import strategies``; it takes the extra ``test``.

    @given(strategies.layers((4,)), strategies.keys())
    def test_any_layer(layer, key): ...
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import funcnn as fn
from funcnn.arrays import Array, Shape
from funcnn.keys import Key
from funcnn.layer import Layer, Params
from funcnn.testing.laws import randomized
from funcnn.training import Batch

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as numpy_strategies
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; the strategies take the extra `test`: pip install 'funcnn[test]'") from None

ELEMENTWISE: Sequence[Callable[[], Layer]] = (
    *(fn.relu, fn.leaky_relu, fn.elu, fn.selu, fn.gelu, fn.silu, fn.softplus, fn.sigmoid, fn.tanh),
    fn.identity,
)
"""Constructors of layers that take any shape and keep it."""

NORMALIZING: Sequence[Callable[[], Layer]] = (fn.softmax, fn.log_softmax, fn.layer_norm, fn.rms_norm)
"""Constructors of layers that take any shape of one axis or more, and keep it."""


def keys() -> st.SearchStrategy[Key]:
    """Keys with any seed and a short path."""
    labels = st.integers(0, 99) | st.text("abc", min_size=1, max_size=3)
    return st.builds(Key, st.integers(0, 2**64 - 1), st.lists(labels, max_size=3).map(tuple))


def arrays(shape: Shape, dtype: Any = np.float32, *, bound: float = 10.0) -> st.SearchStrategy[Array]:
    """Arrays of finite numbers in [-bound, bound]; zeros and repeated numbers occur."""
    width = 8 * np.dtype(dtype).itemsize
    within = float(np.dtype(dtype).type(bound))
    numbers = st.floats(-within, within, width=width, allow_subnormal=False)
    return numpy_strategies.arrays(dtype, shape, elements=numbers)


def labels(batch: int, classes: int) -> st.SearchStrategy[Array]:
    """Integers (batch,) from 0 to ``classes`` - 1."""
    return numpy_strategies.arrays(np.int64, (batch,), elements=st.integers(0, classes - 1))


@st.composite
def batches(
    draw: Callable[..., Any], in_shape: Shape, classes: int, *, largest: int = 8, dtype: Any = np.float32
) -> Batch:
    """Batches of 1 to ``largest`` samples with labels, with and without weights."""
    size = draw(st.integers(1, largest))
    weights = numpy_strategies.arrays(np.float64, (size,), elements=st.floats(0.1, 10)).map(lambda w: w.astype(dtype))
    return Batch(
        draw(arrays((size, *in_shape), dtype)), draw(labels(size, classes)), draw(st.one_of(st.none(), weights))
    )


def params_for(layer: Layer, in_shape: Shape, dtype: Any = np.float64) -> st.SearchStrategy[Params]:
    """Params of ``layer`` with random values in every leaf, biases too: zeros would sit on the kink of a ReLU."""
    template, _ = layer.init(Key(0), in_shape, dtype=dtype)
    return keys().map(lambda key: randomized(template, key))


@st.composite
def layers(draw: Callable[..., Any], in_shape: Shape, *, largest: int = 4) -> Layer:
    """Architectures for inputs of ``in_shape``: up to ``largest`` layers in a row, some of them combinators."""
    chosen: list[Layer] = []
    shape = in_shape
    for _ in range(draw(st.integers(0, largest))):
        layer = draw(_layer(shape, depth=2))
        _, shape = layer.init(Key(0), shape)
        chosen.append(layer)
    return fn.serial(*chosen)


def _layer(shape: Shape, depth: int) -> st.SearchStrategy[Layer]:
    """One layer that takes ``shape``; with ``depth`` above 0, it may be a combination of layers."""
    kinds = [_keeping(shape), st.just(fn.flatten())]
    if len(shape) == 1:
        kinds.append(st.integers(1, 5).map(fn.dense))
    if len(shape) == 3:
        kinds.append(st.builds(fn.conv2d, st.integers(1, 3), st.integers(1, 3), stride=st.integers(1, 2)))
        window = min(2, *shape[:2])
        kinds.append(st.sampled_from([fn.max_pool2d, fn.avg_pool2d]).map(lambda pool: pool(window)))
    if depth > 0:
        kinds.append(_combined(shape, depth))
    return st.one_of(kinds)


def _keeping(shape: Shape) -> st.SearchStrategy[Layer]:
    """A layer that keeps ``shape``."""
    constructors = st.sampled_from([*ELEMENTWISE, *(NORMALIZING if shape else ())])
    return constructors.map(lambda constructor: constructor()) | st.floats(0, 0.9).map(fn.dropout)


def _combined(shape: Shape, depth: int) -> st.SearchStrategy[Layer]:
    """A combination of layers; layers that must agree on a shape keep ``shape``."""
    keeping = _keeping(shape)
    if len(shape) == 1:
        keeping |= st.just(fn.dense(shape[0]))
    row = st.lists(keeping, min_size=1, max_size=2).map(lambda layers: fn.serial(*layers))
    kinds = [row.map(fn.residual), st.builds(fn.add, row, row), st.builds(fn.repeat, st.integers(1, 2), keeping)]
    if len(shape) == 1:
        kinds.append(st.builds(fn.concatenate, _layer(shape, depth - 1), row))
    return st.one_of(kinds)
