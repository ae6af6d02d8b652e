"""The command of an experiment, as a user types it: its verbs, its options, how it ends, and what it can be made of."""

import importlib
import json
import sys
from functools import partial
from pathlib import Path

import attrs
import pytest
import tyro

import funcnn as fn
from funcnn import InputError
from funcnn.runs import main, read_run, supervised
from tests.scripts import PIPES, WAVE, begun, ran, written
from tests.small_experiments import KEY, SQUARED, by_hand, drawn, regression


def positive(config, attribute, value):
    fn.errors.require(value > 0, f"--{attribute.name}", "a number above 0", value)


@attrs.frozen
class Config:
    """A sine, learned by a few units.

    Attributes:
        width: Units.
        rate: The learning rate.
        falls: Whether it falls to 0 at the end of the last epoch.
        data: A folder that nobody reads.
    """

    width: int = 4
    rate: float = attrs.field(default=0.1, validator=positive)
    falls: bool = False
    data: Path | None = None
    epochs: int = 2
    seed: int = 0


MADE = []
"""The configs of which an experiment was made."""


def experiment(config):
    MADE.append(config)
    x = drawn("x", 20)
    model = fn.serial(fn.dense(config.width), fn.tanh(), fn.dense(1))
    rate = fn.cosine(config.rate, 4 * config.epochs) if config.falls else config.rate
    train = fn.Batch(x, x[:, :1])
    return supervised(model, SQUARED, fn.sgd(rate), train, key=KEY, batch_size=5, epochs=config.epochs)


def quick(config):
    return by_hand(epochs=getattr(config, "epochs", 1))


def command(*words, of=experiment, config=Config, **how):
    """The exit status of ``python -m tests.test_command`` with these words."""
    try:
        return main(of, config, arguments=[*map(str, words)], **how)
    except SystemExit as end:
        return end.code


pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, without_pictures):
    """The folder of a run that has ended."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert command("--data", "here", "--out", folder) == 0
    return folder


def plain(text):
    """Text without the frames around it."""
    return " ".join(text.replace("│", " ").split())


def refusal(capsys):
    """The one line that something was refused with; nothing else was printed."""
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_train_may_be_left_out(whole, tmp_path):
    assert command("train", "--data", "here", "--out", tmp_path / "run") == 0
    assert read_run(tmp_path / "run").digest == read_run(whole).digest


OPTION_OF = {
    "": "--rate FLOAT The learning rate. (default: 0.1)",
    "resume ": "RUN The folder of the run. (required)",
    "reproduce ": "--tolerance",
}
OPTION_OF |= {
    "sweep ": "--vary",
    "compare ": "RUN... The folders of runs, or folders that contain them. (required)",
    "export ": "RUN Its folder, or a model in it. (required)",
}


@pytest.mark.parametrize(("verb", "option"), OPTION_OF.items())
def test_every_verb_has_help(capsys, verb, option):
    assert command(*verb.split(), "--help") == 0
    told = plain(capsys.readouterr().out)
    assert told.startswith(f"usage: python -m tests.test_command {verb}[-h]")
    assert option in told
    assert verb or told.partition("[OPTIONS] ")[2].startswith("A sine, learned by a few units. Other verbs: resume r")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "expected an option or a verb, train, resume, reproduce, sweep, compare, export, got trian"),
        ("--colour red", "Unrecognized options: --colour, red"),
        ("--vary width 1", "Unrecognized options: --vary, width, 1"),
        ("--width x", "Error parsing --width: invalid literal for int()"),
        ("--width", "Missing value for argument '--width'"),
        ("--rate 0", "--rate: expected a number above 0, got 0.0"),
        ("--engine torch", "invalid choice 'torch' for argument '--engine'"),
        ("--threads 0", "--threads: expected a positive whole number, got 0"),
        ("--checkpoint-every -1", "--checkpoint-every: expected a positive whole number, got -1"),
        ("--printer pretty", "Unrecognized options: --printer, pretty"),
        ("resume", "Missing from python -m tests.test_command resume: RUN"),
        ("resume RUN --threads 2", "Unrecognized options: --threads, 2"),
        ("resume RUN --rate 0", "--rate: expected a number above 0, got 0.0"),
        ("resume RUN --epochs", "Missing value for argument '--epochs'"),
        ("reproduce", "Missing from python -m tests.test_command reproduce: RUN"),
        ("reproduce RUN --width 3", "Unrecognized options: --width, 3"),
        ("reproduce RUN --tolerance -1", "--tolerance: expected a number of at least 0, got -1.0"),
        ("reproduce RUN --threads 0", "--threads: expected a positive whole number, got 0"),
        ("compare", "RUN...: expected at least one folder, got none"),
    ],
)
def test_bad_arguments_end_with_2_and_name_the_option(whole, capsys, words, message):
    assert command(*words.replace("RUN", str(whole)).split()) == 2
    assert message in plain(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "how", "message"),
    [
        ("resume nowhere", {}, "nowhere: expected the folder of a run, got no config.json in it"),
        ("resume --epochs 5 nowhere", {}, "nowhere: expected the folder of a run, got no config.json in it"),
        ("reproduce nowhere", {}, "nowhere: expected the folder of a run, got no config.json in it"),
        ("--out RUN", {}, "--out: expected a folder that is new or empty, got RUN; name another one"),
        ("resume RUN", {"name": "mine"}, "RUN: expected a run of mine version 0, got one of test_command version 0;"),
        ("reproduce RUN", {"version": 3}, "RUN: expected a run of test_command version 3, got one of test_command ver"),
        ("resume RUN --rate 0.2", {}, "--rate: expected 0.1, as the run has it, got 0.2; only --epochs can"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_before_anything_is_loaded(whole, capsys, words, how, message):
    MADE.clear()
    assert command(*words.replace("RUN", str(whole)).split(), **how) == 1
    assert message.replace("RUN", str(whole)) in refusal(capsys)
    assert MADE == []


def test_a_finished_run_has_nothing_left_to_do(whole, capsys):
    assert command("resume", whole) == 0
    assert capsys.readouterr().out == f"nothing to do: the run in {whole} is finished\n"


def test_a_finished_run_whose_config_was_edited_is_refused(folder, capsys):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
    assert command("resume", folder) == 1
    assert "expected a checkpoint of this config and key, got that of another run" in refusal(capsys)


def test_help_is_the_same_where_a_run_is_named(whole, capsys):
    assert command("resume", "--help") == command("resume", whole, "--help") == 0
    told = capsys.readouterr().out
    assert told == 2 * told[: len(told) // 2]


def test_a_run_is_made_longer_to_the_bytes_of_one_that_was_asked_for_at_once(folder, tmp_path):
    assert command("resume", "--epochs", 4, folder) == 0
    assert command("--data", "here", "--epochs", 4, "--out", tmp_path / "long") == 0
    for name in ("digest.txt", "steps.csv", "config.json"):
        assert (folder / name).read_bytes() == (tmp_path / "long" / name).read_bytes()


def test_a_path_may_be_another_one_and_stays_recorded_as_it_was(folder, capsys):
    recorded = (folder / "config.json").read_text()
    (folder / "digest.txt").unlink()  # as if killed before its last file
    assert command("resume", folder, "--data", "there") == 0
    assert MADE[-1].data == Path("there")
    assert (folder / "config.json").read_text() == recorded
    assert command("reproduce", folder, "--data", "elsewhere") == 0
    assert MADE[-1].data == Path("elsewhere")
    assert "identical, bit for bit: 8 steps, 2 epochs, and the params" in capsys.readouterr().out


def test_a_schedule_that_depends_on_epochs_is_not_made_longer(tmp_path, capsys):
    assert command("--falls", "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert command("resume", tmp_path / "run", "--epochs", 3) == 1
    assert "step.optimizer: sgd(cosine(0.1, 8)) -> sgd(cosine(0.1, 12))" in refusal(capsys)


def test_functions_of_one_s_own_do_not_depend_on_epochs(tmp_path):
    def of(config):
        """Its loss has no spec: each time it is made its addresses are others."""
        loss = fn.Loss(lambda *args: SQUARED.forward(*args), lambda residuals: SQUARED.vjp(residuals))
        return attrs.evolve(made := experiment(config), step=attrs.evolve(made.step, loss=loss))

    assert command("--out", tmp_path / "run", of=of) == 0
    assert command("resume", tmp_path / "run", "--epochs", 3, of=of) == 0


def raising(error):
    """An experiment whose third step raises."""

    def metrics(state):
        if state.count == 2:
            raise error
        return {"loss": 1.0}

    return lambda config: by_hand(metrics)


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path, capsys):
    assert command("--out", tmp_path / "run", of=raising(KeyboardInterrupt())) == 130
    error = capsys.readouterr().err
    assert error == f"interrupted: what was learned is saved; resume {tmp_path}/run goes on\n"


def test_ctrl_c_before_a_run_begins_ends_with_130_too(capsys):
    def interrupted(config):
        raise KeyboardInterrupt

    assert command(of=interrupted) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_a_step_raises_is_one_line_with_its_place(tmp_path, capsys):
    assert command("--out", tmp_path / "run", of=raising(ValueError("shapes differ:\n\n  (2,) and (3,)"))) == 1
    assert f"step 3 raises ValueError: shapes differ: (2,) and (3,) ({__file__}, line " in refusal(capsys)


def test_whoever_reads_what_is_printed_may_go(tmp_path):
    with begun(written(tmp_path), "--epochs", 500, **PIPES) as process:
        assert process.stdout.readline().startswith("layer ")
        process.stdout.close()  # as `head -1` does
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 141)


def a_class(**fields):
    """A config whose fields have a type and maybe a default."""
    return attrs.make_class("Config", {name: attrs.field(type=kind, **how) for name, (kind, how) in fields.items()})


RATE = a_class(rate=(float, {"default": 0.1}))
NESTED = a_class(optimizer=(RATE, {"factory": RATE}))
TOLD = a_class(width=(int, {}), seed=(int, {"default": 0}))


@pytest.mark.parametrize(
    ("of", "config", "message"),
    [
        *((quick, bad, "a config that is an attrs class, got ") for bad in (dict, Config(), None, type("C", (), {}))),
        *((of, Config, "an experiment that is a function of a config, got ") for of in (by_hand(), None, "experiment")),
    ],
)
def test_a_command_is_made_of_a_function_and_a_class(of, config, message):
    with pytest.raises(InputError, match=f"^main: expected {message}"):
        main(of, config, arguments=[])


OPTIONS = "out engine threads checkpoint_every devices coordinator process processes vary seeds workers scheduler"


@pytest.mark.parametrize("name", [*OPTIONS.split(), "printer", "run"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_field_is_named_otherwise_than_the_options_of_a_run(name, nested):
    config = a_class(width=(int, {"default": 1}), **{name: (int, {"default": 1})})
    config = a_class(inner=(config, {"factory": config})) if nested else config
    with pytest.raises(InputError, match=f"main Config: expected fields named otherwise than .* options, got {name}$"):
        main(quick, config, arguments=[])


@pytest.mark.parametrize(
    ("config", "words", "recorded"),
    [
        (a_class(), (), {}),
        (NESTED, ("--rate", 0.5), {"optimizer": {"rate": 0.5}}),
        (TOLD, ("--width", 3), {"width": 3, "seed": 0}),
    ],
    ids=["no field", "a record", "no default"],
)
def test_a_config_of_any_fields_is_recorded_resumed_and_reproduced(tmp_path, config, words, recorded):
    how = {"of": quick, "config": config, "name": "mine", "version": 3}
    assert command(*words, "--out", tmp_path / "run", **how) == 0
    plan = read_run(tmp_path / "run").plan
    assert (plan.experiment, plan.version, plan.config) == ("mine", 3, recorded)
    assert command("resume", tmp_path / "run", **how) == command("reproduce", tmp_path / "run", **how) == 0


def test_a_field_may_be_positional(tmp_path):
    config = a_class(width=(tyro.conf.Positional[int], {"default": 1}), seed=(int, {"default": 0}))
    assert command(3, "--out", tmp_path / "run", of=quick, config=config) == 0
    assert read_run(tmp_path / "run").config == {"width": 3, "seed": 0}


def test_a_field_without_a_default_must_be_told(capsys):
    assert command(config=TOLD) == 2
    assert "--width INT" in capsys.readouterr().err


@pytest.mark.parametrize("made", [None, regression, (1, 2)])
def test_what_is_no_experiment_is_told(tmp_path, capsys, made):
    assert command("--out", tmp_path / "run", of=lambda config: made) == 1
    expected = "error: test_command: expected a function from a config to an Experiment, got one that gives "
    assert refusal(capsys).startswith(expected)
    assert not (tmp_path / "run").exists()


class Made:
    """An experiment as an object that is called."""

    def __call__(self, config):
        return quick(config)


@pytest.mark.parametrize("of", [partial(quick), partial(Made()), Made(), Made().__call__, lambda it: by_hand()])
def test_an_experiment_is_anything_that_is_called(tmp_path, of):
    assert command("--out", tmp_path / "run", of=of) == 0
    assert read_run(tmp_path / "run").plan.experiment == "test_command"


def test_a_printer_shows_an_epoch_of_a_run_and_of_one_that_is_resumed(tmp_path, capsys):
    printers = {"brief": lambda progress, first: f"{first} {progress.history[-1]['train/loss']:.2f}"}
    words, how = ["--printer", "brief"], {"of": quick, "printers": printers}
    assert command(*words, "--out", tmp_path / "run", **how) == 0
    assert capsys.readouterr().out.startswith("True 0.52\nFalse 0.16\n\nepoch 2: train/loss 0.1586\n")
    assert command("resume", tmp_path / "run", "--epochs", 3, *words, **how) == 0
    assert capsys.readouterr().out.startswith("True 0.10\n")
    assert command("--out", tmp_path / "table", **how) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["epoch", "loss", "seconds"]
    assert command("--printer", "pretty", **how) == 2
    assert "invalid choice 'pretty' for argument '--printer'" in capsys.readouterr().err


TWICE = (
    WAVE.partition("if __name__")[0]
    + """
