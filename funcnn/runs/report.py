"""The report of a run: one HTML file, which loads nothing from elsewhere."""

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
    """Write the last numbers, the curves, and the sections of the experiment, whose HTML is trusted.

    Invalid text is escaped. The history may be empty; ``environment`` is plain data, nested in any way.

    Raises:
        InputError: The history does not have the watched column.
    """
    history, best = progress.history, best_epoch(plan, progress.history)
    drawn = {name: figures.curves(history, best, plan.formats, [name]) for name in figures.quantities(history)}
    names = evaluated(history[-1])[:7] if history else []  # with the best, as many as one sees at a glance
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
