"""The perceptron on digits: its files, its figures, and what it refuses."""

import os
import re
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pytest

import funcnn as fn
from experiments.book import nnfs
from experiments.mnist import Config, experiment
from funcnn.data.sources import DATA_DIR_VARIABLE
from funcnn.runs import main, read_run
from tests.scripts import python

QUICK = ["--hidden", "4", "--epochs", "2", "--batch-size", "1000"]


def mnist(*arguments):
    """``python -m experiments.mnist`` with these arguments."""
    return main(experiment, Config, printers={"nnfs": nnfs}, arguments=[*map(str, arguments)])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def accuracy_of(folder, name="model.safetensors"):
    saved = fn.load(folder / name)
    test, loss = fn.load_dataset("mnist_5k", scaling=saved.scaling).test, fn.softmax_cross_entropy()
    return fn.evaluate(saved.model, loss, saved.params, test, metrics={"accuracy": fn.accuracy})["accuracy"]


def test_the_default_run_reaches_93_percent_and_leaves_all_files(out, capsys):
    assert mnist("--out", out) == 0
    files = ["best.safetensors", "checkpoint.safetensors", "config.json", "digest.txt", "environment.json"]
    files += ["history.csv", "history.png", "model.safetensors", "report.html", "steps.csv"]
    assert sorted(path.name for path in out.iterdir()) == [".lock", *files]
    accuracy, printed, run = accuracy_of(out), capsys.readouterr().out, read_run(out)
    assert run.history["test/accuracy"][-1] == accuracy >= 0.93
    assert re.search(rf"^epoch 20: test/loss \d\.\d+, test/accuracy {accuracy:.2%}$", printed, re.MULTILINE)
    assert "4 dense(10)" in printed
    assert "\r" not in printed
    assert (run.plan.experiment, run.config.keys()) == ("mnist", attrs.fields_dict(Config).keys())
    assert run.history["epoch"] == [*range(1, 21)]
    assert min(run.history["gradient_norm"]) > 0
    page = (out / "report.html").read_text()
    for text in ("Confusion matrix", "Most confident mistakes", "First-layer weights", f"{accuracy:.2%}"):
        assert text in page


def test_the_saved_model_says_what_it_takes_and_means(out, without_pictures):
    assert mnist("--hidden", "--scaling", "symmetric", "--epochs", "1", "--out", out) == 0
    saved = fn.load(out / "model.safetensors")
    assert (repr(saved.model), saved.in_shape, saved.scaling) == ("serial(dense(10))", (784,), "symmetric")
    assert saved.class_names == fn.load_dataset("mnist_5k").class_names


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        (["--decay", "0.5"], [0.1 / (1 + 0.5 * step) for step in (3, 7)]),
        (["--schedule", "cosine"], [0.1 * (1 + np.cos(np.pi * step / 8)) / 2 for step in (3, 7)]),
    ],
    ids=["inverse time", "cosine"],
)
def test_the_learning_rate_falls_and_epochs_are_printed_as_in_the_book(out, capsys, words, rates):
    rule = ["--optimizer", "sgd", "--learning-rate", "0.1", "--printer", "nnfs"]
    assert mnist(*QUICK, *rule, *words, "--out", out) == 0
    assert read_run(out).history["learning_rate"] == pytest.approx(rates)
    numbers = r"acc: \d\.\d{3}, loss: \d\.\d{3}"
    step = rf"{numbers}, lr: 0\.\d+(e-\d+)?"
    shown = rf"^epoch: 2\nstep: 0, {step}\nstep: 3, {step}\ntraining, {step}\nvalidation, {numbers}$"
    assert re.search(shown, capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--hidden 8 -3", "--hidden: expected positive whole numbers, got [8, -3]"),
        ("--batch-size 0", "--batch-size: expected a positive whole number, got 0"),
        ("--epochs 0", "--epochs: expected a positive whole number, got 0"),
        ("--learning-rate nan", "--learning-rate: expected a number of at least 0, got nan"),
        ("--decay -1", "--decay: expected a number of at least 0, got -1.0"),
        ("--l2 -1", "--l2: expected a number of at least 0"),
        ("--tolerance -1", "--tolerance: expected a number of at least 0"),
        ("--seed -1", "--seed: expected a whole number in [0, 2**64), got -1"),
        ("--dropout 1", "--dropout: expected a number in [0, 1), got 1.0"),
        ("--input-dropout 1", "--input-dropout: expected a number in [0, 1)"),
        ("--validation -0.1", "--validation: expected a number in [0, 1), got -0.1"),
        ("--patience 0", "--patience: expected a positive whole number, got 0"),
        ("--max-norm 0", "--max-norm: expected a number above 0, got 0.0"),
        ("--momentum 1 --optimizer sgd", "--momentum: expected a number in [0, 1)"),
        ("--momentum 0.9", "--momentum: expected 0 for adam, which has its own, got 0.9"),
        ("--decay 1 --schedule cosine", "--decay: expected 0 for cosine, which ends at 0 by itself, got 1.0"),
        ("--dataset folder", "--dataset folder: expected a folder in --data-dir, got none"),
    ],
)
def test_bad_arguments_end_with_2(out, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        mnist(*words.split(), "--out", out)
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset mnist --data-dir /nowhere", "expected a folder in data_dir, got /nowhere"),
        ("--data-dir /nowhere", "expected no data_dir"),
        ("--validation 0.9999", "--validation: expected a share that leaves"),
        ("--hidden 99999999999", "Unable to allocate"),
        ("--hidden 99999999999999999", "--hidden: expected layers of fewer than 2**60 weights"),
    ],
)
def test_what_cannot_be_ends_with_1_and_one_message(out, capsys, words, message):
    assert mnist(*words.split(), "--out", out) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(("size", "place"), [("4000", "epoch 1"), ("2000", "step 2")])
