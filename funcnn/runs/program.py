"""An experiment as the subject of a command: what tells it from others, and what its options are."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro

from funcnn.errors import is_real, require
from funcnn.runs import folder as files
from funcnn.runs.experiment import Experiment
from funcnn.runs.follow import Outcome
from funcnn.runs.launch import run
from funcnn.runs.options import Options, check_count
from funcnn.runs.text import Show

VERBS = {
    "train": "a run of the experiment, in a folder of its own; the verb may be left out",
    "resume": "resume a run that was stopped or killed, or train a finished one longer",
    "reproduce": "run a recorded run again, and say whether it is the same",
    "sweep": "train over a grid of configs and seeds, on all cores or on a Dask cluster",
    "compare": "set runs side by side, in a table and a picture",
}


@attrs.frozen
class Out:
    """Where a run goes.

    Attributes:
        out: The folder of the run, new or empty, instead of runs/NAME-DATE-TIME.
    """

    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None


def _check_tolerance(again: Any, attribute: Any, value: object) -> None:
    require(is_real(value, low=0), "--tolerance", "a number of at least 0", value)


@attrs.frozen
class Again:
    """How a run is run again.

    Attributes:
        tolerance: The largest relative difference to let pass, for a run of another machine.
        threads: How many threads matrix products may use, if not as many as in the run.
        devices: How many devices share each batch with the engine jax, if not as many as in the run.
    """

    tolerance: float = attrs.field(default=0.0, validator=_check_tolerance)
    threads: int | None = attrs.field(default=None, validator=check_count)
    devices: int | None = attrs.field(default=None, validator=check_count)


@attrs.frozen
class Program:
    """An experiment as a command: a function of a config, with what tells it from others."""

    experiment: Callable[[Any], Experiment]
    kind: type[Any]
    name: str
    version: int
    prog: str
    source: Path
    printers: Mapping[str, Show]

    def made(self, config: Any) -> Experiment:
        """The experiment of a config."""
        made = self.experiment(config)
        fits = isinstance(made, Experiment)
        require(fits, self.name, "a function from a config to an Experiment", f"one that gives {made!r}")
        return made

    def recorded(self, folder: Path) -> tuple[Any, Options]:
        """The config and options of a run of this experiment."""
        plan = files.read_plan_of(folder, self.name, self.version, "use the command of that experiment")
        return files.structured(str(folder / "config.json"), plan.config, self.kind), plan.options

    def run(self, config: Any, recorded: Any, folder: Path | None, options: Options, **how: Any) -> Outcome:
        """The run of a config, which is recorded as ``recorded``."""
        known: dict[str, Any] = {"name": self.name, "version": self.version, "source": self.source}
        return run(self.made(config), folder, config=recorded, options=options, **known, **how)

    def attempt(self, options: Options, folder: Path, config: Any) -> str | None:
        """Carry a run out in a worker; gives what made it fail, if anything did."""
        return self.run(config, config, folder, options, show=None, wait=True).failure

    def parsed(self, verb: str, words: Sequence[str], **fields: tuple[Any, Any]) -> Any:
        """A record with ``fields``, of which each has a type and a default, from the command line."""
        text = f"{inspect.getdoc(self.kind) or self.name}".partition("\n\n")[0]
        if verb == "train":
            verbs = (f"  {name:<11}{VERBS[name]}" for name in VERBS if name != verb)
            text += "\n\n" + "\n".join(["Other verbs:", *verbs])
        if self.printers and verb in ("train", "resume"):
            fields["printer"] = Literal[("table", *self.printers)], "table"
        kinds = {name: attrs.field(type=kind, default=default) for name, (kind, default) in fields.items()}
        prog = self.prog if verb == "train" else f"{self.prog} {verb}"
        return tyro.cli(attrs.make_class(verb, kinds, kw_only=True), prog=prog, args=list(words), description=text)

    def field(self, default: Any = None) -> tuple[Any, Any]:
        """The config as a field of a command; one without defaults must be told whole."""
        needed = any(field.default is attrs.NOTHING for field in attrs.fields(self.kind))
        flat: Any = tyro.conf.OmitArgPrefixes
        return flat[self.kind], default or (attrs.NOTHING if needed else self.kind())

    def paths(self) -> dict[str, tuple[Any, Any]]:
        """The fields of the config that are paths, which may be others on another machine."""
        kinds = {field.name: field.type for field in attrs.fields(self.kind) if "Path" in str(field.type)}
        return {name: (kind if "None" in str(kind) else kind | None, None) for name, kind in kinds.items()}
