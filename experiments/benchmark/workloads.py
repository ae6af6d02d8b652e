"""The workloads of the contest and of growth, and the inputs and outputs of a peer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

PIXELS, CLASSES = 784, 10

PIECE = 1000
"""The samples in a piece for inference."""


@attrs.frozen
class Workload:
    """The same work for every peer, on the digits.

    Attributes:
        kind: "dense" or "lenet" for an epoch of training such a network, "inference" for the outputs of a dense one,
            "start-up" for all that a script does until its first training step is done.
        hidden: The widths of the hidden dense layers, which are followed by ReLU.
        batch: The batch size.
        optimizer: "adam" with a learning rate of 0.001, or "sgd" with 0.1.
        samples: The number of samples, from the first on.
    """

    kind: str = "dense"
    hidden: tuple[int, ...] = (128, 64)
    batch: int = 128
    optimizer: str = "adam"
    samples: int = 60_000

    @property
    def steps(self) -> int:
        """The number of batches in an epoch; the last may be smaller."""
        return -(-self.samples // self.batch)


START_UP, INSTALLED_SIZE = "start-up", "installed-size"

WORKLOADS: Mapping[str, Workload] = {
    **{
        f"small-{batch}-{optimizer}": Workload(batch=batch, optimizer=optimizer)
        for batch in (32, 128, 1024)
        for optimizer in ("sgd", "adam")
    },
    "wide": Workload(hidden=(512, 512)),
    "huge": Workload(hidden=(2048, 2048), samples=12_800),
    "lenet": Workload("lenet", hidden=(120, 84), samples=6_400),
    "inference": Workload("inference"),
    START_UP: Workload(START_UP),
}

NAMES = (*WORKLOADS, INSTALLED_SIZE)
"""The choices on the command line."""

GROWTH: Mapping[str, Workload] = {
    **{f"width={n}": Workload(hidden=(n, n), samples=12_800) for n in (32, 64, 128, 256, 512, 1024, 2048)},
    **{f"depth={n}": Workload(hidden=(256,) * n, samples=12_800) for n in (1, 2, 4, 8)},
    **{
        f"batch={n}": Workload(hidden=(128, 128), batch=n, samples=n * min(100, 60_000 // n))
        for n in (8, 32, 128, 1024, 4096)
    },
    **{f"examples={n}": Workload(hidden=(128, 128), samples=n) for n in (1_000, 4_000, 15_000, 60_000)},
}
"""Workloads by the size that grows; all else stays the same."""


def workload_of(name: str, samples: int) -> Workload:
    """The workload of that name, on at most ``samples`` samples."""
    found = {**WORKLOADS, **GROWTH}[name]
    return attrs.evolve(found, samples=min(found.samples, samples))


@attrs.frozen(eq=False)
class Task:
    """A workload with its data.

    Attributes:
        workload: What to do.
        inputs: (samples, 784) float32, where the peer's ``place`` put them.
        targets: (samples,) int64, in the same place.
        params_file: The file of the initial params.
    """

    workload: Workload
    inputs: Any
    targets: Any
    params_file: Path

    def params(self) -> list[Any]:
        """Weights and biases of the layers in turn, in fresh arrays; (in, out), kernels (rows, columns, in, out)."""
        with np.load(self.params_file) as arrays:
            return list(arrays.values())

    def batches(self, order: Any) -> list[Any]:
        """The rows of each batch of an epoch in the given order; the last may be fewer."""
        return [order[i : i + self.workload.batch] for i in range(0, len(order), self.workload.batch)]

    def pieces(self) -> list[Any]:
        """The samples in pieces for inference, which fit in the cache."""
        return [self.inputs[i : i + PIECE] for i in range(0, len(self.inputs), PIECE)]


@attrs.frozen
class Ready:
    """A peer that is ready.

    Attributes:
        run: ``run(order)`` trains an epoch over the rows in that order. It returns the mean training loss of each
            batch, as numbers or arrays, or one loss for the epoch. For inference it returns the outputs (samples, 10)
            as a NumPy array, whatever the order.
        program: The bytes of the compiled program and its memory without the samples, if the peer knows them.
    """

    run: Callable[[Any], Any]
    program: Callable[[], int] | None = None
