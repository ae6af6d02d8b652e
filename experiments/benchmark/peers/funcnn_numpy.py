"""funcnn on NumPy."""

from typing import Any

import numpy as np

import funcnn as fn
from experiments.benchmark.workloads import CLASSES, PIXELS, Ready, Task, Workload
from funcnn.layer import Params
from funcnn.training import Step

CONVOLUTIONS = (
    *(fn.reshape(28, 28, 1), fn.conv2d(6, 5), fn.relu(), fn.max_pool2d(2)),
    *(fn.conv2d(16, 5, padding="valid"), fn.relu(), fn.max_pool2d(2), fn.flatten()),
)
"""After LeCun et al. 1998."""


def model_of(workload: Workload) -> fn.Layer:
    """The network of a workload."""
    hidden = (layer for width in workload.hidden for layer in (fn.dense(width), fn.relu()))
    return fn.serial(*(CONVOLUTIONS if workload.kind == "lenet" else ()), *hidden, fn.dense(CLASSES))


def initial_params(workload: Workload) -> Params:
    """The params that every peer begins with."""
    return model_of(workload).init(fn.Key(0), (PIXELS,))[0]


def beginning(workload: Workload) -> tuple[Step, Params, fn.State]:
    """The training step, and what it begins with."""
    params = initial_params(workload)
    optimizer = {"sgd": fn.sgd(0.1), "adam": fn.adam(1e-3)}[workload.optimizer]
    step = fn.train_step(model_of(workload), fn.softmax_cross_entropy(), optimizer)
    return step, params, step.init(params, fn.Key(0))


def training(task: Task) -> Ready:
    """The fold of the step over batches."""
    fn.keep_freed_memory()
    step, params, state = beginning(task.workload)

    def loss_of(rows: Any) -> Any:
        nonlocal params, state
        params, state = step(params, state, fn.Batch(task.inputs.take(rows, axis=0), task.targets.take(rows)))
        return state.metrics["loss"]

    return Ready(lambda order: [loss_of(rows) for rows in task.batches(order)])


def inference(task: Task) -> Ready:
    """Piece by piece."""
    fn.keep_freed_memory()
    model, params = model_of(task.workload), initial_params(task.workload)

    return Ready(lambda _: np.concatenate([fn.predict(model, params, piece) for piece in task.pieces()]))
