"""A grid of configs: every combination of the values of some options, with every seed."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import attrs
import tyro
from toolz import concat

from funcnn.errors import require

_SEQUENCE = re.compile(r"\b(tuple|list|Sequence)\[")

Varied = tuple[str, ...]
"""An option and its values, each as it is written on a command line, its numbers joined by commas: hidden 128,64 32."""


def configs(base: Any, varied: Sequence[Varied], seeds: Sequence[int], prog: str) -> dict[str, Any]:
    """The config of every run by the name of its folder, seeds innermost.

    >>> @attrs.frozen
    ... class Config:
    ...     width: int = 64
    ...     rates: tuple[float, ...] = (0.1,)
    ...     seed: int = 0
    >>> print(*configs(Config(), [("width", "8", "16"), ("rates", "1e-2,1")], [0, 1], "wave.py"), sep="\\n")
    width=8,rates=0.01-1.0,seed=0
    width=8,rates=0.01-1.0,seed=1
    width=16,rates=0.01-1.0,seed=0
    width=16,rates=0.01-1.0,seed=1

    Raises:
        InputError: An option that cannot be varied, or anything that comes twice.
        SystemExit: A value that a run cannot have, which is told as on the command line of a single run.
    """
    fields = attrs.fields_dict(type(base))
    require("seed" in fields, "--seeds", "a config with a seed", f"the fields {', '.join(fields)}")
    fits = fields["seed"].default in (attrs.NOTHING, base.seed)
    require(fits, "--seed", "--seeds, which names all of them", base.seed)
    require(len(seeds) > 0, "--seeds", "at least one", "none")
    names = _names(fields, varied)
    combinations = product(*(values for _, *values in varied), map(str, seeds))
    parsed = [_parse(base, dict(zip((*names, "seed"), values, strict=True)), prog) for values in combinations]
    found = {_name(config, names): config for config in parsed}
    require(len(found) == len(parsed), "--vary and --seeds", "values that differ", "a value twice")
    return found


def _names(fields: Mapping[str, Any], varied: Sequence[Varied]) -> list[str]:
    """The options that vary."""
    for option in varied:
        require(len(option) > 1, "--vary", "an option and its values", " ".join(option) or "nothing")
    known = [name for name in fields if name != "seed"]
    names = [name.replace("-", "_") for name, *_ in varied]
    for name in names:
        require(name in known, "--vary", f"one of {', '.join(known)}", name)
    require(len(set(names)) == len(names), "--vary", "every option once", " ".join(names))
    return names


def _parse(base: Any, values: Mapping[str, str], prog: str) -> Any:
    """What the command line of a single run makes of the values."""
    kinds = {field.name: str(field.type) for field in attrs.fields(attrs.resolve_types(type(base)))}
    words = {name: _parts(value) if _SEQUENCE.search(kinds[name]) else [value] for name, value in values.items()}
    arguments = concat((f"--{name.replace('_', '-')}", *parts) for name, parts in words.items())
    plain = (tyro.conf.FlagConversionOff,)  # --nesterov True, not --nesterov
    return tyro.cli(type(base), prog=prog, args=list(arguments), default=base, config=plain)


def _parts(value: str) -> list[str]:
    """The words of one value: none of an empty one."""
    return value.split(",") if value else []


def _name(config: Any, varied: Sequence[str]) -> str:
    """A name that every file system takes, the same in whatever order the options came."""
    names = [name for name in attrs.fields_dict(type(config)) if name in (*varied, "seed")]
    return ",".join(re.sub(r"[^\w.=+-]", "_", f"{name}={_text(getattr(config, name))}") for name in names)


def _text(value: object) -> str:
    return ("-".join(map(str, value)) or "none") if isinstance(value, tuple | list) else str(value)
