"""The compiled step is the step: on one device, for many seeds, on several devices, and on several processes."""

import json
import os
import socket
from typing import Any

import jax
import numpy as np
import pytest

import funcnn as fn
import funcnn.jax
from funcnn import Batch, InputError, Key, tree
from funcnn.jax import (
    compiled,
    epoch,
    first_devices,
    jax_key,
    on_device,
    over_seeds,
    replicated,
    scanned,
    sharded,
    to_jax,
    to_numpy,
)
from funcnn.testing import assert_trees_close
from funcnn.tree import record
from tests.scripts import PIPES, python

LOSS = fn.softmax_cross_entropy()
SAMPLES = Batch(Key(1).normal((50, 6)), Key(2).permutation(50) % 3)
PLAIN = fn.serial(fn.dense(8), fn.tanh(), fn.dense(3))
DROPPING = fn.serial(fn.dense(8), fn.relu(), fn.dropout(0.3), fn.dense(3))


def count_of_rows(outputs, targets, weights):
    return outputs.shape[0]


METRICS = {"accuracy": fn.accuracy, "norm": fn.gradient_norm, "rate": fn.learning_rate, "rows": count_of_rows}


def prepared(model=PLAIN, optimizer=None, penalty=None):
    """A step, and fresh params and state."""
    optimizer = optimizer or fn.adam(fn.inverse_time_decay(0.01, 0.1))
    params, _ = model.init(Key(0).at("init"), (6,))
    step = fn.train_step(model, LOSS, optimizer, penalty=penalty, metrics=METRICS)
    return step, params, step.init(params, Key(3))


def on_numpy(step, params, state, epochs=2, batch_size=16):
    """Params, state and the metrics of each step of the NumPy engine."""
    metrics = []
    for e in range(epochs):
        for batch in fn.batches(Key(4).at(e), SAMPLES, batch_size):
            params, state = step(params, state, batch)
            metrics.append([*state.metrics.values()])
    return params, state, np.array(metrics)


RUNS = [
    (None, fn.l2(1e-3)),
    (fn.sgd(0.1, momentum=0.9), None),
    (fn.chain(fn.clip_by_global_norm(0.5), fn.rmsprop(0.01)), fn.l2(1e-3)),
]


@pytest.mark.parametrize(("optimizer", "penalty"), RUNS)
def test_a_compiled_step_is_the_step(optimizer, penalty):
    step, params, state = prepared(optimizer=optimizer, penalty=penalty)
    expected, expected_state, metrics = on_numpy(step, params, state)
    fast, found = compiled(step), []
    for e in range(2):
        for batch in fn.batches(Key(4).at(e), SAMPLES, 16):
            params, state = fast(params, state, batch)
            found.append([*map(float, state.metrics.values())])
    assert np.array(found) == pytest.approx(metrics, rel=1e-4)
    assert_trees_close(to_numpy(params), expected, rtol=1e-3, atol=1e-4)
    assert int(state.step) == expected_state.step


@pytest.mark.parametrize("batch_size", [16, 50, 80])
def test_an_epoch_is_its_steps_with_the_batches_of_numpy(batch_size):
    step, params, state = prepared(penalty=fn.l2(1e-3))
    expected, _, expected_metrics = on_numpy(step, params, state, batch_size=batch_size)
    run, found = epoch(step, batch_size), []
    for e in range(2):
        params, state, metrics = run(params, state, to_jax(SAMPLES), Key(4).at(e))
        found.append(np.stack([*metrics.values()], axis=1))
    assert np.concatenate(found) == pytest.approx(expected_metrics, rel=1e-4)
    assert_trees_close(to_numpy(params), expected, rtol=1e-3, atol=1e-4)


def test_it_is_compiled_once_for_each_shape_and_the_compilers_memory_given_back(caplog, monkeypatch):
    traced, released = [], []
    inner, params, state = prepared()

    def step(params, state, batch):
        traced.append(batch.inputs.shape)
        return inner(params, state, batch)

    def count_compiled():
        return sum("Finished XLA compilation of jit(step)" in record.message for record in caplog.records)

    monkeypatch.setattr(funcnn.jax.programs, "release_freed_memory", lambda: released.append(count_compiled()))
    fast = compiled(step)
    with jax.log_compiles():
        for e in range(3):
            for batch in fn.batches(Key(e), SAMPLES, 20):
                params, state = fast(params, state, batch)
    assert traced == [(20, 6), (10, 6)]
    assert count_compiled() == 2
    assert released == [0, 1, 1, 2]  # before and after each


