"""Train over a grid of configs and seeds, each run in a folder of its own, on the cores or on a Dask cluster."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import attrs
import tyro
from distributed.comm.addressing import get_address_host_port
from toolz import unique
from tqdm import tqdm

from experiments import cluster, grid
from experiments import folder as files
from experiments.command import run_command
from experiments.compare import Command as Comparison
from experiments.compare import compare
from experiments.config import Config, load_data
from funcnn.errors import is_count, require


@attrs.frozen
class Command:
    """Train over a grid of configs and seeds, on all cores or on a Dask cluster, and compare the runs.

    Attributes:
        config: What the runs have in common.
        vary: An option of a run and its values, the numbers of one value joined by commas: --vary hidden 128,64 32. Of
            several such options, every combination is run.
        seeds: The seeds; every combination is run with each.
        out: The folder of the runs' folders, instead of runs/sweep-DATE-TIME. What is finished there is not run again.
        workers: How many runs at once, instead of one a core.
        scheduler: The address of a Dask scheduler to use instead; its workers must see the same files.
    """

    config: tyro.conf.OmitArgPrefixes[Config] = attrs.field(factory=Config)
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
        self.runs()

    def runs(self) -> dict[str, Config]:
        """The config of every run by its name."""
        return grid.runs(self.config, self.vary, self.seeds)


def sweep(command: Command) -> int:
    """Carry out what is left of the sweep and compare its runs; gives the exit status."""
    runs = command.runs()
    for config in unique(runs.values(), key=lambda config: (config.dataset, config.data_dir, config.scaling)):
        load_data(config)  # refused or downloaded once, before any worker asks for it
    out = files.create(None, "sweep") if command.out is None else command.out
    folders = {out / name: config for name, config in runs.items()}
    for folder, config in folders.items():
        _refuse_another(folder, config)
    try:
        failures = _carry_out(command, folders, out)
    except KeyboardInterrupt:
        print(f"interrupted: the same command with --out {out} goes on", file=sys.stderr)
        return 130
    finished = [folder for folder in folders if folder not in failures]
    if finished:
        compare(Comparison(tuple(finished), out / "compare.png"))
    for folder, failure in failures.items():
        print(f"error: {folder.name}: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _refuse_another(folder: Path, config: Config) -> None:
    """A folder goes on with its own config only."""
    if (folder / "config.json").exists():
        fits = files.read_config(folder) == config
        require(fits, str(folder), "the config of this sweep", "another one", "name another --out, or vary the option")


def _carry_out(command: Command, folders: Mapping[Path, Config], out: Path) -> Mapping[Path, str]:
    """Carry out the runs that are not finished; gives why some failed."""
    left = {folder: config for folder, config in folders.items() if not files.is_complete(folder, config)}
    done = len(folders) - len(left)
    print(f"{len(folders)} runs in {out}" + (f", {done} of them finished already" if done else ""), flush=True)
    if not left:
        return {}
    at_work = cluster.remote(command.scheduler) if command.scheduler else cluster.local(command.workers)
    with at_work as client:
        ended = tqdm(cluster.outcomes(client, left), total=len(folders), initial=done, unit="run", disable=None)
        return {folder: failure for folder, failure in ended if failure}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all runs are finished, 1 if any failed, 2 for bad arguments, 130 for Ctrl-C."""
    return run_command("sweep", Command, sweep, arguments)


if __name__ == "__main__":
    sys.exit(main())
