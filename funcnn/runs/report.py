"""The report of a run, whatever its experiment: one HTML file that holds all it shows, and fetches nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from funcnn.files import replacing
from funcnn.runs import figures
from funcnn.runs.experiment import Experiment
from funcnn.runs.plan import Plan
from funcnn.runs.sections import TEMPLATES
from funcnn.runs.stream import Progress, best_epoch
from funcnn.runs.text import evaluated, number


def write_report(
    path: Path, experiment: Experiment, plan: Plan, progress: Progress, environment: Mapping[str, Any]
) -> None:
    """Show what came of a run: its last numbers, its curves, and the sections of its experiment, whose HTML is trusted.

    The file is replaced by a whole new one; what is no text stands there in escapes. The history may be empty;
    ``environment`` is plain data, nested as one likes.

    Raises:
        InputError: The history does not have the column that is watched.
    """
    history, best = progress.history, best_epoch(plan, progress.history)
    drawn = {name: figures.curves(history, best, plan.formats, [name]) for name in figures.quantities(history)}
    names = evaluated(history[-1])[:7] if history else []  # with the best as many as are taken in at a glance
    tiles = [(name, number(name, history[-1][name], plan.formats), "") for name in names]
    if best and plan.watch:
        least = number(plan.watch, history[best - 1][plan.watch], plan.formats)
        tiles.append(("best epoch", str(best), f"{plan.watch} {least}"))
    text = TEMPLATES.get_template("report.html.jinja").render(
        title=path.absolute().parent.name,
        plan=plan,
        steps=progress.step,
        epochs=len(history),
        seconds=sum(row.get("seconds", 0.0) for row in history),
        tiles=tiles,
        description=experiment.describe(),
        curves={name: figures.inline_svg(figure, f"curves {name}") for name, figure in drawn.items()},
        sections=[*experiment.sections(progress.params)],
        options=attrs.asdict(plan.options),
        environment=environment,
        blue=figures.BLUE,
        orange=figures.ORANGE,
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
