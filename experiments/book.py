"""The three small problems of *Neural Networks from Scratch in Python*: two spirals and a sine.

Each is trained as the book does, on the whole set at once, and drawn: the decision boundary, or the fitted curve.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import attrs
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from toolz import last
from tqdm import tqdm

import funcnn as fn
from experiments.command import run_command
from experiments.figures import write_png
from experiments.folder import create as create_folder
from funcnn.data.synthetic import sine, spiral
from funcnn.errors import is_count, require
from funcnn.initializers import normal
from funcnn.training import ACCURACY, Metric


@attrs.frozen
class Command:
    """Train and draw the small problems of *Neural Networks from Scratch in Python*.

    Attributes:
        epochs: The number of updates, each on the whole training set.
        seed: The seed of everything random.
        out: The folder of the pictures, new or empty, instead of runs/book-DATE-TIME.
    """

    epochs: int = 10_001
    seed: int = 0
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    def __attrs_post_init__(self) -> None:
        require(is_count(self.epochs), "--epochs", "a positive whole number", self.epochs)
        require(0 <= self.seed < 2**64, "--seed", "a whole number in [0, 2**64)", self.seed)


@attrs.frozen(eq=False)
class Problem:
    """A set to train on, one to test on, and how to do it."""

    train: fn.Batch
    test: fn.Batch
    model: fn.Layer
    loss: fn.Loss
    optimizer: fn.Optimizer
    draw: Callable[[Axes, fn.Layer, object, fn.Batch], None]
    penalty: fn.Penalty | None = None
    metrics: Mapping[str, Metric] = ACCURACY


def spirals(key: fn.Key) -> Problem:
    """Three arms, with dropout and an l2 penalty on the first layer (chapter 15)."""
    return Problem(
        train=spiral(key.at("train"), 1000, 3),
        test=spiral(key.at("test"), 100, 3),
        model=fn.serial(_dense(512), fn.relu(), fn.dropout(0.1), _dense(3)),
        loss=fn.softmax_cross_entropy(),
        optimizer=fn.nnfs.adam(0.05, decay=5e-5),
        penalty=fn.l2(5e-4, mask="0.*"),
        draw=_draw_regions,
    )


def binary_spiral(key: fn.Key) -> Problem:
    """Two arms and one output (chapter 16)."""
    return Problem(
        train=_as_column(spiral(key.at("train"), 100, 2)),
        test=_as_column(spiral(key.at("test"), 100, 2)),
        model=fn.serial(_dense(64), fn.relu(), _dense(1)),
        loss=fn.sigmoid_binary_cross_entropy(),
        optimizer=fn.nnfs.adam(0.001, decay=5e-7),
        penalty=fn.l2(5e-4, mask="0.*"),
        draw=_draw_regions,
        metrics={"accuracy": _above_zero},
    )


def sine_wave(key: fn.Key) -> Problem:
    """One period of the sine (chapter 17)."""
    del key  # nothing is drawn
    data = sine(1000)
    wide = normal(0.1)
    return Problem(
        train=data,
        test=data,
        model=fn.serial(
            fn.dense(64, weights=wide), fn.relu(), fn.dense(64, weights=wide), fn.relu(), fn.dense(1, weights=wide)
        ),
        loss=fn.mean_squared_error(),
        optimizer=fn.nnfs.adam(0.005, decay=1e-3),
        draw=_draw_curve,
        metrics={"accuracy": fn.metrics.regression_accuracy(float(np.std(data.targets)) / 250)},
    )


COLOURS = ("tab:blue", "tab:orange", "tab:green")

PROBLEMS: Mapping[str, Callable[[fn.Key], Problem]] = MappingProxyType(
    {"spirals": spirals, "binary_spiral": binary_spiral, "sine": sine_wave}
)


def solve(problem: Problem, key: fn.Key, epochs: int, title: str) -> object:
    """The params after ``epochs`` steps on the whole training set."""
    step = fn.train_step(
        problem.model, problem.loss, problem.optimizer, penalty=problem.penalty, metrics=problem.metrics
    )
    params, _ = problem.model.init(key.at("init"), problem.train.inputs.shape[1:])
    state = fn.initial_state(problem.optimizer, params, key.at("train"))
    batches = (problem.train for _ in tqdm(range(epochs), title, leave=False, disable=None))
    params, _ = last(fn.trajectory(step, params, state, batches))
    return params


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a finished run, 1 for a failed one, 2 for bad arguments, 130 for Ctrl-C."""
    return run_command("book", Command, _run, arguments)


def _run(command: Command) -> int:
    fn.keep_freed_memory()
    folder = create_folder(command.out, "book")
    print(f"{'problem':<15} {'training loss':>13} {'accuracy':>9} {'test loss':>10} {'accuracy':>9}")
    for name, make in PROBLEMS.items():
        key = fn.Key(command.seed).at(name)
        problem = make(key)
        params = solve(problem, key, command.epochs, name)
        train, test = (
            fn.evaluate(problem.model, problem.loss, params, batch, metrics=problem.metrics)
            for batch in (problem.train, problem.test)
        )
        figures = f"{train['loss']:>13.4f} {train['accuracy']:>9.3f} {test['loss']:>10.4f} {test['accuracy']:>9.3f}"
        print(f"{name:<15} {figures}", flush=True)
        _write_picture(folder / f"{name}.png", problem, params)
    print(f"\nwrote {', '.join(f'{name}.png' for name in PROBLEMS)} to {folder}")
    return 0


def _dense(features: int) -> fn.Layer:
    """As the book initializes it."""
    return fn.dense(features, weights=normal(0.01))


def _as_column(batch: fn.Batch) -> fn.Batch:
    """Labels 0 and 1 as outputs (batch, 1)."""
    return fn.Batch(batch.inputs, batch.targets[:, None].astype(np.float32))


def _above_zero(outputs: object, targets: object, weights: object = None) -> object:
    """The binary accuracy of logits."""
    return fn.metrics.binary_accuracy(outputs, targets, weights, threshold=0.0)


def _write_picture(path: Path, problem: Problem, params: object) -> None:
    figure = Figure(figsize=(5, 5), layout="constrained", dpi=150)
    problem.draw(figure.subplots(), problem.model, params, problem.test)
    write_png(path, figure)


def _draw_regions(axes: Axes, model: fn.Layer, params: object, batch: fn.Batch) -> None:
    """The class of every point of the plane behind the test points."""
    side = np.linspace(-1.1, 1.1, 300, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    regions = _classes(fn.predict(model, params, grid)).reshape(300, 300)
    axes.contourf(side, side, regions, levels=np.arange(-0.5, 3), colors=COLOURS, alpha=0.3)
    x, y = batch.inputs.T
    axes.scatter(x, y, c=[COLOURS[int(label)] for label in batch.targets.ravel()], s=12)
    axes.set(xlabel="x", ylabel="y", aspect="equal", title="regions, and the test points")


def _classes(outputs: np.ndarray) -> np.ndarray:
    return outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)


def _draw_curve(axes: Axes, model: fn.Layer, params: object, batch: fn.Batch) -> None:
    """The fitted curve over the target."""
    axes.plot(batch.inputs, batch.targets, linewidth=4, alpha=0.4, label="sin(2 pi x)")
    axes.plot(batch.inputs, fn.predict(model, params, batch.inputs), label="fitted")
    axes.set(xlabel="x", ylabel="y", title="the curve, and its fit")
    axes.legend()


if __name__ == "__main__":
    sys.exit(main())
