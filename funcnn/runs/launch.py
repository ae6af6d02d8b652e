"""One run in its folder: begun, resumed or refused, then recorded on the way, and ended with all its files.

:func:`_action` alone decides whether a run begins, is resumed, or has nothing left to do.
"""

import math
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from funcnn.arrays import keep_freed_memory
from funcnn.errors import InputError, require
from funcnn.files import remove_leftovers
from funcnn.runs import folder as files
from funcnn.runs.endings import uninterrupted
from funcnn.runs.environment import RESUMED, blas_threads, changes, commit, environment
from funcnn.runs.experiment import Experiment, Table
from funcnn.runs.figures import curves, write_png
from funcnn.runs.options import ALONE, Devices, Options
from funcnn.runs.plan import CONVERTER, Plan, plan_of, read_plan, read_plan_of, write_json
from funcnn.runs.report import write_report
from funcnn.runs.stream import ExperimentError, Progress, beginning, best_epoch, called, stream
from funcnn.runs.text import Show, say, table

Mode: TypeAlias = Literal["begin", "resume", "either"]
"""What the folder must be: new or empty, the folder of a run, or either of them."""

_PROCESS = threading.Lock()
"""A process has one run at a time: the threads of BLAS and the settings of matplotlib belong to all of it."""


@attrs.frozen(eq=False)
class Outcome:
    """How a run ended.

    Attributes:
        folder: Its folder.
        progress: The last good progress; ``None`` if there was nothing to do.
        interrupted: Whether Ctrl-C ended it; in a command, TERM or HUP too.
        failure: What stopped it early, or ``None``.
        error: The error behind ``failure``, if a function of the experiment raised it.
    """

    folder: Path
    progress: Progress | None
    interrupted: bool = False
    failure: str | None = None
    error: Exception | None = None


def run(
    experiment: Experiment,
    folder: str | Path | None = None,
    *,
    name: str = "experiment",
    version: int = 0,
    config: Any = None,
    options: Options = Options(),
    devices: Devices = ALONE,
    show: Show | Literal["table"] | None = "table",
    mode: Mode = "either",
    source: str | Path = ".",
    wait: bool = False,
) -> Outcome:
    """Run ``experiment`` in ``folder``: begin it there, or resume it from the last checkpoint.

    An interrupt or a loss that is not finite ends the run, after what was learned is saved. The saved params are known
    to give a finite loss.

    Args:
        experiment: What runs.
        folder: The folder of the run, instead of ``runs/NAME-DATE-TIME``.
        name: The experiment's name; the folder of another experiment is refused.
        version: The experiment's version; raise it when old folders would mean something else: they are refused.
        config: The config of the experiment, to be recorded: an attrs record or plain data.
        options: Engine, threads and checkpoints.
        devices: The devices of the engine jax.
        show: The text of an epoch, instead of a line of a table; ``None`` shows nothing.
        mode: Whether the folder must be new, or the folder of a run.
        source: A file or folder of the experiment's code, whose commit and digests are recorded.
        wait: Wait while another process runs in the folder, instead of refusing.

    Raises:
        InputError: The folder has another run, is damaged or busy; or the devices do not fit.
        ExperimentError: A function of the experiment raises; what was learned before is saved.
        OSError: A file cannot be written; what was recorded before is whole.
    """
    plan = plan_of(experiment, name, version, config, options)
    path = None if folder is None else Path(folder)
    action = _action(path, plan, mode) if devices.leads or mode == "resume" else "begin"
    if path and action == "nothing to do":
        files.read_progress(path, beginning(experiment))  # refuses a config that was edited since
        return Outcome(path, None)
    experiment, where = engine(_telling(experiment), plan, devices)
    if devices.leads and show is not None and (text := experiment.describe()):
        say(f"{text}\n")
    first = beginning(experiment)  # before anything is written: it may be too large for this machine
    keep_freed_memory()
    if not devices.leads:
        start = files.read_progress(path, first)[0] if path and action == "resume" else first
        _check_start(plan, start)
        with blas_threads(options.threads):
            return _followed(Path(), experiment, start, lambda progress: None, options.checkpoint_every)
    path = files.create(path, name) if action == "begin" or path is None else path
    with _PROCESS, files.locked(path, wait=wait), blas_threads(options.threads):
        if _action(path, plan, "either") == "nothing to do":  # this process has waited for another, which finished it
            return Outcome(path, None)
        now = {**environment(experiment.data, Path(source)), "git": commit(Path(source)), **where}
        return _carried_out(path, experiment, plan, first, now, table(experiment.formats) if show == "table" else show)


