"""Reproducing a run: what is the same is said to be, and every difference is found where it is."""

import csv
import math
import re
from itertools import islice

import attrs
import numpy as np
import pytest
import threadpoolctl
from toolz import nth

from funcnn import InputError
from funcnn.runs import ExperimentError, folder as files, reproduce, stream
from funcnn.runs.plan import write_json
from tests.scripts import called, written
from tests.small_experiments import TABLE, WAVE, by_hand, carried_out, classifier, contents

IDENTICAL = "identical, bit for bit: 12 steps, 3 epochs, and the params"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, without_pictures):
    """The folders of runs."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, experiment in TABLE.items():
        carried_out(experiment(), folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(recorded):
    """The run of which each test may tamper with a copy, its ``folder``."""
    return recorded / "classifier"


def again(folder, experiment=classifier(), **how):
    verdict = reproduce(experiment, folder, source=folder, **how)
    return verdict.same, verdict.text


def change_number(path, row, column, change):
    """Change one number of a CSV file, and give the new one; rows count from 1."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row - 1][column] = repr(number := change(float(rows[row - 1][column])))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *(row.values() for row in rows)])
    return number


def keep_lines(path, count):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))


def up(number):
    """The next float: one bit more."""
    return math.nextafter(number, math.inf)


def killed(folder):
    """As a run that was killed within its second epoch leaves it."""
    keep_lines(folder / "steps.csv", 1 + 6)
    keep_lines(folder / "history.csv", 1 + 1)
    (folder / "digest.txt").unlink()


@pytest.mark.parametrize("name", TABLE)
def test_the_same_is_identical_and_nothing_is_written(recorded, name):
    def state():
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (recorded / name).iterdir()}

    before, steps = state(), len(files.read_steps(recorded / name))
    verdict = reproduce(TABLE[name](), recorded / name, source=recorded)
    text = f"identical, bit for bit: {steps} steps, 3 epochs, and the params"
    assert (verdict.same, verdict.text, verdict.changes) == (True, text, [])
    assert state() == before


@pytest.mark.parametrize("step", [1, 7, 12])
@pytest.mark.parametrize("quantity", ["loss", "accuracy", "penalty", "learning_rate", "gradient_norm"])
def test_the_last_bit_of_a_step_is_found(folder, step, quantity):
    number = change_number(folder / "steps.csv", step, quantity, up)
    same, text = again(folder)
    assert not same
    assert re.match(f"differs at step {step}: {quantity} was {number}, is .*, a relative difference of ", text)


@pytest.mark.parametrize("quantity", ["train/loss", "validation/accuracy", "test/loss", "gradient_norm", "seconds"])
def test_the_last_bit_of_an_epoch_is_found_but_of_its_seconds(folder, quantity):
    change_number(folder / "history.csv", 2, quantity, up)
    same, text = again(folder)
    assert same is (quantity == "seconds")
    assert text.startswith(IDENTICAL if same else f"differs at epoch 2: {quantity} was ")


def test_the_tolerance_is_relative_and_the_largest_difference_is_told(folder):
    change_number(folder / "steps.csv", 9, "loss", lambda loss: loss * (1 + 1e-7))
    change_number(folder / "steps.csv", 10, "loss", lambda loss: loss * (1 + 1e-6))
    change_number(folder / "steps.csv", 11, "loss", lambda loss: loss * (1 + 1e-8))
    told = "the same within a relative difference of 1e-05: 12 steps, 3 epochs; the largest is at step 10: loss was "
    same, text = again(folder, tolerance=1e-5)
    assert (same, text.startswith(told)) == (True, True)
    same, text = again(folder, tolerance=5e-7)
    assert (same, text.startswith("differs at step 10: loss was ")) == (False, True)
    change_number(folder / "history.csv", 1, "test/loss", lambda loss: math.nan)
    same, text = again(folder, tolerance=1e300)
    assert not same
    assert re.match("differs at epoch 1: test/loss was nan, is .*, a relative difference of inf$", text)


def evaluated_more(params):
    return {**classifier().evaluate(params), "more": 1.0}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 2}, "differs: the recorded run ends after 12 steps, the new one ends after 8"),
        ({"batches": classifier(batch_size=7).batches}, "differs at step 1: samples was 8, is 7, .*difference of 0.12"),
        ({"evaluate": lambda _: {}, "watch": None}, "differs at epoch 1: validation/loss was .*, is None, .* of inf"),
        ({"evaluate": evaluated_more}, "differs at epoch 1: more was None, is 1.0, a relative difference of inf"),
    ],
    ids=["shorter", "other batches", "a column less", "a column more"],
)
def test_another_run_differs(whole, changes, text):
    same, found = again(whole, attrs.evolve(classifier(), **changes))
    assert not same
    assert re.fullmatch(text, found)


