"""The command of an experiment: train, resume, reproduce, sweep, compare and export, with options from its config.

What a user can mend ends a command with one line and an exit status, not with a traceback.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro
from attrs.validators import optional

from funcnn.checkpoint import load
from funcnn.errors import InputError, require
from funcnn.runs import folder as files
from funcnn.runs.compare import Comparison, compare
from funcnn.runs.endings import exit_status
from funcnn.runs.experiment import Experiment
from funcnn.runs.grid import Grid, configs
from funcnn.runs.launch import Outcome, run
from funcnn.runs.options import ALONE, AT_LEAST_0, COUNT, Devices, Options
from funcnn.runs.plan import plan_of, read_plan, read_plan_of, structured
from funcnn.runs.replay import reproduce
from funcnn.runs.stream import best_epoch
from funcnn.runs.text import Show, numbers, one_line, reason, say
from funcnn.tree import frozendict

VERBS = {
    "train": "a run of the experiment, in a folder of its own; the verb may be left out",
    "resume": "resume a run that was stopped or killed, or train a finished one longer",
    "reproduce": "run a recorded run again, and say whether it is the same",
    "sweep": "train over a grid of configs and seeds, on all cores or on a Dask cluster",
    "compare": "set runs side by side, in a table and a picture",
    "export": "write the model of a run as an ONNX file, for other programs",
}


def main(
    experiment: Callable[[Any], Experiment],
    config: type[Any],
    *,
    name: str | None = None,
    version: int = 0,
    printers: Mapping[str, Show] = frozendict({}),
    arguments: Sequence[str] | None = None,
) -> int:
    """The command of an experiment; returns the exit status.

    It is 0 for a run that ended well, 1 for a run that failed or was refused, 2 for bad arguments, and 130 for Ctrl-C,
    TERM and HUP, which save what was learned.

    Args:
        experiment: A function from a config to an :class:`funcnn.runs.Experiment`.
        config: The attrs class of its configs; its fields become options, and its docstring their help.
        name: The experiment's name, instead of the name of its module.
        version: Raise it where old folders would mean something else: they are refused.
        printers: Ways to show an epoch, by name, beside the table; ``--printer`` chooses one.
        arguments: Instead of those of the process.

    Raises:
        InputError: ``experiment`` is no function, ``config`` is no attrs class, or a field has the name of an option.
        SystemExit: With 2, for bad arguments.
    """
    require(callable(experiment), "main", "an experiment that is a function of a config", repr(experiment))
    fits = isinstance(config, type) and attrs.has(config)
    require(fits, "main", "a config that is an attrs class", repr(config), "decorate it by @attrs.frozen")
    taken = {name for kind in (Options, Devices, Grid) for name in _options(kind)} | {"printer", "run"}
    clash = sorted(taken & {*_options(config)})
    require(not clash, f"main {config.__name__}", "fields named otherwise than a run's options", ", ".join(clash))
    source, module = _origin(experiment)
    prog = f"python {source.name}" if module == source.stem else f"python -m {module}"
    program = Program(experiment, config, name or module.rpartition(".")[-1], version, prog, source, printers)
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words.pop(0) if words and words[0] in VERBS else ""
    positional = any("Positional" in str(field.type) for field in attrs.fields(attrs.resolve_types(config)))
    if not verb and words and not words[0].startswith("-") and not positional:
        return _bad_arguments(InputError(prog, f"an option or a verb, {', '.join(VERBS)}", words[0]))
    return exit_status(lambda: getattr(program, verb or "train")(words))


def _bad_arguments(error: InputError) -> int:
    """Print the error; returns the exit status of bad arguments."""
    say(f"error: {reason(error)}", error=True)
    return 2


def _options(kind: type[Any]) -> Iterator[str]:
    """The fields of a config and of the records in it, each of which becomes an option."""
    for field in attrs.fields(attrs.resolve_types(kind)):
        nested = isinstance(field.type, type) and attrs.has(field.type)
        yield from _options(field.type) if nested else [field.name]


def _origin(experiment: Any) -> tuple[Path, str]:
    """The file of an experiment, ``.`` in a notebook, and the name of its module."""
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


@attrs.frozen
class Again:
    """Options of a run that is run again.

    Attributes:
        tolerance: The largest relative difference to accept, for a run of another machine.
        threads: How many threads matrix products may use, instead of as many as in the run.
        devices: How many devices share each batch with the engine jax, instead of as many as in the run.
    """

    tolerance: float = attrs.field(default=0.0, validator=AT_LEAST_0)
    threads: int | None = attrs.field(default=None, validator=optional(COUNT))
    devices: int | None = attrs.field(default=None, validator=optional(COUNT))


_OUT_HELP = "The folder of the run, new or empty, instead of runs/NAME-DATE-TIME."
_OUT = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help=_OUT_HELP)], None
_flat: Any = tyro.conf.OmitArgPrefixes
_OPTIONS = _flat[Options], Options()
_DEVICES = _flat[Devices], ALONE


def _positional(name: str, text: str) -> tuple[Any, Any]:
    return Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar=name, help=text)], attrs.NOTHING


_RUN = _positional("RUN", "The folder of the run.")
_MODEL, _FILE = _positional("RUN", "Its folder, or a model in it."), _positional("FILE", "The ONNX file to write.")


@attrs.frozen
class Program:
    """An experiment as a command. Each verb is a method, which takes the words after it and returns an exit status."""

    experiment: Callable[[Any], Experiment]
    kind: type[Any]
    name: str
    version: int
    prog: str
    source: Path
    printers: Mapping[str, Show]

    def train(self, words: Sequence[str]) -> int:
        command = self._parsed("train", words, config=self._config(), out=_OUT, run=_OPTIONS, devices=_DEVICES)
        if command.out is not None and command.devices.leads:
            files.check_new(command.out)  # before data are loaded
        return self._finished(command, command.config, command.out, command.run, "begin")

    def resume(self, words: Sequence[str]) -> int:
        words = ["--help"] if "--help" in words else words  # without the defaults of a run
        runs = [word for word in words if (Path(word) / "config.json").exists()] or [*words[:1]]
        known = bool(runs) and not runs[0].startswith("-")  # otherwise the parser says what is missing
        recorded, options = self._recorded(Path(runs[0])) if known else (None, Options())
        command = self._parsed("resume", words, run=_RUN, config=self._config(recorded), devices=_DEVICES)
        if recorded is None:
            recorded, options = self._recorded(command.run)
        for name in attrs.fields_dict(self.kind):
            was, value = getattr(recorded, name), getattr(command.config, name)
            if name == "epochs":
                recorded = attrs.evolve(recorded, epochs=value)
            elif name not in self._paths():
                option, hint = f"--{name.replace('_', '-')}", "only --epochs can become more"
                require(was == value, option, f"{was}, as the run has it", value, hint)
        return self._finished(command, recorded, command.run, options, "resume")

    def reproduce(self, words: Sequence[str]) -> int:
        command = self._parsed("reproduce", words, run=_RUN, again=(_flat[Again], Again()), **self._paths())
        paths = {name: value for name in self._paths() if (value := getattr(command, name)) is not None}
        config, _ = self._recorded(command.run)
        experiment = self._made(attrs.evolve(config, **paths))
        verdict = reproduce(experiment, command.run, source=self.source, **attrs.asdict(command.again))
        title = "environment, recorded -> now:" if verdict.changes else "environment: as recorded"
        say("\n  ".join([title, *map(one_line, verdict.changes)]))
        say(one_line(verdict.text))
        return 0 if verdict.same else 1

    def sweep(self, words: Sequence[str]) -> int:
        from funcnn.runs.sweep import sweep  # Dask, which no other verb needs

        command = self._parsed("sweep", words, config=self._config(), grid=(_flat[Grid], Grid()), run=_OPTIONS)
        try:
            runs = configs(command.config, command.grid.vary, command.grid.seeds, f"{self.prog} sweep")
        except InputError as error:
            return _bad_arguments(error)
        made = {name: self._made(config) for name, config in runs.items()}
        plans = {name: plan_of(made[name], self.name, self.version, runs[name], command.run) for name in made}
        return sweep(command.grid, plans, runs, partial(self._attempt, command.run))

    def compare(self, words: Sequence[str]) -> int:
        return compare(tyro.cli(Comparison, prog=f"{self.prog} compare", args=words))

    def export(self, words: Sequence[str]) -> int:
        from funcnn.onnx import export  # eight modules that no other verb needs

        command = self._parsed("export", words, run=_MODEL, file=_FILE)
        saved = load(command.run / "model.safetensors" if command.run.is_dir() else command.run)
        model, params, in_shape = saved.model, saved.params, saved.in_shape
        export(command.file, model, params, in_shape, scaling=saved.scaling, class_names=saved.class_names)
        say(f"wrote {command.file}")
        return 0

    def _parsed(self, verb: str, words: Sequence[str], **fields: tuple[Any, Any]) -> Any:
        """The command line as a record with ``fields``, pairs of a type and a default."""
        text = f"{inspect.getdoc(self.kind) or self.name}".partition("\n\n")[0]
        if verb == "train":
            text = "\n".join([f"{text}\n\nOther verbs:", *(f"  {name:<11}{VERBS[name]}" for name in [*VERBS][1:])])
        if self.printers and verb in ("train", "resume"):
            fields["printer"] = Literal[("table", *self.printers)], "table"
        kinds = {name: attrs.field(type=kind, default=default) for name, (kind, default) in fields.items()}
        prog = self.prog if verb == "train" else f"{self.prog} {verb}"
        return tyro.cli(attrs.make_class(verb, kinds, kw_only=True), prog=prog, args=words, description=text)

    def _config(self, default: Any = None) -> tuple[Any, Any]:
        """The config as a field of a command; without a default for every option, all options must be given."""
        needed = any(field.default is attrs.NOTHING for field in attrs.fields(self.kind))
        return _flat[self.kind], default or (attrs.NOTHING if needed else self.kind())

    def _paths(self) -> dict[str, tuple[Any, Any]]:
        """The fields of the config that are paths, which may differ on another machine."""
        kinds = {field.name: field.type for field in attrs.fields(self.kind) if "Path" in str(field.type)}
        return {name: (kind if "None" in str(kind) else kind | None, None) for name, kind in kinds.items()}

    def _recorded(self, folder: Path) -> tuple[Any, Options]:
        """The config and options of a run of this experiment."""
        plan = read_plan_of(folder, self.name, self.version, "use the command of that experiment")
        return structured(str(folder / "config.json"), plan.config, self.kind), plan.options

    def _made(self, config: Any) -> Experiment:
        """The experiment of a config."""
        made = self.experiment(config)
        fits = isinstance(made, Experiment)
        require(fits, self.name, "a function from a config to an Experiment", f"one that gives {made!r}")
        return made

    def _run(self, config: Any, recorded: Any, folder: Path | None, options: Options, **how: Any) -> Outcome:
        """Run ``config``, and record it as ``recorded``."""
        known: dict[str, Any] = {"name": self.name, "version": self.version, "source": self.source}
        return run(self._made(config), folder, config=recorded, options=options, **known, **how)

    def _attempt(self, options: Options, folder: Path, config: Any) -> str | None:
        """Run a config in a worker, and return the reason if the run fails."""
        return self._run(config, config, folder, options, show=None, wait=True).failure

    def _finished(self, command: Any, recorded: Any, folder: Path | None, options: Options, mode: str) -> int:
        """Run, and print how it ended with its last and best numbers; returns the exit status."""
        show = self.printers.get(getattr(command, "printer", "table"), "table")
        how = {"devices": command.devices, "show": show, "mode": mode}
        outcome = self._run(command.config, recorded, folder, options, **how)
        if command.devices.leads:
            say(_summary(outcome))
        if outcome.failure:
            hint = "the last good model is saved; try a smaller learning rate"
            say(f"error: {one_line(outcome.failure)}; {hint}", error=True)
            return 1
        if outcome.interrupted:
            say(f"interrupted: what was learned is saved; resume {outcome.folder} goes on", error=True)
            return 130
        return 0


def _summary(outcome: Outcome) -> str:
    """The last and the best numbers of a run, and the place of its files."""
    if outcome.progress is None:
        return f"nothing to do: the run in {outcome.folder} is finished"
    plan, progress, lines = read_plan(outcome.folder), outcome.progress, [""]
    if progress.history:
        lines.append(f"epoch {len(progress.history)}: {numbers(progress.history[-1], plan.formats)}")
    if best := best_epoch(plan, progress.history):
        lines.append(f"best by {plan.watch}, epoch {best}: {numbers(progress.history[best - 1], plan.formats)}")
    if progress.within_epoch:
        lines.append(f"saved after step {progress.step}, {progress.within_epoch} steps into an epoch: not evaluated")
    return "\n".join([*lines, "", f"all files are in {outcome.folder}; open report.html"])
