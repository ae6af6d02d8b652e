"""Rows in CSV files, which are read back numbered and bit for bit, even if the run was killed while it wrote."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from funcnn.errors import InputError, is_count, is_size
from funcnn.files import replacing
from funcnn.reading import read_as_is
from funcnn.runs.experiment import Row, check_name
from funcnn.tree import frozendict


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a new file, whose columns are the names of the rows."""
    with replacing(path) as part:
        append_rows(part, rows)


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Append rows; they are on the disk when this returns."""
    with path.open("a", newline="", encoding="utf-8") as file:
        head = rows[:1] if file.tell() == 0 else []
        csv.writer(file).writerows([*head, *(row.values() for row in rows)])
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path, counter: str, *counts: str) -> Sequence[Row]:
    """The rows of a file, numbered by ``counter`` from 1; none if there is no file.

    A killed run can leave half a row at the end, which is dropped. Anything else that :func:`write_rows` does not write
    is refused.

    Args:
        path: The file.
        counter: The column that numbers the rows.
        counts: Other columns that must be there and have positive whole numbers.
    """
    if not path.exists():
        return ()
    rows: list[Row] = []
    content = read_as_is(path)
    try:
        text = content.decode()
        head, *lines = [*csv.reader(text[: text.rfind("\n") + 1].splitlines())] or [[]]
        if len({*head}) < len(head):
            raise ValueError("two columns of the same name")
        for name in head:
            check_name("the first line", name)
        for cells in lines:
            rows.append(frozendict(dict(zip(head, map(_number, cells), strict=True))))
            if (number := rows[-1][counter]) != len(rows):
                raise ValueError(f"{counter} {number}")
            if wrong := [name for name in (counter, *counts) if not is_count(rows[-1][name])]:
                raise ValueError(f"{wrong[0]} {rows[-1][wrong[0]]}")
    except (csv.Error, KeyError, ValueError) as error:
        found, hint = f"{error!r} in row {len(rows) or 1}", "undo what was changed by hand"
        raise InputError(str(path), "rows as this version writes them", found, hint) from error
    return rows


def _number(cell: str) -> float:
    """A cell as a whole number or a float."""
    if not cell.isdecimal():
        return float(cell)
    if not is_size(number := int(cell)):
        raise ValueError(f"a number of {len(cell)} digits")
    return number
