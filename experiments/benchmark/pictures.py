"""Pictures of the results: each peer's time beside funcnn's, and the growth of time and memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from toolz import groupby

from experiments.benchmark.contest import Measurement
from experiments.benchmark.peers import PEERS, TRAINING
from experiments.benchmark.tables import by_peer, ratio, seconds
from experiments.benchmark.workloads import GROWTH, WORKLOADS
from funcnn.runs.figures import BLUE, ORANGE, STYLE

LOOKS: Mapping[str, Any] = {
    "funcnn": {"color": BLUE, "marker": "o"},
    "funcnn-jax-epoch": {"color": BLUE, "marker": "s", "linestyle": "--"},
    "torch-fused": {"color": ORANGE, "marker": "^"},
    "floor": {"color": "#808080", "marker": "", "linestyle": ":"},
}


def ratios(measurements: Sequence[Measurement]) -> Figure | None:
    """For each training workload, the time of each peer as a multiple of funcnn's on NumPy, with its range."""
    tables = {name: by_peer(measurements, name) for name, work in WORKLOADS.items() if work.kind in TRAINING}
    drawn = {name: table for name, table in tables.items() if table.get("funcnn")}
    if not drawn:
        return None
    peers = [peer for peer in PEERS if any(table.get(peer) for table in drawn.values())]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    size = (1.5 + 2.5 * columns, (0.9 + 0.19 * len(peers)) * rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained", dpi=100)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (name, table) in zip(grid, drawn.items(), strict=False):
            _draw_ratios(axes, table, peers)
            axes.set_title(name)
        for axes in grid[len(drawn) :]:
            axes.set_axis_off()
        figure.supxlabel("time of an epoch, of funcnn on NumPy = 1; to the left is faster", fontsize=9)
    return figure


def growth(measurements: Sequence[Measurement]) -> Figure | None:
    """Seconds of a step and memory of training against each size that grows, on logarithmic axes."""
    if not any(measurement.workload in GROWTH for measurement in measurements):
        return None
    sizes = groupby(lambda name: name.partition("=")[0], GROWTH)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained", dpi=100)
        times, memories = figure.subplots(2, len(sizes), sharex="col", sharey="row")
        for above, below, (axis, names) in zip(times, memories, sizes.items(), strict=True):
            ticks = [int(name.partition("=")[2]) for name in names]
            for peer, look in LOOKS.items():
                rows = {tick: by_peer(measurements, name).get(peer) for tick, name in zip(ticks, names, strict=True)}
                made = {tick: row for tick, row in rows.items() if row}
                steps = [seconds(row) / GROWTH[row[0].workload].steps for row in made.values()]
                memory = [max(row[0].added or 0, 0) / 1e6 or np.nan for row in made.values()]
                above.plot(list(made), steps, label=peer, markersize=3, **look)
                below.plot(list(made), memory, markersize=3, **look)
            above.set(xscale="log", yscale="log")
            below.set(yscale="log", xlabel=axis)
            below.set_xticks(ticks, list(map(str, ticks)), fontsize=7)
            below.xaxis.minorticks_off()
            above.tick_params(axis="x", bottom=False)
        times[0].set_ylabel("seconds a step")
        memories[0].set_ylabel("MB of training")
        figure.legend(*times[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(LOOKS))
    return figure


def _draw_ratios(axes: Axes, table: Mapping[str, Sequence[Measurement]], peers: Sequence[str]) -> None:
    label: Any = {"textcoords": "offset points", "va": "center", "fontsize": 7, "bbox": {"color": "white", "pad": 0.3}}
    for place, peer in enumerate(peers):
        if found := ratio(table.get(peer, ()), table["funcnn"]):
            colour = BLUE if peer.startswith("funcnn") else "#808080" if peer == "floor" else ORANGE
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2.5, alpha=0.5)
            axes.plot(found.value, place, "o", color=colour, markersize=4)
            axes.annotate(f"{found.value:.2f}", (found.high, place), (4, 0), **label)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(xscale="log", yticks=range(len(peers)), yticklabels=peers, ylim=(len(peers) - 0.5, -0.5))
    axes.margins(x=0.2)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
