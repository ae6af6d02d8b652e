"""One code for every array library: the catalogue on array-api-strict, which knows the standard alone, and on torch.

Torch is no dependency, of the tests either; where it is not installed, its half is skipped and says so. On JAX, some
arguments may be NumPy's arrays, as in ``jax.jit(lambda params: loss_of(params, samples))``.
"""

from itertools import chain, combinations

import array_api_strict
import jax
import numpy as np
import pytest

import funcnn.jax  # noqa: F401  JAX knows records
from funcnn import INFERENCE, Key, Layer, pullback, relu, tree
from funcnn.testing import assert_trees_close
from funcnn.testing.laws import randomized
from funcnn.testing.layers import batch_of, normal_inputs
from tests.catalogue import LAYERS, LAYERS_OF_INDICES, LOSSES, METRICS, OPTIMIZERS, indices, named


@pytest.fixture(params=["array-api-strict", "torch"])
def convert(request):
    """A function from a tree of NumPy arrays to one of the library's."""
    if request.param == "torch":
        asarray = pytest.importorskip("torch", reason="torch is not installed").asarray
    else:
        asarray = array_api_strict.asarray
    return lambda values: tree.map(lambda leaf: asarray(np.array(leaf)), values)


def back(values):
    return tree.map(np.asarray, values)


ROWS = [(*row, normal_inputs) for row in LAYERS] + [(*row, indices) for row in LAYERS_OF_INDICES]


@pytest.mark.parametrize(("layer", "in_shape", "inputs"), ROWS, ids=named)
def test_layers(convert, layer, in_shape, inputs):
    params, _ = layer.init(Key(0), in_shape, dtype=np.float64)
    params, x = randomized(params, Key(1)), batch_of(in_shape, Key(2), 3, inputs)
    y, residuals = layer.forward(params, x, INFERENCE)
    other_y, other_residuals = layer.forward(convert(params), convert(x), INFERENCE)
    assert_trees_close(back(other_y), y, rtol=1e-10, atol=1e-10)
    dy = randomized(y, Key(3))
    found = layer.vjp(convert(params), other_residuals, convert(dy))
    assert_trees_close(back(found), layer.vjp(params, residuals, dy), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_losses(convert, loss, draw):
    outputs, targets = draw(Key(0), 5)
    value, residuals = loss.forward(outputs, targets)
    other_value, other_residuals = loss.forward(convert(outputs), convert(targets))
    assert float(other_value) == pytest.approx(float(value))
    assert_trees_close(back(loss.vjp(other_residuals)), loss.vjp(residuals), rtol=1e-10, atol=1e-10)


# Skipping decides by an array, which turns the step counter into one too; the standard, unlike JAX and torch, has no
# arithmetic of integer arrays with Python's floats.
BY_THE_STANDARD = [optimizer for optimizer in OPTIMIZERS if optimizer.spec.name != "skip_if_not_finite"]


@pytest.mark.parametrize("optimizer", BY_THE_STANDARD, ids=str)
def test_optimizers(convert, optimizer):
    params = {"w": Key(0).normal((3, 4), np.float64), "b": (Key(1).normal((4,), np.float64),)}
    state, other_state = optimizer.init(params), optimizer.init(convert(params))
    for i in range(3):
        grads = tree.map(lambda leaf, i=i: Key(2).at(i).normal(leaf.shape, np.float64), params)
        updates, state = optimizer.update(grads, state, params)
        other_updates, other_state = optimizer.update(convert(grads), other_state, convert(params))
        assert_trees_close(back(other_updates), updates, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("metric", "draw"), METRICS)
def test_metrics(convert, metric, draw):
    arrays = *draw(Key(0), 50), Key(2).uniform((50,), np.float64)
    for given in (arrays[:2], arrays):
        found = metric(*map(convert, given))
        assert_trees_close(np.asarray(found, np.float64), np.asarray(metric(*given), np.float64), rtol=1e-10)


def assert_mixes(function, *given):
    """Whichever of the arguments are traced, and the others NumPy's, the result is that on NumPy."""
    right, arrays = function(*given), [i for i, value in enumerate(given) if tree.leaves(value)]
    mixes = [*chain.from_iterable(combinations(arrays, count) for count in range(1, len(arrays) + 1))]

    @jax.jit  # all mixes in one program, since compiling takes long
    def results(traced):
        return [function(*(traced[i] if i in mix else value for i, value in enumerate(given))) for mix in mixes]

    for mix, found in zip(mixes, results(given), strict=True):
        assert tree.allclose(back(found), right, rtol=1e-3, atol=1e-4), mix


def single(values):
    return tree.map(lambda leaf: leaf.astype(np.float32) if leaf.dtype.kind == "f" else leaf, values)


def assert_layer_mixes(layer, in_shape, inputs=normal_inputs):
    params, _ = layer.init(Key(0), in_shape)
    x = single(batch_of(in_shape, Key(1), 2, inputs))

    def pulled(params, x, dy):
        y, pull = pullback(layer, params, x)
        return y, pull(dy)

    assert_mixes(pulled, params, x, tree.map(np.ones_like, pullback(layer, params, x)[0]))


@pytest.mark.parametrize(("layer", "in_shape", "inputs"), ROWS, ids=named)
def test_layers_take_arrays_of_numpy_beside_those_of_jax(layer, in_shape, inputs):
    assert_layer_mixes(layer, in_shape, inputs)


def test_a_layer_that_asks_one_array_for_the_namespace_is_found():
    forward, vjp = relu().forward, lambda params, y, dy, *, need_dx=True: (params, np.where(y > 0, dy, 0))
    with pytest.raises(jax.errors.TracerArrayConversionError):
        assert_layer_mixes(Layer(relu().init, forward, vjp), (3,))


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_losses_take_arrays_of_numpy_beside_those_of_jax(loss, draw):
    def judged(outputs, targets, weights):
        value, residuals = loss.forward(outputs, targets, weights)
        return value, loss.vjp(residuals)

    outputs, targets = single(draw(Key(0), 4))
    for weights in (None, np.array([1, 2, 0.5, 0])):
        assert_mixes(judged, outputs, targets, weights)


@pytest.mark.parametrize(("metric", "draw"), METRICS, ids=named)
def test_metrics_take_arrays_of_numpy_beside_those_of_jax(metric, draw):
    outputs, targets = single(draw(Key(0), 4))
    for weights in (None, np.array([1, 2, 0.5, 0])):
        assert_mixes(metric, outputs, targets, weights)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=named)
def test_optimizers_take_arrays_of_numpy_beside_those_of_jax(optimizer):
    params = {"w": Key(0).normal((3, 4)), "b": (Key(1).normal((4,)),)}
    grads = tree.map(lambda leaf: leaf + 1, params)
    assert_mixes(optimizer.update, grads, optimizer.init(params), params)
