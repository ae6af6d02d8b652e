"""What the peers on JAX have in common: where samples are, the loops, and what a compiled program takes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmark.workloads import PIECE, Ready, Task


def place(array: Any) -> Any:
    """On the device, once it is there."""
    return jax.device_put(array).block_until_ready()


def training(task: Task, mode: str, run: Callable[..., Any], jitted: Any, carry: Any) -> Ready:
    """``run(carry, ...) -> (carry, losses)``, dispatched for each step or for each epoch.

    With mode "step" it is given the inputs and targets of a batch, which come from the host; or else all inputs and
    targets, which stay on the device, and the rows of each batch (steps, batch). ``jitted`` is the same program.
    """
    inputs, targets = np.asarray(task.inputs), np.asarray(task.targets)  # views

    def dispatches(order: Any) -> Iterator[Any]:
        if mode == "step":
            return ((inputs.take(rows, axis=0), targets.take(rows)) for rows in task.batches(order))
        whole = len(order) // task.workload.batch * task.workload.batch
        tables = (order[:whole].reshape(-1, task.workload.batch), order[None, whole:])
        return ((task.inputs, task.targets, rows.astype(np.int32)) for rows in tables if rows.size)

    def epoch(order: Any) -> Any:
        nonlocal carry
        told = []
        for arguments in dispatches(order):
            carry, losses = run(carry, *arguments)
            told.append(losses)
        return jax.device_get(told)

    def program() -> int:
        resident = () if mode == "step" else (task.inputs, task.targets)
        return program_bytes(jitted, carry, *next(dispatches(np.arange(len(inputs)))), resident=resident)

    return Ready(epoch, program)


def inference(task: Task, outputs: Callable[[Any, Any], Any], params: Any) -> Ready:
    """``outputs(params, x)`` of one sample, mapped over all in pieces."""

    @jax.jit
    def mapped(params: Any, inputs: Any) -> Any:
        return jax.lax.map(partial(outputs, params), inputs, batch_size=PIECE)

    program = partial(program_bytes, mapped, params, task.inputs, resident=task.inputs)
    return Ready(lambda _: np.asarray(mapped(params, task.inputs)), program)


def program_bytes(jitted: Any, *arguments: Any, resident: Any = ()) -> int:
    """The bytes of arguments, results and what is between, each counted once, without those of ``resident``."""
    told = jitted.lower(*arguments).compile().memory_analysis()
    used = told.argument_size_in_bytes + told.output_size_in_bytes + told.temp_size_in_bytes
    return int(used - told.alias_size_in_bytes - sum(array.nbytes for array in jax.tree.leaves(resident)))
