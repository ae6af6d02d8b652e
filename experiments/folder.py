"""The folder of a run: every file in it is whole at any moment, whatever ends the run.

    config.json               the config, seed included
    environment.json          versions, machine, BLAS, commit, data
    steps.csv, history.csv    a step, an epoch a row
    checkpoint.safetensors    where the run stands: params and training state
    model.safetensors         the last good model
    best.safetensors          the model after the epoch with the least watched loss
    history.png, report.html  pictures
    digest.txt                the SHA-256 of params and history; the last file that a run writes
    .lock                     held by the process that runs here

Rows come before the checkpoint that counts them, so the rows that a killed run left beyond its checkpoint are cut off.
"""

import csv
import errno
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import attrs
from cattrs.preconf.json import make_converter
from filelock import FileLock, Timeout

import funcnn as fn
from experiments.config import Config
from experiments.figures import curves, write_png
from experiments.run import Experiment, Progress, Row, Step, beginning, best_epoch, has_ended
from funcnn import tree
from funcnn.checkpoint import load_tree, save_tree
from funcnn.errors import InputError, require
from funcnn.files import replacing
from funcnn.layer import Params
from funcnn.training import State

R = TypeVar("R", Step, Row)

CONVERTER = make_converter(forbid_extra_keys=True, detailed_validation=False)

LOCK = ".lock"
_UNDO = "undo what was changed in it by hand"


def create(out: Path | None, name: str) -> Path:
    """The run's folder, new or empty; without ``out`` it is ``runs/NAME-DATE-TIME``.

    Raises:
        InputError: ``out`` is a file, holds more than the lock of a run that never began, or cannot be created.
    """
    try:
        return _named(out) if out is not None else _dated(Path("runs"), name)
    except OSError as error:
        hint = "choose another place, or its permissions"
        raise InputError("--out", "a folder that can be created", f"{out or 'runs'}: {error.strerror}", hint) from error


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Inside, no other process runs in the folder; the lock ends with the process that holds it, however that ends.

    Raises:
        InputError: Another process runs there, and this one is not to ``wait`` for its end; or nothing can be locked.
    """
    lock = FileLock(folder / LOCK, is_singleton=True, fallback_to_soft=False)  # its thread can take it once more
    try:
        held = lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        hint = "wait for its end, or end it"
        raise InputError(str(folder), "a folder in which no other process runs", "one that is busy", hint) from None
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise InputError(str(folder), "a file system with file locks", error, "choose another place") from error
    with held:
        yield


def write_json(path: Path, values: Any) -> None:
    """Any attrs record or plain data."""
    with replacing(path) as part:
        part.write_text(CONVERTER.dumps(values, indent=2) + "\n")


def read_config(folder: Path) -> Config:
    """The config of a run.

    Raises:
        InputError: The folder holds none, or one that is not of this version.
    """
    path = folder / "config.json"
    try:
        return CONVERTER.loads(path.read_text(), Config)
    except FileNotFoundError:
        raise InputError(str(folder), "the folder of a run", "no config.json in it") from None
    except InputError as error:
        raise error.within(str(path)) from None
    except Exception as error:  # whatever a wrong value causes
        raise InputError(str(path), "a config as this version writes it", error) from error


def read_environment(folder: Path) -> dict[str, Any]:
    """The environment of a run.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / "environment.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(str(path), "an environment as this version writes it", error) from error
    return found


def read_history(folder: Path) -> tuple[Row, ...]:
    """The finished epochs; none where there is no file.

    Raises:
        InputError: A row is not as this version writes it, or missing.
    """
    path = folder / "history.csv"
    rows = _read_rows(path, Row)
    for number, row in enumerate(rows, start=1):
        require(row.epoch == number, str(path), f"epoch {number} in row {number}", row.epoch, _UNDO)
    return rows


def read_steps(folder: Path) -> tuple[Step, ...]:
    """The recorded steps; none where there is no file.

    Raises:
        InputError: A row is not as this version writes it.
    """
    return _read_rows(folder / "steps.csv", Step)


def is_complete(folder: Path, config: Config) -> bool:
    """Whether the run in ``folder`` has ended as it should; one that failed has its files too, but not all epochs."""
    return (folder / "digest.txt").exists() and has_ended(config, read_history(folder))


def recorder(folder: Path, planned: Experiment, data: fn.Dataset, start: Progress) -> Callable[[Progress], None]:
    """The function that writes where a run stands; ``start`` is what the folder has, and rows beyond it are cut off."""
    recorded = start.state.step
    _write_rows(folder / "steps.csv", read_steps(folder)[:recorded], Step)

    def record(progress: Progress) -> None:
        nonlocal recorded
        _append_rows(folder / "steps.csv", progress.steps_after(recorded))
        recorded = progress.state.step
        write_history(folder, progress.history)
        if progress.history and progress.state.step == best_epoch(progress.history) * planned.steps_per_epoch:
            write_model(folder / "best.safetensors", planned, data, progress.params)
        save_tree(folder / "checkpoint.safetensors", _kept(progress))

    return record


