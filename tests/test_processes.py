"""Runs in threads and processes: side by side, one after another, and after Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from funcnn.runs import folder as files
from tests.small_experiments import assert_same, carried_out, contents, regression

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
ROOT = Path(__file__).parents[1]


def slow(folder, *words):
    """The command of a long run, which has begun."""
    script = folder.parent / "slow.py"
    script.write_text(SCRIPT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the background jobs of a shell ignore it
    command = [sys.executable, script, *words]
    kept = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "PYTHONPATH": ROOT},
    }
    run = subprocess.Popen(command, **kept)
    signal.signal(signal.SIGINT, before)
    return run


def interrupted(folder):
    """A long run in a process of its own, just after Ctrl-C, with at least one epoch done."""
    run = slow(folder, "--out", folder)
    while not (folder / "history.csv").exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    return run


def told(run):
    """What a run printed until it ended; one that does not end is killed."""
    try:
        return run.communicate(timeout=120)
    finally:
        run.kill()  # nothing, if it has ended


ALL = {".lock", "config.json", "environment.json", "steps.csv", "history.csv", "checkpoint.safetensors", "report.html"}
ALL |= {"model.safetensors", "best.safetensors", "history.png", "digest.txt"}


def test_ctrl_c_ends_a_command_with_130_and_all_files(tmp_path):
    run = interrupted(tmp_path / "run")
    printed, error = told(run)
    assert run.returncode == 130
    assert error == f"interrupted: what was learned is saved; resume {tmp_path / 'run'} goes on\n"
    assert "all files are in" in printed
    assert {*contents(tmp_path / "run")} == ALL


def test_a_second_ctrl_c_loses_nothing(tmp_path):
    run = interrupted(tmp_path / "run")
    time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    told(run)
    assert run.returncode == 130
    assert {*contents(tmp_path / "run")} == ALL


def test_an_interrupted_command_is_resumed_to_the_same_bytes(tmp_path):
    told(interrupted(tmp_path / "run"))
    epochs = len(files.read_history(tmp_path / "run")) + 1
    plan = json.loads((tmp_path / "run" / "config.json").read_text())
    plan = {**plan, "epochs": epochs, "config": {**plan["config"], "epochs": epochs}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(plan))
    run = slow(tmp_path / "run", "resume", tmp_path / "run")
    printed, _ = told(run)
    assert run.returncode == 0, printed
    carried_out(regression(epochs=epochs), tmp_path / "whole")
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never stopped."""
    return carried_out(regression(), tmp_path_factory.mktemp("whole") / "run").folder


def test_a_run_in_a_thread_is_the_same(whole, tmp_path):
    args = (regression(), tmp_path / "run")
    thread = threading.Thread(target=carried_out, args=args)
    thread.start()
    thread.join()
    assert_same(tmp_path / "run", whole)


def test_a_run_may_wait_for_another_one(whole, tmp_path):
    (tmp_path / "run").mkdir()
    how = {"wait": True}
    thread = threading.Thread(target=carried_out, args=(regression(), tmp_path / "run"), kwargs=how)
    with FileLock(tmp_path / "run" / ".lock"):
        thread.start()
        thread.join(timeout=0.2)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    thread.join()
    assert_same(tmp_path / "run", whole)


def test_runs_in_threads_do_not_disturb_each_other(whole, tmp_path):
    threads = [threading.Thread(target=carried_out, args=(regression(), tmp_path / str(i))) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        assert_same(tmp_path / str(i), whole)
