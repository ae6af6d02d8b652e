"""The results as text: a Markdown table for each workload, and the faults."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from statistics import median
from typing import Any

import attrs
from toolz import groupby, join, unique

from experiments.benchmark.contest import Measurement
from experiments.benchmark.peers import PEERS, TRAINING
from experiments.benchmark.workloads import INSTALLED_SIZE, START_UP, WORKLOADS

REFERENCES = (("funcnn", "funcnn"), ("compiled funcnn", "funcnn-jax-epoch"), ("compiled funcnn", "funcnn-jax"))
"""The peers to compare with, if they take part: title and name."""

_TORCH = ("torch-eager", "torch-foreach", "torch-fused", "torch-compile")

IN_SHORT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "funcnn / PyTorch": ("funcnn", _TORCH),
    "funcnn / scikit-learn": ("funcnn", ("scikit-learn",)),
    "compiled funcnn / PyTorch": ("funcnn-jax-epoch", _TORCH),
    "compiled funcnn / JAX + Optax": ("funcnn-jax-epoch", ("jax-optax-step", "jax-optax-scan")),
    "compiled funcnn / floor": ("funcnn-jax-epoch", ("floor",)),
}
"""The first table: by title, a peer and others; the fastest of these is compared."""

AGREEMENT, OWN_BATCHES_AGREEMENT = 1e-3, 0.25
"""The largest difference of a loss from the first peer's; for a peer with its own batches, relative to that loss."""

HOW_TO_READ = """\
{processor}, {threads} threads. Seconds are the median; a ratio above 1 says that the peer is faster, and its brackets
hold the least and the greatest of a round. The loss is that of the first epoch. Peak is the most memory that the
process had, and added the most that it took beside imports and samples; a compiler's own memory is in
it, and program is what the compiled program alone takes."""


@attrs.frozen
class Results:
    """The results of a benchmark.

    Attributes:
        environment: Where it ran.
        settings: The command.
        measurements: The measurements of contest and growth, in order.
        sizes: The bytes of installed tools, by peer; None for a tool that is not installed.
    """

    environment: dict[str, Any]
    settings: dict[str, Any]
    measurements: tuple[Measurement, ...]
    sizes: dict[str, int | None]


@attrs.frozen
class Ratio:
    """The ratio of two medians, with the least and the greatest ratio of a round."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def seconds(measurements: Sequence[Measurement]) -> float:
    """The median over the rounds of the median over a round's epochs.

    >>> seconds([Measurement("w", "p", 0, (1.0, 2.0, 9.0)), Measurement("w", "p", 1, (4.0,))])
    3.0
    """
    return median(median(measurement.seconds) for measurement in measurements)


def ratio(above: Sequence[Measurement], below: Sequence[Measurement]) -> Ratio | None:
    """The ratio of the seconds of two peers over their common rounds; None if there are none.

    >>> print(ratio([Measurement("w", "p", r, (2.0 + r,)) for r in (0, 1)], [Measurement("w", "q", 0, (4.0,))]))
    0.50 [0.50, 0.50]
    """
    common = list(join(attrgetter("round"), above, attrgetter("round"), below))
    if not common:
        return None
    each = [seconds([one]) / seconds([other]) for one, other in common]
    numerators, denominators = zip(*common, strict=True)
    return Ratio(seconds(numerators) / seconds(denominators), min(each), max(each))


def by_peer(measurements: Sequence[Measurement], workload: str) -> Mapping[str, list[Measurement]]:
    """The measurements of a workload by peer, in the order of PEERS; a failed peer has an empty list."""
    found = groupby(attrgetter("peer"), (m for m in measurements if m.workload == workload))
    return {peer: [m for m in found[peer] if not m.failure] for peer in PEERS if peer in found}


def text(results: Results) -> str:
    """All tables with headings, and the faults."""
    made = results.measurements
    names = [name for name in unique(m.workload for m in made) if name in WORKLOADS]
    installs = {" + ".join(PEERS[peer].installs): size for peer, size in results.sizes.items()}
    tables = {
        "In short": _in_short(made),
        **{name: _lines(made, name) for name in names},
        INSTALLED_SIZE: [
            ["installed", "MB"],
            *([name, _in(1e6, size) or "not installed"] for name, size in installs.items()),
        ],
    }
    faults = {
        "Not installed": list(unique(f"- {m.peer}: {m.failure}" for m in made if m.status == "not installed")),
        "Failed": [f"- {m.workload}, {m.peer}: {m.failure}" for m in made if m.status == "failed"],
        "Losses that should agree": disagreements(made),
    }
    parts = [f"## {title}\n\n{markdown(lines)}" for title, lines in tables.items() if len(lines) > 1]
    parts += ["\n".join([f"{title}:\n", *lines]) for title, lines in faults.items() if lines]
    return "\n\n".join([HOW_TO_READ.format(**results.environment), *parts])


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned as text too: the first to the left, the others to the right.

    >>> print(markdown([["peer", "seconds"], ["floor", "0.2"]]))
    | peer  | seconds |
    |-------|--------:|
    | floor |     0.2 |
    """
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    padded = ([line[0].ljust(first), *map(str.rjust, line[1:], others)] for line in lines)
    head, *rows = (f"| {' | '.join(cells)} |" for cells in padded)
    rule = "|".join(["-" * (first + 2), *(f"{'-' * (width + 1)}:" for width in others)])
    return "\n".join([head, f"|{rule}|", *rows])


