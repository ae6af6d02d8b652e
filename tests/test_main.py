"""What a command can be made of: experiments, configs and printers, and what it is then called."""

import importlib
import json
import subprocess
import sys
from functools import partial

import attrs
import pytest

from funcnn import InputError
from funcnn.runs import main, read_run
from tests.scripts import WAVE, written
from tests.small_experiments import by_hand, regression


@attrs.frozen
class Config:
    """A width and a seed."""

    width: int = 4
    seed: int = 0


def experiment(config):
    return by_hand(epochs=1)


def command(*words, of=experiment, config=Config, **how):
    """The exit status."""
    try:
        return main(of, config, arguments=[*map(str, words)], **how)
    except SystemExit as end:
        return end.code


def a_class(**fields):
    return attrs.make_class("Config", {name: attrs.field(**how) for name, how in fields.items()})


@pytest.mark.parametrize("config", [dict, Config(), None, type("Config", (), {})])
def test_a_config_is_an_attrs_class(config):
    with pytest.raises(InputError, match=r"main: expected a config that is an attrs class, got .*; decorate it"):
        main(experiment, config, arguments=[])


@pytest.mark.parametrize("of", [by_hand(), None, "experiment"])
def test_an_experiment_is_a_function(of):
    with pytest.raises(InputError, match="main: expected an experiment that is a function of a config, got "):
        main(of, Config, arguments=[])


OPTIONS = [
    *("out", "engine", "threads", "checkpoint_every", "devices", "coordinator", "process", "processes"),
    *("vary", "seeds", "workers", "scheduler", "printer", "run"),
]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_field_is_named_otherwise_than_the_options_of_a_run(name):
    config = a_class(width={"default": 1, "type": int}, **{name: {"default": 1, "type": int}})
    with pytest.raises(InputError, match=f"main Config: expected fields named otherwise than .* options, got {name}$"):
        main(experiment, config, arguments=[])


def test_a_field_of_a_record_in_a_config_is_an_option_too():
    inner = a_class(threads={"default": 1, "type": int})
    config = a_class(optimizer={"factory": inner, "type": inner})
    with pytest.raises(InputError, match=r"main Config: expected fields named otherwise .*, got threads$"):
        main(experiment, config, arguments=[])


def test_a_record_in_a_config_is_recorded_and_resumed(tmp_path):
    inner = a_class(rate={"default": 0.1, "type": float})
    config = a_class(optimizer={"factory": inner, "type": inner})
    assert command("--rate", 0.5, "--out", tmp_path / "run", config=config) == 0
    assert read_run(tmp_path / "run").config == {"optimizer": {"rate": 0.5}}
    assert command("resume", tmp_path / "run", config=config) == 0


REQUIRED = a_class(width={"type": int}, seed={"type": int, "default": 0})


def test_a_field_without_a_default_must_be_told(capsys):
    assert command(config=REQUIRED) == 2
    assert "--width INT" in capsys.readouterr().err


def test_a_run_of_a_config_without_defaults_is_resumed_and_reproduced(tmp_path):
    assert command("--width", 3, "--out", tmp_path / "run", config=REQUIRED) == 0
    assert command("resume", tmp_path / "run", config=REQUIRED) == 0
    assert command("reproduce", tmp_path / "run", config=REQUIRED) == 0


def test_a_config_without_fields_is_one_too(tmp_path):
    assert command("--out", tmp_path / "run", config=a_class()) == 0
    assert read_run(tmp_path / "run").config == {}


@pytest.mark.parametrize("made", [None, regression, (1, 2)])
def test_what_is_no_experiment_is_told(tmp_path, capsys, made):
    assert command("--out", tmp_path / "run", of=lambda config: made) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: test_main: expected a function from a config to an Experiment, got one that gives ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


class Made:
    """An experiment as an object that is called."""

    def __call__(self, config):
        return experiment(config)


@pytest.mark.parametrize("of", [partial(experiment), partial(Made()), Made(), Made().__call__, lambda it: by_hand()])
def test_an_experiment_is_anything_that_is_called(tmp_path, of):
    assert command("--out", tmp_path / "run", of=of) == 0
    assert read_run(tmp_path / "run").plan.experiment == "test_main"


def brief(progress, first):
    return f"{'first' if first else 'then'} {progress.history[-1]['train/loss']:.2f}"


def test_a_printer_shows_an_epoch(tmp_path, capsys):
    words = ["--printer", "brief", "--out", tmp_path / "run"]
    assert command(*words, of=lambda config: by_hand(epochs=2), printers={"brief": brief}) == 0
    assert capsys.readouterr().out.startswith("first 0.52\nthen 0.16\n\nepoch 2: train/loss 0.1586\n")


def test_a_printer_is_chosen_for_a_resumed_run_too(tmp_path, capsys):
    config = a_class(epochs={"default": 1, "type": int})
    how = {"of": lambda config: by_hand(epochs=config.epochs), "config": config, "printers": {"brief": brief}}
    assert command("--out", tmp_path / "run", **how) == 0
    capsys.readouterr()
    assert command("resume", tmp_path / "run", "--epochs", 2, "--printer", "brief", **how) == 0
    assert capsys.readouterr().out.startswith("first 0.16\n")


def test_the_table_is_a_printer_unless_told(tmp_path, capsys):
    assert command("--out", tmp_path / "run", printers={"brief": brief}) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["epoch", "loss", "seconds"]
    assert command("--printer", "pretty", printers={"brief": brief}) == 2
    assert "invalid choice 'pretty' for argument '--printer'" in capsys.readouterr().err


def test_a_name_and_a_version_may_be_given(tmp_path):
    assert command("--out", tmp_path / "run", name="mine", version=3) == 0
    plan = read_run(tmp_path / "run").plan
    assert (plan.experiment, plan.version) == ("mine", 3)


@pytest.mark.parametrize(
    ("command", "name", "usage"),
    [
        (["waves/wave.py"], "wave", "python wave.py"),
        (["-m", "waves.wave"], "wave", "python -m waves.wave"),
        (["-c", WAVE], "experiment", "python -m experiment"),
    ],
    ids=["file", "module", "text"],
)
def test_an_experiment_has_the_name_of_its_module(tmp_path, command, name, usage):
    written(tmp_path / "waves")
    known = {"cwd": tmp_path, "capture_output": True, "text": True}
    told = subprocess.run([sys.executable, *command, "--epochs", "none"], **known)
    assert f"{usage} --help" in told.stderr
    assert subprocess.run([sys.executable, *command, "--epochs", "1"], **known).returncode == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith(f"{name}-2")
    assert json.loads((folder / "config.json").read_text())["experiment"] == name


ANNOTATED = """
from __future__ import annotations
import attrs, pathlib
from tests.small_experiments import by_hand

@attrs.frozen
class Config:
    data: pathlib.Path = pathlib.Path("here")
    width: int | None = None
    seed: int = 0

def experiment(config):
    return by_hand(epochs=1)
"""


def test_annotations_may_be_strings(tmp_path, monkeypatch, capsys):
    written(tmp_path, ANNOTATED, "annotated.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "annotated", raising=False)
    module = importlib.import_module("annotated")
    how = {"of": module.experiment, "config": module.Config}
    assert command("--width", 3, "--out", tmp_path / "run", **how) == 0
    assert command("resume", tmp_path / "run", "--data", "there", **how) == 0
    assert command("reproduce", tmp_path / "run", **how) == 0
    assert read_run(tmp_path / "run").config == {"data": "here", "width": 3, "seed": 0}
