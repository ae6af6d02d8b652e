"""One run in its folder: begun, resumed, refused, or nothing to do; and what it prints."""

import math
import shutil

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError
from funcnn.runs import Options, folder as files, read_run
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
    folder = tmp_path_factory.mktemp("whole") / "run"
    carried_out(regression(), folder, config=Config())
    return folder


NO_RUN = "expected the folder of a run, got no config.json in it"
NOT_NEW = "^--out: expected a folder that is new or empty, got .*; name another one, or resume this one"


def folder_that(stands, whole, path):
    """A folder as a run may find it."""
    if stands in ("is empty", "is locked once", "has files"):
        path.mkdir()
    if stands in ("is locked once", "has files"):
        (path / (".lock" if stands == "is locked once" else "precious.txt")).touch()
    if stands == "has a config":
        path.mkdir()
        shutil.copy(whole / "config.json", path)
    if stands in ("was stopped", "is finished"):
        shutil.copytree(whole, path)
    if stands == "was stopped":
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "other"}, "expected a run of other version 0, got one of experiment version 0; name another folder"),
        ({"version": 1}, "expected a run of experiment version 1, got one of experiment version 0; name another"),
        ({"config": Config(width=5)}, r"expected the run that was recorded there, got config.width: 4 -> 5; name an"),
        ({"config": {"width": 4}}, "got config.clip: nan -> None; name another folder; only epochs can become more"),
        ({"config": None}, "got config.clip: nan -> None; config.width: 4 -> None; name another folder"),
        ({"options": Options(threads=2)}, r"got options\.threads: 1 -> 2"),
        ({"options": Options(checkpoint_every=7)}, r"got options\.checkpoint_every: 1000 -> 7"),
    ],
)
@pytest.mark.parametrize("mode", ["resume", "either"])
def test_another_run_than_the_recorded_one_is_refused(folder, changes, message, mode):
    before = contents(folder)
    with pytest.raises(InputError, match=message):
        carried_out(regression(epochs=4), folder, mode=mode, **{"config": Config(), **changes})
    assert contents(folder) == before


@pytest.mark.parametrize("limits", [{"patience": 2}, {"tolerance": 0.5}, {"watch": "test/loss"}])
def test_a_run_that_ends_otherwise_is_refused(folder, limits):
    name = next(iter(limits))
    with pytest.raises(InputError, match=f"expected the run that was recorded there, got {name}: .* -> "):
        carried_out(regression(epochs=4, **limits), folder, config=Config())


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


def test_fewer_epochs_than_there_are_are_refused(folder):
    with pytest.raises(InputError, match=r"run: expected at least the 3 epochs it has, got 2"):
        carried_out(regression(epochs=2), folder, config=Config(epochs=2))


def test_other_data_than_it_began_with_are_refused(folder):
    before = contents(folder)
    x = np.ones((9, 2), np.float32)
    others = regression(epochs=4, evaluate={"test": fn.Batch(x, x[:, :1])})
    with pytest.raises(InputError, match=r"expected the data that the run began with, got data\.test: .* -> .*; begin"):
        carried_out(others, folder, config=Config())
    with pytest.raises(InputError, match=r"expected the data that the run began with, got data\.test: .* -> None; be"):
        carried_out(regression(epochs=4, evaluate={}), folder, config=Config())
    assert contents(folder) == before


def test_what_has_changed_since_it_began_is_added_once(folder):
    recorded = files.read_environment(folder)
    files.write_json(folder / "environment.json", {**recorded, "python": "3.0"})
    for epochs in (4, 5):
        carried_out(regression(epochs=epochs), folder, config=Config())
    assert files.read_environment(folder)["resumed"] == [[f"python: 3.0 -> {recorded['python']}"]]


def test_a_run_without_a_folder_gets_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = carried_out(by_hand(), None, name="mine", source=tmp_path)
    assert outcome.folder.parent.absolute() == tmp_path / "runs"
    assert outcome.folder.name.startswith("mine-")
    assert read_run(outcome.folder).plan.experiment == "mine"


def test_a_run_that_was_not_one_needs_a_folder_to_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^run: expected the folder of a run to resume, got none"):
        carried_out(by_hand(), None, mode="resume", source=tmp_path)


def test_what_is_no_experiment_is_refused(tmp_path):
    for other in (regression, None, regression().step):
        with pytest.raises(InputError, match=r"^mine: expected an Experiment, got .*; give what your function"):
            carried_out(other, tmp_path / "run", name="mine")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", [{"x": np.ones(2)}, {"x": object()}, [1, 2], "text", {1, 2}, 3])
def test_a_config_that_is_no_plain_data_is_refused(tmp_path, config):
    with pytest.raises(InputError, match=r"^config: expected an attrs record or a mapping of plain data, got "):
        carried_out(by_hand(), tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()


def test_a_format_that_is_none_is_refused_before_a_step(tmp_path):
    with pytest.raises(InputError, match=r"^formats 'loss': expected a format of a number such as '.4f' or '.2%', got"):
        carried_out(by_hand(formats={"loss": "{}"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("params", "kind"),
    [(np.random.default_rng(0), "Generator"), ({1, 2}, "set"), (np.array(["a"]), "<U1"), (np.array([None]), "object")],
)
def test_params_that_cannot_be_saved_are_refused_before_a_step(tmp_path, params, kind):
    begin = {"mine": params}, by_hand().begin()[1]
    with pytest.raises(InputError, match=rf"^params\.mine: expected an array of numbers, .* can be saved, got {kind}"):
        carried_out(by_hand(begin=lambda: begin), tmp_path / "run")


def shown(capsys, experiment, folder, **how):
    carried_out(experiment, folder, **how)
    return capsys.readouterr().out.splitlines()


def test_the_table_has_the_names_of_the_columns(tmp_path, capsys):
    printed = shown(capsys, classifier(epochs=2), tmp_path / "run", show="table")
    assert "\n".join(printed).startswith(classifier().describe())
    above, below, first, second = printed[-4:]
    assert above.split() == ["train", "validation", "test", "learning", "gradient"]
    assert below.split() == [
        "epoch",
        *["loss", "accuracy", "penalty"],
        *["loss", "accuracy"] * 2,
        "rate",
        "norm",
        "seconds",
    ]
    run = read_run(tmp_path / "run")
    assert first.split()[:3] == ["1", f"{run.history['train/loss'][0]:.4f}", f"{run.history['train/accuracy'][0]:.2%}"]
    assert second.split()[0] == "2"


def test_a_resumed_run_has_its_heading_too(tmp_path, capsys):
    shown(capsys, adversarial(epochs=2), tmp_path / "run", show="table")
    printed = shown(capsys, adversarial(epochs=4), tmp_path / "run", show="table")
    assert printed[:2] == ["Two networks.", ""]
    assert [name for name in printed[3].split() if name != "loss"][-2:] == ["distance", "seconds"]
    assert [line.split()[0] for line in printed[4:]] == ["3", "4"]


def test_nothing_is_printed_that_is_not_asked_for(tmp_path, capsys):
    assert shown(capsys, adversarial(), tmp_path / "run", show=None) == []
    assert capsys.readouterr().err == ""


def test_an_epoch_is_shown_as_one_likes(tmp_path, capsys):
    def show(progress, first):
        return f"{progress.history[-1]['epoch']} {first}"

    assert shown(capsys, by_hand(), tmp_path / "run", show=show) == ["1 True", "2 False", "3 False"]