def test_a_run_that_diverges_keeps_the_last_good_model(out, capsys, size, place):
    words = ["--optimizer", "sgd", "--learning-rate", "1e38", "--batch-size", size, "--epochs", "1"]
    assert mnist(*words, "--out", out) == 1
    assert f"at {place}; the last good model is saved" in capsys.readouterr().err
    saved = fn.load(out / "model.safetensors")
    assert fn.tree.equal(saved.params, saved.model.init(fn.Key(0).at("init"), (784,))[0])


def test_a_regularized_run_learns_and_ends_by_itself(out, capsys):
    regularized = ["--hidden", "64", "--dropout", "0.2", "--input-dropout", "0.1", "--max-norm", "3", "--l2", "1e-5"]
    rule = ["--optimizer", "rmsprop", "--momentum", "0.5", "--learning-rate", "2e-3", "--activation", "tanh"]
    assert mnist(*regularized, *rule, "--validation", "0.2", "--patience", "2", "--epochs", "60", "--out", out) == 0
    history = read_run(out).history
    losses = history["validation/loss"]
    assert 3 <= len(losses) < 60
    assert min(losses) < min(losses[-2:])
    assert f"best by validation/loss, epoch {1 + losses.index(min(losses))}: " in capsys.readouterr().out
    assert history["test/accuracy"][-1] > 0.85
    assert accuracy_of(out, "best.safetensors") == history["test/accuracy"][losses.index(min(losses))]
    weights = fn.load(out / "model.safetensors").params[1].weights
    assert np.linalg.norm(weights, axis=0).max() <= 3.0001


@pytest.mark.skipif(os.name != "posix", reason="a terminal is opened by pty")
def test_a_terminal_shows_a_bar(out):
    from tests.terminal import on_a_terminal  # which only POSIX has

    shown, status = on_a_terminal(partial(python, "-m", "experiments.mnist", *QUICK, "--out", out))
    assert status == 0
    assert b"epoch 1/2:" in shown
    assert b"batch/s" in shown


@pytest.mark.skipif(DATA_DIR_VARIABLE not in os.environ, reason="full MNIST is where FUNCNN_DATA_DIR says")
def test_full_mnist_is_learned(out):
    assert mnist("--dataset", "mnist", "--epochs", "1", "--out", out) == 0
    assert read_run(out).history["test/accuracy"][-1] > 0.94


def test_a_data_dir_means_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config(data_dir=Path("images")).data_dir == tmp_path / "images"
