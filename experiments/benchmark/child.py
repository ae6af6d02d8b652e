"""Measures one peer on one workload: ``python -m experiments.benchmark.child FOLDER/WORKLOAD PEER SAMPLES``.

The process imports only what its peer needs. It prints one line of JSON.
"""

import gc
import importlib
import json
import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.peers import PEERS
from experiments.benchmark.workloads import Task, workload_of

PARAMS, INPUTS, TARGETS, ORDERS = "params.npz", "inputs.npy", "targets.npy", "orders.npy"

BEGINNING = 5
"""The number of steps whose losses are recorded one by one."""


def measure(folder: Path, name: str, samples: int) -> dict[str, Any]:
    """Run an epoch for each row of the orders, and time all but the first, which includes all that happens once.

    The memory of training is the peak while the epochs are timed, minus the memory of imports and samples.
    """
    peer, workload = PEERS[name], workload_of(folder.name, samples)
    module: Any = importlib.import_module(f"experiments.benchmark.peers.{peer.module}")
    inputs, targets = (first_rows(folder.parent / file, workload.samples) for file in (INPUTS, TARGETS))
    place = getattr(module, "place", lambda array: array)
    task = Task(workload, place(inputs), place(targets), folder / PARAMS)
    first, *orders = np.load(folder / ORDERS)
    modes = [peer.mode] if peer.mode else []
    del inputs  # the peer has them, or a copy
    gc.collect()  # frees what the copying still holds
    before = memory("VmRSS")
    ready = module.inference(task) if workload.kind == "inference" else module.training(task, *modes)
    losses, beginning = losses_of(task, ready.run(first), targets)
    peak_at_first = memory("VmHWM")
    with suppress(OSError):  # resets the peak; otherwise it includes the time before
        Path("/proc/self/clear_refs").write_text("5")
    seconds = []
    for order in orders:
        start = time.perf_counter()
        value = ready.run(order)
        seconds.append(time.perf_counter() - start)
        losses += losses_of(task, value, targets)[0]
        del value  # outputs are large
    peak = memory("VmHWM")
    return {
        "seconds": seconds,
        "losses": losses,
        "beginning": beginning,
        "peak": max(peak_at_first, peak) if peak_at_first and peak else None,
        "added": peak - before if peak and before else None,
        "program": ready.program() if ready.program else None,
        "params": sum(array.nbytes for array in task.params()),
    }


def first_rows(path: Path, count: int) -> Any:
    """The first rows of a file; the others are not read.

    They begin at a multiple of 64 bytes, so that JAX need not copy them; nobody writes to them later.
    """
    stored = np.load(path, mmap_mode="r")  # for its header
    shape = (count, *stored.shape[1:])
    size = math.prod(shape) * stored.itemsize
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    with path.open("rb") as file:
        file.seek(stored.offset)
        if file.readinto(buffer[start : start + size].data) != size:
            raise EOFError(f"{path} has fewer than {count} rows")
    return buffer[start : start + size].view(stored.dtype).reshape(shape)


def losses_of(task: Task, value: Any, targets: Any) -> tuple[list[float], list[float]]:
    """The mean of an epoch's losses, if there are any, and those of its first steps; for inference, the error rate.

    Raises:
        ValueError: Some batches have no loss.
    """
    if value is None:
        return [], []
    if task.workload.kind == "inference":
        return [float(np.mean(value.argmax(axis=1) != targets))], []
    losses, sizes = np.hstack(value), [*map(len, task.batches(range(task.workload.samples)))]
    if len(losses) == 1:
        return losses.tolist(), []
    if len(losses) != len(sizes):
        raise ValueError(f"expected losses of {len(sizes)} steps, got {len(losses)}")
    return [float(np.average(losses, weights=sizes))], losses[:BEGINNING].tolist()


def memory(name: str) -> int | None:
    """The bytes of VmRSS, the present memory, or VmHWM, its peak; None on other systems than Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
