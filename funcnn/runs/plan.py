"""The plan of a run, and its JSON files, read as records whose fields are all validated."""

import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from cattrs import transform_error
from cattrs.preconf.json import make_converter
from cattrs.v import format_exception

from funcnn.errors import InputError, require
from funcnn.files import replacing
from funcnn.reading import read_as_is
from funcnn.runs.experiment import Experiment
from funcnn.runs.options import Options
from funcnn.training import TrainStep

T = TypeVar("T")

DEEPEST = 100
"""The greatest depth of a run's JSON file."""


def _check_formats(plan: Any, attribute: Any, formats: Mapping[str, str]) -> None:
    for name, form in formats.items():
        fits = isinstance(form, str) and re.fullmatch(r",?(d|(\.\d{1,2})?[efg%])", form) is not None
        require(fits, f"formats {name!r}", "a format of a number such as '.4f' or '.2%'", repr(form))


@attrs.frozen
class Plan:
    """The content of config.json.

    Attributes:
        experiment: The experiment's name.
        version: Its version.
        config: Its config as plain data.
        options: Engine, threads and checkpoints.
        epochs: As in :class:`funcnn.runs.Experiment`, like the next four.
        watch: The watched column.
        patience: When the run ends early.
        tolerance: What counts as a new best.
        formats: How numbers are shown.
        step: The parts of a :class:`funcnn.TrainStep` by name; a resumed run must have the same.
    """

    experiment: str
    version: int
    config: Mapping[str, Any]
    options: Options
    epochs: int
    watch: str | None
    patience: int | None
    tolerance: float
    formats: Mapping[str, str] = attrs.field(validator=_check_formats)
    step: Mapping[str, str]


def plan_of(experiment: Experiment, name: str, version: int, config: Any, options: Options) -> Plan:
    """The plan of a run; ``config`` is an attrs record or plain data."""
    hint = "give what your function makes of a config: experiment(Config())"
    require(isinstance(experiment, Experiment), name, "an Experiment", repr(experiment), hint)
    try:
        plain = {} if config is None else json.loads(CONVERTER.dumps(config))
    except (TypeError, ValueError) as error:
        raise InputError("config", "an attrs record or a mapping of plain data", repr(config), str(error)) from error
    require(isinstance(plain, dict), "config", "an attrs record or a mapping of plain data", repr(config))
    limits = {field: getattr(experiment, field) for field in ("epochs", "watch", "patience", "tolerance")}
    parts = ("model", "loss", "optimizer", "penalty") if isinstance(experiment.step, TrainStep) else ()
    step = {part: re.sub(" at 0x[0-9a-f]+", "", repr(getattr(experiment.step, part))) for part in parts}
    return Plan(name, version, plain, options, formats=dict(experiment.formats), step=step, **limits)


def read_plan(folder: Path) -> Plan:
    """The plan of the run in ``folder``."""
    path = folder / "config.json"
    require(path.exists(), str(folder), "the folder of a run", "no config.json in it")
    return structured(str(path), read_json(path), Plan)


def read_plan_of(folder: Path, name: str, version: int, hint: str) -> Plan:
    """The plan of the run in ``folder``, which must be of an experiment of that name and version."""
    plan = read_plan(folder)
    expected, found = f"a run of {name} version {version}", f"one of {plan.experiment} version {plan.version}"
    require((plan.experiment, plan.version) == (name, version), str(folder), expected, found, hint)
    return plan


CONVERTER = make_converter(forbid_extra_keys=True)


def _exact(value: Any, kind: Any) -> Any:
    """The value, if it has exactly this type: cattrs would convert text to numbers and back."""
    if type(value) is kind or (kind is float and type(value) is int):
        return kind(value)
    raise TypeError(f"{reprlib.repr(value)} is no {kind.__name__}")


for _kind in (bool, int, float, str):
    CONVERTER.register_structure_hook(_kind, _exact)


def write_json(path: Path, values: Any) -> None:
    """Write an attrs record or plain data."""
    with replacing(path) as part:
        part.write_text(CONVERTER.dumps(values, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The plain data in a file, at most :data:`DEEPEST` deep.

    Raises:
        InputError: The file cannot be read, is not JSON, or is deeper.
    """
    content = read_as_is(path)
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), "JSON as this version writes it", error) from error
    require(_is_shallow(values, DEEPEST), str(path), f"JSON that is at most {DEEPEST} deep", "deeper one")
    return values


def structured(where: str, values: Any, kind: type[T]) -> T:
    """Plain data as a record of ``kind``.

    Raises:
        InputError: Fields are missing, unknown or have another type; the message lists all of them with their paths.
    """
    known = ", ".join(field.name for field in attrs.fields(kind))  # type: ignore[arg-type]
    expected = f"an object with the fields {known}, as this version writes it"
    require(isinstance(values, Mapping), where, expected, type(values).__name__)
    try:
        return CONVERTER.structure(values, kind)
    except Exception as error:  # a wrong value can cause any error
        faults = "; ".join(transform_error(error, format_exception=_fault))
        raise InputError(where, expected, faults) from error


def _fault(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, InputError | TypeError) else format_exception(error, kind)


def _is_shallow(values: Any, depth: int) -> bool:
    parts = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    return depth > 0 and all(_is_shallow(part, depth - 1) for part in parts)
