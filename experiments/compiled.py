"""The compiled engine: an epoch is one program of JAX, on one device, on several, or on those of several processes."""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from itertools import count, starmap
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from experiments.devices import Devices
from experiments.run import Engine, Experiment, Progress, Step, step_of
from funcnn import tree
from funcnn.errors import require
from funcnn.jax import check_shared, epoch, first_devices, replicated, to_numpy
from funcnn.layer import Params
from funcnn.training import State

SILENCE = 10
"""Seconds without a sign of life after which a process counts as dead."""

WAIT = 300
"""Seconds for all processes to come, data loaded."""

_DISTRIBUTED = {
    "jax_cpu_collectives_implementation": "gloo",
    "jax_enable_recoverability": True,  # the loss of a process is an error in Python, not the end of all of them
}


def join(devices: Devices) -> Mesh:
    """The devices to run on, those of all processes where there are several; process 0 says that it waits for them.

    JAX asks for no password: whoever reaches the coordinator's port can take part. One whose host is the loopback
    listens there alone.

    Raises:
        InputError: There are fewer devices than asked for.
        OSError: The processes do not find each other.
    """
    if devices.coordinator is None:
        return first_devices(devices.devices or 1)
    for name, value in _DISTRIBUTED.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
    if devices.leads:
        others = f"{devices.processes} processes at {devices.coordinator}"
        print(f"waiting for {others}, at most {WAIT // 60} minutes", file=sys.stderr, flush=True)
    with _together():
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
    sha = hashlib.sha256()
    for leaf in tree.leaves(values):
        sha.update(np.ascontiguousarray(leaf).data)
    mine = np.frombuffer(sha.digest(), np.uint8)
    with _together():
        fits = bool((multihost_utils.broadcast_one_to_all(mine) == mine).all())
        every = bool(multihost_utils.process_allgather(np.array(fits)).all())
    require(every, what, "the same in every process", "others", "start all with the same options but for --process")


def check_batches(mesh: Mesh, experiment: Experiment) -> None:
    """Raise unless the devices share every batch evenly, the last one too.

    Raises:
        InputError: They do not.
    """
    for size in sorted(set(_sizes(experiment))):
        check_shared("--devices", mesh, size)


def engine(mesh: Mesh) -> Engine:
    """The engine whose epoch is one program on the devices of ``mesh``."""
    return Engine(partial(_epochs, mesh), {"jax": _environment(mesh)})


def _epochs(mesh: Mesh, experiment: Experiment, start: Progress) -> Iterator[tuple[Params, State, tuple[Step, ...]]]:
    first, within = divmod(start.state.step, experiment.steps_per_epoch)
    hint = "it is of another engine or batch size"
    require(within == 0, "--engine jax", "a checkpoint at the end of an epoch", f"one {within} steps into it", hint)
    if jax.process_count() > 1:
        check_same("the checkpoint", (start.params, start.state.optimizer, start.state.step))
        check_same("the data", experiment.train)
    run, sizes = epoch(experiment.training_step(), experiment.batch_size, mesh), _sizes(experiment)
    with _together():
        train = replicated(experiment.train, mesh)
    params, state = start.params, start.state
    for number in count(first):
        with _together():
            params, state, told = run(params, state, train, experiment.order_key(number))
            columns = {name: np.asarray(column).tolist() for name, column in told.items()}
        steps = _steps(number * len(sizes), sizes, columns)
        optimizer = to_numpy(state.optimizer, like=start.state.optimizer)
        yield to_numpy(params), State(int(state.step), start.state.key, optimizer, to_numpy(state.metrics)), steps


@contextmanager
def _together() -> Iterator[None]:
    """What devices do, whose memory may be full, and several processes at once, one of which may be gone.

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
        if not jax.distributed.is_initialized():  # there is one process
            raise OSError(f"JAX fails: {reason}") from error
        raise ConnectionError(f"the processes of the run lost each other: {reason}") from error


def _is_loopback(address: str) -> bool:
    """Whether HOST:PORT is reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _steps(done: int, sizes: Sequence[int], told: Mapping[str, Sequence[float]]) -> tuple[Step, ...]:
    """The records of an epoch's steps, out of the columns of its metrics."""
    rows = (dict(zip(told, values, strict=True)) for values in zip(*told.values(), strict=True))
    return tuple(starmap(step_of, zip(count(done + 1), sizes, rows, strict=False)))


def _sizes(experiment: Experiment) -> list[int]:
    """The number of samples in each batch of an epoch."""
    samples, batch_size = len(experiment.train.inputs), experiment.batch_size
    return [min(batch_size, samples - done) for done in range(0, samples, batch_size)]


def _environment(mesh: Mesh) -> dict[str, Any]:
    """The devices, and who compiles for them."""
    kinds = sorted({device.device_kind for device in mesh.devices.flat})
    libraries = {name: version(name) for name in ("jax", "jaxlib")}
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        "libraries": libraries,
        "devices": mesh.size,
        "kinds": kinds,
        "processes": jax.process_count(),
        "flags": flags,
    }
