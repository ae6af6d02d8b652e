"""The laws of an experiment: planted faults are caught by the right law, and right experiments pass."""

import enum
import random
import subprocess
import sys
from itertools import count, cycle
from math import nan
from time import perf_counter_ns

import numpy as np
import pytest
from attrs import evolve, frozen

import funcnn as fn
from funcnn import Batch, InputError, Key, tree
from funcnn.runs import Experiment, supervised
from funcnn.testing import BrokenLaw, check_experiment
from funcnn.testing.experiments import FEW, LAWS
from funcnn.tree import frozendict, record
from tests.small_experiments import TABLE, classifier

SAVED, BEGIN, BATCHES, KINDS, STEP, EVALUATE, GLOBAL, STOPPING = LAWS

KEY = Key(0)
X = KEY.at("x").uniform((40, 2), low=-1.0)
DATA = Batch(X, np.sin(3 * X))
MODEL = fn.serial(fn.dense(4), fn.tanh(), fn.dense(2))
HOW = {"key": KEY, "batch_size": 8, "epochs": 3, "evaluate": {"validation": DATA}}
RIGHT = supervised(MODEL, fn.mean_squared_error(), fn.adam(0.01), DATA, **HOW)


@record
class Counted:
    """A state of one's own."""

    count: int
    metrics: frozendict
    more: tuple = ()


def halved(params, more=()):
    return params / 2, more


def by_hand(step=halved, *, params=None, more=(), **fields):
    """An experiment whose ``step(params, more)`` gives new ones, with a vector for params."""

    def begin():
        return np.ones(2) if params is None else params, Counted(0, frozendict({"loss": nan}), more)

    def taken(params, state, batch):
        new, more = step(params, state.more)
        return new, Counted(state.count + 1, frozendict({"loss": float(np.sum(params))}), more)

    return Experiment(**{"begin": begin, "step": taken, "batches": lambda epoch: [None] * 5, "epochs": 2, **fields})


def rows_of(order):
    return [tree.map(lambda array, rows=rows: array[rows], DATA) for rows in np.reshape(order, (-1, 8))]


def begins_with(draw):
    def begin():
        params, state = RIGHT.begin()
        return tree.map(lambda leaf: leaf + draw(leaf.shape).astype(leaf.dtype), params), state

    return evolve(RIGHT, begin=begin)


def evaluates(evaluate):
    return by_hand(evaluate=evaluate)


def draws(generator):
    return by_hand(lambda params, more: (params + generator().normal(size=2), more))


def batched(batches):
    """The right experiment on these rows of its data."""
    return evolve(RIGHT, batches=lambda epoch: rows_of(batches(epoch)))


def seeded_by_the_global_state(shape):
    return np.random.default_rng(np.random.get_state()[1][0]).normal(size=shape)


@frozen
class Hidden:
    """A state that is no record."""

    velocity: np.ndarray
    metrics: dict


def a_shuffle_in_place():
    order = [*range(40)]
    return batched(lambda epoch: random.Random(epoch).shuffle(order) or order)


def the_last_epoch():
    asked = [0]

    def batches(epoch):
        last, asked[0] = asked[0], epoch
        return KEY.at(last, epoch).permutation(40)

    return batched(batches)


def a_position():
    """Whole epochs begin at the beginning; after part of one, the next begins where that was left."""
    position = [0]

    def batches(epoch):
        while position[0] < 2:
            position[0] += 1
            yield np.array(position)
        position[0] = 0

    return by_hand(batches=batches)


def batches_that_follow_the_loss():
    losses = {}

    def step(params, state, batch):
        losses[state.count] = float(np.sum(params))
        return params * batch, evolve(state, count=state.count + 1, metrics=frozendict({"loss": 1.0}))

    return evolve(by_hand(), step=step, batches=lambda epoch: [np.full(2, 0.9 if len(losses) < 4 else 0.5)] * 3)


def a_list_of_velocities():
    velocities = [np.zeros(2)]

    def step(params, more):
        velocities.append(0.9 * velocities[-1] - 0.1 * params)
        return params + velocities[-1], more

    return by_hand(step)


