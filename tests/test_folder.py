"""The folder of a run: what is read is what was written, and a run that ended anyhow goes on to the same bytes."""

import errno
import json
import shutil

import attrs
import numpy as np
import pytest
from filelock import FileLock

import funcnn as fn
from experiments import folder as files
from experiments.config import Config, experiment, load_data
from experiments.job import begin, carry_out, prepare
from experiments.run import Progress, Row, Step, beginning
from funcnn import InputError, tree
from tests.kills import Command, assert_same, main

CONFIG = Config(hidden=(8,), dropout=0.3, input_dropout=0.1, epochs=3, validation=0.1, checkpoint_every=5, decay=1e-3)
DATA = load_data(CONFIG)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    begin(folder, CONFIG)
    carry_out(folder, prepare(CONFIG, DATA))
    return folder


def test_what_is_read_is_what_was_written(whole):
    planned = experiment(CONFIG, DATA)
    progress = files.read_progress(whole, planned)
    assert files.read_config(whole) == CONFIG
    assert [row.epoch for row in files.read_history(whole)] == [1, 2, 3]
    assert [step.step for step in files.read_steps(whole)] == list(range(1, 3 * planned.steps_per_epoch + 1))
    assert (len(progress.history), len(progress.steps)) == (3, planned.steps_per_epoch)
    assert files.digest(progress) == (whole / "digest.txt").read_text().strip()
    assert tree.equal(progress.params, fn.load(whole / "model.safetensors").params)


def test_rows_come_back_bit_for_bit(tmp_path):
    steps = [Step(1, 4, 0.1 + 0.2, 1 / 3, 1e-300, np.pi), Step(2, 4, 5e-324, 0.0, 1.0, 1e17)]
    row = Row(1, 0.1, 0.2, None, None, 1 / 3, 0.5, 1e-3, 2.0, 0.25)
    files._write_rows(tmp_path / "steps.csv", steps, Step)
    files.write_history(tmp_path, [row])
    assert files.read_steps(tmp_path) == tuple(steps)
    assert files.read_history(tmp_path) == (row,)


def test_the_environment_says_where_it_ran(whole):
    found = files.read_environment(whole)
    assert found["libraries"]["numpy"] == np.__version__
    assert found["blas"][0]["threads"] == CONFIG.threads
    assert found["blas"][0]["kernel"]
    assert len(found["data"]["md5"]) == 32
    assert found["git"] is None or len(found["git"]["commit"]) == 40


def test_other_data_have_another_md5(whole):
    from experiments.environment import environment

    other = attrs.evolve(DATA, train=fn.Batch(np.array(DATA.train.inputs[::-1]), DATA.train.targets))
    assert environment(other)["data"] != files.read_environment(whole)["data"]


@pytest.mark.parametrize("cut", [0, 1, 17, 40])
def test_rows_beyond_the_checkpoint_are_cut_off(whole, tmp_path, cut):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    with (folder / "steps.csv").open("a") as file:
        file.write("999,4,0.1,0.2,0.3,0.4\r\n1000,4,0.1,0.2,0.3,0.4\r\n"[: cut or None])
    (folder / ".writing-a").mkdir()
    carry_out(folder, prepare(CONFIG, DATA))
    assert_same(folder, whole)
    assert not list(folder.glob(".writing*"))


