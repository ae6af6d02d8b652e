"""A multilayer perceptron learns MNIST, Fashion-MNIST, the embedded digits or a folder of images.

python -m experiments.mnist --hidden 128 64 --optimizer adam
"""

import math
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import attrs
from attrs.validators import optional
from toolz import concat, identity, valmap

import funcnn as fn
from experiments.book import nnfs
from experiments.digits import load_data, split, standardizer
from experiments.fields import ABOVE_0, COUNTS, SEED, SHARE, LocalPath, absolute
from funcnn.errors import require
from funcnn.runs import Experiment, main, supervised
from funcnn.runs.classifier import classifier_sections
from funcnn.runs.options import AT_LEAST_0, COUNT


@attrs.frozen
class Config:
    """Train a multilayer perceptron on MNIST, Fashion-MNIST or images of your own.

    Attributes:
        dataset: The data set to learn: mnist_5k comes with funcnn, mnist and fashion_mnist are downloaded once, folder
            is --data-dir with a folder of images for each label, and a fifth of them is held out.
        data_dir: A local folder with the dataset's files, instead of $FUNCNN_DATA_DIR or a download.
        scaling: How pixels are scaled: unit to [0, 1], symmetric to [-1, 1], standard to mean 0 and deviation 1 of each
            over the training samples.
        hidden: The widths of the hidden layers; without any the model is linear.
        activation: The activation of the hidden layers.
        initializer: The distribution of the initial weights.
        input_dropout: The probability to drop a pixel while training.
        dropout: The probability to drop a hidden unit while training.
        max_norm: The largest norm of the weights into a unit.
        l2: The strength of an l2 penalty on the weights.
        optimizer: The optimizer.
        momentum: The momentum of sgd and rmsprop.
        learning_rate: The learning rate of the first update.
        schedule: How the learning rate falls: inverse_time by decay, cosine to 0 at the end of the last epoch.
        decay: The rate of update t is learning_rate / (1 + decay t).
        batch_size: The number of samples in each update.
        epochs: The number of passes over the training samples.
        validation: The share of the training samples to set aside and watch.
        patience: End after so many epochs without a new best, by the validation loss if there is one, otherwise by the
            training loss.
        tolerance: A new best, for patience, is below the least loss so far by more than this.
        seed: The seed of everything random.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist", "folder"] = "mnist_5k"
    data_dir: LocalPath = attrs.field(default=None, converter=absolute)
    scaling: Literal["unit", "symmetric", "standard"] = "unit"
    hidden: tuple[int, ...] = attrs.field(default=(128, 64), validator=COUNTS)
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    initializer: Literal["he_normal", "glorot_uniform"] = "he_normal"
    input_dropout: float = attrs.field(default=0.0, validator=SHARE)
    dropout: float = attrs.field(default=0.0, validator=SHARE)
    max_norm: float | None = attrs.field(default=None, validator=optional(ABOVE_0))
    l2: float = attrs.field(default=0.0, validator=AT_LEAST_0)
    optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    momentum: float = attrs.field(default=0.0, validator=SHARE)
    learning_rate: float = attrs.field(default=1e-3, validator=AT_LEAST_0)
    schedule: Literal["inverse_time", "cosine"] = "inverse_time"
    decay: float = attrs.field(default=0.0, validator=AT_LEAST_0)
    batch_size: int = attrs.field(default=128, validator=COUNT)
    epochs: int = attrs.field(default=20, validator=COUNT)
    validation: float = attrs.field(default=0.0, validator=SHARE)
    patience: int | None = attrs.field(default=None, validator=optional(COUNT))
    tolerance: float = attrs.field(default=0.0, validator=AT_LEAST_0)
    seed: int = attrs.field(default=0, validator=SEED)

    def __attrs_post_init__(self) -> None:
        named = self.data_dir is not None or self.dataset != "folder"
        require(named, "--dataset folder", "a folder in --data-dir", "none")
        free = self.optimizer != "adam" or self.momentum == 0
        require(free, "--momentum", "0 for adam, which has its own", self.momentum)
        free = self.schedule != "cosine" or self.decay == 0
        require(free, "--decay", "0 for cosine, which ends at 0 by itself", self.decay)


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    key = fn.Key(config.seed)
    scaling = "unit" if config.scaling == "standard" else config.scaling
    split_seed = config.seed if config.dataset == "folder" else 0  # other data sets have a fixed split
    data = load_data(config.dataset, config.data_dir, scaling=scaling, seed=split_seed)
    train, validation = split(key.at("validation"), data.train, config.validation)
    standardized, folded = standardizer(train.inputs) if config.scaling == "standard" else (identity, identity)
    model = model_of(config, train.inputs.shape[1], len(data.class_names))
    return supervised(
        model,
        fn.softmax_cross_entropy(),
        optimizer_of(config, len(train.inputs)),
        standardized(train),
        key=key,
        batch_size=config.batch_size,
        epochs=config.epochs,
        evaluate=valmap(standardized, {**validation, "test": data.test}),
        metrics={"accuracy": fn.accuracy},
        penalty=fn.l2(config.l2) if config.l2 else None,
        patience=config.patience,
        tolerance=config.tolerance,
        formats={"accuracy": ".2%"},
        sections=classifier_sections(model, data.test, data.class_names, scaling=scaling, as_saved=folded),
        scaling=scaling,
        class_names=data.class_names,
        as_saved=folded,
    )


def model_of(config: Config, features: int, classes: int) -> fn.Layer:
    """The perceptron."""
    largest = max(before * after for before, after in pairwise((features, *config.hidden, classes)))
    require(largest < 2**60, "--hidden", "layers of fewer than 2**60 weights, as an array can have", largest)
    activation = {"relu": fn.relu, "tanh": fn.tanh, "sigmoid": fn.sigmoid}[config.activation]()
    initializers = {"he_normal": fn.initializers.he_normal, "glorot_uniform": fn.initializers.glorot_uniform}
    dense = partial(fn.dense, weights=initializers[config.initializer]())
    pixels, units = ([fn.dropout(rate)] if rate else [] for rate in (config.input_dropout, config.dropout))
    hidden = concat((dense(width), activation, *units) for width in config.hidden)
    return fn.serial(*pixels, *hidden, dense(classes))


def optimizer_of(config: Config, samples: int) -> fn.Optimizer:
    """The optimizer with its schedule, and with max_norm if there is one."""
    rate: Any = fn.inverse_time_decay(config.learning_rate, config.decay)
    if config.schedule == "cosine":
        rate = fn.cosine(config.learning_rate, config.epochs * math.ceil(samples / config.batch_size))
    rules = {
        "adam": partial(fn.adam, rate),
        "sgd": partial(fn.sgd, rate, config.momentum),
        "rmsprop": partial(fn.rmsprop, rate, eps=1e-7, eps_placement="outside", momentum=config.momentum),  # as Keras
    }
    rule = rules[config.optimizer]()
    return rule if config.max_norm is None else fn.chain(rule, fn.max_norm(config.max_norm))


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config, printers={"nnfs": nnfs}))
