"""funcnn compiled by JAX."""

from functools import partial
from typing import Any

import jax
import numpy as np

import funcnn as fn
import funcnn.jax
from experiments.benchmark.peers import xla
from experiments.benchmark.peers.funcnn_numpy import beginning, initial_params, model_of
from experiments.benchmark.task import Ready, Task
from funcnn.layer import Params
from funcnn.training import Step

place = xla.place


def training(task: Task, mode: str) -> Ready:
    """With one dispatch a step, whose batches come from the host, or one dispatch an epoch."""
    return by_step(task) if mode == "step" else by_epoch(task)


def by_step(task: Task) -> Ready:
    """The loop of NumPy with the compiled step."""
    step, params, state = _beginning(task)
    compiled = funcnn.jax.compiled(step)
    inputs, targets = np.asarray(task.inputs), np.asarray(task.targets)  # views

    def batch_of(rows: Any) -> fn.Batch:
        return fn.Batch(inputs.take(rows, axis=0), targets.take(rows))

    def run(order: Any) -> Any:
        nonlocal params, state
        losses = []
        for rows in task.batches(order):
            params, state = compiled(params, state, batch_of(rows))
            losses.append(state.metrics["loss"])
        return jax.device_get(losses)

    def program() -> int:
        batch = batch_of(np.arange(task.workload.batch))
        return xla.program_bytes(jax.jit(step, donate_argnums=(0, 1)), params, state, batch)

    return Ready(run, program)


def by_epoch(task: Task) -> Ready:
    """A scan over samples that stay on the device."""
    step, params, state = _beginning(task)
    samples = fn.Batch(task.inputs, task.targets)
    scanned = funcnn.jax.scanned(step)

    def run(order: Any) -> Any:
        nonlocal params, state
        losses = []
        for rows in task.stacked(order):
            params, state, metrics = scanned(params, state, samples, rows)
            losses.append(metrics["loss"])
        return np.concatenate(jax.device_get(losses))

    def program() -> int:
        rows = task.stacked(np.arange(task.workload.samples))[0]
        compiled = jax.jit(partial(funcnn.jax._scan, step), donate_argnums=(0, 1))  # as scanned, without shardings
        return xla.program_bytes(compiled, params, state, samples, rows, resident=samples)

    return Ready(run, program)


def _beginning(task: Task) -> tuple[Step, Params, fn.State]:
    """As on NumPy, but on the device; what was copied there is let go."""
    step, params, state = beginning(task.workload)
    return step, *funcnn.jax.to_jax((params, state))


def inference(task: Task) -> Ready:
    """Piece by piece, as one program."""
    model, params = model_of(task.workload), funcnn.jax.to_jax(initial_params(task.workload))

    def outputs(params: Any, x: Any) -> Any:
        return fn.predict(model, params, x[None])[0]

    return xla.inference(task, outputs, params)
