"""What an experiment may not be or do: refused where it happens, by one clear message."""

from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np
import pytest
from toolz import last, nth

import funcnn as fn
from funcnn import InputError
from funcnn.runs import ExperimentError, stream
from tests.small_experiments import Seen, by_hand, regression


def carried_out(experiment):
    return last(stream(experiment))


NAMES = [
    ("a,b", "a name without commas, quotes or line breaks, got 'a,b'"),
    ("a\nb", r"a name without commas, quotes or line breaks, got 'a\\nb'"),
    ('a"b', "a name without commas, quotes or line breaks, got 'a\"b'"),
    ("", "a name without commas, quotes or line breaks, got ''"),
    ("epoch", "names other than epoch, step, samples, seconds, got 'epoch'"),
    ("seconds", "names other than epoch, step, samples, seconds, got 'seconds'"),
]
VALUES = [
    (np.ones(3), r"expected one number, got \(3,\)"),
    (np.ones((1, 1)), r"expected one number, got \(1, 1\)"),
    ([1.0, 2.0], r"expected one number, got \[1.0, 2.0\]"),
    ([1.0, [2.0]], r"expected one number, got \[1.0, \[2.0\]\]"),
    ("1.0", "expected one number, got '1.0'"),
    (b"1.0", "expected one number, got b'1.0'"),
    (None, "expected one number, got None"),
    (1j, "expected one number, got 1j"),
    ({"a": 1.0}, r"expected one number, got \{'a': 1.0\}"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_a_metric_has_a_name_that_can_be_a_column(name, message):
    with pytest.raises(InputError, match=f"^begin: the state's metrics: expected {message}"):
        carried_out(by_hand(lambda state: {name: 1.0}))


@pytest.mark.parametrize(("value", "message"), VALUES)
def test_a_metric_is_one_number(value, message):
    with pytest.raises(InputError, match=f"^step 1: metric 'loss': {message}"):
        carried_out(by_hand(lambda state: {"loss": value}))


@pytest.mark.parametrize("value", [None, np.ones(3)])
def test_a_metric_before_the_first_step_is_one_number_too(value):
    begin = 0.0, Seen(0, fn.frozendict({"loss": value}))
    with pytest.raises(InputError, match=r"^begin: the state's metrics: 'loss': expected one number, got "):
        carried_out(by_hand(begin=lambda: begin))


def test_metrics_are_numbers_by_name():
    with pytest.raises(InputError, match=r"^step 1: the state's metrics: expected numbers by name, got \[1.0\]"):
        carried_out(by_hand(step=lambda params, state, batch: (params, attrs.evolve(state, metrics=[1.0]))))
    with pytest.raises(InputError, match=r"^begin: the state's metrics: expected numbers by name, got None"):
        carried_out(by_hand(begin=lambda: (0.0, 0.0), step=lambda params, state, batch: (params, state)))


@pytest.mark.parametrize("step", [3, 5, 6])
def test_metrics_keep_their_names(step):
    def metrics(state):
        return {"loss": 1.0, "more": 1.0} if state.count + 1 == step else {"loss": 1.0}  # 5 begins an epoch

    with pytest.raises(InputError, match=f"^step {step}: expected metrics named loss, got loss, more"):
        carried_out(by_hand(metrics))


def test_metrics_have_the_names_that_they_had_before_the_first_step():
    message = "^step 1: expected metrics named loss, got other; give the first state all metrics that later ones have"
    with pytest.raises(InputError, match=message):
        carried_out(changed(state={"metrics": fn.frozendict({"other": 1.0})}))


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_what_is_evaluated_has_a_name_that_can_be_a_column(name, message):
    with pytest.raises(InputError, match=f"^evaluate: expected {message}"):
        carried_out(by_hand(evaluate=lambda params: {name: 1.0}))


@pytest.mark.parametrize(("value", "message"), VALUES)
def test_what_is_evaluated_is_one_number(value, message):
    with pytest.raises(InputError, match=f"^evaluate: 'test/loss': {message}"):
        carried_out(by_hand(evaluate=lambda params: {"test/loss": value}))


@pytest.mark.parametrize("row", [None, 1.0, ["loss"]])
def test_what_is_evaluated_are_numbers_by_name(row):
    with pytest.raises(InputError, match=r"^evaluate: expected numbers by name, got"):
        carried_out(by_hand(evaluate=lambda params: row))


def test_evaluated_names_are_no_others():
    with pytest.raises(InputError, match=r"^evaluate: expected names that no other column has, got \['train/loss'\]"):
        carried_out(by_hand(evaluate=lambda params: {"train/loss": 1.0}))


def test_evaluated_names_stay_the_same():
    with pytest.raises(InputError, match=r"^epoch 2: expected the columns epoch, step, train/loss, a, seconds, got "):
        carried_out(by_hand(evaluate=lambda params: {"a": 1.0} if params[0] == 4 else {"b": 1.0}))


class Pair(NamedTuple):
    count: int
    metrics: dict


def changed(**changes):
    """A step after which params or state have another tree."""

    def step(params, state, batch):
        after = Seen(state.count + 1, fn.frozendict({"loss": 1.0}))
        return changes.get("params", params), attrs.evolve(after, **changes.get("state", {}))

    return by_hand(step=step)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"params": np.zeros(3)}, r"params was float64 \(2,\), is float64 \(3,\)"),
        ({"params": np.zeros(2, np.float32)}, r"params was float64 \(2,\), is float32 \(2,\)"),
        ({"params": [np.zeros(2)]}, r"params was float64 \(2,\), is missing; params.0 was missing, is float64 \(2,\)"),
        ({"state": {"count": 1.0}}, "state.count was int, is float"),
    ],
)
def test_the_first_step_keeps_the_tree(changes, found):
    hint = "; give the first state every leaf that later ones have, NaN for what is not measured yet"
    message = f"^the first step: expected params and state with the tree that they had, got {found}"
    with pytest.raises(InputError, match=f"{message}.*{hint}"):
        carried_out(changed(**changes))