def read_progress(folder: Path, planned: Experiment) -> Progress:
    """Where the run in ``folder`` stands; its beginning, if there is no checkpoint. Rows beyond it do not count.

    Raises:
        InputError: The checkpoint is damaged, or of another experiment.
    """
    progress, path = beginning(planned), folder / "checkpoint.safetensors"
    if path.exists():
        params, state = load_tree(path, _kept(progress))
        epochs, steps = divmod(state.step, planned.steps_per_epoch)
        rows, history = read_steps(folder)[: state.step], read_history(folder)[:epochs]
        found = f"{len(rows)} steps and {len(history)} epochs"
        fits = (len(rows), len(history)) == (state.step, epochs)
        require(fits, str(folder), f"the rows of {state.step} steps and {epochs} epochs, as the checkpoint", found)
        progress = Progress(params, state, history, rows[-(steps or planned.steps_per_epoch) :])
    return progress


def write_history(folder: Path, history: Sequence[Row]) -> None:
    """The finished epochs."""
    _write_rows(folder / "history.csv", history, Row)


def write_model(path: Path, planned: Experiment, data: fn.Dataset, params: Params) -> None:
    """A model with all that its use takes."""
    in_shape = data.train.inputs.shape[1:]
    saved = planned.as_saved(params)
    fn.save(path, planned.model, saved, in_shape, scaling=data.scaling, class_names=data.class_names)


def write_digest(folder: Path, progress: Progress) -> None:
    """What two runs that are the same have in common."""
    with replacing(folder / "digest.txt") as part:
        part.write_text(digest(progress) + "\n")


def read_digest(folder: Path) -> str | None:
    """The digest that the run ended with, if it did."""
    path = folder / "digest.txt"
    return path.read_text().strip() if path.exists() else None


def digest(progress: Progress) -> str:
    """The SHA-256 of params and history; the seconds, which differ from run to run, are left out."""
    sha = hashlib.sha256()
    for path, leaf in tree.leaves_with_paths(progress.params):
        sha.update(path.encode() + leaf.tobytes())
    for row in progress.history:
        sha.update(repr(attrs.evolve(row, seconds=0.0)).encode())
    return sha.hexdigest()


def write_picture(path: Path, history: Sequence[Row]) -> None:
    """Loss and accuracy against epochs."""
    write_png(path, curves(history, "loss", "accuracy"))


def _named(out: Path) -> Path:
    if out.exists() and not (out.is_dir() and all(path.name == LOCK for path in out.iterdir())):
        raise InputError("--out", "a folder that is new or empty", out, "name another one, or --resume this one")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _dated(parent: Path, name: str) -> Path:
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


def _kept(progress: Progress) -> tuple[Params, Any]:
    """What a checkpoint holds; the metrics of the latest step stand in its row."""
    state = progress.state
    return progress.params, State(state.step, state.key, state.optimizer, {})


def _write_rows(path: Path, rows: Sequence[R], kind: type[R]) -> None:
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in attrs.fields(kind))
        writer.writerows(attrs.astuple(row) for row in rows)


def _append_rows(path: Path, rows: Sequence[Step]) -> None:
    with path.open("a", newline="") as file:
        csv.writer(file).writerows(attrs.astuple(row) for row in rows)
        file.flush()
        os.fsync(file.fileno())  # the checkpoint that counts them must not be there before them


def _read_rows(path: Path, kind: type[R]) -> tuple[R, ...]:
    """The whole rows of a file; a killed run can leave half a row at the end."""
    if not path.exists():
        return ()
    rows: list[R] = []
    try:
        with path.open(newline="") as file:
            text = file.read()
        whole = text[: text.rindex("\n") + 1] if "\n" in text else ""
        head, *lines = csv.reader(whole.splitlines()) if whole else [[]]
        for cells in lines:
            rows.append(_row(kind, dict(zip(head, cells, strict=True))))
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        found = f"{error!r} in row {len(rows) + 1}"
        raise InputError(str(path), "rows as this version writes them", found, _UNDO) from error
    return tuple(rows)


def _row(kind: type[R], values: dict[str, str]) -> R:
    """Numbers out of text."""
    types = {field.name: field.type for field in attrs.fields(kind)}
    numbers: dict[str, Any] = {name: _number(types[name], text) for name, text in values.items()}
    return kind(**numbers)


def _number(kind: Any, text: str) -> int | float | None:
    """What is empty is None, where there need not be a number."""
    if kind == float | None and not text:
        return None
    return int(text) if kind is int else float(text)
