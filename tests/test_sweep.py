"""A sweep: every combination of values and seeds, run once, the same with any workers, whatever becomes of them."""

import json
import os
import shutil
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

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
from funcnn.runs.grid import configs
from tests.scripts import begun, called, ended, python, written
from tests.small_experiments import assert_same, by_hand, carried_out, regression

GRID = ["--vary", "learning-rate", "1e-3", "1e-2", "--width", "8", "--epochs", "20", "--seeds", "0", "1"]
NAMES = [f"learning_rate={rate},seed={seed}" for rate in (0.001, 0.01) for seed in (0, 1)]


@attrs.frozen
class Fields:
    """Fields of every type."""

    widths: tuple[int, ...] = (4,)
    names: list[str] = attrs.field(factory=list)
    shape: tuple[int, int] | None = None
    rates: Sequence[float] = (0.1,)
    place: Path | None = None
    kind: Literal["sgd", "adam"] = "sgd"
    clip: float | None = None
    nesterov: bool = False
    seed: int = 0


@pytest.mark.parametrize(
    ("option", "values", "names"),
    [
        (("widths", "8,16", "32", ""), [(8, 16), (32,), ()], ["8-16", "32", "none"]),
        (("names", "a,b", "c"), [["a", "b"], ["c"]], ["a-b", "c"]),
        (("shape", "None", "3,4"), [None, (3, 4)], ["None", "3-4"]),
        (("rates", "1e-3,0.1", "-1"), [[0.001, 0.1], [-1.0]], ["0.001-0.1", "-1.0"]),
        (("place", "data/a", "b"), [Path("data/a"), Path("b")], ["data_a", "b"]),
        (("kind", "adam", "sgd"), ["adam", "sgd"], ["adam", "sgd"]),
        (("clip", "None", "1e-3"), [None, 0.001], ["None", "0.001"]),
        (("nesterov", "True", "False"), [True, False], ["True", "False"]),
    ],
)
def test_a_value_is_read_by_the_type_of_its_field(option, values, names):
    found = configs(Fields(), [option], [0], "wave.py")
    assert [getattr(config, option[0]) for config in found.values()] == values
    assert [*found] == [f"{option[0]}={text},seed=0" for text in names]


def test_every_combination_is_there_with_every_seed_and_names_do_not_depend_on_the_order():
    options = [("clip", "1", "2"), ("kind", "sgd", "adam")]
    expected = {
        f"kind={kind},clip={clip},seed={seed}": Fields(kind=kind, clip=clip, seed=seed, nesterov=True)
        for kind, clip, seed in product(("sgd", "adam"), (1.0, 2.0), (0, 1, 2))
    }
    assert configs(Fields(nesterov=True), options, [0, 1, 2], "wave.py") == expected
    assert configs(Fields(nesterov=True), options[::-1], [0, 1, 2], "wave.py") == expected


def test_a_config_has_a_seed_with_a_default_or_without():
    config = attrs.make_class("Config", {"seed": attrs.field(type=int)})
    assert [each.seed for each in configs(config(5), [], [0, 1], "wave.py").values()] == [0, 1]
    config = attrs.make_class("Config", {"width": attrs.field(default=4, type=int)})
    with pytest.raises(fn.InputError, match="--seeds: expected a config with a seed, got the fields width"):
        configs(config(), [], [0], "wave.py")


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