def test_the_first_step_keeps_the_kinds_of_nodes():
    experiment = attrs.evolve(changed(params=[np.zeros(2)]), begin=lambda: ((np.zeros(2),), by_hand().begin()[1]))
    with pytest.raises(InputError, match=r"^the first step: expected params and state of the same records, tuples and"):
        carried_out(experiment)


def test_a_tree_that_changes_is_found_at_the_first_step_after_a_resume():
    middle = nth(1, stream(by_hand()))
    with pytest.raises(InputError, match=r"^the first step: expected params and state with the tree"):
        carried_out_from(changed(params=np.zeros(3)), middle)


def carried_out_from(experiment, start):
    return last(stream(experiment, start))


@pytest.mark.parametrize("number", [np.float32(1), np.array(1.0), 1, True, np.int64(3)])
def test_any_number_is_a_metric(number):
    progress = carried_out(by_hand(lambda state: {"loss": number}, evaluate=lambda params: {"value": number}))
    assert {type(row["loss"]) for row in progress.rows} == {type(progress.history[0]["value"])} == {float}
    assert type(progress.state.metrics["loss"]) is float


def test_a_state_of_another_kind_has_metrics_too():
    def step(params, state, batch):
        return params, Pair(state.count + 1, {"loss": np.float32(state.count)})

    experiment = by_hand(begin=lambda: (0.0, Pair(0, {"loss": 0.0})), step=step)
    assert [row["train/loss"] for row in carried_out(experiment).history] == [1.5, 5.5, 9.5]


FUNCTIONS = {
    "begin": ("begin", lambda fail: {"begin": lambda: fail()}),
    "step": ("step 1", lambda fail: {"step": lambda params, state, batch: fail()}),
    "batches": (r"batches\(0\)", lambda fail: {"batches": lambda epoch: fail()}),
    "a batch": (r"batches\(0\)", lambda fail: {"batches": lambda epoch: (fail() for _ in range(2))}),
    "sizes": ("sizes", lambda fail: {"sizes": lambda batch: fail()}),
    "summarize": ("summarize", lambda fail: {"summarize": lambda rows: fail()}),
    "evaluate": ("evaluate", lambda fail: {"evaluate": lambda params: fail()}),
}


