"""Runs of any experiments side by side: the differences of their configs, their results and their curves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import attrs
import tyro
from matplotlib.figure import Figure
from toolz import concat, dissoc, groupby, merge, unique

from funcnn.errors import require
from funcnn.runs import figures, folder as files
from funcnn.runs.experiment import Row
from funcnn.runs.plan import Plan, read_plan
from funcnn.runs.stream import best_epoch
from funcnn.runs.text import columns, evaluated, number, say


@attrs.frozen
class Comparison:
    """Compare runs: a table of their configs and results, and their curves in one picture.

    Attributes:
        runs: The folders of runs, or folders that contain them.
        out: The picture, a PNG file.
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...", help_behavior_hint="(required)")
    ]
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("runs/compare.png")

    def __attrs_post_init__(self) -> None:
        require(bool(self.runs), "RUN...", "at least one folder", "none")


@attrs.frozen(eq=False)
class Compared:
    """A run to compare; its history is empty if it failed in its first epoch."""

    name: str
    plan: Plan
    history: Sequence[Row]

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that may change the numbers except the seed: the experiment, its config, its engine and threads."""
        plan, options = self.plan, self.plan.options
        config = dissoc(dict(plan.config), "seed")
        computed = {"engine": options.engine, "threads": options.threads}
        return {"experiment": plan.experiment, "version": plan.version, **config, **computed}

    @property
    def seed(self) -> Any:
        """The seed, if the config has one."""
        return self.plan.config.get("seed", "-")

    @property
    def best(self) -> int | None:
        """The best epoch, if a column is watched."""
        return best_epoch(self.plan, self.history)

    @property
    def numbers(self) -> Mapping[str, float]:
        """The numbers of the last epoch and of the best one, by name."""
        best = self.history[self.best - 1] if self.best else {}
        return {**(self.history[-1] if self.history else {}), **{f"{name} at best": best[name] for name in best}}


def compare(comparison: Comparison) -> int:
    """Print the table and write the picture; returns the exit status."""
    runs = list(concat(map(read_runs, comparison.runs)))
    say(table(runs))
    figures.write_png(comparison.out, overlay(runs))
    say(f"\ntheir curves are in {comparison.out}")
    return 0


def read_runs(folder: Path) -> list[Compared]:
    """The run in ``folder``, or all runs below it; hidden folders, as killed writers leave them, are skipped."""
    paths = sorted(path.parent for path in folder.rglob("config.json"))
    folders = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    require(bool(folders), str(folder), "the folder of a run, or one that contains runs", "no config.json in it")
    return [Compared(str(path), read_plan(path), files.read_history(path)) for path in folders]


def table(runs: Sequence[Compared]) -> str:
    """A line for each run: the differing settings, the seed and the numbers. After the runs of several seeds comes a
    line with their mean and standard deviation (n - 1).
    """
    names, quantities = _differing(runs), _quantities(runs)
    titles = [*quantities, *(f"{name} at best" for name in quantities)]
    lines = [["run", *(name.replace("_", " ") for name in names), "seed", "epochs done", "best epoch", *titles]]

    def cells(*runs: Compared) -> Iterator[str]:
        rows = [run.numbers for run in runs]
        for title in titles:
            values = [row[title] for row in rows if title in row]
            if len(runs) > 1:
                values = [mean(values), stdev(values)] if len(values) > 1 else []
            shown = (number(title.removesuffix(" at best"), value, runs[0].plan.formats) for value in values)
            yield " ± ".join(shown) or "-"

    for group in _by_config(runs):
        settings = [_shown(group[0], name) for name in names]
        for run in group:
            counts = [str(run.seed), str(len(run.history)), str(run.best or "-")]
            lines.append([run.name, *settings, *counts, *cells(run)])
        seeds = list(unique((run for run in group if run.history), key=lambda run: json.dumps(run.seed)))
        if len(seeds) > 1:
            lines.append([f"{len(seeds)} seeds, mean ± sd", *settings, "", "", "", *cells(*seeds)])
    return columns(lines)


def overlay(runs: Sequence[Compared]) -> Figure:
    """The curves of all runs: a colour a config, a band over its seeds."""
    names, groups = _differing(runs), _by_config(runs)
    labels = [", ".join(f"{name.replace('_', ' ')} {_shown(group[0], name)}" for name in names) for group in groups]
    histories = [[run.history for run in group] for group in groups]
    watched = [run.plan.watch for run in runs if run.plan.watch]
    quantities, formats = unique([*watched, *_quantities(runs)]), merge(run.plan.formats for run in runs)
    return figures.overlay(dict(zip(labels, histories, strict=True)), list(quantities)[:4], formats)


def _differing(runs: Sequence[Compared]) -> list[str]:
    """The settings in which the runs differ."""
    names = unique(concat(run.settings for run in runs))
    return [name for name in names if len({json.dumps(run.settings.get(name)) for run in runs}) > 1]


def _by_config(runs: Sequence[Compared]) -> list[list[Compared]]:
    """The runs of each config, by seed."""
    groups = groupby(lambda run: json.dumps(run.settings, sort_keys=True), runs).values()
    return [sorted(group, key=lambda run: str(run.seed).zfill(20)) for group in groups]


def _quantities(runs: Sequence[Compared]) -> list[str]:
    """The columns to compare: those of :func:`evaluated` in any run."""
    return list(unique(concat(evaluated(run.history[0]) for run in runs if run.history)))


def _shown(run: Compared, name: str) -> str:
    """A setting as on the command line; a dash for an empty list or a missing one."""
    value = run.settings.get(name, "-")
    return (" ".join(map(str, value)) or "-") if isinstance(value, list | tuple) else str(value)
