"""Reproducing a run: what is the same is said to be, and every difference is found where it is."""

import csv
import json
import math
import shutil
from itertools import chain, islice

import pytest
import threadpoolctl

from experiments import folder as files
from experiments import mnist
from experiments.config import experiment, load_data
from experiments.environment import threads
from experiments.reproduce import Record, main, verdict
from experiments.run import beginning, stream

CONFIG = ["--epochs", "2", "--hidden", "16", "--dropout", "0.1", "--validation", "0.1"]  # 29 steps an epoch
AS_RECORDED = "environment: as recorded\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    assert mnist.main([*CONFIG, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(recorded, tmp_path):
    """The folder of a run that a test may tamper with."""
    return shutil.copytree(recorded, tmp_path / "run")


@pytest.fixture
def reproduce(run, capsys):
    def call(*options):
        status = main([str(run), *options])
        return status, capsys.readouterr().out

    return call


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


def test_the_same_is_identical_and_nothing_is_written(reproduce, run):
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.iterdir()}
    status, printed = reproduce()
    assert status == 0
    assert printed == AS_RECORDED + "identical, bit for bit: 58 steps, 2 epochs, and the params\n"
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.iterdir()} == before


@pytest.mark.parametrize("quantity", ["loss", "accuracy", "learning_rate", "gradient_norm"])
def test_the_last_bit_of_a_step_is_found(reproduce, run, quantity):
    number = change_number(run / "steps.csv", 37, quantity, up)
    status, printed = reproduce()
    assert status == 1
    assert f"differs at step 37: {quantity.replace('_', ' ')} was {number}, is " in printed
    assert "a relative difference of" in printed


@pytest.mark.parametrize("quantity", ["training_loss", "validation_accuracy", "test_loss"])
def test_the_last_bit_of_an_epoch_is_found(reproduce, run, quantity):
    change_number(run / "history.csv", 1, quantity, up)
    status, printed = reproduce()
    assert status == 1
    assert f"differs at epoch 1: {quantity.replace('_', ' ')} was " in printed


def test_the_seconds_may_differ(reproduce, run):
    change_number(run / "history.csv", 2, "seconds", lambda seconds: seconds + 1)
    assert reproduce()[0] == 0


def test_a_number_that_is_missing_differs_infinitely(reproduce, run):
    change_number(run / "history.csv", 1, "test_loss", lambda loss: math.nan)
    status, printed = reproduce("--tolerance", "1e300")
    assert status == 1
    assert "test loss was nan, is " in printed
    assert "a relative difference of inf" in printed


def test_other_params_behind_the_same_steps_are_found(reproduce, run):
    (run / "digest.txt").write_text("f" * 64 + "\n")
    status, printed = reproduce()
    assert status == 1
    assert f"differs in no step, but the digest of params and history was {'f' * 64}, is " in printed


def test_the_tolerance_is_relative(reproduce, run):
    change_number(run / "steps.csv", 10, "loss", lambda loss: loss * (1 + 1e-6))
    status, printed = reproduce("--tolerance", "1e-5")
    assert status == 0
    assert "the same within a relative difference of 1e-05: 58 steps, 2 epochs; the largest is at step 10: " in printed
    assert "bit for bit" not in printed
    status, printed = reproduce("--tolerance", "1e-7")
    assert status == 1
    assert "differs at step 10: loss was " in printed


def test_what_differs_in_the_environment_is_named_the_data_first(reproduce, run):
    def change(environment):
        environment["processor"] = "Abacus"
        environment["data"]["md5"] = "0" * 32

    change_json(run / "environment.json", change)
    status, printed = reproduce()
    title, data, processor, end = printed.splitlines()
    assert (status, title) == (0, "environment, recorded -> now:")
    assert data.startswith(f"  data.md5: {'0' * 32} -> ")
    assert processor.startswith("  processor: Abacus -> ")
    assert end.startswith("identical, bit for bit")


def test_another_number_of_threads_is_named(reproduce):
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert reproduce("--threads", "2")[1].count("threads: 1 -> 2\n") == len(pools)


def test_that_a_run_was_gone_on_with_is_no_difference(reproduce, run):
    change_json(run / "environment.json", lambda found: found.update({"gone on with": [["python: 3.11 -> 3.12"]]}))
    assert reproduce()[1].startswith(AS_RECORDED)


def test_a_run_that_was_killed_is_followed_as_far_as_it_went(reproduce, run):
    keep_lines(run / "steps.csv", 41)
    keep_lines(run / "history.csv", 2)
    (run / "digest.txt").unlink()
    status, printed = reproduce()
    assert status == 0
    assert "the same numbers: 40 steps, 1 epochs of a run that did not finish; what params it came to" in printed
    change_number(run / "steps.csv", 40, "loss", up)
    assert "differs at step 40" in reproduce()[1]


def test_a_run_that_goes_another_length_differs(reproduce, run):
    change_json(run / "config.json", lambda config: config.update(epochs=1))
    assert reproduce() == (
        1,
        AS_RECORDED + "differs: the recorded run ends after 58 steps, the new one ends after 29\n",
    )
    change_json(run / "config.json", lambda config: config.update(epochs=2))
    keep_lines(run / "steps.csv", 41)
    assert reproduce() == (1, AS_RECORDED + "differs: the recorded run ends after 40 steps, the new one goes on\n")


def first_steps(run, count):
    """The experiment of a run, and the first of its stream."""
    config = files.read_config(run)
    planned = experiment(config, load_data(config))
    with threads(config.threads):
        return planned, list(islice(stream(planned, beginning(planned)), count))


def test_an_interrupted_run_is_identical_where_its_digest_is(reproduce, run):
    keep_lines(run / "steps.csv", 41)
    keep_lines(run / "history.csv", 2)
    files.write_digest(run, first_steps(run, 40)[1][-1])
    text = "identical, bit for bit: 40 steps, 1 epochs of a run that did not finish, and the params\n"
    assert reproduce() == (0, AS_RECORDED + text)


def test_nothing_is_run_beyond_the_first_difference(run):
    planned, steps = first_steps(run, 2)
    change_number(run / "steps.csv", 2, "loss", up)
    record = Record(files.read_steps(run), files.read_history(run), files.read_digest(run))
    again = chain(steps, (pytest.fail("a third step") for _ in range(1)))
    same, text = verdict(planned, record, again, tolerance=0)
    assert not same
    assert text.startswith("differs at step 2")


def test_a_folder_without_a_run_or_a_step_is_refused(run, capsys):
    keep_lines(run / "steps.csv", 1)
    assert main([str(run)]) == 1
    assert "expected a run with at least one recorded step, got none" in capsys.readouterr().err
    assert main([str(run.parent)]) == 1
    assert "expected the folder of a run, got no config.json in it" in capsys.readouterr().err


def test_a_damaged_environment_is_refused(run, capsys):
    (run / "environment.json").write_text("")
    assert main([str(run)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "environment.json: expected an environment as this version writes it" in error


def test_another_folder_of_the_data_is_used(run, capsys):
    assert main([str(run), "--data-dir", "/nowhere"]) == 1
    assert "expected no data_dir" in capsys.readouterr().err  # as the data set comes with funcnn


@pytest.mark.usefixtures("unchecked_annotations")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tolerance", "-1"], "--tolerance: expected a number of at least 0, got -1.0"),
        (["--tolerance", "nan"], "--tolerance: expected a number of at least 0, got nan"),
        (["--threads", "0"], "--threads: expected a positive whole number, got 0"),
    ],
)
def test_bad_options_end_with_2(run, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        main([str(run), *options])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
