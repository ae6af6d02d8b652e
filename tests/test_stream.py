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


def history_of(experiment):
    return last(stream(experiment)).history


def test_an_epoch_is_the_fold_of_its_step_and_its_row_the_mean_over_samples():
    progress, x = last(stream(regression(epochs=1))), drawn("x", 22)
    data, model = fn.Batch(x, np.sin(3 * x[:, :1])), fn.serial(fn.dense(4), fn.tanh(), fn.dense(1))
    metrics = {"learning_rate": fn.learning_rate, "gradient_norm": fn.gradient_norm}
    optimizer = fn.sgd(fn.inverse_time_decay(0.1, decay=0.1), momentum=0.5)
    step = fn.train_step(model, SQUARED, optimizer, metrics=metrics)
    params, _ = model.init(KEY.at("init"), (2,))
    batches = fn.batches(KEY.at("epoch", 0), data, 5)
    _, *pairs = fn.trajectory(step, params, step.init(params, KEY.at("train")), batches)
    told, row = [dict(state.metrics) for _, state in pairs], progress.history[0]
    counted = [{"step": i, "samples": n} for i, n in enumerate((5, 5, 5, 5, 2), 1)]
    assert [*progress.rows] == [count | metrics for count, metrics in zip(counted, told, strict=True)]
    assert row["train/loss"] == weighted_mean(zip((5, 5, 5, 5, 2), told, strict=True))["loss"]
    assert row["gradient_norm"] == sum(each["gradient_norm"] for each in told) / 5
    assert row["learning_rate"] == pytest.approx(0.1 / (1 + 0.1 * 4))  # that of the latest update
    assert row["test/loss"] == fn.evaluate(model, SQUARED, progress.params, data)["loss"]
    assert tree.equal(progress.params, pairs[-1][0])


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
    names = [f"{group}/{name}" for group in ("train", "validation", "test") for name in ("loss", "accuracy")]
    told = ["train/penalty", "learning_rate", "gradient_norm"]
    assert sorted(history_of(classifier())[0]) == sorted(["epoch", "step", *names, *told, "seconds"])


@pytest.mark.parametrize("batch", [None, 3, "text", ("a", b"b"), {"x": np.ones((7, 2))}, object()])
def test_a_batch_is_of_any_kind_and_an_epoch_has_any_number(batch):
    progress = last(stream(by_hand(batches=lambda epoch: iter([batch] * (epoch + 1)))))
    assert [row["step"] for row in progress.history] == [1, 3, 6]
    assert progress.rows[0]["samples"] == (7 if isinstance(batch, dict) else 1)


def test_a_batch_of_several_steps_has_a_row_for_each():
    progress = next(stream(TABLE["tables"]()))
    assert [(row["step"], row["samples"], row["batches"]) for row in progress.rows] == [(i, 5, 1) for i in range(1, 5)]
    assert progress.state.metrics["loss"] == progress.rows[-1]["loss"]


def test_numbers_in_another_order_stay_in_their_columns():
    def turned(count):
        return dict(reversed([("a", 1.0), ("b", 2.0)]) if count % 2 else [("a", 1.0), ("b", 2.0)])

    for progress in stream(by_hand(lambda state: turned(state.count))):
        assert [[*row] for row in progress.rows] == [["step", "samples", "a", "b"]] * len(progress.rows)
        assert [*progress.state.metrics] == ["a", "b"]
    evaluated = by_hand(batches=lambda epoch: range(3), evaluate=lambda params: turned(params[0]))
    assert len({tuple(row) for row in history_of(evaluated)}) == 1


def test_the_best_epoch_is_the_least_and_a_tie_goes_to_the_first():
    history = history_of(classifier(epochs=6))
    assert best_epoch(classifier(), history) == 1 + int(np.argmin([row["validation/loss"] for row in history]))
    assert best_epoch(classifier(), [{**row, "validation/loss": 1.0} for row in history]) == 1
    assert best_epoch(classifier(), [{"validation/loss": value} for value in (np.nan, 1.0, 2.0)]) == 2
    assert best_epoch(by_hand(), history) is None  # which watches nothing


def watching(*values, **limits):
    """An experiment whose evaluation gives these numbers, epoch after epoch."""
    given = {"evaluate": lambda params: {"value": values[int(params[0]) - 1]}, "watch": "value"}
    return by_hand(batches=lambda epoch: [None], **{**given, "epochs": len(values), **limits})


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        *[({}, 6), ({"epochs": 4}, 4), ({"patience": 1}, 3), ({"patience": 2}, 4), ({"patience": 3}, 6)],
        *[({"patience": 3, "tolerance": 0.5}, 5), ({"patience": 1, "tolerance": 2.0}, 2)],
    ],
)
def test_patience_ends_a_run_that_gets_no_better(limits, ends):
    experiment = watching(3.0, 2.0, 2.0, 2.0, 1.8, 1.9, **limits)
    history = history_of(experiment)
    assert len(history) == ends
    assert has_ended(experiment, history)
    assert not has_ended(experiment, history[:-1])


def test_nothing_is_left_of_a_run_that_has_ended():
    end = whole_of("classifier")[-1]
    assert [*stream(classifier(), end)] == []
    assert len([*stream(classifier(epochs=4), end)]) == 5
