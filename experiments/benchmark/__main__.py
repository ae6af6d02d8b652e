"""funcnn beside its peers, on the same work, in turn: ``python -m experiments.benchmark``."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro
from tqdm import tqdm

import funcnn as fn
from experiments.benchmark import contest, pictures
from experiments.benchmark.installed import installed_bytes, versions
from experiments.benchmark.peers import PEERS
from experiments.benchmark.tables import Results, crashes, disagreements, text
from experiments.benchmark.workloads import INSTALLED_SIZE, NAMES
from funcnn.errors import InputError, is_count, require
from funcnn.runs import folder as files
from funcnn.runs.command import guarded
from funcnn.runs.environment import environment
from funcnn.runs.figures import write_png

TUNING = ("GLIBC_", "JAX_", "KERAS_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "TORCH", "XLA_")
"""How the names of variables begin that tools read."""


@attrs.frozen
class Command:
    """Measure funcnn and its peers on the same work, in turn, and compare them.

    Attributes:
        workloads: What is run, instead of all.
        peers: Who takes part, instead of all.
        repeats: How many rounds.
        threads: How many each process has, instead of one a core.
        growth: Measure how time and memory grow, once, at the end.
        out: The folder of the results, instead of runs/benchmark-DATE-TIME.
        dataset: Whose training samples; of mnist_5k there are few, for a trial.
        draw: Print the tables and draw the pictures of this benchmark.json again, and run nothing.
    """

    workloads: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = NAMES
    peers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = tuple(PEERS)
    repeats: int = 5
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    growth: bool = True
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    dataset: Literal["mnist", "mnist_5k"] = "mnist"
    draw: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    def __attrs_post_init__(self) -> None:
        for option, given, known in (("--workloads", self.workloads, NAMES), ("--peers", self.peers, tuple(PEERS))):
            unknown = [name for name in given if name not in known]
            require(not unknown, option, f"some of {', '.join(known)}", ", ".join(unknown))
        require(is_count(self.repeats), "--repeats", "a positive whole number", self.repeats)
        cores = contest.available_cores()
        fits = self.threads is None or (is_count(self.threads) and self.threads <= cores)
        require(fits, "--threads", f"a whole number from 1 to {cores}, the cores here", self.threads)


def benchmark(command: Command) -> int:
    """Carry it out, or read it again; gives the exit status."""
    if command.draw is not None:
        return show(read(command.draw), command.draw.parent)
    data = fn.load_dataset(command.dataset)
    samples = len(data.train.inputs)
    rounds = contest.entries(command.workloads, command.peers, samples)
    growth = contest.growth_entries(command.peers, samples) if command.growth else []
    plan = contest.plan_of(rounds, command.repeats, growth)
    sized = command.peers if INSTALLED_SIZE in command.workloads else ()
    sizes = {peer: installed_bytes(PEERS[peer].installs) for peer in sized if PEERS[peer].installs}
    require(bool(plan or sizes), "--peers", "some that take part in the workloads", ", ".join(command.peers))
    threads = command.threads or contest.available_cores()
    results = Results(_surroundings(data, threads), attrs.asdict(command), (), sizes)
    out = files.create(command.out, "benchmark")
    files.write_json(out / "benchmark.json", results)
    with tempfile.TemporaryDirectory() as scratch:
        made = contest.measured(plan, data.train, Path(scratch), threads)
        for measurement in tqdm(made, total=len(plan), unit="process", disable=None):
            results = attrs.evolve(results, measurements=(*results.measurements, measurement))
            files.write_json(out / "benchmark.json", results)
    return show(results, out)


def show(results: Results, out: Path) -> int:
    """Print the tables and draw the pictures; 1 if peers that should agree do not, or one crashed."""
    print(text(results))
    for name, figure in {
        "ratios.png": pictures.ratios(results.measurements),
        "growth.png": pictures.growth(results.measurements),
    }.items():
        if figure is not None:
            write_png(out / name, figure)
    print(f"\nall files are in {out}")
    return 1 if disagreements(results.measurements) or crashes(results.measurements) else 0


def read(path: Path) -> Results:
    """The results in a file.

    Raises:
        InputError: It holds none.
    """
    try:
        return files.CONVERTER.loads(path.read_text(), Results)
    except OSError:
        raise
    except Exception as error:  # whatever a wrong value causes
        raise InputError(str(path), "a benchmark.json as this version writes it", error) from error


def _surroundings(data: fn.Dataset, threads: int) -> dict[str, Any]:
    """The environment, and what changes speed beside it."""
    told = {name: value for name, value in sorted(os.environ.items()) if name.startswith(TUNING)}
    cores = contest.available_cores()
    where = environment({"train": data.train, "test": data.test}, Path(__file__))
    return {**where, "peers": versions(), "variables": told, "cores": cores, "threads": threads}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all agree, 1 if not or one crashed, 2 for bad arguments, 130 for Ctrl-C."""
    return guarded(benchmark, Command, "python -m experiments.benchmark", arguments)


if __name__ == "__main__":
    sys.exit(main())
