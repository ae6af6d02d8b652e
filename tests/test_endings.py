"""How a run ends that does not end well: by Ctrl-C, by a loss that is not finite, by an error of its experiment."""

import math

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, tree
from funcnn.runs import ExperimentError, Options, folder as files, stream
from funcnn.runs.stream import beginning
from tests.small_experiments import TABLE, assert_same, by_hand, carried_out, classifier, contents, regression

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


def resumed(folder, name, wholes):
    """The run in ``folder`` goes on to the same bytes, its experiment mended."""
    carried_out(TABLE[name](), folder)
    assert_same(folder, wholes / name)


CALLS = [("batches", 1), ("step", 1), ("step", 4), ("batches", 2), ("summarize", 2), ("evaluate", 2)]


@pytest.mark.parametrize(("field", "call"), CALLS)
@pytest.mark.parametrize("name", FEW)
def test_ctrl_c_saves_what_was_learned(wholes, tmp_path, name, field, call):
    outcome = carried_out(broken(TABLE[name](), field, call, KeyboardInterrupt()), tmp_path / "run")
    assert outcome.interrupted
    steps = [beginning(TABLE[name]()), *stream(TABLE[name]())]
    assert tree.equal(outcome.progress.params, next(x.params for x in steps if x.step == outcome.progress.step))
    assert len(files.read_steps(tmp_path / "run")) == outcome.progress.step
    assert {*contents(tmp_path / "run")} >= {*contents(wholes / name)} - {"best.safetensors"}
    resumed(tmp_path / "run", name, wholes)


MINE = ZeroDivisionError("mine")


AT_THE_END = [("sections", 1, "adversarial"), ("save", 1, "adversarial"), ("save", 2, "adversarial")]


@pytest.mark.parametrize(("field", "call", "name"), [*((*call, name) for call in CALLS for name in FEW), *AT_THE_END])
def test_an_error_is_raised_when_what_was_learned_is_saved(wholes, tmp_path, name, field, call):
    with pytest.raises(ExperimentError, match=rf"^{field}.* raises ZeroDivisionError: mine \(.*\d\)$") as caught:
        carried_out(broken(TABLE[name](), field, call, MINE), tmp_path / "run")
    assert caught.value.__cause__ is MINE
    learned = len(files.read_steps(tmp_path / "run")) > 0
    assert learned == ((field, call) not in CALLS[:2])
    assert (field, call) not in CALLS or learned == (tmp_path / "run" / "report.html").exists()
    resumed(tmp_path / "run", name, wholes)


@pytest.mark.parametrize(
    ("field", "error", "message", "steps"),
    [
        ("evaluate", InputError("dense(3)", "inputs", "(3,)"), r"^evaluate: dense\(3\): expected inputs", 3),
        ("batches", FileNotFoundError("no such file: a"), "^no such file: a; what was recorded before is whole", 2),
    ],
)
def test_what_is_refused_or_missing_within_a_run_is_told(wholes, tmp_path, field, error, message, steps):
    with pytest.raises(InputError if steps == 3 else OSError, match=message):
        carried_out(broken(TABLE["two_inputs"](), field, 2, error), tmp_path / "run")
    assert len(files.read_steps(tmp_path / "run")) == steps
    resumed(tmp_path / "run", "two_inputs", wholes)


def test_a_longer_run_that_did_not_end_is_no_finished_one(tmp_path):
    carried_out(by_hand(epochs=2), tmp_path / "run")
    with pytest.raises(ExperimentError, match=r"^sections raises ZeroDivisionError"):
        carried_out(broken(by_hand(epochs=3), "sections", 1, ZeroDivisionError()), tmp_path / "run")
    assert carried_out(by_hand(epochs=3), tmp_path / "run").progress.step == 12
    assert carried_out(by_hand(epochs=3), tmp_path / "run").progress is None


@pytest.mark.parametrize(("field", "error"), [("begin", MINE), ("describe", MINE), ("begin", MemoryError("mine"))])
def test_an_error_before_the_first_step_leaves_no_folder(tmp_path, field, error):
    with pytest.raises((ExperimentError, MemoryError), match=f"^({field} raises ZeroDivisionError: )?mine"):
        carried_out(broken(regression(), field, 1, error), tmp_path / "run", show="table")
    assert not (tmp_path / "run").exists()


def test_the_first_error_is_the_one_that_is_raised(tmp_path):
    experiment = broken(by_hand(sections=lambda params: raised(ValueError("second"))), "step", 6, MINE)
    with pytest.raises(ExperimentError, match=r"^step 6 raises ZeroDivisionError: mine "):
        carried_out(experiment, tmp_path / "run")
    assert len(files.read_steps(tmp_path / "run")) == 4  # those whose params gave a finite loss


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
    evaluate = {"evaluate": lambda params: {"other": math.inf, "modes": math.nan}, "formats": {"modes": "d"}}
    experiment = by_hand(lambda state: {"loss": 1.0, "ratio": math.nan}, **evaluate)
    assert carried_out(experiment, tmp_path / "run", show="table").progress.step == 12
    assert math.isnan(files.read_history(tmp_path / "run")[0]["train/ratio"])


def test_nothing_recorded_is_known_to_be_bad(tmp_path):
    inputs = np.array(classifier().data["train"].inputs)
    inputs[3] = np.inf
    train = attrs.evolve(classifier().data["train"], inputs=inputs)
    how = {"key": fn.Key(0), "batch_size": 1, "epochs": 9}
    experiment = fn.runs.supervised(fn.dense(3), fn.softmax_cross_entropy(), fn.sgd(0.1), train, **how)
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
