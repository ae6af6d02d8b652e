"""One training run: epochs of steps, a record of each, and an end that always leaves the last good params."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import attrs
import numpy as np
from tqdm import tqdm

from funcnn import Batch, Key, Layer, Loss, Optimizer, State, evaluate, hyperparameters, initial_state, train_step
from funcnn.data import Dataset, batches
from funcnn.layer import Params
from funcnn.metrics import weighted_mean
from funcnn.training import total_weight

T = TypeVar("T")


@attrs.frozen(eq=False)
class Experiment:
    """All that a run depends on: the same experiment gives the same params and history."""

    model: Layer
    loss: Loss
    optimizer: Optimizer
    data: Dataset
    batch_size: int
    epochs: int
    key: Key


@attrs.frozen
class Row:
    """One epoch of the history.

    Attributes:
        epoch: From 1.
        training_loss: The mean over the epoch's samples, each seen before the update of its batch.
        training_accuracy: The same mean of the accuracy.
        test_loss: After the epoch.
        test_accuracy: After the epoch.
        learning_rate: Of the epoch's last update.
        seconds: For training, without the evaluation.
    """

    epoch: int
    training_loss: float
    training_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    seconds: float


@attrs.frozen(eq=False)
class Outcome:
    """How a run ended: the last good params, the history, and what stopped it early, if anything did."""

    params: Params
    history: Sequence[Row]
    interrupted: bool = False
    failure: str | None = None


def run(experiment: Experiment, on_epoch: Callable[[Sequence[Row]], None]) -> Outcome:
    """Train from fresh params; ``on_epoch`` is called with the history so far after every epoch.

    Ctrl-C and a loss that is not finite end the run early. What comes back are the latest params that are known to
    give a finite loss.
    """
    step = train_step(experiment.model, experiment.loss, experiment.optimizer)
    params, _ = experiment.model.init(experiment.key.at("init"), experiment.data.train.inputs.shape[1:])
    state = initial_state(experiment.optimizer, params, experiment.key.at("train"))
    good = params
    history: tuple[Row, ...] = ()
    try:
        for epoch in range(experiment.epochs):
            start, parts = time.perf_counter(), []
            for batch in _watched_batches(experiment, epoch):
                before = params
                params, state = _quietly(step, params, state, batch)
                if not math.isfinite(state.metrics["loss"]):
                    return Outcome(good, history, failure=f"the loss is {state.metrics['loss']} at step {state.step}")
                good = before
                parts.append((total_weight(batch), state.metrics))
            row = _row(experiment, params, state, epoch, weighted_mean(parts), time.perf_counter() - start)
            if not math.isfinite(row.test_loss):
                return Outcome(good, history, failure=f"the test loss is {row.test_loss} after step {state.step}")
            good, history = params, (*history, row)
            on_epoch(history)
    except KeyboardInterrupt:
        return Outcome(good, history, interrupted=True)
    return Outcome(good, history)


def _quietly(function: Callable[..., T], *args: Any) -> T:
    """Call ``function`` without NumPy's warnings of overflow and NaN: the loss tells."""
    with np.errstate(all="ignore"):
        return function(*args)


def _watched_batches(experiment: Experiment, epoch: int) -> Iterator[Batch]:
    """The epoch's batches behind a progress bar, which shows where there is a terminal."""
    train, size = experiment.data.train, experiment.batch_size
    shuffled = batches(experiment.key.at("epoch", epoch), train, size)
    total = math.ceil(len(train.inputs) / size)
    title = f"epoch {epoch + 1}/{experiment.epochs}"
    yield from tqdm(shuffled, title, total, leave=False, disable=None, unit="batch")


def _row(
    experiment: Experiment, params: Params, state: State, epoch: int, training: Mapping[str, float], seconds: float
) -> Row:
    test = _quietly(evaluate, experiment.model, experiment.loss, params, experiment.data.test)
    return Row(
        epoch=epoch + 1,
        training_loss=training["loss"],
        training_accuracy=training["accuracy"],
        test_loss=test["loss"],
        test_accuracy=test["accuracy"],
        learning_rate=hyperparameters(state.optimizer)["learning_rate"],
        seconds=seconds,
    )
