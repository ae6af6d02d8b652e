"""All peers on all workloads in turn, round after round, each measurement in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import funcnn as fn
from experiments.benchmark import child
from experiments.benchmark.peers import PEERS
from experiments.benchmark.peers.funcnn_numpy import initial_params
from experiments.benchmark.workloads import GROWTH, WORKLOADS, Workload
from funcnn import tree

TIMED_EPOCHS = 3
TIME_LIMIT = 900
"""The seconds after which a process has failed."""

ROOT = Path(__file__).parents[2]

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

GROWING = ("funcnn", "funcnn-jax-epoch", "torch-fused", "floor")


@attrs.frozen
class Measurement:
    """What one process told.

    Attributes:
        workload: Its name.
        peer: Its name.
        round: Counts from 0.
        seconds: Of every timed epoch, or until the first step was done.
        losses: Of every epoch, the first included.
        beginning: The losses of the first steps, where they are told.
        peak: The most memory that the process had, in bytes.
        added: The most that it had while epochs were timed, less what it had with imports and samples alone.
        program: What a compiled program takes, where its peer tells.
        params: The bytes of the params.
        failure: The last line of a process that failed.
    """

    workload: str
    peer: str
    round: int
    seconds: tuple[float, ...] = attrs.field(default=(), converter=tuple)
    losses: tuple[float, ...] = attrs.field(default=(), converter=tuple)
    beginning: tuple[float, ...] = attrs.field(default=(), converter=tuple)
    peak: int | None = None
    added: int | None = None
    program: int | None = None
    params: int | None = None
    failure: str = ""


@attrs.frozen
class Entry:
    """What is to be measured; without a workload it is the start-up."""

    name: str
    peer: str
    workload: Workload | None


def entries(workloads: Sequence[str], peers: Sequence[str], samples: int) -> list[Entry]:
    """A round: every workload with every peer that does it, on so many samples at most."""
    planned = ((name, _within(WORKLOADS[name], samples) if name in WORKLOADS else None) for name in workloads)
    return [
        Entry(name, peer, workload)
        for name, workload in planned
        for peer in peers
        if (workload.kind if workload else name) in PEERS[peer].does
    ]


def growth_entries(peers: Sequence[str], samples: int) -> list[Entry]:
    """Every size of all that grows, with those of the peers that are drawn."""
    sizes = ((axis, size, workload) for axis, row in GROWTH.items() for size, workload in row.items())
    return [
        Entry(growth_name(axis, size), peer, workload)
        for axis, size, workload in sizes
        if workload.samples <= samples
        for peer in GROWING
        if peer in peers
    ]


def growth_name(axis: str, size: int) -> str:
    """How the measurements at this size are called."""
    return f"{axis}={size}"


def plan_of(rounds: Sequence[Entry], repeats: int, growth: Sequence[Entry]) -> list[tuple[int, Entry]]:
    """Round after round, each begun at another place, so that nobody always follows the same; and what grows."""
    places = [len(rounds) * number // repeats for number in range(repeats)]
    turned = [(i, entry) for i, place in enumerate(places) for entry in (*rounds[place:], *rounds[:place])]
    return [*turned, *((0, entry) for entry in growth)]


def measured(plan: Iterable[tuple[int, Entry]], train: fn.Batch, scratch: Path, threads: int) -> Iterator[Measurement]:
    """The measurement of each round and entry, as they end; what has failed once is not tried again."""
    np.save(scratch / child.INPUTS, train.inputs)
    np.save(scratch / child.TARGETS, train.targets)
    failed: set[Entry] = set()
    for number, entry in plan:
        if entry in failed:
            continue
        folder = None if entry.workload is None else prepared(scratch, entry.workload)
        measurement = attrs.evolve(_carry_out(entry, folder, threads), round=number)
        if measurement.failure:
            failed.add(entry)
        yield measurement


def prepared(scratch: Path, workload: Workload) -> Path:
    """The workload's folder in the folder of the samples: its params to begin with, and the orders of its epochs."""
    folder = scratch / f"{hash(workload):x}"
    if not folder.exists():
        folder.mkdir()
        np.savez(folder / child.PARAMS, *tree.leaves(initial_params(workload)))
        keys = (fn.Key(0).at("epoch", epoch) for epoch in range(1 + TIMED_EPOCHS))
        np.save(folder / child.ORDERS, [key.permutation(workload.samples) for key in keys])
    return folder


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Processes that start inside have the first so many cores, where the system can tell them."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def available_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _within(workload: Workload, samples: int) -> Workload:
    return attrs.evolve(workload, samples=min(workload.samples, samples))


def _carry_out(entry: Entry, folder: Path | None, threads: int) -> Measurement:
    """The measurement, in a process of its own."""
    told: Mapping[str, Any]
    try:
        if entry.workload is None:
            start = time.time()
            end = _said(["first_step." + PEERS[entry.peer].module], threads)
            told = {"seconds": [end - start]}
        else:
            told = _said(["child", str(folder), entry.peer, json.dumps(attrs.asdict(entry.workload))], threads)
    except subprocess.CalledProcessError as error:
        told = {"failure": _reason(error)}
    except (IndexError, json.JSONDecodeError):
        told = {"failure": "its last line is no measurement"}
    except subprocess.TimeoutExpired:
        told = {"failure": f"not done after {TIME_LIMIT} seconds"}
    return Measurement(entry.name, entry.peer, 0, **told)


def _reason(error: subprocess.CalledProcessError) -> str:
    """The last line that names an error, or else the last there is."""
    lines: list[str] = error.stderr.splitlines()
    told = [f"exit status {error.returncode}", *filter(str.strip, lines)]
    return next((line for line in reversed(told) if "Error: " in line), told[-1])


def _said(arguments: Sequence[str], threads: int) -> Any:
    """The last line that a module of this package prints, as JSON."""
    module, *rest = arguments
    command = [sys.executable, "-m", f"experiments.benchmark.{module}", *rest]
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    with on_cores(threads):
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=TIME_LIMIT
        )
    return json.loads(ended.stdout.splitlines()[-1])
