"""All peers on all workloads, round after round, each measurement in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import funcnn as fn
from experiments.benchmark import child
from experiments.benchmark.first_steps import FIRST_STEPS
from experiments.benchmark.peers import PEERS
from experiments.benchmark.peers.funcnn_numpy import initial_params
from experiments.benchmark.workloads import START_UP, WORKLOADS, workload_of
from funcnn import tree

TIMED_EPOCHS = 3
TIME_LIMIT = 900
"""A process that takes more seconds has failed."""

ROOT = Path(__file__).parents[2]

GROWING = ("funcnn", "funcnn-jax-epoch", "torch-fused", "floor")
"""The peers of the workloads that grow."""


@attrs.frozen
class Measurement:
    """The result of one process.

    Attributes:
        workload: Its name.
        peer: Its name.
        round: Counts from 0.
        seconds: The times of the timed epochs, or the time until the first step was done.
        losses: The losses of all epochs, with the first.
        beginning: The losses of the first steps, if the peer gives them.
        peak: The peak memory of the process, in bytes.
        added: The peak while epochs were timed, minus the memory of imports and samples.
        program: The bytes of a compiled program, if the peer gives them.
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

    @property
    def status(self) -> str:
        """How the process failed, in short; empty if it did not."""
        not_installed = self.failure.startswith("ModuleNotFoundError")
        return "not installed" if not_installed else "failed" if self.failure else ""


def plan_of(
    workloads: Sequence[str], peers: Sequence[str], repeats: int, growth: Sequence[str] = ()
) -> list[tuple[int, str, str]]:
    """The round, the workload and the peer of each measurement, in order.

    Each round begins at another place, so that no peer always follows the same one. The growing workloads come once, at
    the end.
    """
    once = [
        (name, peer)
        for name in workloads
        for peer in peers
        if name in WORKLOADS and WORKLOADS[name].kind in PEERS[peer].does
    ]
    places = [len(once) * number // repeats for number in range(repeats)]
    turned = [(number, *pair) for number, place in enumerate(places) for pair in (*once[place:], *once[:place])]
    return [*turned, *((0, name, peer) for name in growth for peer in GROWING if peer in peers)]


def measured(
    plan: Iterable[tuple[int, str, str]], train: fn.Batch, scratch: Path, threads: int
) -> Iterator[Measurement]:
    """The measurements of the plan, as they end; after a failure, that peer is not tried on that workload again."""
    np.save(scratch / child.INPUTS, train.inputs)
    np.save(scratch / child.TARGETS, train.targets)
    failed: set[tuple[str, str]] = set()
    for number, name, peer in plan:
        if (name, peer) not in failed:
            result = in_process(scratch / name, peer, len(train.inputs), threads)
            if "failure" in result:
                failed.add((name, peer))
            yield Measurement(name, peer, number, **result)


def prepare(folder: Path, samples: int) -> None:
    """Write the first params of a workload and the orders of its epochs, if they are not there."""
    if not folder.exists():
        folder.mkdir()
        workload = workload_of(folder.name, samples)
        np.savez(folder / child.PARAMS, *tree.leaves(initial_params(workload)))
        keys = (fn.Key(0).at("epoch", epoch) for epoch in range(1 + TIMED_EPOCHS))
        np.save(folder / child.ORDERS, [key.permutation(workload.samples) for key in keys])


def in_process(folder: Path, peer: str, samples: int, threads: int) -> dict[str, Any]:
    """The fields of a measurement that a process of its own prints, or its failure."""
    if folder.name == START_UP:
        script = ["-c", FIRST_STEPS[peer]]
    else:
        prepare(folder, samples)
        script = ["-m", child.__name__, str(folder), peer, str(samples)]
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    how: Any = {"cwd": ROOT, "env": {**os.environ, **limits}, "capture_output": True, "text": True, "check": True}
    try:
        with on_cores(threads):
            ended = subprocess.run([sys.executable, *script, str(time.time())], timeout=TIME_LIMIT, **how)
        result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return result
    except subprocess.CalledProcessError as error:
        lines = [f"exit status {error.returncode}", *filter(str.strip, error.stderr.splitlines())]
        return {"failure": next((line for line in reversed(lines) if "Error: " in line), lines[-1])}
    except (IndexError, json.JSONDecodeError):
        return {"failure": "its last line is no measurement"}
    except subprocess.TimeoutExpired:
        return {"failure": f"not done after {TIME_LIMIT} seconds"}


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Processes that start inside have the first ``count`` cores, if the system can set them."""
    before, allow = available_cores(), getattr(os, "sched_setaffinity", lambda process, cores: None)
    allow(0, before[:count])
    try:
        yield
    finally:
        allow(0, before)


def available_cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]
