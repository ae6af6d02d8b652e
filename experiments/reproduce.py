"""Run a recorded run again, and say whether it is the same, or where it differs first and by how much."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import Annotated, TypeVar

import attrs
import tyro
from toolz import concat

import funcnn as fn
from experiments import folder as files
from experiments.command import run_command
from experiments.config import load_data
from experiments.devices import Devices
from experiments.environment import changes, environment, threads
from experiments.job import prepare
from experiments.run import Experiment, Progress, Row, Step, beginning, has_ended, stream
from funcnn.errors import is_count, is_real, require

R = TypeVar("R", Step, Row)


@attrs.frozen
class Command:
    """Run the config of a run again, and say whether it gives the same; nothing is written.

    Attributes:
        run: The folder of the run.
        tolerance: The largest relative difference to let pass, for a run of another machine.
        threads: How many threads matrix products may use, if not as many as in the run.
        devices: How many devices share each batch with the engine jax, if not as many as in the run.
        data_dir: A local folder with the dataset's files, if not that of the run.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    tolerance: float = 0.0
    threads: int | None = None
    devices: int | None = None
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    def __attrs_post_init__(self) -> None:
        require(is_real(self.tolerance, low=0), "--tolerance", "a number of at least 0", self.tolerance)
        for name in ("threads", "devices"):
            value = getattr(self, name)
            require(value is None or is_count(value), f"--{name}", "a positive whole number", value)


@attrs.frozen
class Record:
    """What a run left; ``digest`` is ``None`` where it left none."""

    steps: Sequence[Step]
    history: Sequence[Row]
    digest: str | None


@attrs.frozen
class Difference:
    """A number that is not as it was recorded; ``place`` is its step or epoch."""

    place: str
    quantity: str
    recorded: float | None
    now: float | None

    @property
    def relative(self) -> float:
        """The difference over the larger magnitude; infinite where a number is missing or not finite."""
        if self.recorded is None or self.now is None or not math.isfinite(self.recorded - self.now):
            return math.inf
        return abs(self.recorded - self.now) / (max(abs(self.recorded), abs(self.now)) or 1.0)

    def __str__(self) -> str:
        name = self.quantity.replace("_", " ")
        return f"{self.place}: {name} was {self.recorded}, is {self.now}, a relative difference of {self.relative:.2g}"


def differences(recorded: R, now: R) -> Iterator[Difference]:
    """Where two steps or two epochs tell different numbers; the seconds may.

    >>> step = Step(step=3, samples=128, loss=2.0, accuracy=0.5, learning_rate=0.1, gradient_norm=1.0)
    >>> print(*differences(step, attrs.evolve(step, loss=2.5)))
    step 3: loss was 2.0, is 2.5, a relative difference of 0.2
    """
    names = [field.name for field in attrs.fields(type(recorded)) if field.name != "seconds"]
    place = f"{names[0]} {getattr(recorded, names[0])}"
    for name in names:
        before, after = getattr(recorded, name), getattr(now, name)
        if repr(before) != repr(after):  # to the last bit, and NaN is as NaN was
            yield Difference(place, name, before, after)


def follow(record: Record, again: Iterable[Progress]) -> Iterator[tuple[Progress, list[Difference]]]:
    """Each progress of a new run for which there is a record, and what differs in its step and the epoch it ends."""
    done = epochs = 0
    for progress in again:
        steps = zip(record.steps[done : progress.state.step], progress.steps_after(done), strict=False)
        rows = zip(record.history[epochs:], progress.history[epochs:], strict=False)
        yield progress, [*concat(starmap(differences, steps)), *concat(starmap(differences, rows))]
        done, epochs = progress.state.step, len(progress.history)
        if done >= len(record.steps):
            return


def verdict(planned: Experiment, record: Record, again: Iterable[Progress], tolerance: float) -> tuple[bool, str]:
    """Whether ``again``, the stream of a new run, is the recorded one, in words; it is followed no further than to the
    first difference beyond ``tolerance``.
    """
    progress, largest = beginning(planned), None
    for latest, found in follow(record, again):
        for difference in found:
            if difference.relative > tolerance:
                return False, f"differs at {difference}"
            largest = max(largest or difference, difference, key=lambda each: each.relative)
        progress = latest
    return _verdict_at_end(planned, record, progress, largest, tolerance)


def _verdict_at_end(
    planned: Experiment, record: Record, progress: Progress, largest: Difference | None, tolerance: float
) -> tuple[bool, str]:
    steps = len(record.steps)
    finished = has_ended(planned, record.history)
    if progress.state.step < steps or (finished and not has_ended(planned, progress.history)):
        goes_on = "goes on" if progress.state.step == steps else f"ends after {progress.state.step}"
        return False, f"differs: the recorded run ends after {steps} steps, the new one {goes_on}"
    told = f"{steps} steps, {len(record.history)} epochs" + ("" if finished else " of a run that did not finish")
    if largest:
        return True, f"the same within a relative difference of {tolerance}: {told}; the largest is at {largest}"
    digest = files.digest(progress)
    if digest == record.digest:
        return True, f"identical, bit for bit: {told}, and the params"
    if finished and record.digest:
        return False, f"differs in no step, but the digest of params and history was {record.digest}, is {digest}"
    return True, f"the same numbers: {told}; what params it came to was not recorded"


def reproduce(command: Command) -> int:
    """Run again, and say what came: 0 for the same, 1 for another."""
    recorded = files.read_config(command.run)
    config = attrs.evolve(
        recorded, threads=command.threads or recorded.threads, data_dir=command.data_dir or recorded.data_dir
    )
    record = Record(files.read_steps(command.run), files.read_history(command.run), files.read_digest(command.run))
    require(bool(record.steps), str(command.run), "a run with at least one recorded step", "none")
    ran = files.read_environment(command.run)
    job = prepare(config, load_data(config), Devices(devices=command.devices or ran.get("jax", {}).get("devices")))
    fn.keep_freed_memory()
    with threads(config.threads):
        now = {**environment(job.data), **job.engine.environment}
        changed = changes(ran, now)
        print("environment, recorded -> now:" if changed else "environment: as recorded", *changed, sep="\n  ")
        again = stream(job.planned, beginning(job.planned), job.engine)
        same, text = verdict(job.planned, record, again, command.tolerance)
    print(text)
    return 0 if same else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for the same run, 1 for another or a failure, 2 for bad arguments, 130 for Ctrl-C."""
    return run_command("reproduce", Command, reproduce, arguments)


if __name__ == "__main__":
    sys.exit(main())
