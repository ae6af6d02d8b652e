"""Pictures of the plane, and what the problems of *Neural Networks from Scratch* (Kinsley and Kukieła 2020) share."""

from collections.abc import Mapping
from typing import Any

import attrs
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import funcnn as fn
from funcnn.arrays import Array
from funcnn.initializers import normal
from funcnn.layer import Params
from funcnn.runs import Experiment, Section, Table, supervised
from funcnn.runs.figures import STYLE
from funcnn.runs.sections import figure_section

STEPS = 137
"""Steps an epoch: 73 such epochs are the 10,001 steps of the book."""

_COLOURS = ("tab:blue", "tab:orange", "tab:green")


def on_the_whole_set(model: fn.Layer, loss: fn.Loss, train: fn.Batch, config: Any, **how: Any) -> Experiment:
    """``supervised`` as the book has it: its Adam, with rate and decay of ``config``, and all of ``train`` a step."""
    samples = len(train.inputs)
    optimizer = fn.nnfs.adam(config.learning_rate, config.decay)
    learned = supervised(model, loss, optimizer, train, batch_size=samples, epochs=config.epochs, **how)
    rows = np.tile(np.arange(samples), (STEPS, 1))
    return attrs.evolve(learned, batches=Table(train, lambda epoch: [rows]))


def dense(features: int) -> fn.Layer:
    """As the book initializes it."""
    return fn.dense(features, weights=normal(0.01))


def sheet(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of so many inches, in the style of a report, and its axes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def regions(model: fn.Layer, params: Params, points: fn.Batch) -> Section:
    """The class of every place of the plane, behind ``points``."""
    side = np.linspace(-1.1, 1.1, 300, dtype=np.float32)
    places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    classes = _classes(fn.predict(model, params, places)).reshape(300, 300)
    figure, axes = sheet(5, 5)
    axes.contourf(side, side, classes, levels=np.arange(-0.5, 3), colors=_COLOURS, alpha=0.3)
    x, y = points.inputs.T
    axes.scatter(x, y, c=[_COLOURS[int(label)] for label in points.targets.ravel()], s=12)
    axes.set(xlabel="x", ylabel="y", aspect="equal")
    return figure_section("Regions", figure, "The class of every place, and the test points in the colour of theirs.")


def cloud(title: str, groups: Mapping[str, Array], note: str = "") -> Section:
    """The points (count, 2) of each group in a colour of its own."""
    figure, axes = sheet(6, 5)
    for name, points in groups.items():
        axes.scatter(points[:, 0], points[:, 1], s=5, alpha=0.7, label=name)
    axes.set(aspect="equal")
    figure.legend(loc="outside right center", frameon=False)
    return figure_section(title, figure, note)


def _classes(outputs: Array) -> Array:
    """Of logits: one for two classes, or one for each."""
    return outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
