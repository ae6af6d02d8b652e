"""The laws of an experiment: planted faults are caught by the right law, and right experiments pass."""

import enum
import itertools
import random
import subprocess
import sys
import time
from functools import partial

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import Batch, InputError, Key, tree
from funcnn.runs import Experiment, supervised
from funcnn.testing import BrokenLaw, check_experiment
from funcnn.testing.experiments import FEW, LAWS
from funcnn.tree import frozendict, record

SAVED, BEGIN, BATCHES, KINDS, STEP, EVALUATE, GLOBAL, STOPPING = LAWS

KEY = Key(0)
X = KEY.at("x").uniform((40, 2), low=-1.0)
DATA = Batch(X, np.sin(3 * X))
RIGHT = supervised(
    fn.serial(fn.dense(4), fn.tanh(), fn.dense(2)),
    fn.mean_squared_error(),
    fn.adam(0.01),
    DATA,
    key=KEY,
    batch_size=8,
    epochs=3,
    evaluate={"validation": DATA},
)


@record
class Counted:
    """A state of one's own."""

    count: int
    metrics: frozendict
    more: tuple = ()


def by_hand(step, *, params=None, batches=lambda epoch: [None] * 5, more=(), **fields):
    """An experiment whose ``step(params, more)`` gives new ones, with a vector for params."""

    def begin():
        return np.ones(2) if params is None else params, Counted(0, frozendict({"loss": float("nan")}), more)

    def taken(params, state, batch):
        new, more = step(params, state.more)
        return new, Counted(state.count + 1, frozendict({"loss": float(np.sum(params))}), more)

    return Experiment(begin, taken, batches, epochs=2, **fields)


def rows_of(order):
    return [tree.map(lambda array, rows=rows: array[rows], DATA) for rows in np.reshape(order, (-1, 8))]


def halved(params, more):
    return params / 2, more


def begins_with(draw):
    def begin():
        params, state = RIGHT.begin()
        return tree.map(lambda leaf: leaf + draw(leaf.shape).astype(leaf.dtype), params), state

    return attrs.evolve(RIGHT, begin=begin)


def seeded_by_the_global_state(shape):
    return np.random.default_rng(np.random.get_state()[1][0]).normal(size=shape)


def a_state_that_is_no_record():
    @attrs.frozen
    class Hidden:
        velocity: np.ndarray
        metrics: dict

    return attrs.evolve(by_hand(halved), begin=lambda: (np.ones(2), Hidden(np.zeros(2), {})))


def a_shuffle_in_place():
    order = [*range(40)]

    def batches(epoch):
        random.Random(epoch).shuffle(order)
        return rows_of(order)

    return attrs.evolve(RIGHT, batches=batches)


def the_last_epoch():
    asked = [0]

    def batches(epoch):
        last, asked[0] = asked[0], epoch
        return rows_of(KEY.at(last, epoch).permutation(40))

    return attrs.evolve(RIGHT, batches=batches)


def one_generator():
    batches = iter(rows_of(np.arange(40)) * 2)
    return attrs.evolve(RIGHT, batches=lambda epoch: batches)


def a_generator_of_nothing():
    batches = iter([None] * 6)
    return by_hand(halved, batches=lambda epoch: batches)


def one_cycle():
    batches = itertools.cycle([np.array([i]) for i in range(4)])
    return by_hand(halved, batches=lambda epoch: batches)


def a_position():
    """Whole epochs begin at the beginning; after part of one, the next begins where that was left."""
    position = [0]

    def batches(epoch):
        while position[0] < 2:
            position[0] += 1
            yield np.array(position)
        position[0] = 0

    return by_hand(halved, batches=batches)


def batches_that_follow_the_loss():
    losses = {}

    def step(params, state, batch):
        losses[state.count] = float(np.sum(params))
        return params * batch, attrs.evolve(state, count=state.count + 1, metrics=frozendict({"loss": 1.0}))

    def batches(epoch):
        return [np.full(2, 0.9 if len(losses) < 4 else 0.5)] * 3

    return attrs.evolve(by_hand(halved), step=step, batches=batches)


