"""The command of an experiment: train, resume, reproduce, sweep and compare, with options from its config.

A command ends with one line and an exit status, never a traceback for what a user can mend.
"""

import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import attrs
import tyro

from funcnn.errors import InputError, require
from funcnn.runs import folder as files
from funcnn.runs.compare import Comparison, compare
from funcnn.runs.experiment import Experiment
from funcnn.runs.follow import Outcome
from funcnn.runs.launch import plan_of
from funcnn.runs.options import ALONE, Devices, Options
from funcnn.runs.program import VERBS, Again, Out, Program
from funcnn.runs.replay import reproduce
from funcnn.runs.stream import ExperimentError, best_epoch
from funcnn.runs.sweep import Grid, configs, sweep
from funcnn.runs.text import Show, numbers, one_line
from funcnn.tree import frozendict

C = TypeVar("C")


def main(
    experiment: Callable[[Any], Experiment],
    config: type[Any],
    *,
    name: str | None = None,
    version: int = 0,
    printers: Mapping[str, Show] = frozendict({}),
    arguments: Sequence[str] | None = None,
) -> int:
    """The command of an experiment; gives the exit status.

    It is 0 for a run that ended well, 1 for one that failed and for what is refused, 2 for bad arguments and 130 for
    Ctrl-C.

    Args:
        experiment: A function from a config to an :class:`funcnn.runs.Experiment`.
        config: The attrs class of its configs; its fields become options, and its docstring their help.
        name: The experiment's name, instead of that of its module.
        version: Raise it where old folders would mean something else: they are refused.
        printers: Other ways to show an epoch than the table, by name: ``--printer`` chooses.
        arguments: Instead of those of the process.

    Raises:
        InputError: ``experiment`` is no function, or ``config`` no attrs class, or has a field named as a run's option.
        SystemExit: With 2, for bad arguments.
    """
    require(callable(experiment), "main", "an experiment that is a function of a config", repr(experiment))
    fits = isinstance(config, type) and attrs.has(config)
    require(fits, "main", "a config that is an attrs class", repr(config), "decorate it by @attrs.frozen")
    taken = {name for kind in (Out, Options, Devices, Grid) for name in _options(kind)} | {"printer", "run"}
    clash = sorted(taken & {*_options(config)})
    require(not clash, f"main {config.__name__}", "fields named otherwise than a run's options", ", ".join(clash))
    source, module = _origin(experiment)
    prog = f"python {source.name}" if module == source.stem else f"python -m {module}"
    program = Program(experiment, config, name or module.rpartition(".")[-1], version, prog, source, printers)
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words.pop(0) if words and words[0] in VERBS else "train"
    return _ended(lambda: _CARRY_OUT[verb](program, words))


def _options(kind: type[Any]) -> Iterator[str]:
    """The fields of a config, those of the records in it among them, each of which becomes an option."""
    for field in attrs.fields(attrs.resolve_types(kind)):
        nested = isinstance(field.type, type) and attrs.has(field.type)
        yield from _options(field.type) if nested else [field.name]


def _origin(experiment: Any) -> tuple[Path, str]:
    """The file of an experiment and its module, as one starts it; a notebook has no such file."""
    function = experiment.func if isinstance(experiment, partial) else experiment
    function = function if inspect.isroutine(function) or isinstance(function, type) else type(function)
    try:
        source = Path(inspect.getsourcefile(function) or ".")
    except (OSError, TypeError):
        source = Path()
    if function.__module__ != "__main__":
        return source, function.__module__
    spec = sys.modules["__main__"].__spec__
    return source, spec.name if spec else source.stem if source.is_file() else "experiment"


def guarded(run: Callable[[C], int], kind: type[C], prog: str, arguments: Sequence[str] | None = None) -> int:
    """What ``run`` gives for the ``kind`` that the command line describes: the exit status of any other command."""
    return _ended(lambda: run(tyro.cli(kind, prog=prog, args=arguments)))


