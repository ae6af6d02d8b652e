"""What an experiment may not be or do: refused where it happens, by one clear message."""

import re
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from toolz import last, nth

from funcnn import InputError, frozendict
from funcnn.runs import ExperimentError, stream
from tests.small_experiments import Seen, by_hand, regression


def carried_out(experiment, start=None):
    return last(stream(experiment, start))


def evaluating(value):
    return by_hand(evaluate=lambda params: value)


def after(params=None, **state):
    """An experiment after whose first step params or fields of the state are others."""

    def step(before, seen, batch):
        new = Seen(seen.count + 1, frozendict({"loss": 1.0}))
        return before if params is None else params, evolve(new, **state)

    return by_hand(step=step)


def beginning(metrics):
    return by_hand(begin=lambda: (0.0, Seen(0, frozendict(metrics))))


def more_at(step):
    """Metrics that have one name more at a step."""
    return by_hand(lambda state: {"loss": 1.0, **({"more": 1.0} if state.count + 1 == step else {})})


PLAIN = "a name without commas, quotes or line breaks, got "
OTHER = "names other than epoch, step, samples, seconds, got "
NAMES = [(name, f"{PLAIN}{re.escape(repr(name))}") for name in ("a,b", "a\nb", 'a"b', "")]
NAMES += [(name, f"{OTHER}'{name}'") for name in ("epoch", "seconds")]
VALUES = [
    (np.ones(3), r"\(3,\)"),
    (np.ones((1, 1)), r"\(1, 1\)"),
    ([1.0, 2.0], r"\[1.0, 2.0\]"),
    ([1.0, [2.0]], r"\[1.0, \[2.0\]\]"),
    ("1.0", "'1.0'"),
    (b"1.0", "b'1.0'"),
    (None, "None"),
    (1j, "1j"),
    ({"a": 1.0}, r"\{'a': 1.0\}"),
]
METRICS, PAIR = "begin: the state's metrics:", "expected params and state, got"
TREE = "the first step: expected params and state with the tree that they had, got"
LATER = "give the first state every leaf that later ones have, NaN for what is not"
ONE_BATCH = "expected at least one batch, got none"
FLOATS = r"params was float64 \(2,\), is"
SIZES = "sizes: expected a positive whole number of samples for each step, got"

REFUSED = [
    *((by_hand(lambda state, name=name: {name: 1.0}), f"{METRICS} expected {text}") for name, text in NAMES),
    *((evaluating({name: 1.0}), f"evaluate: expected {text}") for name, text in NAMES),
    *((by_hand(lambda s, v=v: {"loss": v}), f"step 1: metric 'loss': expected one number, got {t}") for v, t in VALUES),
    *((evaluating({"test/loss": v}), f"evaluate: 'test/loss': expected one number, got {text}") for v, text in VALUES),
    *((beginning({"loss": v}), f"{METRICS} 'loss': expected one number, got ") for v in (None, np.ones(3))),
    *((evaluating(row), "evaluate: expected numbers by name, got") for row in (None, 1.0, ["loss"])),
    (after(metrics=[1.0]), r"step 1: the state's metrics: expected numbers by name, got \[1.0\]"),
    (by_hand(begin=lambda: (0.0, 0.0)), f"{METRICS} expected numbers by name, got None"),
    *((more_at(i), f"step {i}: expected metrics named loss, got loss, more") for i in (3, 5, 6)),  # 5 begins an epoch
    (after(metrics=frozendict({"other": 1.0})), "step 1: expected metrics named loss, got other; give the first state"),
    (evaluating({"train/loss": 1.0}), r"evaluate: expected names that no other column has, got \['train/loss'\]"),
    (by_hand(evaluate=lambda p: {"a" if p[0] == 4 else "b": 1.0}), "epoch 2: expected the columns epoch, .*, a, s"),
    (after(np.zeros(3)), rf"{TREE} {FLOATS} float64 \(3,\).*{LATER}"),
    (after(np.zeros(2, np.float32)), rf"{TREE} {FLOATS} float32 \(2,\)"),
    (after([np.zeros(2)]), rf"{TREE} {FLOATS} missing; params.0 was missing, is float64 \(2,\)"),
    (after(count=1.0), f"{TREE} state.count was int, is float"),
    (evolve(after([np.zeros(2)]), begin=lambda: ((np.zeros(2),), by_hand().begin()[1])), "the first step: .* records"),
    *((by_hand(begin=lambda r=r: r), f"begin: {PAIR}") for r in (None, 1.0, np.zeros(2), (1.0,), (1.0, 2.0, 3.0))),
    *((by_hand(step=lambda *_, r=r: r), f"step 1: {PAIR}") for r in (None, 1.0, np.zeros(2), (1.0,), (1.0, 2.0, 3.0))),
    *((by_hand(batches=lambda epoch, b=b: b), rf"batches\(0\): {ONE_BATCH}") for b in ([], iter(()))),
    (by_hand(batches=lambda epoch: [1, 2] if epoch < 2 else []), rf"batches\(2\): {ONE_BATCH}"),
    *((by_hand(sizes=lambda batch, sizes=sizes: sizes), SIZES) for sizes in ((), (0,), (2, -1), (1.5,), None, 3)),
    (by_hand(batches=lambda epoch: [np.zeros((0, 3))]), SIZES),
    *((by_hand(watch="colour", patience=n), "watch: .* columns epoch, .*, got 'colour'") for n in (None, 1)),
    (regression(watch="validation/loss"), "watch: expected one of .*, got 'validation/loss'"),
]


