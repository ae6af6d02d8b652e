"""Where the runs of a sweep are carried out: by workers on this machine's cores, or by those of a Dask scheduler."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import dask
from distributed import Client, Future, LocalCluster, as_completed

from experiments.config import Config
from experiments.task import attempt
from funcnn.errors import InputError


@contextmanager
def remote(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at that address.

    Raises:
        InputError: The scheduler or a worker cannot import what a run needs, which Dask would tell in its logs only.
        OSError: There is no scheduler.
    """
    with Client(scheduler) as client:
        try:
            client.run_on_scheduler(import_module, attempt.__module__)
            client.run(import_module, attempt.__module__)
        except ImportError as error:
            hint = "start them in this clone and environment"
            raise InputError("--scheduler", "a scheduler and workers that can run this", error, hint) from error
        yield client


@contextmanager
def local(workers: int | None) -> Iterator[Client]:
    """A client of so many processes, or of one a core, all of which listen on the loopback only."""
    alone = {"distributed.scheduler.worker-saturation": 1.0}  # a worker's death counts against the one run it was at
    with (
        dask.config.set(alone),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
            memory_limit=None,  # Dask would kill a worker at its share of the memory, however much is free
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def outcomes(client: Client, runs: Mapping[Path, Config]) -> Iterator[tuple[Path, str | None]]:
    """Carry out all runs, each in its folder; gives, as they end, the folder and what made the run fail, if anything.

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
