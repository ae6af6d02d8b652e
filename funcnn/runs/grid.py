"""The grid of a sweep: the configs that it runs, and their place."""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import attrs
import tyro
from attrs.validators import optional
from toolz import concat

from funcnn.errors import require
from funcnn.runs.options import COUNT

Varied = tuple[str, ...]
"""An option and its values as on a command line; commas join the numbers of one value: hidden 128,64 32."""


@attrs.frozen
class Grid:
    """What varies in a sweep, and where its runs are carried out.

    Attributes:
        vary: An option and its values; commas join the numbers of one value: --vary hidden 128,64 32. Several such
            options run in every combination.
        seeds: The seeds; every combination is run with each.
        out: The folder of the runs' folders, instead of runs/sweep-DATE-TIME. Finished runs there are not run again.
        workers: How many runs at once, instead of one per core.
        scheduler: The address of a Dask scheduler to use instead; its workers must see the same files.
    """

    vary: Annotated[
        tuple[Varied, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="OPTION VALUE [VALUE ...]")
    ] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = attrs.field(default=None, validator=optional(COUNT))
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="tcp://HOST:PORT")] = None

    def __attrs_post_init__(self) -> None:
        require(self.workers is None or self.scheduler is None, "--workers", "none with --scheduler", self.workers)
        if self.scheduler is not None:
            from distributed.comm.addressing import get_address_host_port  # takes half a second

            get_address_host_port(self.scheduler)  # raises a ValueError that names the fault


def configs(base: Any, varied: Sequence[Varied], seeds: Sequence[int], prog: str) -> dict[str, Any]:
    """The config of every run by the name of its folder; the seeds vary fastest.

    A name does not depend on the order of the options, and every file system accepts it.

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
        InputError: An option cannot be varied, or an option, value or seed comes twice.
        SystemExit: A run cannot have a value; the message is that of a single run's command line.
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

    def shown(value: object) -> str:
        return ("-".join(map(str, value)) or "none") if isinstance(value, tuple | list) else str(value)

    def name_of(config: Any) -> str:
        parts = (f"{name}={shown(getattr(config, name))}" for name in fields if name in (*names, "seed"))
        return ",".join(re.sub(r"[^\w.=+-]", "_", part) for part in parts)

    combinations = [parsed(*values) for values in product(*(values for _, *values in varied), map(str, seeds))]
    runs = {name_of(config): config for config in combinations}
    require(len(runs) == len(combinations), "--vary and --seeds", "values that differ", "a value twice")
    return runs
