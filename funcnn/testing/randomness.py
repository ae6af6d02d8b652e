"""The laws of randomness in training: of layers that add noise, and of combinators, which pass keys to their layers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn.arrays import Array, Shape, Shapes
from funcnn.keys import Key
from funcnn.layer import Layer, Params, Training, predict
from funcnn.layers import identity
from funcnn.testing.laws import Case, Laws, batch_of, hold, normal_inputs
from funcnn.testing.purity import ensure

__all__ = ["check_combinator", "check_noise"]

DRAWS = 4000
"""The number of samples in a mean over the noise."""


def check_noise(layer: Layer, in_shape: Shape, *, examples: int = 10) -> None:
    """Try the laws of a layer like dropout: without params, random in training, and right in the mean.

    The mean is over 4000 samples. They must show the standard deviation of the noise: for dropout, a rate from 0.01 to
    0.99 does.

    >>> import funcnn as fn
    >>> check_noise(fn.dropout(0.3), (5,))
    """
    hold(repr(layer), noise_laws(layer, in_shape), examples)


def noise_laws(layer: Layer, in_shape: Shape) -> Laws:
    """The laws by name."""

    def drawn(case: Case) -> tuple[Params, Array]:
        return layer.init(case.key, in_shape)[0], case.array("x", (1, *in_shape))

    def noisy(case: Case, label: str = "key") -> Array:
        """The outputs of many copies of one sample."""
        params, x = drawn(case)
        return layer.forward(params, np.repeat(x, DRAWS, axis=0), Training(case.key.at(label)))[0]

    def differs_by_key(case: Case) -> None:
        ensure(not np.array_equal(noisy(case, "one"), noisy(case, "another")), "two keys give the same outputs")

    def differs_by_sample(case: Case) -> None:
        y = noisy(case)
        ensure(not (y == y[0]).all(), "all samples of a batch are changed alike")

    def mean(case: Case) -> None:
        y, expected = noisy(case), predict(layer, *drawn(case))[0]
        error = np.abs(y.mean(axis=0) - expected)
        tolerance = 1e-9 + 6 * y.std(axis=0) / np.sqrt(DRAWS)  # six standard errors
        ensure(bool(np.all(error <= tolerance)), f"the mean is off by up to {np.max(error):.3g}")

    return {
        "another key draws different noise": differs_by_key,
        "every sample gets its own noise": differs_by_sample,
        "the mean over the noise is the output at inference": mean,
    }


def check_combinator(combine: Callable[..., Layer], in_shape: Shapes, *, layers: int = 2, examples: int = 5) -> None:
    """Try the laws of ``combine(layer, ...)``, called with ``layers`` layers that keep their shape.

    By the laws, no layer is left out, and no two layers get the same key.

    >>> import funcnn as fn
    >>> check_combinator(fn.concatenate, (5,))
    """
    hold(repr(combine), combinator_laws(combine, in_shape, layers=layers), examples)


def combinator_laws(combine: Callable[..., Layer], in_shape: Shapes, *, layers: int = 2) -> Laws:
    """The laws by name."""

    def keys(case: Case, *, called: bool) -> list[Key]:
        """The keys that the layers get from ``init``, or from a call."""
        of_init, of_forward = list[Key](), list[Key]()

        def init(key: Key, in_shape: Shape, **options: Any) -> tuple[tuple[()], Shape]:
            of_init.append(key)
            return (), in_shape

        def forward(params: tuple[()], x: Array, mode: Any) -> tuple[Array, tuple[()]]:
            of_forward.append(mode.key)
            return x, params

        combined = combine(*[Layer(init, forward, identity().vjp)] * layers)
        params, _ = combined.init(case.key, in_shape)
        if called:
            x = batch_of(in_shape, case.key.at("x"), case.batch, normal_inputs)
            combined.forward(params, x, Training(case.key))
        return of_forward if called else of_init

    def ensure_own(keys: list[Key]) -> None:
        ensure(len(keys) == layers, f"{layers} layers are called {len(keys)} times")
        ensure(len(set(keys)) == layers, f"the keys are {', '.join(map(str, keys))}")

    return {
        "every layer is initialized from its own key": lambda case: ensure_own(keys(case, called=False)),
        "every layer draws from its own key": lambda case: ensure_own(keys(case, called=True)),
    }
