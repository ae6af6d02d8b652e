"""The results as text: a Markdown table a workload, and what is wrong with them."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Any

import attrs
from toolz import groupby, unique

from experiments.benchmark.contest import Measurement
from experiments.benchmark.peers import PEERS
from experiments.benchmark.workloads import INSTALLED_SIZE, NAMES, START_UP, WORKLOADS

REFERENCES = (("funcnn", "funcnn"), ("compiled funcnn", "funcnn-jax-epoch"), ("compiled funcnn", "funcnn-jax"))
"""Whom the peers are compared with, where it takes part: how it is called, and its name."""

_TORCH = ("torch-eager", "torch-foreach", "torch-fused", "torch-compile")
_JAX = ("jax-optax-step", "jax-optax-scan")

IN_SHORT: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "funcnn / PyTorch": ("funcnn", _TORCH),
        "funcnn / scikit-learn": ("funcnn", ("scikit-learn",)),
        "compiled funcnn / PyTorch": ("funcnn-jax-epoch", _TORCH),
        "compiled funcnn / JAX + Optax": ("funcnn-jax-epoch", _JAX),
        "compiled funcnn / floor": ("funcnn-jax-epoch", ("floor",)),
    }
)
"""What one wants to know first: a peer, and others of which the fastest is taken."""

AGREEMENT, OWN_BATCHES_AGREEMENT = 1e-3, 0.25
"""How far a loss may be from the first peer's: so much, and so much of it for batches of its own."""

HOW_TO_READ = """\
{processor}, {threads} threads. Seconds are the median; a ratio above 1 says that the peer is faster, and its brackets
hold the least and the greatest of a round. The loss is that of the first epoch. Peak is the most memory that the
process had, and added the most that it took beside imports and samples; a compiler's own memory is in
it, and program is what the compiled program alone takes."""


