"""Where a run ran: what may change its last bits, or explain that they changed."""

import hashlib
import platform
import subprocess
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import threadpoolctl
from toolz import dissoc

import funcnn as fn
from funcnn import tree

LIBRARIES = ("funcnn", "numpy", "optree", "toolz", "attrs", "array-api-compat", "safetensors")

GONE_ON_WITH = "gone on with"
"""The name, in a recorded environment, of what had changed wherever the run was gone on with: a list for each."""


def threads(count: int) -> AbstractContextManager[Any]:
    """Inside, matrix products use so many threads."""
    limits: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(count)
    return limits


def environment(data: fn.Dataset) -> dict[str, Any]:
    """Versions, machine, BLAS, commit and data, as plain data; the threads are those of this moment."""
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "processor": _processor(),
        "blas": [_blas(pool) for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"],
        "git": _commit(),
        "data": {"name": data.name, "md5": _md5(data)},
    }


def changes(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments, the data first; where a run was gone on with does not count.

    >>> recorded = {"blas": [{"threads": 1}], "gone on with": [["python: 3.11 -> 3.12"]]}
    >>> changes(recorded, {"blas": [{"threads": 2}], "data": {"md5": "ab12"}})
    ['data.md5: None -> ab12', 'blas.0.threads: 1 -> 2']
    """
    before, after = (dict(tree.leaves_with_paths(dissoc(values, GONE_ON_WITH))) for values in (recorded, now))
    paths = sorted({*before, *after}, key=lambda path: (not path.startswith("data."), path))
    pairs = ((path, before.get(path), after.get(path)) for path in paths)
    return [f"{path}: {was} -> {is_now}" for path, was, is_now in pairs if was != is_now]


def _blas(pool: dict[str, Any]) -> dict[str, Any]:
    told = {"library": "internal_api", "version": "version", "kernel": "architecture", "threads": "num_threads"}
    return {name: pool.get(key) for name, key in told.items()}


def _processor() -> str:
    """The processor's own name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _commit() -> dict[str, Any] | None:
    """The commit of the clone this file stands in, and whether nothing in it had changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return None


def _md5(data: fn.Dataset) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for leaf in tree.leaves((data.train, data.test)):
        digest.update(leaf.tobytes())
    return digest.hexdigest()
