"""A recorded run, run again: it is the same, or it differs first at some step. Nothing is written."""

import math
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import attrs
from toolz import concatv, dissoc

from funcnn.arrays import keep_freed_memory
from funcnn.errors import is_real, require
from funcnn.runs import folder as files
from funcnn.runs.environment import blas_threads, changes, environment
from funcnn.runs.experiment import Experiment, Row
from funcnn.runs.launch import engine
from funcnn.runs.options import Devices
from funcnn.runs.plan import read_plan
from funcnn.runs.stream import beginning, has_ended, stream


@attrs.frozen
class Verdict:
    """The result of :func:`reproduce`.

    Attributes:
        same: Whether the new run is the recorded one.
        text: The result in words, with the first difference.
        changes: The changes of the environment.
    """

    same: bool
    text: str
    changes: Sequence[str]


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
        source: A file or folder of the experiment's code.

    Raises:
        InputError: The folder has no recorded step, or is damaged.
        ExperimentError: A function of the experiment raises.
    """
    require(is_real(tolerance, low=0), "tolerance", "a number of at least 0", tolerance)
    folder = Path(folder)
    plan, ran = read_plan(folder), files.read_environment(folder)
    if threads is not None:
        plan = attrs.evolve(plan, options=attrs.evolve(plan.options, threads=threads))
    experiment, where = engine(experiment, plan, Devices(devices=devices or ran.get("jax", {}).get("devices")))
    keep_freed_memory()
    with blas_threads(plan.options.threads):
        now = {**environment(experiment.data, Path(source)), **where}
        same, text = _verdict(experiment, folder, tolerance)
    return Verdict(same, text, changes(dissoc(dict(ran), "git"), now))  # of the code, its digests are compared


def differences(recorded: Sequence[Row], now: Sequence[Row], *, counter: str) -> Iterator[tuple[float, str]]:
    """The differences between rows, except of the seconds: each as a relative difference and in words.

    A difference is relative to the larger magnitude, and infinite if a number is missing or not finite.

    >>> print(*differences([{"step": 3, "loss": 2.0}], [{"step": 3, "loss": 2.5}], counter="step"))
    (0.2, 'step 3: loss was 2.0, is 2.5, a relative difference of 0.2')
    """
    for before, after in zip(recorded, now, strict=False):
        for name in {**before, **after}:
            if name != "seconds" and repr(before.get(name)) != repr(after.get(name)):  # to the last bit; NaN equals NaN
                a, b = before.get(name, math.nan), after.get(name, math.nan)
                relative = abs(a - b) / (max(abs(a), abs(b)) or 1.0) if math.isfinite(a - b) else math.inf
                values = f"was {before.get(name)}, is {after.get(name)}, a relative difference of {relative:.2g}"
                yield relative, f"{counter} {before[counter]}: {name} {values}"


def _verdict(experiment: Experiment, folder: Path, tolerance: float) -> tuple[bool, str]:
    """Whether a new run is the recorded one, and that in words; it stops at a difference above ``tolerance``."""
    steps, history, digest = files.read_steps(folder), files.read_history(folder), files.read_digest(folder)
    require(bool(steps), str(folder), "a run with at least one recorded step", "none")
    progress, largest, where = beginning(experiment), -1.0, ""
    for latest in takewhile(lambda progress: progress.step <= len(steps), stream(experiment, progress)):
        done, epochs, progress = progress.step, len(progress.history), latest
        of_steps = differences(steps[done : progress.step], progress.steps_after(done), counter="step")
        of_epochs = differences(history[epochs:], progress.history[epochs:], counter="epoch")
        for relative, difference in concatv(of_steps, of_epochs):
            if relative > tolerance:
                return False, f"differs at {difference}"
            if relative > largest:
                largest, where = relative, difference
        if progress.step == len(steps) and len(progress.history) >= len(history):
            break
    finished = has_ended(experiment, history)
    if progress.step < len(steps) or (finished and not has_ended(experiment, progress.history)):
        goes_on = "goes on" if progress.step == len(steps) else f"ends after {progress.step}"
        return False, f"differs: the recorded run ends after {len(steps)} steps, the new one {goes_on}"
    length = f"{len(steps)} steps, {len(history)} epochs" + ("" if finished else " of a run that did not finish")
    if where:
        return True, f"the same within a relative difference of {tolerance}: {length}; the largest is at {where}"
    now = files.digest(progress)
    if now == digest:
        return True, f"identical, bit for bit: {length}, and the params"
    if finished and digest:
        return False, f"differs in no step, but the digest of params and history was {digest}, is {now}"
    return True, f"the same numbers: {length}; what params it came to was not recorded"
