"""Published results beside ours: each entry's config is run with some seeds, and all stand in one table.

Every run is a folder OUT/NAME/seed=K as :mod:`experiments.folder` describes it, so a run that was killed goes on, and
one that is finished is not run again. Ours is the test accuracy after the last epoch: the test samples choose nothing.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Annotated

import attrs
import tyro

from experiments import folder as files
from experiments.command import exit_status
from experiments.config import Config, load_data
from experiments.job import begin, carry_out
from experiments.run import Outcome, Row, has_ended
from funcnn.errors import is_count, require


@attrs.frozen
class Entry:
    """A published result.

    Attributes:
        what: The network and how it is trained, in short.
        source: Who reported it.
        accuracy: The published test accuracy in percent.
        config: That of our runs, but for the seed.
        seeds: With how many seeds we run it, from 0 on.
    """

    what: str
    source: str
    accuracy: float
    config: Config
    seeds: int


_XIAO = (
    Config(  # the defaults of scikit-learn's MLPClassifier in 2017, which stops after 3 epochs without a gain of 1e-4
        scaling="standard",
        hidden=(100,),
        initializer="glorot_uniform",
        l2=0.5 * 1e-4 / 200,  # its penalty is half of alpha |w|^2 over the batch
        batch_size=200,
        epochs=200,
        patience=11,
        tolerance=1e-4,
    )
)

_SRIVASTAVA = Config(
    dataset="mnist",
    hidden=(1024, 1024, 1024),
    input_dropout=0.2,
    dropout=0.5,
    optimizer="sgd",
    momentum=0.95,
    learning_rate=0.1,
    schedule="cosine",
    batch_size=250,
    epochs=120,
)

ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        "fashion-relu": Entry(
            "Fashion-MNIST 784-100-10 ReLU, standardised, Adam",
            "Xiao et al. 2017",
            87.1,
            attrs.evolve(_XIAO, dataset="fashion_mnist"),
            seeds=3,
        ),
        "fashion-tanh": Entry(
            "Fashion-MNIST 784-100-10 tanh, standardised, Adam",
            "Xiao et al. 2017",
            86.8,
            attrs.evolve(_XIAO, dataset="fashion_mnist", activation="tanh"),
            seeds=3,
        ),
        "mnist-relu": Entry(
            "MNIST 784-100-10 ReLU, standardised, Adam",
            "Xiao et al. 2017",
            97.2,
            attrs.evolve(_XIAO, dataset="mnist"),
            seeds=3,
        ),
        "mnist-tanh": Entry(
            "MNIST 784-100-10 tanh, standardised, Adam",
            "Xiao et al. 2017",
            96.2,
            attrs.evolve(_XIAO, dataset="mnist", activation="tanh"),
            seeds=3,
        ),
        "keras": Entry(
            "MNIST 784-512-512-10 ReLU, dropout 0.2, RMSprop",
            "Keras, mnist_mlp.py",
            98.4,
            Config(
                dataset="mnist",
                hidden=(512, 512),
                initializer="glorot_uniform",
                dropout=0.2,
                optimizer="rmsprop",
                batch_size=128,
                epochs=20,
            ),
            seeds=3,
        ),
        "simard": Entry(
            "MNIST 784-800-10 ReLU, SGD",
            "Simard et al. 2003",
            98.4,
            Config(
                dataset="mnist",
                hidden=(800,),
                optimizer="sgd",
                learning_rate=0.3,
                schedule="cosine",
                batch_size=100,
                epochs=30,
            ),
            seeds=3,
        ),
        "srivastava-max-norm": Entry(
            "MNIST 3x1024 ReLU, dropout 0.5 and 0.2, SGD with max-norm",
            "Srivastava et al. 2014",
            98.94,
            attrs.evolve(_SRIVASTAVA, max_norm=1.5),
            seeds=1,
        ),
    }
)


@attrs.frozen
class Command:
    """Run published results again, and print the table of all that has been run.

    Attributes:
        names: The results to run; without a name the table is printed, which lists them.
        seeds: Run so many seeds of each, from 0 on, instead of its own number.
        out: The folder of the runs.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    seeds: int | None = None
    out: Annotated[Path, tyro.conf.arg(metavar="PATH")] = Path("runs/published")

    def __attrs_post_init__(self) -> None:
        unknown = [name for name in self.names if name not in ENTRIES]
        require(not unknown, "names", f"some of {', '.join(ENTRIES)}", ", ".join(unknown))
        require(self.seeds is None or is_count(self.seeds), "--seeds", "a positive whole number", self.seeds)


