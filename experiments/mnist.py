"""Train a multilayer perceptron on MNIST or Fashion-MNIST.

The run's folder gets config.json, history.csv, history.png and model.safetensors.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs
import tyro
from toolz import concat

import funcnn as fn
from experiments.report import HEADING, create_folder, line, write_config, write_history, write_picture
from experiments.run import Experiment, Outcome, Row, run
from funcnn.errors import InputError, is_count, require

OPTIMIZERS: Mapping[str, Callable[..., fn.Optimizer]] = MappingProxyType({"adam": fn.adam, "sgd": fn.sgd})


@attrs.frozen
class Config:
    """Train a multilayer perceptron on MNIST or Fashion-MNIST, and save what it learned.

    Attributes:
        dataset: What to learn. mnist_5k comes with funcnn, the others are downloaded once.
        data_dir: A local folder with the dataset's files, instead of $FUNCNN_DATA_DIR or a download.
        scaling: Of the pixels: unit to [0, 1], symmetric to [-1, 1].
        hidden: The widths of the hidden layers.
        optimizer: The rule of the updates.
        learning_rate: Of the first update.
        decay: The rate of update t is learning_rate / (1 + decay t).
        batch_size: Samples an update.
        epochs: Passes over the training samples.
        seed: Of everything random.
        out: The folder of the run, new or empty, instead of runs/DATASET-DATE-TIME.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist"] = "mnist_5k"
    data_dir: Path | None = None
    scaling: Literal["unit", "symmetric"] = "unit"
    hidden: tuple[int, ...] = (128, 64)
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    decay: float = 0.0
    batch_size: int = 128
    epochs: int = 20
    seed: int = 0
    out: Path | None = None

    def __attrs_post_init__(self) -> None:
        require(all(map(is_count, self.hidden)), "--hidden", "positive whole numbers", list(self.hidden))
        require(self.learning_rate >= 0, "--learning-rate", "a number of at least 0", self.learning_rate)
        require(self.decay >= 0, "--decay", "a number of at least 0", self.decay)
        require(is_count(self.batch_size), "--batch-size", "a positive whole number", self.batch_size)
        require(is_count(self.epochs), "--epochs", "a positive whole number", self.epochs)
        require(0 <= self.seed < 2**64, "--seed", "a whole number in [0, 2**64)", self.seed)


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    data = fn.load_dataset(config.dataset, data_dir=config.data_dir, scaling=config.scaling)
    hidden = concat((fn.dense(width), fn.relu()) for width in config.hidden)
    rate = fn.inverse_time_decay(config.learning_rate, config.decay)
    return Experiment(
        model=fn.serial(*hidden, fn.dense(len(data.class_names))),
        loss=fn.softmax_cross_entropy(),
        optimizer=OPTIMIZERS[config.optimizer](rate),
        data=data,
        batch_size=config.batch_size,
        epochs=config.epochs,
        key=fn.Key(config.seed),
    )


def train(config: Config) -> int:
    """Run ``config``, show it and save it; gives the exit status."""
    fn.keep_freed_memory()
    planned = experiment(config)
    folder = create_folder(config.out, config.dataset)
    write_config(folder / "config.json", config)
    print(fn.summary(planned.model, planned.data.train.inputs.shape[1:]), HEADING, sep="\n\n")

    def on_epoch(history: Sequence[Row]) -> None:
        print(line(history[-1]), flush=True)
        write_history(folder / "history.csv", history)

    outcome = run(planned, on_epoch)
    write_history(folder / "history.csv", outcome.history)
    write_picture(folder / "history.png", outcome.history)
    _save(folder / "model.safetensors", planned, outcome)
    print(f"\nwrote config.json, history.csv, history.png and model.safetensors to {folder}")
    if outcome.failure:
        print(f"error: {outcome.failure}; the last good model is saved; try a smaller --learning-rate", file=sys.stderr)
        return 1
    if outcome.interrupted:
        print("interrupted: what was learned is saved", file=sys.stderr)
        return 130
    return 0


def _save(path: Path, planned: Experiment, outcome: Outcome) -> None:
    """Save the model, load it again, and show that nothing was lost."""
    data = planned.data
    before = fn.evaluate(planned.model, planned.loss, outcome.params, data.test)["accuracy"]
    fn.save(
        path,
        planned.model,
        outcome.params,
        data.train.inputs.shape[1:],
        scaling=data.scaling,
        class_names=data.class_names,
    )
    saved = fn.load(path)
    after = fn.evaluate(saved.model, planned.loss, saved.params, data.test)["accuracy"]
    print(f"\ntest accuracy {before:.2%}; saved and loaded again {after:.2%}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a finished run, 1 for a failed one, 2 for bad arguments, 130 for Ctrl-C."""
    config = tyro.cli(Config, prog="python -m experiments.mnist", args=arguments)
    try:
        return train(config)
    except (InputError, ModuleNotFoundError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted before training", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
