"""The folder of a run: every file in it is whole at any moment, whatever ends the run.

    config.json               the plan: the experiment's name and version, its config, options and limits
    environment.json          versions, machine, BLAS, commit, data
    steps.csv, history.csv    a row for each step, for each epoch
    checkpoint.safetensors    params and state, the numbers of steps and epochs, and the hash of plan and keys
    model.safetensors         the last good model, if the experiment saves one
    best.safetensors          the model after the epoch at which the watched column is least
    history.png, report.html  pictures
    digest.txt                the SHA-256 of params and history; the last file that a run writes
    .lock                     held by the process that runs here

Rows are written before the checkpoint that counts them; on resuming, the rows after the checkpoint are cut off.
A folder is data: nothing that it names is imported or executed. A damaged file is refused by its name.
"""

import errno
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from filelock import FileLock, Timeout
from toolz import dissoc

from funcnn import tree
from funcnn.checkpoint import load_tree, savable_leaves, save_tree
from funcnn.errors import InputError, is_size, require
from funcnn.files import is_leftover, replacing
from funcnn.keys import Key
from funcnn.reading import read_as_is
from funcnn.runs.environment import Environment
from funcnn.runs.experiment import Experiment, Row
from funcnn.runs.plan import Plan, read_json, read_plan, structured
from funcnn.runs.rows import append_rows, read_rows, write_rows
from funcnn.runs.stream import Progress, best_epoch, has_ended
from funcnn.tree import frozendict