def engine(experiment: Experiment, plan: Plan, devices: Devices) -> tuple[Experiment, Mapping[str, Any]]:
    """The experiment as the engine of ``plan`` computes it, and the engine's part of the recorded environment.

    If there are several processes, this waits for all of them.
    """
    if plan.options.engine == "numpy":
        require(devices == ALONE, "--engine", "jax for --devices and --processes", plan.options.engine)
        return experiment, {}
    import funcnn.jax  # noqa: F401  # first: if JAX is missing, it says what to install
    from funcnn.runs import compiled

    fits = devices.processes == 1 or plan.patience is None or (plan.watch or "").startswith("train/")
    hint = "each process evaluates for itself, and last bits could end one before the others"
    require(fits, "--patience", "none with --processes, but for a column of train", plan.patience, hint)
    mesh = compiled.join(devices)
    compiled.check_same("the config", CONVERTER.dumps(plan))
    return compiled.compiled(experiment, mesh), {"jax": compiled.environment(mesh)}


def _telling(experiment: Experiment) -> Experiment:
    """The experiment, with the name of the function in the errors of those that the stream does not call."""
    save = experiment.save
    return attrs.evolve(
        experiment,
        describe=lambda: called("describe", experiment.describe),
        sections=lambda params: called("sections", lambda: [*experiment.sections(params)]),
        save=save and (lambda path, params: called("save", save, path, params)),
    )


def _action(folder: Path | None, plan: Plan, mode: Mode) -> Literal["begin", "resume", "nothing to do"]:
    """Whether the run of ``plan`` begins in ``folder``, is resumed there, or has ended.

    Raises:
        InputError: The folder is not what ``mode`` says, or has another run.
    """
    require(folder is not None or mode != "resume", "run", "the folder of a run to resume", "none")
    if folder is None or mode == "begin" or (mode == "either" and not (folder / "config.json").exists()):
        if folder is not None:
            files.check_new(folder)
        return "begin"
    recorded = read_plan_of(folder, plan.experiment, plan.version, "name another folder")
    history = files.read_history(folder)
    differing = changes(attrs.asdict(recorded), attrs.asdict(plan))
    free = ("epochs:", "config.epochs:", "formats.") + (() if recorded.step and plan.step else ("step.",))
    others = [change for change in differing if not change.startswith(free)]
    hint = "name another folder; only epochs can become more, of a step that does not depend on them"
    require(not others, str(folder), "the run that was recorded there", "; ".join(others), hint)
    require(plan.epochs >= len(history), str(folder), f"at least the {len(history)} epochs it has", plan.epochs)
    return "nothing to do" if files.is_complete(folder, plan) else "resume"


def _check_start(plan: Plan, start: Progress) -> None:
    """Raise unless all processes of the run start from the same checkpoint."""
    if plan.options.engine == "jax":
        from funcnn.runs.compiled import check_same

        check_same("the checkpoint", (start.params, start.state, start.step))