def a_counter():
    calls = itertools.count(2)
    return by_hand(lambda params, more: (params / next(calls), more))


def a_late_counter():
    """The rate falls after so many steps of this process."""
    calls = itertools.count(1)
    return by_hand(lambda params, more: (params * (0.9 if next(calls) < 5 else 0.5), more))


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
        state = attrs.evolve(state, count=state.count + 1, metrics=frozendict({"loss": float(np.sum(params))}))
        return params + velocities[state.count], state

    return attrs.evolve(by_hand(halved), step=step)


def a_buffer():
    buffer = np.ones(2)
    return by_hand(lambda params, more: (np.multiply(params, 0.5, out=buffer), more))


def writes(params, state, batch):
    params["w"] *= 0.5
    return params, attrs.evolve(state, count=state.count + 1)


def writes_to_a_record(params, state, batch):
    weights = params[0].weights
    weights *= 0.5
    return params, state


def writes_to_the_batch(params, state, batch):
    batch.setflags(write=True)
    batch *= 2
    return params, attrs.evolve(state, count=state.count + 1)


def draws(generator, params, more):
    return params + generator().normal(size=2), more


def clock():
    return np.random.default_rng(time.perf_counter_ns())


def a_rate_that_evaluation_lowers():
    rates = [0.1]

    def evaluate(params):
        rates.append(rates[-1] / 2)
        return {"sum": np.sum(params)}

    return by_hand(lambda params, more: (params * (1 - rates[-1]), more), evaluate=evaluate)


def promotes(params, state, batch):
    params, state = RIGHT.step(params, state, batch)
    return tree.map(lambda leaf: leaf.astype(np.float64), params), state


def evaluation_that_counts():
    calls = itertools.count()
    return by_hand(halved, evaluate=lambda params: {"calls": next(calls)})


def a_running_best():
    """The least so far, of a process rather than of the params."""
    sums = []

    def evaluate(params):
        sums.append(float(np.sum(params)))
        return {"least": min(sums)}

    return by_hand(halved, evaluate=evaluate)


def phases():
    """A text goes through a checkpoint, its class does not."""

    class Phase(enum.StrEnum):
        WARM = "warm"

    return by_hand(
        lambda params, more: (params * (0.9 if isinstance(more[0], Phase) else 0.5), more), more=(Phase.WARM,)
    )


def containers():
    def step(params, more):
        return [leaf * (0.9 if isinstance(params, list) else 0.5) for leaf in params], more

    return by_hand(step, params=(np.ones(2),))


def late_containers():
    """The list comes with the fourth step."""

    def step(params, more):
        rate = 0.9 if isinstance(params, list) else 0.5
        return (list if params[0][0] < 0.2 else tuple)(leaf * rate for leaf in params), more

    return by_hand(step, params=(np.ones(2),))


def fails(*args):
    raise RuntimeError("no such data")