@attrs.frozen(eq=False)
class Run:
    """A run as plain data, ready for a data frame or a plot.

    Attributes:
        plan: What ran.
        history: The finished epochs: a list of numbers for each column.
        steps: The recorded steps: the same.
        environment: Where it ran.
        digest: The SHA-256 of params and history, if the run has ended.
    """

    plan: Plan
    history: Mapping[str, Sequence[float]]
    steps: Mapping[str, Sequence[float]]
    environment: Mapping[str, Any]
    digest: str | None

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of its experiment."""
        return self.plan.config


def read_run(folder: str | Path) -> Run:
    """The run in ``folder``, whatever its experiment; nothing that it names is imported.

    Raises:
        InputError: The folder has no run, or a file is damaged.
    """
    folder = Path(folder)
    plan, tables = read_plan(folder), (read_history(folder), read_steps(folder))
    history, steps = ({name: [row[name] for row in rows] for name in (rows[0] if rows else ())} for rows in tables)
    return Run(plan, history, steps, read_environment(folder), read_digest(folder))


def create(out: Path | None, name: str) -> Path:
    """Create the folder ``out``, or ``runs/NAME-DATE-TIME`` without one; an empty folder may be there already."""
    try:
        if out is None:
            return _new(Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
        check_new(out)
        out.mkdir(parents=True, exist_ok=True)
        return out
    except OSError as error:
        hint = "choose another place, or its permissions"
        raise InputError("--out", "a folder that can be created", f"{out or 'runs'}: {error.strerror}", hint) from error


def check_new(out: Path) -> None:
    """Raise unless ``out`` is a new or empty folder; what a run left that was killed as it began does not count."""
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    fits = not out.exists() or (out.is_dir() and all(name == ".lock" or is_leftover(name) for name in names))
    require(fits, "--out", "a folder that is new or empty", out, "name another one, or resume this one")


def locked(folder: Path, *, wait: bool = False) -> AbstractContextManager[Any]:
    """Inside, no other process runs in the folder. The system frees the lock when its process ends in any way."""
    try:
        return FileLock(folder / ".lock", fallback_to_soft=False).acquire(timeout=-1 if wait else 0)
    except Timeout:
        hint = "wait for its end, or end it"
        raise InputError(str(folder), "a folder in which no other process runs", "one that is busy", hint) from None
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise InputError(str(folder), "a file system with file locks", error, "choose another place") from error


def read_environment(folder: Path) -> dict[str, Any]:
    """Where the run ran; empty if there is no file."""
    path = folder / "environment.json"
    if not path.exists():
        return {}
    values = read_json(path)
    structured(str(path), values, Environment)
    return dict(values)


def read_history(folder: Path) -> Sequence[Row]:
    """The rows of the finished epochs."""
    path = folder / "history.csv"
    rows = read_rows(path, "epoch", "step")
    ends = [0, *(row["step"] for row in rows)]
    fits = all(before < after for before, after in pairwise(ends))
    require(fits, f"{path} step", "steps that grow from epoch to epoch", ends[1:], "undo what was changed by hand")
    return rows


def read_steps(folder: Path) -> Sequence[Row]:
    """The rows of the recorded steps."""
    return read_rows(folder / "steps.csv", "step", "samples")


def read_digest(folder: Path) -> str | None:
    """The digest of a run that has ended, else ``None``."""
    path = folder / "digest.txt"
    if not path.exists():
        return None
    text = read_as_is(path).decode(errors="replace").strip()
    require(re.fullmatch("[0-9a-f]{64}", text) is not None, str(path), "a SHA-256", repr(text[:64]))
    return text


def is_complete(folder: Path, plan: Plan) -> bool:
    """Whether the run in the folder has ended well. A failed run has a digest too, but not all epochs."""
    return read_digest(folder) is not None and has_ended(plan, read_history(folder))


def read_progress(folder: Path, first: Progress) -> tuple[Progress, Sequence[Row]]:
    """The progress at the checkpoint in ``folder``, or ``first`` if there is none; and the rows of all steps before it.

    Raises:
        InputError: A file is damaged, or the checkpoint belongs to a run of another config or key.
    """
    path, steps = folder / "checkpoint.safetensors", read_steps(folder)
    if not path.exists():
        return first, ()
    identity = _identity(folder, first)
    kept = load_tree(path, _kept(first, identity))
    hint = "undo what was changed by hand, or begin another run"
    require(kept["run"] == identity, str(path), "a checkpoint of this config and key", "that of another run", hint)
    for name in ("epochs", "steps"):
        require(is_size(kept[name]), f"{path}: {name}", "a whole number of at least 0", kept[name])
    history, rows = read_history(folder)[: kept["epochs"]], steps[: kept["steps"]]
    ends = [0, 0, *(int(row["step"]) for row in history)]
    fits = (len(rows), len(history)) == (kept["steps"], kept["epochs"]) and ends[-1] <= len(rows)
    expected = f"the rows of {kept['steps']} steps and {kept['epochs']} epochs, as the checkpoint"
    require(fits, str(folder), expected, f"{len(rows)} steps and {len(history)} epochs")
    if rows:
        names = ["step", "samples", *kept["state"].metrics]
        expected = f"the columns {', '.join(sorted(names))}"
        require({*names} == {*rows[0]}, str(folder / "steps.csv"), expected, sorted(rows[0]))
        rows = [frozendict({name: row[name] for name in names}) for row in rows]  # in the order of later rows
    latest = ends[-1] if len(rows) > ends[-1] else ends[-2]  # the latest epoch begins there
    return Progress(kept["params"], kept["state"], history, rows[latest:], len(rows)), rows


def recorder(folder: Path, experiment: Experiment, first: Progress) -> tuple[Progress, Callable[[Progress], None]]:
    """The progress at the checkpoint in ``folder``, and the function that records a later one there."""
    savable_leaves("", {"params": first.params, "state": first.state})
    start, rows = read_progress(folder, first)
    identity = _identity(folder, first)
    recorded = start.step
    if (folder / "steps.csv").exists():
        write_rows(folder / "steps.csv", rows)  # cuts off what stands after the checkpoint

    def record(progress: Progress) -> None:
        nonlocal recorded
        append_rows(folder / "steps.csv", progress.steps_after(recorded))
        recorded, epochs = progress.step, len(progress.history)
        write_rows(folder / "history.csv", progress.history)
        if experiment.save and not progress.within_epoch and best_epoch(experiment, progress.history) == epochs:
            experiment.save(folder / "best.safetensors", progress.params)
        save_tree(folder / "checkpoint.safetensors", _kept(progress, identity))

    return start, record


def write_digest(folder: Path, progress: Progress) -> None:
    """Write the digest, which equal runs share."""
    with replacing(folder / "digest.txt") as part:
        part.write_text(digest(progress) + "\n")


def digest(progress: Progress) -> str:
    """The SHA-256 of params and history, without the seconds, which differ from run to run."""
    sha = hashlib.sha256()
    for path, leaf in tree.leaves_with_paths(progress.params):
        sha.update(path.encode() + np.asarray(leaf).tobytes())
    for row in progress.history:
        sha.update(repr(dissoc(dict(row), "seconds")).encode())
    return sha.hexdigest()


def _new(path: Path, number: int = 1) -> Path:
    """Create a folder; runs that begin in the same second are numbered."""
    folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return _new(path, number + 1)
    return folder


def _kept(progress: Progress, identity: str) -> dict[str, Any]:
    """The tree of a checkpoint."""
    counts = {"epochs": len(progress.history), "steps": progress.step}
    return {"params": progress.params, "state": progress.state, **counts, "run": identity}


def _identity(folder: Path, first: Progress) -> str:
    """The SHA-256 of what no other run has: the keys of the first progress, and config.json without all that may change
    when a run is resumed.
    """
    values = attrs.asdict(read_plan(folder)) if (folder / "config.json").exists() else {"config": {}}
    plan = {**dissoc(values, "epochs", "formats", "step"), "config": dissoc(values["config"], "epochs")}
    keys = [repr(leaf) for leaf in tree.leaves({"params": first.params, "state": first.state}) if isinstance(leaf, Key)]
    return hashlib.sha256(json.dumps([plan, keys], sort_keys=True).encode()).hexdigest()