def test_a_run_without_a_checkpoint_begins_again(whole, tmp_path):
    begin(tmp_path, CONFIG)
    (tmp_path / "steps.csv").write_bytes((whole / "steps.csv").read_bytes()[:1000])
    carry_out(tmp_path, prepare(CONFIG, DATA))
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("call", [0, 3, 8])
@pytest.mark.parametrize("writer", ["save_tree", "_append_rows", "_write_rows"])
def test_a_full_disk_loses_nothing(whole, tmp_path, monkeypatch, writer, call):
    write, calls = getattr(files, writer), []

    def full(path, values, *kind):
        calls.append(path)
        write(path, values[: len(values) // 2] if writer == "_append_rows" and len(calls) > call else values, *kind)
        if len(calls) > call:
            raise OSError(errno.ENOSPC, "No space left on device")

    begin(tmp_path, CONFIG)
    monkeypatch.setattr(files, writer, full)
    with pytest.raises(OSError, match="No space left"):
        carry_out(tmp_path, prepare(CONFIG, DATA))
    monkeypatch.undo()
    carry_out(tmp_path, prepare(CONFIG, DATA))
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("rows", [0, 2, 5])
def test_an_interrupt_within_a_record_writes_no_row_twice(whole, tmp_path, monkeypatch, rows):
    append, calls = files._append_rows, []

    def interrupted(path, values):
        calls.append(path)
        if len(calls) == 8:
            append(path, values[:rows])
            raise KeyboardInterrupt
        append(path, values)

    begin(tmp_path, CONFIG)
    monkeypatch.setattr(files, "_append_rows", interrupted)
    assert carry_out(tmp_path, prepare(CONFIG, DATA)).interrupted
    steps = [step.step for step in files.read_steps(tmp_path)]
    assert steps == list(range(1, len(steps) + 1))
    carry_out(tmp_path, prepare(CONFIG, DATA))
    assert_same(tmp_path, whole)


def test_other_data_than_it_began_with_are_refused(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    other = attrs.evolve(DATA, test=fn.Batch(DATA.test.inputs, DATA.test.targets[::-1]))
    with pytest.raises(InputError, match=r"expected the data that the run began with, got data\.md5: "):
        carry_out(folder, prepare(CONFIG, other))
    assert files.read_digest(folder) == files.read_digest(whole)


def test_what_has_changed_since_it_began_is_added_once(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    recorded = files.read_environment(folder)
    files.write_json(folder / "environment.json", {**recorded, "python": "3.0"})
    for _ in range(2):
        carry_out(folder, prepare(CONFIG, DATA))
    assert files.read_environment(folder)["gone on with"] == [[f"python: 3.0 -> {recorded['python']}"]]


@pytest.mark.parametrize("length", [0, 100])
def test_an_environment_that_is_cut_is_refused(whole, tmp_path, length):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "environment.json"
    path.write_text(path.read_text()[:length])
    with pytest.raises(InputError, match=r"environment\.json: expected an environment as this version writes it"):
        carry_out(tmp_path / "run", prepare(CONFIG, DATA))


def test_an_epoch_that_is_missing_is_noticed(whole, tmp_path):
    lines = (whole / "history.csv").read_text().splitlines(keepends=True)
    (tmp_path / "history.csv").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(InputError, match=r"history\.csv: expected epoch 2 in row 2, got 3; undo"):
        files.read_history(tmp_path)


@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
def test_rows_that_are_missing_are_noticed(whole, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="rows of 87 steps and 3 epochs, as the checkpoint"):
        carry_out(folder, prepare(CONFIG, DATA))
    assert files.read_digest(folder) == files.read_digest(whole)


@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
@pytest.mark.parametrize(
    ("line", "change"),
    [
        (0, lambda names: names.replace("loss", "colour")),
        (1, lambda row: row.replace("0.", "zero.", 1)),
        (1, lambda row: f"{row},1.0"),
        (1, lambda row: row.partition(",")[2]),
        (1, lambda row: "," + row.partition(",")[2]),
        (1, lambda row: '"' + row),
    ],
)
def test_rows_changed_by_hand_are_refused(whole, tmp_path, name, line, change):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / name
    lines = path.read_text().splitlines()
    lines[line] = change(lines[line])
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match=f"{name}: expected rows as this version writes them, got .*Error"):
        carry_out(tmp_path / "run", prepare(CONFIG, DATA))


def test_a_folder_has_one_run_at_a_time(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(InputError, match="no other process runs, got one that is"),
    ):
        carry_out(tmp_path / "run", prepare(CONFIG, DATA))
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_place_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    with (
        pytest.raises(InputError, match=r"a file system with file locks, got .*Function not implemented"),
        files.locked(tmp_path),
    ):
        pass


def test_a_failed_run_keeps_the_steps_that_tell_why(tmp_path):
    inputs = np.array(DATA.train.inputs)
    inputs[7] = np.nan
    broken = attrs.evolve(DATA, train=fn.Batch(inputs, DATA.train.targets))
    config = attrs.evolve(CONFIG, checkpoint_every=1000, validation=0.0)
    begin(tmp_path, config)
    outcome = carry_out(tmp_path, prepare(config, broken))
    assert outcome.failure
    assert len(files.read_steps(tmp_path)) == outcome.progress.state.step > 0


def test_a_config_alone_is_enough_to_begin(whole, tmp_path):
    files.write_json(tmp_path / "config.json", CONFIG)
    carry_out(tmp_path, prepare(CONFIG, DATA))
    assert_same(tmp_path, whole)
    assert files.read_environment(tmp_path) == files.read_environment(whole)


def test_killed_runs_end_with_the_bytes_of_one_that_was_not(capsys):
    main(Command(CONFIG, kills=3, longest=3.0))
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 kills, ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "expected the folder of a run, got no config.json in it"),
        (lambda folder: (folder / "config.json").write_text("{"), "a config as this version writes it"),
        (lambda folder: (folder / "config.json").write_text('{"epochs": 0}'), "a positive whole number"),
        (lambda folder: (folder / "config.json").write_text('{"colour": 1}'), "a config as this version writes it"),
    ],
)
@pytest.mark.usefixtures("unchecked_annotations")
def test_a_folder_that_is_no_run_is_refused(whole, tmp_path, change, message):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    change(folder)
    with pytest.raises(InputError, match=message):
        files.read_config(folder)


def test_a_checkpoint_of_another_experiment_is_refused(whole):
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: expected the arrays of its architecture"):
        files.read_progress(whole, experiment(attrs.evolve(CONFIG, hidden=(9,)), DATA))


def test_the_digest_sees_params_and_history_but_no_seconds(whole):
    planned = experiment(CONFIG, DATA)
    progress = files.read_progress(whole, planned)
    row = progress.history[0]
    slower = attrs.evolve(progress, history=(attrs.evolve(row, seconds=9.0), *progress.history[1:]))
    worse = attrs.evolve(progress, history=(attrs.evolve(row, test_loss=9.0), *progress.history[1:]))
    assert files.digest(slower) == files.digest(progress)
    assert files.digest(worse) != files.digest(progress)
    assert files.digest(Progress(beginning(planned).params, progress.state, progress.history)) != files.digest(progress)


def test_the_config_is_plain_to_read(whole):
    config = json.loads((whole / "config.json").read_text())
    assert config["hidden"] == [8]
    assert config["seed"] == 0
    assert config["data_dir"] is None
