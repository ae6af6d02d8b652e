"""Penalties: their gradient is the derivative of their value, and a step adds both."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import Batch, InputError, Key, tree
from funcnn.testing import assert_pure, assert_trees_close
from funcnn.testing.laws import randomized
from tests.catalogue import PENALTIES

MODEL = fn.serial(fn.dense(4), fn.tanh(), fn.dense(3))
PARAMS = randomized(MODEL.init(Key(0), (5,), dtype=np.float64)[0], Key(1))


def check_derivative(penalty, gradient):
    direction = randomized(PARAMS, Key(2))
    ahead, behind = (penalty.value(tree.map(lambda p, u, h=h: p + h * u, PARAMS, direction)) for h in (1e-6, -1e-6))
    slope = sum(float(np.sum(g * u)) for g, u in zip(tree.leaves(gradient), tree.leaves(direction), strict=True))
    assert (ahead - behind) / 2e-6 == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_laws(penalty):
    assert_pure(penalty.value, PARAMS)
    assert_pure(penalty.gradient, PARAMS)
    check_derivative(penalty, penalty.gradient(PARAMS))
    with pytest.raises(AssertionError):
        check_derivative(penalty, tree.map(lambda leaf: 2 * leaf, penalty.gradient(PARAMS)))


def test_masks_choose_by_path():
    assert not np.any(fn.l2(1.0).gradient(PARAMS)[0].biases)
    assert np.any(fn.l2(1.0, mask="*").gradient(PARAMS)[0].biases)
    assert not np.any(fn.l2(1.0, mask="0.*").gradient(PARAMS)[2].weights)
    assert fn.l1(1.0).gradient({"weights": np.zeros(3)})["weights"].tolist() == [0.0, 0.0, 0.0]


def test_a_step_adds_the_penalty_once():
    loss, penalty = fn.softmax_cross_entropy(), fn.l2(0.1)
    batch = Batch(Key(3).normal((6, 5), np.float64), np.arange(6) % 3)
    step = fn.train_step(MODEL, loss, fn.sgd(0.5), penalty=penalty)
    after, state = step(PARAMS, step.init(PARAMS, Key(0)), batch)
    value, grads, _ = fn.loss_and_gradient(MODEL, loss, PARAMS, batch)
    expected = tree.map(lambda p, g, q: p - 0.5 * (g + q), PARAMS, grads, penalty.gradient(PARAMS))
    assert_trees_close(after, expected, rtol=1e-12)
    assert state.metrics["penalty"] == pytest.approx(float(penalty.value(PARAMS)))
    assert state.metrics["loss"] == float(value)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="l2: expected a strength of at least 0, got -1"):
        fn.l2(-1)