def repeat(config: Config, parent: Path, seeds: int) -> Iterator[Outcome]:
    """The outcome of each seed that is not finished under ``parent``, one after the other, until one ends early."""
    for seed in range(seeds):
        seeded, folder = attrs.evolve(config, seed=seed), _folder(parent, seed)
        if _is_finished(folder, seeded):
            continue
        data = load_data(seeded)
        if not (folder / "environment.json").exists():  # it is the last that begin writes
            folder.mkdir(parents=True, exist_ok=True)
            begin(folder, seeded, data)
        outcome = carry_out(folder, seeded, data)
        yield outcome
        if outcome.interrupted or outcome.failure:
            return


def table(entries: Mapping[str, Entry], out: Path) -> str:
    """The Markdown table of all entries, with what is finished under ``out``.

    Ours is the mean over the seeds and their standard deviation, and the minutes are those of training one seed.
    """
    head = ["name", "what", "source", "published", "ours", "seeds", "epochs", "minutes"]
    rows = [_cells(name, entry, _finished(entry.config, out / name)) for name, entry in entries.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _cells(name: str, entry: Entry, histories: Sequence[Sequence[Row]]) -> list[str]:
    told = [f"`{name}`", entry.what, entry.source, f"{entry.accuracy:g} %"]
    if not histories:
        return [*told, "not run", "0", "", ""]
    accuracies = [100 * history[-1].test_accuracy for history in histories]
    deviation = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    epochs = fmean(len(history) for history in histories)
    minutes = fmean(sum(row.seconds for row in history) for history in histories) / 60
    return [*told, f"{fmean(accuracies):.2f}{deviation} %", f"{len(histories)}", f"{epochs:.0f}", f"{minutes:.1f}"]


def _finished(config: Config, parent: Path) -> list[Sequence[Row]]:
    """The histories of the finished runs of ``config`` under ``parent``, whatever their seeds."""
    found = (int(folder.name.removeprefix("seed=")) for folder in parent.glob("seed=*"))
    runs = ((_folder(parent, seed), attrs.evolve(config, seed=seed)) for seed in sorted(found))
    return [files.read_history(folder) for folder, seeded in runs if _is_finished(folder, seeded)]


def _folder(parent: Path, seed: int) -> Path:
    return parent / f"seed={seed}"


def _is_finished(folder: Path, config: Config) -> bool:
    """Whether the run in ``folder``, if there is one, has ended; it must be one of ``config``."""
    if not (folder / "config.json").exists():
        return False
    same = files.read_config(folder) == config
    require(same, str(folder), "a run with the config of this version", "another", "move it away, or choose an --out")
    return (
        has_ended(files.read_history(folder), config.epochs, config.patience, config.tolerance)
        and (folder / "report.html").exists()
    )


def _run(command: Command) -> int:
    """Run what is missing, and print the table; gives the exit status."""
    for name in command.names:
        entry = ENTRIES[name]
        for outcome in repeat(entry.config, command.out / name, command.seeds or entry.seeds):
            if outcome.failure:
                print(f"error: {name}: {outcome.failure}", file=sys.stderr)
                return 1
            if outcome.interrupted:
                print("interrupted: what was learned is saved; the same command goes on", file=sys.stderr)
                return 130
            print(f"{name}: {outcome.progress.history[-1].test_accuracy:.2%}", file=sys.stderr)
    print(table(ENTRIES, command.out))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a table, 1 for a failed run, 2 for bad arguments, 130 for Ctrl-C."""
    command = tyro.cli(Command, prog="python -m experiments.published", args=arguments)
    return exit_status(partial(_run, command))


if __name__ == "__main__":
    sys.exit(main())