try:
    main(experiment, Config, arguments=["--help"])
except SystemExit:
    main(experiment, Config, arguments=["--epochs", "1"])
"""
)


@pytest.mark.parametrize(
    ("command", "name", "usage"),
    [
        (["waves/wave.py"], "wave", "python wave.py"),
        (["-m", "waves.wave"], "wave", "python -m waves.wave"),
        (["-c", TWICE], "experiment", "python -m experiment"),
    ],
    ids=["file", "module", "text"],
)
def test_an_experiment_has_the_name_of_its_module(tmp_path, command, name, usage):
    written(tmp_path / "waves", TWICE)
    end = ran(*command, cwd=tmp_path, check=True)
    assert end.stdout.startswith(f"usage: {usage} [-h]")
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


def test_annotations_may_be_strings(tmp_path, monkeypatch):
    written(tmp_path, ANNOTATED, "annotated.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "annotated", raising=False)
    module = importlib.import_module("annotated")
    how = {"of": module.experiment, "config": module.Config}
    assert command("--width", 3, "--out", tmp_path / "run", **how) == 0
    assert command("resume", tmp_path / "run", "--data", "there", **how) == 0
    assert command("reproduce", tmp_path / "run", **how) == 0
    assert read_run(tmp_path / "run").config == {"data": "here", "width": 3, "seed": 0}


def test_a_model_that_is_not_there_is_not_exported(whole, tmp_path, capsys):
    assert command("export", whole / "model.safetensors", tmp_path / "a.onnx") == 0
    assert command("export", tmp_path / "no run", tmp_path / "b.onnx") == 1
    assert "no run: expected a saved model, got no such file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
