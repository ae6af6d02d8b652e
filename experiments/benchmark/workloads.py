"""What is run: the workloads of the contest, and those that show how time and memory grow."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

PIXELS, CLASSES = 784, 10


@attrs.frozen
class Workload:
    """Work that every peer does alike, on the digits.

    Attributes:
        kind: "dense" or "lenet" for an epoch of training such a network, "inference" for the outputs of a dense one.
        hidden: The widths of a dense network's hidden layers; they are rectified.
        batch: The batch size.
        optimizer: "adam" with a learning rate of 0.001, or "sgd" with 0.1.
        samples: How many, from the first on.
    """

    kind: str = "dense"
    hidden: tuple[int, ...] = (128, 64)
    batch: int = 128
    optimizer: str = "adam"
    samples: int = 60_000

    @property
    def steps(self) -> int:
        """The batches of an epoch, of which the last may be smaller."""
        return -(-self.samples // self.batch)


WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        **{
            f"small-{batch}-{optimizer}": Workload(batch=batch, optimizer=optimizer)
            for batch in (32, 128, 1024)
            for optimizer in ("sgd", "adam")
        },
        "wide": Workload(hidden=(512, 512)),
        "huge": Workload(hidden=(2048, 2048), samples=12_800),
        "lenet": Workload(kind="lenet", samples=6_400),
        "inference": Workload(kind="inference"),
    }
)

START_UP, INSTALLED_SIZE = "start-up", "installed-size"

NAMES = (*WORKLOADS, START_UP, INSTALLED_SIZE)
"""All that can be asked for: the last two are no work on the digits."""


def _of_batch(batch: int) -> Workload:
    """At most a hundred whole batches."""
    return Workload(hidden=(128, 128), batch=batch, samples=batch * min(100, 60_000 // batch))


GROWTH: Mapping[str, Mapping[int, Workload]] = MappingProxyType(
    {
        "width": {n: Workload(hidden=(n, n), samples=12_800) for n in (32, 64, 128, 256, 512, 1024, 2048)},
        "depth": {n: Workload(hidden=(256,) * n, samples=12_800) for n in (1, 2, 4, 8)},
        "batch": {n: _of_batch(n) for n in (8, 32, 128, 1024, 4096)},
        "examples": {n: Workload(hidden=(128, 128), samples=n) for n in (1_000, 4_000, 15_000, 60_000)},
    }
)
"""By what grows, and how large it is; all else stays as it is."""
