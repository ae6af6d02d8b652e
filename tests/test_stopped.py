"""Whatever stops a run, it loses nothing: resumed, it ends with the bytes of one that was never stopped."""

import errno
import os
import signal
import stat
import threading
import time
from itertools import islice
from pathlib import Path

import pytest

from funcnn.runs import Options, folder as files, read_run, stream
from funcnn.runs.endings import ENDINGS, orderly, uninterrupted
from funcnn.runs.stream import beginning
from tests.kills import QUICK, Command, main
from tests.scripts import PIPES, begun, ended, ran, written
from tests.small_experiments import TABLE, assert_same, carried_out, contents, edited, recorded, regression

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
    return carried_out(regression(), tmp_path_factory.mktemp("whole") / "run", options=OFTEN).folder


def failing(function, first, error, torn=False, times=10**9):
    """``function`` that raises at some of its calls on files, when it has done half of its work or all."""
    calls = []

    def fail(target, *args):
        if isinstance(target, int) and stat.S_ISDIR(os.fstat(target).st_mode):
            return function(target, *args)
        calls.append(target)
        if not first < len(calls) <= first + times:
            return function(target, *args)
        if isinstance(target, int) and torn:
            os.ftruncate(target, max(0, os.fstat(target).st_size - torn))
        elif isinstance(target, Path):
            function(target, args[0][: len(args[0]) // (1 + bool(torn))])
        raise error

    return fail


SYNCS = [(os, "fsync", first, torn, 1) for first in (0, 2, 9) for torn in (0, 1, 9)]
WRITES = [(Path, "write_bytes", first, True, 2 if first < 8 else 1) for first in (0, 3, 8)]


@pytest.mark.parametrize(("place", "function", "first", "torn", "every"), SYNCS + WRITES)
@pytest.mark.parametrize("name", FEW)
def test_a_full_disk_loses_nothing(wholes, tmp_path, monkeypatch, name, place, function, first, torn, every):
    with monkeypatch.context() as patch:
        patch.setattr(place, function, failing(getattr(place, function), first, FULL, torn))
        with pytest.raises(OSError, match="No space left"):
            recorded(tmp_path / "run", TABLE[name](), every=every)
    recorded(tmp_path / "run", TABLE[name]())
    assert_same(tmp_path / "run", wholes / name)


@pytest.mark.parametrize("first", [4, 30])
def test_a_run_on_a_full_disk_says_so_and_is_resumed(whole, tmp_path, monkeypatch, first):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync, first, FULL, 9))
        with pytest.raises(OSError, match=r"No space left.*; what was recorded before is whole, and can be resumed: "):
            carried_out(regression(), tmp_path / "run", options=OFTEN)
    carried_out(regression(), tmp_path / "run", options=OFTEN)
    assert_same(tmp_path / "run", whole)


def test_a_run_that_could_not_begin_can_begin_again(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", failing(Path.write_text, 0, FULL, True))
        with pytest.raises(OSError, match="No space left"):
            carried_out(regression(), folder, options=OFTEN)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    (folder / ".writing-config.json.abc").mkdir()  # as a killed writer leaves it
    carried_out(regression(), folder, options=OFTEN, mode="begin")
    assert_same(folder, whole)


@pytest.mark.parametrize("torn", [0, 1, 9])
@pytest.mark.parametrize("first", [3, 5])
def test_an_interrupt_within_a_record_writes_no_row_twice(whole, tmp_path, monkeypatch, first, torn):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync, first, KeyboardInterrupt(), torn, times=1))
        assert carried_out(regression(), tmp_path / "run", options=OFTEN).interrupted
    steps = [row["step"] for row in files.read_steps(tmp_path / "run")]
    assert steps == list(range(1, len(steps) + 1))
    carried_out(regression(), tmp_path / "run", options=OFTEN)
    assert_same(tmp_path / "run", whole)


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


def test_killed_runs_end_with_the_bytes_of_one_that_was_not(capsys):
    main(Command(QUICK[-1:], kills=2, sweeps=0, shared=0, longest=0.5))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " kills (" in line]
    assert line.startswith("experiments.sine")
    assert ": 2 kills (" in line


def test_runs_in_threads_are_the_same_and_do_not_disturb_each_other(whole, tmp_path):
    how = {"options": OFTEN}
    folders = [tmp_path / str(i) for i in range(3)]
    threads = [threading.Thread(target=carried_out, args=(regression(), each), kwargs=how) for each in folders]
    for thread in threads:
        thread.start()
    for thread, each in zip(threads, folders, strict=True):
        thread.join()
        assert_same(each, whole)


