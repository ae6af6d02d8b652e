"""The floor: only the matrix products of training steps, into preallocated arrays."""

from typing import Any

import numpy as np

from experiments.benchmark.workloads import Ready, Task


def values_of(weights: list[Any], rows: int) -> list[Any]:
    """An array for the outputs of every layer."""
    return [np.zeros((rows, w.shape[1]), np.float32) for w in weights]


def forward(weights: list[Any], x: Any, values: list[Any]) -> None:
    """The outputs of every layer, without biases and ReLU."""
    for w, y in zip(weights, values, strict=True):
        x = np.matmul(x, w, out=y)


def training(task: Task) -> Ready:
    """Forward, for the weights' gradients and for those of their inputs; all batches have the same rows."""
    weights = task.params()[::2]
    grads = [np.empty_like(w) for w in weights]
    sizes = {len(rows) for rows in task.batches(range(task.workload.samples))}
    buffers = {size: (values_of(weights, size), values_of(weights, size)) for size in sizes}

    def run(order: Any) -> None:
        for rows in task.batches(order):
            x, (values, dvalues) = task.inputs[: len(rows)], buffers[len(rows)]
            forward(weights, x, values)
            for i in reversed(range(1, len(weights))):
                np.matmul(values[i - 1].T, dvalues[i], out=grads[i])
                np.matmul(dvalues[i], weights[i].T, out=dvalues[i - 1])
            np.matmul(x.T, dvalues[0], out=grads[0])  # the first layer's inputs have no gradient

    return Ready(run)


def inference(task: Task) -> Ready:
    """Piece by piece."""
    weights = task.params()[::2]
    buffers = {len(piece): values_of(weights, len(piece)) for piece in task.pieces()}

    def run(order: Any) -> None:
        del order  # nothing is drawn
        for piece in task.pieces():
            forward(weights, piece, buffers[len(piece)])

    return Ready(run)
