"""The folder of a run: what is read is what was written, and what was not written there is refused."""

import errno
import json
import math
import shutil
import sys

import attrs
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, strategies as st
from toolz import last

import funcnn as fn
from funcnn import InputError, tree
from funcnn.checkpoint import load_tree, save_tree
from funcnn.runs import Options, folder as files, read_run, stream
from funcnn.runs.rows import append_rows, read_rows, write_rows
from funcnn.runs.stream import beginning
from tests.small_experiments import TABLE, by_hand, carried_out, classifier, recorded, without_seconds


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
    folder = tmp_path_factory.mktemp("whole") / "run"
    carried_out(classifier(), folder, **PLAN)
    return folder


def resumed(folder, **changes):
    """Train the run in ``folder`` for an epoch more."""
    return carried_out(classifier(epochs=4), folder, **{**PLAN, **changes})


@pytest.mark.parametrize("name", TABLE)
def test_what_is_read_is_what_was_written(tmp_path, name):
    written = recorded(tmp_path, TABLE[name]())
    progress, rows = files.read_progress(tmp_path, beginning(TABLE[name]()))
    assert tree.equal((progress.params, progress.state), (written.params, written.state))
    assert [*progress.rows] == [*written.rows]
    assert repr([*progress.history]) == repr([*written.history])
    assert [row["step"] for row in rows] == list(range(1, written.step + 1))
    assert files.digest(progress) == files.digest(written)


def test_a_run_is_read_as_columns(whole):
    run = read_run(whole)
    progress = last(stream(classifier()))
    assert [*run.history] == [*progress.history[0]]
    assert run.history["test/loss"] == [row["test/loss"] for row in progress.history]
    assert run.steps["step"] == list(range(1, progress.step + 1))
    assert run.steps["loss"][-len(progress.rows) :] == [row["loss"] for row in progress.rows]
    assert run.digest == files.digest(progress)
    assert run.config == {"width": 6, "hidden": [3, 4], "clip": run.config["clip"], "name": None}
    found = (run.plan.experiment, run.plan.version, run.plan.options, run.plan.epochs)
    assert found == ("spirals", 2, Options(), 3)


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


def test_the_saved_model_is_that_of_the_run(whole):
    assert tree.equal(fn.load(whole / "model.safetensors").params, last(stream(classifier())).params)


ODD = [0.1 + 0.2, 1 / 3, 1e-300, 5e-324, -0.0, 1e17, 1e22, math.pi, math.inf, -math.inf, math.nan, 2.0**-1074]


def test_rows_come_back_bit_for_bit(tmp_path):
    rows = [{"step": i, "samples": 7, "loss": value, "λ/näme": -value} for i, value in enumerate(ODD, 1)]
    write_rows(tmp_path / "whole.csv", rows)
    for row in rows:
        append_rows(tmp_path / "grown.csv", [row])
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "grown.csv").read_bytes()
    found = read_rows(tmp_path / "whole.csv", "step")
    assert repr([*map(dict, found)]) == repr(rows)
    write_rows(tmp_path / "again.csv", found)
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


@given(st.lists(st.floats(), max_size=5))
def test_any_number_comes_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    rows = [{"epoch": i, "value": value} for i, value in enumerate(values, 1)]
    write_rows(path, rows)
    assert repr([*map(dict, read_rows(path, "epoch"))]) == repr(rows)


def test_no_rows_are_read_from_no_file(tmp_path):
    assert read_rows(tmp_path / "none.csv", "step") == ()
    write_rows(tmp_path / "empty.csv", ())
    assert [*read_rows(tmp_path / "empty.csv", "step")] == []


def test_half_a_row_at_the_end_is_not_read(tmp_path):
    write_rows(tmp_path / "a.csv", rows := [{"step": 1, "loss": 0.25}, {"step": 2, "loss": 0.5}])
    text = (tmp_path / "a.csv").read_bytes()
    for length in range(len(text)):
        (tmp_path / "a.csv").write_bytes(text[:length])
        found = [dict(row) for row in read_rows(tmp_path / "a.csv", "step")]
        assert found == rows[: max(0, text[:length].count(b"\n") - 1)]


