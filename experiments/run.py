"""One training run, as a stream of values: what stands after each step follows from what stood before it.

:func:`stream` is the run; :func:`run` follows it, has it recorded, and ends where it must. A run that goes on from any
value of its stream is the run that never stopped, bit for bit. An :class:`Engine` takes the steps.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import attrs
import numpy as np
from toolz import accumulate, identity
from tqdm import tqdm

import funcnn as fn
from funcnn.layer import Params
from funcnn.metrics import weighted_mean
from funcnn.training import State

T = TypeVar("T")


class Limits(Protocol):
    """When a run ends: an experiment says it, and a config."""

    @property
    def epochs(self) -> int: ...
    @property
    def patience(self) -> int | None: ...
    @property
    def tolerance(self) -> float: ...


@attrs.frozen(eq=False)
class Experiment:
    """All that a run depends on: the same experiment gives the same params and history.

    Attributes:
        model: The model.
        loss: The loss.
        optimizer: The optimizer; its state tells the learning rate and the norm of the gradient.
        train: The samples to train on.
        validation: Samples to watch, if any: the best epoch is that with the least loss on them, else in training.
        test: The samples that are evaluated after every epoch, and never decide anything.
        batch_size: Samples a step.
        epochs: Passes over the training samples, at most.
        key: The root of everything random.
        penalty: Added to the loss.
        patience: After how many epochs without a new best one the run ends, if ever.
        tolerance: By how much a watched loss must be below the least before it to be a new best one for ``patience``.
        as_saved: The params of the saved model, whose inputs are the data set's own, for those of ``model``.
    """

    model: fn.Layer
    loss: fn.Loss
    optimizer: fn.Optimizer
    train: fn.Batch
    validation: fn.Batch | None
    test: fn.Batch
    batch_size: int
    epochs: int
    key: fn.Key
    penalty: fn.Penalty | None = None
    patience: int | None = None
    tolerance: float = 0.0
    as_saved: Callable[[Params], Params] = identity

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train.inputs) / self.batch_size)

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch ends with that step."""
        return step % self.steps_per_epoch == 0

    def order_key(self, epoch: int) -> fn.Key:
        """The key of the order of the samples in that epoch, from 0."""
        return self.key.at("epoch", epoch)

    def training_step(self) -> fn.training.Step:
        """The step; the metrics of its state tell the learning rate and the norm of the gradient too."""
        step = fn.train_step(self.model, self.loss, self.optimizer, penalty=self.penalty)
        return partial(_telling_step, step)


@attrs.frozen
class Step:
    """One step of the record.

    Attributes:
        step: From 1.
        samples: In its batch.
        loss: Of the batch, before its update.
        accuracy: The same.
        learning_rate: Of its update.
        gradient_norm: The Euclidean norm of the whole gradient.
    """

    step: int
    samples: int
    loss: float
    accuracy: float
    learning_rate: float
    gradient_norm: float


@attrs.frozen
class Row:
    """One epoch of the history.

    Attributes:
        epoch: From 1.
        training_loss: The mean over the epoch's samples, each seen before the update of its batch.
        training_accuracy: The same mean of the accuracy.
        validation_loss: After the epoch; ``None`` without samples to validate on.
        validation_accuracy: The same.
        test_loss: After the epoch.
        test_accuracy: After the epoch.
        learning_rate: Of the epoch's last update.
        gradient_norm: The mean over the epoch's steps.
        seconds: For training, without the evaluation, since the epoch began or was gone on with.
    """

    epoch: int
    training_loss: float
    training_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    test_loss: float
    test_accuracy: float
    learning_rate: float
    gradient_norm: float
    seconds: float

    @property
    def watched_loss(self) -> float:
        """What the best epoch has the least of."""
        return self.training_loss if self.validation_loss is None else self.validation_loss


