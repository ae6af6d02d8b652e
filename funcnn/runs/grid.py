"""A grid of configs: every combination of the values of some options, with every seed."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Any

import attrs
import tyro
from toolz import concat

from funcnn.errors import require

Varied = tuple[str, ...]
"""An option and its values, each as it is written on a command line, its numbers joined by commas: hidden 128,64 32."""


def configs(base: Any, varied: Sequence[Varied], seeds: Sequence[int], prog: str) -> dict[str, Any]:
    """The config of every run by the name of its folder, seeds innermost.

    The names are the same in whatever order the options come, and every file system takes them.

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
    fields = attrs.fields_dict(attrs.resolve_types(type(base)))
    require("seed" in fields, "--seeds", "a config with a seed", f"the fields {', '.join(fields)}")
    fits = fields["seed"].default in (attrs.NOTHING, base.seed)
    require(fits, "--seed", "--seeds, which names all of them", base.seed)
    require(len(seeds) > 0, "--seeds", "at least one", "none")
    for option in varied:
        require(len(option) > 1, "--vary", "an option and its values", " ".join(option) or "nothing")
    names = [name.replace("-", "_") for name, *_ in varied]
    known = [name for name in fields if name != "seed"]
    for name in names:
        require(name in known, "--vary", f"one of {', '.join(known)}", name)
    require(len(set(names)) == len(names), "--vary", "every option once", " ".join(names))

    def words(name: str, value: str) -> list[str]:
        parts = [value]
        if re.search(r"\b(tuple|list|Sequence)\[", str(fields[name].type)):
            parts = value.split(",") if value else []
        return [f"--{name.replace('_', '-')}", *parts]

    def parsed(*values: str) -> Any:
        arguments = concat(map(words, (*names, "seed"), values))
        plain = (tyro.conf.FlagConversionOff,)  # --nesterov True, not --nesterov
        return tyro.cli(type(base), prog=prog, args=list(arguments), default=base, config=plain)

    def name_of(config: Any) -> str:
        told = {name: getattr(config, name) for name in fields if name in (*names, "seed")}
        return ",".join(re.sub(r"[^\w.=+-]", "_", f"{name}={_text(value)}") for name, value in told.items())

    combinations = [parsed(*values) for values in product(*(values for _, *values in varied), map(str, seeds))]
    found = {name_of(config): config for config in combinations}
    require(len(found) == len(combinations), "--vary and --seeds", "values that differ", "a value twice")
    return found


def _text(value: object) -> str:
    return ("-".join(map(str, value)) or "none") if isinstance(value, tuple | list) else str(value)
