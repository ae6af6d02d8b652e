"""Sequences of several lengths as one batch, and models of several inputs and outputs."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import tree

KEY = fn.Key(3)
LENGTHS = (5, 2, 4)
WEIGHTS = (np.arange(5) < np.array(LENGTHS)[:, None]).astype(np.float64)
CODES, TARGETS = (KEY.at(name).uniform((3, 5), np.float64) * 7 // 1 for name in ("codes", "targets"))
CODES, TARGETS = CODES.astype(np.int32), TARGETS.astype(np.int32)  # those behind a sequence's length are arbitrary

LOSS = fn.softmax_cross_entropy()


def weighed(layer):
    """A model from codes and weights to logits, with a layer of features and weights in the middle."""
    return fn.serial(fn.parallel(fn.embedding(7, 4), fn.identity()), layer, fn.dense(7))


MODELS = {
    "causal transformer": fn.serial(
        *(fn.embedding(7, 4), fn.positions()),
        *(fn.residual(fn.serial(fn.layer_norm(), fn.attention(2, causal=True))), fn.dense(7)),
    ),
    "attention to what is present": weighed(fn.attention(2)),
    "causal attention to what is present": weighed(fn.attention(2, causal=True)),
    "gru": fn.serial(fn.embedding(7, 4), fn.recurrent(fn.gru(), 3), fn.dense(7)),
}


def inputs_of(name, codes, weights):
    return (codes, weights) if "present" in name else codes


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_neither_loss_nor_gradient(name):
    """They are the means over all positions that are present, as of each sequence alone."""
    model = MODELS[name]
    params, out_shape = model.init(KEY, ((5,), (5,)) if "present" in name else (5,), dtype=np.float64)
    assert out_shape == (5, 7)
    batch = fn.Batch(inputs_of(name, CODES, WEIGHTS), TARGETS, WEIGHTS)
    value, grads, _ = fn.loss_and_gradient(model, LOSS, params, batch)
    total, sums = 0.0, tree.map(np.zeros_like, params)
    for row, length in enumerate(LENGTHS):
        codes, targets = CODES[row : row + 1, :length], TARGETS[row : row + 1, :length]
        alone = fn.Batch(inputs_of(name, codes, np.ones((1, length))), targets)
        own, of_own, _ = fn.loss_and_gradient(model, LOSS, params, alone)
        share = length / sum(LENGTHS)
        total, sums = total + share * own, tree.map(lambda a, b, share=share: a + share * b, sums, of_own)
    assert value == pytest.approx(total, rel=1e-12)
    for (path, found), expected in zip(tree.leaves_with_paths(grads), tree.leaves(sums), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14, err_msg=path)
    found = fn.evaluate(model, LOSS, params, batch, batch_size=2, metrics={"accuracy": fn.accuracy})
    assert found["loss"] == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("attention")])
def test_what_comes_later_changes_no_earlier_output(name):
    model, ones = MODELS[name], np.ones((3, 5))
    params, _ = model.init(KEY, ((5,), (5,)) if "present" in name else (5,), dtype=np.float64)
    whole, others = (fn.predict(model, params, inputs_of(name, codes, ones)) for codes in (CODES, (CODES + 1) % 7))
    assert not np.allclose(whole, others)
    later = np.where(np.arange(5) < 3, CODES, (CODES + 1) % 7)
    np.testing.assert_allclose(fn.predict(model, params, inputs_of(name, later, ones))[:, :3], whole[:, :3], rtol=1e-12)


def test_a_model_of_two_inputs_and_two_outputs_is_trained_and_evaluated():
    """It reads a point and a code; it says on which side of a line the point is, and a number of the code."""
    point, code = KEY.at("point").normal((200, 2)), (KEY.at("code").uniform((200,)) * 3).astype(np.int32)
    targets = (point.sum(axis=1) > 0).astype(np.int32), (code[:, None] * 0.5 - point[:, :1]).astype(np.float32)
    hidden = fn.joined(), fn.dense(16), fn.tanh()
    model = fn.serial(fn.parallel(fn.dense(8), fn.embedding(3, 4)), *hidden, fn.fork(fn.dense(2), fn.dense(1)))
    loss = fn.joint_loss(LOSS, fn.mean_squared_error(), weights=(1.0, 0.5))
    batch = fn.Batch((point, code), targets)
    params, out_shapes = model.init(KEY.at("init"), ((2,), ()))
    assert out_shapes == ((2,), (1,))

    def accuracy(outputs, targets, weights=None):
        return fn.accuracy(outputs[0], targets[0], weights)

    step = fn.train_step(model, loss, fn.adam(0.02), metrics={"accuracy": accuracy})
    state = step.init(params, KEY.at("train"))
    for epoch in range(20):
        for piece in fn.batches(KEY.at("epoch", epoch), batch, 50):
            params, state = step(params, state, piece)
    found = fn.evaluate(model, loss, params, batch, batch_size=64, metrics={"accuracy": accuracy})
    assert found["accuracy"] > 0.95
    side, number = fn.predict(model, params, batch.inputs)
    parts = LOSS.forward(side, targets[0])[0], fn.mean_squared_error().forward(number, targets[1])[0]
    assert found["loss"] == pytest.approx(parts[0] + 0.5 * parts[1], rel=1e-5)
    assert found["loss"] < 0.2