def velocities_by_step():
    """Repeated by itself, a step finds what it found before."""
    velocities = {0: np.zeros(2)}

    def step(params, state, batch):
        velocities[state.count + 1] = 0.9 * velocities[state.count] - 0.1 * params
        state = evolve(state, count=state.count + 1, metrics=frozendict({"loss": float(np.sum(params))}))
        return params + velocities[state.count], state

    return evolve(by_hand(), step=step)


def writes(params, state, batch):
    params["w"] *= 0.5
    return params, evolve(state, count=state.count + 1)


def writes_to_a_record(params, state, batch):
    weights = params[0].weights
    weights *= 0.5
    return params, state


def writes_to_the_batch(params, state, batch):
    batch.setflags(write=True)
    batch *= 2
    return params, evolve(state, count=state.count + 1)


def a_rate_that_evaluation_lowers():
    rates = [0.1]

    def evaluate(params):
        rates.append(rates[-1] / 2)
        return {"sum": np.sum(params)}

    return by_hand(lambda params, more: (params * (1 - rates[-1]), more), evaluate=evaluate)


def promotes(params, state, batch):
    params, state = RIGHT.step(params, state, batch)
    return tree.map(lambda leaf: leaf.astype(np.float64), params), state


def a_running_best():
    """The least so far, of a process rather than of the params."""
    sums = []
    return evaluates(lambda params: {"least": sums.append(float(np.sum(params))) or min(sums)})


class Phase(enum.StrEnum):
    """A text goes through a checkpoint, its class does not."""

    WARM = "warm"


def rated(container):
    """A step on params in a container, which learns at another rate where that is a list."""
    return lambda params, more: (container(a * (0.9 if isinstance(params, list) else 0.5) for a in params), more)


def late_list(leaves):
    """A list from the fourth step on."""
    leaves = tuple(leaves)
    return [*leaves] if leaves[0][0] < 0.1 else leaves


def fails(*args):
    raise RuntimeError("no such data")


MISSING, NO_DATA = "is float instead of missing", "RuntimeError: no such data"
AGAIN = r"batches of epoch \d again: batch 1\.inputs differs"
SAME = "the first step: expected params and state of the same"
OTHERS = r"1 in another global random state: .* differs"

