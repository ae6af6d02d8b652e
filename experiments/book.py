"""What is done as in *Neural Networks from Scratch* (Kinsley and Kukieła 2020): steps, optimizer, layer, printing."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

import funcnn as fn
from funcnn.initializers import normal
from funcnn.runs import Experiment, Progress, Table, supervised

STEPS = 137
"""Steps an epoch: 73 such epochs are the 10,001 steps of the book."""


def on_the_whole_set(model: fn.Layer, loss: fn.Loss, train: fn.Batch, config: Any, **how: Any) -> Experiment:
    """``supervised`` with the book's Adam, with rate and decay of ``config``, and all of ``train`` a step."""
    samples = len(train.inputs)
    optimizer = fn.nnfs.adam(config.learning_rate, config.decay)
    learned = supervised(model, loss, optimizer, train, batch_size=samples, epochs=config.epochs, **how)
    rows = np.tile(np.arange(samples), (STEPS, 1))
    return attrs.evolve(learned, batches=Table(train, lambda epoch: [rows]))


def dense(features: int) -> fn.Layer:
    """A dense layer with small weights."""
    return fn.dense(features, weights=normal(0.01))


def nnfs(progress: Progress, first: bool) -> str:
    """An epoch as text: every hundredth step, the means of the epoch, and the validation."""
    del first  # every epoch looks alike

    def numbers(row: Mapping[str, float], group: str = "") -> str:
        return f"acc: {row[f'{group}accuracy']:.3f}, loss: {row[f'{group}loss']:.3f}"

    row, steps = progress.history[-1], progress.steps_after(0)
    shown = [*range(0, len(steps) - 1, 100), len(steps) - 1]
    watched = "validation/" if "validation/loss" in row else "test/"  # the book validates on the test samples
    return "\n".join(
        [
            f"epoch: {row['epoch']}",
            *(f"step: {i}, {numbers(steps[i])}, lr: {steps[i]['learning_rate']}" for i in shown),
            f"training, {numbers(row, 'train/')}, lr: {row['learning_rate']}",
            f"validation, {numbers(row, watched)}",
        ]
    )
