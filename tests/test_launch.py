"""One run in its folder: begun, resumed, refused, or nothing to do; and what it prints."""

import math
import shutil
import sys
import warnings
from types import SimpleNamespace

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError
from funcnn.runs import Options, folder as files, read_run
from funcnn.runs.plan import write_json
from tests.small_experiments import (
    TABLE,
    adversarial,
    assert_same,
    by_hand,
    carried_out,
    classifier,
    contents,
    regression,
    stopped,
)


@attrs.frozen
class Config:
    width: int = 4
    epochs: int = 3
    clip: float = math.nan


pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run that was never stopped."""
    return carried_out(regression(), tmp_path_factory.mktemp("whole") / "run", config=Config()).folder


NO_RUN = "expected the folder of a run, got no config.json in it"
NOT_NEW = "^--out: expected a folder that is new or empty, got .*; name another one, or resume this one"


def folder_that(stands, whole, path):
    """A folder as a run may find it."""
    if stands in ("was stopped", "is finished"):
        shutil.copytree(whole, path)
    elif stands != "is missing":
        path.mkdir()
    match stands:
        case "is locked once":
            (path / ".lock").touch()
        case "has files":
            (path / "precious.txt").touch()
        case "has a config":
            shutil.copy(whole / "config.json", path)
        case "was stopped":
            stopped(path, regression(), 7)
    return path


@pytest.mark.parametrize(
    ("stands", "begin", "resume", "either"),
    [
        ("is missing", 15, NO_RUN, 15),
        ("is empty", 15, NO_RUN, 15),
        ("is locked once", 15, NO_RUN, 15),
        ("has files", NOT_NEW, NO_RUN, NOT_NEW),
        ("has a config", NOT_NEW, 15, 15),
        ("was stopped", NOT_NEW, 15, 15),
        ("is finished", NOT_NEW, None, None),
    ],
)
@pytest.mark.parametrize("mode", ["begin", "resume", "either"])
def test_a_folder_decides_what_a_run_does(whole, tmp_path, stands, begin, resume, either, mode):
    folder = folder_that(stands, whole, tmp_path / "run")
    before = contents(folder) if folder.exists() else {}
    match {"begin": begin, "resume": resume, "either": either}[mode]:
        case int() as steps:
            outcome = carried_out(regression(), folder, config=Config(), mode=mode)
            assert (outcome.folder, outcome.progress.step) == (folder, steps)
            assert (outcome.interrupted, outcome.failure, outcome.error) == (False, None, None)
            assert_same(folder, whole)
        case None:
            assert carried_out(regression(), folder, config=Config(), mode=mode).progress is None
            assert contents(folder) == before
        case message:
            with pytest.raises(InputError, match=message):
                carried_out(regression(), folder, config=Config(), mode=mode)
            assert (contents(folder) if folder.exists() else {}) == before


def test_a_resumed_run_takes_no_step_twice(tmp_path):
    def step(params, state, batch):
        return by_hand().step(params + 10, state, batch)

    carried_out(by_hand(epochs=2), tmp_path / "run")
    stopped(tmp_path / "run", by_hand(epochs=2), 5)
    outcome = carried_out(by_hand(step=step), tmp_path / "run")
    assert outcome.progress.params[0] == 12 + 10 * (12 - 5)


OTHER = fn.Batch(np.ones((9, 2), np.float32), np.ones((9, 1), np.float32))


@pytest.mark.parametrize(
    ("experiment", "how", "message"),
    [
        ({}, {"name": "other"}, "a run of other version 0, got one of experiment version 0; name another folder"),
        ({}, {"version": 1}, "a run of experiment version 1, got one of experiment version 0; name another"),
        ({}, {"config": Config(width=5)}, r"the run that was recorded there, got config.width: 4 -> 5; name an"),
        ({}, {"config": {"width": 4}}, "got config.clip: nan -> None; name another folder; only epochs can"),
        ({}, {"config": None}, "got config.clip: nan -> None; config.width: 4 -> None; name another folder"),
        ({}, {"options": Options(threads=2)}, r"got options\.threads: 1 -> 2"),
        ({}, {"options": Options(checkpoint_every=7)}, r"got options\.checkpoint_every: 1000 -> 7"),
        ({"patience": 2}, {}, "the run that was recorded there, got patience: None -> 2"),
        ({"tolerance": 0.5}, {}, "the run that was recorded there, got tolerance: 0.0 -> 0.5"),
        ({"watch": "test/loss"}, {}, "the run that was recorded there, got watch: train/loss -> test/loss"),
        ({"epochs": 2}, {}, "at least the 3 epochs it has, got 2"),
        ({"evaluate": {"test": OTHER}}, {}, r"the data that the run began with, got data\.test: .* -> .*; begin anoth"),
        ({"evaluate": {}}, {}, r"the data that the run began with, got data\.test: .* -> None; begin another"),
    ],
)
def test_another_run_than_the_recorded_one_is_refused(folder, experiment, how, message):
    before = contents(folder)
    with pytest.raises(InputError, match=f"run: expected .*{message}"):
        carried_out(regression(**{"epochs": 4, **experiment}), folder, **{"config": Config(), **how})
    assert contents(folder) == before


def test_only_the_look_of_numbers_may_change(folder):
    other = attrs.evolve(regression(epochs=4), formats={"loss": ".2e"})
    assert carried_out(other, folder, config=Config()).progress.step == 20
    assert read_run(folder).plan.formats == {"loss": ".2e"}


@pytest.mark.parametrize("name", ["regression", "adversarial", "tables"])
def test_more_epochs_give_the_same_as_if_asked_at_first(tmp_path, name):
    carried_out(TABLE[name](epochs=4), tmp_path / "at first", config=Config(epochs=4))
    for epochs in (2, 4):
        carried_out(TABLE[name](epochs=epochs), tmp_path / "later", config=Config(epochs=epochs))
    assert_same(tmp_path / "later", tmp_path / "at first")
    assert contents(tmp_path / "later")["config.json"] == contents(tmp_path / "at first")["config.json"]


def test_what_has_changed_since_it_began_is_added_once(folder):
    recorded = files.read_environment(folder)
    write_json(folder / "environment.json", {**recorded, "python": "3.0"})
    for epochs in (4, 5):
        carried_out(regression(epochs=epochs), folder, config=Config())
    assert files.read_environment(folder)["resumed"] == [[f"python: 3.0 -> {recorded['python']}"]]


def test_a_run_without_a_folder_gets_one_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^run: expected the folder of a run to resume, got none"):
        carried_out(by_hand(), None, mode="resume", source=tmp_path)
    folder = carried_out(by_hand(epochs=1), None, name="mine", source=tmp_path).folder
    assert folder.parent.absolute() == tmp_path / "runs"
    assert read_run(folder).plan.experiment == "mine"
    folders = {folder, *(files.create(None, "mine") for _ in range(3))}
    assert len(folders) == 4
    assert all(each.is_dir() and each.name.startswith("mine-") for each in folders)


NO_CONFIG = "^config: expected an attrs record or a mapping of plain data, got "


@pytest.mark.parametrize(
    ("experiment", "config", "message"),
    [
        *((of, None, "^mine: expected an Experiment, got .*; give") for of in (regression, None, by_hand().step)),
        *((by_hand(), config, NO_CONFIG) for config in ({"x": np.ones(2)}, {"x": object()}, [1, 2], "text", {1, 2}, 3)),
        (by_hand(formats={"loss": "{}"}), None, r"^formats 'loss': expected a format of a number such as '.4f' or"),
    ],
)
def test_what_is_no_run_is_refused_before_there_is_a_folder(tmp_path, experiment, config, message):
    with pytest.raises(InputError, match=message):
        carried_out(experiment, tmp_path / "run", name="mine", config=config)
    assert not (tmp_path / "run").exists()


UNSAVABLE = {"Generator": np.random.default_rng(0), "set": {1, 2}, "<U1": np.array(["a"]), "object": np.array([None])}


@pytest.mark.parametrize(("kind", "params"), UNSAVABLE.items())
def test_params_that_cannot_be_saved_are_refused_before_a_step(tmp_path, params, kind):
    begin = {"mine": params}, by_hand().begin()[1]
    with pytest.raises(InputError, match=rf"^params\.mine: expected an array of numbers, .* can be saved, got {kind}"):
        carried_out(by_hand(begin=lambda: begin), tmp_path / "run")


def shown(capsys, experiment, folder, **how):
    carried_out(experiment, folder, **how)
    printed, error = capsys.readouterr()
    assert error == ""
    return printed.splitlines()


def test_the_table_has_the_names_of_the_columns(tmp_path, capsys):
    printed = shown(capsys, classifier(epochs=2), tmp_path / "run", show="table")
    assert "\n".join(printed).startswith(classifier().describe())
    above, below, first, second = printed[-4:]
    assert above.split() == ["train", "validation", "test", "learning", "gradient"]
    evaluated = ["loss", "accuracy", "loss", "accuracy"]
    assert below.split() == ["epoch", "loss", "accuracy", "penalty", *evaluated, "rate", "norm", "seconds"]
    run = read_run(tmp_path / "run")
    assert first.split()[:3] == ["1", f"{run.history['train/loss'][0]:.4f}", f"{run.history['train/accuracy'][0]:.2%}"]
    assert second.split()[0] == "2"


def test_what_is_printed_is_what_is_asked_for_and_a_resumed_run_has_its_heading(tmp_path, capsys):
    assert shown(capsys, adversarial(epochs=2), tmp_path / "run", show=None) == []
    printed = shown(capsys, adversarial(epochs=4), tmp_path / "run", show="table")
    assert printed[:2] == ["Two networks.", ""]
    assert [name for name in printed[3].split() if name != "loss"][-2:] == ["distance", "seconds"]
    assert [line.split()[0] for line in printed[4:]] == ["3", "4"]
    mine = {"show": lambda progress, first: f"{progress.history[-1]['epoch']} {first}"}
    assert shown(capsys, adversarial(epochs=6), tmp_path / "run", **mine)[2:] == ["5 True", "6 False"]


def test_a_notebook_without_widgets_gets_no_warning(tmp_path, monkeypatch):
    """The bar is one of text there."""
    for name in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", SimpleNamespace())  # how tqdm knows a notebook
    kernel = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel, version_info=(9, 0)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        carried_out(regression(), tmp_path / "run")
    assert [str(each.message) for each in caught] == []
    assert sys.modules["tqdm.auto"].tqdm.__module__ == "tqdm.asyncio"
