"""Steps, optimizer, layer and printing as in *Neural Networks from Scratch* (Kinsley and Kukieła 2020)."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

import funcnn as fn
from experiments.plane import regions
from funcnn.initializers import normal
from funcnn.runs import Experiment, Progress, Table, supervised


def on_the_whole_set(
    model: fn.Layer, loss: fn.Loss, accuracy: Any, train: fn.Batch, config: Any, key: fn.Key, **how: Any
) -> Experiment:
    """``supervised`` with the book's Adam, with rate and decay of ``config``, and all of ``train`` in each step."""
    optimizer, samples = fn.nnfs.adam(config.learning_rate, config.decay), len(train.inputs)
    known = {"key": key, "batch_size": samples, "epochs": config.epochs, "metrics": {"accuracy": accuracy}}
    learned = supervised(model, loss, optimizer, train, **known, **how)
    rows = np.tile(np.arange(samples), (137, 1))  # 73 epochs of so many steps are the 10,001 of the book
    return attrs.evolve(learned, batches=Table(train, lambda epoch: [rows]))


def told_apart(
    model: fn.Layer, loss: fn.Loss, accuracy: Any, train: fn.Batch, test: fn.Batch, config: Any, key: fn.Key
) -> Experiment:
    """The arms of a spiral, told apart with a penalty on the first layer; the report shows their regions."""
    penalty, evaluate = fn.l2(config.l2, mask="0.*"), {"fitted": train, "test": test}
    shown = {"formats": {"accuracy": ".3f"}, "sections": lambda params: [regions(model, params, test)]}
    return on_the_whole_set(model, loss, accuracy, train, config, key, penalty=penalty, evaluate=evaluate, **shown)


def dense(features: int, deviation: float = 0.01) -> fn.Layer:
    """A dense layer with normal weights."""
    return fn.dense(features, weights=normal(deviation))


def nnfs(progress: Progress, first: bool) -> str:
    """An epoch as text: each hundredth step, the means of the epoch, and the validation."""
    del first  # every epoch looks alike

    def numbers(row: Mapping[str, float], group: str = "") -> str:
        return f"acc: {row[f'{group}accuracy']:.3f}, loss: {row[f'{group}loss']:.3f}"

    row, steps = progress.history[-1], progress.steps_after(0)
    watched = "validation/" if "validation/loss" in row else "test/"  # the book validates on the test samples
    lines = [f"epoch: {row['epoch']}"]
    for i in (*range(0, len(steps) - 1, 100), len(steps) - 1):
        lines.append(f"step: {i}, {numbers(steps[i])}, lr: {steps[i]['learning_rate']}")
    lines.append(f"training, {numbers(row, 'train/')}, lr: {row['learning_rate']}")
    return "\n".join([*lines, f"validation, {numbers(row, watched)}"])
