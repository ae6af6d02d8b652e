"""Measures one peer on one workload: ``python -m experiments.benchmark.child FOLDER PEER WORKLOAD``.

The process imports what its peer needs and nothing else. It prints one line of JSON.
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
from experiments.benchmark.task import Ready, Task
from experiments.benchmark.workloads import Workload

PARAMS, INPUTS, TARGETS, ORDERS = "params.npz", "inputs.npy", "targets.npy", "orders.npy"

BEGINNING = 5
"""How many steps' losses are told one by one."""


def ready_for(task: Task, peer: str, module: Any) -> Ready:
    """The peer, ready for the task."""
    ready: Ready = (
        module.inference(task) if task.workload.kind == "inference" else module.training(task, PEERS[peer].mode)
    )
    return ready


def measure(folder: Path, peer: str, workload: Workload) -> dict[str, Any]:
    """A first epoch for all that happens once, then one a row of the orders, each timed.

    The memory of training is the peak while the epochs are timed, less what the imports and the samples took.
    """
    module: Any = importlib.import_module(f"experiments.benchmark.peers.{PEERS[peer].module}")
    inputs, targets = (_rows(folder.parent / name, workload.samples) for name in (INPUTS, TARGETS))
    task = Task(workload, module.place(inputs), module.place(targets), folder / PARAMS)
    first, *orders = np.load(folder / ORDERS)
    del inputs  # the peer has them, or a copy
    gc.collect()  # what held them for the copying lets them go
    before = memory("VmRSS")
    ready = ready_for(task, peer, module)
    value = ready.run(first)
    losses = [_loss(task, value, targets)]
    beginning = _beginning(task, value)
    del value  # outputs are large
    peak_at_first = memory("VmHWM")
    _forget_peak()
    seconds = []
    for order in orders:
        start = time.perf_counter()
        value = ready.run(order)
        seconds.append(time.perf_counter() - start)
        losses.append(_loss(task, value, targets))
        del value  # before the next are made
    peak = memory("VmHWM")
    return {
        "seconds": seconds,
        "losses": [loss for loss in losses if loss is not None],
        "beginning": beginning,
        "peak": max(peak_at_first, peak) if peak_at_first and peak else None,
        "added": peak - before if peak and before else None,
        "program": ready.program() if ready.program else None,
        "params": sum(array.nbytes for array in task.params()),
    }


def memory(name: str) -> int | None:
    """The bytes of VmRSS, what the process has now, or VmHWM, the most it had; None where Linux does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _forget_peak() -> None:
    """Let VmHWM count from now on."""
    with suppress(OSError):  # where it is refused, it stays that of the whole life
        Path("/proc/self/clear_refs").write_text("5")


def _rows(path: Path, count: int) -> Any:
    """The first rows of a file; the others are not read, and take no memory.

    They begin at a multiple of 64 bytes, as :func:`funcnn.load_dataset` has them: JAX need not copy them.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        (_, *shape), _, dtype = np.lib.format.read_array_header_1_0(file)
        size = count * math.prod(shape) * dtype.itemsize
        buffer = np.empty(size + 64, np.uint8)  # as funcnn.arrays does, which a peer's process need not import
        start = -buffer.ctypes.data % 64
        if file.readinto(buffer[start : start + size].data) != size:
            raise EOFError(f"{path} has fewer than {count} rows")
        return buffer[start : start + size].view(dtype).reshape(count, *shape)


def _loss(task: Task, value: Any, targets: Any) -> float | None:
    """The mean of training losses, if there are any; of outputs, the rate of wrong predictions."""
    if value is None:
        return None
    return float(np.mean(value.argmax(axis=1) != targets)) if task.workload.kind == "inference" else task.mean(value)


def _beginning(task: Task, value: Any) -> list[float]:
    """The losses of the first steps, where there is one for every step."""
    told = task.workload.kind != "inference" and value is not None and len(value) == task.workload.steps
    return [float(loss) for loss in value[:BEGINNING]] if told else []


if __name__ == "__main__":
    _, folder, name, described = sys.argv
    fields = json.loads(described)
    hidden = tuple(fields.pop("hidden"))
    print(json.dumps(measure(Path(folder), name, Workload(**fields, hidden=hidden))))
