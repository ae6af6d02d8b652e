"""The laws of a loss."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import Array
from funcnn.layer import INFERENCE, Layer
from funcnn.losses import Loss
from funcnn.testing.gradients import check_vjp
from funcnn.testing.laws import WEIGHTS, Case, Draw, Law, as_dtype, check_spec, hold, repeated, spoiled, weighted
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close, ensure

__all__ = ["check_loss"]


def check_loss(loss: Loss, draw: Draw, *, jax: bool = False, examples: int = 20) -> None:
    """Try every law of a loss on outputs and targets from ``draw``; with ``jax``, JAX is a second oracle.

    Raises:
        BrokenLaw: At the first that fails; it names the law and the smallest case.

    >>> import funcnn as fn
    >>> check_loss(fn.softmax_cross_entropy(), lambda key, n: (key.normal((n, 3), np.float64), np.arange(n) % 3))
    """
    hold(loss, loss_laws(loss, draw, jax=jax), examples)


def loss_laws(loss: Loss, draw: Draw, *, jax: bool = False) -> Mapping[str, Law]:
    """The laws by name; one that has no meaning for this loss is left out."""
    laws: dict[str, Callable[[Loss, Draw, Case], None]] = {
        "the value is one number of the outputs' dtype": _value,
        "the gradient is like the outputs": _gradient,
        "forward and vjp are pure": _purity,
        "the gradient is that of central differences": partial(_vjp, oracle="differences"),
        "a weight of two is the sample twice": _weights,
        "a weight of zero is no sample": _absent,
        "the value is the mean over samples": _mean,
    }
    if jax:
        laws["the gradient is that of JAX"] = partial(_vjp, oracle="jax")
    if loss.spec is not None:
        laws["the spec builds the same loss again"] = _spec
    return {name: partial(law, loss, draw) for name, law in laws.items()}


def as_layer(loss: Loss, targets: Array, weights: Array | None = None) -> Layer:
    """The loss of given targets as a layer whose output is one number."""

    def forward(params: Any, x: Array, mode: Any) -> tuple[Array, Any]:
        del params, mode  # it has none, and is deterministic
        return loss.forward(x, targets, weights)

    def vjp(params: Any, residuals: Any, dy: Array, *, need_dx: bool = True) -> tuple[Any, Array | None]:
        return params, tree.map(lambda leaf: dy * leaf, loss.vjp(residuals)) if need_dx else None

    return Layer(lambda key, in_shape, **options: ((), ()), forward, vjp)


def _value(loss: Loss, draw: Draw, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        value, _ = loss.forward(*as_dtype(draw(case.key, case.batch), dtype))
        assert_trees_alike(value, np.zeros((), dtype))
        ensure(bool(np.isfinite(value)), f"the value is {value}")


def _gradient(loss: Loss, draw: Draw, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        outputs, targets = as_dtype(draw(case.key, case.batch), dtype)
        assert_trees_alike(loss.vjp(loss.forward(outputs, targets)[1]), outputs)


def _purity(loss: Loss, draw: Draw, case: Case) -> None:
    outputs, targets, weights = weighted(draw, case)
    assert_pure(loss.forward, outputs, targets, weights)
    assert_pure(loss.vjp, loss.forward(outputs, targets, weights)[1])


def _vjp(loss: Loss, draw: Draw, case: Case, oracle: str) -> None:
    outputs, targets, weights = weighted(draw, case.for_jax() if oracle == "jax" else case)
    for given in (None, weights):
        check_vjp(as_layer(loss, targets, given), (), outputs, case.key, mode=INFERENCE, oracle=oracle)


def _weights(loss: Loss, draw: Draw, case: Case) -> None:
    outputs, targets = draw(case.key, case.batch)
    for dtype in WEIGHTS:
        times = (1 + np.arange(case.batch) % 3).astype(dtype)
        counts = times.astype(int)
        value, residuals = loss.forward(outputs, targets, times)
        expected, of_copies = loss.forward(repeated(outputs, counts), repeated(targets, counts))
        assert_trees_close(np.float64(value), np.float64(expected), rtol=1e-9)
        starts = np.cumsum(counts) - counts
        sums = tree.map(lambda leaf, starts=starts: np.add.reduceat(leaf, starts, axis=0), loss.vjp(of_copies))
        assert_trees_close(loss.vjp(residuals), sums, rtol=1e-9)


def _absent(loss: Loss, draw: Draw, case: Case) -> None:
    expected, residuals = loss.forward(*weighted(draw, case))
    for junk in (np.nan, np.inf, -np.inf):
        value, of_more = loss.forward(*spoiled(draw, case, junk))
        assert_trees_close(np.float64(value), np.float64(expected), rtol=1e-9)
        grads = tree.map(lambda leaf: np.pad(leaf, [(1, 1), *[(0, 0)] * (leaf.ndim - 1)]), loss.vjp(residuals))
        assert_trees_close(loss.vjp(of_more), grads, rtol=1e-9)


def _mean(loss: Loss, draw: Draw, case: Case) -> None:
    pair = draw(case.key, case.batch)
    value, _ = loss.forward(*pair)
    rows = [tree.map(lambda leaf, i=i: leaf[i : i + 1], pair) for i in range(case.batch)]
    assert_trees_close(np.float64(value), np.mean([loss.forward(*row)[0] for row in rows]), rtol=1e-9)


def _spec(loss: Loss, draw: Draw, case: Case) -> None:
    outputs, targets = draw(case.key, case.batch)
    check_spec(loss, lambda loss: loss.forward(outputs, targets)[0])
