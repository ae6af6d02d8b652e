"""A run as a worker of a sweep carries it out: once, by whoever and however often it is tried."""

import threading
from functools import cache
from pathlib import Path
from typing import Any

import funcnn as fn
from experiments import folder as files
from experiments.config import Config, load_data
from experiments.job import begin, carry_out, prepare

_PROCESS = threading.Lock()
"""The threads of BLAS and matplotlib's settings belong to the whole process, so it has one run at a time."""


def complete(folder: Path, config: Config) -> str | None:
    """Carry the run in ``folder`` out from where it stands; gives what made it fail, if anything did.

    A worker that the scheduler has given up may be alive and still at it: the next one waits for it.
    """
    with _PROCESS, files.locked(folder, wait=True):
        if files.is_complete(folder, config):
            return None
        data = data_of(config)
        if not (folder / "config.json").exists():
            begin(folder, config)
        return carry_out(folder, prepare(config, data)).failure


def data_of(config: Config) -> fn.Dataset:
    """The data set that ``config`` names, loaded once a process."""
    seed = config.seed if config.dataset == "folder" else 0  # which samples are held out depends on it
    return _load(dataset=config.dataset, data_dir=config.data_dir, scaling=config.scaling, seed=seed)


@cache
def _load(**named: Any) -> fn.Dataset:
    return load_data(Config(**named))
