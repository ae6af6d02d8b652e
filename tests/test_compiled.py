"""A run with the engine jax is the run, on one device, on several, and on those of several processes."""

import os
import shutil
import subprocess
import sys
import time

import attrs
import jax
import numpy as np
import psutil
import pytest
from toolz import last

import funcnn as fn
from experiments import compiled, mnist, reproduce
from experiments import folder as files
from experiments.config import Config, load_data
from experiments.devices import Devices
from experiments.job import begin, carry_out, prepare
from experiments.run import beginning, stream
from funcnn import InputError, tree
from tests.test_engine import free_port

CONFIG = Config(hidden=(16,), dropout=0.3, validation=0.1, epochs=3, batch_size=100, decay=1e-3, engine="jax")
DATA = load_data(CONFIG)

pytestmark = pytest.mark.xdist_group("compiled")  # one process runs what they share once


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Processes that a failed test started end with it."""
    yield
    for run in STARTED:
        run.kill()
    STARTED.clear()


STARTED = []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(folder / "run", *options(CONFIG)) == 0
    return folder / "run"


def options(config):
    """The command line of ``config``."""
    told = {name: value for name, value in attrs.asdict(config).items() if value != getattr(Config(), name)}
    words = {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in told.items()
    }
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in words.items()).split()


def main(out, *arguments):
    return mnist.main([*arguments, "--out", str(out)])


def started(*arguments, devices=1):
    """``python -m experiments.mnist`` as a process that believes to have so many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "experiments.mnist", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(subprocess.Popen(command, env={**os.environ, **flags}, **pipes))
    return STARTED[-1]


def started_together(processes, *arguments, devices=1):
    """The processes of one run."""
    shared = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", processes]
    return [started(*arguments, *shared, "--process", i, devices=devices) for i in range(processes)]


def ended(run):
    text, error = run.communicate(timeout=120)
    assert run.returncode == 0, error
    return text


@pytest.mark.parametrize("changed", [{"activation": "tanh"}, {"optimizer": "sgd", "learning_rate": 0.1}, {}])
def test_the_losses_of_an_epoch_are_those_of_numpy(changed):
    config = attrs.evolve(CONFIG, dropout=0.0, epochs=1, **changed)
    numpy, jax = (prepare(attrs.evolve(config, engine=engine), DATA) for engine in ("numpy", "jax"))
    expected, found = (last(stream(job.planned, beginning(job.planned), job.engine)) for job in (numpy, jax))
    assert len(found.steps) == len(expected.steps) == 36
    for name in ("loss", "learning_rate", "gradient_norm"):
        values = [[getattr(step, name) for step in progress.steps] for progress in (found, expected)]
        np.testing.assert_allclose(*values, rtol=1e-5)
    assert [step.samples for step in found.steps] == [step.samples for step in expected.steps]
    assert found.history[0].test_loss == pytest.approx(expected.history[0].test_loss, rel=1e-5)


@pytest.mark.usefixtures("unchecked_annotations")  # a JaxKey stands where a Key is expected
def test_an_interrupted_run_goes_on_to_the_same_bytes(whole, tmp_path):
    def interrupt(progress):
        if len(progress.history) == 2:
            raise KeyboardInterrupt

    begin(tmp_path, CONFIG)
    assert carry_out(tmp_path, prepare(CONFIG, DATA), interrupt).interrupted
    assert len(files.read_history(tmp_path)) == 2
    carry_out(tmp_path, prepare(CONFIG, DATA))
    assert files.read_digest(tmp_path) == files.read_digest(whole)
    assert files.read_steps(tmp_path) == files.read_steps(whole)


@pytest.mark.usefixtures("unchecked_annotations")
def test_a_run_is_reproduced_bit_for_bit(whole, capsys):
    assert reproduce.main([str(whole)]) == 0
    assert "environment: as recorded\nidentical, bit for bit: 108 steps, 3 epochs" in capsys.readouterr().out
    assert files.read_environment(whole)["jax"]["devices"] == 1


