"""Options of a run that do not depend on its experiment: the engine, its threads, and devices and processes."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import attrs
import tyro
from attrs.validators import optional

from funcnn.errors import is_count, is_real, require


def checked(expected: str, fits: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    """A validator that raises, naming the option, unless its value fits.

    >>> Options(checkpoint_every=0)
    Traceback (most recent call last):
    funcnn.errors.InputError: --checkpoint-every: expected a positive whole number, got 0
    """

    def check(options: Any, attribute: Any, value: Any) -> None:
        shown = list(value) if isinstance(value, tuple) else value
        require(fits(value), f"--{attribute.name.replace('_', '-')}", expected, shown)

    return check


COUNT = checked("a positive whole number", is_count)
AT_LEAST_0 = checked("a number of at least 0", partial(is_real, low=0))


@attrs.frozen
class Options:
    """Options of any run.

    Attributes:
        engine: What computes: numpy, or jax, which compiles the same step (takes the extra jax).
        threads: How many threads matrix products of numpy may use; the last bits of results change with it.
        checkpoint_every: Write a checkpoint every so many steps, beside the one after every epoch; the engine jax
            computes an epoch in one piece.
    """

    engine: Literal["numpy", "jax"] = "numpy"
    threads: int = attrs.field(default=1, validator=COUNT)
    checkpoint_every: int = attrs.field(default=1000, validator=COUNT)


@attrs.frozen
class Devices:
    """Devices and processes of the engine jax; each device has an equal part of every batch.

    Attributes:
        devices: How many devices of this process share the work; 1 by default, all with several processes.
        coordinator: The address of process 0 of several. Start all with the same command except for --process; only
            process 0 writes the folder of the run. There is no password: keep it off open networks.
        process: The number of this process, from 0.
        processes: The number of processes.
    """

    devices: int | None = attrs.field(default=None, validator=optional(COUNT))
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    process: int = 0
    processes: int = attrs.field(default=1, validator=COUNT)

    def __attrs_post_init__(self) -> None:
        fits = 0 <= self.process < self.processes
        require(fits, "--process", f"a whole number from 0 to {self.processes - 1}", self.process)
        if self.processes == 1:
            require(self.coordinator is None, "--processes", "at least 2 with --coordinator", self.processes)
            return
        host, _, port = (self.coordinator or "").rpartition(":")
        fits = bool(host) and port.isascii() and port.isdecimal()
        require(fits, "--coordinator", "HOST:PORT of process 0 with --processes", self.coordinator or "none")
        require(0 < int(port) < 2**16, "--coordinator", f"a port from 1 to {2**16 - 1}", port)
        require(self.devices is None, "--devices", "none with --processes: all take part", self.devices)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.process == 0


ALONE = Devices()
"""The default: one device of one process."""