FAULTS = {
    "begin draws fresh noise": (
        lambda: begins_with(lambda shape: np.random.default_rng().normal(size=shape)),
        BEGIN,
        r"begin 1 again: params\.0\.weights differs",
    ),
    "begin reads the global state": (
        lambda: begins_with(seeded_by_the_global_state),
        GLOBAL,
        r"begin 1 in another global random state: params\.0\.weights differs",
    ),
    "the state is no record": (a_state_that_is_no_record, SAVED, "state is a Hidden; make its class a record"),
    "batches draw from NumPy": (
        lambda: attrs.evolve(RIGHT, batches=lambda epoch: rows_of(np.random.permutation(40))),
        GLOBAL,
        r"batches of epoch 1 in another global random state: batch 1\.inputs differs",
    ),
    "batches draw from random": (
        lambda: attrs.evolve(RIGHT, batches=lambda epoch: rows_of(random.sample(range(40), 40))),
        GLOBAL,
        r"batches of epoch 1 in another global random state: batch 1\.inputs differs",
    ),
    "batches are shuffled in place": (
        a_shuffle_in_place,
        BATCHES,
        r"batches of epoch \d again: batch 1\.inputs differs",
    ),
    "batches remember the last epoch": (the_last_epoch, BATCHES, r"batches of epoch \d again: batch 1\.inputs differs"),
    "batches are one generator": (one_generator, BATCHES, r"batches of epoch 2 again: batch 3\.inputs is missing"),
    "batches are one generator of nothing": (
        a_generator_of_nothing,
        BATCHES,
        r"batches of epoch 2 again: .* another tree",
    ),
    "batches are a generator that begins anew at its end": (
        one_cycle,
        BATCHES,
        r"batches of epoch \d again: batch 1 is",
    ),
    "batches go on where they were left": (
        a_position,
        BATCHES,
        r"batches of epoch 2 again: batch 1 is missing instead of int64 \(1,\)",
    ),
    "batches follow the loss": (batches_that_follow_the_loss, BATCHES, r"batches of epoch 2 again: batch 1 differs"),
    "the step counts": (a_counter, STEP, r"step 6 again: params differs"),
    "the step counts, and is another one late": (a_late_counter, STEP, r"step 4 again: params differs"),
    "the step keeps a global list": (a_list_of_velocities, STEP, r"step 6 again: params differs"),
    "the step keeps a dict by its number": (velocities_by_step, STEP, r"step \d again: params differs"),
    "the step hands out its buffer": (a_buffer, STEP, r"step \d again: params differs"),
    "the step writes to params": (
        lambda: attrs.evolve(by_hand(halved, params={"w": np.ones(2)}), step=writes),
        STEP,
        "ValueError: output array is read-only",
    ),
    "the step writes to a record": (
        lambda: attrs.evolve(RIGHT, step=writes_to_a_record),
        STEP,
        "output array is read-only",
    ),
    "the step writes to the batch": (
        lambda: attrs.evolve(by_hand(halved, batches=lambda epoch: [np.ones(2)] * 3), step=writes_to_the_batch),
        STEP,
        "step 6 changes an argument: 2 differs",
    ),
    "the step draws entropy": (
        lambda: by_hand(partial(draws, np.random.default_rng)),
        STEP,
        "step 6 again: params dif",
    ),
    "the step draws by the clock": (lambda: by_hand(partial(draws, clock)), STEP, "step 6 again: params differs"),
    "the step draws from NumPy": (
        lambda: by_hand(partial(draws, lambda: np.random)),
        GLOBAL,
        "step 1 in another global random state: params differs",
    ),
    "evaluation teaches the step": (a_rate_that_evaluation_lowers, STEP, r"step \d again: params differs"),
    "the state grows": (
        lambda: by_hand(lambda params, more: (params, (*more, 1.0))),
        KINDS,
        r"after step 1: state\.more\.0 is float instead of missing",
    ),
    "the state grows late": (
        lambda: by_hand(lambda params, more: (params / 2, (1.0,) if params[0] < 0.5 else more)),
        KINDS,
        r"after step 3: state\.more\.0 is float instead of missing",
    ),
    "params are promoted": (
        lambda: attrs.evolve(RIGHT, step=promotes),
        KINDS,
        r"after step 1: params\.0\.weights is float64 \(2, 4\) instead of float32 \(2, 4\)",
    ),
    "metrics come late": (
        lambda: attrs.evolve(by_hand(halved), begin=lambda: (np.ones(2), Counted(0, frozendict({})))),
        KINDS,
        r"after step 1: state\.metrics\.loss is float instead of missing",
    ),
    "evaluation gives an array": (
        lambda: by_hand(halved, evaluate=lambda params: {"sum": params}),
        EVALUATE,
        r"'sum' is array\(.*\) instead of a number",
    ),
    "evaluation gives no names": (lambda: by_hand(halved, evaluate=np.sum), EVALUATE, "instead of numbers by name"),
    "evaluation gives a text": (
        lambda: by_hand(halved, evaluate=lambda params: {"sum": "1"}),
        EVALUATE,
        "'sum' is '1' instead of a number",
    ),
    "evaluation gives None": (
        lambda: by_hand(halved, evaluate=lambda params: {"sum": None}),
        EVALUATE,
        "TypeError: float.* not 'NoneType'",
    ),
    "evaluation counts": (evaluation_that_counts, EVALUATE, r"evaluate 2 again: calls is 2 instead of 1"),
    "evaluation remembers": (
        a_running_best,
        EVALUATE,
        r"evaluate 1 again: least is 0\.03.* instead of 0\.25",
    ),
    "evaluation seeds": (
        lambda: by_hand(halved, evaluate=lambda params: {"noise": np.random.seed(0) or np.random.random()}),
        GLOBAL,
        "evaluate 1 changes NumPy's",
    ),
    "the state lives in a class of no JSON": (
        phases,
        STOPPING,
        r"at step 1, stopped after step 0: state.more.0 is str ins",
    ),
    "params are a list where a tuple began": (
        containers,
        STOPPING,
        "the first step: expected params and state of the same",
    ),
    "params are a list later": (late_containers, STOPPING, "the first step: expected params and state of the same"),
    "there are no batches": (
        lambda: by_hand(halved, batches=lambda epoch: []),
        STOPPING,
        "at least one batch, got none",
    ),
    "begin fails": (lambda: attrs.evolve(RIGHT, begin=fails), BEGIN, "RuntimeError: no such data"),
    "the step fails": (lambda: by_hand(fails), STEP, "RuntimeError: no such data"),
    "batches fail": (lambda: attrs.evolve(RIGHT, batches=fails), BATCHES, "RuntimeError: no such data"),
    "evaluation fails": (lambda: attrs.evolve(RIGHT, evaluate=fails), EVALUATE, "RuntimeError: no such data"),
    "a column has two sources": (
        lambda: by_hand(halved, evaluate=lambda params: {"train/loss": 0.0}),
        STOPPING,
        "names that no other column has",
    ),
}