def _carried_out(
    folder: Path, experiment: Experiment, plan: Plan, first: Progress, now: Mapping[str, Any], show: Show | None
) -> Outcome:
    """Run from the last checkpoint in the folder to the end, and write all files."""
    remove_leftovers(folder)
    if not (folder / "config.json").exists():
        write_json(folder / "config.json", plan)
    _write_environment(folder, now)
    start, record = files.recorder(folder, experiment, first)
    _check_start(plan, start)
    if read_plan(folder) != plan:  # the new plan has more epochs
        write_json(folder / "config.json", plan)
    (folder / "digest.txt").unlink(missing_ok=True)  # only now: if resuming is refused, it stays
    shown = len(start.history)

    def on_progress(progress: Progress) -> None:
        nonlocal shown
        record(progress)
        if show is not None and len(progress.history) > shown:
            say(show(progress, shown == len(start.history)))
            shown = len(progress.history)

    try:
        outcome = _followed(folder, experiment, start, on_progress, plan.options.checkpoint_every)
        with uninterrupted():
            _leave(folder, experiment, plan, first, outcome)
    except BrokenPipeError:  # the reader of the output has gone
        raise
    except OSError as error:
        raise OSError(f"{error}; what was recorded before is whole, and can be resumed: {folder}") from error
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _write_environment(folder: Path, now: Mapping[str, Any]) -> None:
    """Write the environment. If the run is resumed, refuse other data and add what else changed, each change once."""
    path = folder / "environment.json"
    if not path.exists():
        write_json(path, now)
    recorded = files.read_environment(folder)
    changed, known = changes(recorded, now), recorded.get(RESUMED, [])
    others = [change for change in changed if change.startswith("data.")]
    require(not others, str(folder), "the data that the run began with", "; ".join(others), "begin another run")
    if changed and changed not in known:
        write_json(path, {**recorded, RESUMED: [*known, changed]})


def _followed(
    folder: Path, experiment: Experiment, start: Progress, record: Callable[[Progress], None], every: int
) -> Outcome:
    """Follow the stream; ``record`` the progress after every epoch, and every ``every`` steps within one.

    Recorded and returned params are known to give finite losses.
    """
    good = latest = start
    recorded = start.step
    try:
        for progress in stream(attrs.evolve(experiment, batches=_with_bar(experiment)), start):
            if failure := _failure(experiment, progress, latest):
                return Outcome(folder, good, failure=failure)
            ended = len(progress.history) > len(latest.history)
            good = progress if ended else latest  # at the end of an epoch the params themselves are evaluated
            latest = progress
            if ended or good.step // every > recorded // every:
                record(good)
                recorded = good.step
    except KeyboardInterrupt:
        return Outcome(folder, good, interrupted=True)
    except (ExperimentError, InputError) as error:
        return Outcome(folder, good, failure=str(error), error=error)
    return Outcome(folder, good)


def _failure(experiment: Experiment, progress: Progress, known: Progress) -> str | None:
    """The first number after ``known`` that is not finite, among losses (names that end so) and the watched column."""
    for row in (*progress.steps_after(known.step), *progress.history[len(known.history) :]):
        for name, value in row.items():
            if (name.endswith("loss") or name == experiment.watch) and not math.isfinite(value):
                counter = "epoch" if "epoch" in row else "step"
                return f"{name} is {value} at {counter} {row[counter]}"
    return None


def _with_bar(experiment: Experiment) -> Callable[[int], Iterable[Any]]:
    """The batches of an epoch, with a progress bar in a terminal or a notebook."""
    table = experiment.batches
    if threading.current_thread() is not threading.main_thread():
        return table  # runs in other threads share one terminal

    with warnings.catch_warnings(action="ignore"):  # it tells of a notebook without ipywidgets, and shows text there
        from tqdm.auto import tqdm

    def batches(epoch: int) -> Iterable[Any]:
        total = sum(map(len, table.rows(epoch))) if isinstance(table, Table) else None
        title = f"epoch {epoch + 1}/{experiment.epochs}"
        bar: Iterable[Any] = tqdm(table(epoch), title, total, leave=False, disable=None, unit="batch")
        return bar

    return batches


def _leave(folder: Path, experiment: Experiment, plan: Plan, first: Progress, outcome: Outcome) -> None:
    """Record the last progress if the run ended early, and write the files that a run ends with.

    The digest is written last: if it is there, nothing is missing.
    """
    progress = outcome.progress or first
    try:
        if outcome.interrupted or outcome.failure:  # the recorder may have been stopped halfway
            files.recorder(folder, experiment, first)[1](progress)
        if outcome.error is not None and progress.step == 0:
            return
        if experiment.save:
            experiment.save(folder / "model.safetensors", progress.params)
        best = best_epoch(experiment, progress.history)
        write_png(folder / "history.png", curves(progress.history, best, plan.formats))
        write_report(folder / "report.html", experiment, plan, progress, files.read_environment(folder))
        files.write_digest(folder, progress)
    except (ExperimentError, InputError):
        if outcome.error is None:  # otherwise the caller raises that one
            raise
