"""funcnn on NumPy."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

import funcnn as fn
from experiments.benchmark.task import Ready, Task, as_it_is
from experiments.benchmark.workloads import CLASSES, PIXELS, Workload
from funcnn.layer import Params
from funcnn.training import Step

OPTIMIZERS: Mapping[str, fn.Optimizer] = MappingProxyType({"sgd": fn.sgd(0.1), "adam": fn.adam(1e-3)})

LENET = fn.serial(
    fn.reshape(28, 28, 1),
    fn.conv2d(6, 5),
    fn.relu(),
    fn.max_pool2d(2),
    fn.conv2d(16, 5, padding="valid"),
    fn.relu(),
    fn.max_pool2d(2),
    fn.flatten(),
    fn.dense(120),
    fn.relu(),
    fn.dense(84),
    fn.relu(),
    fn.dense(CLASSES),
)
"""After LeCun et al. 1998."""


def model_of(workload: Workload) -> fn.Layer:
    """The network of a workload."""
    if workload.kind == "lenet":
        return LENET
    hidden = (layer for width in workload.hidden for layer in (fn.dense(width), fn.relu()))
    return fn.serial(*hidden, fn.dense(CLASSES))


def initial_params(workload: Workload) -> Params:
    """The params that every peer begins with."""
    return model_of(workload).init(fn.Key(0), (PIXELS,))[0]


def beginning(workload: Workload) -> tuple[Step, Params, fn.State]:
    """The training step, and what it begins with."""
    params = initial_params(workload)
    step = fn.train_step(model_of(workload), fn.softmax_cross_entropy(), OPTIMIZERS[workload.optimizer])
    return step, params, step.init(params, fn.Key(0))


place = as_it_is


def training(task: Task, mode: str) -> Ready:
    """The fold of the step over batches."""
    del mode  # there is one way
    fn.keep_freed_memory()
    step, params, state = beginning(task.workload)

    def run(order: Any) -> list[Any]:
        nonlocal params, state
        losses = []
        for rows in task.batches(order):
            batch = fn.Batch(task.inputs.take(rows, axis=0), task.targets.take(rows))
            params, state = step(params, state, batch)
            losses.append(state.metrics["loss"])
        return losses

    return Ready(run)


def inference(task: Task) -> Ready:
    """Piece by piece."""
    fn.keep_freed_memory()
    model, params = model_of(task.workload), initial_params(task.workload)

    def run(order: Any) -> Any:
        del order  # nothing is drawn
        return np.concatenate([fn.predict(model, params, piece) for piece in task.pieces()])

    return Ready(run)
