"""One period of the sine, fitted by two hidden layers.

Chapter 17 of *Neural Networks from Scratch* (Kinsley and Kukieła 2020); each step takes the whole curve. A point is
right if its error is below the standard deviation of the curve divided by 250.
"""

import attrs
import numpy as np

import funcnn as fn
from experiments.book import dense, on_the_whole_set
from experiments.plane import sheet
from funcnn.data.synthetic import sine
from funcnn.layer import Params
from funcnn.metrics import regression_accuracy
from funcnn.runs import Experiment, Section, main
from funcnn.runs.sections import figure_section


@attrs.frozen
class Config:
    """One period of the sine, fitted on the whole curve at once.

    Attributes:
        samples: Points of the curve.
        hidden: Units of each hidden layer.
        learning_rate: The learning rate of Adam at the first step.
        decay: The rate of step t is learning_rate / (1 + decay t).
        epochs: Passes of 137 steps; 73 make the 10,001 steps of the book.
        seed: The seed of everything random.
    """

    samples: int = 1000
    hidden: int = 64
    learning_rate: float = 0.005
    decay: float = 1e-3
    epochs: int = 73
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    data = sine(config.samples)
    layers = dense(config.hidden, 0.1), fn.relu(), dense(config.hidden, 0.1), fn.relu()
    model = fn.serial(*layers, dense(1, 0.1))

    def sections(params: Params) -> list[Section]:
        figure, axes = sheet(5, 4)
        axes.plot(data.inputs, data.targets, linewidth=4, alpha=0.4, label="sin(2 pi x)")
        axes.plot(data.inputs, fn.predict(model, params, data.inputs), label="fitted")
        axes.set(xlabel="x", ylabel="y")
        axes.legend(frameon=False)
        return [figure_section("The curve, and its fit", figure)]

    key, accuracy = fn.Key(config.seed).at("sine"), regression_accuracy(float(np.std(data.targets)) / 250)
    shown = {"formats": {"accuracy": ".3f", "loss": ".2e"}, "sections": sections}
    return on_the_whole_set(
        model, fn.mean_squared_error(), accuracy, data, config, key, evaluate={"fitted": data}, **shown
    )


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
