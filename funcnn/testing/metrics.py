"""The laws of a metric."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np

from funcnn.testing.laws import WEIGHTS, Case, Draw, Law, hold, jax_module, repeated, spoiled, weighted
from funcnn.testing.purity import assert_pure, assert_trees_close, ensure
from funcnn.training import Metric

__all__ = ["check_metric"]


def check_metric(
    metric: Metric, draw: Draw, *, jax: bool = False, unless: Collection[str] = (), examples: int = 20
) -> None:
    """Try every law of a metric on outputs and targets from ``draw``; with ``jax``, that JAX gives the same.

    A metric that gives a number is a mean over samples, one that gives a table a sum; ``unless`` names the laws
    that another one breaks on purpose.

    Raises:
        BrokenLaw: At the first that fails; it names the law and the smallest case.

    >>> import funcnn as fn
    >>> check_metric(fn.accuracy, lambda key, n: (key.normal((n, 3), np.float64), np.arange(n) % 3))
    """
    hold(metric, metric_laws(metric, draw, jax=jax), examples, unless=unless)


def metric_laws(metric: Metric, draw: Draw, *, jax: bool = False) -> Mapping[str, Law]:
    """The laws by name."""
    laws: dict[str, Callable[[Metric, Draw, Case], None]] = {
        "the metric is pure": _purity,
        "equal weights are none": _equal_weights,
        "a weight of two is the sample twice": _weights,
        "the order of samples does not matter": _order,
        "parts merge to the whole": _parts,
        "a weight of zero is no sample": _absent,
    }
    if jax:
        laws["JAX gives the same"] = partial(_jax, jax_module().jit(lambda *arrays: metric(*arrays)))
    return {name: partial(law, metric, draw) for name, law in laws.items()}


def _assert_same(found: Any, expected: Any) -> None:
    assert_trees_close(np.asarray(found, np.float64), np.asarray(expected, np.float64), rtol=1e-9, atol=1e-12)


def _purity(metric: Metric, draw: Draw, case: Case) -> None:
    outputs, targets, weights = weighted(draw, case)
    assert_pure(metric, outputs, targets, None)
    assert_pure(metric, outputs, targets, weights)
    for value in np.ravel(metric(outputs, targets, weights)):
        ensure(bool(np.isfinite(value)), f"the value is {value}")


def _equal_weights(metric: Metric, draw: Draw, case: Case) -> None:
    outputs, targets, weights = weighted(draw, case)
    _assert_same(metric(outputs, targets, np.ones_like(weights)), metric(outputs, targets, None))


def _weights(metric: Metric, draw: Draw, case: Case) -> None:
    outputs, targets = draw(case.key, case.batch)
    for dtype in WEIGHTS:
        times = (1 + np.arange(case.batch) % 3).astype(dtype)
        copies = repeated((outputs, targets), times.astype(int))
        _assert_same(metric(outputs, targets, times), metric(copies[0], copies[1], None))


def _absent(metric: Metric, draw: Draw, case: Case) -> None:
    for junk in (np.nan, np.inf, -np.inf):
        _assert_same(metric(*spoiled(draw, case, junk)), metric(*weighted(draw, case)))


def _order(metric: Metric, draw: Draw, case: Case) -> None:
    arrays = weighted(draw, case)
    order = case.key.at("order").permutation(case.batch)
    _assert_same(metric(*(array[order] for array in arrays)), metric(*arrays))


def _parts(metric: Metric, draw: Draw, case: Case) -> None:
    arrays = weighted(draw, case)
    pieces = [[array[i : i + 2] for array in arrays] for i in range(0, case.batch, 2)]
    values, whole = [metric(*piece) for piece in pieces], metric(*arrays)
    if np.ndim(whole) > 0:
        _assert_same(sum(values), whole)
    else:
        _assert_same(np.average(values, weights=[np.sum(weights) for _, _, weights in pieces]), whole)


def _jax(compiled: Metric, metric: Metric, draw: Draw, case: Case) -> None:
    outputs, targets, weights = weighted(draw, case.for_jax())
    with jax_module().enable_x64(True):
        for given in (None, weights):
            _assert_same(compiled(outputs, targets, given), metric(outputs, targets, given))
