"""Runs over a grid of configs and seeds, each in a folder of its own, on the cores or on a Dask cluster."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import attrs
import tyro
from distributed.comm.addressing import get_address_host_port
from tqdm.auto import tqdm

from funcnn.errors import is_count, require
from funcnn.runs import cluster, folder as files, grid
from funcnn.runs.compare import Comparison, compare
from funcnn.runs.folder import Plan
from funcnn.runs.text import one_line


@attrs.frozen
class Grid:
    """What varies, and where the runs of a sweep are carried out.

    Attributes:
        vary: An option of a run and its values, the numbers of one value joined by commas: --vary hidden 128,64 32. Of
            several such options, every combination is run.
        seeds: The seeds; every combination is run with each.
        out: The folder of the runs' folders, instead of runs/sweep-DATE-TIME. What is finished there is not run again.
        workers: How many runs at once, instead of one a core.
        scheduler: The address of a Dask scheduler to use instead; its workers must see the same files.
    """

    vary: Annotated[
        tuple[grid.Varied, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="OPTION VALUE [VALUE ...]")
    ] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="tcp://HOST:PORT")] = None

    def __attrs_post_init__(self) -> None:
        require(self.workers is None or is_count(self.workers), "--workers", "a positive whole number", self.workers)
        require(self.workers is None or self.scheduler is None, "--workers", "none with --scheduler", self.workers)
        if self.scheduler is not None:
            get_address_host_port(self.scheduler)  # raises a ValueError that says what is missing


def sweep(where: Grid, plans: Mapping[str, Plan], configs: Mapping[str, Any], attempt: cluster.Attempt) -> int:
    """Carry out what is left of the sweep and compare its runs; gives the exit status.

    Args:
        where: Where the runs are carried out.
        plans: What runs in the folder of each name.
        configs: The configs of the same names.
        attempt: Carries one of them out, in this process or another.
    """
    out = files.create(None, "sweep") if where.out is None else where.out
    for name, plan in plans.items():
        _refuse_another(out / name, plan)
    left = {out / name: configs[name] for name, plan in plans.items() if not files.is_complete(out / name, plan)}
    done = len(plans) - len(left)
    print(f"{len(plans)} runs in {out}" + (f", {done} of them finished already" if done else ""), flush=True)
    try:
        failures = _carry_out(where, attempt, left, done) if left else {}
    except KeyboardInterrupt:
        print(f"interrupted: the same command with --out {out} goes on", file=sys.stderr)
        return 130
    finished = [out / name for name in plans if out / name not in failures]
    if finished:
        compare(Comparison(tuple(finished), out / "compare.png"))
    for folder, failure in failures.items():
        print(f"error: {folder.name}: {one_line(failure)}", file=sys.stderr)
    return 1 if failures else 0


def _refuse_another(folder: Path, plan: Plan) -> None:
    """A folder goes on with its own config only."""
    if (folder / "config.json").exists():
        same = files.read_plan(folder) == plan
        require(same, str(folder), "the config of this sweep", "another one", "name another --out, or vary the option")


def _carry_out(where: Grid, attempt: cluster.Attempt, left: Mapping[Path, Any], done: int) -> Mapping[Path, str]:
    """Carry out the runs that are not finished; gives why some failed."""
    at_work = cluster.remote(where.scheduler, __name__) if where.scheduler else cluster.local(where.workers)
    with at_work as client:
        ended = cluster.outcomes(client, attempt, left)
        bar = tqdm(ended, total=len(left) + done, initial=done, unit="run", disable=None)
        return {folder: failure for folder, failure in bar if failure}
