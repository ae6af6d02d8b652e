"""A convolutional network like LeNet-5 learns MNIST, Fashion-MNIST or the embedded digits.

    python -m experiments.lenet --dataset mnist --engine jax

LeCun et al. 1998 (Gradient-based learning applied to document recognition) report 0.95 % of test errors on MNIST for
LeNet-5 and 1.1 % for LeNet-4, both without distorted samples. Ours has the sizes of LeNet-5, but softmax cross-entropy
in place of radial basis functions, and a second convolution that sees all maps of the first. --activation tanh
--pooling average is closer to the paper than the defaults.
"""

from typing import Literal

import attrs

import funcnn as fn
from experiments.digits import load_data
from experiments.fields import SEED, LocalPath, absolute
from funcnn.runs import Experiment, main, supervised
from funcnn.runs.classifier import classifier_sections
from funcnn.runs.options import AT_LEAST_0, COUNT


@attrs.frozen
class Config:
    """Train a convolutional network like LeNet-5 on digits or clothes.

    Attributes:
        dataset: The data set to learn: mnist_5k comes with funcnn, the others are downloaded once.
        data_dir: A local folder with the dataset's files, instead of $FUNCNN_DATA_DIR or a download.
        activation: The activation after every hidden layer.
        pooling: What a pool keeps of every 2 x 2 square.
        batch_norm: Normalize the maps of each convolution over the batch (Ioffe and Szegedy 2015).
        learning_rate: The learning rate of the first update.
        decay: The rate of update t is learning_rate / (1 + decay t).
        batch_size: The number of samples in each update.
        epochs: The number of passes over the training samples.
        seed: The seed of everything random.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist"] = "mnist_5k"
    data_dir: LocalPath = attrs.field(default=None, converter=absolute)
    activation: Literal["relu", "tanh"] = "relu"
    pooling: Literal["max", "average"] = "max"
    batch_norm: bool = False
    learning_rate: float = attrs.field(default=2e-3, validator=AT_LEAST_0)
    decay: float = attrs.field(default=1e-3, validator=AT_LEAST_0)
    batch_size: int = attrs.field(default=100, validator=COUNT)
    epochs: int = attrs.field(default=10, validator=COUNT)
    seed: int = attrs.field(default=0, validator=SEED)


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    data = load_data(config.dataset, config.data_dir)
    activation = {"relu": fn.relu(), "tanh": fn.tanh()}[config.activation]
    pool = {"max": fn.max_pool2d(2), "average": fn.avg_pool2d(2)}[config.pooling]
    norm = (fn.batch_norm(),) if config.batch_norm else ()
    model = fn.serial(
        fn.reshape(28, 28, 1),
        *(fn.conv2d(6, 5), *norm, activation, pool),
        *(fn.conv2d(16, 5, padding="valid"), *norm, activation, pool, fn.flatten()),
        *(fn.dense(120), activation, fn.dense(84), activation, fn.dense(len(data.class_names))),
    )
    return supervised(
        model,
        fn.softmax_cross_entropy(),
        fn.adam(fn.inverse_time_decay(config.learning_rate, config.decay)),
        data.train,
        key=fn.Key(config.seed),
        batch_size=config.batch_size,
        epochs=config.epochs,
        evaluate={"test": data.test},
        metrics={"accuracy": fn.accuracy},
        formats={"accuracy": ".2%"},
        sections=classifier_sections(model, data.test, data.class_names, scaling=data.scaling),
        scaling=data.scaling,
        class_names=data.class_names,
    )


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
