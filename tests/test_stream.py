"""A run as a stream: what it measures, how it ends, and that it goes on from anywhere as if it had never stopped."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from toolz import last

import funcnn as fn
from funcnn import tree
from funcnn.metrics import weighted_mean
from funcnn.runs import stream
from funcnn.runs.stream import beginning, best_epoch, has_ended
from tests.small_experiments import KEY, SQUARED, TABLE, by_hand, classifier, drawn, regression, without_seconds

LOSS = fn.softmax_cross_entropy()


def row_of(experiment):
    """The first row of the history."""
    return next(progress.history[0] for progress in stream(experiment) if progress.history)


def history_of(experiment):
    return last(stream(experiment)).history


def test_the_last_batch_counts_by_its_samples():
    x = drawn("x", 10, 4)
    train, model = fn.Batch(x, KEY.permutation(10) % 3), fn.dense(3)
    experiment = fn.runs.supervised(
        model, LOSS, fn.sgd(0.5), train, key=KEY, batch_size=4, epochs=1, metrics={"accuracy": fn.accuracy}
    )
    progress = last(stream(experiment))
    step = fn.train_step(model, LOSS, fn.sgd(0.5), metrics={"accuracy": fn.accuracy})
    params, _ = model.init(KEY.at("init"), (4,))
    batches = list(fn.batches(KEY.at("epoch", 0), train, 4))
    pairs = list(fn.trajectory(step, params, step.init(params, KEY.at("train")), batches))
    expected = weighted_mean(zip((4, 4, 2), (state.metrics for _, state in pairs[1:]), strict=True))
    row = progress.history[0]
    assert [row["samples"] for row in progress.rows] == [4, 4, 2]
    assert {name: row[f"train/{name}"] for name in ("loss", "accuracy")} == expected
    assert tree.equal(progress.params, last(pairs)[0])


def test_what_is_evaluated_is_evaluated_after_the_epoch():
    x = drawn("x", 22)
    test = fn.Batch(x, np.sin(3 * x[:, :1]))
    progress = last(stream(regression(epochs=1)))
    model = fn.serial(fn.dense(4), fn.tanh(), fn.dense(1))
    assert progress.history[0]["test/loss"] == fn.evaluate(model, SQUARED, progress.params, test)["loss"]


def test_the_norm_is_that_of_the_gradient():
    x = drawn("x", 22)
    train, model = fn.Batch(x, np.sin(3 * x[:, :1])), fn.serial(fn.dense(4), fn.tanh(), fn.dense(1))
    first, params = next(stream(regression())), beginning(regression()).params
    _, grads, _ = fn.loss_and_gradient(model, SQUARED, params, next(fn.batches(KEY.at("epoch", 0), train, 5)))
    assert first.rows[0]["gradient_norm"] == pytest.approx(float(fn.global_norm(grads)))


def test_the_rate_is_that_of_the_latest_update():
    history = history_of(regression(epochs=3))
    assert [row["learning_rate"] for row in history] == pytest.approx([0.1 / (1 + 0.1 * step) for step in (4, 9, 14)])


def test_every_epoch_is_shuffled_anew():
    batches = [[batch.inputs.tobytes() for batch in regression().batches(epoch)] for epoch in (0, 1, 0)]
    assert batches[0] == batches[2] != batches[1]


@cache
def whole_of(name):
    """The stream of an experiment, from its beginning."""
    start = beginning(TABLE[name]())
    return [start, *stream(TABLE[name](), start)]


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=10)
@given(stop=st.integers(0, 17))
def test_a_run_goes_on_from_anywhere_as_if_it_had_never_stopped(name, stop):
    whole = whole_of(name)
    middle = whole[min(stop, len(whole) - 1)]
    again = last([middle, *stream(TABLE[name](), middle)])
    assert tree.equal((again.params, again.state), (whole[-1].params, whole[-1].state))
    assert without_seconds(again.history) == without_seconds(whole[-1].history)
    assert again.rows == whole[-1].rows


@pytest.mark.parametrize("name", TABLE)
def test_the_columns_are_the_names_of_what_is_measured(name):
    progress = whole_of(name)[-1]
    metrics, evaluated = TABLE[name]().begin()[1].metrics, TABLE[name]().evaluate(progress.params)
    assert [*progress.rows[0]] == ["step", "samples", *metrics]
    assert {"epoch", "step", "seconds", *evaluated} <= {*progress.history[0]}
    assert {name.removeprefix("train/") for name in progress.history[0]} >= {*metrics}
    assert all(type(value) in (int, float) for row in (*progress.rows, *progress.history) for value in row.values())


def test_the_history_of_a_classifier():
    names = ["loss", "accuracy"]
    expected = [f"{group}/{name}" for group in ("train", "validation", "test") for name in names]
    told = ["train/penalty", "learning_rate", "gradient_norm"]
    assert sorted(row_of(classifier())) == sorted(["epoch", "step", *expected, *told, "seconds"])


@pytest.mark.parametrize("batch", [None, 3, "text", ("a", b"b"), {"x": np.ones((7, 2))}, object()])
def test_a_batch_is_of_any_kind(batch):
    progress = last(stream(by_hand(batches=lambda epoch: [batch] * 2)))
    assert progress.step == 6
    assert progress.rows[0]["samples"] == (7 if isinstance(batch, dict) else 1)


def test_a_batch_of_several_steps_has_a_row_for_each():
    progress = next(stream(TABLE["tables"]()))
    assert [(row["step"], row["samples"], row["batches"]) for row in progress.rows] == [(i, 5, 1) for i in range(1, 5)]
    assert progress.state.metrics["loss"] == progress.rows[-1]["loss"]


def test_epochs_may_have_other_numbers_of_batches():
    experiment = by_hand(batches=lambda epoch: iter([None] * (epoch + 1)))
    assert [row["step"] for row in history_of(experiment)] == [1, 3, 6]


def test_metrics_in_another_order_stay_in_their_columns():
    def metrics(state):
        pairs = [("loss", float(state.count)), ("other", -float(state.count))]
        return dict(reversed(pairs) if state.count % 2 else pairs)

    for progress in stream(by_hand(metrics)):
        assert [[*row] for row in progress.rows] == [["step", "samples", "loss", "other"]] * len(progress.rows)
        assert [*progress.state.metrics] == ["loss", "other"]


def test_evaluated_numbers_in_another_order_stay_in_their_columns():
    calls = []

    def evaluate(params):
        calls.append(params)
        return dict(reversed([("a", 1.0), ("b", 2.0)]) if len(calls) % 2 else [("a", 1.0), ("b", 2.0)])

    assert len({tuple(row) for row in history_of(by_hand(evaluate=evaluate))}) == 1


def test_the_best_epoch_is_the_least_and_a_tie_goes_to_the_first():
    history = history_of(classifier(epochs=6))
    losses = [row["validation/loss"] for row in history]
    assert best_epoch(classifier(), history) == 1 + int(np.argmin(losses))
    assert best_epoch(classifier(), [{**row, "validation/loss": 1.0} for row in history]) == 1


@pytest.mark.parametrize(("evaluate", "expected"), [(("validation", "test"), "validation/loss"), ((), "train/loss")])
def test_what_is_watched_unless_told(evaluate, expected):
    x = drawn("x", 9)
    data = fn.Batch(x, x)
    assert regression(evaluate=dict.fromkeys(evaluate, fn.Batch(x, x[:, :1]))).watch == expected
    assert regression(evaluate={"validation": data}, watch="test/loss").watch == "test/loss"


def test_an_experiment_that_watches_nothing_has_no_best_epoch():
    assert best_epoch(by_hand(), history_of(by_hand())) is None


def watching(*values, **limits):
    """An experiment whose evaluation gives these numbers, epoch after epoch."""
    given = {"evaluate": lambda params: {"value": values[int(params[0]) - 1]}, "watch": "value"}
    return by_hand(batches=lambda epoch: [None], **{**given, "epochs": len(values), **limits})


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({}, 6),
        ({"epochs": 4}, 4),
        ({"patience": 1}, 3),
        ({"patience": 2}, 4),
        ({"patience": 3}, 6),
        ({"patience": 3, "tolerance": 0.5}, 5),
        ({"patience": 1, "tolerance": 2.0}, 2),
    ],
)
def test_patience_ends_a_run_that_gets_no_better(limits, ends):
    experiment = watching(3.0, 2.0, 2.0, 2.0, 1.8, 1.9, **limits)
    history = history_of(experiment)
    assert len(history) == ends
    assert has_ended(experiment, history)
    assert not has_ended(experiment, history[:-1])


def test_nothing_is_left_of_a_run_that_has_ended():
    end = last(stream(classifier()))
    assert [*stream(classifier(), end)] == []
    assert len([*stream(classifier(epochs=4), end)]) == 5