def test_dropout_draws_anew_at_every_step_and_the_same_for_a_seed():
    step, params, state = prepared(DROPPING)
    run = epoch(step, 10)
    one, two, other = (
        to_numpy(run(params, fn.State(0, key, state.optimizer, state.metrics), to_jax(SAMPLES), Key(0))[0])
        for key in (Key(3), Key(3), Key(4))
    )
    assert tree.equal(one, two)
    assert not tree.equal(one, other)
    keys = on_device(Key(3))
    masks = [np.asarray(jax.jit(lambda i: keys.at(i).bernoulli(0.5, (50,)))(i)) for i in range(2)]
    assert not np.array_equal(*masks)
    assert np.array_equal(masks[1], np.asarray(jax_key(Key(3)).at(1).bernoulli(0.5, (50,))))


def test_keys_of_jax_have_the_methods_of_keys():
    key, again = jax_key(Key(2**63 + 5, ("a", 1))), jax_key(Key(2**63 + 5)).at("a", 1)
    assert np.array_equal(*(jax.random.key_data(each.data) for each in (key, again)))
    assert key.normal((1000,)).dtype == np.float32
    assert abs(float(key.normal((10_000,)).mean())) < 0.05
    assert 2 <= float(key.uniform((1000,), low=2, high=3).min()) < 2.1
    assert float(key.bernoulli(0.3, (10_000,)).mean()) == pytest.approx(0.3, abs=0.02)
    assert sorted(key.permutation(5).tolist()) == [0, 1, 2, 3, 4]
    drawn = {float(jax_key(Key(0)).at(label).normal(())) for label in (0, 1, 2**40, "0", "1")}
    assert len(drawn) == 5
    assert float(jax_key(Key(5)).normal(())) != float(jax_key(Key(5 + 2**32)).normal(()))


def test_many_seeds_are_one_program():
    step = fn.train_step(DROPPING, LOSS, fn.sgd(0.1))

    def train(key):
        params, _ = DROPPING.init(key.at("init"), (6,))
        params, state = step(params, step.init(params, key.at("train")), SAMPLES)
        return params, state.metrics["loss"]

    params, losses = over_seeds(train)([0, 1, 2])
    alone, loss = jax.jit(train)(jax_key(Key(1)))
    assert losses.shape == (3,)
    assert float(losses[1]) == pytest.approx(float(loss), rel=1e-5)
    assert_trees_close(tree.map(lambda leaf: np.asarray(leaf[1]), params), to_numpy(alone), rtol=1e-4)
    assert len({float(value) for value in losses}) == 3