def _ended(run: Callable[[], int]) -> int:
    """The exit status of what is run: 1 and one line for what is refused or fails, 130 for Ctrl-C.

    What the terminal cannot show, such as a file name that is no text, is printed in escapes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ExperimentError, InputError, MemoryError, ModuleNotFoundError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


_flat: Any = tyro.conf.OmitArgPrefixes
_OPTIONS = _flat[Options], Options()
_DEVICES = _flat[Devices], ALONE
_RUN = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="The folder of the run.")], attrs.NOTHING


def _train(program: Program, words: Sequence[str]) -> int:
    """Begin a run."""
    out = _flat[Out], Out()
    command = program.parsed("train", words, config=program.field(), place=out, run=_OPTIONS, devices=_DEVICES)
    if command.place.out is not None and command.devices.leads:
        files.check_new(command.place.out)  # before data are loaded
    return _carried_out(program, command, command.config, command.place.out, command.run, "begin")


def _resume(program: Program, words: Sequence[str]) -> int:
    """Resume a run, maybe for more epochs."""
    runs = [word for word in words if (Path(word) / "config.json").exists()] or [*words[:1]]
    known = bool(runs) and not runs[0].startswith("-")  # or else the parser says what is missing
    recorded, options = program.recorded(Path(runs[0])) if known else (None, Options())
    command = program.parsed("resume", words, run=_RUN, config=program.field(recorded), devices=_DEVICES)
    if recorded is None:
        recorded, options = program.recorded(command.run)
    for field in attrs.fields(program.kind):
        was, value = getattr(recorded, field.name), getattr(command.config, field.name)
        fits = was == value or field.name == "epochs" or field.name in program.paths()
        option, hint = f"--{field.name.replace('_', '-')}", "only --epochs can become more"
        require(fits, option, f"{was}, as the run has it", value, hint)
    longer = {"epochs": command.config.epochs} if "epochs" in attrs.fields_dict(program.kind) else {}
    config = attrs.evolve(recorded, **longer)
    return _carried_out(program, command, config, command.run, options, "resume")


def _carried_out(
    program: Program, command: Any, recorded: Any, folder: Path | None, options: Options, mode: str
) -> int:
    """Run, and say how it ended and what was evaluated when; gives the exit status."""
    show = program.printers.get(getattr(command, "printer", "table"), "table")
    how = {"devices": command.devices, "show": show, "mode": mode}
    outcome = program.run(command.config, recorded, folder, options, **how)
    if command.devices.leads:
        print(_told(outcome))
    if outcome.failure:
        print(f"error: {outcome.failure}; the last good model is saved; try a smaller learning rate", file=sys.stderr)
        return 1
    if outcome.interrupted:
        print(f"interrupted: what was learned is saved; resume {outcome.folder} goes on", file=sys.stderr)
        return 130
    return 0


def _told(outcome: Outcome) -> str:
    """What was evaluated last, which epoch is the best, and where all files are."""
    if outcome.progress is None:
        return f"nothing to do: the run in {outcome.folder} is finished"
    plan, progress, lines = files.read_plan(outcome.folder), outcome.progress, [""]
    if progress.history:
        lines.append(f"epoch {len(progress.history)}: {numbers(progress.history[-1], plan.formats)}")
    if best := best_epoch(plan, progress.history):
        lines.append(f"best by {plan.watch}, epoch {best}: {numbers(progress.history[best - 1], plan.formats)}")
    if progress.within_epoch:
        lines.append(f"saved after step {progress.step}, {progress.within_epoch} steps into an epoch: not evaluated")
    return "\n".join([*lines, "", f"all files are in {outcome.folder}; open report.html"])


def _reproduce(program: Program, words: Sequence[str]) -> int:
    """Run again, and say what came: 0 for the same, 1 for another."""
    command = program.parsed("reproduce", words, run=_RUN, again=(_flat[Again], Again()), **program.paths())
    told = {name: value for name in program.paths() if (value := getattr(command, name)) is not None}
    config, _ = program.recorded(command.run)
    experiment = program.made(attrs.evolve(config, **told))
    verdict = reproduce(experiment, command.run, source=program.source, **attrs.asdict(command.again))
    title = "environment, recorded -> now:" if verdict.changes else "environment: as recorded"
    print(title, *verdict.changes, sep="\n  ")
    print(verdict.text)
    return 0 if verdict.same else 1


def _sweep(program: Program, words: Sequence[str]) -> int:
    """Train over a grid of configs and seeds."""
    command = program.parsed("sweep", words, config=program.field(), grid=(_flat[Grid], Grid()), run=_OPTIONS)
    try:
        found = configs(command.config, command.grid.vary, command.grid.seeds, f"{program.prog} sweep")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    plans = {
        name: plan_of(program.made(config), program.name, program.version, config, command.run)
        for name, config in found.items()
    }
    return sweep(command.grid, plans, found, partial(program.attempt, command.run))


def _compare(program: Program, words: Sequence[str]) -> int:
    """Set runs side by side."""
    return compare(tyro.cli(Comparison, prog=f"{program.prog} compare", args=list(words)))


_CARRY_OUT = {"train": _train, "resume": _resume, "reproduce": _reproduce, "sweep": _sweep, "compare": _compare}
