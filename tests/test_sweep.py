"""A sweep: every run once, the same with any workers, whatever becomes of them."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from contextlib import nullcontext
from functools import partial

import attrs
import numpy as np
import psutil
import pytest
from filelock import FileLock

import funcnn as fn
from experiments import mnist
from experiments.digits import load_data
from funcnn.data import write_image
from funcnn.runs import main, sweep as sweeping
from tests.scripts import WAVE, begun, ended, written
from tests.small_experiments import by_hand, carried_out, regression

GRID = ["--vary", "learning-rate", "1e-3", "1e-2", "--width", "8", "--epochs", "60", "--seeds", "0", "1"]
NAMES = [f"learning_rate={rate},seed={seed}" for rate in (0.001, 0.01) for seed in (0, 1)]


@attrs.frozen
class Config:
    """A loss; a run that has none fails, in two lines."""

    loss: float | None = 1.0
    epochs: int = 1
    seed: int = 0


def experiment(config):
    def metrics(state):
        if config.loss is None:
            raise ValueError("no\n\nloss")
        return {"loss": config.loss}

    return by_hand(metrics, epochs=config.epochs)


def sweep(*words, of=experiment, config=Config):
    """The exit status of the command, in this process."""
    try:
        return main(of, config, arguments=["sweep", *map(str, words)])
    except SystemExit as end:
        return end.code


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs are carried out here, one after another, which is faster than to start workers."""

    def outcomes(client, attempt, runs):
        for folder, config in runs.items():
            try:
                yield folder, attempt(folder, config)
            except Exception as error:
                yield folder, f"{type(error).__name__}: {error}"

    monkeypatch.setattr(sweeping, "local", nullcontext)
    monkeypatch.setattr(sweeping, "outcomes", outcomes)


def digests(out):
    return {path.parent.name: path.read_text() for path in out.glob("*/digest.txt")}


