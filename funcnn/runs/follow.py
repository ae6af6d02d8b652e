"""A stream, followed to its end: recorded on the way, and stopped where it must be."""

import math
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
from tqdm.auto import tqdm

from funcnn.errors import InputError
from funcnn.runs.experiment import Experiment, Table
from funcnn.runs.stream import ExperimentError, Progress, stream


@attrs.frozen(eq=False)
class Outcome:
    """How a run ended.

    Attributes:
        folder: Its folder.
        progress: The last good progress; ``None`` where there was nothing to do.
        interrupted: Whether Ctrl-C ended it.
        failure: What stopped it early, if anything did.
        error: What a function of the experiment raised, if that is it.
    """

    folder: Path
    progress: Progress | None
    interrupted: bool = False
    failure: str | None = None
    error: Exception | None = None


def follow(
    folder: Path, experiment: Experiment, start: Progress, record: Callable[[Progress], None], every: int
) -> Outcome:
    """Follow the stream and ``record`` it after every epoch, and within them after every so many steps.

    What is recorded or comes back has params that are known to give finite losses.
    """
    good = latest = start
    recorded = start.step
    try:
        for progress in stream(attrs.evolve(experiment, batches=_with_bar(experiment)), start):
            if failure := _failure(experiment, progress, latest):
                return Outcome(folder, good, failure=failure)
            ended = len(progress.history) > len(latest.history)
            good = progress if ended else latest  # at the end of an epoch the params themselves are evaluated
            latest = progress
            if ended or good.step // every > recorded // every:
                record(good)
                recorded = good.step
    except KeyboardInterrupt:
        return Outcome(folder, good, interrupted=True)
    except (ExperimentError, InputError) as error:
        return Outcome(folder, good, failure=str(error), error=error)
    return Outcome(folder, good)


def _failure(experiment: Experiment, progress: Progress, known: Progress) -> str | None:
    """What is not finite, if anything: a loss, which is a number whose name ends so, or what is watched."""
    rows = [(f"step {row['step']}", row) for row in progress.steps_after(known.step)]
    rows += [(f"epoch {row['epoch']}", row) for row in progress.history[len(known.history) :]]
    for place, row in rows:
        for name, value in row.items():
            if (name.endswith("loss") or name == experiment.watch) and not math.isfinite(value):
                return f"{name} is {value} at {place}"
    return None


def _with_bar(experiment: Experiment) -> Callable[[int], Iterable[Any]]:
    """The batches of an epoch behind a progress bar, which shows where there is a terminal or a notebook."""
    if threading.current_thread() is not threading.main_thread():
        return experiment.batches  # one of many runs that share a terminal

    def batches(epoch: int) -> Iterable[Any]:
        table = experiment.batches
        total = sum(len(rows) for rows in table.rows(epoch)) if isinstance(table, Table) else None
        title = f"epoch {epoch + 1}/{experiment.epochs}"
        bar: Iterable[Any] = tqdm(experiment.batches(epoch), title, total, leave=False, disable=None, unit="batch")
        return bar

    return batches
