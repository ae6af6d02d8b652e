"""A run that is carried out once, by whoever and however often it is tried."""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import funcnn as fn
from experiments import folder as files
from experiments.config import Config, load_data
from experiments.job import begin, carry_out, prepare
from experiments.run import Outcome

_PROCESS = threading.Lock()
"""The threads of BLAS and matplotlib's settings belong to the whole process, so it has one run at a time."""


def complete(folder: Path, config: Config) -> Outcome | None:
    """Carry the run in ``folder`` out from where it stands; gives how it ended, or ``None`` if it had ended before.

    A process that is at it is waited for, such as a worker that the scheduler has given up but that is alive.
    """
    with _PROCESS, files.locked(folder, wait=True):
        if files.is_complete(folder, config):
            return None
        data = data_of(config)
        if not (folder / "config.json").exists():
            begin(folder, config)
        return carry_out(folder, prepare(config, data))


def attempt(folder: Path, config: Config) -> str | None:
    """What a worker tells of :func:`complete`: what made the run fail, if anything did."""
    outcome = complete(folder, config)
    return outcome.failure if outcome else None


def data_of(config: Config) -> fn.Dataset:
    """The data set that ``config`` names; the latest is kept."""
    seed = config.seed if config.dataset == "folder" else 0  # which samples are held out depends on it
    return _load(dataset=config.dataset, data_dir=config.data_dir, scaling=config.scaling, seed=seed)


@lru_cache(maxsize=1)
def _load(**named: Any) -> fn.Dataset:
    return load_data(Config(**named))
