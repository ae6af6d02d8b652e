"""An experiment, compiled: :func:`compiled` maps an experiment to one whose step is a program of JAX.

It runs on one device, on several, or on those of several processes on one host or many.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any

import attrs
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from funcnn import tree
from funcnn.arrays import Array
from funcnn.errors import require
from funcnn.jax import check_shared, compiled as compiled_step, first_devices, replicated, scanned, sharded, to_numpy
from funcnn.layer import Params
from funcnn.runs.experiment import Experiment, Table
from funcnn.runs.options import Devices
from funcnn.tree import frozendict

SILENCE = 10
"""Seconds without a sign of life after which a process counts as dead."""

WAIT = 300
"""Seconds in which all processes must arrive with their data."""


def compiled(experiment: Experiment, mesh: Mesh) -> Experiment:
    """The same experiment on the devices of ``mesh``; each has its part of every batch.

    With a :class:`funcnn.runs.Table` an epoch is one program, and a smaller last batch another; otherwise a step is.
    Params and state come back as NumPy arrays, so the rest of a run is the same.

    Raises:
        InputError: The devices do not share every batch evenly, or the processes have different data. Later, in a step:
            it works on NumPy only.
    """
    if not isinstance(table := experiment.batches, Table):
        check_same("the data", dict(experiment.data))
        take = compiled_step(experiment.step) if mesh.size == 1 else sharded(experiment.step, mesh)

        def step(params: Params, state: Any, batch: Any) -> tuple[Params, Any]:
            with together():
                after: tuple[Params, Any] = to_numpy(take(params, state, batch), like=(params, state))
            return after

        return attrs.evolve(experiment, step=step)

    for rows in table.rows(0):
        check_shared("--devices", mesh, rows.shape[1])
    check_same("the data", table.samples)
    scan = scanned(experiment.step, mesh)
    with together():
        samples = replicated(table.samples, mesh)

    def steps(params: Params, state: Any, rows: Array) -> tuple[Params, Any]:
        with together():
            *after, metrics = scan(params, state, samples, rows.astype(np.int32))
            columns = frozendict({name: np.asarray(column) for name, column in metrics.items()})
            new_params, new_state = to_numpy(tuple(after), like=(params, state))
        return new_params, attrs.evolve(new_state, metrics=columns)

    return attrs.evolve(experiment, step=steps, batches=table.rows, sizes=lambda rows: [rows.shape[1]] * len(rows))


def join(devices: Devices) -> Mesh:
    """The devices to run on; of several processes, those of all. Process 0 prints that it waits for the others.

    JAX asks for no password: whoever reaches the coordinator's port can take part. A loopback address is reached from
    this machine only.

    Raises:
        InputError: There are fewer devices than asked for.
        OSError: The processes do not find each other.
    """
    if devices.coordinator is None:
        return first_devices(devices.devices or 1)
    update: Callable[[str, Any], None] = jax.config.update
    update("jax_cpu_collectives_implementation", "gloo")
    update("jax_enable_preemption_service", False)  # it would handle TERM, which must end the run in order
    update("jax_enable_recoverability", True)  # a lost process raises in Python instead of aborting the others
    if devices.leads:
        others = f"{devices.processes} processes at {devices.coordinator}"
        print(f"waiting for {others}, at most {WAIT // 60} minutes", file=sys.stderr, flush=True)
    with together():
        jax.distributed.initialize(
            devices.coordinator,
            devices.processes,
            devices.process,
            initialization_timeout=WAIT,
            heartbeat_timeout_seconds=SILENCE,
            shutdown_timeout_seconds=SILENCE,
            coordinator_bind_address=devices.coordinator if _is_loopback(devices.coordinator) else None,
        )
        mesh = first_devices()
    fits = mesh.size == devices.processes * jax.local_device_count()
    require(fits, "--processes", "the same number of devices in every process", f"{mesh.size} devices in all")
    return mesh


def check_same(what: str, values: Any) -> None:
    """Raise in every process unless all processes have the same tree of arrays, numbers and strings.

    Raises:
        InputError: They differ.
    """
    if jax.process_count() == 1:
        return
    sha = hashlib.sha256()
    for leaf in tree.leaves(values):
        sha.update(np.ascontiguousarray(leaf).data if hasattr(leaf, "dtype") else repr(leaf).encode())
    mine = np.frombuffer(sha.digest(), np.uint8)
    with together():
        fits = bool((multihost_utils.broadcast_one_to_all(mine) == mine).all())
        every = bool(multihost_utils.process_allgather(np.array(fits)).all())
    require(every, what, "the same in every process", "others", "start all with the same options but for --process")


def environment(mesh: Mesh) -> dict[str, Any]:
    """The devices, and what compiles for them."""
    return {
        "libraries": {name: version(name) for name in ("jax", "jaxlib")},
        "devices": mesh.size,
        "kinds": sorted({device.device_kind for device in mesh.devices.flat}),
        "processes": jax.process_count(),
        "flags": os.environ.get("XLA_FLAGS", ""),
    }


@contextmanager
def together() -> Iterator[None]:
    """Around work of devices or several processes: errors of JAX become errors that a run handles.

    Raises:
        MemoryError: A device has too little memory.
        OSError: JAX fails in another way.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("RESOURCE_EXHAUSTED"):
            raise MemoryError(f"a device has too little memory: {reason}") from error
        if not jax.distributed.is_initialized():  # one process
            raise OSError(f"JAX fails: {reason}") from error
        raise ConnectionError(f"the processes of the run lost each other: {reason}") from error


def _is_loopback(address: str) -> bool:
    """Whether HOST:PORT is reached from this machine only.

    >>> [*map(_is_loopback, ("127.0.0.1:1", "localhost:1", "[::1]:1", "10.0.0.1:1", "host:1"))]
    [True, True, True, False, False]
    """
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