def test_of_several_processes_one_says_that_nothing_is_left_to_do(whole, capsys):
    shared = ["--resume", str(whole), "--coordinator", "127.0.0.1:1", "--processes", "2"]
    assert [mnist.main([*shared, "--process", str(process)]) for process in range(2)] == [0, 0]
    assert capsys.readouterr().out == f"nothing to do: the run in {whole} is finished\n"


def test_what_a_device_has_no_memory_for_is_told():
    with pytest.raises(MemoryError, match="a device has too little memory: RESOURCE_EXHAUSTED"), compiled._together():
        jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(2**46))())


def test_another_failure_of_jax_is_one_line():
    with pytest.raises(OSError, match=r"^JAX fails: INTERNAL: odd$"), compiled._together():
        raise jax.errors.JaxRuntimeError("INTERNAL: odd\nand more")


def test_a_checkpoint_within_an_epoch_is_refused():
    job = prepare(CONFIG, DATA)
    start = beginning(job.planned)
    state = fn.State(5, start.state.key, start.state.optimizer, {})
    with pytest.raises(InputError, match="a checkpoint at the end of an epoch, got one 5 steps into it"):
        next(job.engine.steps(job.planned, attrs.evolve(start, state=state)))


def test_processes_decide_alike_when_to_end():
    config = attrs.evolve(CONFIG, patience=2)
    with pytest.raises(InputError, match="--patience: expected none with --validation and --processes, got 2"):
        prepare(config, DATA, Devices(coordinator="127.0.0.1:1", processes=2))


