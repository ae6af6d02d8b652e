"""One run: what an epoch's record says, and the order of its batches."""

import numpy as np
import pytest
from toolz import last

import funcnn as fn
from experiments.run import Experiment, run
from funcnn import Batch, Key
from funcnn.metrics import weighted_mean

LOSS = fn.softmax_cross_entropy()
OPTIMIZER = fn.sgd(fn.inverse_time_decay(0.5, decay=0.1))
TRAIN = Batch(Key(1).normal((10, 4)), Key(2).permutation(10) % 3)
DATA = fn.Dataset("tiny", TRAIN, TRAIN, ("a", "b", "c"), "unit")


def tiny(model=fn.dense(3), epochs=2, data=DATA):
    return Experiment(model, LOSS, OPTIMIZER, data, 4, epochs, Key(0))


def test_the_last_batch_counts_by_its_samples():
    outcome = run(tiny(epochs=1), lambda history: None)
    step, key = fn.train_step(fn.dense(3), LOSS, OPTIMIZER), Key(0)
    params, _ = fn.dense(3).init(key.at("init"), (4,))
    state = fn.initial_state(OPTIMIZER, params, key.at("train"))
    batches = list(fn.batches(key.at("epoch", 0), TRAIN, 4))
    assert [len(batch.inputs) for batch in batches] == [4, 4, 2]
    pairs = list(fn.trajectory(step, params, state, batches))
    expected = weighted_mean(zip((4, 4, 2), (state.metrics for _, state in pairs[1:]), strict=True))
    assert outcome.history[0].training_loss == expected["loss"]
    assert outcome.history[0].training_accuracy == expected["accuracy"]
    assert fn.tree.equal(outcome.params, last(pairs)[0])
    assert outcome.history[0].test_loss == fn.evaluate(fn.dense(3), LOSS, outcome.params, TRAIN)["loss"]


def test_every_epoch_is_shuffled_anew():
    seen = []

    def forward(params, x, mode):
        if isinstance(mode, fn.Training):
            seen.append(x.tobytes())
        return fn.dense(3).forward(params, x, mode)

    run(tiny(fn.Layer(fn.dense(3).init, forward, fn.dense(3).vjp)), lambda history: None)
    assert len(seen) == 6
    assert seen[:3] != seen[3:]


def test_the_rate_is_that_of_the_latest_update():
    history = run(tiny(epochs=3), lambda history: None).history
    assert [row.learning_rate for row in history] == pytest.approx([0.5 / (1 + 0.1 * step) for step in (2, 5, 8)])
    assert [row.epoch for row in history] == [1, 2, 3]


def test_ctrl_c_keeps_params_that_are_known_to_be_good():
    def interrupt(history):
        raise KeyboardInterrupt

    outcome = run(tiny(), interrupt)
    assert outcome.interrupted
    assert len(outcome.history) == 1
    assert fn.tree.equal(outcome.params, run(tiny(epochs=1), lambda history: None).params)


def test_data_that_is_not_finite_stops_at_its_step():
    inputs = np.array(TRAIN.inputs)
    inputs[3] = np.nan
    broken = fn.Dataset("tiny", Batch(inputs, TRAIN.targets), TRAIN, ("a", "b", "c"), "unit")
    outcome = run(tiny(data=broken), lambda history: None)
    assert outcome.failure.startswith("the loss is nan at step ")
    assert np.isfinite(fn.evaluate(fn.dense(3), LOSS, outcome.params, TRAIN)["loss"])
