"""The config of a run of a multilayer perceptron, and the experiment that it describes."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import attrs
import tyro
from toolz import concat

import funcnn as fn
from experiments.run import Experiment
from experiments.standard import folded, standardized, statistics
from funcnn import tree
from funcnn.errors import is_count, is_real, require


def _absolute(path: Path | None) -> Path | None:
    """A path that means the same from any working folder."""
    return path and path.absolute()


@attrs.frozen
class Config:
    """What a run depends on; a run with the same config, versions and BLAS gives the same bytes.

    Attributes:
        dataset: The data set to learn: mnist_5k comes with funcnn, mnist and fashion_mnist are downloaded once, folder
            is --data-dir with a folder of images for each label, of which a fifth is held out.
        data_dir: A local folder with the dataset's files, instead of $FUNCNN_DATA_DIR or a download.
        scaling: How pixels are scaled: unit to [0, 1], symmetric to [-1, 1], standard to mean 0 and deviation 1 of each
            over the training samples.
        hidden: The widths of the hidden layers; without a number the model is linear.
        activation: The activation of the hidden layers.
        initializer: The distribution of the initial weights.
        input_dropout: The probability to drop a pixel while training.
        dropout: The probability to drop a hidden unit while training.
        max_norm: The largest norm of the weights into a unit, if there is one.
        l2: The strength of an l2 penalty on the weights.
        optimizer: The optimizer.
        momentum: The momentum of sgd and rmsprop.
        learning_rate: The learning rate of the first update.
        schedule: How the learning rate falls: inverse_time as decay tells, cosine to 0 at the end of the last epoch.
        decay: The decay of the learning rate: update t has learning_rate / (1 + decay t).
        batch_size: The number of samples an update.
        epochs: The number of passes over the training samples.
        validation: The share of the training samples to set aside and watch.
        patience: End after so many epochs without a new best one, by the validation loss if there is one, else by the
            training loss.
        tolerance: By how much a loss must be below the least before it to count as a new best one for patience.
        seed: The seed of everything random.
        engine: What computes: numpy, or jax, which compiles the same step (takes the extra jax).
        threads: How many threads matrix products of numpy may use; the last bits of results change with it.
        checkpoint_every: Write a checkpoint after so many steps, beside the one after every epoch; the engine jax
            computes an epoch in one piece.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist", "folder"] = "mnist_5k"
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = attrs.field(default=None, converter=_absolute)
    scaling: Literal["unit", "symmetric", "standard"] = "unit"
    hidden: tuple[int, ...] = (128, 64)
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    initializer: Literal["he_normal", "glorot_uniform"] = "he_normal"
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float | None = None
    l2: float = 0.0
    optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    momentum: float = 0.0
    learning_rate: float = 1e-3
    schedule: Literal["inverse_time", "cosine"] = "inverse_time"
    decay: float = 0.0
    batch_size: int = 128
    epochs: int = 20
    validation: float = 0.0
    patience: int | None = None
    tolerance: float = 0.0
    seed: int = 0
    engine: Literal["numpy", "jax"] = "numpy"
    threads: int = 1
    checkpoint_every: int = 1000

    def __attrs_post_init__(self) -> None:
        named = self.data_dir is not None or self.dataset != "folder"
        require(named, "--dataset folder", "a folder in --data-dir", "none")
        require(all(map(is_count, self.hidden)), "--hidden", "positive whole numbers", list(self.hidden))
        for name in ("learning_rate", "decay", "l2", "tolerance"):
            value = getattr(self, name)
            require(is_real(value, low=0), _option(name), "a number of at least 0", value)
        for name in ("input_dropout", "dropout", "momentum", "validation"):
            value = getattr(self, name)
            require(is_real(value, low=0, below=1), _option(name), "a number in [0, 1)", value)
        for name in ("batch_size", "epochs", "patience", "threads", "checkpoint_every"):
            value = getattr(self, name)
            fits = is_count(value) or (value is None and name == "patience")
            require(fits, _option(name), "a positive whole number", value)
        fits = self.max_norm is None or (is_real(self.max_norm, low=0) and self.max_norm > 0)
        require(fits, "--max-norm", "a number above 0", self.max_norm)
        fits = self.momentum == 0 or self.optimizer != "adam"
        require(fits, "--momentum", "0 for adam, which has its own", self.momentum)
        fits = self.decay == 0 or self.schedule == "inverse_time"
        require(fits, "--decay", "0 for cosine, which ends at 0 by itself", self.decay)
        require(0 <= self.seed < 2**64, "--seed", "a whole number in [0, 2**64)", self.seed)