@pytest.mark.usefixtures("unchecked_annotations")
def test_a_step_that_differs_within_an_epoch_is_found(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    steps = list(files.read_steps(folder))
    steps[50] = attrs.evolve(steps[50], loss=9.0)
    files._write_rows(folder / "steps.csv", steps, type(steps[0]))
    assert reproduce.main([str(folder)]) == 1
    assert "differs at step 51: loss was 9.0" in capsys.readouterr().out


@pytest.mark.usefixtures("unchecked_annotations")
def test_a_loss_that_is_not_finite_is_told_with_its_step(tmp_path, capsys):
    config = attrs.evolve(CONFIG, optimizer="sgd", learning_rate=1e30)
    assert main(tmp_path / "run", *options(config)) == 1
    assert "error: the loss is nan at step 2; the last good model is saved" in capsys.readouterr().err


def test_several_devices_and_processes_come_to_the_same(tmp_path, capsys):
    config = attrs.evolve(CONFIG, activation="tanh")  # with a kink, last bits can decide which side a unit is on
    arguments = options(config)
    ended(started(*arguments, "--out", tmp_path / "one"))
    ended(started(*arguments, "--devices", 4, "--out", tmp_path / "devices", devices=4))
    runs = started_together(2, *arguments, "--out", tmp_path / "processes", devices=2)
    ended(runs[0])
    assert "epoch" not in ended(runs[1])
    names = ("devices", "processes", "one")
    four, two, one = (fn.load(tmp_path / name / "model.safetensors").params for name in names)
    assert tree.allclose(four, one, rtol=1e-3, atol=1e-4)
    assert tree.allclose(two, one, rtol=1e-3, atol=1e-4)
    told = files.read_environment(tmp_path / "processes")["jax"]
    assert (told["devices"], told["processes"]) == (4, 2)


def test_a_coordinator_on_the_loopback_listens_there_alone_and_says_what_it_waits_for(tmp_path):
    port = free_port()
    shared = ["--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    run = started(*options(CONFIG), *shared, "--process", 0, "--out", tmp_path / "run")
    expected = f"waiting for 2 processes at 127.0.0.1:{port}, at most 5 minutes\n"
    assert expected in iter(run.stderr.readline, "")
    deadline, listening = time.monotonic() + 60, []
    while not listening and time.monotonic() < deadline:
        connections = psutil.Process(run.pid).net_connections("tcp")
        listening = [each.laddr.ip for each in connections if each.laddr.port == port and each.status == "LISTEN"]
    assert [ip.removeprefix("::ffff:") for ip in listening] == ["127.0.0.1"]  # gRPC maps it into IPv6
    run.kill()
    run.communicate()


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1:1", True), ("localhost:1", True), ("[::1]:1", True), ("10.0.0.1:1", False), ("host:1", False)],
)
def test_what_only_this_machine_reaches(address, own):
    assert compiled._is_loopback(address) == own


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_dies_the_other_ends_and_any_number_goes_on(tmp_path, victim):
    arguments = options(attrs.evolve(CONFIG, epochs=400, hidden=(64,)))
    runs = started_together(2, *arguments, "--out", tmp_path / "run")
    deadline = time.monotonic() + 120
    while len(files.read_history(tmp_path / "run")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    runs[victim].kill()
    _, error = runs[1 - victim].communicate(timeout=60)
    assert runs[1 - victim].returncode != 0
    assert "error: the processes of the run lost each other" in error
    assert ("what was recorded before is whole, and can be gone on with" in error) == (victim == 1)
    runs[victim].communicate()

    known = len(files.read_history(tmp_path / "run"))
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace('"epochs": 400', f'"epochs": {known + 2}'))
    ended(started("--resume", tmp_path / "run"))
    assert len(files.read_history(tmp_path / "run")) == known + 2
    changes = files.read_environment(tmp_path / "run")["gone on with"]
    assert "jax.processes: 2 -> 1" in changes[0]


def test_a_process_that_begins_elsewhere_is_refused(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"epochs": 3', '"epochs": 4'))
    shared = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2]
    runs = [
        started("--resume", folder, *shared, "--process", 0),
        started(*options(attrs.evolve(CONFIG, epochs=4)), *shared, "--process", 1),
    ]
    for run in runs:
        _, error = run.communicate(timeout=120)
        assert run.returncode != 0
        assert "the checkpoint: expected the same in every process, got others" in error
    assert len(files.read_history(folder)) == 3


def test_processes_with_other_configs_are_refused(tmp_path):
    port = free_port()
    shared = ["--engine", "jax", "--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    runs = [started(*shared, "--process", i, "--seed", i, "--out", tmp_path / "run") for i in range(2)]
    for run in runs:
        _, error = run.communicate(timeout=120)
        assert run.returncode != 0
        assert "error: the config: expected the same in every process, got others" in error
    assert not (tmp_path / "run").exists()


def test_devices_that_do_not_fit_are_refused_before_there_is_a_folder(tmp_path):
    runs = {
        r"a number from 1 to 1, the cpu devices here, got 2; set XLA_FLAGS=": started(
            "--engine", "jax", "--devices", 2, "--out", tmp_path / "run"
        ),
        r"--devices: expected batches that 3 devices share evenly, got one of 32": started(
            "--engine", "jax", "--devices", 3, "--out", tmp_path / "run", devices=3
        ),
        r"--engine: expected jax for --devices": started("--devices", 2, "--out", tmp_path / "run"),
    }
    for message, run in runs.items():
        _, error = run.communicate(timeout=120)
        assert (run.returncode, message in error) == (1, True), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devices": 0}, "--devices: expected a positive whole number, got 0"),
        ({"processes": 2}, "--coordinator: expected HOST:PORT of process 0 with --processes, got none"),
        ({"coordinator": "a:1"}, "--processes: expected at least 2 with --coordinator, got 1"),
        (
            {"coordinator": "a", "processes": 2},
            "--coordinator: expected HOST:PORT of process 0 with --processes, got a",
        ),
        ({"coordinator": "a:0", "processes": 2}, "--coordinator: expected a port from 1 to 65535, got 0"),
        ({"coordinator": "a:65536", "processes": 2}, "--coordinator: expected a port from 1 to 65535, got 65536"),
        (
            {"coordinator": "a:²", "processes": 2},
            "--coordinator: expected HOST:PORT of process 0 with --processes, got",
        ),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "--process: expected a whole number from 0 to 1, got 2"),
        ({"coordinator": "a:1", "processes": 2, "devices": 2}, "--devices: expected none with --processes"),
    ],
)
def test_bad_devices_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Devices(**arguments)


def test_where_jax_is_missing_one_line_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['jax'] = None; from experiments.mnist import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--engine", "jax", "--out", str(tmp_path / "run")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert "pip install 'funcnn[jax]'" in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
