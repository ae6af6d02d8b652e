"""A grid of configs: every combination of the values of some options, with every seed."""

import re
from collections.abc import Mapping, Sequence
from itertools import product

import attrs
import tyro
from toolz import concat

from experiments.config import Config
from funcnn.errors import require

PROG = "python -m experiments.sweep"
"""The command that is told of where a value is refused."""

Varied = tuple[str, ...]
"""An option and its values, each as it is written on a command line, its numbers joined by commas: hidden 128,64 32."""


def runs(base: Config, varied: Sequence[Varied], seeds: Sequence[int]) -> dict[str, Config]:
    """The config of every run by the name of its folder, seeds innermost.

    >>> print(*runs(Config(), [("learning-rate", "1e-2", "0.001"), ("hidden", "32,16")], [0, 1]), sep="\\n")
    hidden=32-16,learning_rate=0.01,seed=0
    hidden=32-16,learning_rate=0.01,seed=1
    hidden=32-16,learning_rate=0.001,seed=0
    hidden=32-16,learning_rate=0.001,seed=1

    Raises:
        InputError: An option that cannot be varied, or anything that comes twice.
        SystemExit: A value that a run cannot have, which is told as on the command line of a single run.
    """
    names = _names(varied)
    require(base.seed == 0, "--seed", "--seeds, which names all of them", base.seed)
    require(len(seeds) > 0, "--seeds", "at least one", "none")
    combinations = product(*(values for _, *values in varied), map(str, seeds))
    configs = [_parse(base, dict(zip((*names, "seed"), values, strict=True))) for values in combinations]
    found = {_name(config, names): config for config in configs}
    require(len(found) == len(configs), "--vary and --seeds", "values that differ", "a value twice")
    return found


def _names(varied: Sequence[Varied]) -> list[str]:
    """The options that vary."""
    for option in varied:
        require(len(option) > 1, "--vary", "an option and its values", " ".join(option) or "nothing")
    known = [field.name for field in attrs.fields(Config) if field.name != "seed"]
    names = [name.replace("-", "_") for name, *_ in varied]
    for name in names:
        require(name in known, "--vary", f"one of {', '.join(known)}", name)
    require(len(set(names)) == len(names), "--vary", "every option once", " ".join(names))
    return names


def _parse(base: Config, values: Mapping[str, str]) -> Config:
    """What the command line of a single run makes of the values."""
    arguments = concat(
        (f"--{name.replace('_', '-')}", *(_numbers(value) if isinstance(getattr(base, name), tuple) else [value]))
        for name, value in values.items()
    )
    return tyro.cli(Config, prog=PROG, args=list(arguments), default=base)


def _numbers(value: str) -> list[str]:
    """Those of the one value: none of an empty one."""
    return value.split(",") if value else []


def _name(config: Config, varied: Sequence[str]) -> str:
    """A name that every file system takes, the same in whatever order the options came."""
    names = [field.name for field in attrs.fields(Config) if field.name in (*varied, "seed")]
    return ",".join(re.sub(r"[^\w.=+-]", "_", f"{name}={_text(getattr(config, name))}") for name in names)


def _text(value: object) -> str:
    return ("-".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
