"""Reproducing a run: what is the same is said to be, and every difference is found where it is."""

import csv
import json
import math
import shutil
import subprocess
import sys
from itertools import islice

import attrs
import numpy as np
import pytest
import threadpoolctl
from toolz import nth

from funcnn import InputError
from funcnn.runs import ExperimentError, folder as files, reproduce, stream
from tests.small_experiments import TABLE, WAVE, by_hand, carried_out, classifier, contents

IDENTICAL = "identical, bit for bit: 12 steps, 3 epochs, and the params"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, without_pictures):
    """The folders of runs."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, experiment in TABLE.items():
        carried_out(experiment(), folder / name)
    return folder


@pytest.fixture
def folder(recorded, tmp_path):
    """The folder of a run that a test may tamper with."""
    return shutil.copytree(recorded / "classifier", tmp_path / "run")


def again(folder, experiment=classifier(), **how):
    verdict = reproduce(experiment, folder, source=folder, **how)
    return verdict.same, verdict.text


def change_number(path, row, column, change):
    """Change one number of a CSV file, and give the new one; rows count from 1."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    number = change(float(rows[row - 1][column]))
    rows[row - 1][column] = repr(number)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return number


def change_json(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


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
    text = f"identical, bit for bit: {steps} steps, 3 epochs, and the params"
    assert again(recorded / name, TABLE[name]()) == (True, text)
    assert state() == before


def test_its_environment_is_as_recorded(folder):
    assert reproduce(classifier(), folder, source=folder).changes == []


@pytest.mark.parametrize("row", [1, 7, 12])
@pytest.mark.parametrize("quantity", ["loss", "accuracy", "penalty", "learning_rate", "gradient_norm"])
def test_the_last_bit_of_a_step_is_found(folder, row, quantity):
    number = change_number(folder / "steps.csv", row, quantity, up)
    same, text = again(folder)
    assert not same
    assert text.startswith(f"differs at step {row}: {quantity} was {number}, is ")
    assert "a relative difference of" in text


@pytest.mark.parametrize("quantity", ["train/loss", "validation/accuracy", "test/loss", "gradient_norm"])
def test_the_last_bit_of_an_epoch_is_found(folder, quantity):
    change_number(folder / "history.csv", 2, quantity, up)
    same, text = again(folder)
    assert not same
    assert text.startswith(f"differs at epoch 2: {quantity} was ")


def test_the_seconds_may_differ(folder):
    change_number(folder / "history.csv", 2, "seconds", lambda seconds: seconds + 1)
    assert again(folder) == (True, IDENTICAL)


def test_another_number_of_samples_is_found(folder):
    experiment = classifier(batch_size=7)
    assert again(folder, experiment) == (
        False,
        "differs at step 1: samples was 8, is 7, a relative difference of 0.12",
    )


def test_samples_of_another_kind_are_the_same(tmp_path):
    experiment = by_hand(sizes=lambda batch: [np.int64(3)])
    carried_out(experiment, tmp_path / "run")
    assert again(tmp_path / "run", experiment)[0]


def test_a_column_that_is_missing_or_new_is_found(folder):
    fewer = attrs.evolve(classifier(), evaluate=lambda params: {})
    assert again(folder, attrs.evolve(fewer, watch=None))[1].startswith("differs at epoch 1: validation/loss was 1.")
    more = attrs.evolve(classifier(), evaluate=lambda params: {**classifier().evaluate(params), "more": 1.0})
    text = "differs at epoch 1: more was None, is 1.0, a relative difference of inf"
    assert again(folder, more) == (False, text)


def test_a_number_that_is_none_differs_infinitely(folder):
    change_number(folder / "history.csv", 1, "test/loss", lambda loss: math.nan)
    same, text = again(folder, tolerance=1e300)
    assert not same
    assert text.startswith("differs at epoch 1: test/loss was nan, is ")
    assert text.endswith("a relative difference of inf")


def test_nan_is_as_nan_was(tmp_path):
    experiment = by_hand(evaluate=lambda params: {"value": math.nan})
    carried_out(experiment, tmp_path / "run")
    assert again(tmp_path / "run", experiment) == (True, IDENTICAL)


def test_other_params_behind_the_same_steps_are_found(folder):
    (folder / "digest.txt").write_text("f" * 64 + "\n")
    same, text = again(folder)
    assert not same
    assert text.startswith(f"differs in no step, but the digest of params and history was {'f' * 64}, is ")


def test_the_tolerance_is_relative(folder):
    change_number(folder / "steps.csv", 10, "loss", lambda loss: loss * (1 + 1e-6))
    same, text = again(folder, tolerance=1e-5)
    assert same
    told = "the same within a relative difference of 1e-05: 12 steps, 3 epochs; the largest is at step 10: loss was "
    assert text.startswith(told)
    assert "bit for bit" not in text
    same, text = again(folder, tolerance=1e-7)
    assert not same
    assert text.startswith("differs at step 10: loss was ")


def test_what_differs_in_the_environment_is_named_the_data_first(folder):
    def change(environment):
        environment["processor"] = "Abacus"
        environment["data"]["train"] = "0" * 32

    change_json(folder / "environment.json", change)
    verdict = reproduce(classifier(), folder, source=folder)
    data, processor = verdict.changes
    assert data.startswith(f"data.train: {'0' * 32} -> ")
    assert processor.startswith("processor: Abacus -> ")
    assert verdict.same


def test_another_number_of_threads_is_named(folder):
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    changes = reproduce(classifier(), folder, source=folder, threads=2).changes
    assert [change.partition(": ")[2] for change in changes] == ["1 -> 2"] * len(pools)


def test_that_a_run_was_resumed_is_no_difference(folder):
    change_json(folder / "environment.json", lambda found: found.update(resumed=[["python: 3.11 -> 3.12"]]))
    assert reproduce(classifier(), folder, source=folder).changes == []


def test_a_run_that_was_killed_is_followed_as_far_as_it_went(folder):
    killed(folder)
    text = "the same numbers: 6 steps, 1 epochs of a run that did not finish; what params it came to was not recorded"
    assert again(folder) == (True, text)
    change_number(folder / "steps.csv", 6, "loss", up)
    assert again(folder)[1].startswith("differs at step 6: loss was ")


def test_an_interrupted_run_is_identical_where_its_digest_is(folder):
    killed(folder)
    files.write_digest(folder, nth(6, stream(classifier())))  # its sixth step comes after the end of an epoch
    text = "identical, bit for bit: 6 steps, 1 epochs of a run that did not finish, and the params"
    assert again(folder) == (True, text)


def test_a_run_that_goes_another_length_differs(folder):
    text = "differs: the recorded run ends after 12 steps, the new one ends after 8"
    assert again(folder, classifier(epochs=2)) == (False, text)
    keep_lines(folder / "steps.csv", 1 + 6)
    text = "differs: the recorded run ends after 6 steps, the new one goes on"
    assert again(folder) == (False, text)


def test_a_run_that_was_ended_by_patience_is_identical(tmp_path):
    experiment = by_hand(evaluate=lambda params: {"value": 1.0}, watch="value", patience=2, epochs=9)
    carried_out(experiment, tmp_path / "run")
    assert again(tmp_path / "run", experiment) == (True, IDENTICAL)


def test_nothing_is_run_beyond_the_first_difference(folder):
    change_number(folder / "steps.csv", 2, "loss", up)
    lazy = attrs.evolve(classifier(), batches=lambda epoch: _until(classifier().batches(epoch), 2))
    assert again(folder, lazy)[1].startswith("differs at step 2: loss was ")


def _until(batches, count):
    yield from islice(batches, count)
    pytest.fail("another step")


def test_a_folder_without_a_run_or_a_step_is_refused(folder):
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


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(folder, tolerance):
    with pytest.raises(InputError, match=f"^tolerance: expected a number of at least 0, got {tolerance}"):
        again(folder, tolerance=tolerance)


def test_threads_that_are_none_are_refused(folder):
    with pytest.raises(InputError, match=r"^--threads: expected a positive whole number, got 0"):
        again(folder, threads=0)


def test_devices_are_of_the_engine_jax(folder):
    with pytest.raises(InputError, match=r"^--engine: expected jax for --devices and --processes, got numpy"):
        again(folder, devices=2)


def test_an_error_of_the_experiment_is_raised(folder):
    broken = attrs.evolve(classifier(), evaluate=lambda params: 1 / 0)
    before = contents(folder)
    with pytest.raises(ExperimentError, match=r"^evaluate raises ZeroDivisionError: division by zero "):
        again(folder, broken)
    assert contents(folder) == before


def test_the_command_of_a_script_reproduces_its_runs(tmp_path):
    def command(*words):
        done = subprocess.run([sys.executable, "wave.py", *words], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    (tmp_path / "wave.py").write_text(WAVE)
    assert command("--width", "4", "--seed", "3", "--out", "runs/a")[0] == 0
    printed = "environment: as recorded\nidentical, bit for bit: 10 steps, 2 epochs, and the params\n"
    assert command("reproduce", "runs/a") == (0, printed, "")
    number = change_number(tmp_path / "runs" / "a" / "steps.csv", 7, "loss", up)
    status, printed, error = command("reproduce", "runs/a")
    assert (status, error) == (1, "")
    assert f"\ndiffers at step 7: loss was {number}, is " in printed
    assert command("reproduce", "runs/b") == (
        1,
        "",
        "error: runs/b: expected the folder of a run, got no config.json in it\n",
    )
