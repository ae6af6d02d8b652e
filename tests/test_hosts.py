"""A run on several devices, of one process or of several, is the run; and what does not fit is refused."""

import os
import shutil
import time

import psutil
import pytest
from toolz import last

import funcnn as fn
from experiments import gan, mnist
from funcnn import InputError, tree
from funcnn.runs import Devices, main, read_run, stream
from tests.scripts import PIPES, python
from tests.test_engine import free_port

QUICK = ["--hidden", 16, "--dropout", 0.3, "--validation", 0.1, "--epochs", 3, "--batch-size", 100, "--engine", "jax"]
QUICK += ["--activation", "tanh"]  # with a kink, last bits decide a unit's side


STARTED = []


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Processes that a failed test started end with it."""
    yield
    for run in STARTED:
        run.kill()
        run.communicate()
    STARTED.clear()


def started(*words, devices=1, of=mnist):
    """``python -m experiments.mnist`` as a process that believes to have so many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    STARTED.append(python("-m", of.__name__, *words, env={**os.environ, **flags}, **PIPES))
    return STARTED[-1]


def started_together(processes, *words, devices=1):
    """The processes of one run."""
    shared = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", processes]
    return [started(*words, *shared, "--process", i, devices=devices) for i in range(processes)]


def ended(run, well=True):
    """What a process printed that ended well, or the error of one that is refused.

    JAX may add a trace to that when the one that it waits for ends first.
    """
    text, error = run.communicate(timeout=180)
    assert (run.returncode == 0) == well, error
    return text if well else error


def epochs(folder):
    return len(read_run(folder).history.get("epoch", [])) if (folder / "config.json").exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run on one device that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ended(started(*QUICK, "--out", folder))
    return folder


def assert_close(folder, whole):
    """The models of two runs are the same within rounding."""
    mine, other = (fn.load(each / "model.safetensors").params for each in (folder, whole))
    assert tree.allclose(mine, other, rtol=1e-3, atol=1e-4)


def test_several_devices_come_to_the_same(whole, tmp_path):
    ended(started(*QUICK, "--devices", 4, "--out", tmp_path / "run", devices=4))
    assert_close(tmp_path / "run", whole)


def test_several_processes_come_to_the_same_and_process_0_alone_prints(whole, tmp_path):
    leading, other = map(ended, started_together(2, *QUICK, "--out", tmp_path / "run", devices=2))
    assert_close(tmp_path / "run", whole)
    told = read_run(tmp_path / "run").environment["jax"]
    assert (told["devices"], told["processes"]) == (4, 2)
    assert "epoch 3: " in leading
    assert "epoch" not in other


def test_an_experiment_without_a_table_shares_its_batches_too(tmp_path):
    config = gan.Config(hidden=8, batch_size=16, steps=4, epochs=1)
    words = ["--hidden", 8, "--batch-size", 16, "--steps", 4, "--epochs", 1, "--engine", "jax", "--devices", 2]
    ended(started(*words, "--out", tmp_path / "run", devices=2, of=gan))
    on_numpy = [row["generator_loss"] for row in last(stream(gan.experiment(config))).rows]
    assert read_run(tmp_path / "run").steps["generator_loss"] == pytest.approx(on_numpy, rel=1e-4)


def test_of_several_processes_one_says_that_nothing_is_left_to_do(whole, capsys):
    for process in range(2):
        words = ["resume", whole, "--coordinator", "127.0.0.1:1", "--processes", 2, "--process", process]
        assert main(mnist.experiment, mnist.Config, arguments=[*map(str, words)]) == 0
    assert capsys.readouterr().out == f"nothing to do: the run in {whole} is finished\n"


