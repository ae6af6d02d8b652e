"""A run as a stream of values: each follows from the one before it alone.

A run that is resumed from any value of its stream is, bit for bit, the run that never stopped. Nothing is written here.
"""

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import attrs
import numpy as np

from funcnn import tree
from funcnn.errors import InputError, is_count, require
from funcnn.layer import Params
from funcnn.runs.experiment import COUNTERS, Experiment, Row, check_name
from funcnn.tree import frozendict

T = TypeVar("T")


class ExperimentError(RuntimeError):
    """An error in a function of an experiment, with its name and place; the cause is the original error."""


@attrs.frozen(eq=False)
class Progress:
    """All that a run needs to be resumed.

    Attributes:
        params: The params.
        state: The state of the experiment's step.
        history: A row for each finished epoch.
        rows: A row for each step of the latest epoch. A stream adds later steps to the same list.
        step: The number of finished steps.
    """

    params: Params
    state: Any
    history: Sequence[Row] = ()
    rows: Sequence[Row] = ()
    step: int = 0

    @property
    def within_epoch(self) -> int:
        """The number of finished steps in the epoch that is not over."""
        return self.step - (int(self.history[-1]["step"]) if self.history else 0)

    def steps_after(self, step: int) -> Sequence[Row]:
        """The rows of the latest epoch after ``step``, up to this progress."""
        known = step + 1 - int(self.rows[0]["step"]) if self.rows else 0
        return [row for row in self.rows[max(0, known) :] if row["step"] <= self.step]


def beginning(experiment: Experiment) -> Progress:
    """The progress before the first step."""
    params, state = _pair("begin", experiment.begin)
    return Progress(params, _plain(state, _columns("begin", state)))


def stream(experiment: Experiment, start: Progress | None = None) -> Iterator[Progress]:
    """The progress after every remaining step, and again after every epoch, with the new row of the history.

    Args:
        experiment: What runs.
        start: Where to go on; the beginning by default.

    Raises:
        InputError: A batch is missing; a step changes the tree of params or state; or a metric is no number.
        ExperimentError: A function of the experiment raises.

    >>> import funcnn as fn, numpy as np
    >>> train = fn.Batch(np.eye(3, dtype=np.float32), np.arange(3))
    >>> loss, optimizer = fn.softmax_cross_entropy(), fn.sgd(0.1)
    >>> from funcnn.runs import supervised
    >>> experiment = supervised(fn.dense(3), loss, optimizer, train, key=fn.Key(0), batch_size=2, epochs=2)
    >>> [(progress.step, len(progress.history)) for progress in stream(experiment)]
    [(1, 0), (2, 0), (2, 1), (3, 1), (4, 1), (4, 2)]
    """
    start = start or beginning(experiment)
    progress = attrs.evolve(start, state=_plain(start.state, _columns("the state", start.state)))
    while not has_ended(experiment, progress.history):
        for progress in _epoch(experiment, progress):  # noqa: B020 the next epoch begins where this one ends
            yield progress


def has_ended(limits: Any, history: Sequence[Row]) -> bool:
    """Whether all epochs are done, or the latest ``patience`` epochs brought no new best.

    ``limits`` is an experiment or a plan: it has ``epochs``, ``watch``, ``patience`` and ``tolerance``.
    """
    waited = 0
    if history and limits.patience is not None and limits.watch is not None:
        values = watched(limits.watch, history)
        pairs = zip(values, accumulate(values, min, initial=math.inf), strict=False)
        better = (epoch for epoch, (value, least) in enumerate(pairs, 1) if value < least - limits.tolerance)
        waited = len(history) - max(better, default=1)
    return bool(len(history) >= limits.epochs or (waited and waited >= limits.patience))


def watched(watch: str, history: Sequence[Row]) -> list[float]:
    """The watched column.

    Raises:
        InputError: There is no column of that name.
    """
    for row in history:
        require(watch in row, "watch", f"one of the columns {', '.join(row)}", repr(watch))
    return [row[watch] for row in history]


def best_epoch(limits: Any, history: Sequence[Row]) -> int | None:
    """The first epoch, from 1, with the least number in the watched column; ``None`` if no column is watched.

    NaN counts as the greatest number.
    """
    if limits.watch is None or not history:
        return None
    values = watched(limits.watch, history)
    return 1 + min(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i]))


def _epoch(experiment: Experiment, start: Progress) -> Iterator[Progress]:
    """The rest of the epoch that ``start`` is in."""
    began, number, history = time.perf_counter(), len(start.history), start.history
    params, state, done = start.params, start.state, start.step
    rows = [*start.steps_after(done - start.within_epoch)]
    for batch, sizes in _left(experiment, number, start.within_epoch):
        where, before = f"step {done + 1}", {"params": params, "state": state}
        with np.errstate(all="ignore"):  # overflow and NaN show in the metrics
            params, state = _pair(where, experiment.step, params, state, batch)
        columns = _columns(where, state, len(sizes), [*before["state"].metrics])
        state = _plain(state, columns)
        if done == start.step:
            _check_tree(before, {"params": params, "state": state})
        for i, samples in enumerate(sizes):
            done += 1
            numbers = {name: column[i] for name, column in columns.items()}
            rows.append({"step": done, "samples": int(samples), **numbers})
        yield Progress(params, state, history, rows, done)
    require(bool(rows), f"batches({number})", "at least one batch", "none")
    seconds = time.perf_counter() - began
    seen = _numbers("summarize", called("summarize", experiment.summarize, rows))
    with np.errstate(all="ignore"):  # as above
        evaluated = _numbers("evaluate", called("evaluate", experiment.evaluate, params))
    require(not seen.keys() & evaluated, "evaluate", "names that no other column has", [*seen.keys() & evaluated])
    row = {"epoch": number + 1, "step": done, **seen, **evaluated, "seconds": seconds}
    names = [*(history[-1] if history else row)]
    require({*names} == {*row}, f"epoch {number + 1}", f"the columns {', '.join(names)}", ", ".join(row))
    if experiment.watch is not None:
        watched(experiment.watch, [row])
    yield Progress(params, state, (*history, frozendict({name: row[name] for name in names})), rows, done)


