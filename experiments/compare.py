"""Compare runs: one table of how their configs differ and what came of each, and their curves in one picture."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Annotated, Any

import attrs
import tyro
from matplotlib.figure import Figure
from toolz import concat, groupby, unique

from experiments import figures
from experiments import folder as files
from experiments.command import run_command
from experiments.config import Config
from experiments.run import Row, best_epoch
from funcnn.errors import require


@attrs.frozen
class Command:
    """Compare runs: a table of their configs and results, and their curves in one picture.

    Attributes:
        runs: The folders of the runs, or folders that hold such.
        out: The picture, a PNG file.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("runs/compare.png")

    def __attrs_post_init__(self) -> None:
        require(bool(self.runs), "RUN...", "at least one folder", "none")


@attrs.frozen
class Run:
    """What is compared of a run, which may have failed before its first epoch ended."""

    name: str
    config: Config
    history: tuple[Row, ...]

    @property
    def best(self) -> Row:
        """The best epoch, by its watched loss."""
        return self.history[best_epoch(self.history) - 1]


METRICS: Mapping[str, tuple[Callable[[Run], float], str]] = MappingProxyType(
    {
        "test loss": (lambda run: run.history[-1].test_loss, ".4f"),
        "test accuracy": (lambda run: run.history[-1].test_accuracy, ".2%"),
        "loss at best": (lambda run: run.best.test_loss, ".4f"),
        "accuracy at best": (lambda run: run.best.test_accuracy, ".2%"),
    }
)
"""On the test samples, after the last epoch and after the best one: how to find it, and its format."""


def read_runs(folder: Path) -> list[Run]:
    """The run in ``folder``, or all runs below it; what a killed writer left is hidden, and none."""
    paths = sorted(path.parent for path in folder.rglob("config.json"))
    found = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    require(bool(found), str(folder), "the folder of a run, or one that holds such", "no config.json in it")
    return [Run(str(path), files.read_config(path), files.read_history(path)) for path in found]


def differing(runs: Sequence[Run]) -> list[str]:
    """The fields in which the configs differ, beside the seed."""
    names = [field.name for field in attrs.fields(Config) if field.name != "seed"]
    return [name for name in names if len({getattr(run.config, name) for run in runs}) > 1]


def by_config(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each config, whatever their seeds, by seed."""
    groups = groupby(lambda run: attrs.evolve(run.config, seed=0), runs).values()
    return [sorted(group, key=lambda run: run.config.seed) for group in groups]


def table(runs: Sequence[Run]) -> str:
    """A line a run: how its config differs, its seed and its metrics. Where a config has several seeds, a line with the
    mean and the standard deviation over them (n - 1) comes after its runs.
    """
    names = differing(runs)
    titles = ["run", *(name.replace("_", " ") for name in names), "seed", "epochs done", "best epoch", *METRICS]
    lines = [titles]
    for group in by_config(runs):
        settings = [_shown(getattr(group[0].config, name)) for name in names]
        lines += [_line(run, settings) for run in group]
        seeds = list(unique((run for run in group if run.history), key=lambda run: run.config.seed))
        if len(seeds) > 1:
            means = (_mean([find(run) for run in seeds], form) for find, form in METRICS.values())
            lines.append([f"{len(seeds)} seeds, mean ± sd", *settings, "", "", "", *means])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def overlay(runs: Sequence[Run]) -> Figure:
    """The curves of all runs: a colour a config, a line a seed."""
    names = differing(runs)

    def label(config: Config) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {_shown(getattr(config, name))}" for name in names)

    groups = {label(group[0].config): [run.history for run in group] for group in by_config(runs)}
    return figures.overlay(groups, "training_loss", "test_loss", "test_accuracy")


def compare(command: Command) -> int:
    """Print the table and write the picture."""
    runs = list(concat(map(read_runs, command.runs)))
    print(table(runs))
    figures.write_png(command.out, overlay(runs))
    print(f"\ntheir curves are in {command.out}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a comparison, 1 where there is none to make, 2 for bad arguments, 130 for Ctrl-C."""
    return run_command("compare", Command, compare, arguments)


def _line(run: Run, settings: Sequence[str]) -> list[str]:
    """The cells of a run; it has no metrics before its first epoch ended."""
    epochs, best = (len(run.history), str(run.best.epoch)) if run.history else (0, "-")
    metrics = (f"{find(run):{form}}" if run.history else "-" for find, form in METRICS.values())
    return [run.name, *settings, str(run.config.seed), str(epochs), best, *metrics]


def _mean(numbers: Sequence[float], form: str) -> str:
    return f"{mean(numbers):{form}} ± {stdev(numbers):{form}}"


def _shown(value: Any) -> str:
    """A setting as on the command line; a dash for no numbers."""
    return (" ".join(map(str, value)) or "-") if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    sys.exit(main())
