"""Kill runs at random moments, resume each until it ends, and compare their bytes with a run that was left alone.

python -m tests.kills --kills 30 --experiment "experiments.mnist --dataset mnist --dropout 0.2 --epochs 3"
"""

import itertools
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import tyro

import funcnn as fn
from funcnn.runs import read_run
from tests.small_experiments import assert_same

QUICK = (
    "experiments.mnist --hidden 16 --dropout 0.2 --validation 0.1 --epochs 2",
    "experiments.gan --hidden 8 --steps 50 --epochs 3",
    "experiments.sine --samples 100 --hidden 8 --epochs 3",
)


@attrs.frozen
class Command:
    """Kill runs at random moments, and compare what they end with.

    Attributes:
        experiment: The module of each experiment, which may have options behind it.
        kills: How many kills there are of the runs of each.
        longest: The most seconds that a run is left alone once it writes.
        checkpoint_every: Steps between checkpoints.
    """

    experiment: tuple[str, ...] = QUICK
    kills: int = 30
    longest: float = 2.0
    checkpoint_every: int = 5


def started(experiment: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """The run in ``folder``, begun or resumed in a process of its own."""
    module, *words = shlex.split(experiment)
    resumed = (folder / "config.json").exists()
    words = ["resume", str(folder)] if resumed else [*words, *options, "--out", str(folder)]
    kept = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", module, *words], **kept)


def ended(run: subprocess.Popen[str]) -> int:
    """The exit status of a run that ended well or was killed.

    Raises:
        AssertionError: It ended in another way.
    """
    open_still = run.stderr is not None and not run.stderr.closed  # it may have ended before
    error = run.communicate()[1] if open_still else ""
    assert run.returncode in (0, -signal.SIGKILL), f"exit status {run.returncode}: {error}"
    return run.returncode


def kill(run: subprocess.Popen[str], folder: Path, seconds: float) -> bool:
    """Kill a run so many seconds after it begins to write; whether it was not over by then."""

    def written() -> int:
        return folder.stat().st_mtime_ns if folder.exists() else 0

    before = written()
    while run.poll() is None and written() == before:
        time.sleep(0.002)
    time.sleep(seconds)
    run.kill()
    return ended(run) != 0


def endure(experiment: str, parent: Path, command: Command) -> None:
    """Kill the runs of one experiment, resume them, compare, and say how often."""
    options, kills = ("--checkpoint-every", str(command.checkpoint_every)), 0
    ended(started(experiment, parent / "whole", *options))
    for number in itertools.count(1):
        folder, left_alone = parent / f"run-{number}", fn.Key(number)
        for moment in itertools.count():
            run = started(experiment, folder, *options)
            seconds = left_alone.at(moment).uniform((), high=command.longest)
            if kills == command.kills or not kill(run, folder, float(seconds)):
                break
            kills += 1
            if (folder / "config.json").exists():
                steps = read_run(folder).steps.get("step", [0])  # whole at any moment
                print(f"run {number}, kill {kills}: its last row is of step {steps[-1]}", flush=True)
        ended(run)
        assert_same(folder, parent / "whole")
        print(f"run {number} ends with {read_run(folder).digest}", flush=True)
        if kills == command.kills:
            break
    print(f"{experiment}: {kills} kills, {number} runs, and all end with the bytes of the run that was left alone")


def main(command: Command) -> None:
    """Do so for every experiment."""
    for experiment in command.experiment:
        with tempfile.TemporaryDirectory() as parent:
            endure(experiment, Path(parent), command)


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.kills"))
