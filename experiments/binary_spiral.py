"""Two arms of a spiral, told apart by one output.

Chapter 16 of *Neural Networks from Scratch* (Kinsley and Kukieła 2020); each step takes the whole set. ``train/loss``
is the mean of an epoch's steps, ``fitted/loss`` is after the epoch.
"""

from functools import partial

import attrs
import numpy as np

import funcnn as fn
from experiments.book import dense, told_apart
from funcnn.data.synthetic import spiral
from funcnn.runs import Experiment, main


@attrs.frozen
class Config:
    """Two arms of a spiral, told apart by one output, on the whole set at once.

    Attributes:
        samples: Points of each arm to learn, and as many others to test.
        hidden: Units of the hidden layer.
        l2: The penalty of the weights and biases of the first layer.
        learning_rate: The learning rate of Adam at the first step.
        decay: The rate of step t is learning_rate / (1 + decay t).
        epochs: Passes of 137 steps; 73 make the 10,001 steps of the book.
        seed: The seed of everything random.
    """

    samples: int = 100
    hidden: int = 64
    l2: float = 5e-4
    learning_rate: float = 0.001
    decay: float = 5e-7
    epochs: int = 73
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    key = fn.Key(config.seed).at("binary_spiral")
    spirals = (spiral(key.at(name), config.samples, 2) for name in ("train", "test"))
    train, test = (fn.Batch(each.inputs, each.targets[:, None].astype(np.float32)) for each in spirals)
    model = fn.serial(dense(config.hidden), fn.relu(), dense(1))
    accuracy = partial(fn.metrics.binary_accuracy, threshold=0.0)  # of logits
    return told_apart(model, fn.sigmoid_binary_cross_entropy(), accuracy, train, test, config, key)


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
