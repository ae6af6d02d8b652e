"""The folder of a run: every file in it is whole at any moment, whatever ends the run.

    config.json               the experiment's name and version, the config, how it runs, and when it ends
    environment.json          versions, machine, BLAS, commit, data
    steps.csv, history.csv    a step, an epoch a row
    checkpoint.safetensors    where the run stands: params and state, and the hash of which run it is
    model.safetensors         the last good model, if the experiment saves one
    best.safetensors          the model after the epoch at which the watched column is least
    history.png, report.html  pictures
    digest.txt                the SHA-256 of params and history; the last file that a run writes
    .lock                     held by the process that runs here

Rows come before the checkpoint that counts them, so the rows that a killed run left beyond its checkpoint are cut off.
A folder is data: nothing that it names is imported or executed, and a file that is damaged is refused by its name.
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
        history: The finished epochs, a list of numbers for each column.
        steps: The recorded steps, the same.
        environment: Where it ran.
        digest: The SHA-256 of params and history that it ended with, if it did.
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
        InputError: The folder holds none, or a file is damaged.
    """
    folder = Path(folder)
    plan, tables = read_plan(folder), (read_history(folder), read_steps(folder))
    history, steps = ({name: [row[name] for row in rows] for name in (rows[0] if rows else ())} for rows in tables)
    return Run(plan, history, steps, read_environment(folder), read_digest(folder))


def create(out: Path | None, name: str) -> Path:
    """The run's folder, new or empty; without ``out`` it is ``runs/NAME-DATE-TIME``."""
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
    """Raise unless ``out`` is a folder that is new or empty, but for what a run left that was killed as it began."""
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    fits = not out.exists() or (out.is_dir() and all(name == ".lock" or is_leftover(name) for name in names))
    require(fits, "--out", "a folder that is new or empty", out, "name another one, or resume this one")


def locked(folder: Path, *, wait: bool = False) -> AbstractContextManager[Any]:
    """Inside, no other process runs in the folder; the lock ends with the process that holds it, however that ends."""
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
    """Where the run ran; empty where there is no file."""
    path = folder / "environment.json"
    if not path.exists():
        return {}
    found = read_json(path)
    structured(str(path), found, Environment)
    return dict(found)


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
    """The digest that the run ended with, if it did."""
    path = folder / "digest.txt"
    if not path.exists():
        return None
    text = read_as_is(path).decode(errors="replace").strip()
    require(re.fullmatch("[0-9a-f]{64}", text) is not None, str(path), "a SHA-256", repr(text[:64]))
    return text


def is_complete(folder: Path, plan: Plan) -> bool:
    """Whether the run in the folder has ended as it should; one that failed has its files too, but not all epochs."""
    return read_digest(folder) is not None and has_ended(plan, read_history(folder))


def read_progress(folder: Path, first: Progress) -> tuple[Progress, Sequence[Row]]:
    """Where the run in ``folder`` stands, at ``first`` without a checkpoint, and all rows of the steps up to there.

    Raises:
        InputError: A file is damaged, or the checkpoint is that of another run: of another config, or another key.
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
        rows = [frozendict({name: row[name] for name in names}) for row in rows]  # the order of the steps to come
    latest = ends[-1] if len(rows) > ends[-1] else ends[-2]  # where the latest epoch begins
    return Progress(kept["params"], kept["state"], history, rows[latest:], len(rows)), rows


def recorder(folder: Path, experiment: Experiment, first: Progress) -> tuple[Progress, Callable[[Progress], None]]:
    """Where the run in ``folder`` stands, and the function that writes where it stands later."""
    savable_leaves("", {"params": first.params, "state": first.state})
    start, rows = read_progress(folder, first)
    identity = _identity(folder, first)
    recorded = start.step
    if (folder / "steps.csv").exists():
        write_rows(folder / "steps.csv", rows)  # without others, or half a one, beyond the checkpoint

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
    """What two runs that are the same have in common."""
    with replacing(folder / "digest.txt") as part:
        part.write_text(digest(progress) + "\n")


def digest(progress: Progress) -> str:
    """The SHA-256 of params and history; the seconds, which differ from run to run, are left out."""
    sha = hashlib.sha256()
    for path, leaf in tree.leaves_with_paths(progress.params):
        sha.update(path.encode() + np.asarray(leaf).tobytes())
    for row in progress.history:
        sha.update(repr({name: value for name, value in row.items() if name != "seconds"}).encode())
    return sha.hexdigest()


def _new(path: Path, number: int = 1) -> Path:
    """A new folder; runs that begin in the same second are numbered."""
    folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return _new(path, number + 1)
    return folder


def _kept(progress: Progress, identity: str) -> dict[str, Any]:
    """What a checkpoint holds."""
    counts = {"epochs": len(progress.history), "steps": progress.step}
    return {"params": progress.params, "state": progress.state, **counts, "run": identity}


def _identity(folder: Path, first: Progress) -> str:
    """The SHA-256 of what tells the run in ``folder`` from others: what config.json has, but for what may change when
    a run is resumed, and the keys that the run begins with.
    """
    values = attrs.asdict(read_plan(folder)) if (folder / "config.json").exists() else {"config": {}}
    plan = {name: value for name, value in values.items() if name not in ("epochs", "formats", "step")}
    plan["config"] = {name: value for name, value in values["config"].items() if name != "epochs"}
    keys = [repr(leaf) for leaf in tree.leaves({"params": first.params, "state": first.state}) if isinstance(leaf, Key)]
    return hashlib.sha256(json.dumps([plan, keys], sort_keys=True).encode()).hexdigest()