def wait_until(true, process):
    """Wait while ``process`` lives, two minutes at most."""
    end = time.monotonic() + 120
    while not true():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def wave(tmp_path_factory):
    """A script that no worker could import."""
    return written(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def of_one_worker(wave):
    """The folder of a sweep of that script."""
    end = ended(wave, "sweep", *GRID, "--out", "sweep", "--workers", 1)
    assert end.returncode == 0, end.stderr
    return wave.parent / "sweep"


def test_every_run_of_a_foreign_script_has_its_folder(of_one_worker):
    assert sorted(digests(of_one_worker)) == NAMES
    assert len(set(digests(of_one_worker).values())) == len(NAMES)


def test_a_run_of_a_sweep_is_the_run_alone(wave, of_one_worker, tmp_path):
    words = ["--learning-rate", "1e-3", "--width", "8", "--epochs", "60", "--seed", "1", "--out", tmp_path / "run"]
    assert ended(wave, *words).returncode == 0
    assert (tmp_path / "run" / "digest.txt").read_text() == digests(of_one_worker)[NAMES[1]]


def test_a_script_imports_its_experiment_from_beside_it(tmp_path):
    written(tmp_path, WAVE, "mine.py")
    text = "from mine import Config, experiment, main\nif __name__ == '__main__':\n    exit(main(experiment, Config))"
    script = written(tmp_path, text, "start.py")
    end = ended(script, "sweep", "--seeds", 0, "--epochs", 1, "--workers", 1, "--out", "s")
    assert end.returncode == 0, end.stderr
    assert [*digests(tmp_path / "s")] == ["seed=0"]


def test_a_script_that_workers_cannot_import_is_told(tmp_path):
    written(tmp_path, WAVE, "mine.py")
    script = written(tmp_path, "from mine import *\nexit(main(experiment, Config))", "start.py")
    end = ended(script, "sweep", "--seeds", 0, "--workers", 1, "--out", "s")
    assert end.returncode == 1
    last = end.stderr.splitlines()[-1]
    assert last.startswith(
        "error: sweep: expected processes that start, got Nanny failed to start.; call main below `if"
    )


def test_a_killed_workers_run_is_repeated(wave, of_one_worker, tmp_path):
    process = begun(wave, "sweep", *GRID, "--out", tmp_path, "--workers", 2)
    wait_until(lambda: digests(tmp_path), process)
    workers = [
        child for child in psutil.Process(process.pid).children() if "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    assert len(digests(tmp_path)) < len(NAMES)
    assert process.wait(timeout=180) == 0
    assert digests(tmp_path) == digests(of_one_worker)


def test_a_cluster_started_by_hand(wave, of_one_worker, tmp_path):
    out, file = tmp_path / "out", tmp_path / "scheduler.json"
    local = ["--scheduler-file", file, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]

    def dask(*words):
        return subprocess.Popen([sys.executable, "-m", "dask", *map(str, words)], cwd=tmp_path)

    scheduler = dask("scheduler", *local, "--port", 0)
    started = [scheduler]
    try:
        wait_until(lambda: file.exists() and file.read_text(), scheduler)
        address = json.loads(file.read_text())["address"]
        started += [dask("worker", *local, "--nthreads", 2) for _ in range(2)]
        process = begun(wave, "sweep", *GRID, "--out", out, "--scheduler", address)
        started.append(process)
        wait_until(lambda: digests(out), process)
        started[1].kill()
        assert process.wait(timeout=180) == 0
        assert digests(out) == digests(of_one_worker)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def test_finished_runs_are_not_run_again(wave, of_one_worker):
    before = {path: path.stat().st_mtime_ns for path in of_one_worker.glob("*/*")}
    end = ended(wave, "sweep", *GRID, "--out", "sweep")
    assert (end.returncode, end.stdout.splitlines()[0]) == (0, "4 runs in sweep, 4 of them finished already")
    assert before == {path: path.stat().st_mtime_ns for path in of_one_worker.glob("*/*")}


@pytest.mark.skipif(os.name != "posix", reason="a terminal is opened by pty")
def test_a_failed_run_is_reported_and_the_rest_go_on(wave, of_one_worker, tmp_path):
    from tests.terminal import on_a_terminal  # which only POSIX has

    shutil.copytree(of_one_worker / NAMES[0], tmp_path / NAMES[0])
    (tmp_path / NAMES[0] / "digest.txt").unlink()  # as if killed before its last file
    rates = ["--vary", "learning-rate", "1e30", "1e-3", *GRID[4:-1], "--out", tmp_path, "--workers", 1]
    shown, status = on_a_terminal(partial(begun, wave, "sweep", *rates))
    assert status == 1
    assert b"error: learning_rate=1e+30,seed=0: loss is " in shown
    assert b"2/2" in shown
    assert b"batch/s" not in shown
    assert digests(tmp_path)[NAMES[0]] == digests(of_one_worker)[NAMES[0]]


@pytest.mark.usefixtures("in_this_process")
def test_what_a_run_raises_is_told_on_one_line(tmp_path, capsys):
    assert sweep("--vary", "loss", "None", "1", "--seeds", 0, "--out", tmp_path / "out") == 1
    printed, error = capsys.readouterr()
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "loss=None,seed=0: ExperimentError: begin raises ValueError: no loss (" in line
    assert f"{tmp_path / 'out'}/loss=1.0,seed=0" in printed
    assert [*digests(tmp_path / "out")] == ["loss=1.0,seed=0"]


@pytest.mark.usefixtures("in_this_process")
def test_another_config_is_refused(tmp_path, capsys):
    words = ["--seeds", 0, "--out", tmp_path]
    assert sweep(*words) == 0
    assert sweep(*words, "--epochs", 2) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/seed=0: expected the config of this sweep, got another one; name another --out" in error


def test_data_that_is_not_there_is_told_once(tmp_path, capsys):
    words = ["--dataset", "mnist", "--data-dir", "/nowhere", "--out", tmp_path / "out"]
    assert sweep(*words, of=mnist.experiment, config=mnist.Config) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_data_are_loaded_once_for_all_runs(tmp_path, monkeypatch):
    loaded, load = [], fn.load_dataset
    monkeypatch.setattr(fn, "load_dataset", lambda *where, **how: loaded.append(where) or load(*where, **how))
    monkeypatch.setattr(sweeping, "local", nullcontext)
    monkeypatch.setattr(sweeping, "outcomes", lambda client, attempt, runs: ((folder, "no") for folder in runs))
    load_data("mnist_5k", None)  # which is the only one that is kept
    loaded.clear()
    words = ["--vary", "hidden", 4, 8, "--scaling", "symmetric", "--out", tmp_path / "out"]
    assert sweep(*words, of=mnist.experiment, config=mnist.Config) == 1
    assert len(loaded) == 1


@pytest.fixture
def images(tmp_path):
    """A folder with two labels."""
    for label in range(2):
        for number in range(2):
            write_image(tmp_path / f"images/{label}/{number}.png", np.eye(28, k=9 * label, dtype=np.uint8) * 255)
    return tmp_path / "images"


def test_a_worker_keeps_one_copy_of_the_data(images):
    copies = [weakref.ref(load_data("folder", images, seed=seed)) for seed in (0, 0, 1)]
    assert [copy() is not None for copy in copies] == [False, False, True]


def test_an_interrupted_sweep_says_how_it_goes_on(tmp_path, capsys, monkeypatch):
    def interrupt(workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "local", interrupt)
    monkeypatch.chdir(tmp_path)
    assert sweep() == 130
    (out,) = (tmp_path / "runs").iterdir()
    assert f"--out runs/{out.name} goes on" in capsys.readouterr().err


def test_a_run_waits_for_whoever_is_at_it(tmp_path):
    late = threading.Thread(target=carried_out, args=(regression(), tmp_path), kwargs={"wait": True})
    with FileLock(tmp_path / ".lock"):
        late.start()
        late.join(timeout=0.5)
        assert late.is_alive()
        assert not (tmp_path / "config.json").exists()
    late.join(timeout=60)
    assert (tmp_path / "digest.txt").exists()


def test_a_run_that_another_one_finished_meanwhile_is_not_carried_out(tmp_path):
    finished, outcomes = regression(), []
    late = threading.Thread(
        target=lambda: outcomes.append(carried_out(finished, tmp_path / "late", wait=True, mode="either"))
    )
    carried_out(finished, tmp_path / "first")
    (tmp_path / "late").mkdir()
    with FileLock(tmp_path / "late" / ".lock"):
        late.start()
        late.join(timeout=0.5)
        shutil.copytree(tmp_path / "first", tmp_path / "late", dirs_exist_ok=True)
    late.join(timeout=60)
    assert [outcome.progress for outcome in outcomes] == [None]
