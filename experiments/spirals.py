"""Three arms of a spiral, told apart with dropout and a penalty.

Chapter 15 of *Neural Networks from Scratch* (Kinsley and Kukieła 2020); each step takes the whole set. ``train/loss``
is the mean of an epoch's steps with dropout, ``fitted/loss`` is after the epoch, without.
"""

import attrs

import funcnn as fn
from experiments.book import dense, told_apart
from funcnn.data.synthetic import spiral
from funcnn.runs import Experiment, main


@attrs.frozen
class Config:
    """Three arms of a spiral, told apart with dropout and an l2 penalty, on the whole set at once.

    Attributes:
        samples: Points of each arm to learn; 100 others of each arm are for the test.
        hidden: Units of the hidden layer.
        dropout: The share of hidden units that a step drops.
        l2: The penalty of the weights and biases of the first layer.
        learning_rate: The learning rate of Adam at the first step.
        decay: The rate of step t is learning_rate / (1 + decay t).
        epochs: Passes of 137 steps; 73 make the 10,001 steps of the book.
        seed: The seed of everything random.
    """

    samples: int = 1000
    hidden: int = 512
    dropout: float = 0.1
    l2: float = 5e-4
    learning_rate: float = 0.05
    decay: float = 5e-5
    epochs: int = 73
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    key = fn.Key(config.seed).at("spirals")
    train, test = (spiral(key.at(name), count, 3) for name, count in (("train", config.samples), ("test", 100)))
    model = fn.serial(dense(config.hidden), fn.relu(), fn.dropout(config.dropout), dense(3))
    return told_apart(model, fn.softmax_cross_entropy(), fn.accuracy, train, test, config, key)


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