def aligned(array):
    """A copy at a multiple of 64 bytes, whose memory JAX could use as its own."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


ENGINES = {
    "compiled": compiled,
    "sharded": lambda step: sharded(step, first_devices(1)),
    "scanned": lambda step: lambda *arguments: scanned(step)(*arguments, np.arange(50)[None]),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_arguments_of_numpy_are_not_used_up(engine):
    step, params, state = prepared()
    params, samples = tree.map(aligned, (params, SAMPLES))
    before = tree.map(np.copy, (params, samples))
    ENGINES[engine](step)(params, state, samples)
    assert tree.equal((params, samples), before)


def taken_by(engine):
    """``x`` as a compiled step of the engine has seen it in its batch."""
    step = ENGINES[engine](lambda params, state, batch: (batch.inputs * 1, state))
    return lambda x: step(jax.numpy.zeros(x.shape), jax.numpy.zeros(()), fn.Batch(x, x[:, 0]))[0]


TAKERS = {
    "to_jax": to_jax,
    "on_device": on_device,
    "replicated": lambda x: replicated(x, first_devices(1)),
    "compiled": taken_by("compiled"),
    "sharded": taken_by("sharded"),
    "planted: jax.jit": jax.jit(lambda x: x * 1),
    "planted: jax.numpy.array": jax.numpy.array,
}


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_written_to_numpy_after_a_call_changes_nothing_on_the_device(taker):
    take, mine = TAKERS[taker], aligned(np.ones((4, 4), np.float32))
    take(mine)  # compiles
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 200, lambda i, x: x @ x / 300, x))
    busy = [slow(jax.numpy.ones((300, 300))) for _ in range(8)]
    taken = take(mine)
    mine[...] = 2
    assert np.array_equal(taken, np.ones((4, 4))) != taker.startswith("planted")
    jax.block_until_ready(busy)


SCRIPT = """
import json, sys
import jax, numpy as np
process, processes, port = map(int, sys.argv[1:])
if processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
from tests.test_engine import shared_run
params, refusal = shared_run(jax.make_mesh((jax.device_count(),), ("data",)))
print(json.dumps([jax.device_count(), params, refusal]))
"""


def shared_run(mesh):
    """The params after 15 steps, to the last bit, and what is said of a batch that does not divide."""
    step, params, state = prepared()
    step = sharded(step, mesh)
    for e in range(5):
        *whole, smaller = fn.batches(Key(4).at(e), SAMPLES, 16)
        for batch in whole:
            params, state = step(params, state, batch)
    vector = np.concatenate([np.asarray(leaf.addressable_data(0)).ravel() for leaf in tree.leaves(params)])
    try:
        step(params, state, smaller)
    except InputError as error:
        return vector.tolist(), str(error)
    return vector.tolist(), None


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def together(processes, devices):
    """What each of several processes with so many devices ends with, which is the same to the last bit."""
    port = free_port()
    environment = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    how, ends = {"env": {**os.environ, **environment}, **PIPES}, []
    for run in [python("-c", SCRIPT, i, processes, port, **how) for i in range(processes)]:
        text, error = run.communicate(timeout=120)
        assert run.returncode == 0, error
        ends.append(json.loads(text.strip().splitlines()[-1]))
    assert all(end == ends[0] for end in ends)
    return ends[0]


def test_devices_and_processes_share_a_batch():
    alone, _ = shared_run(first_devices(1))
    for processes, devices in ((1, 4), (2, 2)):
        count, params, refusal = together(processes, devices)
        assert count == 4
        assert params == pytest.approx(alone, rel=1e-4, abs=1e-5)
        assert refusal.startswith("sharded: expected batches that 4 devices share evenly, got one of 2; choose")


@record
class Labelled:
    """Params of one's own with something that is no array."""

    weights: Any
    name: Any


def test_a_record_with_something_that_is_no_array_is_refused_by_its_path():
    step, params, state = prepared()
    labelled = (Labelled(np.ones(3), "first"), *params[1:])
    with pytest.raises(InputError, match=r"an array, a number or a key at params\.0\.name, got 'first'; keep what"):
        compiled(step)(labelled, state, SAMPLES)


def test_any_number_is_measured_as_an_array_of_the_default_dtype():
    numbers = [True, 3, 0.25, np.float64(0.25), np.int64(3), jax.numpy.int32(3), jax.numpy.bool_(1)]
    metrics = {str(i): lambda outputs, targets, weights, value=value: value for i, value in enumerate(numbers)}
    params, _ = PLAIN.init(Key(0), (6,))
    step = fn.train_step(PLAIN, LOSS, fn.sgd(0.1), metrics=metrics)
    _, _, measured = epoch(step, 20)(params, step.init(params, Key(0)), to_jax(SAMPLES), Key(1))
    assert [leaf.tolist() for leaf in [*measured.values()][1:]] == [[float(value)] * 3 for value in numbers]
    assert {leaf.dtype for leaf in measured.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.arange(4), r"rows \(steps, batch\), whole numbers, got \(4,\)"),
        (np.zeros((0, 4), int), r"rows \(steps, batch\), whole numbers, got \(0, 4\)"),
        (np.zeros((1, 4)), r"rows \(steps, batch\), whole numbers, got \(1, 4\)"),
        ([[1, 2]], r"rows \(steps, batch\), whole numbers, got \[\[1, 2\]\]"),
        (np.array([[0, 50]]), "rows from 0 to 49, as there are samples, got others"),
        (np.array([[-1, 0]]), "rows from 0 to 49, as there are samples, got others"),
    ],
)
def test_bad_rows_are_refused(rows, message):
    step, params, state = prepared()
    with pytest.raises(InputError, match=f"scanned: expected {message}"):
        scanned(step)(params, state, SAMPLES, rows)