sweep_of_mnist = partial(sweep, of=mnist.experiment, config=mnist.Config)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--vary colour red", "--vary: expected one of dataset, "),
        ("--vary seed 1 2", "--vary: expected one of dataset, "),
        ("--vary threads 1 2", "--vary: expected one of dataset, "),
        ("--vary hidden", "--vary: expected an option and its values, got hidden"),
        ("--vary l2 0 --vary l2 1", "--vary: expected every option once, got l2 l2"),
        ("--vary l2 0 0.0", "--vary and --seeds: expected values that differ"),
        ("--seeds 1 1", "--vary and --seeds: expected values that differ"),
        ("--vary hidden 32 8,0", "--hidden: expected positive whole numbers, got [8, 0]"),
        ("--vary learning_rate 0.1 fast", "--learning-rate: could not convert string to float: 'fast'"),
        ("--vary learning_rate 0.1,0.2", "--learning-rate: could not convert string to float: '0.1,0.2'"),
        ("--vary optimizer adam sdg", "invalid choice 'sdg' for argument '--optimizer'"),
        ("--vary optimizer sgd adam --vary momentum 0.9", "--momentum: expected 0 for adam"),
        ("--seed 3", "--seed: expected --seeds, which names all of them, got 3"),
        ("--seeds", "--seeds: expected at least one, got none"),
        ("--workers 0", "--workers: expected a positive whole number, got 0"),
        ("--workers 2 --scheduler tcp://127.0.0.1:8786", "--workers: expected none with --scheduler"),
        ("--scheduler 127.0.0.1", "missing port number in address '127.0.0.1'"),
    ],
)
def test_bad_arguments_end_with_2_before_anything_runs(tmp_path, capsys, words, message):
    assert sweep_of_mnist(*words.split(), "--out", tmp_path / "out") == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


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


def test_every_run_of_a_foreign_script_is_the_run_alone_and_not_run_again(wave, of_one_worker, tmp_path, capsys):
    assert sorted(found := digests(of_one_worker)) == NAMES
    assert len(set(found.values())) == len(NAMES)
    words = ["--learning-rate", "1e-3", "--width", "8", "--epochs", "20", "--seed", "1", "--out", tmp_path / "run"]
    assert called(wave, *words) == 0
    assert (tmp_path / "run" / "digest.txt").read_text() == found[NAMES[1]]
    before = {path: path.stat().st_mtime_ns for path in of_one_worker.glob("*/*")}
    capsys.readouterr()
    assert called(wave, "sweep", *GRID, "--out", of_one_worker) == 0
    assert capsys.readouterr().out.startswith(f"4 runs in {of_one_worker}, 4 of them finished already\n")
    assert before == {path: path.stat().st_mtime_ns for path in of_one_worker.glob("*/*")}


def test_a_script_that_workers_cannot_import_is_told(wave):
    script = written(wave.parent, "from wave import *\nexit(main(experiment, Config))", "bad.py")
    end = ended(script, "sweep", "--seeds", 0, "--workers", 1, "--out", "s")
    assert end.returncode == 1
    text = "error: sweep: expected processes that start, got Nanny failed to start.; call main below `if"
    assert end.stderr.splitlines()[-1].startswith(text)


def test_a_run_that_raises_is_one_line_without_the_traceback_that_dask_logs(wave):
    end = ended(wave, "sweep", "--width", 10**11, "--seeds", 0, "--workers", 1, "--out", "raises")
    assert end.returncode == 1
    (line,) = end.stderr.splitlines()
    assert line.startswith("error: seed=0: MemoryError: Unable to allocate")


def test_a_killed_workers_run_is_repeated_and_a_script_imports_its_experiment(wave, of_one_worker, tmp_path):
    text = "from wave import Config, experiment, main\nif __name__ == '__main__':\n    exit(main(experiment, Config))"
    process = begun(written(wave.parent, text, "start.py"), "sweep", *GRID, "--out", tmp_path, "--workers", 2)
    wait_until(lambda: digests(tmp_path), process)
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    assert len(digests(tmp_path)) < len(NAMES)
    assert process.wait(timeout=180) == 0
    assert digests(tmp_path) == digests(of_one_worker)


