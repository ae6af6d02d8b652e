"""Figures of a run with matplotlib, and their output as PNG files, inline SVG and data URIs.

One blue and one orange carry all meaning: training and test, right and wrong, negative and positive. Both can be read
on white and on black.
"""

import base64
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from toolz import concat, groupby, unique

from funcnn.annotations import Float, Shaped
from funcnn.arrays import Array
from funcnn.files import replacing
from funcnn.runs.experiment import COUNTERS, Row
from funcnn.tree import frozendict

Formats: TypeAlias = Mapping[str, str]

BLUE, ORANGE = "#3b82c4", "#e0701f"

GREY, INK = mpl.colormaps["gray"], mpl.colormaps["gray_r"]
SIGNED: Colormap = LinearSegmentedColormap.from_list(
    "signed", [(0.0, BLUE), (0.5, BLUE + "00"), (0.5, ORANGE + "00"), (1.0, ORANGE)]
)
"""Transparent in the middle, so that zero has the colour of the page."""

_LOOKS: Any = frozendict({"": (BLUE, "-"), "train": (BLUE, "--"), "validation": (ORANGE, ":"), "test": (ORANGE, "-")})
_OTHER_LOOKS = (("#2f9e6e", "-"), ("#9a6bd0", "-"), ("#b08a1e", "-"), ("#c2528b", "-"))

