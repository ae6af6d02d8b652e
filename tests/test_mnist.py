"""The perceptron on digits: its files, its figures, and how a run ends when something is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pytest

import funcnn as fn
from experiments.mnist import Config, experiment
from experiments.printers import nnfs
from funcnn.data.sources import DATA_DIR_VARIABLE
from funcnn.runs import main, read_run
from funcnn.testing import check_experiment

FILES = [
    ".lock",
    *("best.safetensors", "checkpoint.safetensors", "config.json", "digest.txt", "environment.json", "history.csv"),
    *("history.png", "model.safetensors", "report.html", "steps.csv"),
]
QUICK = ["--hidden", "16", "--epochs", "2"]


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


def test_the_default_run_reaches_93_percent(out, capsys):
    assert mnist("--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    printed = capsys.readouterr().out
    assert accuracy_of(out) >= 0.93
    assert re.search(rf"^epoch 20: test/loss \d\.\d+, test/accuracy {accuracy_of(out):.2%}$", printed, re.MULTILINE)
    assert "4 dense(10)" in printed
    assert "\r" not in printed


def test_the_folder_holds_what_happened(out):
    assert mnist(*QUICK, "--out", out, "--optimizer", "sgd", "--learning-rate", "0.2", "--decay", "0.1") == 0
    run = read_run(out)
    assert run.plan.experiment == "mnist"
    assert run.config.keys() == attrs.fields_dict(Config).keys()
    assert [run.config[name] for name in ("dataset", "hidden", "decay", "seed")] == ["mnist_5k", [16], 0.1, 0]
    assert run.history["epoch"] == [1, 2]
    assert run.history["train/loss"][1] < run.history["train/loss"][0]
    assert run.history["test/accuracy"][1] == accuracy_of(out)
    assert run.history["gradient_norm"][1] > 0
    assert run.history["learning_rate"][1] == pytest.approx(0.2 / (1 + 0.1 * 63))
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")


def test_the_saved_model_says_what_it_takes_and_means(out):
    assert mnist("--hidden", "--scaling", "symmetric", "--epochs", "1", "--out", out) == 0
    saved = fn.load(out / "model.safetensors")
    assert (repr(saved.model), saved.in_shape, saved.scaling) == ("serial(dense(10))", (784,), "symmetric")
    assert saved.class_names == fn.load_dataset("mnist_5k").class_names


def test_the_report_judges_the_classifier(out):
    assert mnist(*QUICK, "--out", out) == 0
    page = (out / "report.html").read_text()
    for text in ("Confusion matrix", "Most confident mistakes", "First-layer weights", f"{accuracy_of(out):.2%}"):
        assert text in page


def test_one_seed_one_result(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert mnist(*QUICK, "--seed", seed, "--out", tmp_path / name) == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    "config",
    [
        Config(hidden=(8,), batch_size=500, epochs=3, validation=0.2, scaling="standard", dropout=0.2),
        Config(hidden=(), batch_size=700, epochs=3, optimizer="sgd", momentum=0.9, l2=1e-4, max_norm=1.0),
    ],
    ids=["validated", "linear"],
)
def test_it_is_an_experiment(config):
    check_experiment(experiment(config))


def test_a_run_can_be_resumed_reproduced_swept_and_compared(tmp_path, capsys):
    longer, whole, sweep = tmp_path / "longer", tmp_path / "whole", tmp_path / "sweep"
    assert mnist("train", "--hidden", "8", "--epochs", "1", "--out", longer) == 0
    assert mnist("resume", longer, "--epochs", "2") == 0
    assert mnist("--hidden", "8", "--epochs", "2", "--out", whole) == 0
    assert read_run(longer).digest == read_run(whole).digest
    assert mnist("reproduce", longer) == 0
    assert "identical, bit for bit: 64 steps, 2 epochs, and the params" in capsys.readouterr().out
    varied = ["--vary", "hidden", "4", "4,3", "--seeds", "0", "--epochs", "1", "--workers", "1"]
    assert mnist("sweep", *varied, "--out", sweep) == 0
    assert mnist("compare", longer, sweep, "--out", tmp_path / "compare.png") == 0
    assert "4 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "0"], "--hidden: expected positive whole numbers, got [0]"),
        (["--hidden", "8", "-3"], "--hidden: expected positive whole numbers, got [8, -3]"),
        (["--batch-size", "0"], "--batch-size: expected a positive whole number, got 0"),
        (["--epochs", "0"], "--epochs: expected a positive whole number, got 0"),
        (["--learning-rate", "-0.1"], "--learning-rate: expected a number of at least 0, got -0.1"),
        (["--learning-rate", "nan"], "--learning-rate: expected a number of at least 0, got nan"),
        (["--decay", "inf"], "--decay: expected a number of at least 0, got inf"),
        (["--decay", "-1"], "--decay: expected a number of at least 0, got -1.0"),
        (["--seed", "-1"], "--seed: expected a whole number in [0, 2**64), got -1"),
        (["--dropout", "1"], "--dropout: expected a number in [0, 1), got 1.0"),
        (["--validation", "-0.1"], "--validation: expected a number in [0, 1), got -0.1"),
        (["--patience", "0"], "--patience: expected a positive whole number, got 0"),
        (["--threads", "0"], "--threads: expected a positive whole number, got 0"),
        (["--max-norm", "0"], "--max-norm: expected a number above 0, got 0.0"),
        (["--momentum", "0.9"], "--momentum: expected 0 for adam, which has its own, got 0.9"),
        (
            ["--decay", "1", "--schedule", "cosine"],
            "--decay: expected 0 for cosine, which ends at 0 by itself, got 1.0",
        ),
        (["--dataset", "cifar"], "cifar"),
        (["--dataset", "folder"], "--dataset folder: expected a folder in --data-dir, got none"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_bad_arguments_end_with_2(out, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        mnist(*arguments, "--out", out)
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not out.exists()


def test_failed_runs_end_with_1_and_one_message(out, capsys, monkeypatch):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    missing = ["--data-dir", "/nowhere", "--out", out.with_name("other")]
    for arguments, message in (
        (["--dataset", "mnist", *missing], "expected a folder in data_dir, got /nowhere"),
        (missing, "expected no data_dir"),
        (["--out", out], "--out: expected a folder that is new or empty"),
        (["--validation", "0.9999", "--out", out.with_name("other")], "--validation: expected a share that leaves"),
    ):
        assert mnist(*QUICK, *arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert len(error.splitlines()) == 1
    assert [path.name for path in out.parent.rglob("*")] == ["run", "precious.txt"]


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert mnist(*QUICK, "--out", out) == 1
        assert "error: --out: expected a folder that" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("99999999999", "Unable to allocate"),
        ("99999999999999999", "--hidden: expected layers of fewer than 2**60 weights"),
    ],
)
def test_too_large_a_model_leaves_no_folder(out, capsys, hidden, message):
    assert mnist("--hidden", hidden, "--out", out) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not out.exists()


@pytest.mark.parametrize("arguments", [["--learning-rate", "1e30"], ["--optimizer", "sgd", "--learning-rate", "1e38"]])
def test_a_last_update_that_diverges_is_noticed(out, capsys, arguments):
    assert mnist(*arguments, "--batch-size", "4000", "--epochs", "1", "--out", out) == 1
    assert "at epoch 1; the last good model is saved" in capsys.readouterr().err
    saved = fn.load(out / "model.safetensors")
    assert fn.tree.equal(saved.params, saved.model.init(fn.Key(0).at("init"), (784,))[0])


def test_a_loss_that_is_not_finite_keeps_the_last_good_model(out, capsys):
    assert mnist(*QUICK, "--learning-rate", "1e25", "--out", out) == 1
    error = capsys.readouterr().err
    assert "error: loss is" in error
    assert "at step 2; the last good model is saved" in error
    assert {path.name for path in out.iterdir()} == {*FILES} - {"best.safetensors"}
    saved = fn.load(out / "model.safetensors")
    assert all(np.isfinite(leaf).all() for leaf in fn.tree.leaves(saved.params))
    initial, _ = saved.model.init(fn.Key(0).at("init"), (784,))
    assert fn.tree.equal(saved.params, initial)


def test_an_interrupted_run_saves_what_was_learned_and_is_resumed(out, capsys):
    command = [sys.executable, "-m", "experiments.mnist", "--epochs", "100000", "--out", str(out)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the background jobs of a shell ignore it
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        while not (out / "history.csv").exists():
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        printed, error = run.communicate(timeout=60)
    finally:
        run.kill()  # nothing, if it has ended
    assert run.returncode == 130
    assert error.strip() == f"interrupted: what was learned is saved; resume {out} goes on"
    assert f"all files are in {out}" in printed
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert accuracy_of(out) > 0.5
    epochs = len(read_run(out).history["epoch"])
    assert mnist("resume", out, "--epochs", epochs + 2) == 0
    assert read_run(out).history["epoch"] == [*range(1, epochs + 3)]
    capsys.readouterr()
    assert mnist("resume", out) == 0
    assert capsys.readouterr().out == f"nothing to do: the run in {out} is finished\n"


def test_a_cosine_ends_at_0_with_the_last_epoch(out):
    quick = ["--hidden", "4", "--epochs", "2", "--batch-size", "1000"]
    assert mnist(*quick, "--schedule", "cosine", "--learning-rate", "0.1", "--out", out) == 0
    rates = [0.1 * (1 + np.cos(np.pi * step / 8)) / 2 for step in (3, 7)]
    assert read_run(out).history["learning_rate"] == pytest.approx(rates)


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


def test_the_book_s_way_of_printing(out, capsys):
    assert mnist(*QUICK, "--printer", "nnfs", "--out", out) == 0
    printed = capsys.readouterr().out
    step = r"acc: \d\.\d{3}, loss: \d\.\d{3}, lr: 0\.001"
    assert re.search(rf"^epoch: 2\nstep: 0, {step}\nstep: 31, {step}\ntraining, {step}$", printed, re.MULTILINE)
    assert re.search(r"^training, acc: .*\nvalidation, acc: \d\.\d{3}, loss: \d\.\d{3}$", printed, re.MULTILINE)


@pytest.mark.skipif(os.name != "posix", reason="a terminal is opened by pty")
def test_a_terminal_shows_a_bar(out):
    from tests.terminal import on_a_terminal  # which only POSIX has

    command = [sys.executable, "-m", "experiments.mnist", *QUICK, "--out", str(out)]
    shown, status = on_a_terminal(partial(subprocess.Popen, command))
    assert status == 0
    assert b"epoch 1/2:" in shown
    assert b"batch/s" in shown


def test_the_largest_set_at_hand_is_learned(out):
    """Full MNIST where ``FUNCNN_DATA_DIR`` names it, else the embedded set."""
    full = bool(os.environ.get(DATA_DIR_VARIABLE))
    chosen = ["--dataset", "mnist", "--epochs", "1"] if full else ["--epochs", "15"]
    assert mnist(*chosen, "--out", out) == 0
    assert read_run(out).history["test/accuracy"][-1] > (0.94 if full else 0.92)


def test_a_data_dir_means_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config(data_dir=Path("images")).data_dir == tmp_path / "images"


def test_the_config_is_frozen_and_plain_data(out):
    with pytest.raises(AttributeError):
        Config().epochs = 3
    assert mnist("--hidden", "--epochs", "1", "--out", out) == 0
    plan = json.loads((out / "config.json").read_text())
    assert plan["config"]["epochs"] == plan["epochs"] == 1
    assert plan["options"] == {"engine": "numpy", "threads": 1, "checkpoint_every": 1000}