@attrs.frozen
class Results:
    """All that a benchmark found.

    Attributes:
        environment: Where it ran.
        settings: The command.
        measurements: Of the contest and of growth, in the order in which they were made.
        sizes: The bytes of installed tools, by peer; None for what is not installed.
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
    """Of the seconds of one peer to those of another, over the rounds of both; None if there are none.

    >>> print(ratio([Measurement("w", "p", r, (2.0 + r,)) for r in (0, 1)], [Measurement("w", "q", 0, (4.0,))]))
    0.50 [0.50, 0.50]
    """
    rounds = [{measurement.round: measurement for measurement in measurements} for measurements in (above, below)]
    common = [(rounds[0][number], rounds[1][number]) for number in rounds[0] if number in rounds[1]]
    if not common:
        return None
    numerators, denominators = zip(*common, strict=True)
    each = [seconds([one]) / seconds([other]) for one, other in common]
    return Ratio(seconds(numerators) / seconds(denominators), min(each), max(each))


def by_peer(measurements: Sequence[Measurement], workload: str) -> Mapping[str, list[Measurement]]:
    """The measurements of a workload that were made, by peer in the order of their table; a failed peer has none."""
    found = groupby(lambda m: m.peer, (m for m in measurements if m.workload == workload))
    return {peer: [m for m in found[peer] if not m.failure] for peer in PEERS if peer in found}


def text(results: Results) -> str:
    """All tables, under their headings, and what is wrong."""
    names = unique(measurement.workload for measurement in results.measurements)
    parts = [HOW_TO_READ.format(**results.environment), *_in_short(results.measurements)]
    parts += [f"## {name}\n\n{_table(results.measurements, name)}" for name in names if name in NAMES]
    if results.sizes:
        rows = (
            [" + ".join(PEERS[peer].installs), _megabytes(size) or "not installed"]
            for peer, size in results.sizes.items()
        )
        parts.append(f"## {INSTALLED_SIZE}\n\n{markdown([['installed', 'MB'], *rows])}")
    faults = {
        "Not run": failures(results.measurements),
        "Losses that should agree": disagreements(results.measurements),
    }
    parts += [f"{title}:\n\n" + "\n".join(lines) for title, lines in faults.items() if lines]
    return "\n\n".join(parts)


def disagreements(measurements: Sequence[Measurement]) -> list[str]:
    """A line for every peer whose losses are not those of the first: it did other work.

    Compared are the first steps and the epoch; of what grows, only the first steps, since rounding grows with it too:
    after an epoch, networks of eight layers are 0.01 apart that do the same.
    """
    return [line for name in unique(m.workload for m in measurements) for line in _disagreements(measurements, name)]


def crashes(measurements: Sequence[Measurement]) -> list[Measurement]:
    """What was not made though all that it takes is installed."""
    return [m for m in measurements if m.failure and not m.failure.startswith("ModuleNotFoundError")]


def failures(measurements: Sequence[Measurement]) -> list[str]:
    """A line for every measurement that was not made."""
    return [f"- {m.workload}, {m.peer}: {m.failure}" for m in measurements if m.failure]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table with its heading, whose columns are aligned as text too: the first to the left, numbers to the right.

    >>> print(markdown([["peer", "seconds"], ["floor", "0.2"]]))
    | peer  | seconds |
    |-------|--------:|
    | floor |     0.2 |
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [f"{'-' * (widths[0] + 2)}", *(f"{'-' * (width + 1)}:" for width in widths[1:])]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    rows = [f"| {' | '.join(cells)} |" for cells in padded]
    return "\n".join([rows[0], f"|{'|'.join(rule)}|", *rows[1:]])


def _in_short(measurements: Sequence[Measurement]) -> list[str]:
    """The table of the ratios that one wants to know first, if there are any."""
    tables = {name: by_peer(measurements, name) for name, workload in WORKLOADS.items() if workload.kind != "inference"}
    rows = [[name, *(_to_the_fastest(made, *pair) for pair in IN_SHORT.values())] for name, made in tables.items()]
    told = [row for row in rows if any(row[1:])]
    return ["## In short\n\n" + markdown([["workload", *IN_SHORT], *told])] if told else []


def _to_the_fastest(made: Mapping[str, Sequence[Measurement]], peer: str, others: Sequence[str]) -> str:
    candidates = [row for other in others if (row := made.get(other))]
    found = ratio(made.get(peer, ()), min(candidates, key=seconds)) if candidates else None
    return str(found or "")


def _table(measurements: Sequence[Measurement], name: str) -> str:
    made = by_peer(measurements, name)
    references = {title: made[peer] for title, peer in REFERENCES if made.get(peer)}
    loss = "wrong" if name == "inference" else "loss"
    memory = [] if name == START_UP else [loss, "peak MB", "added MB", "added / params", "program / params"]
    head = ["peer", "seconds", *(f"{title} / peer" for title in references), *memory]
    return markdown([head, *(_cells(peer, row, references.values(), len(head)) for peer, row in made.items())])


def _cells(peer: str, row: Sequence[Measurement], references: Any, width: int) -> list[str]:
    """A peer's line, as far as the table is wide."""
    if not row:
        return [peer, "failed", *[""] * (width - 2)]
    params = row[0].params or 0
    added = _median(m.added for m in row)
    cells = [
        peer,
        f"{seconds(row):.3g}",
        *(str(ratio(reference, row) or "") for reference in references),
        f"{row[0].losses[0]:.4f}" if row[0].losses else "",
        _megabytes(_median(m.peak for m in row)),
        _megabytes(added),
        _times(added, params),
        _times(_median(m.program for m in row), params),
    ]
    return cells[:width]


def _median(values: Iterator[int | None]) -> float | None:
    told = [value for value in values if value is not None]
    return median(told) if told else None


def _megabytes(size: float | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f}"


def _times(size: float | None, params: float) -> str:
    return f"{size / params:.1f}" if size is not None and params else ""


def _disagreements(measurements: Sequence[Measurement], name: str) -> Iterator[str]:
    made = {peer: row[0] for peer, row in by_peer(measurements, name).items() if row and row[0].losses}
    alike = [peer for peer in made if not PEERS[peer].own_batches]
    first_peer = next(iter([*alike, *made]), "")
    for peer, measurement in made.items():
        own = PEERS[peer].own_batches
        allowed = OWN_BATCHES_AGREEMENT * made[first_peer].losses[0] if own else AGREEMENT
        for when, loss, first in _compared(name, measurement, made[first_peer]):
            if not abs(loss - first) <= allowed:
                yield f"- {name}, {peer}, {when}: {loss:.4f}, where {first_peer} has {first:.4f}"


def _compared(name: str, made: Measurement, first: Measurement) -> Iterator[tuple[str, float, float]]:
    """When, and the losses of both then."""
    for i, pair in enumerate(zip(made.beginning, first.beginning, strict=False), start=1):  # some tell none
        yield f"step {i}", *pair
    if name in WORKLOADS:
        yield "epoch 1", made.losses[0], first.losses[0]
