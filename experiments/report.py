"""What a run leaves behind: lines on the screen, and files in its folder."""

import csv
import itertools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
from cattrs.preconf.json import make_converter

from experiments.figures import curves
from experiments.run import Row
from funcnn.errors import InputError
from funcnn.files import replacing

HEADING = f"{'':>5} {'training':>18} {'test':>18} {'learning':>10}\n" + (
    f"{'epoch':>5} {'loss':>9}{'accuracy':>9} {'loss':>9}{'accuracy':>9} {'rate':>10} {'seconds':>8}"
)


def line(row: Row) -> str:
    """One epoch under the :data:`HEADING`."""
    return (
        f"{row.epoch:>5} {row.training_loss:>9.4f}{row.training_accuracy:>9.2%} "
        f"{row.test_loss:>9.4f}{row.test_accuracy:>9.2%} {row.learning_rate:>10.3g} {row.seconds:>8.2f}"
    )


def create_folder(out: Path | None, name: str) -> Path:
    """The run's folder, new or empty; without ``out`` it is ``runs/NAME-DATE-TIME``.

    Raises:
        InputError: ``out`` is a file, holds something already, or cannot be created.
    """
    try:
        return _named_folder(out) if out is not None else _dated_folder(Path("runs"), name)
    except OSError as error:
        hint = "choose another place, or its permissions"
        raise InputError("--out", "a folder that can be created", f"{out or 'runs'}: {error.strerror}", hint) from error


def _named_folder(out: Path) -> Path:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError("--out", "a folder that is new or empty", out, "name another one, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _dated_folder(parent: Path, name: str) -> Path:
    """A new folder; runs that begin in the same second are numbered."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in itertools.count(1):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("the numbers have no end")


def write_config(path: Path, config: Any) -> None:
    """The whole config as JSON."""
    with replacing(path) as part:
        part.write_text(make_converter().dumps(config, indent=2) + "\n")


def write_history(path: Path, history: Sequence[Row]) -> None:
    """The history as CSV, an epoch a row."""
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in attrs.fields(Row))
        writer.writerows(attrs.astuple(row) for row in history)


def write_picture(path: Path, history: Sequence[Row]) -> None:
    """Loss and accuracy against epochs, for training and test."""
    figure = curves(history, "loss", "accuracy")
    with replacing(path) as part:
        figure.savefig(part, format="png")
