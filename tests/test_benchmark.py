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
from experiments.benchmark.first_steps import FIRST_STEPS
from experiments.benchmark.peers import PEERS, numpy_loop
from experiments.benchmark.tables import Results, disagreements, ratio, seconds, text
from experiments.benchmark.workloads import Task, Workload

AGREEING = ("funcnn", "funcnn-jax-epoch", "jax-optax-scan", "numpy-loop")
SMALL = ("--dataset", "mnist_5k", "--repeats", "1", "--threads", "1")
TOOLS = {"funcnn", "jax", "keras", "optax", "sklearn", "torch", "matplotlib", "tyro"}


def measurements(peer, *rounds, loss=0.5, beginning=(), workload="small-128-adam"):
    return [Measurement(workload, peer, i, times, (loss,), beginning) for i, times in enumerate(rounds)]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The exit status, the folder, what is in it and the text of a run where torch is not installed."""
    out, hidden = (tmp_path_factory.mktemp(name) for name in ("out", "hidden"))
    (hidden / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    peers = (*AGREEING, "scikit-learn", "floor", "torch-fused")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(contest, "GROWING", ("funcnn", "floor"))
        patch.setenv("PYTHONPATH", str(hidden))
        work = ("--workloads", "small-128-adam", "start-up", "installed-size", "--peers", *peers)
        status = main([*work, *SMALL, "--out", str(out)])
    return status, out, json.loads((out / "benchmark.json").read_text()), printed.getvalue()


def test_what_was_measured_is_told_and_agrees(small_run):
    status, _, told, text = small_run
    made = {(m["workload"], m["peer"]): m for m in told["measurements"]}
    losses = {peer: m["losses"][0] for (name, peer), m in made.items() if m["losses"] and "small" in name}
    assert (status, set(losses)) == (0, {*AGREEING, "scikit-learn"})
    assert [losses[peer] for peer in AGREEING] == pytest.approx([losses["funcnn"]] * len(AGREEING), abs=1e-3)
    funcnn = made["small-128-adam", "funcnn"]
    assert len(funcnn["seconds"]) == contest.TIMED_EPOCHS
    assert funcnn["params"] == 4 * (784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10)
    assert made["small-128-adam", "funcnn-jax-epoch"]["program"] > 3 * funcnn["params"]  # with Adam's state
    assert funcnn["peak"] is None or funcnn["peak"] > funcnn["added"] > 0
    assert made["batch=8", "floor"]["seconds"]
    assert 0.1 < made["start-up", "funcnn"]["seconds"][0] < 60
    assert (told["environment"]["threads"], told["sizes"]["funcnn"] > 1e6) == (1, True)
    assert "| torch-fused      | not installed |" in text
    assert "Not installed:\n\n- torch-fused: ModuleNotFoundError: No module named 'torch'\n" in text


def test_drawing_again_gives_the_same(small_run, capsys):
    _, out, _, text = small_run
    pictures = [out / "ratios.png", out / "growth.png"]
    for picture in pictures:
        picture.unlink()
    assert main(["--draw", str(out / "benchmark.json")]) == 0
    assert capsys.readouterr().out.strip() == text.strip()
    assert all(picture.stat().st_size > 10_000 for picture in pictures)


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt(), 130), (OSError("no space left"), 1)])
def test_what_stops_it_leaves_the_tables_of_what_there_is(tmp_path, monkeypatch, capsys, stop, status):
    def told(folder, peer, samples, threads):
        if peer == "floor":
            raise stop
        return {"seconds": [0.25], "losses": [1.0], "params": 4}

    monkeypatch.setattr(contest, "in_process", told)
    command = ["--workloads", "wide", "--peers", "funcnn", "floor", *SMALL, "--no-growth", "--out", str(tmp_path)]
    assert main(command) == status
    printed = capsys.readouterr()
    assert "| funcnn |    0.25 |" in printed.out
    assert printed.err.startswith("round 1: wide, funcnn: 0.25 s\n")
    assert main(["--draw", str(tmp_path / "benchmark.json")]) == 0
    assert capsys.readouterr().out == printed.out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--peers", "funcnn", "tensorboard"], 2, "--peers: expected some of funcnn, funcnn-jax-step"),
        (["--workloads", "tiny"], 2, "--workloads: expected some of small-32-sgd"),
        (["--repeats", "0"], 2, "--repeats: expected a positive whole number, got 0"),
        (["--threads", "100000"], 2, "--threads: expected a whole number from 1 to"),
        (["--workloads", "lenet", "--peers", "floor", *SMALL, "--no-growth"], 1, "expected some that take part"),
        (["--draw", __file__], 1, "expected JSON as this version writes it"),
    ],
)
def test_bad_arguments_are_refused(capsys, arguments, status, message):
    with pytest.raises(SystemExit) as end:
        sys.exit(main(arguments))
    assert end.value.code == status
    assert message in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_what_takes_too_long_is_reported_and_not_tried_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(contest, "TIME_LIMIT", 0.01)
    command = ["--workloads", "small-128-adam", "--peers", "floor", "--dataset", "mnist_5k", "--no-growth"]
    assert main([*command, "--repeats", "2", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("- small-128-adam, floor: not done after 0.01 seconds") == 1


@pytest.mark.parametrize("printed", ["", "1.0\nhelp is at hand\n"])
def test_a_process_that_tells_no_measurement_has_failed(monkeypatch, tmp_path, printed):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, printed, ""))
    told = contest.in_process(tmp_path / "start-up", "funcnn", 100, 1)
    assert told == {"failure": "its last line is no measurement"}


def test_rounds_are_interleaved():
    once = [(name, peer) for name in ("small-32-sgd", "wide") for peer in ("funcnn", "floor")]
    order = [*((0, *pair) for pair in once), *((1, *pair) for pair in (*once[2:], *once[:2]))]
    plan = contest.plan_of(("small-32-sgd", "wide"), ("funcnn", "floor"), 2, ["depth=8"])
    assert plan == [*order, (0, "depth=8", "funcnn"), (0, "depth=8", "floor")]


def test_a_ratio_is_that_of_medians_with_the_spread_of_rounds():
    ours = measurements("funcnn", (1.0, 2.0, 9.0), (4.0,), (6.0,))
    theirs = measurements("floor", (1.0,), (1.0,), (2.0,))
    assert seconds(ours) == 4.0
    assert str(ratio(ours, theirs)) == "4.00 [2.00, 4.00]"
    assert str(ratio(theirs, ours)) == "0.25 [0.25, 0.50]"
    assert ratio(ours, []) is None
    made = (*ours, *measurements("torch-eager", (9.0,)), *measurements("torch-fused", (2.0,)))
    fastest = "| small-128-adam | 1.00 [1.00, 1.00] | "
    assert fastest in text(Results({"processor": "P", "threads": 2}, {}, made, {}))


NAN = float("nan")


@pytest.mark.parametrize(
    ("workload", "peer", "loss", "beginning", "lines"),
    [
        ("small-128-adam", "numpy-loop", 0.5009, (2.3, 2.1005, 2.0), []),
        ("small-128-adam", "numpy-loop", 0.5011, (), ["epoch 1: 0.5011, where funcnn has 0.5000"]),
        ("small-128-adam", "numpy-loop", NAN, (2.3,), ["epoch 1: nan, where funcnn has 0.5000"]),
        ("small-128-adam", "scikit-learn", 0.6, (), []),
        ("small-128-adam", "scikit-learn", 0.7, (), ["epoch 1: 0.7000, where funcnn has 0.5000"]),
        ("depth=8", "torch-fused", 0.6, (2.3, 2.1005), []),  # of an epoch rounding is too large there
        ("depth=8", "torch-fused", 0.5, (2.3, 2.1011), ["step 2: 2.1011, where funcnn has 2.1000"]),
        ("small-128-adam", "torch-fused", 0.5, (2.3, 2.1, NAN), ["step 3: nan, where funcnn has 2.0000"]),
    ],
)
def test_losses_that_differ_are_told(workload, peer, loss, beginning, lines):
    ours = measurements("funcnn", (1.0,), beginning=(2.3, 2.1, 2.0), workload=workload)
    theirs = measurements(peer, (1.0,), loss=loss, beginning=beginning, workload=workload)
    expected = [f"- {workload}, {peer}, {line}" for line in lines]
    assert disagreements([*ours, *theirs]) == disagreements([*theirs, *ours]) == expected


def test_a_peer_with_batches_of_its_own_is_no_measure_for_others():
    loose, strict = measurements("scikit-learn", (1.0,), loss=0.52), measurements("numpy-loop", (1.0,))
    assert not disagreements([*loose, *strict])


@pytest.mark.parametrize("fault", ["none", "without the last layer", "with half the rate"])
def test_a_peer_that_leaves_work_out_is_caught(tmp_path, monkeypatch, fault):
    noise, adam = np.random.default_rng(0), numpy_loop.adam
    inputs, targets = noise.random((256, 20), np.float32), noise.integers(10, size=256)
    sizes = ((20, 16), (16,), (16, 10), (10,))
    np.savez(tmp_path / "params.npz", *(noise.standard_normal(size, np.float32) for size in sizes))
    task = Task(Workload(hidden=(16,), batch=16, samples=256), inputs, targets, tmp_path / "params.npz")

    def faulty(params):
        update = adam(params[:-2] if fault == "without the last layer" else params)

        def changed(grads):
            before = [parameter.copy() for parameter in params]
            update(grads[:-2] if fault == "without the last layer" else grads)
            for parameter, old in zip(params, before, strict=True):
                parameter -= (parameter - old) * (0.5 if fault == "with half the rate" else 0)

        return changed

    def told(peer):
        (loss,), beginning = child.losses_of(task, numpy_loop.training(task).run(np.arange(256)), targets)
        assert len(beginning) == child.BEGINNING
        return measurements(peer, (1.0,), loss=loss, beginning=beginning)

    ours = told("funcnn")
    monkeypatch.setattr(numpy_loop, "adam", faulty)
    found = disagreements([*ours, *told("numpy-loop")])
    assert any("step" in line for line in found) == any("epoch" in line for line in found) == (fault != "none")


def test_a_peer_that_leaves_batches_out_ends_with_an_error(tmp_path):
    task = Task(Workload(batch=16, samples=250), None, None, tmp_path)
    assert child.losses_of(task, [0.0] * 15 + [1.0], None) == ([10 / 250], [0.0] * child.BEGINNING)
    with pytest.raises(ValueError, match="expected losses of 16 steps, got 15"):
        child.losses_of(task, [0.5] * 15, None)


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
    for peer, script in FIRST_STEPS.items():
        assert compile(script, peer, "exec")  # wherever its tool is not installed
    for tool in own:
        pytest.importorskip(tool)
    code = f"import experiments.benchmark.child, experiments.benchmark.peers.{module}, sys; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=contest.ROOT)
    assert {*told.stdout.split()} & TOOLS == own


def test_a_child_reads_the_first_rows_where_no_peer_need_copy_them(tmp_path):
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    np.save(tmp_path / "rows.npy", rows)
    found = child.first_rows(tmp_path / "rows.npy", 7)
    assert np.array_equal(found, rows[:7])
    assert found.ctypes.data % 64 == 0
    with pytest.raises(EOFError, match="fewer than 11 rows"):
        child.first_rows(tmp_path / "rows.npy", 11)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch not installed")
def test_torch_agrees(tmp_path):
    work = ("--workloads", "small-1024-sgd", "--no-growth", "--peers", "funcnn", "torch-fused", *SMALL)
    assert main([*work, "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "benchmark.json").read_text())["measurements"]
    assert [(m["peer"], m["failure"], len(m["losses"])) for m in told] == [("funcnn", "", 4), ("torch-fused", "", 4)]
