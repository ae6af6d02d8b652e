"""A textbook's loop in NumPy, written by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmark.workloads import Ready, Task


def forward(params: list[Any], x: Any) -> list[Any]:
    """The inputs of every layer, and the outputs."""
    values = [x]
    for weights, biases in zip(params[:-2:2], params[1:-2:2], strict=True):
        values.append(np.maximum(values[-1] @ weights + biases, 0.0))
    return [*values, values[-1] @ params[-2] + params[-1]]


def loss_and_gradient(params: list[Any], x: Any, targets: Any) -> tuple[Any, list[Any]]:
    """Softmax cross-entropy, and its gradient by backpropagation."""
    *inputs, logits = forward(params, x)
    rows = np.arange(len(x))
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - logits[rows, targets])
    dy = exponentials / sums
    dy[rows, targets] -= 1.0
    dy /= len(x)
    grads: list[Any] = []
    for i in reversed(range(len(inputs))):
        grads = [inputs[i].T @ dy, dy.sum(axis=0), *grads]
        if i > 0:
            dy = (dy @ params[2 * i].T) * (inputs[i] > 0)
    return loss, grads


def sgd(params: list[Any]) -> Callable[[list[Any]], None]:
    """The update of ``params`` in place."""

    def update(grads: list[Any]) -> None:
        for parameter, grad in zip(params, grads, strict=True):
            parameter -= 0.1 * grad

    return update


def adam(params: list[Any]) -> Callable[[list[Any]], None]:
    """The update of ``params`` in place (Kingma and Ba 2015)."""
    means, squares = ([np.zeros_like(parameter) for parameter in params] for _ in range(2))
    step = 0

    def update(grads: list[Any]) -> None:
        nonlocal step
        step += 1
        for parameter, grad, mean, square in zip(params, grads, means, squares, strict=True):
            mean += 0.1 * (grad - mean)
            square += 0.001 * (grad * grad - square)
            unbiased = mean / (1.0 - 0.9**step)
            parameter -= 1e-3 * unbiased / (np.sqrt(square / (1.0 - 0.999**step)) + 1e-8)

    return update


def training(task: Task) -> Ready:
    """Forward, backward, update."""
    params = task.params()
    update = {"sgd": sgd, "adam": adam}[task.workload.optimizer](params)

    def loss_of(rows: Any) -> Any:
        loss, grads = loss_and_gradient(params, task.inputs[rows], task.targets[rows])
        update(grads)
        return loss

    return Ready(lambda order: [loss_of(rows) for rows in task.batches(order)])


def inference(task: Task) -> Ready:
    """Piece by piece."""
    params = task.params()

    return Ready(lambda _: np.concatenate([forward(params, piece)[-1] for piece in task.pieces()]))
