"""Runs of a sweep, each in a folder of its own, on the cores of this machine or on a Dask cluster."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, as_completed
from tqdm import tqdm

from funcnn import nodes
from funcnn.errors import InputError, require
from funcnn.runs import folder as files
from funcnn.runs.compare import Comparison, compare
from funcnn.runs.grid import Grid
from funcnn.runs.plan import Plan, read_plan
from funcnn.runs.text import one_line, say

Attempt = Callable[[Path, Any], str | None]
"""``attempt(folder, config)`` runs a config, and returns the reason if the run fails."""


def sweep(where: Grid, plans: Mapping[str, Plan], configs: Mapping[str, Any], attempt: Attempt) -> int:
    """Run what is left of the sweep and compare its runs; returns the exit status.

    ``plans`` and ``configs`` have the plan and the config of each run by the name of its folder. ``attempt`` runs one,
    in this process or another.
    """
    out, failures = files.create(None, "sweep") if where.out is None else where.out, {}
    hint = "name another --out, or vary the option"
    for name, plan in plans.items():
        fits = not (out / name / "config.json").exists() or read_plan(out / name) == plan
        require(fits, str(out / name), "the config of this sweep", "another one", hint)
    left = {out / name: configs[name] for name, plan in plans.items() if not files.is_complete(out / name, plan)}
    done = len(plans) - len(left)
    say(f"{len(plans)} runs in {out}" + (f", {done} of them finished already" if done else ""))
    try:
        if left:
            with remote(where.scheduler) if where.scheduler else local(where.workers) as client:
                ended = outcomes(client, attempt, left)
                bar = tqdm(ended, total=len(plans), initial=done, unit="run", disable=None)
                failures = {folder: failure for folder, failure in bar if failure}
    except KeyboardInterrupt:
        say(f"interrupted: the same command with --out {out} goes on", error=True)
        return 130
    if finished := tuple(out / name for name in plans if out / name not in failures):
        compare(Comparison(finished, out / "compare.png"))
    for folder, failure in failures.items():
        say(f"error: {folder.name}: {one_line(failure)}", error=True)
    return 1 if failures else 0


@contextmanager
def remote(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at that address.

    Raises:
        InputError: The scheduler or a worker cannot import what a run needs, which Dask would only log.
        OSError: There is no scheduler.
    """
    with Client(scheduler) as client:
        try:
            client.run_on_scheduler(import_module, __name__)
            client.run(import_module, __name__)
        except ImportError as error:
            hint = "start them in this folder and environment"
            raise InputError("--scheduler", "a scheduler and workers that can run this", error, hint) from error
        yield client


@contextmanager
def local(workers: int | None) -> Iterator[Client]:
    """A client of ``workers`` processes, or of one per core, which listen on the loopback only.

    Raises:
        InputError: The processes do not start: each first imports the script that starts them.
    """
    own: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    own["memory_limit"] = None  # Dask would kill a worker at its share of the memory, however much is free
    alone = {"distributed.scheduler.worker-saturation": 1.0}  # a worker's death counts against the one run it was at
    with dask.config.set(alone):
        try:
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, **own)
        except RuntimeError as error:
            hint = 'call main below `if __name__ == "__main__":`, since each of them imports your script'
            raise InputError("sweep", "processes that start", error, hint) from error
        with cluster, Client(cluster) as client:
            yield client


def outcomes(client: Client, attempt: Attempt, runs: Mapping[Path, Any]) -> Iterator[tuple[Path, str | None]]:
    """Attempt all runs; yields each folder when its run ends, with the reason if it failed.

    If a worker dies, Dask repeats its run, by default three times at most. Runs that have not begun when the client
    closes never do. A run that raises does not stop the others.
    """
    records = nodes.records("__main__")  # the classes of a script are sent by value
    folders = {
        client.submit(_attempted, attempt, records, folder.absolute(), config, key=str(folder.absolute())): folder
        for folder, config in runs.items()
    }
    for future in as_completed(folders):
        folder = folders.pop(future)  # otherwise Dask would repeat the finished runs of a worker that dies
        try:
            failure = future.result()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        yield folder, failure


def _attempted(attempt: Attempt, records: Sequence[type], folder: Path, config: Any) -> str | None:
    """Attempt a run in a process that may not know the records of its script."""
    for cls in records:
        nodes.register(cls)
    return attempt(folder, config)
