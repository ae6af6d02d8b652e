"""The laws of randomness in training: of layers that add noise, and of combinators, which hand the keys on."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from funcnn.arrays import Array, Shape, Shapes
from funcnn.keys import Key
from funcnn.layer import Layer, Training, predict
from funcnn.layers import identity
from funcnn.testing.laws import Case, Law, batch_of, hold, normal_inputs
from funcnn.testing.purity import ensure

__all__ = ["check_combinator", "check_noise"]

DRAWS = 4000
"""Over how many samples the mean of the noise is taken."""


def check_noise(layer: Layer, in_shape: Shape, *, examples: int = 10) -> None:
    """Try the laws of a layer without params that is random in training, and right in the mean, as dropout is.

    The mean is judged over 4000 samples, so the noise must be such that they show its deviation: of dropout, a rate
    from 0.01 to 0.99.

    Raises:
        BrokenLaw: At the first that fails.

    >>> import funcnn as fn
    >>> check_noise(fn.dropout(0.3), (5,))
    """
    hold(layer, noise_laws(layer, in_shape), examples)


def noise_laws(layer: Layer, in_shape: Shape) -> Mapping[str, Law]:
    """The laws by name."""
    laws: dict[str, Callable[[Layer, Shape, Case], None]] = {
        "another key draws other noise": _other_noise,
        "every sample has noise of its own": _own_noise,
        "the mean over the noise is the output at inference": _mean,
    }
    return {name: partial(law, layer, in_shape) for name, law in laws.items()}


def check_combinator(combine: Callable[..., Layer], in_shape: Shapes, *, layers: int = 2, examples: int = 5) -> None:
    """Try the laws of ``combine(layer, ...)``, called with ``layers`` layers that keep their shape.

    Raises:
        BrokenLaw: Two layers are given one key, to be initialized or to draw from; or a layer is left out.

    >>> import funcnn as fn
    >>> check_combinator(fn.concatenate, (5,))
    """
    hold(combine, combinator_laws(combine, in_shape, layers=layers), examples)


def combinator_laws(combine: Callable[..., Layer], in_shape: Shapes, *, layers: int = 2) -> Mapping[str, Law]:
    """The laws by name."""
    laws: dict[str, Callable[[Callable[..., Layer], Shapes, int, Case], None]] = {
        "every layer is initialized from a key of its own": _initialized,
        "every layer draws from a key of its own": _called,
    }
    return {name: partial(law, combine, in_shape, layers) for name, law in laws.items()}


def _noisy(layer: Layer, in_shape: Shape, case: Case, label: str = "key") -> tuple[Array, Array]:
    """One sample, and what becomes of many copies of it."""
    x, (params, _) = case.array("x", (1, *in_shape)), layer.init(case.key, in_shape)
    return x, layer.forward(params, np.repeat(x, DRAWS, axis=0), Training(case.key.at(label)))[0]


def _other_noise(layer: Layer, in_shape: Shape, case: Case) -> None:
    (_, y), (_, z) = (_noisy(layer, in_shape, case, label) for label in ("one", "another"))
    ensure(not np.array_equal(y, z), "two keys give the same outputs")


def _own_noise(layer: Layer, in_shape: Shape, case: Case) -> None:
    _, y = _noisy(layer, in_shape, case)
    ensure(not (y == y[0]).all(), "all samples of a batch are changed alike")


def _mean(layer: Layer, in_shape: Shape, case: Case) -> None:
    x, y = _noisy(layer, in_shape, case)
    error = np.abs(y.mean(axis=0) - predict(layer, layer.init(case.key, in_shape)[0], x)[0])
    tolerance = 1e-9 + 6 * y.std(axis=0) / np.sqrt(DRAWS)  # six standard errors
    ensure(bool(np.all(error <= tolerance)), f"the mean is off by up to {np.max(error):.3g}")


def _initialized(combine: Callable[..., Layer], in_shape: Shapes, layers: int, case: Case) -> None:
    keys: list[Key] = []
    combine(*[_probe(keys, [])] * layers).init(case.key, in_shape)
    _ensure_own(keys, layers)


def _called(combine: Callable[..., Layer], in_shape: Shapes, layers: int, case: Case) -> None:
    keys: list[Key] = []
    combined = combine(*[_probe([], keys)] * layers)
    params, _ = combined.init(case.key, in_shape)
    combined.forward(params, batch_of(in_shape, case.key.at("x"), case.batch, normal_inputs), Training(case.key))
    _ensure_own(keys, layers)


def _probe(of_init: list[Key], of_forward: list[Key]) -> Layer:
    """An identity that notes the keys it is given."""

    def init(key: Key, in_shape: Shape, **options: Any) -> tuple[tuple[()], Shape]:
        of_init.append(key)
        return (), in_shape

    def forward(params: tuple[()], x: Array, mode: Any) -> tuple[Array, tuple[()]]:
        of_forward.append(mode.key)
        return x, params

    return Layer(init, forward, identity().vjp)


def _ensure_own(keys: list[Key], layers: int) -> None:
    ensure(len(keys) == layers, f"{layers} layers are called {len(keys)} times")
    ensure(len(set(keys)) == layers, f"the keys are {', '.join(map(str, keys))}")
