"""The record of an experiment, and the usual one: bad fields and arguments are refused by name."""

from functools import partial

import numpy as np
import pytest
from toolz import last

import funcnn as fn
from funcnn import InputError
from funcnn.runs import stream, supervised
from tests.small_experiments import KEY, SQUARED, by_hand, classifier, drawn, regression, two_inputs

DATA = fn.Batch(drawn("x", 8), drawn("y", 8, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"begin": None}, "Experiment begin: expected a function, got None"),
        ({"step": 3}, "Experiment step: expected a function, got 3"),
        ({"batches": [1, 2]}, r"Experiment batches: expected a function, got \[1, 2\]"),
        ({"evaluate": {"test": DATA}}, "Experiment evaluate: expected a function, got {'test'"),
        ({"epochs": 0}, "Experiment epochs: expected a positive whole number, got 0"),
        ({"epochs": 2.0}, "Experiment epochs: expected a positive whole number, got 2.0"),
        ({"epochs": True}, "Experiment epochs: expected a positive whole number, got True"),
        ({"patience": 0, "watch": "loss"}, "Experiment patience: expected a positive whole number or None, got 0"),
        ({"patience": 3}, "Experiment patience: expected a column to watch, got none; name the column"),
        ({"tolerance": -1.0}, "Experiment tolerance: expected a number of at least 0, got -1.0"),
        ({"tolerance": float("nan")}, "Experiment tolerance: expected a number of at least 0, got nan"),
        ({"describe": "text"}, "Experiment describe: expected a function, got 'text'"),
        ({"sections": []}, r"Experiment sections: expected a function, got \[\]"),
    ],
)
def test_a_field_of_another_kind_is_refused(fields, message):
    with pytest.raises(InputError, match=f"^{message}"):
        by_hand(**fields)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": 0}, r"supervised: expected a key, got 0; make one of a seed: Key\(0\)"),
        ({"batch_size": 0}, "supervised: expected a batch_size that is a positive whole number, got 0"),
        ({"batch_size": 2.0}, "supervised: expected a batch_size that is a positive whole number, got 2.0"),
        ({"epochs": 0}, "Experiment epochs: expected a positive whole number, got 0"),
        ({"patience": 0}, "Experiment patience: expected a positive whole number or None, got 0"),
        ({"tolerance": -1}, "Experiment tolerance: expected a number of at least 0, got -1"),
        (
            {"evaluate": {"train": DATA}},
            "supervised evaluate: expected names other than train, without a slash, got 't",
        ),
        ({"evaluate": {"a/b": DATA}}, "supervised evaluate: expected names other than train, without a slash, got 'a/"),
        ({"evaluate": {"a,b": DATA}}, "supervised evaluate: expected a name without commas, quotes or line breaks"),
        ({"evaluate": {"": DATA}}, "supervised evaluate: expected a name without commas, quotes or line breaks"),
        ({"evaluate": {"test": DATA.inputs}}, "supervised evaluate 'test': expected a Batch, got ndarray"),
        ({"metrics": fn.accuracy}, "supervised: expected metrics by name, got <function"),
        ({"metrics": {"accuracy": "accuracy"}}, "supervised: expected metrics by name, got {'accuracy'"),
        ({"metrics": {"loss": fn.accuracy}}, "supervised: expected metrics of other names than those of the loss and"),
        ({"penalty": 1e-4}, "train_step: expected a Penalty, got 0.0001"),
    ],
)
def test_the_usual_experiment_refuses_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        regression(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((fn.dense, SQUARED, fn.adam(), DATA), "train_step: expected a Layer, got <function dense"),
        ((fn.dense(1), fn.mean_squared_error, fn.adam(), DATA), "train_step: expected a Loss, got <function mean_sq"),
        ((fn.dense(1), SQUARED, fn.adam, DATA), "train_step: expected an Optimizer, got <function adam"),
        ((fn.dense(1), SQUARED, fn.adam(), DATA.inputs), "supervised: expected a Batch, got ndarray"),
        (
            (fn.dense(1), SQUARED, fn.adam(), fn.Batch(DATA.inputs, DATA.targets[:3])),
            "supervised: expected the same nu",
        ),
        ((fn.dense(1), SQUARED, fn.adam(), fn.Batch(DATA.inputs[:0], DATA.targets[:0])), "supervised: expected the sa"),
    ],
)
def test_the_usual_experiment_refuses_other_parts(arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        supervised(*arguments, key=KEY, batch_size=4, epochs=1)


@pytest.mark.parametrize("name", ["a,b", "epoch", "samples", "a\nb"])
def test_a_metric_with_a_bad_name_is_refused_before_a_step(name):
    with pytest.raises(InputError, match=r"^begin: the state's metrics: expected .*name.*, got "):
        next(stream(classifier(metrics={name: fn.accuracy})))


def test_a_model_that_cannot_be_saved_is_not():
    assert two_inputs().save is None
    assert regression().save is not None


def test_its_optimizer_may_be_another_one():
    """One that tells no learning rate has no column of it."""

    class Descent:
        init = staticmethod(lambda params: ())
        update = staticmethod(lambda grads, state, params: (fn.tree.map(lambda grad: -0.1 * grad, grads), state))

    experiment = supervised(fn.dense(1), SQUARED, Descent(), DATA, key=KEY, batch_size=4, epochs=1)
    row = last(stream(experiment)).history[0]
    assert [*row] == ["epoch", "step", "train/loss", "gradient_norm", "seconds"]


def test_its_batches_are_rows_of_its_samples():
    table = regression().batches
    rows = [row for part in table.rows(1) for row in part]
    assert sorted(np.concatenate(rows)) == list(range(22))
    for row, batch in zip(rows, table(1), strict=True):
        assert fn.tree.equal(batch, fn.tree.map(lambda leaf, row=row: leaf[row], table.samples))


def test_its_data_are_what_it_learns_and_evaluates():
    assert [*classifier().data] == ["train", "validation", "test"]


def test_it_describes_its_model():
    assert classifier().describe() == fn.summary(fn.serial(fn.dense(6), fn.relu(), fn.dropout(0.5), fn.dense(3)), (2,))


def test_what_it_saves_may_be_made_of_its_params(tmp_path):
    doubled = regression(as_saved=partial(fn.tree.map, lambda leaf: 2 * leaf), class_names=("a",), scaling="unit")
    params, _ = doubled.begin()
    doubled.save(tmp_path / "a.safetensors", params)
    saved = fn.load(tmp_path / "a.safetensors")
    assert fn.tree.equal(saved.params, fn.tree.map(lambda leaf: 2 * leaf, params))
    assert (saved.in_shape, saved.scaling, saved.class_names) == ((2,), "unit", ("a",))
