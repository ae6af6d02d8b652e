"""The laws of a metric."""

from collections.abc import Collection
from typing import Any

import numpy as np
from toolz import identity

from funcnn.testing.laws import JUNK, WEIGHTS, Case, Draw, Laws, extra, hold, repeated, spoiled, weighted
from funcnn.testing.purity import assert_pure, assert_trees_close, ensure
from funcnn.training import Metric

__all__ = ["check_metric"]


def check_metric(
    metric: Metric, draw: Draw, *, jax: bool = False, unless: Collection[str] = (), examples: int = 20
) -> None:
    """Try every law of a metric on outputs and targets from ``draw``; with ``jax``, that JAX gives the same.

    By the laws, a number is a mean over the samples, and a table is a sum; ``unless`` names the laws that a metric
    breaks on purpose.

    >>> import funcnn as fn
    >>> check_metric(fn.accuracy, lambda key, n: (key.normal((n, 3), np.float64), np.arange(n) % 3))
    """
    hold(repr(metric), metric_laws(metric, draw, jax=jax), examples, unless=unless)


def metric_laws(metric: Metric, draw: Draw, *, jax: bool = False) -> Laws:
    """The laws by name."""

    def assert_same(found: Any, expected: Any) -> None:
        assert_trees_close(np.asarray(found, np.float64), np.asarray(expected, np.float64), rtol=1e-9, atol=1e-12)

    def pure(case: Case) -> None:
        outputs, targets, weights = weighted(draw, case)
        assert_pure(metric, outputs, targets, None)
        assert_pure(metric, outputs, targets, weights)
        for value in np.ravel(metric(outputs, targets, weights)):
            ensure(bool(np.isfinite(value)), f"the value is {value}")

    def equal_weights(case: Case) -> None:
        outputs, targets, weights = weighted(draw, case)
        assert_same(metric(outputs, targets, np.ones_like(weights)), metric(outputs, targets, None))

    def twice(case: Case) -> None:
        outputs, targets = draw(case.key, case.batch)
        for dtype in WEIGHTS:
            times = (1 + np.arange(case.batch) % 3).astype(dtype)
            more_outputs, more_targets = repeated((outputs, targets), times.astype(int))
            assert_same(metric(outputs, targets, times), metric(more_outputs, more_targets, None))

    def ordered(case: Case) -> None:
        arrays = weighted(draw, case)
        order = case.key.at("order").permutation(case.batch)
        assert_same(metric(*(array[order] for array in arrays)), metric(*arrays))

    def merged(case: Case) -> None:
        arrays = weighted(draw, case)
        pieces = [[array[i : i + 2] for array in arrays] for i in range(0, case.batch, 2)]
        values, whole = [metric(*piece) for piece in pieces], metric(*arrays)
        shares = [np.sum(weights) for _, _, weights in pieces]
        assert_same(sum(values) if np.ndim(whole) > 0 else np.average(values, weights=shares), whole)

    def absent(case: Case) -> None:
        for junk in JUNK:
            assert_same(metric(*spoiled(draw, case, junk)), metric(*weighted(draw, case)))

    compiled = (extra("jax").jit if jax else identity)(lambda *arrays: metric(*arrays))

    def same_in_jax(case: Case) -> None:
        outputs, targets, weights = weighted(draw, case.for_jax())
        with extra("jax").enable_x64(True):
            for given in (None, weights):
                assert_same(compiled(outputs, targets, given), metric(outputs, targets, given))

    return {
        "the metric is pure": pure,
        "equal weights do not change the value": equal_weights,
        "a sample of weight k counts k times": twice,
        "the order of samples does not matter": ordered,
        "the values of parts merge to the value of the whole": merged,
        "a sample of weight zero does not count": absent,
        **({"JAX gives the same": same_in_jax} if jax else {}),
    }
