"""Where a run ran: versions, machine, commit and data, which may change its last bits."""

import hashlib
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import threadpoolctl
from toolz import dissoc

from funcnn import tree

LIBRARIES = ("funcnn", "numpy", "optree", "toolz", "attrs", "array-api-compat", "safetensors")

RESUMED = "resumed"
"""The field of an environment that has a list of changes for each time when the run was resumed elsewhere."""


@attrs.frozen
class Compiler:
    """The part of environment.json about the engine jax."""

    libraries: Mapping[str, str]
    devices: int
    kinds: Sequence[str]
    processes: int
    flags: str


@attrs.frozen
class Environment:
    """The content of environment.json."""

    python: str
    libraries: Mapping[str, str]
    platform: str
    processor: str
    blas: Sequence[Mapping[str, str | int | None]]
    data: Mapping[str, str]
    code: Mapping[str, str] = {}
    git: Mapping[str, str | bool] | None = None
    jax: Compiler | None = None
    resumed: Sequence[Sequence[str]] = ()


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Inside, matrix products use ``count`` threads."""
    return cast(AbstractContextManager[Any], threadpoolctl.threadpool_limits(count))


def environment(data: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Versions, machine, BLAS with its present number of threads, data and code, as plain data.

    Args:
        data: Trees of arrays by name.
        source: A file or folder of the experiment's code.
    """
    of_blas = {"library": "internal_api", "version": "version", "kernel": "architecture", "threads": "num_threads"}
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "processor": _processor(),
        "blas": [{name: pool.get(key) for name, key in of_blas.items()} for pool in pools],
        "data": {
            name: _md5(*(np.asarray(leaf).tobytes() for leaf in tree.leaves(arrays))) for name, arrays in data.items()
        },
        "code": _code(source),
    }


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences between two environments, the data first; the field ``resumed`` is left out.

    >>> recorded = {"blas": [{"threads": 1}], "resumed": [["python: 3.11 -> 3.12"]]}
    >>> changes(recorded, {"blas": [{"threads": 2}], "data": {"train": "ab12"}})
    ['data.train: None -> ab12', 'blas.0.threads: 1 -> 2']
    """
    before, after = (dict(tree.leaves_with_paths(dissoc(dict(values), RESUMED))) for values in (recorded, now))
    paths = sorted({*before, *after}, key=lambda path: (not path.startswith("data."), path))
    pairs = ((path, before.get(path), after.get(path)) for path in paths)
    return [f"{path}: {a} -> {b}" for path, a, b in pairs if a != b and repr(a) != repr(b)]  # NaN equals NaN


def _processor() -> str:
    """The processor's name, from Linux if possible."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _code(source: Path) -> dict[str, str]:
    """The MD5 of each loaded module of the package that ``source`` belongs to, or of its folder, by file name."""
    folder = source.resolve() if source.is_dir() else source.resolve().parent
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    loaded = {Path(file) for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
    libraries = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    own = [file for file in loaded if file.is_relative_to(folder) and libraries.isdisjoint(file.parents)]
    return {file.relative_to(folder).as_posix(): _md5(file.read_bytes()) for file in sorted(own) if file.exists()}


def commit(source: Path) -> dict[str, Any] | None:
    """The commit of the repository around ``source``, and whether its work tree is clean; this starts ``git``."""
    folder = source if source.is_dir() else source.parent

    def git(*arguments: str) -> str:
        alone = ("-c", "core.fsmonitor=false")  # otherwise the repository could name a program to start
        command = ["git", *alone, "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="replace").strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return None


def _md5(*pieces: bytes) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
