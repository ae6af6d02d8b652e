"""Published results beside ours: each entry's config is run with some seeds, and all stand in one table.

Every run is a folder OUT/NAME/seed=K as :mod:`experiments.folder` describes it, so a run that was killed goes on, and
one that is finished is not run again. Ours is the test accuracy after the last epoch: the test samples choose nothing.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import attrs
import tyro

from experiments import folder as files
from experiments.command import run_command
from experiments.config import Config
from experiments.entries import ENTRIES, Entry
from experiments.run import Outcome, Row
from experiments.task import complete
from funcnn.errors import is_count, require


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
        seeded, folder = attrs.evolve(config, seed=seed), parent / f"seed={seed}"
        outcome = None if _is_complete(folder, seeded) else complete(folder, seeded)
        if outcome is None:
            continue
        yield outcome
        if outcome.interrupted or outcome.failure:
            return


def table(entries: Mapping[str, Entry], out: Path) -> str:
    """The Markdown table of all entries, with what is finished under ``out``.

    Ours is the mean over the seeds and their standard deviation, and the minutes are those of training one seed.
    """
    head = ["name", "what", "source", "published", "ours", "seeds", "epochs", "minutes"]
    rows = [_cells(name, entry, _finished(entry.config, out / name)) for name, entry in entries.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in [head, *rows]]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


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
    return [files.read_history(folder) for folder in parent.glob("seed=*") if _is_complete(folder, config)]


def _is_complete(folder: Path, config: Config) -> bool:
    """Whether there is a run in ``folder`` that has ended; it must be one of ``config``, but for the seed."""
    if not (folder / "config.json").exists():
        return False
    same = attrs.evolve(files.read_config(folder), seed=config.seed) == config
    require(same, str(folder), "a run with the config of this version", "another", "move it away, or choose an --out")
    return files.is_complete(folder, config)


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
    return run_command("published", Command, _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
