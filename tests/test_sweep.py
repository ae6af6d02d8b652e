"""A sweep: every run once, the same with any workers, whatever becomes of them."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from functools import partial

import numpy as np
import psutil
import pytest
from filelock import FileLock

import funcnn as fn
from experiments import cluster
from experiments.config import Config
from experiments.folder import is_complete, read_config
from experiments.sweep import main
from experiments.task import complete, data_of
from funcnn.data import write_image

COMMON = ["--hidden", "8", "--epochs", "4"]
GRID = ["--vary", "learning-rate", "1e-3", "1e-2", *COMMON, "--seeds", "0", "1"]
NAMES = [f"learning_rate={rate},seed={seed}" for rate in (0.001, 0.01) for seed in (0, 1)]
CONFIG = Config(hidden=(8,), epochs=2)


def start(module, *arguments, **options):
    return subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)], **options)


def digests(out):
    return {path.parent.name: path.read_text() for path in out.glob("*/digest.txt")}


def wait_until(true, process):
    """Wait while ``process`` lives, a minute at most."""
    end = time.monotonic() + 60
    while not true():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def of_one_worker(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    assert start("experiments.sweep", *GRID, "--out", out, "--workers", 1).wait(timeout=120) == 0
    return out


def test_every_run_has_its_folder(of_one_worker):
    assert sorted(digests(of_one_worker)) == NAMES
    assert len(set(digests(of_one_worker).values())) == len(NAMES)


def test_a_killed_workers_run_is_repeated(of_one_worker, tmp_path):
    sweep = start("experiments.sweep", *GRID, "--out", tmp_path, "--workers", 2)
    wait_until(lambda: digests(tmp_path), sweep)
    workers = [
        child for child in psutil.Process(sweep.pid).children() if "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    assert len(digests(tmp_path)) < len(NAMES)
    assert sweep.wait(timeout=120) == 0
    assert digests(tmp_path) == digests(of_one_worker)


def test_a_cluster_started_by_hand(of_one_worker, tmp_path):
    out, file = tmp_path / "out", tmp_path / "scheduler.json"
    local = ["--scheduler-file", file, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    scheduler = start("dask", "scheduler", *local, "--port", 0)
    started = [scheduler]
    try:
        wait_until(lambda: file.exists() and file.read_text(), scheduler)
        address = json.loads(file.read_text())["address"]
        started += [start("dask", "worker", *local, "--nthreads", 2) for _ in range(2)]
        sweep = start("experiments.sweep", *GRID, "--out", out, "--scheduler", address)
        started.append(sweep)
        wait_until(lambda: digests(out), sweep)
        started[1].kill()
        assert sweep.wait(timeout=120) == 0
        assert digests(out) == digests(of_one_worker)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def test_finished_runs_are_not_run_again(of_one_worker, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "local", None)
    before = {path: path.stat().st_mtime_ns for path in of_one_worker.glob("*/*")}
    assert main([*GRID, "--out", str(of_one_worker)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in of_one_worker.glob("*/*")}
    assert "4 of them finished already" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="a terminal is opened by pty")
def test_a_failed_run_is_reported_and_the_rest_go_on(of_one_worker, tmp_path):
    from tests.terminal import on_a_terminal  # which only POSIX has

    shutil.copytree(of_one_worker / NAMES[0], tmp_path / NAMES[0])
    (tmp_path / NAMES[0] / "digest.txt").unlink()  # as if killed before its last file
    runs = ["--vary", "learning-rate", "1e30", "1e-3", *COMMON, "--seeds", 0, "--out", tmp_path, "--workers", 1]
    shown, status = on_a_terminal(partial(start, "experiments.sweep", *runs))
    assert status == 1
    assert b"error: learning_rate=1e+30,seed=0: the loss is nan at step 2" in shown
    assert b"2/2" in shown
    assert b"batch/s" not in shown
    assert digests(tmp_path)[NAMES[0]] == digests(of_one_worker)[NAMES[0]]


def test_another_config_is_refused(of_one_worker, capsys):
    assert main([*GRID, "--out", str(of_one_worker), "--batch-size", "64"]) == 1
    error = capsys.readouterr().err
    assert f"{NAMES[0]}: expected the config of this sweep, got another one; name another --out" in error


def test_data_that_is_not_there_is_told_once(tmp_path, capsys):
    assert main([*GRID, "--dataset", "mnist", "--data-dir", "/nowhere", "--out", str(tmp_path / "out")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_data_are_checked_once_for_all_seeds(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(fn, "load_folder", lambda *where, **how: loaded.append(where))
    monkeypatch.setattr("experiments.sweep._carry_out", lambda command, folders, out: dict.fromkeys(folders, "no"))
    assert main([*GRID, "--dataset", "folder", "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert len(loaded) == 1


@pytest.fixture
def images(tmp_path):
    """A folder with two labels."""
    for label in range(2):
        for number in range(2):
            write_image(tmp_path / f"images/{label}/{number}.png", np.eye(28, k=9 * label, dtype=np.uint8) * 255)
    return tmp_path / "images"


def test_a_worker_keeps_one_copy_of_the_data(images):
    configs = [Config(dataset="folder", data_dir=images, seed=seed) for seed in (0, 0, 1)]
    copies = [weakref.ref(data_of(config)) for config in configs]
    assert [copy() is not None for copy in copies] == [False, False, True]


def test_an_interrupted_sweep_says_how_it_goes_on(tmp_path, capsys, monkeypatch):
    def interrupt(command, folders, out):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.sweep._carry_out", interrupt)
    monkeypatch.chdir(tmp_path)
    assert main(GRID) == 130
    (out,) = (tmp_path / "runs").iterdir()
    assert f"--out runs/{out.name} goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vary", "colour", "red"], "--vary: expected one of dataset, "),
        (["--vary", "seed", "1", "2"], "--vary: expected one of dataset, "),
        (["--vary", "hidden"], "--vary: expected an option and its values, got hidden"),
        (["--vary", "l2", "0", "--vary", "l2", "1"], "--vary: expected every option once, got l2 l2"),
        (["--vary", "l2", "0", "0.0"], "--vary and --seeds: expected values that differ"),
        (["--vary", "hidden", "32", "8,0"], "--hidden: expected positive whole numbers, got [8, 0]"),
        (["--vary", "learning_rate", "0.1", "fast"], "--learning-rate: could not convert string to float: 'fast'"),
        (["--vary", "learning_rate", "0.1,0.2"], "--learning-rate: could not convert string to float: '0.1,0.2'"),
        (["--vary", "optimizer", "adam", "sdg"], "invalid choice 'sdg' for argument '--optimizer'"),
        (["--vary", "optimizer", "sgd", "adam", "--vary", "momentum", "0.9"], "--momentum: expected 0 for adam"),
        (["--seed", "3"], "--seed: expected --seeds, which names all of them, got 3"),
        (["--seeds"], "--seeds: expected at least one, got none"),
        (["--workers", "0"], "--workers: expected a positive whole number, got 0"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:8786"], "--workers: expected none with --scheduler"),
        (["--scheduler", "127.0.0.1"], "missing port number in address '127.0.0.1'"),
    ],
)
def test_bad_arguments_end_with_2_before_anything_runs(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_run_waits_for_whoever_is_at_it(tmp_path):
    late = threading.Thread(target=complete, args=(tmp_path, CONFIG))
    with FileLock(tmp_path / ".lock"):
        late.start()
        late.join(timeout=0.5)
        assert late.is_alive()
        assert not (tmp_path / "config.json").exists()
    late.join(timeout=60)
    assert is_complete(tmp_path, CONFIG)


def test_a_finished_run_is_not_carried_out_again(of_one_worker, monkeypatch):
    monkeypatch.setattr("experiments.task.carry_out", None)
    folder = of_one_worker / NAMES[0]
    assert complete(folder, read_config(folder)) is None
