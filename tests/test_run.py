"""One run as a stream: what it records, how it ends, and that it goes on from anywhere as if it had never stopped."""

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolz import last, nth

import funcnn as fn
from experiments.run import Experiment, beginning, best_epoch, has_ended, run, stream
from funcnn import Batch, Key, tree
from funcnn.metrics import weighted_mean

LOSS = fn.softmax_cross_entropy()
RULE = fn.sgd(fn.inverse_time_decay(0.5, decay=0.1), momentum=0.5)
OPTIMIZER = fn.chain(fn.record_global_norm(), RULE)
TRAIN = Batch(Key(1).normal((10, 4)), Key(2).permutation(10) % 3)
VALIDATION = Batch(Key(3).normal((7, 4)), Key(4).permutation(7) % 3)
DROPPING = fn.serial(fn.dense(8), fn.relu(), fn.dropout(0.5), fn.dense(3))


def tiny(model=fn.dense(3), epochs=2, train=TRAIN, **changes):
    given = {"validation": None, "test": TRAIN, "batch_size": 4, "key": Key(0)}
    return Experiment(model=model, loss=LOSS, optimizer=OPTIMIZER, train=train, epochs=epochs, **{**given, **changes})


def ignore(progress):
    """Record nothing."""


def without_seconds(history):
    return [attrs.evolve(row, seconds=0.0) for row in history]


def test_the_last_batch_counts_by_its_samples():
    progress = run(tiny(epochs=1), ignore).progress
    step, key = fn.train_step(fn.dense(3), LOSS, RULE), Key(0)
    params, _ = fn.dense(3).init(key.at("init"), (4,))
    state = fn.initial_state(RULE, params, key.at("train"))
    batches = list(fn.batches(key.at("epoch", 0), TRAIN, 4))
    assert [step.samples for step in progress.steps] == [4, 4, 2]
    pairs = list(fn.trajectory(step, params, state, batches))
    expected = weighted_mean(zip((4, 4, 2), (state.metrics for _, state in pairs[1:]), strict=True))
    assert progress.history[0].training_loss == expected["loss"]
    assert progress.history[0].training_accuracy == expected["accuracy"]
    assert tree.equal(progress.params, last(pairs)[0])
    assert progress.history[0].test_loss == fn.evaluate(fn.dense(3), LOSS, progress.params, TRAIN)["loss"]


def test_the_norm_is_that_of_the_gradient():
    first = next(stream(tiny(), beginning(tiny())))
    params, batch = beginning(tiny()).params, next(fn.batches(Key(0).at("epoch", 0), TRAIN, 4))
    _, grads, _ = fn.loss_and_gradient(fn.dense(3), LOSS, params, batch)
    assert first.steps[0].gradient_norm == pytest.approx(float(fn.global_norm(grads)))


def test_every_epoch_is_shuffled_anew():
    seen = []

    def forward(params, x, mode):
        if isinstance(mode, fn.Training):
            seen.append(x.tobytes())
        return fn.dense(3).forward(params, x, mode)

    run(tiny(fn.Layer(fn.dense(3).init, forward, fn.dense(3).vjp)), ignore)
    assert len(seen) == 6
    assert seen[:3] != seen[3:]


def test_the_rate_is_that_of_the_latest_update():
    history = run(tiny(epochs=3), ignore).progress.history
    assert [row.learning_rate for row in history] == pytest.approx([0.5 / (1 + 0.1 * step) for step in (2, 5, 8)])
    assert [row.epoch for row in history] == [1, 2, 3]


@settings(max_examples=20)
@given(st.integers(0, 12), st.booleans())
def test_a_run_goes_on_from_anywhere_as_if_it_had_never_stopped(stop, validated):
    planned = tiny(DROPPING, epochs=4, validation=VALIDATION if validated else None)
    start = beginning(planned)
    whole = last(stream(planned, start))
    middle = nth(stop - 1, stream(planned, start)) if stop else start
    again = last([middle, *stream(planned, middle)])
    assert tree.equal((again.params, again.state), (whole.params, whole.state))
    assert without_seconds(again.history) == without_seconds(whole.history)
    assert again.steps == whole.steps


def test_progress_is_recorded_after_epochs_and_within_them():
    recorded = []
    planned = tiny(epochs=2, batch_size=1)
    run(planned, recorded.append, record_every=4)
    assert [progress.state.step for progress in recorded] == [4, 8, 10, 12, 16, 20]
    assert [len(progress.history) for progress in recorded] == [0, 0, 1, 1, 1, 2]
    for progress in recorded:
        assert tree.equal(last([progress, *stream(planned, progress)]).params, last(recorded).params)


def test_the_best_epoch_has_the_least_validation_loss_and_a_tie_goes_to_the_first():
    history = run(tiny(epochs=6, validation=VALIDATION), ignore).progress.history
    losses = [row.validation_loss for row in history]
    assert best_epoch(history) == 1 + int(np.argmin(losses))
    assert best_epoch([attrs.evolve(row, validation_loss=1.0) for row in history]) == 1
    assert best_epoch([attrs.evolve(row, validation_loss=None) for row in history]) == 1 + int(
        np.argmin([row.training_loss for row in history])
    )


def test_patience_ends_a_run_that_gets_no_better():
    planned = tiny(epochs=100, validation=VALIDATION, patience=3)
    history = run(planned, ignore).progress.history
    assert len(history) == best_epoch(history) + 3 < 100
    assert has_ended(planned, history)
    assert not has_ended(planned, history[:-1])


def test_validation_samples_are_evaluated_after_the_epoch():
    progress = run(tiny(epochs=1, validation=VALIDATION), ignore).progress
    expected = fn.evaluate(fn.dense(3), LOSS, progress.params, VALIDATION)
    row = progress.history[0]
    assert (row.validation_loss, row.validation_accuracy) == (expected["loss"], expected["accuracy"])


def test_ctrl_c_keeps_params_that_are_known_to_be_good():
    def interrupt(progress):
        raise KeyboardInterrupt

    outcome = run(tiny(), interrupt)
    assert outcome.interrupted
    assert len(outcome.progress.history) == 1
    assert tree.equal(outcome.progress.params, run(tiny(epochs=1), ignore).progress.params)


def test_data_that_is_not_finite_stops_at_its_step():
    inputs = np.array(TRAIN.inputs)
    inputs[3] = np.nan
    outcome = run(tiny(train=Batch(inputs, TRAIN.targets)), ignore)
    assert outcome.failure.startswith("the loss is nan at step ")
    assert np.isfinite(fn.evaluate(fn.dense(3), LOSS, outcome.progress.params, TRAIN)["loss"])


def test_nothing_recorded_is_known_to_be_bad():
    inputs = np.array(TRAIN.inputs)
    inputs[3] = np.inf
    recorded = []
    planned = tiny(train=Batch(inputs, TRAIN.targets), epochs=9, batch_size=1)
    outcome = run(planned, recorded.append, record_every=1)
    assert outcome.failure
    for progress in [*recorded, outcome.progress]:
        assert all(np.isfinite(leaf).all() for leaf in tree.leaves(progress.params))
