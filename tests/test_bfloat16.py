"""bfloat16 on JAX: every part gives what it gives in float32, rounded, with the dtype that came in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnn as fn
from funcnn import tree
from funcnn.jax import compiled, jax_key
from funcnn.optimizers import apply_updates
from funcnn.testing.laws import batch_of
from tests.catalogue import LAYERS, LOSSES, METRICS, OPTIMIZERS, PENALTIES, named

KEY = fn.Key(5)
HALF, FULL = jnp.bfloat16, jnp.float32


def converted(values, dtype):
    """A tree's floating arrays on JAX, each a number that bfloat16 has."""

    def convert(leaf):
        return jnp.asarray(leaf).astype(HALF).astype(dtype) if np.asarray(leaf).dtype.kind == "f" else jnp.asarray(leaf)

    return tree.map(convert, values)


def assert_rounded(found, expected, within=0.03):
    """``found`` is of bfloat16, and ``expected`` but for rounding, as a share of the largest number in the array."""
    for half, full in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        assert half.dtype == HALF
        largest = float(jnp.max(jnp.abs(full))) if full.size else 0.0
        assert np.asarray(half, np.float32) == pytest.approx(np.asarray(full), abs=within * largest + 1e-30)


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=named)
def test_layers(layer, in_shape):
    params, _ = layer.init(KEY, in_shape)
    x = batch_of(in_shape, KEY.at("x"), 8, lambda key, shape: key.normal(shape) + 2)
    dy = tree.map(lambda leaf: KEY.at("dy").normal(leaf.shape), fn.predict(layer, params, x))

    def both(params, x, dy):
        y, pull = fn.pullback(layer, params, x)
        return y, pull(dy)

    on_jax = jax.jit(both, compiler_options={"xla_allow_excess_precision": False})  # each operation rounds to its dtype
    half, full = (converted((params, x, dy), dtype) for dtype in (HALF, FULL))
    assert_rounded(on_jax(*half), both(*tree.map(np.asarray, full)))


def test_an_embedding_adds_up_many_rows():
    params, _ = fn.embedding(2, 1).init(KEY, ())
    x = jnp.zeros(1000, jnp.int32)  # bfloat16 cannot count beyond 256
    _, pull = fn.pullback(fn.embedding(2, 1), converted(params, HALF), x)
    assert_rounded(pull(jnp.ones((1000, 1), HALF))[0].table, jnp.array([[1000.0], [0.0]]), within=0.005)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_losses(loss, draw):
    outputs, targets = draw(KEY, 300)
    if loss.spec.name == "kl_divergence":
        targets = np.eye(4)[np.arange(300) % 4]
    pairs = [converted((outputs, targets), dtype) for dtype in (HALF, FULL)]
    (half, residuals), (full, of_full) = (loss.forward(*pair) for pair in pairs)
    assert half.dtype == FULL
    assert float(half) == pytest.approx(float(full), rel=1e-3)
    assert_rounded(loss.vjp(residuals), loss.vjp(of_full))


@pytest.mark.parametrize(("metric", "draw"), METRICS, ids=named)
def test_metrics(metric, draw):
    pairs = [converted(draw(KEY, 300), dtype) for dtype in (HALF, FULL)]
    half, full = (np.asarray(metric(*pair), np.float32) for pair in pairs)
    assert half == pytest.approx(full, rel=1e-2, abs=1e-2 * float(np.max(full)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=named)
def test_optimizers_for_a_hundred_steps_of_the_same_params(optimizer):
    params = {"w": KEY.normal((3, 2)), "b": (KEY.at("b").normal((2,)),)}
    half, full = converted(params, HALF), converted(params, FULL)
    states = [optimizer.init(half), optimizer.init(full)]
    for i in range(100):
        grads = tree.map(lambda leaf, i=i: KEY.at("grads", i).normal(leaf.shape), params)
        updates, states[0] = optimizer.update(converted(grads, HALF), states[0], half)
        expected, states[1] = optimizer.update(converted(grads, FULL), states[1], full)
    assert_rounded(updates, expected)
    assert_rounded(apply_updates(half, updates), apply_updates(full, expected))


@pytest.mark.parametrize("penalty", PENALTIES[:3], ids=named)
def test_penalties(penalty):
    params = {"weights": KEY.normal((300, 2))}
    half, full = (converted(params, dtype) for dtype in (HALF, FULL))
    assert float(penalty.value(half)) == pytest.approx(float(penalty.value(full)), rel=0.01)
    assert_rounded(penalty.gradient(half), penalty.gradient(full))


@pytest.mark.parametrize("key", [KEY, None], ids=["numpy", "jax"])
def test_a_step_trains(key):
    model = fn.serial(fn.dense(8), fn.gelu(), fn.layer_norm(), fn.dense(3))
    params, _ = model.init(key or jax_key(KEY), (4,), dtype=HALF)
    step = fn.train_step(model, fn.softmax_cross_entropy(), fn.adam(0.01), metrics={"accuracy": fn.accuracy})
    x = jnp.asarray(KEY.normal((60, 4)), HALF)
    batch, state, fast = fn.Batch(x, jnp.argmax(x[:, :3], axis=1)), step.init(params, KEY), compiled(step)
    for _ in range(150):
        params, state = fast(params, state, batch)
    assert float(state.metrics["accuracy"]) > 0.9
    assert {leaf.dtype for leaf in tree.leaves(params)} == {jnp.dtype(HALF)}
