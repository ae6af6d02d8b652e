"""The laws of randomness in training: of layers that add noise, and of combinators, which hand the keys on."""

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn.arrays import Array, Shapes
from funcnn.keys import Key
from funcnn.layer import Layer, Training, predict
from funcnn.layers import identity
from funcnn.testing.laws import Case, hold
from funcnn.testing.layers import batch_of, normal_inputs
from funcnn.testing.purity import ensure

DRAWS = 4000
"""Over how many samples the mean of the noise is taken."""


def check_noise(layer: Layer, in_shape: tuple[int, ...], *, examples: int = 10) -> None:
    """Try the laws of a layer without params that is random in training, and right in the mean, as dropout is.

    Raises:
        BrokenLaw: At the first that fails.

    >>> import funcnn as fn
    >>> check_noise(fn.dropout(0.3), (5,))
    """

    def noisy(case: Case, label: str) -> tuple[Array, Array]:
        """One sample, and what becomes of many copies of it."""
        x = case.array("x", (1, *in_shape))
        copies = np.repeat(x, DRAWS, axis=0)
        return x, layer.forward((), copies, Training(case.key.at(label)))[0]

    def keys(case: Case) -> None:
        ensure(not np.array_equal(noisy(case, "a")[1], noisy(case, "b")[1]), "two keys give the same outputs")

    def samples(case: Case) -> None:
        _, y = noisy(case, "a")
        ensure(not (y == y[0]).all(), "all samples of a batch are changed alike")

    def mean(case: Case) -> None:
        x, y = noisy(case, "a")
        error = np.abs(y.mean(axis=0) - predict(layer, (), x)[0])
        tolerance = 6 * y.std(axis=0) / np.sqrt(DRAWS)
        ensure(bool(np.all(error <= tolerance)), f"the mean is off by up to {np.max(error):.3g}")

    laws = {
        "another key draws other noise": keys,
        "every sample has noise of its own": samples,
        "the mean over the noise is the output at inference": mean,
    }
    hold(layer, laws, examples)


def check_combinator(combine: Callable[..., Layer], in_shape: Shapes, *, layers: int = 2, examples: int = 5) -> None:
    """Try the laws of ``combine(layer, ...)``, called with ``layers`` layers that keep their shape.

    Raises:
        BrokenLaw: Two layers are given one key, to be initialized or to draw from; or a layer is left out.

    >>> import funcnn as fn
    >>> check_combinator(fn.concatenate, (5,))
    """
    noted: list[Key] = []

    def init(key: Key, in_shape: Shapes, **options: object) -> tuple[tuple[()], Shapes]:
        noted.append(key)
        return (), in_shape

    def forward(params: tuple[()], x: Array, mode: Any) -> tuple[Array, tuple[()]]:
        noted.append(mode.key)
        return x, params

    combined = combine(*[Layer(init, forward, identity().vjp)] * layers)

    def ensure_own_keys() -> None:
        ensure(len(noted) == layers, f"{layers} layers are called {len(noted)} times")
        ensure(len(set(noted)) == layers, f"the keys are {', '.join(map(str, noted))}")
        noted.clear()

    def initialized(case: Case) -> None:
        combined.init(case.key, in_shape)
        ensure_own_keys()

    def called(case: Case) -> None:
        params, _ = combined.init(case.key, in_shape)
        noted.clear()
        combined.forward(params, batch_of(in_shape, case.key.at("x"), case.batch, normal_inputs), Training(case.key))
        ensure_own_keys()

    laws = {
        "every layer is initialized from a key of its own": initialized,
        "every layer draws from a key of its own": called,
    }
    hold(combined, laws, examples)
