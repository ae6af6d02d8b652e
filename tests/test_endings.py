"""How a run ends that does not end well: by Ctrl-C, by a loss that is not finite, by an error of its experiment."""

import math

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, tree
from funcnn.runs import ExperimentError, Options, folder as files, stream
from funcnn.runs.stream import beginning
from tests.small_experiments import (
    TABLE,
    assert_same,
    by_hand,
    carried_out,
    classifier,
    contents,
    regression,
    two_inputs,
)

FEW = ("two_inputs", "adversarial", "tables")
OFTEN = Options(checkpoint_every=1)


pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def wholes(tmp_path_factory, without_pictures):
    """The folders of runs that ended well."""
    folder = tmp_path_factory.mktemp("whole")
    for name in FEW:
        carried_out(TABLE[name](), folder / name)
    return folder


def raised(error):
    raise error


def broken(experiment, field, call, error):
    """The experiment, one of whose functions raises at a call."""
    function, calls = getattr(experiment, field), []

    def fail(*args):
        calls.append(args)
        return raised(error) if len(calls) == call else function(*args)

    return attrs.evolve(experiment, **{field: fail})


def mended(experiment, field):
    return broken(experiment, field, 0, None)


def is_good(progress, experiment):
    """Whether the params are those of the stream at that step."""
    steps = [beginning(experiment), *stream(experiment)]
    return any(tree.equal(progress.params, each.params) for each in steps if each.step == progress.step)


CALLS = [("batches", 1), ("step", 1), ("step", 4), ("batches", 2), ("summarize", 2), ("evaluate", 2)]


@pytest.mark.parametrize(("field", "call"), CALLS)
@pytest.mark.parametrize("name", FEW)
def test_ctrl_c_saves_what_was_learned(wholes, tmp_path, name, field, call):
    experiment = broken(TABLE[name](), field, call, KeyboardInterrupt())
    outcome = carried_out(experiment, tmp_path / "run")
    assert outcome.interrupted
    assert is_good(outcome.progress, TABLE[name]())
    assert len(files.read_steps(tmp_path / "run")) == outcome.progress.step
    assert {*contents(tmp_path / "run")} >= {*contents(wholes / name)} - {"best.safetensors"}
    carried_out(mended(TABLE[name](), field), tmp_path / "run")
    assert_same(tmp_path / "run", wholes / name)


@pytest.mark.parametrize(("field", "call"), CALLS)
@pytest.mark.parametrize("name", FEW)
def test_an_error_is_raised_when_what_was_learned_is_saved(wholes, tmp_path, name, field, call):
    experiment = broken(TABLE[name](), field, call, error := ZeroDivisionError("mine"))
    with pytest.raises(
        ExperimentError, match=rf"^{field}.* raises ZeroDivisionError: mine \(.*, line \d+\)$"
    ) as caught:
        carried_out(experiment, tmp_path / "run")
    assert caught.value.__cause__ is error
    learned = len(files.read_steps(tmp_path / "run")) > 0
    assert learned == (call > 1) == (tmp_path / "run" / "report.html").exists()
    carried_out(mended(TABLE[name](), field), tmp_path / "run")
    assert_same(tmp_path / "run", wholes / name)


@pytest.mark.parametrize(("field", "call"), [("sections", 1), ("save", 1), ("save", 2)])
def test_an_error_beside_the_stream_is_raised_and_mended_too(wholes, tmp_path, field, call):
    experiment = broken(TABLE["adversarial"](), field, call, error := ZeroDivisionError("mine"))
    with pytest.raises(ExperimentError, match=f"^{field} raises ZeroDivisionError: mine ") as caught:
        carried_out(experiment, tmp_path / "run")
    assert caught.value.__cause__ is error
    carried_out(TABLE["adversarial"](), tmp_path / "run")
    assert_same(tmp_path / "run", wholes / "adversarial")


def test_a_longer_run_that_did_not_end_is_no_finished_one(tmp_path):
    carried_out(by_hand(epochs=2), tmp_path / "run")
    with pytest.raises(ExperimentError, match=r"^sections raises ZeroDivisionError"):
        carried_out(broken(by_hand(epochs=3), "sections", 1, ZeroDivisionError()), tmp_path / "run")
    assert carried_out(by_hand(epochs=3), tmp_path / "run").progress.step == 12
    assert carried_out(by_hand(epochs=3), tmp_path / "run").progress is None


@pytest.mark.parametrize("field", ["begin", "describe"])
def test_an_error_before_the_first_step_leaves_no_folder(tmp_path, field):
    with pytest.raises(ExperimentError, match=f"^{field} raises ZeroDivisionError: mine "):
        carried_out(broken(regression(), field, 1, ZeroDivisionError("mine")), tmp_path / "run", show="table")
    assert not (tmp_path / "run").exists()


