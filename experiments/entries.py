"""The published results that :mod:`experiments.published` runs again: source, figure, and our config.

A config follows its source. A comment names what the source leaves open, and where ours differs.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs

from experiments.mnist import Config


@attrs.frozen
class Entry:
    """A published result: what was trained, who reported which test accuracy in percent, and our config and seeds."""

    what: str
    source: str
    accuracy: float
    config: Config
    seeds: int = 3


# The defaults of scikit-learn's MLPClassifier at the time; today it waits for 10 epochs instead of 2. It draws biases
# like weights, ours start at 0.
_XIAO = Config(
    scaling="standard",
    hidden=(100,),
    initializer="glorot_uniform",
    l2=0.5 * 1e-4 / 200,  # its penalty is alpha |w|^2 / 2 over the samples of the batch
    batch_size=200,
    epochs=200,
    patience=3,  # it ends when more than 2 epochs have not improved
    tolerance=1e-4,
)

_mnist = partial(Config, dataset="mnist")
_sgd = partial(_mnist, optimizer="sgd", schedule="cosine")
_KERAS = _mnist(
    hidden=(512, 512), initializer="glorot_uniform", dropout=0.2, optimizer="rmsprop", batch_size=128, epochs=20
)

# No momentum, weight decay or distortion, as in the paper, which leaves activation, batches and schedule open. It takes
# the best epoch on 10,000 of the samples; ours trains on all samples for a fixed time.
_SIMARD = _sgd(hidden=(800,), learning_rate=0.3, batch_size=100, epochs=30)

# The paper trains for up to a million updates, ours for 28,800 at a rate that falls faster.
_SRIVASTAVA = _sgd(
    hidden=(1024,) * 3, input_dropout=0.2, dropout=0.5, momentum=0.95, learning_rate=0.1, batch_size=250, epochs=120
)


def _xiao(what: str, accuracy: float, **changes: Any) -> Entry:
    config = attrs.evolve(_XIAO, **changes)
    return Entry(f"{what}, 784-100-10, standardised, Adam", "Xiao et al. 2017", accuracy, config)


def _srivastava(what: str, accuracy: float, **changes: Any) -> Entry:
    name, config = f"MNIST, ReLU, 784-1024-1024-1024-10, {what}, SGD", attrs.evolve(_SRIVASTAVA, **changes)
    return Entry(name, "Srivastava et al. 2014", accuracy, config, seeds=1)


ENTRIES: Mapping[str, Entry] = {
    "fashion-relu": _xiao("Fashion-MNIST, ReLU", 87.1, dataset="fashion_mnist"),
    "fashion-tanh": _xiao("Fashion-MNIST, tanh", 86.8, dataset="fashion_mnist", activation="tanh"),
    "mnist-relu": _xiao("MNIST, ReLU", 97.2, dataset="mnist"),
    "mnist-tanh": _xiao("MNIST, tanh", 96.2, dataset="mnist", activation="tanh"),
    "simard": Entry("MNIST, ReLU, 784-800-10, SGD", "Simard et al. 2003", 98.4, _SIMARD),
    "keras": Entry("MNIST, ReLU, 784-512-512-10, dropout, RMSprop", "Keras, mnist_mlp.py", 98.4, _KERAS, seeds=5),
    "srivastava-dropout": _srivastava("dropout", 98.75),
    # The paper scales weights by 1 - rate at inference, ours scale while training: after dropout 0.5, a norm of 1.5
    # here is a norm of 3 there. The paper advises 3 to 4.
    "srivastava-max-norm": _srivastava("dropout, max-norm", 98.94, max_norm=1.5),
}