@pytest.mark.parametrize("error", [ZeroDivisionError("no"), KeyError("no"), AssertionError("no")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_raises_is_told_with_its_name_and_place(name, error):
    def fail():
        raise error

    where, fields = FUNCTIONS[name]
    place = rf"\({Path(__file__)}, line {fail.__code__.co_firstlineno + 1}\)$"
    with pytest.raises(ExperimentError, match=f"^{where} raises {type(error).__name__}: .*no.* {place}") as raised:
        carried_out(by_hand(**fields(fail)))
    assert raised.value.__cause__ is error


def test_a_step_that_stops_an_iteration_does_not_end_the_run_in_silence():
    with pytest.raises(ExperimentError, match=r"^step 1 raises StopIteration"):
        carried_out(by_hand(step=lambda params, state, batch: next(iter(()))))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_refuses_is_refused_at_its_place(name):
    def refuse():
        raise InputError("dense(3)", "inputs (batch, in)", "(3,)")

    where, fields = FUNCTIONS[name]
    with pytest.raises(InputError, match=rf"^{where}: dense\(3\): expected inputs \(batch, in\), got \(3,\)"):
        carried_out(by_hand(**fields(refuse)))


@pytest.mark.parametrize("error", [FileNotFoundError("x.csv"), MemoryError("no"), ModuleNotFoundError("no")])
def test_what_the_machine_lacks_is_no_fault_of_an_experiment(error):
    def fail(epoch):
        raise error

    with pytest.raises(type(error), match=f"^{error}$"):
        carried_out(by_hand(batches=fail))


@pytest.mark.parametrize("result", [None, 1.0, np.zeros(2), (1.0,), (1.0, 2.0, 3.0)])
def test_begin_and_step_give_two_values(result):
    with pytest.raises(InputError, match=r"^begin: expected params and state, got"):
        carried_out(by_hand(begin=lambda: result))
    with pytest.raises(InputError, match=r"^step 1: expected params and state, got"):
        carried_out(by_hand(step=lambda params, state, batch: result))


@pytest.mark.parametrize("batches", [[], iter(())])
def test_an_epoch_without_a_batch_is_refused(batches):
    with pytest.raises(InputError, match=r"^batches\(0\): expected at least one batch, got none"):
        carried_out(by_hand(batches=lambda epoch: batches))
    with pytest.raises(InputError, match=r"^batches\(2\): expected at least one batch, got none"):
        carried_out(by_hand(batches=lambda epoch: batches if epoch == 2 else [1, 2]))


def test_batches_that_are_no_batches_are_refused():
    with pytest.raises((InputError, ExperimentError), match=r"^batches\(0\).*'NoneType' object is not iterable"):
        carried_out(by_hand(batches=lambda epoch: None))


@pytest.mark.parametrize("sizes", [(), (0,), (2, -1), (1.5,), None, 3])
def test_a_batch_has_steps_and_samples(sizes):
    with pytest.raises(InputError, match=r"^sizes: expected a positive whole number of samples for each step, got"):
        carried_out(by_hand(sizes=lambda batch: sizes))


def test_a_batch_without_samples_is_refused():
    with pytest.raises(InputError, match=r"^sizes: expected a positive whole number of samples for each step, got"):
        carried_out(by_hand(batches=lambda epoch: [np.zeros((0, 3))]))


def test_batches_that_end_early_on_resume_are_refused():
    middle = nth(2, stream(by_hand()))
    with pytest.raises(InputError, match=r"^batches\(0\): expected the 3 steps that were taken.*, got 2 that end"):
        carried_out_from(by_hand(batches=lambda epoch: range(2)), middle)


def test_a_batch_that_another_engine_took_in_part_is_refused():
    middle = nth(2, stream(by_hand(lambda state: {"loss": 1.0}, batches=lambda epoch: range(4))))
    whole = by_hand(sizes=lambda batch: [1] * 4)
    with pytest.raises(InputError, match=r"^batches\(0\): expected a batch that begins at step 3, got none; the steps"):
        carried_out_from(whole, middle)


def test_what_is_watched_is_a_column():
    for limits in ({}, {"patience": 1}):
        with pytest.raises(InputError, match=r"^watch: expected one of the columns epoch, .*, got 'colour'"):
            carried_out(by_hand(watch="colour", **limits))
    with pytest.raises(InputError, match=r"^watch: expected one of .*, got 'validation/loss'"):
        carried_out(regression(watch="validation/loss"))