@attrs.frozen(eq=False)
class Progress:
    """Where a run stands: all that it needs to go on.

    Attributes:
        params: The params.
        state: The training state.
        history: The finished epochs.
        steps: Those of the latest epoch so far; all of them at its end.
    """

    params: Params
    state: State
    history: tuple[Row, ...] = ()
    steps: tuple[Step, ...] = ()

    def steps_after(self, step: int) -> tuple[Step, ...]:
        """Those after ``step``, of the latest epoch."""
        count = self.state.step - step
        return self.steps[-count:] if count > 0 else ()


@attrs.frozen(eq=False)
class Engine:
    """What computes a run.

    Attributes:
        steps: ``steps(experiment, progress)`` takes the steps after a progress, without an end: it gives params, state
            and the new steps after one of them, or after several, but never beyond the end of an epoch.
        environment: What the environment of its runs has beside the rest, as plain data.
    """

    steps: Callable[[Experiment, Progress], Iterator[tuple[Params, State, tuple[Step, ...]]]]
    environment: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(eq=False)
class Outcome:
    """How a run ended: the last good progress, and what stopped it early, if anything did."""

    progress: Progress
    interrupted: bool = False
    failure: str | None = None


def beginning(experiment: Experiment) -> Progress:
    """Fresh params and state."""
    params, _ = experiment.model.init(experiment.key.at("init"), experiment.train.inputs.shape[1:])
    return Progress(params, fn.initial_state(experiment.optimizer, params, experiment.key.at("train")))


def has_ended(limits: Limits, history: Sequence[Row]) -> bool:
    """Whether all epochs are done, or none of the latest ``patience`` improved on all before it."""
    waited = len(history) - latest_improvement(history, limits.tolerance) if history else 0
    return len(history) >= limits.epochs or (limits.patience is not None and waited >= limits.patience)


def best_epoch(history: Sequence[Row]) -> int:
    """The epoch with the least watched loss; of equal ones the first."""
    return min(history, key=lambda row: row.watched_loss).epoch


def latest_improvement(history: Sequence[Row], tolerance: float) -> int:
    """The latest epoch with a watched loss more than ``tolerance`` below the least before it; the first is one."""
    losses = [row.watched_loss for row in history]
    pairs = zip(losses, accumulate(min, losses, math.inf), strict=False)
    return max((epoch for epoch, (loss, least) in enumerate(pairs, 1) if loss < least - tolerance), default=1)


def step_of(step: int, samples: int, metrics: Mapping[str, Any]) -> Step:
    """The record of a step from the metrics that :meth:`Experiment.training_step` tells."""
    return Step(
        step=step,
        samples=samples,
        loss=float(metrics["loss"]),
        accuracy=float(metrics["accuracy"]),
        learning_rate=float(metrics["learning_rate"]),
        gradient_norm=float(metrics["global_norm"]),
    )


def _one_by_one(experiment: Experiment, start: Progress) -> Iterator[tuple[Params, State, tuple[Step, ...]]]:
    """One step after the other, as they are."""
    step, params, state = experiment.training_step(), start.params, start.state
    while True:
        for batch in _remaining_batches(experiment, state.step):
            params, state = _quietly(step, params, state, batch)
            yield params, state, (step_of(state.step, len(batch.inputs), state.metrics),)


NUMPY = Engine(_one_by_one)
"""NumPy takes the steps as they stand."""


def stream(experiment: Experiment, progress: Progress, engine: Engine = NUMPY) -> Iterator[Progress]:
    """The progress after every step that is left, the first of them after ``progress``; or as often as ``engine``
    gives one.
    """
    if has_ended(experiment, progress.history):
        return
    start, steps = time.perf_counter(), progress.steps[: progress.state.step % experiment.steps_per_epoch]
    for params, state, new in engine.steps(experiment, progress):
        steps = (*steps, *new)
        progress = Progress(params, state, progress.history, steps)
        if experiment.ends_epoch(state.step):
            row = _row(experiment, progress, time.perf_counter() - start)
            progress = attrs.evolve(progress, history=(*progress.history, row))
        yield progress
        if experiment.ends_epoch(state.step):
            if has_ended(experiment, progress.history):
                return
            start, steps = time.perf_counter(), ()