def test_the_digest_sees_params_and_history_but_no_seconds():
    progress = last(stream(classifier()))
    row = progress.history[0]
    slower = attrs.evolve(progress, history=({**row, "seconds": 9.0}, *progress.history[1:]))
    worse = attrs.evolve(progress, history=({**row, "test/loss": 9.0}, *progress.history[1:]))
    assert files.digest(slower) == files.digest(progress) != files.digest(worse)
    assert files.digest(attrs.evolve(progress, params=beginning(classifier()).params)) != files.digest(progress)


def test_the_environment_says_where_it_ran(whole):
    found = files.read_environment(whole)
    assert found["libraries"]["numpy"] == np.__version__
    assert found["blas"][0]["threads"] == 1
    assert found["blas"][0]["kernel"]
    assert [*found["data"]] == ["train", "validation", "test"]
    assert {len(digest) for digest in found["data"].values()} == {32}
    assert found["git"] is None


def test_the_commit_is_that_of_the_source(tmp_path):
    carried_out(by_hand(), tmp_path / "run", source=files.__file__)
    git = files.read_environment(tmp_path / "run")["git"]
    assert git is None or len(git["commit"]) == 40


def test_the_config_is_plain_to_read(whole):
    plan = json.loads((whole / "config.json").read_text())
    assert (plan["experiment"], plan["version"], plan["epochs"], plan["watch"]) == ("spirals", 2, 3, "validation/loss")
    assert plan["config"]["hidden"] == [3, 4]
    assert plan["options"] == {"engine": "numpy", "threads": 1, "checkpoint_every": 1000}


def test_a_folder_has_one_run_at_a_time(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with (
        FileLock(folder / ".lock"),
        pytest.raises(InputError, match="expected a folder in which no other process runs, got one that is busy"),
    ):
        resumed(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_place_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    with pytest.raises(InputError, match=r"a file system with file locks, got .*Function not implemented"):
        carried_out(by_hand(), tmp_path / "run")


def test_folders_without_a_name_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [files.create(None, "spirals") for _ in range(3)]
    assert len({*folders}) == 3
    assert all(folder.is_dir() and folder.name.startswith("spirals-") for folder in folders)


@pytest.mark.parametrize("place", ["file", "file/deeper", "full"])
def test_a_place_that_cannot_be_a_new_folder_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match=r"^--out: expected a folder that "):
        carried_out(by_hand(), tmp_path / place, source=tmp_path)
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "precious.txt").read_text() == "mine"


def test_nothing_that_a_folder_names_is_imported(folder, monkeypatch):
    (folder.parent / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(folder.parent)
    plan = json.loads((folder / "config.json").read_text())
    names = {"evil": "evil.run", "__class__": "os.system", "py/object": "evil.Config", "_target_": "evil.Config"}
    (folder / "config.json").write_text(json.dumps({**plan, "experiment": "evil", "config": names}))
    run = read_run(folder)
    assert (run.plan.experiment, run.config) == ("evil", names)
    with pytest.raises(InputError, match="expected a run of spirals version 2, got one of evil version 2"):
        resumed(folder)
    assert "evil" not in sys.modules


@pytest.mark.parametrize("form", ["{0.__class__}", "1000000000d", ".999f", ".2d", "x", "", "d}", "\n", 3, None])
def test_a_format_that_is_none_is_refused(folder, form):
    plan = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**plan, "formats": {"loss": form}}))
    with pytest.raises(InputError, match=r"config\.json.*: expected "):
        read_run(folder)


@pytest.mark.parametrize("form", ["d", ",d", ".2%", ".12f", "g", ",.3g"])
def test_a_format_of_a_number_is_taken(folder, form):
    plan = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**plan, "formats": {"loss": form}}))
    assert format(3 if form.endswith("d") else 3.0, read_run(folder).plan.formats["loss"])


def test_history_does_not_change_while_it_is_read(whole):
    assert without_seconds(files.read_history(whole)) == without_seconds(last(stream(classifier())).history)