FAULTS = {
    SAVED: {
        "a state that is not a record": (
            by_hand(begin=lambda: (np.ones(2), Hidden(np.zeros(2), {}))),
            "state is a Hidden; make its class a record",
        )
    },
    BEGIN: {
        "noise without a key": (
            begins_with(lambda shape: np.random.default_rng().normal(size=shape)),
            r"begin 1 again: params\.0\.weights differs",
        ),
        "raises an error": (evolve(RIGHT, begin=fails), NO_DATA),
    },
    BATCHES: {
        "shuffles one list in place": (a_shuffle_in_place(), AGAIN),
        "remembers the last epoch": (the_last_epoch(), AGAIN),
        "one iterator for all epochs": (
            evolve(RIGHT, batches=lambda epoch, rows=iter(rows_of(np.arange(40)) * 2): rows),
            r"epoch 2 again: batch 3\.inputs is missing",
        ),
        "one iterator of empty batches": (
            by_hand(batches=lambda epoch, batches=iter([None] * 6): batches),
            "epoch 2 again: .* another tree",
        ),
        "one endless iterator": (
            by_hand(batches=lambda epoch, batches=cycle(np.array([[0], [1], [2], [3]])): batches),
            r"epoch \d again: batch 1 is",
        ),
        "continues where the last epoch stopped": (
            a_position(),
            r"epoch 2 again: batch 1 is missing instead of int64 \(1,\)",
        ),
        "depends on the loss": (batches_that_follow_the_loss(), "batches of epoch 2 again: batch 1 differs"),
        "raises an error": (evolve(RIGHT, batches=fails), NO_DATA),
    },
    STEP: {
        "counts its calls": (by_hand(lambda p, m, calls=count(2): (p / next(calls), m)), "step 6 again: params"),
        "its rate depends on the number of calls": (
            by_hand(lambda p, m, calls=count(1): (p * (0.9 if next(calls) < 5 else 0.5), m)),
            "step 4 again: params differs",
        ),
        "keeps a global list": (a_list_of_velocities(), "step 6 again: params"),
        "keeps a dict by step number": (velocities_by_step(), r"step \d again: params"),
        "returns its buffer": (
            by_hand(lambda p, m, buffer=np.ones(2): (np.multiply(p, 0.5, out=buffer), m)),
            r"step \d again: params",
        ),
        "writes to params": (
            evolve(by_hand(params={"w": np.ones(2)}), step=writes),
            "ValueError: output array is read-only",
        ),
        "writes to a record": (evolve(RIGHT, step=writes_to_a_record), "output array is read-only"),
        "writes to the batch": (
            evolve(by_hand(), batches=lambda epoch: [np.ones(2)] * 3, step=writes_to_the_batch),
            "step 6 changes an argument: 2 differs",
        ),
        "seeds from the operating system": (draws(np.random.default_rng), "step 6 again: params"),
        "seeds from the clock": (draws(lambda: np.random.default_rng(perf_counter_ns())), "step 6 again: params"),
        "evaluation changes its rate": (a_rate_that_evaluation_lowers(), r"step \d again: params"),
        "raises an error": (by_hand(fails), NO_DATA),
    },
    KINDS: {
        "the state grows": (by_hand(lambda p, m: (p, (*m, 1.0))), rf"after step 1: state\.more\.0 {MISSING}"),
        "the state grows late": (
            by_hand(lambda p, m: (p / 2, (1.0,) if p[0] < 0.5 else m)),
            rf"after step 3: state\.more\.0 {MISSING}",
        ),
        "params are promoted": (
            evolve(RIGHT, step=promotes),
            r"after step 1: params\.0\.weights is float64 \(2, 4\) instead of float32 \(2, 4\)",
        ),
        "metrics come late": (
            by_hand(begin=lambda: (np.ones(2), Counted(0, frozendict({})))),
            rf"after step 1: state\.metrics\.loss {MISSING}",
        ),
    },
    EVALUATE: {
        "an array": (evaluates(lambda params: {"sum": params}), r"'sum' is array\(.*\) instead of a number"),
        "a number without a name": (evaluates(np.sum), "instead of numbers by name"),
        "a text": (evaluates(lambda params: {"sum": "1"}), "'sum' is '1' instead of a number"),
        "None": (evaluates(lambda params: {"sum": None}), "TypeError: float.* not 'NoneType'"),
        "counts its calls": (
            evaluates(lambda params, calls=count(): {"calls": next(calls)}),
            "evaluate 2 again: calls is 2 instead of 1",
        ),
        "remembers the best": (a_running_best(), r"evaluate 1 again: least is 0\.03.* instead of 0\.25"),
        "raises an error": (evolve(RIGHT, evaluate=fails), NO_DATA),
    },
    GLOBAL: {
        "begin reads it": (begins_with(seeded_by_the_global_state), f"begin {OTHERS}"),
        "batches draw from NumPy": (batched(lambda epoch: np.random.permutation(40)), f"batches of epoch {OTHERS}"),
        "batches draw from random": (batched(lambda epoch: random.sample(range(40), 40)), f"batches of epoch {OTHERS}"),
        "the step draws from NumPy": (draws(lambda: np.random), f"step {OTHERS}"),
        "evaluation seeds it": (
            evaluates(lambda params: {"noise": np.random.seed(0) or np.random.random()}),
            "evaluate 1 changes NumPy's",
        ),
    },
    STOPPING: {
        "a state that JSON cannot hold": (
            by_hand(lambda p, m: (p * (0.9 if isinstance(m[0], Phase) else 0.5), m), more=(Phase.WARM,)),
            r"save_tree state\.more\.0: expected .* which can be saved, got Phase",
        ),
        "params are a list": (by_hand(rated(list), params=(np.ones(2),)), SAME),
        "params become a list": (by_hand(rated(late_list), params=(np.ones(2),)), SAME),
        "there are no batches": (by_hand(batches=lambda epoch: []), "at least one batch, got none"),
        "a column has two sources": (evaluates(lambda params: {"train/loss": 0.0}), "names that no other column has"),
    },
}


