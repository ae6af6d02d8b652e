"""The laws of a loss."""

from functools import partial
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import Array
from funcnn.layer import Layer
from funcnn.losses import Loss
from funcnn.testing.gradients import check_vjp
from funcnn.testing.laws import (
    JUNK,
    WEIGHTS,
    Case,
    Draw,
    Laws,
    as_dtype,
    extra,
    hold,
    repeated,
    spec_law,
    spoiled,
    weighted,
)
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close, ensure

__all__ = ["check_loss"]


def check_loss(loss: Loss, draw: Draw, *, jax: bool = False, examples: int = 20) -> None:
    """Try every law of a loss on outputs and targets from ``draw``; with ``jax``, JAX is a second oracle.

    >>> import funcnn as fn
    >>> check_loss(fn.softmax_cross_entropy(), lambda key, n: (key.normal((n, 3), np.float64), np.arange(n) % 3))
    """
    hold(repr(loss), loss_laws(loss, draw, jax=jax), examples)


def loss_laws(loss: Loss, draw: Draw, *, jax: bool = False) -> Laws:
    """The laws by name, without those that have no meaning for this loss."""

    def value(case: Case) -> None:
        for dtype in (np.float32, np.float64):
            value, _ = loss.forward(*as_dtype(draw(case.key, case.batch), dtype))
            assert_trees_alike(value, np.zeros((), dtype))
            ensure(bool(np.isfinite(value)), f"the value is {value}")

    def gradient(case: Case) -> None:
        for dtype in (np.float32, np.float64):
            outputs, targets = as_dtype(draw(case.key, case.batch), dtype)
            assert_trees_alike(loss.vjp(loss.forward(outputs, targets)[1]), outputs)

    def pure(case: Case) -> None:
        arrays = weighted(draw, case)
        assert_pure(loss.forward, *arrays)
        assert_pure(loss.vjp, loss.forward(*arrays)[1])

    def vjp(case: Case) -> None:
        outputs, targets, weights = weighted(draw, case)
        for given in (None, weights):
            check_vjp(_as_layer(loss, targets, given), (), outputs, case.key)

    gradient_of_jax: Any = extra("jax").jit(extra("jax").grad(lambda *args: loss.forward(*args)[0])) if jax else None

    def same_as_jax(case: Case) -> None:
        outputs, targets, weights = weighted(draw, case.for_jax())
        for given in (None, weights):
            with extra("jax").enable_x64(True):
                expected = gradient_of_jax(outputs, targets, given)
            assert_trees_close(loss.vjp(loss.forward(outputs, targets, given)[1]), expected, rtol=1e-7, atol=1e-7)

    def twice(case: Case) -> None:
        outputs, targets = draw(case.key, case.batch)
        counts = 1 + np.arange(case.batch) % 3
        for dtype in WEIGHTS:
            times = counts.astype(dtype).astype(int)
            value, residuals = loss.forward(outputs, targets, times.astype(dtype))
            expected, of_copies = loss.forward(repeated(outputs, times), repeated(targets, times))
            assert_close(value, expected)
            sums = partial(np.add.reduceat, indices=np.cumsum(times) - times, axis=0)
            assert_trees_close(loss.vjp(residuals), tree.map(sums, loss.vjp(of_copies)), rtol=1e-9)

    def absent(case: Case) -> None:
        expected, residuals = loss.forward(*weighted(draw, case))
        for junk in JUNK:
            value, of_more = loss.forward(*spoiled(draw, case, junk))
            assert_close(value, expected)
            grads = tree.map(lambda leaf: np.pad(leaf, [(1, 1), *[(0, 0)] * (leaf.ndim - 1)]), loss.vjp(residuals))
            assert_trees_close(loss.vjp(of_more), grads, rtol=1e-9)

    def mean(case: Case) -> None:
        pair = draw(case.key, case.batch)
        values = [loss.forward(*row)[0] for row in tree.pieces(pair, case.batch, 1)]
        assert_close(loss.forward(*pair)[0], np.mean(values))

    def assert_close(value: Array, expected: Any) -> None:
        assert_trees_close(np.float64(value), np.float64(expected), rtol=1e-9)

    return {
        "the value is one number of the outputs' dtype": value,
        "the gradient has the shape and dtype of the outputs": gradient,
        "forward and vjp are pure": pure,
        "the gradient equals central differences": vjp,
        "a sample of weight k counts k times": twice,
        "a sample of weight zero does not count": absent,
        "the value is the mean over samples": mean,
        **({"the gradient equals that of JAX": same_as_jax} if jax else {}),
        **spec_law(
            "the spec builds the same loss again", loss, lambda made, case: made.forward(*draw(case.key, case.batch))[0]
        ),
    }


def _as_layer(loss: Loss, targets: Array, weights: Array | None) -> Layer:
    """The loss of given targets as a layer whose output is one number."""

    def vjp(params: Any, residuals: Any, dy: Array, *, need_dx: bool = True) -> tuple[Any, Array | None]:
        return params, tree.map(lambda leaf: dy * leaf, loss.vjp(residuals)) if need_dx else None

    return Layer(lambda key, in_shape: ((), ()), lambda params, x, mode: loss.forward(x, targets, weights), vjp)