STYLE: Any = frozendict(
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


def quantities(history: Sequence[Row]) -> dict[str, list[str]]:
    """The columns of each quantity, which is the last part of their names; counters are left out.

    >>> quantities([{"epoch": 1, "train/loss": 0.5, "test/loss": 0.6, "learning_rate": 0.1}])
    {'loss': ['train/loss', 'test/loss'], 'learning_rate': ['learning_rate']}
    """
    names = [name for name in unique(concat(history)) if name not in COUNTERS]
    return dict(groupby(lambda name: name.rpartition("/")[-1], names))


def curves(
    history: Sequence[Row], best: int | None = None, formats: Formats = frozendict({}), only: Collection[str] = ()
) -> Figure:
    """Each quantity, or each of ``only``, against epochs in its own axes, with a line for each group, such as train.

    Row i is epoch i + 1; a missing number is a gap. The epoch ``best``, from 1, is marked. A quantity whose format ends
    with % is shown in percent.
    """
    columns = quantities(history)
    marker = "o" if len(history) <= 50 else ""  # more would be a smear, and a report of megabytes

    def draw(axes: Axes, quantity: str) -> None:
        others = cycle(_OTHER_LOOKS)
        for name in columns[quantity]:
            group = name.rpartition("/")[0]
            colour, line = _LOOKS.get(group) or next(others)
            numbers = _column(history, name, len(history))
            axes.plot(range(1, len(history) + 1), numbers, marker + line, color=colour, ms=3, label=group or None)
        if any(axes.get_legend_handles_labels()):
            axes.legend()
        if best is not None:
            axes.axvline(best, color="black", linewidth=0.8, alpha=0.5, zorder=1)
            axes.set_xlabel(f"epoch (best: {best})")

    return _drawn(draw, [name for name in columns if not only or name in only], len(history), formats)


def overlay(
    groups: Mapping[str, Sequence[Sequence[Row]]], names: Sequence[str], formats: Formats = frozendict({})
) -> Figure:
    """Each column in ``names`` against epochs in its own axes, with a colour for each group, and one legend.

    A group is a list of histories, such as those of a config's seeds. Its line is the mean of the numbers at an epoch,
    its band reaches from the least to the greatest. ``formats`` is as for :func:`curves`.
    """
    few = mpl.color_sequences["tab10"]
    colours = few if len(groups) <= len(few) else mpl.colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    labels = [name.encode("utf-8", "backslashreplace").decode() for name in groups]  # paths may not be valid text
    longest = max(map(len, concat(groups.values())), default=0)
    abreast = max(1, min(4, 40 * len(names) // (8 + max(map(len, labels), default=0))))  # 40 letters fit under axes
    lines = -(-len(labels) // abreast) if any(labels) else 0

    def draw(axes: Axes, name: str) -> None:
        epochs = np.arange(1, longest + 1)
        for label, colour, histories in zip(labels, colours, groups.values(), strict=False):
            values = np.reshape([_column(history, name, longest) for history in histories], (len(histories), longest))
            known = np.ma.masked_invalid(values)
            axes.plot(epochs, known.mean(axis=0).filled(np.nan), color=colour, marker="o", ms=2, label=label)
            if len(histories) > 1:
                axes.fill_between(epochs, known.min(axis=0), known.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        if lines and not axes.figure.legends:
            axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=abreast)

    return _drawn(draw, names, longest, formats, height=2.5 + 0.2 * lines)


def reliability_diagram(table: Float[Array, "bins 3"]) -> Figure:
    """Accuracy against confidence with one binomial standard error; below, the number of samples in each bin."""
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
        for axis in (above.xaxis, above.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        above.legend(loc="lower right")
        bars = below.bar((bins + 0.5) / len(table), weight, width=0.9 / len(table), color=BLUE)
        below.bar_label(bars, fmt="{:,.0f}", fontsize=7)
        below.set(xlabel="confidence", xlim=(-0.02, 1.02))
        below.set(ylabel="samples (log)", yscale="log", ylim=(0.5, 3 * weight.max()))
        below.tick_params(axis="y", which="both", left=False, labelleft=False)  # the bars have labels
        below.grid(visible=False, axis="y")
    return figure


def write_png(path: Path, figure: Figure) -> None:
    """Write the figure as a PNG file."""
    with mpl.rc_context(STYLE), replacing(path) as part:
        figure.savefig(part, format="png")


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element; black and white become the text and background colours of the page.

    ``name`` keeps its ids apart from those of other figures.
    """
    file = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])  # every figure has the same ids
    return text.replace("#000000", "currentColor").replace("#ffffff", "var(--paper, white)")


def data_uri(image: Shaped[Array, "height width *rgb"], low: float, high: float, colours: Colormap = GREY) -> str:
    """The image as a PNG in a URI. Grey images map numbers from ``low`` to ``high`` to ``colours``."""
    file = io.BytesIO()
    share = np.clip((image - np.float64(low)) / ((high - low) or 1.0), 0, 1)
    imsave(file, colours(share) if share.ndim == 2 else np.nan_to_num(share), format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _drawn(
    draw: Callable[[Axes, str], None], names: Sequence[str], epochs: int, formats: Formats, height: float = 2.5
) -> Figure:
    """A figure with axes against epochs for each name, at most four in a row; ``draw(axes, name)`` fills them."""
    columns, rows = max(1, min(len(names), 4)), max(1, -(-len(names) // 4))
    with mpl.rc_context({**STYLE, "text.parse_math": False}):  # a dollar sign in a name stays one
        figure = Figure(figsize=(3.2 * columns, height * rows), layout="constrained", dpi=150)
        between = MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]).tick_values(1, max(epochs, 2))
        apart = (int(tick) for tick in between if 1 + epochs / 8 < tick < epochs - epochs / 8)
        ticks = sorted({1, *apart, epochs}) if epochs else []
        for number, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, columns, number)
            axes.set(xlabel="epoch", title=name.replace("/", " ").replace("_", " "), xticks=ticks)
            draw(axes, name)
            low, high = axes.dataLim.intervaly
            if formats.get(name.rpartition("/")[-1], "").endswith("%"):
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            elif name.endswith("loss") and 0 < 50 * low < high:  # it falls far
                axes.set_yscale("log")
                axes.yaxis.set(major_formatter="{x:g}", minor_formatter=NullFormatter())
            elif 0 <= low < high / 2 or 0 <= low == high:  # zero is near
                axes.set_ylim(bottom=0)
    return figure


def _column(history: Sequence[Row], name: str, epochs: int) -> Float[Array, " epochs"]:
    """A column over ``epochs`` epochs; missing and infinite numbers are NaN, which is not drawn."""
    values = np.array([row.get(name, np.nan) for row in history] + [np.nan] * (epochs - len(history)), np.float64)
    return np.where(np.isfinite(values), values, np.nan)
