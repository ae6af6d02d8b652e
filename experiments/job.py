"""A run in its folder: begun or gone on with, recorded on the way, and left with all its files."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

import funcnn as fn
from experiments import folder as files
from experiments.config import Config, experiment
from experiments.devices import ALONE, Devices
from experiments.environment import GONE_ON_WITH, changes, environment, threads
from experiments.page import write_page
from experiments.run import NUMPY, Engine, Experiment, Outcome, Progress, run
from funcnn.errors import require
from funcnn.files import remove_leftovers


@attrs.frozen(eq=False)
class Job:
    """A run to carry out: what it depends on, and what computes it."""

    config: Config
    data: fn.Dataset
    planned: Experiment
    engine: Engine


def prepare(config: Config, data: fn.Dataset, devices: Devices = ALONE) -> Job:
    """The job that ``config`` describes; where there are several processes, it waits for them.

    Raises:
        InputError: The devices do not fit, or the processes have not the same config.
        ModuleNotFoundError: The engine is jax, and it is not installed.
    """
    planned = experiment(config, data)
    if config.engine == "numpy":
        require(devices == ALONE, "--engine", "jax for --devices and --processes", config.engine)
        return Job(config, data, planned, NUMPY)
    import funcnn.jax  # noqa: F401  # takes a second; where JAX is missing it says what to install
    from experiments import compiled

    fits = devices.processes == 1 or config.patience is None or planned.validation is None
    hint = "each process evaluates for itself, and last bits could end one before the others"
    require(fits, "--patience", "none with --validation and --processes", config.patience, hint)
    mesh = compiled.join(devices)
    if devices.processes > 1:
        compiled.check_same("the config", files.CONVERTER.dumps(config))
    compiled.check_batches(mesh, planned)
    return Job(config, data, planned, compiled.engine(mesh))


def begin(folder: Path, config: Config) -> None:
    """Write the config down, which makes the folder one to go on with."""
    files.write_json(folder / "config.json", config)


def carry_out(folder: Path, job: Job, show: Callable[[Progress], None] = lambda progress: None) -> Outcome:
    """Run from where the folder stands to the end, and leave all files there; ``show`` is called after every epoch.

    Raises:
        InputError: The data are not those that the run began with, or the folder is damaged or busy.
        OSError: A file cannot be written, or another process of the run has ended.
    """
    fn.keep_freed_memory()
    with files.locked(folder), threads(job.config.threads):
        remove_leftovers(folder)
        _write_environment(folder, {**environment(job.data), **job.engine.environment})
        start = files.read_progress(folder, job.planned)
        record = files.recorder(folder, job.planned, job.data, start)
        (folder / "digest.txt").unlink(missing_ok=True)  # not before: where going on is refused, it stands

        def on_progress(progress: Progress) -> None:
            record(progress)
            if job.planned.ends_epoch(progress.state.step):
                show(progress)

        try:
            outcome = run(job.planned, on_progress, start, record_every=job.config.checkpoint_every, engine=job.engine)
        except OSError as error:
            raise OSError(f"{error}; what was recorded before is whole, and can be gone on with: {folder}") from error
        with uninterrupted():
            if outcome.interrupted or outcome.failure:  # which may have stopped the recorder halfway
                record = files.recorder(folder, job.planned, job.data, files.read_progress(folder, job.planned))
                record(outcome.progress)
            _finish(folder, job, outcome.progress)
    return outcome


def take_part(folder: Path | None, job: Job) -> Outcome:
    """The part of a process that does not lead: the same run, from where ``folder`` stands if there is one, and nothing
    is written.

    Raises:
        InputError: The folder is damaged.
        OSError: Another process of the run has ended.
    """
    fn.keep_freed_memory()
    start = None if folder is None else files.read_progress(folder, job.planned)
    with threads(job.config.threads):
        return run(job.planned, lambda progress: None, start, engine=job.engine)


def _write_environment(folder: Path, now: dict[str, Any]) -> None:
    """Where the run runs; of one that goes on, what has changed is added, once.

    Raises:
        InputError: The data have changed.
    """
    path = folder / "environment.json"
    if not path.exists():
        files.write_json(path, now)
        return
    recorded = files.read_environment(folder)
    changed = changes(recorded, now)
    others = [change for change in changed if change.startswith("data.")]
    require(not others, str(folder), "the data that the run began with", "; ".join(others), "begin another run")
    known = recorded.get(GONE_ON_WITH, [])
    if changed and changed not in known:
        files.write_json(path, {**recorded, GONE_ON_WITH: [*known, changed]})


def _finish(folder: Path, job: Job, progress: Progress) -> None:
    """The files that a run ends with; the digest comes last, so where it stands nothing is missing."""
    files.write_history(folder, progress.history)
    files.write_model(folder / "model.safetensors", job.planned, job.data, progress.params)
    files.write_picture(folder / "history.png", progress.history)
    write_page(
        folder / "report.html",
        title=folder.name,
        saved=fn.load(folder / "model.safetensors"),
        data=job.data,
        history=progress.history,
        config=json.loads(files.CONVERTER.dumps(job.config)),
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
