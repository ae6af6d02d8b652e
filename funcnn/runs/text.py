"""Text for a terminal: numbers in their formats, a line for each epoch, and names without control characters."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence

from toolz import concat, groupby

from funcnn.errors import printable
from funcnn.runs.experiment import COUNTERS, Row
from funcnn.runs.stream import Progress

Show = Callable[[Progress, bool], str]
"""``show(progress, first)``, the text for the latest epoch; ``first`` says whether it is the first one shown."""

_FORMATS = {"loss": ".4f", "learning_rate": ".3g", "gradient_norm": ".3g", "seconds": ".2f", "epoch": "d", "step": "d"}


def number(name: str, value: float, formats: Mapping[str, str]) -> str:
    """The number in the format of its name's last part.

    >>> number("test/accuracy", 0.945, {"accuracy": ".2%"}), number("test/loss", 0.25, {}), number("kl", 1234.5678, {})
    ('94.50%', '0.2500', '1235')
    """
    form = {**_FORMATS, **formats}.get(name.rpartition("/")[-1], ".4g")
    if form.endswith("d"):
        return format(int(value), form) if math.isfinite(value) else str(value)
    return format(value, form)


def numbers(row: Row, formats: Mapping[str, str]) -> str:
    """The numbers of :func:`evaluated` on one line."""
    return ", ".join(f"{name} {number(name, row[name], formats)}" for name in evaluated(row))


def evaluated(row: Row) -> list[str]:
    """The names of an epoch's evaluated numbers, or if there are none, of those from training.

    >>> evaluated({"epoch": 1, "train/loss": 0.5, "test/loss": 0.6, "learning_rate": 0.1, "seconds": 2.0})
    ['test/loss']
    """
    names = [name for name in row if name not in (*COUNTERS, "learning_rate", "gradient_norm")]
    return [name for name in names if not name.startswith("train/")] or names


def table(formats: Mapping[str, str]) -> Show:
    """A line for each epoch. The first has a head of two lines: groups, such as train, above the names of columns."""

    def show(progress: Progress, first: bool) -> str:
        row = progress.history[-1]
        groups = groupby(lambda name: name.rpartition("/")[0], [name for name in row if "/" in name]).values()
        others = ([name] for name in row if "/" not in name and name not in COUNTERS)
        spans = [["epoch"], *groups, *others, ["seconds"]]  # columns that share the line above
        heads = {name: _head(name) for name in concat(spans)}
        widths = {name: max(8, len(below), 0 if "/" in name else len(above)) for name, (above, below) in heads.items()}
        line = " ".join(number(name, row[name], formats).rjust(width) for name, width in widths.items())
        if not first:
            return line
        above = "".join(heads[span[0]][0].rjust(sum(1 + widths[name] for name in span)) for span in spans)
        below = " ".join(heads[name][1].rjust(width) for name, width in widths.items())
        return "\n".join([above[1:].rstrip(), below, line])

    return show


def one_line(text: object) -> str:
    """Text on one line, with escapes for control characters.

    >>> one_line("shapes differ:\\n\\n  (2,) and (3,)")
    'shapes differ: (2,) and (3,)'
    """
    return printable(" ".join(filter(None, map(str.strip, str(text).splitlines()))))


def reason(error: BaseException) -> str:
    """The message of an error, on one line.

    >>> reason(ValueError("no\\nnumber")), reason(MemoryError()), reason(TimeoutError())
    ('no number', 'out of memory', 'TimeoutError')
    """
    return one_line(error) or ("out of memory" if isinstance(error, MemoryError) else type(error).__name__)


def say(text: str, *, error: bool = False) -> None:
    """Print text with escapes for control characters; runs and commands print everything by this function."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text with aligned columns."""
    lines = [[*map(one_line, line)] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _head(name: str) -> tuple[str, str]:
    """The two lines of a column's head: its group and the rest, or all words but the last, and the last."""
    above, mark, below = name.rpartition("/" if "/" in name else "_")
    return (above if mark == "/" else above.replace("_", " ")), below.replace("_", " ")
