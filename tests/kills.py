"""Kill runs at random moments, resume each until it ends, and compare their bytes with a run that was left alone.

The signals are KILL, TERM, HUP and INT. They hit runs of several experiments, the workers of a sweep and the sweep
itself, and one of two processes that share a run.

python -m tests.kills --kills 30 --experiment "experiments.mnist --dataset mnist --dropout 0.2 --epochs 3"
"""

import itertools
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import tyro

import funcnn as fn
from funcnn.runs import read_run
from tests.scripts import SIGNALS, python
from tests.small_experiments import assert_same

QUICK = (
    "experiments.mnist --hidden 16 --dropout 0.2 --validation 0.1 --epochs 2",
    "experiments.gan --hidden 8 --steps 50 --epochs 3",
    "experiments.sine --samples 100 --hidden 8 --epochs 3",
)
SWEPT = "experiments.sine sweep --samples 100 --hidden 8 --epochs 8 --checkpoint-every 50 --seeds 0 1 2 3 --workers 2"
SHARED = "experiments.mnist --hidden 16 --dropout 0.2 --batch-size 100 --epochs 60 --engine jax --processes 2"

DEADLY = (signal.SIGKILL, *SIGNALS)
ORDERLY = 130
"""The exit status of a command that a signal ended in order."""


@attrs.frozen
class Command:
    """Kill runs at random moments, and compare what they end with.

    Attributes:
        experiment: The module of each experiment, which may have options behind it.
        kills: How many kills there are of the runs of each.
        sweeps: How many kills there are of the workers of a sweep, and of the sweep itself.
        shared: How many kills there are of one of two processes of a run.
        longest: The most seconds that a run is left alone once it writes.
        checkpoint_every: Steps between checkpoints.
    """

    experiment: tuple[str, ...] = QUICK
    kills: int = 15
    sweeps: int = 10
    shared: int = 5
    longest: float = 2.0
    checkpoint_every: int = 5


