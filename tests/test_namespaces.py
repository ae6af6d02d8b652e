"""One code for every array library: the catalogue on array-api-strict, which knows the standard and nothing else."""

import array_api_strict
import numpy as np
import pytest

import funcnn as fn
from funcnn import INFERENCE, Key, tree
from funcnn.testing import assert_trees_close
from funcnn.testing.laws import randomized
from funcnn.testing.layers import batch_of, normal_inputs
from tests.catalogue import LAYERS, LOSSES, OPTIMIZERS


def strict(values):
    """A tree's NumPy arrays as array-api-strict's."""
    return tree.map(lambda leaf: array_api_strict.asarray(np.array(leaf)), values)


def back(values):
    return tree.map(np.asarray, values)


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=str)
def test_layers(layer, in_shape):
    params, _ = layer.init(Key(0), in_shape, dtype=np.float64)
    params, x = randomized(params, Key(1)), batch_of(in_shape, Key(2), 3, normal_inputs)
    y, residuals = layer.forward(params, x, INFERENCE)
    strict_y, strict_residuals = layer.forward(strict(params), strict(x), INFERENCE)
    assert_trees_close(back(strict_y), y, rtol=1e-10, atol=1e-10)
    dy = randomized(y, Key(3))
    found = layer.vjp(strict(params), strict_residuals, strict(dy))
    assert_trees_close(back(found), layer.vjp(params, residuals, dy), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=str)
def test_losses(loss, draw):
    outputs, targets = draw(Key(0), 5)
    value, residuals = loss.forward(outputs, targets)
    strict_value, strict_residuals = loss.forward(strict(outputs), strict(targets))
    assert float(strict_value) == pytest.approx(float(value))
    assert_trees_close(back(loss.vjp(strict_residuals)), loss.vjp(residuals), rtol=1e-10, atol=1e-10)


# Skipping decides by an array, which turns the step counter into one too; the standard, unlike JAX and torch, has no
# arithmetic of integer arrays with Python's floats.
BY_THE_STANDARD = [optimizer for optimizer in OPTIMIZERS if optimizer.spec.name != "skip_if_not_finite"]


@pytest.mark.parametrize("optimizer", BY_THE_STANDARD, ids=str)
def test_optimizers(optimizer):
    params = {"w": Key(0).normal((3, 4), np.float64), "b": (Key(1).normal((4,), np.float64),)}
    state, strict_state = optimizer.init(params), optimizer.init(strict(params))
    for i in range(3):
        grads = tree.map(lambda leaf, i=i: Key(2).at(i).normal(leaf.shape, np.float64), params)
        updates, state = optimizer.update(grads, state, params)
        strict_updates, strict_state = optimizer.update(strict(grads), strict_state, strict(params))
        assert_trees_close(back(strict_updates), updates, rtol=1e-10, atol=1e-10)


def test_metrics():
    outputs = fn.predict(fn.softmax(), (), Key(0).normal((50, 4), np.float64))
    targets, weights = Key(1).permutation(50) % 4, Key(2).uniform((50,), np.float64)
    kinds = fn.accuracy, fn.metrics.top_k_accuracy(2), fn.metrics.negative_log_likelihood
    for metric in (*kinds, fn.metrics.confusion_matrix, fn.metrics.reliability):
        for given in (None, weights):
            expected = metric(outputs, targets, given)
            found = metric(strict(outputs), strict(targets), None if given is None else strict(given))
            assert_trees_close(np.asarray(found, np.float64), np.asarray(expected, np.float64), rtol=1e-10)
