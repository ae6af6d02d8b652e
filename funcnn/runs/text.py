"""Numbers as text: a line an epoch on a terminal, and numbers in the format of their names."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from funcnn.runs.experiment import COUNTERS, Row
from funcnn.runs.stream import Progress

Show = Callable[[Progress, bool], str]
"""``show(progress, first)``, the text for the latest epoch, which is the first one that is shown or not."""

_FORMATS = {"loss": ".4f", "learning_rate": ".3g", "gradient_norm": ".3g", "seconds": ".2f", "epoch": "d", "step": "d"}


def number(name: str, value: float, formats: Mapping[str, str]) -> str:
    """The number in the format of its name's last part.

    >>> number("test/accuracy", 0.945, {"accuracy": ".2%"}), number("test/loss", 0.25, {}), number("kl", 1234.5678, {})
    ('94.50%', '0.2500', '1235')
    """
    last = name.rpartition("/")[-1]
    form = formats.get(last, _FORMATS.get(last, ".4g"))
    if form.endswith("d"):
        return format(int(value), form) if math.isfinite(value) else str(value)
    return format(value, form)


def numbers(row: Row, formats: Mapping[str, str]) -> str:
    """What was evaluated of an epoch, or else what was seen in training, on one line."""
    return ", ".join(f"{name} {number(name, row[name], formats)}" for name in evaluated(row))


def evaluated(row: Row) -> list[str]:
    """The names of what was evaluated of an epoch, or else of what was seen in training.

    >>> evaluated({"epoch": 1, "train/loss": 0.5, "test/loss": 0.6, "learning_rate": 0.1, "seconds": 2.0})
    ['test/loss']
    """
    names = [name for name in row if name not in (*COUNTERS, "learning_rate", "gradient_norm")]
    return [name for name in names if not name.startswith("train/")] or names


def table(formats: Mapping[str, str]) -> Show:
    """One line an epoch; above the first stand the names of the columns, the part before a slash above its columns."""

    def show(progress: Progress, first: bool) -> str:
        row = progress.history[-1]
        groups = [_above(name) for name in row]
        grouped = sorted((name for name in row if "/" in name), key=lambda name: groups.index(_above(name)))
        names = ["epoch", *grouped, *(name for name in row if name not in {*grouped, *COUNTERS}), "seconds"]
        widths = [max(8, len(_below(name)), 0 if "/" in name else len(_above(name)[0])) for name in names]
        line = " ".join(
            number(name, row[name], formats).rjust(width) for name, width in zip(names, widths, strict=True)
        )
        return "\n".join([*_heads(names, widths), line]) if first else line

    return show


def one_line(text: object) -> str:
    """Text without its line breaks.

    >>> one_line("shapes differ:\\n\\n  (2,) and (3,)")
    'shapes differ: (2,) and (3,)'
    """
    return " ".join(filter(None, map(str.strip, str(text).splitlines())))


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, each column as wide as it must be."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def _heads(names: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Two lines over the columns: a group over all that it is common to, and the rest of the names."""
    below = " ".join(_below(name).rjust(width) for name, width in zip(names, widths, strict=True))
    groups = groupby(zip(names, widths, strict=True), key=lambda pair: _above(pair[0]))
    above = "".join(group.rjust(sum(width + 1 for _, width in members)) for (group, _), members in groups)
    return [above[1:].rstrip(), below]


def _above(name: str) -> tuple[str, str]:
    """What stands above a column, and what tells columns that do not share it."""
    group, slash, last = name.rpartition("/")
    return (group, "") if slash else (last.rpartition("_")[0].replace("_", " "), name)


def _below(name: str) -> str:
    _, slash, last = name.rpartition("/")
    return last.replace("_", " ") if slash else last.rpartition("_")[2]
