"""What a peer is given, and what it gives back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from experiments.benchmark.workloads import Workload

PIECE = 1000


def as_it_is(array: Any) -> Any:
    """The ``place`` of a peer that works on NumPy's arrays."""
    return array


@attrs.frozen(eq=False)
class Task:
    """A workload with its data.

    Attributes:
        workload: What to do.
        inputs: (samples, 784) float32, as the peer's ``place`` gave them.
        targets: (samples,) int64, placed too.
        params_file: The params to begin with.
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

    def stacked(self, order: Any) -> list[Any]:
        """The same for a scan, as arrays (steps, batch): one of the whole batches and one of the rest."""
        whole = len(order) // self.workload.batch * self.workload.batch
        pieces = (order[:whole].reshape(-1, self.workload.batch), order[None, whole:])
        return [piece.astype(np.int32) for piece in pieces if piece.size]

    def pieces(self) -> list[Any]:
        """The samples in pieces that stay in the cache, for inference; what works on them is of bounded size."""
        return [self.inputs[i : i + PIECE] for i in range(0, len(self.inputs), PIECE)]

    def mean(self, losses: Any) -> float:
        """The mean over all samples of what ``run`` gives.

        Raises:
            ValueError: Some batches have no loss.
        """
        if len(losses) == 1:
            return float(losses[0])
        if len(losses) != self.workload.steps:
            raise ValueError(f"expected losses of {self.workload.steps} steps, got {len(losses)}")
        rows = [len(batch) for batch in self.batches(range(self.workload.samples))]
        return float(np.average(losses, weights=rows))


@attrs.frozen
class Ready:
    """A peer that is ready.

    Attributes:
        run: ``run(order)`` trains an epoch over the rows in that order, and gives the mean training loss of each batch
            in turn, or that of the epoch as the only one; for inference, it gives the outputs (samples, 10) as a NumPy
            array, whatever the order.
        program: The bytes of the compiled program and what it works on beside the samples, where a peer can tell.
    """

    run: Callable[[Any], Any]
    program: Callable[[], int] | None = None
