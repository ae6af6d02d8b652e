"""A recorded run, run again: whether it is the same, or where it differs first and by how much. Nothing is written."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from funcnn.arrays import keep_freed_memory
from funcnn.errors import is_real, require
from funcnn.runs import folder as files
from funcnn.runs.environment import blas_threads, changes, environment
from funcnn.runs.experiment import Experiment, Row
from funcnn.runs.launch import engine
from funcnn.runs.options import Devices
from funcnn.runs.stream import Progress, beginning, has_ended, stream


@attrs.frozen
class Verdict:
    """Whether a run was the recorded one.

    Attributes:
        same: Whether it was.
        text: That in words, or the first difference.
        changes: What is not as it was in its environment.
    """

    same: bool
    text: str
    changes: Sequence[str]


@attrs.frozen
class Difference:
    """A number that is not as it was recorded; ``place`` is its step or epoch."""

    place: str
    name: str
    recorded: float | None
    now: float | None

    @property
    def relative(self) -> float:
        """The difference over the larger magnitude; infinite where a number is missing or not finite."""
        if self.recorded is None or self.now is None or not math.isfinite(self.recorded - self.now):
            return math.inf
        return abs(self.recorded - self.now) / (max(abs(self.recorded), abs(self.now)) or 1.0)

    def __str__(self) -> str:
        values = f"was {self.recorded}, is {self.now}, a relative difference of {self.relative:.2g}"
        return f"{self.place}: {self.name} {values}"


def reproduce(
    experiment: Experiment,
    folder: str | Path,
    *,
    tolerance: float = 0.0,
    threads: int | None = None,
    devices: int | None = None,
    source: str | Path = ".",
) -> Verdict:
    """Run ``experiment`` again, up to the first difference from what ``folder`` has recorded.

    Args:
        experiment: What ran there.
        folder: The folder of the run, which stays as it is.
        tolerance: The largest relative difference to let pass, for a run of another machine.
        threads: How many threads matrix products may use, if not as many as in the run.
        devices: How many devices share each batch with the engine jax, if not as many as in the run.
        source: A file or folder of the experiment's code, for its commit.

    Raises:
        InputError: The folder has no recorded step, or is damaged.
        ExperimentError: A function of the experiment raises.
    """
    require(is_real(tolerance, low=0), "tolerance", "a number of at least 0", tolerance)
    folder = Path(folder)
    plan, ran = files.read_plan(folder), files.read_environment(folder)
    plan = attrs.evolve(
        plan, options=attrs.evolve(plan.options, threads=plan.options.threads if threads is None else threads)
    )
    experiment, where = engine(experiment, plan, Devices(devices=devices or ran.get("jax", {}).get("devices")))
    keep_freed_memory()
    with blas_threads(plan.options.threads):
        now = {**environment(experiment.data, Path(source)), **where}
        same, text = _verdict(experiment, folder, tolerance)
    return Verdict(same, text, changes(ran, now))


def differences(recorded: Row, now: Row, *, counter: str) -> Iterator[Difference]:
    """Where two steps or two epochs tell different numbers; the seconds may.

    >>> print(*differences({"step": 3, "loss": 2.0}, {"step": 3, "loss": 2.5}, counter="step"))
    step 3: loss was 2.0, is 2.5, a relative difference of 0.2
    """
    for name in {**recorded, **now}:
        before, after = recorded.get(name), now.get(name)
        if name != "seconds" and repr(before) != repr(after):  # to the last bit, and NaN is as NaN was
            yield Difference(f"{counter} {recorded[counter]}", name, before, after)


def _verdict(experiment: Experiment, folder: Path, tolerance: float) -> tuple[bool, str]:
    """Whether a new run is the recorded one, in words; it goes no further than to a difference beyond ``tolerance``."""
    steps, history, digest = files.read_steps(folder), files.read_history(folder), files.read_digest(folder)
    require(bool(steps), str(folder), "a run with at least one recorded step", "none")
    progress, largest = beginning(experiment), None
    for latest, difference in _followed(experiment, progress, steps, history):
        progress = latest
        if difference and difference.relative > tolerance:
            return False, f"differs at {difference}"
        if difference and (largest is None or difference.relative > largest.relative):
            largest = difference
    finished = has_ended(experiment, history)
    if progress.step < len(steps) or (finished and not has_ended(experiment, progress.history)):
        goes_on = "goes on" if progress.step == len(steps) else f"ends after {progress.step}"
        return False, f"differs: the recorded run ends after {len(steps)} steps, the new one {goes_on}"
    told = f"{len(steps)} steps, {len(history)} epochs" + ("" if finished else " of a run that did not finish")
    if largest:
        return True, f"the same within a relative difference of {tolerance}: {told}; the largest is at {largest}"
    if files.digest(progress) == digest:
        return True, f"identical, bit for bit: {told}, and the params"
    if finished and digest:
        found = f"the digest of params and history was {digest}, is {files.digest(progress)}"
        return False, f"differs in no step, but {found}"
    return True, f"the same numbers: {told}; what params it came to was not recorded"


def _followed(
    experiment: Experiment, start: Progress, steps: Sequence[Row], history: Sequence[Row]
) -> Iterator[tuple[Progress, Difference | None]]:
    """Each progress of a new run for which there is a record, with each difference in its steps and its epoch."""
    done = epochs = 0
    for progress in stream(experiment, start):
        if progress.step > len(steps):
            return
        yield progress, None
        for before, after in zip(steps[done : progress.step], progress.steps_after(done), strict=True):
            yield from ((progress, found) for found in differences(before, after, counter="step"))
        for before, after in zip(history[epochs:], progress.history[epochs:], strict=False):
            yield from ((progress, found) for found in differences(before, after, counter="epoch"))
        done, epochs = progress.step, len(progress.history)
        if done == len(steps) and epochs >= len(history):
            return