def test_a_coordinator_on_the_loopback_listens_there_alone_and_says_what_it_waits_for(tmp_path):
    port = free_port()
    shared = ["--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    run = started(*QUICK, *shared, "--process", 0, "--out", tmp_path / "run")
    expected = f"waiting for 2 processes at 127.0.0.1:{port}, at most 5 minutes\n"
    assert expected in iter(run.stderr.readline, "")
    deadline, listening = time.monotonic() + 60, []
    while not listening and time.monotonic() < deadline:
        connections = psutil.Process(run.pid).net_connections("tcp")
        listening = [each.laddr.ip for each in connections if each.laddr.port == port and each.status == "LISTEN"]
    assert [ip.removeprefix("::ffff:") for ip in listening] == ["127.0.0.1"]  # gRPC maps it into IPv6


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_dies_the_other_ends_and_any_number_goes_on(tmp_path, victim):
    folder = tmp_path / "run"
    runs = started_together(2, *QUICK, "--epochs", 4000, "--out", folder)
    deadline = time.monotonic() + 120
    while epochs(folder) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    runs[victim].kill()
    _, error = runs[1 - victim].communicate(timeout=60)
    assert runs[1 - victim].returncode != 0
    assert "error: the processes of the run lost each other" in error
    assert (f"what was recorded before is whole, and can be resumed: {folder}" in error) == (victim == 1)

    known = epochs(folder)
    ended(started("resume", folder, "--epochs", known + 2))
    assert epochs(folder) == known + 2
    assert "jax.processes: 2 -> 1" in read_run(folder).environment["resumed"][0]


def test_a_process_that_begins_elsewhere_is_refused(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shared = ["--epochs", 4, "--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2]
    runs = [started(*words, *shared, "--process", i) for i, words in enumerate((["resume", folder], QUICK))]
    for run in runs:
        assert "error: the checkpoint: expected the same in every process, got others" in ended(run, well=False)
    assert epochs(folder) == 3


def test_processes_with_other_configs_are_refused(tmp_path):
    shared = ["--engine", "jax", "--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2]
    runs = [started(*shared, "--process", i, "--seed", i, "--out", tmp_path / "run") for i in range(2)]
    for run in runs:
        assert "error: the config: expected the same in every process, got others" in ended(run, well=False)
    assert not (tmp_path / "run").exists()


def test_devices_that_do_not_fit_are_refused_before_there_is_a_folder(tmp_path):
    words = ["--engine", "jax", "--out", tmp_path / "run"]
    too_many, uneven = started("--devices", 2, *words), started("--devices", 3, *words, devices=3)
    assert "a number from 1 to 1, the cpu devices here, got 2; set XLA_FLAGS=" in ended(too_many, well=False)
    assert "--devices: expected batches that 3 devices share evenly, got one of 128" in ended(uneven, well=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "2"], "--engine: expected jax for --devices and --processes, got numpy"),
        (["--engine", "jax", "--validation", "0.1", "--patience", "2"], "--patience: expected none with --processes, "),
    ],
)
def test_a_run_that_devices_cannot_share_is_refused(tmp_path, capsys, words, message):
    shared = [] if "--devices" in words else ["--coordinator", "127.0.0.1:1", "--processes", "2"]
    arguments = [*words, *shared, "--out", str(tmp_path / "run")]
    assert main(mnist.experiment, mnist.Config, arguments=arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devices": 0}, "--devices: expected a positive whole number, got 0"),
        ({"processes": 2}, "--coordinator: expected HOST:PORT of process 0 with --processes, got none"),
        ({"coordinator": "a:1", "processes": 1}, "--processes: expected at least 2 with --coordinator, got 1"),
        ({"coordinator": "a"}, "--coordinator: expected HOST:PORT of process 0 with --processes, got a"),
        ({"coordinator": "a:²"}, "--coordinator: expected HOST:PORT of process 0 with --processes, got"),
        ({"coordinator": "a:0"}, "--coordinator: expected a port from 1 to 65535, got 0"),
        ({"coordinator": "a:65536"}, "--coordinator: expected a port from 1 to 65535, got 65536"),
        ({"coordinator": "a:1", "process": 2}, "--process: expected a whole number from 0 to 1, got 2"),
        ({"coordinator": "a:1", "devices": 2}, "--devices: expected none with --processes"),
    ],
)
def test_bad_devices_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Devices(**{"processes": 2, **arguments})