def disagreements(measurements: Sequence[Measurement]) -> list[str]:
    """A line for every loss that differs from the first peer's: that peer did other work.

    The first steps and the epoch are compared; for growing workloads only the first steps, since rounding grows too:
    after an epoch, equal networks of eight layers are 0.01 apart.
    """
    found = []
    for name in unique(m.workload for m in measurements):
        made = {peer: row[0] for peer, row in by_peer(measurements, name).items() if row and row[0].losses}
        alike = [peer for peer in made if not PEERS[peer].own_batches]
        for peer, measurement in made.items():
            first = made[[*alike, *made][0]]
            allowed = OWN_BATCHES_AGREEMENT * first.losses[0] if PEERS[peer].own_batches else AGREEMENT
            steps = enumerate(zip(measurement.beginning, first.beginning, strict=False), start=1)  # some have none
            pairs = {f"step {i}": pair for i, pair in steps}
            if name in WORKLOADS:
                pairs["epoch 1"] = measurement.losses[0], first.losses[0]
            found += [
                f"- {name}, {peer}, {when}: {loss:.4f}, where {first.peer} has {expected:.4f}"
                for when, (loss, expected) in pairs.items()
                if not abs(loss - expected) <= allowed
            ]
    return found


def _in_short(measurements: Sequence[Measurement]) -> list[list[str]]:
    """The first table: the ratios of IN_SHORT for the workloads that have any."""
    tables = {name: by_peer(measurements, name) for name, work in WORKLOADS.items() if work.kind in TRAINING}
    rows = [[name, *(_to_the_fastest(made, *pair) for pair in IN_SHORT.values())] for name, made in tables.items()]
    return [["workload", *IN_SHORT], *(row for row in rows if any(row[1:]))]


def _to_the_fastest(made: Mapping[str, Sequence[Measurement]], peer: str, others: Sequence[str]) -> str:
    fastest = min((row for other in others if (row := made.get(other))), key=seconds, default=[])
    return str(ratio(made.get(peer, ()), fastest) or "")


def _lines(measurements: Sequence[Measurement], name: str) -> list[list[str]]:
    """The table of a workload with its head; for a peer that was not measured, the reason."""
    made = by_peer(measurements, name)
    columns: dict[str, Callable[[Sequence[Measurement]], Any]] = {
        "seconds": lambda row: f"{seconds(row):.3g}",
        **{f"{title} / peer": partial(ratio, made[peer]) for title, peer in REFERENCES if made.get(peer)},
    }
    if name != START_UP:
        columns |= {
            "wrong" if name == "inference" else "loss": lambda row: f"{row[0].losses[0]:.4f}" if row[0].losses else "",
            "peak MB": lambda row: _in(1e6, *(m.peak for m in row)),
            "added MB": lambda row: _in(1e6, *(m.added for m in row)),
            "added / params": lambda row: _in(row[0].params, *(m.added for m in row)),
            "program / params": lambda row: _in(row[0].params, *(m.program for m in row)),
        }
    why = {m.peer: m.status for m in measurements if m.workload == name and m.failure}
    lines = [["peer", *columns]]
    for peer, row in made.items():
        blank = [why.get(peer, ""), *[""] * (len(columns) - 1)]
        lines.append([peer, *([str(cell(row) or "") for cell in columns.values()] if row else blank)])
    return lines


def _in(unit: float | None, *sizes: int | None) -> str:
    """The median of the known sizes, in that unit."""
    known = [size for size in sizes if size is not None]
    return f"{median(known) / unit:.1f}" if known and unit else ""
