"""An experiment, compiled: a function from experiment to experiment, whose step is a program of JAX."""

from typing import Any

import attrs
import numpy as np
from jax.sharding import Mesh

from funcnn.arrays import Array
from funcnn.jax import check_shared, compiled as compiled_step, replicated, scanned, sharded, to_numpy
from funcnn.layer import Params
from funcnn.runs.experiment import Experiment, Table
from funcnn.runs.hosts import check_same, together
from funcnn.tree import frozendict


def compiled(experiment: Experiment, mesh: Mesh) -> Experiment:
    """The same experiment on the devices of ``mesh``, each of which has its part of every batch.

    With a :class:`funcnn.runs.Table` an epoch is one program, and one for a smaller last batch; without, a step is.
    Params and state come back as NumPy's, so all else of a run is the same.

    Raises:
        InputError: The devices do not share every batch evenly, or the processes have not the same data. At a call: the
            step is written for NumPy alone.
    """
    batches = experiment.batches
    return _tabular(experiment, batches, mesh) if isinstance(batches, Table) else _stepwise(experiment, mesh)


def _stepwise(experiment: Experiment, mesh: Mesh) -> Experiment:
    check_same("the data", dict(experiment.data))
    run = compiled_step(experiment.step) if mesh.size == 1 else sharded(experiment.step, mesh)

    def step(params: Params, state: Any, batch: Any) -> tuple[Params, Any]:
        with together():
            after: tuple[Params, Any] = to_numpy(run(params, state, batch), like=(params, state))
        return after

    return attrs.evolve(experiment, step=step)


def _tabular(experiment: Experiment, table: Table, mesh: Mesh) -> Experiment:
    for rows in table.rows(0):
        check_shared("--devices", mesh, rows.shape[1])
    check_same("the data", table.samples)
    run = scanned(experiment.step, mesh)
    with together():
        samples = replicated(table.samples, mesh)

    def step(params: Params, state: Any, rows: Array) -> tuple[Params, Any]:
        with together():
            *after, metrics = run(params, state, samples, rows.astype(np.int32))
            columns = frozendict({name: np.asarray(column) for name, column in metrics.items()})
            new_params, new_state = to_numpy(tuple(after), like=(params, state))
        return new_params, attrs.evolve(new_state, metrics=columns)

    return attrs.evolve(experiment, step=step, batches=table.rows, sizes=lambda rows: [rows.shape[1]] * len(rows))
