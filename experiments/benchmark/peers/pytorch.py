"""PyTorch."""

import os
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from experiments.benchmark.workloads import CLASSES, PIXELS, Ready, Task

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))

place = torch.from_numpy


def network(task: Task) -> Any:
    """The network with the params to begin with."""
    lenet = task.workload.kind == "lenet"
    widths = (400 if lenet else PIXELS, *task.workload.hidden, CLASSES)
    _, *dense = (layer for sizes in pairwise(widths) for layer in (nn.ReLU(), nn.Linear(*sizes)))
    model = nn.Sequential(*(convolutions() if lenet else ()), *dense)
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), task.params(), strict=True):
            parameter.copy_(as_torch(torch.from_numpy(array), parameter.shape))
    return model


def convolutions() -> Any:
    """Two convolutions with pools."""
    first = (nn.Conv2d(1, 6, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
    return (nn.Unflatten(1, (1, 28, 28)), *first, *second, nn.Flatten())


def as_torch(array: Any, shape: Any) -> Any:
    """Weights as (out, in), kernels as (out, in, rows, columns), and features of an image by channel first."""
    if array.shape == (400, 120):
        array = array.reshape(5, 5, 16, 120).permute(2, 0, 1, 3).reshape(400, 120)
    return array.permute(*(range(array.ndim)[::-1] if array.ndim < 4 else (3, 2, 0, 1))).reshape(shape)


def training(task: Task, mode: str) -> Ready:
    """Forward, backward and the optimizer's step, which goes over the params as the mode says; or compiled."""
    model = network(task)
    loop = {"fused": True} if mode in ("fused", "compile") else {"foreach": mode == "foreach"}
    optimizers = {"sgd": partial(torch.optim.SGD, lr=0.1), "adam": partial(torch.optim.Adam, lr=1e-3)}
    optimizer = optimizers[task.workload.optimizer](model.parameters(), **loop)

    def loss_of(inputs: Any, targets: Any) -> Any:
        return functional.cross_entropy(model(inputs), targets)

    forward = torch.compile(loss_of, dynamic=False) if mode == "compile" else loss_of

    def run(order: Any) -> list[Any]:
        losses = []
        for rows in torch.from_numpy(order).split(task.workload.batch):
            loss = forward(task.inputs.index_select(0, rows), task.targets.index_select(0, rows))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return Ready(run)


def inference(task: Task) -> Ready:
    """Piece by piece."""
    model = network(task).eval()

    def run(_: Any) -> Any:
        with torch.inference_mode():
            return torch.cat([model(piece) for piece in task.pieces()]).numpy()

    return Ready(run)