def test_a_cluster_started_by_hand(wave, of_one_worker, tmp_path):
    out, file = tmp_path / "out", tmp_path / "scheduler.json"
    local = ["--scheduler-file", file, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]

    def dask(*words):
        return python("-m", "dask", *words, cwd=tmp_path)

    started = [dask("scheduler", *local, "--port", 0)]
    try:
        wait_until(lambda: file.exists() and file.read_text(), started[0])
        address = json.loads(file.read_text())["address"]
        started += [dask("worker", *local, "--nthreads", 2) for _ in range(2)]
        started.append(process := begun(wave, "sweep", *GRID, "--out", out, "--scheduler", address))
        wait_until(lambda: digests(out), process)
        started[1].kill()
        assert process.wait(timeout=180) == 0
        assert digests(out) == digests(of_one_worker)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


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
def test_what_a_run_raises_is_told_on_one_line_and_another_config_is_refused(tmp_path, capsys):
    assert sweep("--vary", "loss", "None", "1", "--seeds", 0, "--out", tmp_path) == 1
    printed, error = capsys.readouterr()
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "loss=None,seed=0: ExperimentError: begin raises ValueError: no loss (" in line
    assert f"{tmp_path}/loss=1.0,seed=0" in printed
    assert [*digests(tmp_path)] == ["loss=1.0,seed=0"]
    assert sweep("--vary", "loss", "1", "--seeds", 0, "--epochs", 2, "--out", tmp_path) == 1
    text = f"{tmp_path}/loss=1.0,seed=0: expected the config of this sweep, got another one; name another --out"
    assert text in capsys.readouterr().err


def test_data_that_is_not_there_is_told_once(tmp_path, capsys):
    assert sweep_of_mnist("--dataset", "mnist", "--data-dir", "/nowhere", "--out", tmp_path / "out") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_data_are_loaded_once_for_all_runs(tmp_path, monkeypatch):
    loaded, load = [], fn.load_dataset
    monkeypatch.setattr(fn, "load_dataset", lambda *where, **how: loaded.append(where) or load(*where, **how))
    monkeypatch.setattr(sweeping, "local", nullcontext)
    monkeypatch.setattr(sweeping, "outcomes", lambda client, attempt, runs: ((folder, "no") for folder in runs))
    load_data("mnist_5k", None)  # which is the only one that is kept
    loaded.clear()
    assert sweep_of_mnist("--vary", "hidden", 4, 8, "--scaling", "symmetric", "--out", tmp_path / "out") == 1
    assert len(loaded) == 1


def test_a_worker_keeps_one_copy_of_the_data(tmp_path):
    for label, number in product(range(2), range(2)):
        write_image(tmp_path / f"{label}/{number}.png", np.eye(28, k=9 * label, dtype=np.uint8) * 255)
    copies = [weakref.ref(load_data("folder", tmp_path, seed=seed)) for seed in (0, 0, 1)]
    assert [copy() is not None for copy in copies] == [False, False, True]


def test_an_interrupted_sweep_says_how_it_goes_on(tmp_path, capsys, monkeypatch):
    def interrupt(workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "local", interrupt)
    monkeypatch.chdir(tmp_path)
    assert sweep() == 130
    (out,) = (tmp_path / "runs").iterdir()
    assert f"--out runs/{out.name} goes on" in capsys.readouterr().err


@pytest.mark.parametrize("finished", [False, True], ids=["left", "finished"])
def test_a_run_waits_for_whoever_is_at_it(tmp_path, finished, without_pictures):
    """It is carried out after that, unless it was finished meanwhile."""
    outcomes, late = [], tmp_path / "late"
    how = {"wait": True, "mode": "either"}
    thread = threading.Thread(target=lambda: outcomes.append(carried_out(regression(), late, **how)))
    carried_out(regression(), tmp_path / "first")
    late.mkdir()
    with FileLock(late / ".lock"):
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive()
        assert [path.name for path in late.iterdir()] == [".lock"]
        if finished:
            shutil.copytree(tmp_path / "first", late, dirs_exist_ok=True)
    thread.join(timeout=60)
    assert [outcome.progress is None for outcome in outcomes] == [finished]
    assert_same(late, tmp_path / "first")
