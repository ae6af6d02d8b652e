"""All peers on all workloads in turn, round after round, each measurement in a process of its own."""

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
"""The seconds after which a process has failed."""

ROOT = Path(__file__).parents[2]

GROWING = ("funcnn", "funcnn-jax-epoch", "torch-fused", "floor")
"""The peers of the workloads that grow."""


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

    @property
    def status(self) -> str:
        """How its process failed, in short; empty if it did not."""
        not_installed = self.failure.startswith("ModuleNotFoundError")
        return "not installed" if not_installed else "failed" if self.failure else ""


def plan_of(
    workloads: Sequence[str], peers: Sequence[str], repeats: int, growth: Sequence[str] = ()
) -> list[tuple[int, str, str]]:
    """The round, the workload and the peer of each measurement, in their order.

    Round after round, each begun at another place, so that nobody always follows the same; and once what grows.
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
    """The measurements of the plan, as they end; what has failed once is not tried again."""
    np.save(scratch / child.INPUTS, train.inputs)
    np.save(scratch / child.TARGETS, train.targets)
    failed: set[tuple[str, str]] = set()
    for number, name, peer in plan:
        if (name, peer) not in failed:
            told = told_by_process(scratch / name, peer, len(train.inputs), threads)
            if "failure" in told:
                failed.add((name, peer))
            yield Measurement(name, peer, number, **told)


def prepare(folder: Path, samples: int) -> None:
    """Write what a workload begins with, if it is not there: its params, and the orders of its epochs."""
    if not folder.exists():
        folder.mkdir()
        workload = workload_of(folder.name, samples)
        np.savez(folder / child.PARAMS, *tree.leaves(initial_params(workload)))
        keys = (fn.Key(0).at("epoch", epoch) for epoch in range(1 + TIMED_EPOCHS))
        np.save(folder / child.ORDERS, [key.permutation(workload.samples) for key in keys])


def told_by_process(folder: Path, peer: str, samples: int, threads: int) -> dict[str, Any]:
    """The fields of a measurement that a process of its own tells, or its failure."""
    if folder.name == START_UP:
        script = ["-c", FIRST_STEPS[peer]]
    else:
        prepare(folder, samples)
        script = ["-m", child.__name__, str(folder), peer, str(samples)]
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    how: Any = {"cwd": ROOT, "env": {**os.environ, **limits}, "capture_output": True, "text": True, "check": True}
    told: dict[str, Any]
    try:
        with on_cores(threads):
            ended = subprocess.run([sys.executable, *script, str(time.time())], timeout=TIME_LIMIT, **how)
        told = json.loads(ended.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        lines = [f"exit status {error.returncode}", *filter(str.strip, error.stderr.splitlines())]
        told = {"failure": next((line for line in reversed(lines) if "Error: " in line), lines[-1])}
    except (IndexError, json.JSONDecodeError):
        told = {"failure": "its last line is no measurement"}
    except subprocess.TimeoutExpired:
        told = {"failure": f"not done after {TIME_LIMIT} seconds"}
    return told


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Processes that start inside have the first so many cores, where the system can tell them."""
    before, allow = available_cores(), getattr(os, "sched_setaffinity", lambda process, cores: None)
    allow(0, before[:count])
    try:
        yield
    finally:
        allow(0, before)


def available_cores() -> list[int]:
    """The numbers of those that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]
