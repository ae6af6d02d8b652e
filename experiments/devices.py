"""What the compiled engine runs on: one device, several, or those of several processes, on one host or on many."""

from typing import Annotated

import attrs
import tyro

from funcnn.errors import is_count, require


@attrs.frozen
class Devices:
    """Where a run with the engine jax is computed; each device has an equal part of every batch.

    Attributes:
        devices: How many devices of this process share the work: 1, or all there are if there are several processes.
        coordinator: Where process 0 of several is reached. All are started with the same command but for --process,
            and process 0 alone writes the folder of the run. There is no password: keep it off open networks.
        process: Which of the processes this is, from 0.
        processes: How many processes there are.
    """

    devices: int | None = None
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    process: int = 0
    processes: int = 1

    def __attrs_post_init__(self) -> None:
        require(self.devices is None or is_count(self.devices), "--devices", "a positive whole number", self.devices)
        require(is_count(self.processes), "--processes", "a positive whole number", self.processes)
        fits = 0 <= self.process < self.processes
        require(fits, "--process", f"a whole number from 0 to {self.processes - 1}", self.process)
        alone = self.processes == 1
        require(not alone or self.coordinator is None, "--processes", "at least 2 with --coordinator", self.processes)
        host, _, port = (self.coordinator or "").rpartition(":")
        fits = alone or (bool(host) and port.isdecimal())
        require(fits, "--coordinator", "HOST:PORT of process 0 with --processes", self.coordinator or "none")
        require(alone or 0 < int(port) < 2**16, "--coordinator", f"a port from 1 to {2**16 - 1}", port)
        require(alone or self.devices is None, "--devices", "none with --processes: all take part", self.devices)

    @property
    def leads(self) -> bool:
        """Whether it is this process that writes files and prints."""
        return self.process == 0


ALONE = Devices()
"""One device of one process."""