@pytest.mark.parametrize(("make", "law", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught_by_its_law(make, law, message):
    with pytest.raises(BrokenLaw, match=f"^the experiment breaks the law '{law}': .*{message}"):
        check_experiment(make())


def classifier():
    """Dropout, a schedule, a smaller last batch, a penalty, patience."""
    train = Batch(X, KEY.at("y").permutation(40) % 3)
    return supervised(
        fn.serial(fn.dense(5), fn.relu(), fn.dropout(0.5), fn.dense(3)),
        fn.softmax_cross_entropy(),
        fn.adam(fn.inverse_time_decay(0.01, 0.1)),
        train,
        key=KEY,
        batch_size=16,
        epochs=4,
        evaluate={"validation": train},
        metrics={"accuracy": fn.accuracy},
        penalty=fn.l2(1e-3),
        patience=1,
    )


def two_inputs():
    joined = fn.Layer(
        init=lambda key, in_shape, dtype=np.float32: ((), in_shape[0]),
        forward=lambda params, x, mode: (x[0] + x[1], ()),
        vjp=lambda params, residuals, dy, need_dx=True: ((), (dy, dy)),
    )
    model = fn.serial(fn.parallel(fn.dense(3), fn.dense(3)), joined, fn.dense(1))
    train = Batch((X, X[:, :1]), X[:, 1:])
    return supervised(model, fn.mean_squared_error(), fn.sgd(0.1), train, key=KEY, batch_size=10, epochs=2)


def adversarial():
    """Two params by name, taught in turn, on noise of keys; its state is a record of its own, its batches are dicts."""

    def begin():
        params = {"generator": KEY.at("g").normal((2, 2)), "discriminator": KEY.at("d").normal((2,))}
        return params, Counted(0, {"loss": float("nan")}, (KEY.at("train"), np.float64(0.0), "warm", True))

    def step(params, state, batch):
        key, mean, phase, up = state.more
        fake = batch["noise"] @ params["generator"]
        score = np.tanh((batch["real"] - fake + key.at(state.count).normal((4, 2))) @ params["discriminator"])
        gradient = np.mean((1 - score**2)[:, None] * (batch["real"] - fake), axis=0)
        new = {
            "generator": params["generator"] + np.float32(0.1) * np.outer(gradient, params["discriminator"]),
            "discriminator": params["discriminator"] + np.float32(0.1 if up else -0.1) * gradient,
        }
        metrics = {"loss": np.mean(score), "norm": np.linalg.norm(gradient)}
        more = (key, 0.9 * mean + np.mean(score), phase, not up)
        return new, Counted(state.count + 1, {"loss": metrics["loss"]}, more)

    def batches(epoch):
        for i in range(7):
            key = KEY.at("batches", epoch, i)
            yield {"noise": key.at("noise").normal((4, 2)), "real": key.at("real").normal((4, 2))}

    return Experiment(begin, step, batches, epochs=100, evaluate=lambda params: {"d": np.sum(params["discriminator"])})


def one_buffer_for_all_batches():
    """What a loader does that copies nothing."""
    buffer = np.zeros(2)

    def batches(epoch):
        for i in itertools.count():
            buffer[...] = KEY.at(epoch, i).normal((2,))
            yield {"noise": buffer}

    def step(params, state, batch):
        return params + batch["noise"], attrs.evolve(state, count=state.count + 1)

    return attrs.evolve(by_hand(halved, batches=batches), step=step)


def diverging():
    """NaN in params, state and rows."""
    return by_hand(
        lambda params, more: (params * np.inf - np.inf, (more[0] * 1e200, -more[1])), more=(1.0, float("nan"))
    )


def one_batch():
    """There is no second epoch to ask for."""
    right = supervised(fn.dense(2), fn.mean_squared_error(), fn.sgd(0.1), DATA, key=KEY, batch_size=40, epochs=1)
    return attrs.evolve(right, batches=lambda epoch: [[DATA]][epoch])


def caches():
    """A memory that changes no result is nobody's business."""
    seen = {}
    return by_hand(lambda params, more: (seen.setdefault(params.tobytes(), params / 2), more))


RIGHTS = {
    "regression": lambda: RIGHT,
    "classifier": classifier,
    "two inputs": two_inputs,
    "adversarial": adversarial,
    "no evaluation": lambda: by_hand(halved),
    "an endless generator of one buffer": one_buffer_for_all_batches,
    "NaN": diverging,
    "one batch, one epoch": one_batch,
    "no params": lambda: by_hand(lambda params, more: (params, more), params=()),
    "a cache": caches,
}


@pytest.mark.parametrize("make", RIGHTS.values(), ids=RIGHTS)
def test_a_right_experiment_passes(make):
    check_experiment(make())
    check_experiment(make(), epochs=1)


def test_global_states_stay_as_they_were():
    before = repr(np.random.get_state(legacy=False)), random.getstate()
    check_experiment(RIGHT)
    for name in ("begin draws fresh noise", "batches draw from NumPy", "batches draw from random", "evaluation seeds"):
        with pytest.raises(BrokenLaw):
            check_experiment(FAULTS[name][0]())
    assert (repr(np.random.get_state(legacy=False)), random.getstate()) == before


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
    seeds = by_hand(lambda params, more: (np.random.seed(0) or params + np.random.normal(size=2), more))
    with pytest.raises(BrokenLaw, match=GLOBAL):
        check_experiment(seeds)
    check_experiment(seeds, unless=[GLOBAL])
    with pytest.raises(AssertionError, match=r"unless names laws of \['params .*, not \['purity'\]"):
        check_experiment(RIGHT, unless=["purity"])


def test_epochs_are_counted():
    with pytest.raises(InputError, match="Experiment epochs: expected a positive whole number, got 0"):
        check_experiment(RIGHT, epochs=0)


def test_the_cost_is_bounded_however_long_the_experiment():
    counts = dict.fromkeys(("batches", "step", "evaluate"), 0)

    def count(name, value):
        counts[name] += 1
        return value

    check_experiment(
        attrs.evolve(
            RIGHT,
            epochs=10**6,
            batches=lambda epoch: (count("batches", batch) for batch in itertools.cycle(rows_of(np.arange(40)))),
            step=lambda *args: count("step", RIGHT.step(*args)),
            evaluate=lambda params: count("evaluate", RIGHT.evaluate(params)),
        )
    )
    assert counts["step"] <= 50
    assert counts["evaluate"] <= 20
    assert counts["batches"] <= 20 * FEW