def begun(words: list[str]) -> subprocess.Popen[str]:
    """``python -m WORDS``, whose output nobody reads."""
    return python("-m", *words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def started(experiment: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """The run in ``folder``, begun or resumed in a process of its own."""
    module, *words = shlex.split(experiment)
    resumed = (folder / "config.json").exists()
    return begun([module, *(["resume", str(folder)] if resumed else [*words, *options, "--out", str(folder)])])


def ended(run: subprocess.Popen[str], *well: int) -> int:
    """The exit status of a run that ended well or by a signal, whose handler it may not have had yet.

    Raises:
        AssertionError: It ended in another way.
    """
    open_still = run.stderr is not None and not run.stderr.closed  # it may have ended before
    error = run.communicate(timeout=300)[1] if open_still else ""
    fits = run.returncode in (0, ORDERLY, *(-number for number in DEADLY), *well)
    assert fits, f"exit status {run.returncode}: {error}"
    assert "Traceback" not in error or well, error
    return run.returncode


def wait_for_writes(run: subprocess.Popen[str], folder: Path) -> None:
    """Wait until a run writes in its folder, or has ended."""

    def written() -> int:
        return folder.stat().st_mtime_ns if folder.exists() else 0

    before = written()
    while run.poll() is None and written() == before:
        time.sleep(0.002)


class Chance:
    """What is drawn, the same at every start of the script: seconds to wait, signals and victims."""

    def __init__(self, *place: object) -> None:
        self.keys = map(fn.Key(0).at(*place).at, itertools.count())

    def seconds(self, longest: float) -> float:
        return float(next(self.keys).uniform((), high=longest))

    def one_of(self, values: list[Any]) -> Any:
        return values[int(self.seconds(len(values)))]


def endure(experiment: str, parent: Path, command: Command) -> None:
    """Kill the runs of one experiment, resume them, compare, and say how often."""
    options, kills, chance = ("--checkpoint-every", str(command.checkpoint_every)), Counter[str](), Chance(experiment)
    ended(started(experiment, parent / "whole", *options))
    for number in itertools.count(1):
        folder = parent / f"run-{number}"
        while True:
            run = started(experiment, folder, *options)
            if kills.total() == command.kills:
                break
            wait_for_writes(run, folder)
            time.sleep(chance.seconds(command.longest))
            run.send_signal(sent := chance.one_of([*DEADLY]))
            if ended(run) == 0:
                break
            kills[sent.name] += 1
            if (folder / "config.json").exists():
                steps = read_run(folder).steps.get("step", [0])  # whole at any moment
                print(f"run {number}, {sent.name}: its last row is of step {steps[-1]}", flush=True)
        ended(run)
        assert_same(folder, parent / "whole")
        print(f"run {number} ends with {read_run(folder).digest}", flush=True)
        if kills.total() == command.kills:
            break
    told = f"{kills.total()} kills ({shown(kills)}), {number} runs"
    print(f"{experiment}: {told}, and all end with the bytes of the run that was left alone", flush=True)


def endure_sweep(parent: Path, command: Command) -> None:
    """Kill workers of a sweep, and the sweep itself; what fails or is left is begun again by the same command."""
    chance, kills, sweeps = Chance("sweep"), Counter[str](), 0
    ended(begun([*shlex.split(SWEPT), "--out", str(parent / "whole")]))
    while kills.total() < command.sweeps:
        sweeps, folder = sweeps + 1, parent / f"sweep-{sweeps}"
        while True:
            run = begun([*shlex.split(SWEPT), "--out", str(folder)])
            while run.poll() is None and kills.total() < command.sweeps:
                wait_for_writes(run, folder)
                time.sleep(chance.seconds(command.longest))
                victim, sent = chance.one_of([*workers(run), run]), chance.one_of([*DEADLY])
                if run.poll() is None:
                    with suppress(psutil.NoSuchProcess):  # a worker that has ended meanwhile
                        victim.send_signal(sent)
                        kills[f"{'sweep' if victim is run else 'worker'} {sent.name}"] += 1
            if ended(run, 1) == 0:  # 1 for a run whose workers died too often for Dask
                break
        for path in (parent / "whole").glob("*/config.json"):
            assert_same(folder / path.parent.name, path.parent)
        print(f"sweep {sweeps}, {shown(kills)}: the runs are those of the sweep that was left alone", flush=True)
    print(f"{SWEPT}: {kills.total()} kills ({shown(kills)}), {sweeps} sweeps, all with the same bytes", flush=True)


def workers(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that carry runs out."""
    try:
        children = psutil.Process(run.pid).children()
        return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
    except psutil.Error:  # they have ended meanwhile
        return []


def endure_together(parent: Path, command: Command) -> None:
    """Kill one of the two processes of a run; the other notices, and both resume."""
    chance, kills = Chance("together"), Counter[str]()

    def both(folder: Path) -> list[subprocess.Popen[str]]:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            shared = ["--coordinator", f"127.0.0.1:{found.getsockname()[1]}"]
        module, *words = shlex.split(SHARED)
        resumed = ["resume", str(folder), "--processes", "2"]
        words = resumed if (folder / "config.json").exists() else [*words, "--out", str(folder)]
        return [begun([module, *words, *shared, "--process", str(process)]) for process in (0, 1)]

    [*map(ended, both(parent / "whole"))]
    folder = parent / "run"
    while kills.total() < command.shared:
        runs = both(folder)
        wait_for_writes(runs[0], folder)
        time.sleep(chance.seconds(command.longest))
        victim, sent = chance.one_of([0, 1]), chance.one_of([*DEADLY])
        if runs[victim].poll() is None:
            runs[victim].send_signal(sent)
            kills[f"process {victim} {sent.name}"] += 1
        statuses = [ended(run, 1, -signal.SIGABRT) for run in runs]  # 1 for the one that was left alone
        print(f"process {victim}, {sent.name}: they end with {statuses}", flush=True)
        if statuses == [0, 0]:
            assert_same(folder, parent / "whole")
            folder = parent / f"run-{kills.total()}"
    if (folder / "config.json").exists():
        [*map(ended, both(folder))]
        assert_same(folder, parent / "whole")
    print(f"{SHARED}: {kills.total()} kills ({shown(kills)}), all with the same bytes", flush=True)


def shown(kills: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(kills.items()))


def main(command: Command) -> None:
    """Do so for every experiment."""
    endured = [lambda parent, each=each: endure(each, parent, command) for each in command.experiment if command.kills]
    endured += [lambda parent: endure_sweep(parent, command)] if command.sweeps else []
    endured += [lambda parent: endure_together(parent, command)] if command.shared else []
    for each in endured:
        with tempfile.TemporaryDirectory() as parent:
            each(Path(parent))


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.kills"))