ACTIVATIONS: Mapping[str, Callable[[], fn.Layer]] = MappingProxyType(
    {"relu": fn.relu, "tanh": fn.tanh, "sigmoid": fn.sigmoid}
)

INITIALIZERS: Mapping[str, fn.Initializer] = MappingProxyType(
    {"he_normal": fn.initializers.he_normal(), "glorot_uniform": fn.initializers.glorot_uniform()}
)


def load_data(config: Config) -> fn.Dataset:
    """The data set that ``config`` names; the experiment itself does standard scaling."""
    scaling = "unit" if config.scaling == "standard" else config.scaling
    if config.dataset == "folder" and config.data_dir is not None:
        return fn.load_folder(config.data_dir, fn.Key(config.seed).at("split"), scaling=scaling)
    return fn.load_dataset(config.dataset, data_dir=config.data_dir, scaling=scaling)


def experiment(config: Config, data: fn.Dataset) -> Experiment:
    """The experiment that ``config`` describes, on ``data``."""
    key = fn.Key(config.seed)
    train, validation = _split(key.at("validation"), data.train, config.validation)
    planned = Experiment(
        model=_model(config, math.prod(train.inputs.shape[1:]), len(data.class_names)),
        loss=fn.softmax_cross_entropy(),
        optimizer=_optimizer(config, len(train.inputs)),
        train=train,
        validation=validation,
        test=data.test,
        batch_size=config.batch_size,
        epochs=config.epochs,
        key=key,
        penalty=fn.l2(config.l2) if config.l2 else None,
        patience=config.patience,
        tolerance=config.tolerance,
    )
    return _standardized(planned) if config.scaling == "standard" else planned


def _standardized(planned: Experiment) -> Experiment:
    """The same experiment on standardised inputs."""
    over = statistics(planned.train.inputs)
    return attrs.evolve(
        planned,
        train=standardized(over, planned.train),
        validation=planned.validation and standardized(over, planned.validation),
        test=standardized(over, planned.test),
        as_saved=partial(folded, over),
    )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _model(config: Config, features: int, classes: int) -> fn.Layer:
    largest = max(before * after for before, after in pairwise((features, *config.hidden, classes)))
    require(largest < 2**60, "--hidden", "layers of fewer than 2**60 weights, as an array can have", largest)

    def dropped(rate: float) -> list[fn.Layer]:
        return [fn.dropout(rate)] if rate else []

    activation, dense = ACTIVATIONS[config.activation], partial(fn.dense, weights=INITIALIZERS[config.initializer])
    hidden = concat((dense(width), activation(), *dropped(config.dropout)) for width in config.hidden)
    return fn.serial(*dropped(config.input_dropout), *hidden, dense(classes))


def _optimizer(config: Config, samples: int) -> fn.Optimizer:
    rate = fn.inverse_time_decay(config.learning_rate, config.decay)
    if config.schedule == "cosine":
        rate = fn.cosine(config.learning_rate, config.epochs * math.ceil(samples / config.batch_size))
    rules: Mapping[str, Callable[[], fn.Optimizer]] = {
        "adam": partial(fn.adam, rate),
        "sgd": partial(fn.sgd, rate, config.momentum),
        "rmsprop": partial(fn.rmsprop, rate, eps=1e-7, eps_placement="outside", momentum=config.momentum),  # as Keras
    }
    constraint = [] if config.max_norm is None else [fn.max_norm(config.max_norm)]
    return fn.chain(fn.record_global_norm(), rules[config.optimizer](), *constraint)


def _split(key: fn.Key, samples: fn.Batch, share: float) -> tuple[fn.Batch, fn.Batch | None]:
    """The samples without a random share of them, and that share."""
    if not share:
        return samples, None
    rows = len(samples.inputs)
    count = round(share * rows)
    require(0 < count < rows, "--validation", "a share that leaves samples on both sides", share)
    order = key.permutation(rows)
    rest, chosen = (tree.map(lambda leaf, rows=rows: leaf[rows], samples) for rows in (order[count:], order[:count]))
    return rest, chosen
