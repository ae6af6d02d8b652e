"""funcnn compiled by JAX."""

from functools import partial
from typing import Any

import jax

import funcnn as fn
import funcnn.jax
from experiments.benchmark.peers import xla
from experiments.benchmark.peers.funcnn_numpy import beginning, initial_params, model_of
from experiments.benchmark.workloads import Ready, Task
from funcnn.jax.programs import scan_rows

place = xla.place


def training(task: Task, mode: str) -> Ready:
    """One dispatch for each step or each epoch; the params are those of NumPy, copied to the device."""
    step, params, state = beginning(task.workload)
    carry = funcnn.jax.to_jax((params, state))
    del params, state
    compiled: Any = funcnn.jax.compiled(step) if mode == "step" else funcnn.jax.scanned(step)
    plain: Any = step if mode == "step" else partial(scan_rows, step)

    def run(carry: Any, inputs: Any, targets: Any, *rows: Any) -> Any:
        params, state, *metrics = compiled(*carry, fn.Batch(inputs, targets), *rows)
        return (params, state), (metrics or [state.metrics])[0]["loss"]

    @partial(jax.jit, donate_argnums=0)
    def jitted(carry: Any, inputs: Any, targets: Any, *rows: Any) -> Any:  # as compiled, without shardings
        return plain(*carry, fn.Batch(inputs, targets), *rows)

    return xla.training(task, mode, run, jitted, carry)


def inference(task: Task) -> Ready:
    """Piece by piece, as one program."""
    model, params = model_of(task.workload), funcnn.jax.to_jax(initial_params(task.workload))
    return xla.inference(task, lambda params, x: fn.predict(model, params, x[None])[0], params)
