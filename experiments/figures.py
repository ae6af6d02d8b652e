"""Figures: what a run's picture and page draw, as matplotlib figures, inline SVG and PNG data URIs.

One blue and one orange carry all meaning: training and test, right and wrong, negative and positive. Both are
middle tones, which read on white and on black.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator, PercentFormatter

from experiments.run import Row
from funcnn.arrays import Array
from funcnn.files import replacing

BLUE, ORANGE = "#3b82c4", "#e0701f"

INK: Colormap = mpl.colormaps["gray_r"]
SIGNED: Colormap = LinearSegmentedColormap.from_list(
    "signed", [(0.0, BLUE), (0.5, BLUE + "00"), (0.5, ORANGE + "00"), (1.0, ORANGE)]
)
"""Nothing at the middle, so that zero has the colour of the page."""

_PARTS: Mapping[str, Any] = MappingProxyType(
    {
        "training": {"color": BLUE, "linestyle": "--"},
        "validation": {"color": ORANGE, "linestyle": ":"},
        "test": {"color": ORANGE},
    }
)

STYLE: Any = MappingProxyType(
    {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "black",
        "grid.alpha": 0.12,
        "legend.frameon": False,
        "svg.fonttype": "none",  # text stays text, in the font of the page
    }
)


def curves(history: Sequence[Row], *quantities: str) -> Figure:
    """Each quantity against epochs, side by side: of training, validation and test, where a row has them."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(quantities), 2.7), layout="constrained", dpi=150)
        for quantity, axes in zip(quantities, figure.subplots(1, len(quantities), squeeze=False)[0], strict=True):
            _draw_curve(axes, history, quantity)
    return figure


def overlay(groups: Mapping[str, Sequence[Sequence[Row]]], *quantities: str) -> Figure:
    """Each quantity against epochs, side by side: a colour a named group, a thin line a history."""
    few = mpl.color_sequences["tab10"]
    colours = few if len(groups) <= len(few) else mpl.colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(quantities), 3.2), layout="constrained", dpi=150)
        for quantity, axes in zip(quantities, figure.subplots(1, len(quantities), squeeze=False)[0], strict=True):
            for colour, (name, histories) in zip(colours, groups.items(), strict=False):
                for seed, history in enumerate(histories):
                    label = None if seed else name  # one line of a colour stands in the legend
                    _draw_line(axes, history, quantity, color=colour, linewidth=0.8, label=label)
            _finish_axes(axes, quantity)
        if any(groups):
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def reliability_diagram(table: Float[Array, "bins 3"]) -> Figure:
    """Accuracy against confidence, with one binomial standard error, over the number of samples in each bin."""
    bins = np.flatnonzero(table[:, 0])
    weight, confidence, correct = table[bins].T
    accuracy = correct / weight
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], ":", color="black", linewidth=1, label="perfectly calibrated")
        error = np.sqrt(accuracy * (1 - accuracy) / weight)
        above.errorbar(confidence / weight, accuracy, error, fmt="o-", ms=4, color=ORANGE, label="this model")
        above.set(ylabel="accuracy", ylim=(-0.02, 1.02))
        above.xaxis.set_major_formatter(PercentFormatter(1.0))
        above.yaxis.set_major_formatter(PercentFormatter(1.0))
        above.legend(loc="upper left")
        bars = below.bar((bins + 0.5) / len(table), weight, width=0.9 / len(table), color=BLUE)
        below.bar_label(bars, fmt="{:,.0f}", fontsize=7)
        below.set(
            xlabel="confidence", ylabel="samples (log)", xlim=(-0.02, 1.02), yscale="log", ylim=(0.5, 3 * weight.max())
        )
        below.tick_params(axis="y", which="both", left=False, labelleft=False)  # the bars say their numbers
        below.grid(visible=False, axis="y")
    return figure


def write_png(path: Path, figure: Figure) -> None:
    """The figure as a file."""
    with replacing(path) as part:
        figure.savefig(part, format="png")


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element in the text colour of the page; ``name`` tells its ids from another's."""
    file = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])  # every figure has the same ones
    return text.replace("#000000", "currentColor")


def data_uri(image: Float[Array, "height width"], colours: Colormap, low: float, high: float) -> str:
    """The image as a PNG inside a URI; values from ``low`` to ``high`` run through ``colours``."""
    file = io.BytesIO()
    imsave(file, image, cmap=colours, vmin=low, vmax=high, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _draw_curve(axes: Axes, history: Sequence[Row], quantity: str) -> None:
    if quantity in attrs.fields_dict(Row):
        _draw_line(axes, history, quantity, color=BLUE)
    else:
        for part, look in _PARTS.items():
            _draw_line(axes, history, f"{part}_{quantity}", **look, label=part)
        axes.legend()
    _finish_axes(axes, quantity)


def _draw_line(axes: Axes, history: Sequence[Row], quantity: str, **look: Any) -> None:
    epochs, values = [row.epoch for row in history], [getattr(row, quantity) for row in history]
    marker = "o" if len(history) <= 50 else ""  # more would be a smear, and a page of megabytes
    if None not in values:
        axes.plot(epochs, values, **look, marker=marker, ms=3)


def _finish_axes(axes: Axes, quantity: str) -> None:
    axes.set(xlabel="epoch", title=quantity.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if quantity.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.set_ylim(bottom=0)