SCRIPT = '''
import sys, time
import attrs
from funcnn.runs import main
from tests.small_experiments import regression

@attrs.frozen
class Config:
    """Steps that take a while."""
    epochs: int = 100_000
    pause: float = 0.01

def experiment(config):
    made = regression(epochs=config.epochs)
    def step(*args):
        time.sleep(config.pause)
        return made.step(*args)
    return attrs.evolve(made, step=step)

if __name__ == "__main__":
    sys.exit(main(experiment, Config))
'''
HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def interrupted(folder, number=signal.SIGINT, twice=False):
    """The exit status of a long run after a signal, with at least one epoch done, and what it printed."""
    run = begun(written(folder.parent, SCRIPT, "slow.py"), "--out", folder, env=HERE, **PIPES)
    try:
        while not (folder / "history.csv").exists():
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        run.send_signal(number)
        if twice:
            time.sleep(0.1)
            run.send_signal(number)
        return run.wait(timeout=120), *run.communicate()
    finally:
        run.kill()  # nothing, if it has ended


ALL = {".lock", "config.json", "environment.json", "steps.csv", "history.csv", "checkpoint.safetensors", "report.html"}
ALL |= {"model.safetensors", "best.safetensors", "history.png", "digest.txt"}


def test_ctrl_c_ends_a_command_with_130_and_all_files_and_it_is_resumed_to_the_same_bytes(tmp_path):
    folder = tmp_path / "run"
    status, printed, error = interrupted(folder)
    assert status == 130
    assert error == f"interrupted: what was learned is saved; resume {folder} goes on\n"
    assert "all files are in" in printed
    assert {*contents(folder)} == ALL
    plan, epochs = read_run(folder).plan, len(files.read_history(folder)) + 1
    known = {"name": plan.experiment, "version": plan.version, "config": {**plan.config, "epochs": epochs}}
    edited(folder / "config.json", lambda plan: {**plan, "epochs": epochs, "config": known["config"]})
    assert ended(tmp_path / "slow.py", "resume", folder, env=HERE).returncode == 0
    assert_same(folder, carried_out(regression(epochs=epochs), tmp_path / "whole", **known).folder)


@pytest.mark.parametrize("number", ENDINGS)
def test_any_signal_sent_twice_ends_a_command_in_order(tmp_path, number):
    status, printed, error = interrupted(tmp_path / "run", number, twice=True)
    assert (status, error) == (130, f"interrupted: what was learned is saved; resume {tmp_path / 'run'} goes on\n")
    assert "all files are in" in printed
    assert {*contents(tmp_path / "run")} == ALL


def test_what_is_ignored_stays_ignored_and_all_handlers_are_as_before():
    before = [*map(signal.getsignal, ENDINGS)]
    with orderly():
        handlers = {*map(signal.getsignal, ENDINGS)} - {signal.SIG_IGN}  # as under nohup
        assert handlers == {signal.default_int_handler}
        with uninterrupted():
            assert {*map(signal.getsignal, ENDINGS)} == {signal.SIG_IGN}
            with orderly():
                assert {*map(signal.getsignal, ENDINGS)} == {signal.SIG_IGN}
    assert [*map(signal.getsignal, ENDINGS)] == before


@pytest.mark.parametrize("last", ENDINGS)
def test_a_signal_that_arrives_while_handlers_change_leaves_none_changed(monkeypatch, last):
    install, before = signal.signal, [*map(signal.getsignal, ENDINGS)]

    def interrupted(number, handler):
        install(number, handler)
        if number == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", interrupted)
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            raise AssertionError
    assert [*map(signal.getsignal, ENDINGS)] == before


def test_a_handler_of_another_language_stays(monkeypatch):
    known = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else known(number))
    before = [*map(known, ENDINGS)]
    with uninterrupted():
        assert known(signal.SIGTERM) == before[ENDINGS.index(signal.SIGTERM)]
        assert known(signal.SIGINT) == signal.SIG_IGN
    assert [*map(known, ENDINGS)] == before


INTERRUPTING = """
import runpy, signal, sys, threading, time

def end():
    while "tyro" not in sys.modules:
        time.sleep(0.001)
    signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
module, sys.argv = sys.argv[1], ["-m", "compare"]
threading.Thread(target=end).start()
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("module", "status"), [("experiments.mnist", -signal.SIGINT), ("funcnn.runs", 130)])
def test_ctrl_c_during_imports_is_told_on_one_line(module, status):
    run = ran("-c", INTERRUPTING, module, env=HERE)
    assert (run.stdout, run.stderr, run.returncode) == ("", "interrupted\n", status)
