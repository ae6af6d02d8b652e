"""Pictures of the plane, for the reports of experiments."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import funcnn as fn
from funcnn.arrays import Array
from funcnn.layer import Params
from funcnn.runs import Section
from funcnn.runs.figures import STYLE
from funcnn.runs.sections import figure_section


def sheet(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of ``width`` by ``height`` inches in the style of a report, and its axes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def regions(model: fn.Layer, params: Params, points: fn.Batch) -> Section:
    """The class at every place of the plane, behind ``points``; one logit is enough for two classes."""
    colours = ("tab:blue", "tab:orange", "tab:green")
    side = np.linspace(-1.1, 1.1, 300, dtype=np.float32)
    logits = fn.predict(model, params, np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    classes = logits.argmax(axis=1) if logits.shape[1] > 1 else logits[:, 0] > 0
    figure, axes = sheet(5, 5)
    axes.contourf(side, side, classes.reshape(300, 300), levels=np.arange(-0.5, 3), colors=colours, alpha=0.3)
    x, y = points.inputs.T
    axes.scatter(x, y, c=[colours[int(label)] for label in points.targets.ravel()], s=12)
    axes.set(xlabel="x", ylabel="y", aspect="equal")
    return figure_section("Regions", figure, "The class of every place, and the test points in the colour of theirs.")


def cloud(title: str, groups: Mapping[str, Array], note: str = "") -> Section:
    """The points (count, 2) of each group in its own colour."""
    figure, axes = sheet(6, 5)
    for name, points in groups.items():
        axes.scatter(points[:, 0], points[:, 1], s=5, alpha=0.7, label=name)
    axes.set(aspect="equal")
    figure.legend(loc="outside right center", frameon=False)
    return figure_section(title, figure, note)