def test_a_run_too_large_for_the_machine_leaves_no_folder(tmp_path):
    with pytest.raises(MemoryError):
        carried_out(broken(regression(), "begin", 1, MemoryError()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_first_error_is_the_one_that_is_raised(tmp_path):
    experiment = broken(by_hand(), "step", 6, ZeroDivisionError("first"))
    with pytest.raises(ExperimentError, match=r"^step 6 raises ZeroDivisionError: first "):
        carried_out(attrs.evolve(experiment, sections=lambda params: raised(ValueError("second"))), tmp_path / "run")
    assert len(files.read_steps(tmp_path / "run")) == 4  # those whose params gave a finite loss


def test_what_is_refused_within_a_run_is_raised_when_what_was_learned_is_saved(wholes, tmp_path):
    experiment = broken(two_inputs(), "evaluate", 2, InputError("dense(3)", "inputs (batch, in)", "(3,)"))
    with pytest.raises(InputError, match=r"^evaluate: dense\(3\): expected inputs"):
        carried_out(experiment, tmp_path / "run")
    assert len(files.read_steps(tmp_path / "run")) == 3
    carried_out(two_inputs(), tmp_path / "run")
    assert_same(tmp_path / "run", wholes / "two_inputs")


def test_a_file_of_the_experiment_that_is_missing_is_told(wholes, tmp_path):
    experiment = broken(two_inputs(), "batches", 2, FileNotFoundError("no such file: digits.idx"))
    with pytest.raises(OSError, match=r"^no such file: digits.idx; what was recorded before is whole, and can be res"):
        carried_out(experiment, tmp_path / "run")
    carried_out(two_inputs(), tmp_path / "run")
    assert_same(tmp_path / "run", wholes / "two_inputs")


def counting(values, **changes):
    """An experiment whose params count its steps, and whose loss at each step is one of ``values``."""
    return by_hand(lambda state: {"loss": values[state.count]}, epochs=len(values) // 4, **changes)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [1, 2, 4, 5, 7])
def test_a_loss_that_is_not_finite_ends_the_run_at_its_step(tmp_path, step, value):
    values = [1.0] * 8
    values[step - 1] = value
    outcome = carried_out(counting(values), tmp_path / "run", options=OFTEN)
    assert outcome.failure == f"loss is {value} at step {step}"
    assert outcome.progress.step == max(0, step - (1 if step == 5 else 2))  # the params after it gave the bad loss
    assert np.array_equal(outcome.progress.params, np.zeros(2) + outcome.progress.step)
    assert [row["loss"] for row in files.read_steps(tmp_path / "run")] == [1.0] * outcome.progress.step
    assert {"report.html", "digest.txt", "history.png"} <= {*contents(tmp_path / "run")}


@pytest.mark.parametrize("name", ["test/loss", "kl_loss", "watched"])
def test_what_is_evaluated_and_not_finite_ends_the_run_too(tmp_path, name):
    evaluate = {"evaluate": lambda params: {name: math.nan if params[0] == 8 else 1.0}}
    watch = {"watch": name} if name == "watched" else {}
    outcome = carried_out(by_hand(**evaluate, **watch), tmp_path / "run")
    assert outcome.failure == f"{name} is nan at epoch 2"
    assert (outcome.progress.step, len(outcome.progress.history)) == (7, 1)


def test_other_numbers_may_be_anything(tmp_path):
    experiment = by_hand(lambda state: {"loss": 1.0, "ratio": math.nan}, evaluate=lambda params: {"other": math.inf})
    outcome = carried_out(experiment, tmp_path / "run", show="table")
    assert outcome.failure is None
    assert math.isnan(files.read_history(tmp_path / "run")[0]["train/ratio"])


def test_a_number_that_is_shown_as_a_whole_one_may_be_anything_too(tmp_path):
    experiment = by_hand(evaluate=lambda params: {"modes": math.nan}, formats={"modes": "d"})
    assert carried_out(experiment, tmp_path / "run", show="table").progress.step == 12


def test_nothing_recorded_is_known_to_be_bad(tmp_path):
    inputs = np.array(classifier().data["train"].inputs)
    inputs[3] = np.inf
    train = attrs.evolve(classifier().data["train"], inputs=inputs)
    experiment = fn.runs.supervised(
        fn.dense(3), fn.softmax_cross_entropy(), fn.sgd(0.1), train, key=fn.Key(0), batch_size=1, epochs=9
    )
    outcome = carried_out(experiment, tmp_path / "run", options=OFTEN)
    assert outcome.failure.startswith("loss is ")
    progress, rows = files.read_progress(tmp_path / "run", beginning(experiment))
    assert progress.step == outcome.progress.step == len(rows) > 0
    for params in (progress.params, outcome.progress.params, fn.load(tmp_path / "run" / "model.safetensors").params):
        assert all(np.isfinite(leaf).all() for leaf in tree.leaves(params))


def test_a_run_that_failed_is_no_finished_one(tmp_path):
    values = [1.0] * 6 + [math.nan] * 6
    for _ in range(2):
        assert carried_out(counting(values), tmp_path / "run").failure == "loss is nan at step 7"
    assert carried_out(counting([1.0] * 12), tmp_path / "run").progress.step == 12
