"""The folder of a run: what is read is what was written, and what was not written there is refused."""

import errno
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import example, given, strategies as st
from toolz import last

import funcnn as fn
from funcnn import InputError, tree
from funcnn.checkpoint import load_tree, save_tree
from funcnn.runs import folder as files, read_run, stream
from funcnn.runs.environment import changes, commit, environment
from funcnn.runs.rows import append_rows, read_rows, write_rows
from funcnn.runs.stream import beginning
from tests.small_experiments import TABLE, by_hand, carried_out, classifier, contents, edited, recorded, without_seconds


@attrs.frozen
class Config:
    width: int = 6
    hidden: tuple[int, ...] = (3, 4)
    clip: float = math.nan
    name: str | None = None


PLAN = {"name": "spirals", "version": 2, "config": Config()}


pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run that was never stopped."""
    return carried_out(classifier(), tmp_path_factory.mktemp("whole") / "run", **PLAN).folder


@pytest.fixture(scope="module")
def end():
    """Where that run ends."""
    return last(stream(classifier()))


@pytest.mark.parametrize("name", TABLE)
def test_what_is_read_is_what_was_written(tmp_path, name):
    written = recorded(tmp_path, TABLE[name]())
    progress, rows = files.read_progress(tmp_path, beginning(TABLE[name]()))
    assert tree.equal((progress.params, progress.state), (written.params, written.state))
    assert [*progress.rows] == [*written.rows]
    assert repr([*progress.history]) == repr([*written.history])
    assert [row["step"] for row in rows] == list(range(1, written.step + 1))
    assert files.digest(progress) == files.digest(written)


def test_a_run_is_read_as_plain_data(whole, end):
    run = read_run(whole)
    assert [*run.history] == [*end.history[0]]
    assert without_seconds(files.read_history(whole)) == without_seconds(end.history)
    assert run.history["test/loss"] == [row["test/loss"] for row in end.history]
    assert run.steps["step"] == list(range(1, end.step + 1))
    assert run.steps["loss"][-len(end.rows) :] == [row["loss"] for row in end.rows]
    assert run.digest == files.digest(end)
    assert tree.equal(fn.load(whole / "model.safetensors").params, end.params)
    plan = json.loads((whole / "config.json").read_text())
    assert (plan["experiment"], plan["version"], plan["epochs"], plan["watch"]) == ("spirals", 2, 3, "validation/loss")
    assert repr(plan["config"]) == repr(run.config) == "{'width': 6, 'hidden': [3, 4], 'clip': nan, 'name': None}"
    expected = {"engine": "numpy", "threads": 1, "checkpoint_every": 1000}
    assert plan["options"] == attrs.asdict(run.plan.options) == expected


def test_a_run_that_has_not_begun_is_read_too(whole, tmp_path):
    shutil.copy(whole / "config.json", tmp_path)
    run = read_run(tmp_path)
    assert (run.history, run.steps, run.environment, run.digest) == ({}, {}, {}, None)


def test_the_models_are_those_of_the_best_and_the_latest_epoch(tmp_path):
    values = {4: 3.0, 8: 1.0, 12: 2.0, 16: 1.0}
    watched = {"evaluate": lambda params: {"value": values[params[0]]}, "watch": "value", "epochs": 4}
    carried_out(by_hand(**watched, save=save_tree), tmp_path / "run")
    saved = {name: load_tree(tmp_path / "run" / f"{name}.safetensors", np.zeros(2))[0] for name in ("best", "model")}
    assert saved == {"best": 8, "model": 16}


ODD = [0.1 + 0.2, 1 / 3, 1e-300, 5e-324, -0.0, 1e17, 1e22, math.pi, math.inf, -math.inf, math.nan, 2.0**-1074]


@example(ODD)
@given(st.lists(st.floats(), max_size=5))
def test_rows_come_back_bit_for_bit(tmp_path_factory, values):
    whole, grown = (tmp_path_factory.getbasetemp() / f"{name}.csv" for name in ("whole", "grown"))
    grown.unlink(missing_ok=True)
    rows = [{"step": i, "samples": 7, "loss": value, "λ/näme": -value} for i, value in enumerate(values, 1)]
    write_rows(whole, rows)
    for row in rows:
        append_rows(grown, [row])
    assert not rows or whole.read_bytes() == grown.read_bytes()
    found = read_rows(whole, "step")
    assert repr([*map(dict, found)]) == repr(rows)


def test_half_a_row_at_the_end_is_not_read(tmp_path):
    assert read_rows(tmp_path / "a.csv", "step") == ()
    write_rows(tmp_path / "a.csv", rows := [{"step": 1, "loss": 0.25}, {"step": 2, "loss": 0.5}])
    text = (tmp_path / "a.csv").read_bytes()
    for length in range(len(text)):
        (tmp_path / "a.csv").write_bytes(text[:length])
        found = [dict(row) for row in read_rows(tmp_path / "a.csv", "step")]
        assert found == rows[: max(0, text[:length].count(b"\n") - 1)]


def test_the_digest_sees_params_and_history_but_no_seconds(end):
    row = end.history[0]
    slower = attrs.evolve(end, history=({**row, "seconds": 9.0}, *end.history[1:]))
    worse = attrs.evolve(end, history=({**row, "test/loss": 9.0}, *end.history[1:]))
    assert files.digest(slower) == files.digest(end) != files.digest(worse)
    assert files.digest(attrs.evolve(end, params=beginning(classifier()).params)) != files.digest(end)


def test_the_environment_says_where_it_ran(whole, tmp_path):
    found = files.read_environment(whole)
    assert found["libraries"]["numpy"] == np.__version__
    assert found["blas"][0]["threads"] == 1
    assert found["blas"][0]["kernel"]
    assert [*found["data"]] == ["train", "validation", "test"]
    assert {len(digest) for digest in found["data"].values()} == {32}
    assert found["git"] is None
    carried_out(by_hand(), tmp_path / "run", source=files.__file__)
    git = files.read_environment(tmp_path / "run")["git"]
    assert git is None or len(git["commit"]) == 40


def test_a_run_whose_metrics_come_in_another_order_is_resumed_with_each_in_its_own_column(tmp_path):
    for epochs, names in ((1, "ab"), (2, "ba")):
        numbers = {name: float(ord(name)) for name in names}
        carried_out(by_hand(lambda state, numbers=numbers: numbers, epochs=epochs), tmp_path / "run")
    steps = read_run(tmp_path / "run").steps
    assert (steps["a"], steps["b"]) == ([97.0] * 8, [98.0] * 8)


def test_a_commit_is_known_whatever_the_files_beside_it_are_called(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    git("init")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "first")
    git("config", "core.quotePath", "false")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff")).touch()
    assert commit(tmp_path)["clean"] is False


def test_the_code_of_a_script_covers_the_modules_of_its_folder(tmp_path, monkeypatch):
    for name in ("loaded", "other"):
        (tmp_path / f"{name}.py").write_text("RATE = 0.1")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("loaded")
    before = environment({}, tmp_path / "script.py")
    assert [*before["code"]] == ["loaded.py"]
    (tmp_path / "loaded.py").write_text("RATE = 0.2")
    (change,) = changes(before, environment({}, tmp_path / "script.py"))
    assert change.startswith("code.loaded.py: ")


def test_the_code_of_a_package_covers_all_its_loaded_modules():
    of_the_runs = environment({}, Path(files.__file__))["code"]
    assert {"runs/folder.py", "keys.py"} < {*of_the_runs}


def test_a_folder_has_one_run_at_a_time(folder):
    before = contents(folder)
    with FileLock(folder / ".lock"), pytest.raises(InputError, match="no other process runs, got one that is busy"):
        carried_out(classifier(epochs=4), folder, **PLAN)
    assert contents(folder) == before


def test_a_place_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    with pytest.raises(InputError, match=r"a file system with file locks, got .*Function not implemented"):
        carried_out(by_hand(), tmp_path / "run")


@pytest.mark.parametrize("place", ["file", "file/deeper", "full"])
def test_a_place_that_cannot_be_a_new_folder_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match=r"^--out: expected a folder that "):
        carried_out(by_hand(), tmp_path / place, source=tmp_path)
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "precious.txt").read_text() == "mine"


def changed(folder, **fields):
    """The folder whose config.json has other fields."""
    edited(folder / "config.json", lambda plan: {**plan, **fields})
    return folder


def test_nothing_that_a_folder_names_is_imported(folder, monkeypatch):
    (folder.parent / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(folder.parent)
    names = {"evil": "evil.run", "__class__": "os.system", "py/object": "evil.Config", "_target_": "evil.Config"}
    run = read_run(changed(folder, experiment="evil", config=names))
    assert (run.plan.experiment, run.config) == ("evil", names)
    with pytest.raises(InputError, match="expected a run of spirals version 2, got one of evil version 2"):
        carried_out(classifier(epochs=4), folder, **PLAN)
    assert "evil" not in sys.modules


@pytest.mark.parametrize("form", ["{0.__class__}", "1000000000d", ".999f", ".2d", "x", "", "d}", "\n", 3, None])
def test_a_format_that_is_none_is_refused(folder, form):
    with pytest.raises(InputError, match=r"config\.json.*: expected "):
        read_run(changed(folder, formats={"loss": form}))


@pytest.mark.parametrize("form", ["d", ",d", ".2%", ".12f", "g", ",.3g"])
def test_a_format_of_a_number_is_taken(folder, form):
    run = read_run(changed(folder, formats={"loss": form}))
    assert format(3 if form.endswith("d") else 3.0, run.plan.formats["loss"])
