"""Compiling is a function from experiment to experiment, and a run with the engine jax is the run."""

import re

import jax
import numpy as np
import pytest
from toolz import last

import funcnn as fn
from experiments import gan, mnist
from funcnn import InputError, tree
from funcnn.arrays import namespace
from funcnn.jax import first_devices, sharded
from funcnn.runs import Experiment, Options, Verdict, folder as files, read_run, reproduce, stream, supervised
from funcnn.runs.compiled import compiled, together
from funcnn.runs.stream import beginning
from funcnn.tree import frozendict
from tests.scripts import ran
from tests.small_experiments import KEY, SQUARED, adversarial, assert_same, carried_out, classifier, drawn, two_inputs

JAX = Options(engine="jax")


pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run that was never stopped."""
    return carried_out(classifier(), tmp_path_factory.mktemp("whole") / "run", options=JAX).folder


def fast(experiment):
    """The experiment, compiled for one device."""
    return compiled(experiment, first_devices(1))


def kinds(progress):
    """The leaves of params and state, but for their values."""
    leaves = tree.leaves_with_paths((progress.params, progress.state))
    return [(path, type(leaf), np.shape(leaf), getattr(leaf, "dtype", None)) for path, leaf in leaves]


def both(experiment, names, rtol=1e-5):
    """The end of an experiment on NumPy and of the compiled one, whose rows tell the same within rounding."""
    ends = plain, on_device = [last(stream(each)) for each in (experiment, fast(experiment))]
    assert kinds(on_device) == kinds(plain)
    for rows, expected in ((on_device.rows, plain.rows), (on_device.history, plain.history)):
        assert [[*row] for row in rows] == [[*row] for row in expected]
    for name in ("step", "samples", *names):
        np.testing.assert_allclose(*([row[name] for row in progress.rows] for progress in ends), rtol=rtol)
    return ends


@pytest.mark.parametrize("changed", [{"optimizer": "sgd", "learning_rate": 0.1}, {}])
def test_the_rows_of_an_epoch_are_those_of_numpy(changed):
    config = mnist.Config(hidden=(16,), validation=0.1, epochs=1, batch_size=100, decay=1e-3, **changed)
    plain, on_device = both(mnist.experiment(config), ["loss", "learning_rate", "gradient_norm"])
    assert len(on_device.rows) == 36
    for name in ("train/loss", "validation/loss", "test/loss"):
        assert on_device.history[0][name] == pytest.approx(plain.history[0][name], rel=1e-5)


def test_the_key_of_the_state_comes_back_as_it_was(whole):
    first = beginning(classifier())
    assert files.read_progress(whole, first)[0].state.key == first.state.key


def test_an_experiment_with_two_inputs_is_compiled_too():
    both(two_inputs(epochs=2), ["loss"])


def test_without_a_table_a_step_alone_is_compiled():
    experiment = gan.experiment(gan.Config(hidden=8, batch_size=16, steps=4, epochs=2))
    assert (fast(experiment).batches, fast(experiment).evaluate) == (experiment.batches, experiment.evaluate)
    both(experiment, ["generator_loss", "discriminator_loss"], rtol=1e-4)


def means(step=lambda params, state, x: (params, state.key), batch=lambda key: key.normal((4, 2))):
    """An experiment by hand: ``step`` gives new params and key, and the loss is the mean of what it looks at."""

    def taken(params, state, batch):
        params, key = step(params, state, batch)
        return params, fn.State(state.step + 1, key, (), frozendict({"loss": namespace(params["w"]).mean(params["w"])}))

    def begin():
        return {"w": np.ones(2, np.float32)}, fn.State(0, fn.Key(1), (), frozendict({"loss": float("nan")}))

    return Experiment(begin, taken, lambda epoch: [batch(fn.Key(epoch).at(i)) for i in range(2)], epochs=2)


def test_a_step_that_changes_its_key_is_refused():
    experiment = means(lambda params, state, x: (params, state.key.at("next")))
    message = r"step 1: to_numpy: expected the key that came in, Key\(seed=1, path=\(\)\), got another; draw from"
    with pytest.raises(InputError, match=message):
        next(stream(fast(experiment)))


def test_a_step_draws_from_the_key_of_its_state():
    experiment = means(lambda params, state, x: ({"w": state.key.at(state.step).normal((2,))}, state.key))
    one, two = map(last, map(stream, [fast(experiment)] * 2))
    assert tree.equal(one.params, two.params)
    assert len({row["loss"] for row in one.rows}) == 2


def test_a_batch_may_be_a_key():
    experiment = means(lambda params, state, key: ({"w": key.normal((2,))}, state.key), batch=lambda key: key)
    assert {type(row["loss"]) for row in last(stream(fast(experiment))).rows} == {float}


def branching(params, state, x):
    return ({"w": -params["w"]} if namespace(x).mean(x) > 0 else params), state.key


def converting(params, state, x):
    return {"w": params["w"] * float(x[0, 0])}, state.key


@pytest.mark.parametrize(
    ("experiment", "found"),
    [
        (adversarial(), "TracerArrayConversionError in .*small_experiments.py, line "),
        (means(branching), "TracerBoolConversionError in .*test_compiled.py, line "),
        (means(converting), "ConcretizationTypeError in .*test_compiled.py, line "),
        (
            classifier(metrics={"largest": lambda outputs, targets, weights: np.max(np.asarray(outputs))}),
            "TracerArrayConversionError in .*test_compiled.py, line ",
        ),
    ],
    ids=["function of NumPy", "if", "float", "metric"],
)
def test_a_step_for_numpy_alone_is_refused_with_its_place(experiment, found):
    message = rf"^step 1: .*: expected array-API expressions, which JAX can trace, got {found}.*float\(\) on arrays$"
    with pytest.raises(InputError, match=message):
        next(stream(fast(experiment)))


def test_the_arrays_of_a_batch_that_is_shared_have_as_many_samples():
    experiment = means()
    batch = {"a": np.ones((3, 2)), "b": np.ones((2, 2))}
    with pytest.raises(InputError, match=r"sharded: expected a batch of arrays with the same number .*\[\(2,\), \(3,"):
        sharded(experiment.step, first_devices(1))(*experiment.begin(), batch)


def test_an_interrupted_run_goes_on_to_the_same_bytes(whole, tmp_path):
    def interrupt(progress, first):
        if len(progress.history) == 2:
            raise KeyboardInterrupt
        return ""

    assert carried_out(classifier(), tmp_path / "run", options=JAX, show=interrupt).interrupted
    assert len(files.read_history(tmp_path / "run")) == 2
    carried_out(classifier(), tmp_path / "run", options=JAX)
    assert_same(tmp_path / "run", whole)


def test_a_run_is_reproduced_bit_for_bit(whole):
    verdict = reproduce(classifier(), whole, source=whole.parent)
    assert verdict == Verdict(True, "identical, bit for bit: 12 steps, 3 epochs, and the params", [])
    assert read_run(whole).environment["jax"]["devices"] == 1


def test_a_step_that_differs_within_an_epoch_is_found(folder):
    path = folder / "steps.csv"
    path.write_text(re.sub(r"(?m)^(6,\d+),[^,]*", r"\1,9.0", path.read_text()))
    assert "differs at step 6: loss was 9.0" in reproduce(classifier(), folder).text


def test_a_loss_that_is_not_finite_is_told_with_its_step(tmp_path):
    x = drawn("x", 22)
    train = fn.Batch(x, x[:, :1])
    experiment = supervised(fn.dense(1), SQUARED, fn.sgd(1e30), train, key=KEY, batch_size=5, epochs=1)
    outcome = carried_out(experiment, tmp_path / "run", options=JAX)
    assert outcome.failure == "loss is inf at step 2"
    assert outcome.progress.step == 0


def test_a_checkpoint_within_an_epoch_is_refused():
    experiment = classifier()
    *_, start = (progress for progress, _ in zip(stream(experiment), range(2), strict=False))
    message = r"batches\(0\): expected a batch that begins at step 2, got none; the steps before it .* another engine"
    with pytest.raises(InputError, match=message):
        next(stream(fast(experiment), start))


def test_what_a_device_has_no_memory_for_is_told():
    with pytest.raises(MemoryError, match="a device has too little memory: RESOURCE_EXHAUSTED"), together():
        jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(2**46))())


def test_another_failure_of_jax_is_one_line():
    with pytest.raises(OSError, match=r"^JAX fails: INTERNAL: odd$"), together():
        raise jax.errors.JaxRuntimeError("INTERNAL: odd\nand more")


def test_where_jax_is_missing_one_line_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['jax'] = None; from experiments.mnist import *; sys.exit(main(experiment, Config))"
    end = ran("-c", code, "--engine", "jax", "--out", tmp_path / "run")
    assert end.returncode == 1
    assert end.stderr.startswith("error: ")
    assert "pip install 'funcnn[jax]'" in end.stderr
    assert end.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
