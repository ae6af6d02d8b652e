"""A run in its folder: begun or gone on with, recorded on the way, and left with all its files."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import funcnn as fn
from experiments import folder as files
from experiments.config import Config, experiment
from experiments.environment import changes, environment, threads
from experiments.page import write_page
from experiments.run import Experiment, Outcome, Progress, run
from funcnn.errors import require
from funcnn.files import remove_leftovers


def begin(folder: Path, config: Config) -> None:
    """Write the config down, which makes the folder one to go on with."""
    files.write_json(folder / "config.json", config)


def carry_out(
    folder: Path, config: Config, data: fn.Dataset, show: Callable[[Progress], None] = lambda progress: None
) -> Outcome:
    """Run from where the folder stands to the end, and leave all files there; ``show`` is called after every epoch.

    Raises:
        InputError: The data are not those that the run began with, or the folder is damaged.
        OSError: A file cannot be written.
    """
    fn.keep_freed_memory()
    remove_leftovers(folder)
    planned = experiment(config, data)
    (folder / "digest.txt").unlink(missing_ok=True)
    with threads(config.threads):
        _write_environment(folder, data)
        start = files.read_progress(folder, planned)
        record = files.recorder(folder, planned, data, start)

        def on_progress(progress: Progress) -> None:
            record(progress)
            if planned.ends_epoch(progress.state.step):
                show(progress)

        try:
            outcome = run(planned, on_progress, start, record_every=config.checkpoint_every)
        except OSError as error:
            raise OSError(f"{error}; what was recorded before is whole, and can be gone on with: {folder}") from error
        with uninterrupted():
            if outcome.interrupted or outcome.failure:  # which may have stopped the recorder halfway
                record = files.recorder(folder, planned, data, files.read_progress(folder, planned))
                record(outcome.progress)
            _finish(folder, config, planned, data, outcome.progress)
    return outcome


def _write_environment(folder: Path, data: fn.Dataset) -> None:
    """Where the run runs, the threads of this moment included; of one that goes on, what has changed is added.

    Raises:
        InputError: The data have changed.
    """
    path, now = folder / "environment.json", environment(data)
    if not path.exists():
        files.write_json(path, now)
        return
    recorded = files.read_environment(folder)
    changed = changes({name: value for name, value in recorded.items() if name != "gone on with"}, now)
    others = [change for change in changed if change.startswith("data.")]
    require(not others, str(folder), "the data that the run began with", "; ".join(others), "begin another run")
    if changed:
        files.write_json(path, {**recorded, "gone on with": [*recorded.get("gone on with", []), changed]})


def _finish(folder: Path, config: Config, planned: Experiment, data: fn.Dataset, progress: Progress) -> None:
    """The files that a run ends with; the digest comes last, so where it stands nothing is missing."""
    files.write_history(folder, progress.history)
    files.write_model(folder / "model.safetensors", planned, data, progress.params)
    files.write_picture(folder / "history.png", progress.history)
    write_page(
        folder / "report.html",
        title=folder.name,
        saved=fn.load(folder / "model.safetensors"),
        data=data,
        history=progress.history,
        config=json.loads(files.CONVERTER.dumps(config)),
        environment=files.read_environment(folder),
    )
    files.write_digest(folder, progress)


@contextmanager
def uninterrupted() -> Iterator[Any]:
    """Ctrl-C does nothing inside: a second one must not lose what the first one saves."""
    try:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # a thread of a worker, which Ctrl-C does not reach
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
