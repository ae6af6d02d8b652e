"""funcnn beside its peers, on the same work, in turn: ``python -m experiments.benchmark``."""

import os
import reprlib
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro
from tqdm import tqdm

import funcnn as fn
from experiments.benchmark import contest, pictures
from experiments.benchmark.installed import installed_bytes
from experiments.benchmark.peers import PEERS
from experiments.benchmark.tables import Results, disagreements, seconds, text
from experiments.benchmark.workloads import GROWTH, INSTALLED_SIZE, NAMES
from funcnn.errors import is_count, is_real, is_size, require
from funcnn.runs import folder as files
from funcnn.runs.endings import guarded
from funcnn.runs.environment import environment
from funcnn.runs.figures import write_png
from funcnn.runs.options import COUNT
from funcnn.runs.plan import read_json, structured, write_json

PEERS_STAND_ON = ("jax", "jaxlib", "optax", "torch", "scikit-learn", "scipy", "keras")

TUNING = ("GLIBC_", "JAX_", "KERAS_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "TORCH", "XLA_")
"""Prefixes of the environment variables that tools read."""


@attrs.frozen
class Command:
    """Measure funcnn and its peers on the same work, in turn, and compare them.

    Attributes:
        workloads: The workloads to run, instead of all.
        peers: The peers that take part, instead of all.
        repeats: The number of rounds.
        threads: The threads of each process, instead of one per core.
        growth: Measure how time and memory grow, once, at the end.
        out: The folder of the results, instead of runs/benchmark-DATE-TIME.
        dataset: The data set of the training samples; mnist_5k has few, for a trial.
        draw: Print the tables and draw the pictures of this benchmark.json again, and run nothing.
    """

    workloads: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = NAMES
    peers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = tuple(PEERS)
    repeats: int = attrs.field(default=5, validator=COUNT)
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    growth: bool = True
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    dataset: Literal["mnist", "mnist_5k"] = "mnist"
    draw: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    def __attrs_post_init__(self) -> None:
        for option, given, known in (("--workloads", self.workloads, NAMES), ("--peers", self.peers, tuple(PEERS))):
            unknown = [name for name in given if name not in known]
            require(not unknown, option, f"some of {', '.join(known)}", ", ".join(unknown))
        cores = len(contest.available_cores())
        fits = self.threads is None or (is_count(self.threads) and self.threads <= cores)
        require(fits, "--threads", f"a whole number from 1 to {cores}, the cores here", self.threads)


def benchmark(command: Command) -> int:
    """Run the benchmark, or read its results again; returns the exit status."""
    if command.draw is not None:
        return show(read(command.draw), command.draw.parent)
    data = fn.load_dataset(command.dataset)
    growth = [name for name, work in GROWTH.items() if command.growth and work.samples <= len(data.train.inputs)]
    plan = contest.plan_of(command.workloads, command.peers, command.repeats, growth)
    sized = [peer for peer in command.peers if INSTALLED_SIZE in command.workloads and PEERS[peer].installs]
    require(bool(plan or sized), "--peers", "some that take part in the workloads", ", ".join(command.peers))
    cores = len(contest.available_cores())
    threads = command.threads or cores
    surroundings: dict[str, Any] = {  # what changes speed, beside a run's environment
        **environment({"train": data.train, "test": data.test}, Path(__file__)),
        "peers": {name: next((one.version for one in distributions(name=name)), None) for name in PEERS_STAND_ON},
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(TUNING)},
        "cores": cores,
        "threads": threads,
    }
    sizes = {peer: installed_bytes(PEERS[peer].installs) for peer in sized}
    results = Results(surroundings, attrs.asdict(command), (), sizes)
    out = files.create(command.out, "benchmark")
    write_json(out / "benchmark.json", results)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            made = contest.measured(plan, data.train, Path(scratch), threads)
            bar = tqdm(made, total=len(plan), unit="process", disable=None)
            for measurement in bar:
                results = attrs.evolve(results, measurements=(*results.measurements, measurement))
                write_json(out / "benchmark.json", results)
                if bar.disable:  # no terminal
                    result = measurement.status or f"{seconds([measurement]):.3g} s"
                    place = f"round {1 + measurement.round}: {measurement.workload}, {measurement.peer}"
                    print(f"{place}: {result}", file=sys.stderr)
    finally:  # even if it was stopped
        status = show(results, out)
    return status


def show(results: Results, out: Path) -> int:
    """Print the tables and draw the pictures; returns 1 if a peer failed or disagrees, else 0."""
    print(text(results))
    for name, draw in {"ratios.png": pictures.ratios, "growth.png": pictures.growth}.items():
        if (figure := draw(results.measurements)) is not None:
            write_png(out / name, figure)
    print(f"\nall files are in {out}")
    failed = any(measurement.status == "failed" for measurement in results.measurements)
    return 1 if failed or disagreements(results.measurements) else 0


def read(path: Path) -> Results:
    """The results in a file.

    Raises:
        InputError: The file has no valid results.
    """
    results = structured(str(path), read_json(path), Results)
    environment = results.environment
    fits = isinstance(environment.get("processor"), str) and is_count(environment.get("threads"))
    require(fits, f"{path} environment", "a processor and its threads", reprlib.repr(environment))
    for i, one in enumerate(results.measurements):
        fits = bool(one.failure) or (len(one.seconds) > 0 and all(is_real(each, low=1e-9) for each in one.seconds))
        require(fits, f"{path} measurements[{i}]", "the seconds of each epoch, or a failure", one.seconds)
    sizes = [size for one in results.measurements for size in (one.peak, one.added, one.program, one.params)]
    wrong = [size for size in (*sizes, *results.sizes.values()) if size is not None and not is_size(abs(size))]
    require(not wrong, f"{path} sizes", "bytes, or null", wrong)
    peers = {*results.sizes, *(measurement.peer for measurement in results.measurements)}
    require(peers <= PEERS.keys(), f"{path} peers", f"some of {', '.join(PEERS)}", sorted(peers - PEERS.keys()))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all agree, 1 if not or one failed, 2 for bad arguments, 130 for Ctrl-C."""
    return guarded(benchmark, Command, "python -m experiments.benchmark", arguments)


if __name__ == "__main__":
    sys.exit(main())