def run(
    experiment: Experiment,
    record: Callable[[Progress], None],
    start: Progress | None = None,
    *,
    record_every: int | None = None,
    engine: Engine = NUMPY,
) -> Outcome:
    """Train from ``start``, or from fresh params.

    ``record`` is called after every epoch, and within them after every ``record_every`` steps. Ctrl-C and a loss that
    is not finite end the run early; what is recorded or comes back has params that are known to give a finite loss.
    """
    good = start or beginning(experiment)
    previous = good
    try:
        for progress in stream(experiment, good, engine):
            if failure := _failure(progress, previous.state.step):
                return Outcome(good, failure=failure)
            ended = len(progress.history) > len(good.history)
            good = progress if ended else previous  # at the end of an epoch the params themselves are evaluated
            previous = progress
            done = good.state.step
            if ended or (record_every and done % record_every == 0 and not experiment.ends_epoch(done)):
                record(good)
    except KeyboardInterrupt:
        return Outcome(good, interrupted=True)
    return Outcome(good)


def _failure(progress: Progress, known: int) -> str | None:
    """What is not finite, if anything; the steps up to ``known`` are."""
    for taken in progress.steps_after(known):
        if not math.isfinite(taken.loss):
            return f"the loss is {taken.loss} at step {taken.step}"
    step = progress.state.step
    row = progress.history[-1] if progress.history else None
    if row is not None and not math.isfinite(row.watched_loss):
        return f"the watched loss is {row.watched_loss} after step {step}"
    if row is not None and not math.isfinite(row.test_loss):
        return f"the test loss is {row.test_loss} after step {step}"
    return None


def _quietly(function: Callable[..., T], *args: Any) -> T:
    """Call ``function`` without NumPy's warnings of overflow and NaN: the loss tells."""
    with np.errstate(all="ignore"):
        return function(*args)


def _remaining_batches(experiment: Experiment, step: int) -> Iterator[fn.Batch]:
    """The epoch's batches from ``step`` on, behind a progress bar, which shows where there is a terminal."""
    epoch, done = divmod(step, experiment.steps_per_epoch)
    shuffled = fn.batches(experiment.order_key(epoch), experiment.train, experiment.batch_size)
    left = islice(shuffled, done, None)
    if threading.current_thread() is not threading.main_thread():
        return left  # one of many runs that share a terminal
    title = f"epoch {epoch + 1}/{experiment.epochs}"
    return iter(tqdm(left, title, experiment.steps_per_epoch, initial=done, leave=False, disable=None, unit="batch"))


def _telling_step(step: fn.training.Step, params: Params, state: State, batch: fn.Batch) -> tuple[Params, State]:
    params, state = step(params, state, batch)
    told = fn.hyperparameters(state.optimizer)
    return params, State(state.step, state.key, state.optimizer, {**state.metrics, **told})


def _row(experiment: Experiment, progress: Progress, seconds: float) -> Row:
    training = weighted_mean((step.samples, {"loss": step.loss, "accuracy": step.accuracy}) for step in progress.steps)
    validation = _evaluated(experiment, progress, experiment.validation)
    test = _evaluated(experiment, progress, experiment.test)
    return Row(
        epoch=len(progress.history) + 1,
        training_loss=training["loss"],
        training_accuracy=training["accuracy"],
        validation_loss=validation.get("loss"),
        validation_accuracy=validation.get("accuracy"),
        test_loss=test["loss"],
        test_accuracy=test["accuracy"],
        learning_rate=progress.steps[-1].learning_rate,
        gradient_norm=sum(step.gradient_norm for step in progress.steps) / len(progress.steps),
        seconds=seconds,
    )


def _evaluated(experiment: Experiment, progress: Progress, samples: fn.Batch | None) -> Mapping[str, float]:
    """Loss and accuracy; nothing where there are no samples."""
    if samples is None:
        return {}
    return _quietly(fn.evaluate, experiment.model, experiment.loss, progress.params, samples)
