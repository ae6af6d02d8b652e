"""Where the runs of a sweep are carried out: by workers on this machine's cores, or by those of a Dask scheduler."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, as_completed

from funcnn.errors import InputError

Attempt = Callable[[Path, Any], str | None]
"""``attempt(folder, config)`` carries a run out; gives what made it fail, if anything did."""


@contextmanager
def remote(scheduler: str, module: str) -> Iterator[Client]:
    """A client of the scheduler at that address, where ``module`` has what a run needs.

    Raises:
        InputError: The scheduler or a worker cannot import what a run needs, which Dask would tell in its logs only.
        OSError: There is no scheduler.
    """
    with Client(scheduler) as client:
        try:
            client.run_on_scheduler(import_module, module)
            client.run(import_module, module)
        except ImportError as error:
            hint = "start them in this folder and environment"
            raise InputError("--scheduler", "a scheduler and workers that can run this", error, hint) from error
        yield client


@contextmanager
def local(workers: int | None) -> Iterator[Client]:
    """A client of so many processes, or of one a core, all of which listen on the loopback only.

    Raises:
        InputError: The processes do not start, as they first import the script that starts them.
    """
    alone = {"distributed.scheduler.worker-saturation": 1.0}  # a worker's death counts against the one run it was at
    with dask.config.set(alone):
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
                memory_limit=None,  # Dask would kill a worker at its share of the memory, however much is free
            )
        except RuntimeError as error:
            hint = 'call main below `if __name__ == "__main__":`, since each of them imports your script'
            raise InputError("sweep", "processes that start", error, hint) from error
        with cluster, Client(cluster) as client:
            yield client


def outcomes(client: Client, attempt: Attempt, runs: Mapping[Path, Any]) -> Iterator[tuple[Path, str | None]]:
    """Attempt all runs, each in its folder; gives, as they end, the folder and what made the run fail, if anything.

    Dask repeats the run of a worker that dies, three times at most unless the scheduler is told otherwise. A run that
    has not begun when the client is closed never does.
    """
    folders = {
        client.submit(attempt, folder.absolute(), config, key=str(folder.absolute())): folder
        for folder, config in runs.items()
    }
    for future in as_completed(folders):
        folder = folders.pop(future)  # else a worker's death would have Dask repeat its finished runs, too
        yield folder, _failure(future)


def _failure(future: Future[str | None]) -> str | None:
    """What a run returned or raised, which is no reason to stop the others."""
    try:
        return future.result()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