@pytest.mark.parametrize(("experiment", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_an_experiment_is_refused(experiment, message):
    with pytest.raises(InputError, match=f"^{message}"):
        carried_out(experiment)


LOSS_ALONE = by_hand(lambda state: {"loss": 1.0})


RESUMED = {
    "another tree": (by_hand(), 1, after(np.zeros(3)), TREE),
    "batches that end early": (by_hand(), 2, by_hand(batches=lambda epoch: range(2)), ".* the 3 steps that.*, got 2"),
    "a batch that another engine took in part": (LOSS_ALONE, 2, by_hand(sizes=lambda _: [1] * 4), ".* at step 3"),
}


@pytest.mark.parametrize(("before", "steps", "resumed", "message"), RESUMED.values(), ids=RESUMED)
def test_a_resume_is_refused(before, steps, resumed, message):
    with pytest.raises(InputError, match=f"^{message}"):
        carried_out(resumed, nth(steps, stream(before)))


def test_batches_that_are_no_batches_are_refused():
    with pytest.raises((InputError, ExperimentError), match=r"^batches\(0\).*'NoneType' object is not iterable"):
        carried_out(by_hand(batches=lambda epoch: None))


@pytest.mark.parametrize("number", [np.float32(1), np.array(1.0), 1, True, np.int64(3)])
def test_any_number_is_a_metric(number):
    progress = carried_out(by_hand(lambda state: {"loss": number}, evaluate=lambda params: {"value": number}))
    assert {type(row["loss"]) for row in progress.rows} == {type(progress.history[0]["value"])} == {float}
    assert type(progress.state.metrics["loss"]) is float


def test_a_state_of_another_kind_has_metrics_too():
    pair = namedtuple("pair", ["count", "metrics"])

    def step(params, state, batch):
        return params, pair(state.count + 1, {"loss": np.float32(state.count)})

    experiment = by_hand(begin=lambda: (0.0, pair(0, {"loss": 0.0})), step=step)
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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_refuses_is_refused_at_its_place(name):
    def refuse():
        raise InputError("dense(3)", "inputs (batch, in)", "(3,)")

    where, fields = FUNCTIONS[name]
    with pytest.raises(InputError, match=rf"^{where}: dense\(3\): expected inputs \(batch, in\), got \(3,\)"):
        carried_out(by_hand(**fields(refuse)))


def test_a_step_that_stops_an_iteration_does_not_end_the_run_in_silence():
    with pytest.raises(ExperimentError, match=r"^step 1 raises StopIteration"):
        carried_out(by_hand(step=lambda params, state, batch: next(iter(()))))


@pytest.mark.parametrize("error", [FileNotFoundError("x.csv"), MemoryError("no"), ModuleNotFoundError("no")])
def test_what_the_machine_lacks_is_no_fault_of_an_experiment(error):
    def fail(epoch):
        raise error

    with pytest.raises(type(error), match=f"^{error}$"):
        carried_out(by_hand(batches=fail))