@pytest.mark.parametrize(("law", "name"), [(law, name) for law, faults in FAULTS.items() for name in faults])
def test_a_fault_is_caught_by_its_law(law, name):
    experiment, message = FAULTS[law][name]
    state = repr(np.random.get_state(legacy=False)), random.getstate()
    with pytest.raises(BrokenLaw, match=f"^the experiment breaks the law '{law}': .*{message}"):
        check_experiment(experiment)
    assert (repr(np.random.get_state(legacy=False)), random.getstate()) == state


def one_buffer_for_all_batches():
    """What a loader does that copies nothing."""
    buffer = np.zeros(2)

    def batches(epoch):
        for i in count():
            buffer[...] = KEY.at(epoch, i).normal((2,))
            yield {"noise": buffer}

    def step(params, state, batch):
        return params + batch["noise"], evolve(state, count=state.count + 1)

    return evolve(by_hand(), batches=batches, step=step)


def one_batch():
    """There is no second epoch to ask for."""
    return evolve(RIGHT, batches=lambda epoch: [[DATA]][epoch], epochs=1)


def caches(params, more, seen={}):  # noqa: B006 a memory that changes no result is nobody's business
    return seen.setdefault(params.tobytes(), params / 2), more


def many_kinds(params, more):
    key, mean, phase, up = more
    return params + key.at(phase).normal((2,), np.float64), (key, 0.9 * mean, phase, not up)


RIGHTS = {
    **TABLE,
    "patience": lambda: classifier(4, patience=1, watch="validation/loss"),
    "a state of many kinds": lambda: by_hand(many_kinds, more=(KEY, np.float64(1.0), "warm", True)),
    "no evaluation": by_hand,
    "an endless generator of one buffer": one_buffer_for_all_batches,
    "NaN": lambda: by_hand(lambda params, more: (params * np.inf - np.inf, (more[0] * 1e200, -nan)), more=(1.0, nan)),
    "one batch, one epoch": one_batch,
    "no params": lambda: by_hand(lambda params, more: (params, more), params=()),
    "a cache": lambda: by_hand(caches),
}


@pytest.mark.parametrize("make", RIGHTS.values(), ids=RIGHTS)
def test_a_right_experiment_passes(make):
    check_experiment(make())
    check_experiment(make(), epochs=1)


def test_a_function_that_seeds_python_is_caught():
    """In a process of its own, without the checks of annotations, which draw from Python's generator themselves."""
    code = """
import random
import numpy as np, attrs, funcnn as fn
from funcnn.runs import supervised
from funcnn.testing import check_experiment
data = fn.Batch(*np.ones((2, 4, 2), np.float32))
right = supervised(fn.dense(2), fn.mean_squared_error(), fn.sgd(0.1), data, key=fn.Key(0), batch_size=2, epochs=2)
check_experiment(right)
check_experiment(attrs.evolve(right, evaluate=lambda params: {"noise": random.seed(0) or random.random()}))
"""
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert f"'{GLOBAL}': evaluate 1 changes the state of Python's random; draw from a Key" in end


def test_a_law_can_be_left_out():
    check_experiment(FAULTS[GLOBAL]["evaluation seeds it"][0], unless=[GLOBAL])


def test_epochs_are_counted():
    with pytest.raises(InputError, match="Experiment epochs: expected a positive whole number, got 0"):
        check_experiment(RIGHT, epochs=0)


def test_the_cost_is_bounded_however_long_the_experiment():
    counts = dict.fromkeys(("batches", "step", "evaluate"), 0)

    def counted(name, value):
        counts[name] += 1
        return value

    check_experiment(
        evolve(
            RIGHT,
            epochs=10**6,
            batches=lambda epoch: (counted("batches", batch) for batch in cycle(rows_of(np.arange(40)))),
            step=lambda *args: counted("step", RIGHT.step(*args)),
            evaluate=lambda params: counted("evaluate", RIGHT.evaluate(params)),
        )
    )
    assert counts["step"] <= 50
    assert counts["evaluate"] <= 20
    assert counts["batches"] <= 20 * FEW
