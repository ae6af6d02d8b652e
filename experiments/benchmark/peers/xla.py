"""The common parts of the peers on JAX: the place of samples, the loops, and the size of a compiled program."""

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

    With mode "step" its arguments are the inputs and targets of a batch, which come from the host; otherwise all inputs
    and targets, which stay on the device, and the rows of each batch (steps, batch). ``jitted`` is the same program.
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
        results = []
        for arguments in dispatches(order):
            carry, losses = run(carry, *arguments)
            results.append(losses)
        return jax.device_get(results)

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
    """The bytes of arguments, results and temporaries, each counted once, without those of ``resident``."""
    found = jitted.lower(*arguments).compile().memory_analysis()
    used = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    return int(used - found.alias_size_in_bytes - sum(array.nbytes for array in jax.tree.leaves(resident)))
