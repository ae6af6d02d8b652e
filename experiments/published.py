"""Published results beside ours: each entry's config is run with some seeds, and one table shows all.

Every run of :mod:`experiments.mnist` has a folder OUT/NAME/seed=K: a stopped run is resumed, a finished one is not run
again. Ours is the test accuracy after the last epoch: the test samples choose nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import attrs
import tyro
from attrs.validators import optional

from experiments.entries import ENTRIES, Entry
from experiments.mnist import Config, experiment
from funcnn.errors import require
from funcnn.runs import Row, folder as files, run
from funcnn.runs.endings import guarded
from funcnn.runs.options import COUNT
from funcnn.runs.plan import read_plan, structured
from funcnn.runs.text import columns, say

HEAD = ("name", "what", "source", "published", "ours", "seeds", "epochs", "minutes")


@attrs.frozen
class Command:
    """Run published results again, and print the table of all finished runs.

    Attributes:
        names: The results to run; without names only the table is printed, which lists them.
        seeds: Run so many seeds of each, from 0 on, instead of the entry's number.
        out: The folder of the runs.
        markdown: Print the table as Markdown, with a description of each result.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    seeds: int | None = attrs.field(default=None, validator=optional(COUNT))
    out: Annotated[Path, tyro.conf.arg(metavar="PATH")] = Path("runs/published")
    markdown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    def __attrs_post_init__(self) -> None:
        unknown = [name for name in self.names if name not in ENTRIES]
        require(not unknown, "names", f"some of {', '.join(ENTRIES)}", ", ".join(unknown))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a table, 1 for a failed run, 2 for bad arguments, 130 for Ctrl-C."""
    return guarded(repeat, Command, "python -m experiments.published", arguments)


def repeat(command: Command) -> int:
    """Run what is missing, and print the table; returns the exit status."""
    for name in command.names:
        entry = ENTRIES[name]
        say(f"{name}: {entry.what} ({entry.source})", error=True)
        for seed in range(command.seeds or entry.seeds):
            folder, config = command.out / name / f"seed={seed}", attrs.evolve(entry.config, seed=seed)
            if history_of(folder, config):
                continue
            outcome = run(
                experiment(config), folder, name="mnist", config=config, source=Path(__file__), show=None, wait=True
            )
            if outcome.failure:
                say(f"error: {folder}: {outcome.failure}", error=True)
                return 1
            if outcome.interrupted:
                say("interrupted: what was learned is saved; the same command goes on", error=True)
                return 130
            if outcome.progress is not None:  # otherwise another process has finished it
                say(f"  seed {seed}: {outcome.progress.history[-1]['test/accuracy']:.2%}", error=True)
    lines = [HEAD, *(cells(name, entry, command.out / name) for name, entry in ENTRIES.items())]
    narrow = columns([[name, *numbers, source] for name, _, source, *numbers in lines])
    print(markdown(lines) if command.markdown else narrow)
    return 0


def history_of(folder: Path, config: Config) -> Sequence[Row]:
    """The history of a finished run in ``folder``, or an empty one; a run of another config is refused."""
    if not (folder / "config.json").exists():
        return ()
    plan = read_plan(folder)
    recorded = structured(str(folder), plan.config, Config) if plan.experiment == "mnist" else None
    same = recorded is not None and attrs.evolve(recorded, seed=config.seed) == config
    require(same, str(folder), "a run with the config of this version", "another", "move it away, or choose an --out")
    return files.read_history(folder) if files.is_complete(folder, plan) else ()


def cells(name: str, entry: Entry, parent: Path) -> Sequence[str]:
    """The line of an entry below ``HEAD``: mean and deviation over its finished runs in ``parent``, minutes of each."""
    about = [name, entry.what, entry.source, f"{entry.accuracy:g} %"]
    histories = [history for folder in parent.glob("seed=*") if (history := history_of(folder, entry.config))]
    if not histories:
        return [*about, "not run", "0", "", ""]
    accuracies = [100 * history[-1]["test/accuracy"] for history in histories]
    deviation = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    epochs = fmean(len(history) for history in histories)
    minutes = fmean(sum(row["seconds"] for row in history) for history in histories) / 60
    return [*about, f"{fmean(accuracies):.2f}{deviation} %", f"{len(histories)}", f"{epochs:.0f}", f"{minutes:.1f}"]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The table of docs/published.md."""
    head, *rows = lines
    first, *others = (f"| {' | '.join(line)} |" for line in [head, *([f"`{name}`", *rest] for name, *rest in rows)])
    return "\n".join([first, "|---" * len(head) + "|", *others])


if __name__ == "__main__":
    sys.exit(main())
