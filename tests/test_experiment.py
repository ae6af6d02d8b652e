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
        ({"begin": None}, "begin: expected a function, got None"),
        ({"step": 3}, "step: expected a function, got 3"),
        ({"batches": [1, 2]}, r"batches: expected a function, got \[1, 2\]"),
        ({"evaluate": {"test": DATA}}, "evaluate: expected a function, got {'test'"),
        ({"describe": "text"}, "describe: expected a function, got 'text'"),
        ({"sections": []}, r"sections: expected a function, got \[\]"),
        ({"save": "model"}, "save: expected a function or None, got 'model'"),
        ({"summarize": None}, "summarize: expected a function, got None"),
        ({"sizes": 3}, "sizes: expected a function, got 3"),
        ({"watch": 1}, "watch: expected the name of a column or None, got 1"),
        ({"formats": ".2f"}, "formats: expected a mapping by name, got '.2f'"),
        ({"data": [DATA]}, r"data: expected a mapping by name, got \[Batch"),
        ({"epochs": 0}, "epochs: expected a positive whole number, got 0"),
        ({"epochs": 2.0}, "epochs: expected a positive whole number, got 2.0"),
        ({"epochs": True}, "epochs: expected a positive whole number, got True"),
        ({"patience": 0, "watch": "loss"}, "patience: expected a positive whole number or None, got 0"),
        ({"patience": 3}, "patience: expected a column to watch, got none; name the column"),
        ({"tolerance": -1.0}, "tolerance: expected a number of at least 0, got -1.0"),
        ({"tolerance": float("nan")}, "tolerance: expected a number of at least 0, got nan"),
    ],
)
def test_a_field_of_another_kind_is_refused(fields, message):
    with pytest.raises(InputError, match=f"^Experiment {message}"):
        by_hand(**fields)


PARTS = {"model": fn.dense(1), "loss": SQUARED, "optimizer": fn.adam(), "train": DATA}
NO_NAME = "supervised evaluate: expected a name without commas, quotes or line breaks"
TAKEN = "supervised evaluate: expected names other than train, without a slash, got"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": 0}, r"supervised: expected a key, got 0; make one of a seed: Key\(0\)"),
        ({"batch_size": 0}, "supervised: expected a batch_size that is a positive whole number, got 0"),
        ({"batch_size": 2.0}, "supervised: expected a batch_size that is a positive whole number, got 2.0"),
        ({"epochs": 0}, "Experiment epochs: "),
        ({"patience": 0}, "Experiment patience: expected a positive whole number or None, got 0"),
        ({"tolerance": -1}, "Experiment tolerance: "),
        ({"evaluate": DATA}, "supervised evaluate: expected batches by name, got Batch; such as"),
        ({"evaluate": {"train": DATA}}, f"{TAKEN} 'train'"),
        ({"evaluate": {"a/b": DATA}}, f"{TAKEN} 'a/b'"),
        ({"evaluate": {"a,b": DATA}}, NO_NAME),
        ({"evaluate": {"": DATA}}, NO_NAME),
        ({"evaluate": {"test": DATA.inputs}}, "supervised evaluate 'test': expected a Batch, got ndarray"),
        ({"metrics": fn.accuracy}, "supervised: expected metrics by name, got <function"),
        ({"metrics": {"accuracy": "accuracy"}}, "supervised: expected metrics by name, got {'accuracy'"),
        ({"metrics": {"loss": fn.accuracy}}, "supervised: expected metrics of other names than those of the loss and"),
        ({"penalty": 1e-4}, "train_step: expected a Penalty, got 0.0001"),
        ({"model": fn.dense}, "train_step: expected a Layer, got <function dense"),
        ({"loss": fn.mean_squared_error}, "train_step: expected a Loss, got <function mean_sq"),
        ({"optimizer": fn.adam}, "train_step: expected an Optimizer, got <function adam"),
        ({"train": DATA.inputs}, "supervised: expected a Batch, got ndarray"),
        ({"train": fn.Batch(DATA.inputs, DATA.targets[:3])}, "supervised: expected the same number of samples"),
        ({"train": fn.Batch(DATA.inputs[:0], DATA.targets[:0])}, "supervised: expected the same number of samples"),
    ],
)
def test_the_usual_experiment_refuses_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        supervised(**{**PARTS, "key": KEY, "batch_size": 4, "epochs": 1, **arguments})


def test_an_optimizer_that_tells_no_learning_rate_has_no_column_of_it():
    class Descent:
        init = staticmethod(lambda params: ())
        update = staticmethod(lambda grads, state, params: (fn.tree.map(lambda grad: -0.1 * grad, grads), state))

    experiment = supervised(fn.dense(1), SQUARED, Descent(), DATA, key=KEY, batch_size=4, epochs=1)
    assert [*last(stream(experiment)).history[0]] == ["epoch", "step", "train/loss", "gradient_norm", "seconds"]


def test_its_batches_are_rows_of_its_samples_shuffled_anew_for_every_epoch():
    table = regression().batches
    one, other, again = ([row.tolist() for part in table.rows(epoch) for row in part] for epoch in (1, 0, 1))
    assert one == again != other
    assert sorted(np.concatenate(one)) == list(range(22))
    for row, batch in zip(one, table(1), strict=True):
        assert fn.tree.equal(batch, fn.tree.map(lambda leaf, row=row: leaf[row], table.samples))


def test_what_it_watches_describes_and_records():
    assert regression().watch == regression(evaluate={}).watch == "train/loss"
    assert [classifier().watch, classifier(watch="test/loss").watch] == ["validation/loss", "test/loss"]
    assert [*classifier().data] == ["train", "validation", "test"]
    assert classifier().describe() == fn.summary(fn.serial(fn.dense(6), fn.relu(), fn.dropout(0.5), fn.dense(3)), (2,))


def test_what_it_saves_may_be_made_of_its_params(tmp_path):
    assert two_inputs().save is None  # its model holds a function of one's own
    doubled = regression(as_saved=partial(fn.tree.map, lambda leaf: 2 * leaf), class_names=("a",), scaling="unit")
    params, _ = doubled.begin()
    doubled.save(tmp_path / "a.safetensors", params)
    saved = fn.load(tmp_path / "a.safetensors")
    assert fn.tree.equal(saved.params, fn.tree.map(lambda leaf: 2 * leaf, params))
    assert (saved.in_shape, saved.scaling, saved.class_names) == ((2,), "unit", ("a",))
