"""Whatever stops a run, it loses nothing: resumed, it ends with the bytes of one that was never stopped."""

import errno
import os
from itertools import islice
from pathlib import Path

import pytest

from funcnn.runs import Options, folder as files, stream
from funcnn.runs.stream import beginning
from tests.kills import Command, main
from tests.small_experiments import TABLE, assert_same, carried_out, recorded, regression

OFTEN = Options(checkpoint_every=1)
FEW = ("regression", "adversarial", "tables")
FULL = OSError(errno.ENOSPC, "No space left on device")


pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def wholes(tmp_path_factory, without_pictures):
    """The folders of runs that were never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    for name in FEW:
        recorded(folder / name, TABLE[name]())
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run with all its files."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    carried_out(regression(), folder, options=OFTEN)
    return folder


def failing(function, call, error, torn):
    """``function`` that raises at its ``call``-th call and later ones, when it has done half of its work or all."""
    calls = []

    def fail(target, *args):
        calls.append(target)
        if len(calls) <= call:
            return function(target, *args)
        if isinstance(target, int) and torn:
            os.ftruncate(target, max(0, os.fstat(target).st_size - torn))
        elif isinstance(target, Path):
            function(target, args[0][: len(args[0]) // (1 + bool(torn))])
        raise error

    return fail


@pytest.mark.parametrize("call", [0, 2, 9])
@pytest.mark.parametrize("torn", [0, 1, 9])
@pytest.mark.parametrize("name", FEW)
def test_a_full_disk_loses_nothing(wholes, tmp_path, monkeypatch, name, torn, call):
    monkeypatch.setattr(os, "fsync", failing(os.fsync, call, FULL, torn))
    with pytest.raises(OSError, match="No space left"):
        recorded(tmp_path / "run", TABLE[name]())
    monkeypatch.undo()
    recorded(tmp_path / "run", TABLE[name]())
    assert_same(tmp_path / "run", wholes / name)


@pytest.mark.parametrize("call", [0, 3, 8])
@pytest.mark.parametrize("name", FEW)
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(wholes, tmp_path, monkeypatch, name, call):
    monkeypatch.setattr(Path, "write_bytes", failing(Path.write_bytes, call, FULL, True))
    with pytest.raises(OSError, match="No space left"):
        recorded(tmp_path / "run", TABLE[name](), every=2 if call < 8 else 1)
    monkeypatch.undo()
    recorded(tmp_path / "run", TABLE[name]())
    assert_same(tmp_path / "run", wholes / name)


@pytest.mark.parametrize("call", [4, 30])
def test_a_run_on_a_full_disk_says_so_and_is_resumed(whole, tmp_path, monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync, call, FULL, 9))
        with pytest.raises(OSError, match=r"No space left.*; what was recorded before is whole, and can be resumed: "):
            carried_out(regression(), tmp_path / "run", options=OFTEN)
    carried_out(regression(), tmp_path / "run", options=OFTEN)
    assert_same(tmp_path / "run", whole)


def test_a_run_that_could_not_begin_can_begin_again(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", failing(Path.write_text, 0, FULL, True))
        with pytest.raises(OSError, match="No space left"):
            carried_out(regression(), tmp_path / "run", options=OFTEN)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    carried_out(regression(), tmp_path / "run", options=OFTEN, mode="begin")
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize("torn", [0, 1, 9])
@pytest.mark.parametrize("call", [3, 5])
def test_an_interrupt_within_a_record_writes_no_row_twice(whole, tmp_path, monkeypatch, call, torn):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _once(failing(os.fsync, call, KeyboardInterrupt(), torn), os.fsync))
        assert carried_out(regression(), tmp_path / "run", options=OFTEN).interrupted
    steps = [row["step"] for row in files.read_steps(tmp_path / "run")]
    assert steps == list(range(1, len(steps) + 1))
    carried_out(regression(), tmp_path / "run", options=OFTEN)
    assert_same(tmp_path / "run", whole)


def _once(failing, function):
    """What fails once, and then works."""
    failed = []

    def call(*args):
        if failed:
            return function(*args)
        try:
            return failing(*args)
        except KeyboardInterrupt:
            failed.append(True)
            raise

    return call


@pytest.mark.parametrize("text", ["{0},5,0.1,0.2,0.3\r\n{1},5,", "{0},5,0.1,0.2,0.3\r\n", "{0}", "{0},5,0.1,0.2,0.3\r"])
@pytest.mark.parametrize("stop", [0, 5, 7])
def test_rows_beyond_the_checkpoint_are_cut_off(wholes, tmp_path, stop, text):
    _, record = files.recorder(tmp_path, regression(), beginning(regression()))
    for progress in islice(stream(regression()), stop + stop // 5):  # there is another one at the end of an epoch
        record(progress)
    with (tmp_path / "steps.csv").open("a", newline="") as file:
        names = "" if stop else "step,samples,loss,learning_rate,gradient_norm\r\n"
        file.write(names + text.format(stop + 1, stop + 2))
    recorded(tmp_path, regression())
    assert_same(tmp_path, wholes / "regression")


def test_what_killed_writers_left_is_removed(whole, folder):
    (folder / ".writing-steps.csv.abc").mkdir()
    (folder / ".writing-steps.csv.abc" / "steps.csv").write_text("half")
    (folder / "digest.txt").unlink()
    carried_out(regression(), folder, options=OFTEN)
    assert_same(folder, whole)


def test_a_run_that_was_killed_before_it_began_begins_again(whole, tmp_path):
    folder = tmp_path / "run"
    (folder / ".writing-config.json.abc").mkdir(parents=True)
    (folder / ".lock").touch()
    carried_out(regression(), folder, options=OFTEN, mode="begin")
    assert_same(folder, whole)


def test_killed_runs_end_with_the_bytes_of_one_that_was_not(capsys):
    main(Command(kills=1, longest=0.5))
    lines = [line for line in capsys.readouterr().out.splitlines() if "kills, " in line]
    assert [line.partition(" ")[0] for line in lines] == ["experiments.mnist", "experiments.gan", "experiments.sine"]
    assert all(": 1 kills, " in line for line in lines)