@pytest.mark.parametrize(
    "experiment",
    [
        by_hand(sizes=lambda batch: [np.int64(3)]),
        by_hand(evaluate=lambda params: {"value": math.nan}),
        by_hand(evaluate=lambda params: {"value": 1.0}, watch="value", patience=2, epochs=9),
    ],
    ids=["sizes of another kind", "NaN is as NaN was", "ended by patience"],
)
def test_what_is_written_otherwise_is_identical(tmp_path, experiment):
    carried_out(experiment, tmp_path / "run")
    assert again(tmp_path / "run", experiment) == (True, IDENTICAL)


def test_other_params_behind_the_same_steps_are_found(folder):
    (folder / "digest.txt").write_text("f" * 64 + "\n")
    same, text = again(folder)
    assert not same
    assert text.startswith(f"differs in no step, but the digest of params and history was {'f' * 64}, is ")


def test_what_differs_in_the_environment_is_named_the_data_first(folder):
    found = files.read_environment(folder)
    changed = {"processor": "Abacus", "data": {**found["data"], "train": "0" * 32}}
    resumed = {"resumed": [["python: 3.11 -> 3.12"]]}  # which is no difference
    write_json(folder / "environment.json", {**found, **changed, **resumed})
    verdict = reproduce(classifier(), folder, source=folder, threads=2)
    data, *pools, processor = verdict.changes
    assert data.startswith(f"data.train: {'0' * 32} -> ")
    assert len(pools) == len([pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"])
    assert all(re.fullmatch(r"blas\.\d\.threads: 1 -> 2", pool) for pool in pools)
    assert processor.startswith("processor: Abacus -> ")


def test_a_run_that_was_killed_is_followed_as_far_as_it_went(folder):
    killed(folder)
    text = "the same numbers: 6 steps, 1 epochs of a run that did not finish; what params it came to was not recorded"
    assert again(folder) == (True, text)
    files.write_digest(folder, nth(6, stream(classifier())))  # its sixth step comes after the end of an epoch
    text = "identical, bit for bit: 6 steps, 1 epochs of a run that did not finish, and the params"
    assert again(folder) == (True, text)
    change_number(folder / "steps.csv", 6, "loss", up)
    assert again(folder)[1].startswith("differs at step 6: loss was ")


def test_nothing_is_run_beyond_the_first_difference(folder):
    def two(epoch):
        yield from islice(classifier().batches(epoch), 2)
        pytest.fail("another step")

    change_number(folder / "steps.csv", 2, "loss", up)
    assert again(folder, attrs.evolve(classifier(), batches=two))[1].startswith("differs at step 2: loss was ")


def test_a_record_that_ends_early_differs_and_none_is_refused(folder):
    keep_lines(folder / "steps.csv", 1 + 6)
    assert again(folder) == (False, "differs: the recorded run ends after 6 steps, the new one goes on")
    keep_lines(folder / "steps.csv", 1)
    with pytest.raises(InputError, match="expected a run with at least one recorded step, got none"):
        again(folder)
    with pytest.raises(InputError, match=r"expected the folder of a run, got no config\.json in it"):
        again(folder.parent)


@pytest.mark.parametrize("name", ["config.json", "environment.json", "steps.csv", "history.csv", "digest.txt"])
def test_a_damaged_file_is_refused_by_name(folder, name):
    (folder / name).write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=f"{name}: expected "):
        again(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        *(({"tolerance": bad}, "tolerance: expected a number of at least 0") for bad in (-1.0, math.nan, math.inf)),
        ({"threads": 0}, "--threads: expected a positive whole number, got 0"),
        ({"devices": 2}, "--engine: expected jax for --devices and --processes, got numpy"),
    ],
)
def test_what_cannot_be_is_refused(whole, how, message):
    with pytest.raises(InputError, match=f"^{message}"):
        again(whole, **how)


def test_an_error_of_the_experiment_is_raised(whole):
    before = contents(whole)
    with pytest.raises(ExperimentError, match=r"^evaluate raises ZeroDivisionError: division by zero "):
        again(whole, attrs.evolve(classifier(), evaluate=lambda params: 1 / 0))
    assert contents(whole) == before


def test_the_command_of_a_script_reproduces_its_runs(tmp_path, capsys):
    script, run = written(tmp_path, WAVE), tmp_path / "run"
    assert called(script, "--width", 4, "--seed", 3, "--out", run) == 0
    capsys.readouterr()
    assert called(script, "reproduce", run) == 0
    printed = "environment: as recorded\nidentical, bit for bit: 10 steps, 2 epochs, and the params\n"
    assert capsys.readouterr() == (printed, "")
    number = change_number(run / "steps.csv", 7, "loss", up)
    assert called(script, "reproduce", run) == 1
    assert f"\ndiffers at step 7: loss was {number}, is " in capsys.readouterr().out
    assert called(script, "reproduce", tmp_path) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: expected the folder of a run, got no config.json in it\n"
