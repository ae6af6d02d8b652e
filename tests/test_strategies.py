"""What the strategies draw is valid, and any architecture obeys the laws of a layer."""

import re

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings, strategies as st

import funcnn as fn
from funcnn import Key, tree
from funcnn.testing import assert_pure, check_vjp, strategies as fst

SHAPES = st.sampled_from([(3,), (4, 4, 2), (2, 3)])


@settings(max_examples=30)
@given(st.data(), SHAPES, fst.keys())
def test_the_gradient_of_any_architecture_is_that_of_central_differences(data, in_shape, key):
    layer = data.draw(fst.layers(in_shape))
    params = data.draw(fst.params_for(layer, in_shape))
    x = key.at("x").normal((2, *in_shape), np.float64)
    mode = fn.Training(key.at("mode"))
    assert_pure(layer.forward, params, x, mode)
    check_vjp(layer, params, x, key, mode=mode)


@settings(max_examples=30)
@given(st.data(), fst.batches((3,), 2))
def test_any_architecture_trains(data, batch):
    model = fn.serial(data.draw(fst.layers((3,))), fn.dense(2))
    params, _ = model.init(Key(0), (3,))
    step = fn.train_step(model, fn.softmax_cross_entropy(), fn.adam())
    _, state = step(params, step.init(params, Key(1)), batch)
    assert np.isfinite(state.metrics["loss"])


@pytest.mark.parametrize(
    ("in_shape", "examples", "kinds"),
    [
        ((3,), 100, {"dense", "dropout", "relu", "softmax", "layer_norm", "residual", "concatenate", "add", "repeat"}),
        ((4, 4, 2), 20, {"conv2d", "max_pool2d", "avg_pool2d", "flatten", "residual"}),
    ],
)
def test_every_kind_of_layer_is_drawn(in_shape, examples, kinds):
    drawn = set()

    @settings(max_examples=examples, phases=[Phase.generate])
    @given(fst.layers(in_shape))
    def note(layer):
        drawn.update(re.findall(r"\w+(?=\()", repr(layer)))

    note()
    assert kinds <= drawn


@given(fst.arrays((3,), bound=0.1))
def test_a_bound_need_not_be_exact_in_binary(array):
    assert np.abs(array).max() <= np.float32(0.1)


@given(fst.arrays((2, 3), bound=2.0), fst.labels(4, 3), fst.batches((5,), 3))
def test_shapes_dtypes_and_bounds(array, labels, batch):
    assert (array.shape, array.dtype) == ((2, 3), np.float32)
    assert np.abs(array).max() <= 2
    assert labels.shape == (4,)
    assert set(labels.tolist()) <= {0, 1, 2}
    assert batch.inputs.shape == (len(batch.targets), 5)
    assert batch.weights is None or (batch.weights > 0).all()


def test_params_are_random_in_every_leaf():
    params = find(fst.params_for(fn.dense(3), (2,)), lambda params: True)
    assert all(np.all(leaf != 0) for leaf in tree.leaves(params))
