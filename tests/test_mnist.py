"""The main job: its files, its figures, and how it ends when something is wrong."""

import csv
import errno
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
from experiments.config import Config
from experiments.folder import create as create_folder
from experiments.mnist import main
from funcnn.data.sources import DATA_DIR_VARIABLE

FILES = [
    ".lock",
    *("best.safetensors", "checkpoint.safetensors", "config.json", "digest.txt", "environment.json", "history.csv"),
    *("history.png", "model.safetensors", "report.html", "steps.csv"),
]
QUICK = ["--hidden", "16", "--epochs", "2"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def accuracy_of(folder):
    saved = fn.load(folder / "model.safetensors")
    data = fn.load_dataset("mnist_5k", scaling=saved.scaling)
    return fn.evaluate(saved.model, fn.softmax_cross_entropy(), saved.params, data.test)["accuracy"]


def rows(folder):
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


def test_the_default_run_reaches_93_percent(out, capsys):
    assert main(["--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    printed = capsys.readouterr().out
    assert accuracy_of(out) >= 0.93
    assert f"test accuracy {accuracy_of(out):.2%}; saved and loaded again {accuracy_of(out):.2%}" in printed
    assert "[4] dense(10)" in printed
    assert "\r" not in printed


def test_the_folder_holds_what_happened(out):
    assert main([*QUICK, "--out", str(out), "--optimizer", "sgd", "--learning-rate", "0.2", "--decay", "0.1"]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config.keys() == attrs.fields_dict(Config).keys()
    assert [config[name] for name in ("dataset", "hidden", "decay", "seed")] == ["mnist_5k", [16], 0.1, 0]
    history = rows(out)
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert float(history[1]["training_loss"]) < float(history[0]["training_loss"])
    assert float(history[1]["test_accuracy"]) == accuracy_of(out)
    assert float(history[1]["gradient_norm"]) > 0
    assert float(history[1]["learning_rate"]) == pytest.approx(0.2 / (1 + 0.1 * 63))
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_one_result(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main([*QUICK, "--seed", seed, "--out", str(tmp_path / name)]) == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_symmetric_scaling_and_no_hidden_layer(out):
    assert main(["--hidden", "--scaling", "symmetric", "--epochs", "1", "--out", str(out)]) == 0
    saved = fn.load(out / "model.safetensors")
    assert (repr(saved.model), saved.scaling) == ("serial(dense(10))", "symmetric")


@pytest.mark.usefixtures("unchecked_annotations")
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
        (["--resume", "runs/mine"], "--resume: expected no other options than --printer"),
        (["--dataset", "cifar"], "cifar"),
        (["--dataset", "folder"], "--dataset folder: expected a folder in --data-dir, got none"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_bad_arguments_end_with_2(out, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", str(out)])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not out.exists()


def test_failed_runs_end_with_1_and_one_message(out, capsys, monkeypatch):
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for arguments, message in (
        (["--dataset", "mnist", "--data-dir", "/nowhere"], "expected a folder in data_dir, got /nowhere"),
        (["--data-dir", "/nowhere"], "expected no data_dir"),
        ([], "--out: expected a folder that is new or empty"),
    ):
        assert main([*QUICK, *arguments, "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert len(error.splitlines()) == 1
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


def test_a_run_that_could_not_begin_can_begin_again(out, capsys, monkeypatch):
    def full(folder, config):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("experiments.mnist.begin", full)
        assert main([*QUICK, "--out", str(out)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [".lock"]
    assert main([*QUICK, "--out", str(out)]) == 0


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert main([*QUICK, "--out", str(out)]) == 1
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
    assert main(["--hidden", hidden, "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not out.exists()


def test_default_folders_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [create_folder(None, "mnist_5k") for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("arguments", [["--learning-rate", "1e30"], ["--optimizer", "sgd", "--learning-rate", "1e38"]])
def test_a_last_update_that_diverges_is_noticed(out, capsys, arguments):
    assert main([*arguments, "--batch-size", "4000", "--epochs", "1", "--out", str(out)]) == 1
    assert "after step 1; the last good model is saved" in capsys.readouterr().err
    saved = fn.load(out / "model.safetensors")
    assert fn.tree.equal(saved.params, saved.model.init(fn.Key(0).at("init"), (784,))[0])


def test_a_loss_that_is_not_finite_keeps_the_last_good_model(out, capsys):
    assert main([*QUICK, "--learning-rate", "1e25", "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "error: the loss is" in error
    assert "at step 2; the last good model is saved" in error
    assert {path.name for path in out.iterdir()} == {*FILES} - {"best.safetensors"}
    saved = fn.load(out / "model.safetensors")
    assert all(np.isfinite(leaf).all() for leaf in fn.tree.leaves(saved.params))
    initial, _ = saved.model.init(fn.Key(0).at("init"), (784,))
    assert fn.tree.equal(saved.params, initial)


def interrupted_run(out):
    """A long run in a process of its own, just after Ctrl-C, with at least one epoch done."""
    command = [sys.executable, "-m", "experiments.mnist", "--epochs", "100000", "--out", str(out)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the background jobs of a shell ignore it
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    while not (out / "history.csv").exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    return run


def told(run):
    """What a run printed until it ended; one that does not end is killed."""
    try:
        return run.communicate(timeout=60)
    finally:
        run.kill()  # nothing, if it has ended


def test_ctrl_c_saves_what_was_learned(out):
    run = interrupted_run(out)
    printed, error = told(run)
    assert run.returncode == 130
    assert error.strip() == "interrupted: what was learned is saved; --resume goes on"
    assert "saved and loaded again" in printed
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert accuracy_of(out) > 0.5
    assert rows(out)


def test_a_second_ctrl_c_loses_nothing(out):
    run = interrupted_run(out)
    time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    told(run)
    assert run.returncode == 130
    assert sorted(path.name for path in out.iterdir()) == FILES


def test_an_interrupted_run_goes_on(out, capsys):
    run = interrupted_run(out)
    told(run)
    epochs = len(rows(out))
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "epochs": epochs + 2}))
    assert main(["--resume", str(out)]) == 0
    assert [row["epoch"] for row in rows(out)] == [str(epoch) for epoch in range(1, epochs + 3)]
    capsys.readouterr()
    assert main(["--resume", str(out)]) == 0
    assert capsys.readouterr().out.startswith("nothing to do: the run in ")


def test_what_is_no_run_cannot_be_gone_on_with(out, capsys):
    assert main(["--resume", str(out)]) == 1
    assert "expected the folder of a run, got no config.json in it" in capsys.readouterr().err
    assert not out.exists()


def test_a_regularized_run_learns_and_ends_by_itself(out, capsys):
    regularized = ["--hidden", "64", "--dropout", "0.2", "--input-dropout", "0.1", "--max-norm", "3", "--l2", "1e-5"]
    rule = ["--optimizer", "rmsprop", "--momentum", "0.5", "--learning-rate", "2e-3", "--activation", "tanh"]
    assert (
        main([*regularized, *rule, "--validation", "0.2", "--patience", "2", "--epochs", "60", "--out", str(out)]) == 0
    )
    history = rows(out)
    losses = [float(row["validation_loss"]) for row in history]
    assert 3 <= len(losses) < 60
    assert min(losses) < min(losses[-2:])
    assert f"the best epoch by its loss, {1 + losses.index(min(losses))}, has" in capsys.readouterr().out
    assert float(history[-1]["test_accuracy"]) > 0.85
    weights = fn.load(out / "model.safetensors").params[1].weights
    assert np.linalg.norm(weights, axis=0).max() <= 3.0001


def test_the_book_s_way_of_printing(out, capsys):
    assert main([*QUICK, "--printer", "nnfs", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^epoch: 2\nstep: 0, acc: \d\.\d{3}, loss: \d\.\d{3}, lr: 0\.001$", printed, re.MULTILINE)
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
    assert main([*chosen, "--out", str(out)]) == 0
    assert float(rows(out)[-1]["test_accuracy"]) > (0.94 if full else 0.92)


def test_a_data_dir_means_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config(data_dir=Path("images")).data_dir == tmp_path / "images"


def test_the_config_is_frozen():
    with pytest.raises(AttributeError):
        Config().epochs = 3