def _left(experiment: Experiment, epoch: int, taken: int) -> Iterator[tuple[Any, Sequence[int]]]:
    """The batches of an epoch after its first ``taken`` steps, each with the numbers of samples in its steps."""
    batches = called(f"batches({epoch})", lambda: iter(experiment.batches(epoch)))
    skipped, end = 0, object()
    while (batch := called(f"batches({epoch})", next, batches, end)) is not end:
        sizes = called("sizes", experiment.sizes, batch)
        fits = isinstance(sizes, Sequence) and len(sizes) > 0 and all(map(is_count, sizes))
        require(fits, "sizes", "a positive whole number of samples for each step", repr(sizes))
        if skipped >= taken:
            yield batch, sizes
        else:
            skipped += len(sizes)
            hint = "the steps before it were taken in other batches, or by another engine"
            require(skipped <= taken, f"batches({epoch})", f"a batch that begins at step {taken}", "none", hint)
    expected = f"the {taken} steps that were taken, as before"
    require(skipped >= taken, f"batches({epoch})", expected, f"{skipped} that end before it")


def called(where: str, function: Callable[..., T], *args: Any) -> T:
    """The result of ``function``; its errors name ``where``. Errors of the system pass as they are."""
    try:
        return function(*args)
    except InputError as error:
        raise error.within(f"{where}:") from None
    except (OSError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{where} raises {type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        raise ExperimentError(text) from error


def _pair(where: str, function: Callable[..., Any], *args: Any) -> tuple[Params, Any]:
    """The params and state that ``function`` returns."""
    pair = called(where, function, *args)
    fits = isinstance(pair, tuple | list) and len(pair) == 2
    require(fits, where, "params and state", f"{len(pair)} values" if isinstance(pair, tuple) else repr(pair))
    return pair[0], pair[1]


def _plain(state: Any, columns: Mapping[str, list[float]]) -> Any:
    """The state (an attrs record or a named tuple) with the latest step's metrics as a frozendict of floats."""
    fits = type(state.metrics) is frozendict and [*state.metrics] == [*columns]
    if fits and all(type(value) is float for value in state.metrics.values()):
        return state
    metrics = frozendict({name: column[-1] for name, column in columns.items()})
    return attrs.evolve(state, metrics=metrics) if attrs.has(type(state)) else state._replace(metrics=metrics)


def _columns(where: str, state: Any, steps: int = 1, names: Sequence[str] | None = None) -> dict[str, list[float]]:
    """A number a step for each metric, in the order of ``names``, the metrics of the state before."""
    metrics: Any = getattr(state, "metrics", None)
    if names is None or not isinstance(metrics, Mapping):
        _numbers(f"{where}: the state's metrics", metrics, steps)
    names = [*metrics] if names is None else names
    if metrics.keys() != {*names}:
        hint = "give the first state all metrics that later ones have, NaN for what is not measured yet"
        raise InputError(where, f"metrics named {', '.join(names)}", ", ".join(map(str, metrics)), hint)
    return {name: _column(f"{where}: metric {name!r}", metrics[name], steps) for name in names}


def _column(where: str, value: Any, steps: int) -> list[float]:
    """A value as one number for each step."""
    if type(value) is float and steps == 1:
        return [value]
    try:
        array = np.asarray(value)
        fits = array.dtype.kind not in "cmMSU" and (array.shape == (steps,) or (array.shape == () and steps == 1))
        numbers = [float(number) for number in array.ravel()] if fits else []
    except (TypeError, ValueError):  # None, or lists of several lengths
        numbers = []
    expected = "one number" if steps == 1 else f"{steps} numbers, one a step"
    require(bool(numbers), where, expected, getattr(value, "shape", None) or repr(value))
    return numbers


def _numbers(where: str, row: Any, steps: int = 1) -> dict[str, float]:
    """The latest number of each name; a name that no column can have is refused."""
    require(isinstance(row, Mapping), where, "numbers by name", repr(row))
    for name in row:
        check_name(where, name)
        require(name not in COUNTERS, where, f"names other than {', '.join(COUNTERS)}", repr(name))
    return {name: _column(f"{where}: {name!r}", value, steps)[-1] for name, value in row.items()}


def _check_tree(before: Any, after: Any) -> None:
    """Raise unless a step keeps the tree, shapes and dtypes of params and state; checkpoints need them."""
    changed = [f"{path} was {was}, is {is_now}" for path, was, is_now in tree.unlike(before, after)]
    hint = "give the first state every leaf that later ones have, NaN for what is not measured yet"
    require(not changed, "the first step", "params and state with the tree that they had", "; ".join(changed), hint)
    same = tree.same_structure(before, after)
    require(same, "the first step", "params and state of the same records, tuples and dicts", "others")
