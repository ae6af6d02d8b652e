"""The benchmark: one small run of it, its arithmetic, and that a peer which does less does not pass for one."""

import importlib.util
import io
import json
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest

from experiments.benchmark import child, contest
from experiments.benchmark.__main__ import main
from experiments.benchmark.contest import Measurement
from experiments.benchmark.peers import PEERS, numpy_loop
from experiments.benchmark.tables import Results, disagreements, ratio, seconds, text
from experiments.benchmark.task import Task
from experiments.benchmark.workloads import Workload

AGREEING = ("funcnn", "funcnn-jax-epoch", "jax-optax-scan", "numpy-loop")
PEERS_OF_THE_RUN = (*AGREEING, "scikit-learn", "floor", "torch-fused")
TOOLS = {"funcnn", "jax", "keras", "optax", "sklearn", "torch"}


def measurements(peer, *rounds, loss=0.5, beginning=(), workload="small-128-adam"):
    return [Measurement(workload, peer, i, times, (loss,), beginning) for i, times in enumerate(rounds)]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The exit status, the folder and the text of a run where torch is not installed, wherever this runs."""
    out, hidden = (tmp_path_factory.mktemp(name) for name in ("out", "hidden"))
    (hidden / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    work = ("--workloads", "small-128-adam", "start-up", "installed-size", "--dataset", "mnist_5k")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(contest, "GROWING", ("funcnn", "floor"))
        patch.setenv("PYTHONPATH", str(hidden))
        status = main([*work, "--peers", *PEERS_OF_THE_RUN, "--repeats", "1", "--threads", "1", "--out", str(out)])
    return status, out, printed.getvalue()


def test_peers_that_do_the_same_agree(small_run):
    status, out, _ = small_run
    told = json.loads((out / "benchmark.json").read_text())["measurements"]
    losses = {m["peer"]: m["losses"][0] for m in told if m["workload"] == "small-128-adam" and m["losses"]}
    assert status == 0
    assert set(losses) == {*AGREEING, "scikit-learn"}
    assert [losses[peer] for peer in AGREEING] == pytest.approx([losses["funcnn"]] * len(AGREEING), abs=1e-3)


def test_what_was_measured_is_told(small_run):
    _, out, _ = small_run
    told = json.loads((out / "benchmark.json").read_text())
    made = {(m["workload"], m["peer"]): m for m in told["measurements"]}
    funcnn = made["small-128-adam", "funcnn"]
    assert len(funcnn["seconds"]) == contest.TIMED_EPOCHS
    assert funcnn["params"] == 4 * (784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10)
    assert made["small-128-adam", "funcnn-jax-epoch"]["program"] > 3 * funcnn["params"]  # with Adam's state
    assert funcnn["peak"] is None or funcnn["peak"] > funcnn["added"] > 0
    assert made["batch=8", "floor"]["seconds"]
    assert told["environment"]["threads"] == 1
    assert told["sizes"]["funcnn"] > 1e6


def test_a_peer_that_is_not_installed_is_reported(small_run):
    _, _, text = small_run
    assert "- small-128-adam, torch-fused: ModuleNotFoundError: No module named 'torch'" in text
    assert "| torch-fused      |  failed |" in text


def test_drawing_again_gives_the_same(small_run, capsys):
    _, out, text = small_run
    pictures = [out / "ratios.png", out / "growth.png"]
    for picture in pictures:
        picture.unlink()
    assert main(["--draw", str(out / "benchmark.json")]) == 0
    assert capsys.readouterr().out.strip() == text.strip()
    assert all(picture.stat().st_size > 10_000 for picture in pictures)


def test_in_short_the_fastest_of_a_peers_modes_counts():
    made = [*measurements("funcnn", (3.0,)), *measurements("torch-eager", (4.0,)), *measurements("torch-fused", (2.0,))]
    results = Results({"processor": "P", "threads": 2}, {}, tuple(made), {})
    assert "| small-128-adam | 1.50 [1.50, 1.50] | " in text(results)


def test_a_file_that_is_no_benchmark_is_refused(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{}")
    assert main(["--draw", str(tmp_path / "a.json")]) == 1
    assert "expected a benchmark.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "funcnn", "tensorboard"], "--peers: expected some of funcnn, funcnn-jax-step"),
        (["--workloads", "tiny"], "--workloads: expected some of small-32-sgd"),
        (["--repeats", "0"], "--repeats: expected a positive whole number, got 0"),
        (["--threads", "100000"], "--threads: expected a whole number from 1 to"),
    ],
)
def test_bad_arguments_end_with_2(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_peers_without_work_are_refused(tmp_path, capsys):
    command = ["--workloads", "lenet", "--peers", "floor", "--dataset", "mnist_5k", "--no-growth"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "expected some that take part" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_takes_too_long_is_reported_and_not_tried_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(contest, "TIME_LIMIT", 0.01)
    command = ["--workloads", "small-128-adam", "--peers", "floor", "--dataset", "mnist_5k", "--no-growth"]
    assert main([*command, "--repeats", "2", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("- small-128-adam, floor: not done after 0.01 seconds") == 1


@pytest.mark.parametrize("printed", ["", "1.0\nhelp is at hand\n"])
def test_a_process_that_tells_no_measurement_has_failed(monkeypatch, printed):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, printed, ""))
    made = contest._carry_out(contest.Entry("start-up", "floor", None), None, 1)
    assert made.failure == "its last line is no measurement"


def test_a_peer_with_batches_of_its_own_is_no_measure_for_others():
    loose, strict = measurements("scikit-learn", (1.0,), loss=0.52), measurements("numpy-loop", (1.0,))
    assert not disagreements([*loose, *strict])


def test_rounds_are_interleaved():
    rounds = contest.entries(("small-32-sgd", "wide"), ("funcnn", "floor"), 60_000)
    order = [(number, entry.name, entry.peer) for number, entry in contest.plan_of(rounds, 2, [])]
    once = [(name, peer) for name in ("small-32-sgd", "wide") for peer in ("funcnn", "floor")]
    assert order == [*((0, *pair) for pair in once), *((1, *pair) for pair in (*once[2:], *once[:2]))]


def test_a_ratio_is_that_of_medians_with_the_spread_of_rounds():
    ours = measurements("funcnn", (1.0, 2.0, 9.0), (4.0,), (6.0,))
    theirs = measurements("floor", (1.0,), (1.0,), (2.0,))
    assert seconds(ours) == 4.0
    found = ratio(ours, theirs)
    assert (found.value, found.low, found.high) == (4.0, 2.0, 4.0)
    assert str(ratio(theirs, ours)) == "0.25 [0.25, 0.50]"
    assert ratio(ours, []) is None


@pytest.mark.parametrize(
    ("peer", "loss", "fine"),
    [
        ("numpy-loop", 0.5009, True),
        ("numpy-loop", 0.5011, False),
        ("numpy-loop", float("nan"), False),
        ("scikit-learn", 0.6, True),
        ("scikit-learn", 0.7, False),
    ],
)
def test_losses_that_differ_are_told(peer, loss, fine):
    found = disagreements([*measurements("funcnn", (1.0,)), *measurements(peer, (1.0,), loss=loss)])
    assert (not found) == fine
    assert fine or found == [f"- small-128-adam, {peer}, epoch 1: {loss:.4f}, where funcnn has 0.5000"]


@pytest.mark.parametrize("workload", ["small-128-adam", "depth=8"])
def test_the_first_steps_are_compared_wherever_they_are_told(workload):
    def beginning(peer, *losses):
        return measurements(peer, (1.0,), beginning=losses, workload=workload)

    ours = beginning("funcnn", 2.3, 2.1, 2.0)
    assert not disagreements([*ours, *beginning("floor"), *beginning("torch-fused", 2.3, 2.1005, 2.0)])
    found = disagreements([*ours, *beginning("torch-fused", 2.3, 2.1011, float("nan"))])
    assert found == [
        f"- {workload}, torch-fused, step 2: 2.1011, where funcnn has 2.1000",
        f"- {workload}, torch-fused, step 3: nan, where funcnn has 2.0000",
    ]


def test_after_an_epoch_what_grows_may_differ_since_rounding_grows():
    ours = measurements("funcnn", (1.0,), loss=0.55, workload="depth=8")
    assert not disagreements([*ours, *measurements("torch-fused", (1.0,), loss=0.54, workload="depth=8")])


def test_a_peer_that_leaves_work_out_is_caught(tmp_path, monkeypatch):
    noise = np.random.default_rng(0)
    inputs, targets = noise.random((256, 20), np.float32), noise.integers(10, size=256)
    sizes = ((20, 16), (16,), (16, 10), (10,))
    np.savez(tmp_path / "params.npz", *(noise.standard_normal(size, np.float32) for size in sizes))
    task = Task(Workload(hidden=(16,), batch=16, samples=256), inputs, targets, tmp_path / "params.npz")
    adam = numpy_loop.adam

    def told(peer, optimizer):
        monkeypatch.setattr(numpy_loop, "adam", optimizer)
        losses = numpy_loop.training(task, "").run(np.arange(256))
        beginning = child._beginning(task, losses)
        assert len(beginning) == child.BEGINNING
        return measurements(peer, (1.0,), loss=task.mean(losses), beginning=beginning)

    def without_the_last_layer(params):
        update = adam(params[:-2])
        return lambda grads: update(grads[:-2])

    def with_half_the_rate(params):
        def update(grads):
            before = [parameter.copy() for parameter in params]
            whole(grads)
            for parameter, old in zip(params, before, strict=True):
                parameter[...] = (parameter + old) / 2

        whole = adam(params)
        return update

    ours = told("funcnn", adam)
    assert not disagreements([*ours, *told("numpy-loop", adam)])
    for faulty in (without_the_last_layer, with_half_the_rate):
        found = disagreements([*ours, *told("numpy-loop", faulty)])
        assert any("step" in line for line in found)
        assert any("epoch" in line for line in found)


def test_a_peer_that_leaves_batches_out_ends_with_an_error(tmp_path):
    task = Task(Workload(batch=16, samples=250), None, None, tmp_path)
    assert task.mean([0.0] * 15 + [1.0]) == 10 / 250
    with pytest.raises(ValueError, match="expected losses of 16 steps, got 15"):
        task.mean([0.5] * 15)


@pytest.mark.parametrize("module", sorted({peer.module for peer in PEERS.values()}))
def test_a_child_imports_its_own_tool_alone(module):
    own = {
        "funcnn_numpy": {"funcnn"},
        "funcnn_jax": {"funcnn", "jax"},
        "jax_optax": {"jax", "optax"},
        "keras_fit": {"keras", "jax", "matplotlib", "sklearn"},  # Keras imports the last two for itself
        "pytorch": {"torch"},
        "scikit_learn": {"sklearn"},
    }.get(module, set())
    missing = [tool for tool in own if importlib.util.find_spec(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    code = f"import experiments.benchmark.child, experiments.benchmark.peers.{module}, sys; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=contest.ROOT)
    assert {*told.stdout.split()} & {*TOOLS, "matplotlib", "tyro"} == own


def test_a_child_reads_the_first_rows_where_no_peer_need_copy_them(tmp_path):
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    np.save(tmp_path / "rows.npy", rows)
    found = child._rows(tmp_path / "rows.npy", 7)
    assert np.array_equal(found, rows[:7])
    assert found.ctypes.data % 64 == 0
    with pytest.raises(EOFError, match="fewer than 11 rows"):
        child._rows(tmp_path / "rows.npy", 11)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch not installed")
def test_torch_agrees(tmp_path):
    work = ("--workloads", "small-1024-sgd", "--dataset", "mnist_5k", "--repeats", "1", "--no-growth")
    assert main([*work, "--peers", "funcnn", "torch-fused", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "benchmark.json").read_text())["measurements"]
    assert [(m["peer"], m["failure"], len(m["losses"])) for m in told] == [("funcnn", "", 4), ("torch-fused", "", 4)]
