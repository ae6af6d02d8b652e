"""Digits or clothes, compressed to a few numbers and rebuilt.

    python -m experiments.autoencoder --code 8 --dataset fashion_mnist

Hinton and Salakhutdinov 2006 (Reducing the dimensionality of data with neural networks) compare with the same number of
principal components; so does the report. Their network is deeper, and pretrained layer by layer.
"""

from typing import Literal

import attrs
import numpy as np

import funcnn as fn
from funcnn.arrays import Array
from funcnn.layer import Params
from funcnn.runs import Experiment, Section, main, supervised
from funcnn.runs.sections import images_section


@attrs.frozen
class Config:
    """An autoencoder compresses digits or clothes to a few numbers, and rebuilds them.

    Attributes:
        dataset: The images to learn: mnist_5k comes with funcnn, the others are downloaded once.
        hidden: Units of the layers before and after the code.
        code: How many numbers represent an image.
        learning_rate: The learning rate of Adam.
        batch_size: Images in each step.
        epochs: Passes over the training images.
        seed: The seed of everything random.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist"] = "mnist_5k"
    hidden: int = 256
    code: int = 32
    learning_rate: float = 1e-3
    batch_size: int = 50
    epochs: int = 30
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The autoencoder that ``config`` describes: a supervised experiment whose targets are its inputs."""
    data = fn.load_dataset(config.dataset)
    train, test = (fn.Batch(images, images) for images in (data.train.inputs, data.test.inputs))
    encoder = fn.serial(fn.dense(config.hidden), fn.relu(), fn.dense(config.code))
    decoder = fn.serial(fn.dense(config.hidden), fn.relu(), fn.dense(train.inputs.shape[1]), fn.sigmoid())
    model = fn.serial(encoder, decoder)

    def sections(params: Params) -> list[Section]:
        chosen = np.concatenate([np.flatnonzero(data.test.targets == label)[:3] for label in range(10)])
        pairs = np.stack([test.inputs, fn.predict(model, params, test.inputs)], axis=1)[chosen].reshape(-1, 2 * 28, 28)
        error = principal_error(train.inputs, test.inputs, config.code)
        note = f"Test images above, rebuilt below. {config.code} principal components have an error of {error:.4f}."
        names = [data.class_names[label] for label in data.test.targets[chosen]]
        return [images_section("Reconstructions", pairs, note, names)]

    return supervised(
        model,
        fn.mean_squared_error(),
        fn.adam(config.learning_rate),
        train,
        key=fn.Key(config.seed),
        batch_size=config.batch_size,
        epochs=config.epochs,
        evaluate={"test": test},
        sections=sections,
        scaling=data.scaling,
    )


def principal_error(train: Array, test: Array, count: int) -> float:
    """The mean squared error of ``test``, rebuilt from the first ``count`` principal components of ``train``.

    >>> line = np.outer(np.arange(5.0), [3.0, 4.0])
    >>> round(principal_error(line, line, 1), 12), principal_error(line, line, 0)
    (0.0, 25.0)
    """
    mean = train.mean(axis=0)
    kept = np.linalg.eigh(np.cov(train.T)).eigenvectors[:, train.shape[1] - count :]
    left = (test - mean) - (test - mean) @ kept @ kept.T
    return float(np.mean(left**2))


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
