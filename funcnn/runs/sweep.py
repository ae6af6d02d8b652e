"""Runs over a grid of configs and seeds, each in a folder of its own, on the cores or on a Dask cluster."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import attrs
import dask
import tyro
from attrs.validators import optional
from distributed import Client, LocalCluster, as_completed
from distributed.comm.addressing import get_address_host_port
from toolz import concat
from tqdm.auto import tqdm

from funcnn import nodes
from funcnn.errors import InputError, require
from funcnn.runs import folder as files
from funcnn.runs.compare import Comparison, compare
from funcnn.runs.options import COUNT
from funcnn.runs.plan import Plan, read_plan
from funcnn.runs.text import one_line, say

Varied = tuple[str, ...]
"""An option and its values, each as it is written on a command line, its numbers joined by commas: hidden 128,64 32."""

Attempt = Callable[[Path, Any], str | None]
"""``attempt(folder, config)`` carries a run out; gives what made it fail, if anything did."""


@attrs.frozen
class Grid:
    """What varies, and where the runs of a sweep are carried out.

    Attributes:
        vary: An option of a run and its values, the numbers of one value joined by commas: --vary hidden 128,64 32. Of
            several such options, every combination is run.
        seeds: The seeds; every combination is run with each.
        out: The folder of the runs' folders, instead of runs/sweep-DATE-TIME. What is finished there is not run again.
        workers: How many runs at once, instead of one per core.
        scheduler: The address of a Dask scheduler to use instead; its workers must see the same files.
    """

    vary: Annotated[
        tuple[Varied, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="OPTION VALUE [VALUE ...]")
    ] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = attrs.field(default=None, validator=optional(COUNT))
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="tcp://HOST:PORT")] = None

    def __attrs_post_init__(self) -> None:
        require(self.workers is None or self.scheduler is None, "--workers", "none with --scheduler", self.workers)
        if self.scheduler is not None:
            get_address_host_port(self.scheduler)  # raises a ValueError that says what is missing


def configs(base: Any, varied: Sequence[Varied], seeds: Sequence[int], prog: str) -> dict[str, Any]:
    """The config of every run by the name of its folder, seeds innermost.

    The names are the same in whatever order the options come, and every file system takes them.

    >>> @attrs.frozen
    ... class Config:
    ...     width: int = 64
    ...     rates: tuple[float, ...] = (0.1,)
    ...     seed: int = 0
    >>> print(*configs(Config(), [("width", "8", "16"), ("rates", "1e-2,1")], [0, 1], "wave.py"), sep="\\n")
    width=8,rates=0.01-1.0,seed=0
    width=8,rates=0.01-1.0,seed=1
    width=16,rates=0.01-1.0,seed=0
    width=16,rates=0.01-1.0,seed=1

    Raises:
        InputError: An option that cannot be varied, or anything that comes twice.
        SystemExit: A value that a run cannot have, which is told as on the command line of a single run.
    """
    fields = attrs.fields_dict(attrs.resolve_types(type(base)))
    require("seed" in fields, "--seeds", "a config with a seed", f"the fields {', '.join(fields)}")
    fits = fields["seed"].default in (attrs.NOTHING, base.seed)
    require(fits, "--seed", "--seeds, which names all of them", base.seed)
    require(len(seeds) > 0, "--seeds", "at least one", "none")
    for option in varied:
        require(len(option) > 1, "--vary", "an option and its values", " ".join(option) or "nothing")
    names = [name.replace("-", "_") for name, *_ in varied]
    known = [name for name in fields if name != "seed"]
    for name in names:
        require(name in known, "--vary", f"one of {', '.join(known)}", name)
    require(len(set(names)) == len(names), "--vary", "every option once", " ".join(names))

    def words(name: str, value: str) -> list[str]:
        parts = [value]
        if re.search(r"\b(tuple|list|Sequence)\[", str(fields[name].type)):
            parts = value.split(",") if value else []
        return [f"--{name.replace('_', '-')}", *parts]

    def parsed(*values: str) -> Any:
        arguments = concat(map(words, (*names, "seed"), values))
        plain = (tyro.conf.FlagConversionOff,)  # --nesterov True, not --nesterov
        return tyro.cli(type(base), prog=prog, args=list(arguments), default=base, config=plain)

    def shown(value: object) -> str:
        return ("-".join(map(str, value)) or "none") if isinstance(value, tuple | list) else str(value)

    def name_of(config: Any) -> str:
        told = (f"{name}={shown(getattr(config, name))}" for name in fields if name in (*names, "seed"))
        return ",".join(re.sub(r"[^\w.=+-]", "_", text) for text in told)

    combinations = [parsed(*values) for values in product(*(values for _, *values in varied), map(str, seeds))]
    found = {name_of(config): config for config in combinations}
    require(len(found) == len(combinations), "--vary and --seeds", "values that differ", "a value twice")
    return found


def sweep(where: Grid, plans: Mapping[str, Plan], configs: Mapping[str, Any], attempt: Attempt) -> int:
    """Carry out what is left of the sweep and compare its runs; gives the exit status.

    ``plans`` tells what runs in the folder of each name, and ``configs`` has its config; ``attempt`` carries one of
    them out, in this process or another.
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
        InputError: The scheduler or a worker cannot import what a run needs, which Dask would tell in its logs only.
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
    """A client of so many processes, or of one per core, all of which listen on the loopback only.

    Raises:
        InputError: The processes do not start, as they first import the script that starts them.
    """
    own: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.ERROR}
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
    """Attempt all runs, each in its folder; gives, as they end, the folder and what made the run fail, if anything.

    Dask repeats the run of a worker that dies, three times at most unless the scheduler is told otherwise. A run that
    has not begun when the client is closed never does. One that raises is no reason to stop the others.
    """
    records = nodes.records("__main__")  # those of a script, whose classes go by value
    folders = {
        client.submit(_attempted, attempt, records, folder.absolute(), config, key=str(folder.absolute())): folder
        for folder, config in runs.items()
    }
    for future in as_completed(folders):
        folder = folders.pop(future)  # else a worker's death would have Dask repeat its finished runs, too
        try:
            failure = future.result()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        yield folder, failure


def _attempted(attempt: Attempt, records: Sequence[type], folder: Path, config: Any) -> str | None:
    """Attempt a run where the records of its script may be new."""
    for cls in records:
        nodes.register(cls)
    return attempt(folder, config)
