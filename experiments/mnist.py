"""Train a multilayer perceptron on MNIST, Fashion-MNIST or images of one's own.

The run's folder gets config.json, history.csv, history.png and model.safetensors.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import attrs
import tyro
from toolz import concat

import funcnn as fn
from experiments.command import exit_status
from experiments.report import HEADING, create_folder, line, write_config, write_history, write_picture
from experiments.run import Experiment, Outcome, Row, run
from funcnn.errors import is_count, is_real, require

OPTIMIZERS: Mapping[str, Callable[..., fn.Optimizer]] = MappingProxyType({"adam": fn.adam, "sgd": fn.sgd})


@attrs.frozen
class Config:
    """Train a multilayer perceptron on MNIST, Fashion-MNIST or images of your own, and save what it learned.

    Attributes:
        dataset: The data set to learn: mnist_5k comes with funcnn, mnist and fashion_mnist are downloaded once, folder
            is --data-dir with a folder of images for each label, of which a fifth is held out.
        data_dir: A local folder with the dataset's files, instead of $FUNCNN_DATA_DIR or a download.
        scaling: How pixels are scaled: unit to [0, 1], symmetric to [-1, 1].
        hidden: The widths of the hidden layers; without a number the model is linear.
        optimizer: The optimizer.
        learning_rate: The learning rate of the first update.
        decay: The decay of the learning rate: update t has learning_rate / (1 + decay t).
        batch_size: The number of samples an update.
        epochs: The number of passes over the training samples.
        seed: The seed of everything random.
        out: The folder of the run, new or empty, instead of runs/DATASET-DATE-TIME.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist", "folder"] = "mnist_5k"
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    scaling: Literal["unit", "symmetric"] = "unit"
    hidden: tuple[int, ...] = (128, 64)
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    decay: float = 0.0
    batch_size: int = 128
    epochs: int = 20
    seed: int = 0
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    def __attrs_post_init__(self) -> None:
        named = self.data_dir is not None or self.dataset != "folder"
        require(named, "--dataset folder", "a folder in --data-dir", "none")
        require(all(map(is_count, self.hidden)), "--hidden", "positive whole numbers", list(self.hidden))
        require(is_real(self.learning_rate, low=0), "--learning-rate", "a number of at least 0", self.learning_rate)
        require(is_real(self.decay, low=0), "--decay", "a number of at least 0", self.decay)
        require(is_count(self.batch_size), "--batch-size", "a positive whole number", self.batch_size)
        require(is_count(self.epochs), "--epochs", "a positive whole number", self.epochs)
        require(0 <= self.seed < 2**64, "--seed", "a whole number in [0, 2**64)", self.seed)


def experiment(config: Config) -> Experiment:
    """The experiment that ``config`` describes."""
    data = _load(config)
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


def _load(config: Config) -> fn.Dataset:
    if config.dataset == "folder" and config.data_dir is not None:
        return fn.load_folder(config.data_dir, fn.Key(config.seed).at("split"), scaling=config.scaling)
    return fn.load_dataset(config.dataset, data_dir=config.data_dir, scaling=config.scaling)


def train(config: Config) -> int:
    """Run ``config``, show it and save it; gives the exit status."""
    fn.keep_freed_memory()
    planned = experiment(config)
    summary = fn.summary(planned.model, planned.data.train.inputs.shape[1:])
    folder = create_folder(config.out, config.dataset)
    write_config(folder / "config.json", config)
    print(summary, HEADING, sep="\n\n")

    def on_epoch(history: Sequence[Row]) -> None:
        print(line(history[-1]), flush=True)
        write_history(folder / "history.csv", history)

    outcome = run(planned, on_epoch)
    with uninterrupted():
        _save(folder, planned, outcome)
    if outcome.failure:
        print(f"error: {outcome.failure}; the last good model is saved; try a smaller --learning-rate", file=sys.stderr)
        return 1
    if outcome.interrupted:
        print("interrupted: what was learned is saved", file=sys.stderr)
        return 130
    return 0


def _save(folder: Path, planned: Experiment, outcome: Outcome) -> None:
    """Save all that was learned; load the model again, and show that nothing was lost."""
    data, path = planned.data, folder / "model.safetensors"
    in_shape, names = data.train.inputs.shape[1:], data.class_names
    fn.save(path, planned.model, outcome.params, in_shape, scaling=data.scaling, class_names=names)
    write_history(folder / "history.csv", outcome.history)
    write_picture(folder / "history.png", outcome.history)
    saved = fn.load(path)
    before, after = (
        fn.evaluate(model, planned.loss, params, data.test)["accuracy"]
        for model, params in ((planned.model, outcome.params), (saved.model, saved.params))
    )
    print(f"\ntest accuracy {before:.2%}; saved and loaded again {after:.2%}")
    print(f"\nwrote config.json, history.csv, history.png and model.safetensors to {folder}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C does nothing inside: a second one must not lose what the first one saves."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a finished run, 1 for a failed one, 2 for bad arguments, 130 for Ctrl-C."""
    config = tyro.cli(Config, prog="python -m experiments.mnist", args=arguments)
    return exit_status(partial(train, config))


if __name__ == "__main__":
    sys.exit(main())
