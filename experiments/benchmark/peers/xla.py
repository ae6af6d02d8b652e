"""What the peers on JAX have in common: where samples are, how they predict, and what a compiled program takes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmark.task import PIECE, Ready, Task


def place(array: Any) -> Any:
    """On the device, once it is there."""
    return jax.device_put(array).block_until_ready()


def program_bytes(jitted: Any, *arguments: Any, resident: Any = ()) -> int:
    """The bytes of arguments, results and what is between, each counted once, without those of ``resident``."""
    told = jitted.lower(*arguments).compile().memory_analysis()
    used = told.argument_size_in_bytes + told.output_size_in_bytes + told.temp_size_in_bytes
    return int(used - told.alias_size_in_bytes - sum(array.nbytes for array in jax.tree.leaves(resident)))


def inference(task: Task, outputs: Callable[[Any, Any], Any], params: Any) -> Ready:
    """``outputs(params, x)`` of one sample, mapped over all in pieces."""

    @jax.jit
    def mapped(params: Any, inputs: Any) -> Any:
        return jax.lax.map(partial(outputs, params), inputs, batch_size=PIECE)

    def run(order: Any) -> Any:
        del order  # nothing is drawn
        return np.asarray(mapped(params, task.inputs))

    return Ready(run, lambda: program_bytes(mapped, params, task.inputs, resident=task.inputs))
