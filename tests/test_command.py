"""The command of an experiment, as a user types it: its verbs, its options, and how it ends."""

import subprocess
from pathlib import Path

import attrs
import pytest

import funcnn as fn
from funcnn.runs import main, read_run, supervised
from tests.scripts import begun, written
from tests.small_experiments import KEY, SQUARED, by_hand, drawn


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


def command(*words, of=experiment, config=Config, **how):
    """The exit status of ``python -m tests.test_command`` with these words."""
    try:
        return main(of, config, arguments=[*map(str, words)], **how)
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that has ended."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert command("--data", "here", "--out", folder) == 0
    return folder


@pytest.fixture
def a_run(finished, tmp_path):
    """A copy of it, to be changed."""
    (tmp_path / "run").mkdir()
    for path in finished.iterdir():
        (tmp_path / "run" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "run"


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


def test_train_may_be_left_out(finished, tmp_path):
    assert command("train", "--data", "here", "--out", tmp_path / "run") == 0
    assert read_run(tmp_path / "run").digest == read_run(finished).digest


def test_options_and_verbs_are_told(capsys):
    assert command("--help") == 0
    told = plain(capsys.readouterr().out)
    assert told.startswith("usage: python -m tests.test_command [-h] [OPTIONS] A sine, learned by a few units. Other")
    for verb in ("resume", "reproduce", "sweep", "compare"):
        assert f" {verb} " in told
    assert "--rate FLOAT The learning rate. (default: 0.1)" in told


@pytest.mark.parametrize(
    ("verb", "option"),
    [("resume", "--epochs"), ("reproduce", "--tolerance"), ("sweep", "--vary"), ("compare", "RUN...")],
)
def test_every_verb_has_help(capsys, verb, option):
    assert command(verb, "--help") == 0
    told = plain(capsys.readouterr().out)
    assert told.startswith(f"usage: python -m tests.test_command {verb} [-h]")
    assert option in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "Unrecognized options: trian"),
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
def test_bad_arguments_end_with_2_and_name_the_option(finished, capsys, words, message):
    assert command(*words.replace("RUN", str(finished)).split()) == 2
    assert message in plain(capsys.readouterr().err)


@pytest.mark.parametrize("words", ["resume nowhere", "resume --epochs 5 nowhere", "reproduce nowhere"])
def test_what_is_no_run_is_refused(capsys, words):
    assert command(*words.split()) == 1
    assert "nowhere: expected the folder of a run, got no config.json in it" in refusal(capsys)


def test_a_folder_that_holds_something_is_refused_before_anything_is_loaded(finished, capsys):
    MADE.clear()
    assert command("--out", finished) == 1
    assert f"--out: expected a folder that is new or empty, got {finished}; name another one" in refusal(capsys)
    assert MADE == []


@pytest.mark.parametrize("verb", ["resume", "reproduce"])
@pytest.mark.parametrize(
    ("changed", "mine"), [({"name": "mine"}, "mine version 0"), ({"version": 3}, "test_command version 3")]
)
def test_a_run_of_another_experiment_is_refused_with_both_names(finished, capsys, verb, changed, mine):
    assert command(verb, finished, **changed) == 1
    message = f"{finished}: expected a run of {mine}, got one of test_command version 0; use the command of that"
    assert message in refusal(capsys)


def test_a_finished_run_has_nothing_left_to_do(finished, capsys):
    assert command("resume", finished) == 0
    assert capsys.readouterr().out == f"nothing to do: the run in {finished} is finished\n"


@pytest.mark.parametrize("words", [["resume", "RUN", "--epochs", 4], ["resume", "--epochs", 4, "RUN"]])
def test_a_run_is_made_longer_to_the_bytes_of_one_that_was_asked_for_at_once(a_run, tmp_path, words):
    assert command(*(a_run if word == "RUN" else word for word in words)) == 0
    assert command("--data", "here", "--epochs", 4, "--out", tmp_path / "long") == 0
    for name in ("digest.txt", "steps.csv", "config.json"):
        assert (a_run / name).read_bytes() == (tmp_path / "long" / name).read_bytes()


def test_a_run_is_not_made_shorter_than_it_is(a_run, capsys):
    assert command("resume", a_run, "--epochs", 1) == 1
    assert f"{a_run}: expected at least the 2 epochs it has, got 1" in refusal(capsys)


def test_a_path_may_be_another_one_and_stays_recorded_as_it_was(a_run):
    recorded = (a_run / "config.json").read_text()
    (a_run / "digest.txt").unlink()  # as if killed before its last file
    MADE.clear()
    assert command("resume", a_run, "--data", "there") == 0
    assert MADE[-1].data == Path("there")
    assert (a_run / "config.json").read_text() == recorded


def test_a_path_may_be_another_one_to_reproduce(finished, capsys):
    MADE.clear()
    assert command("reproduce", finished, "--data", "there") == 0
    assert MADE[-1].data == Path("there")
    assert "identical, bit for bit: 8 steps, 2 epochs, and the params" in capsys.readouterr().out


def test_an_option_that_would_change_the_experiment_is_refused_by_its_name(finished, capsys):
    assert command("resume", finished, "--rate", 0.2) == 1
    assert refusal(capsys) == "error: --rate: expected 0.1, as the run has it, got 0.2; only --epochs can become more\n"


def test_a_schedule_that_depends_on_epochs_is_not_made_longer(tmp_path, capsys):
    assert command("--falls", "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert command("resume", tmp_path / "run", "--epochs", 3) == 1
    error = refusal(capsys)
    assert "step.optimizer: sgd(cosine(0.1, 8)) -> sgd(cosine(0.1, 12))" in error


def of_functions(config):
    """An experiment whose parts have no spec: each time it is made their addresses are others."""
    square = fn.Loss(lambda *args: SQUARED.forward(*args), lambda residuals: SQUARED.vjp(residuals))
    x = drawn("x", 20)
    train = fn.Batch(x, x[:, :1])
    return supervised(fn.dense(1), square, fn.sgd(0.1), train, key=KEY, batch_size=5, epochs=config.epochs)


def test_functions_of_one_s_own_do_not_depend_on_epochs(tmp_path):
    assert command("--out", tmp_path / "run", of=of_functions) == 0
    assert command("resume", tmp_path / "run", "--epochs", 3, of=of_functions) == 0


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
    error = refusal(capsys)
    assert f"step 3 raises ValueError: shapes differ: (2,) and (3,) ({__file__}, line " in error


def test_whoever_reads_what_is_printed_may_go(tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with begun(written(tmp_path), "--epochs", 500, **pipes) as process:
        assert process.stdout.readline().startswith("layer ")
        process.stdout.close()  # as `head -1` does
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 141)
