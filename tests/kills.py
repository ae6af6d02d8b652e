"""Kill runs at random moments, go on with each until it ends, and compare their bytes with a run that was left alone.

python -m tests.kills --kills 30 --dataset mnist --dropout 0.2 --epochs 3 --checkpoint-every 100
"""

import itertools
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import tyro

import funcnn as fn
from experiments import folder as files
from experiments.config import Config, experiment, load_data
from experiments.job import begin, carry_out, prepare

SAME = ["digest.txt", "steps.csv", "model.safetensors", "best.safetensors", "checkpoint.safetensors"]
"""The files of a run that must not depend on how often it was killed."""


@attrs.frozen
class Command:
    """Kill runs at random moments, and compare what they end with.

    Attributes:
        config: The config of the runs.
        kills: How many kills there are in all.
        longest: The most seconds that a run is left alone.
    """

    config: tyro.conf.OmitArgPrefixes[Config] = attrs.field(factory=Config)
    kills: int = 30
    longest: float = 4.0


def killed(folder: Path, seconds: float) -> bool:
    """Go on with a run in a process of its own, and kill it so many seconds later; whether it was not over by then.

    Raises:
        AssertionError: It ended by itself, but not well.
    """
    command = [sys.executable, "-m", "experiments.mnist", "--resume", str(folder)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    run.kill()
    code = run.wait()
    assert code in (0, -signal.SIGKILL), f"exit status {code}"
    return code != 0


def assert_same(folder: Path, whole: Path) -> None:
    """Both runs ended with the same bytes, but for the seconds they took."""
    different = [name for name in SAME if (folder / name).read_bytes() != (whole / name).read_bytes()]
    assert not different, different
    left, right = ([attrs.evolve(row, seconds=0.0) for row in files.read_history(run)] for run in (folder, whole))
    assert left == right


def main(command: Command) -> None:
    """Kill, go on, compare, and say how often."""
    data = load_data(command.config)
    planned = experiment(command.config, data)
    with tempfile.TemporaryDirectory() as parent:
        whole, kills = Path(parent) / "whole", 0
        begin(whole, command.config)
        carry_out(whole, prepare(command.config, data))
        for number in itertools.count(1):
            folder, left_alone = Path(parent) / f"run-{number}", fn.Key(number)
            begin(folder, command.config)
            for moment in itertools.count():
                seconds = left_alone.at(moment).uniform((), high=command.longest)
                if kills == command.kills or not killed(folder, float(seconds)):
                    break
                kills += 1
                progress = files.read_progress(folder, planned)  # whole at any moment
                print(f"run {number}, kill {kills}: the checkpoint is at step {progress.state.step}", flush=True)
            carry_out(folder, prepare(command.config, data))
            assert_same(folder, whole)
            print(f"run {number} ends with {(folder / 'digest.txt').read_text().strip()}", flush=True)
            if kills == command.kills:
                break
    print(f"{kills} kills, {number} runs, and all end with the bytes of the run that was left alone")


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.kills"))
