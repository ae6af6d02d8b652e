"""Wrappers: each changes the gradients or the updates of the whole optimizer inside it."""

import operator
from collections.abc import Callable
from functools import reduce
from operator import attrgetter
from typing import Any

from toolz import compose

from funcnn import tree
from funcnn.arrays import Array, as_dtype_of, check_floating, namespace, number, widened
from funcnn.errors import is_count, is_real, require
from funcnn.layer import Params
from funcnn.optimizers.base import (
    Optimizer,
    Updates,
    advance,
    check_floating_leaves,
    require_optimizer,
    start_like,
    zeros_like,
)
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["AccumulationState", "LookaheadState", "SkipState", "accumulate", "lookahead", "skip_if_not_finite"]


@record
class SkipState:
    """The state of :func:`skip_if_not_finite`: the number of skipped updates, and the optimizer's state."""

    skipped: Any
    inner: Any


@record
class AccumulationState:
    """The state of :func:`accumulate`: the gradients since the latest update, their sum, and the inner state."""

    count: Any
    total: Updates
    inner: Any


@record
class LookaheadState:
    """The state of :func:`lookahead`: updates since the latest pull, the slow params, and the optimizer's state."""

    count: Any
    slow: Params
    inner: Any


@described
def skip_if_not_finite(optimizer: Optimizer) -> Optimizer:
    """``optimizer``, except that a gradient with NaN or infinity changes neither the params nor its state."""
    require_optimizer("skip_if_not_finite", optimizer)

    def update(grads: Updates, state: SkipState, params: Params) -> tuple[Updates, SkipState]:
        checked = ((check_floating("skip_if_not_finite", leaf, "gradients"), leaf) for leaf in tree.leaves(grads))
        finite = number(reduce(operator.and_, (xp.all(xp.isfinite(leaf)) for xp, leaf in checked), True))
        nothing = zeros_like(grads)
        updates, inner = optimizer.update(_chosen(finite, grads, nothing), state.inner, params)
        updates, inner = _chosen(finite, (updates, inner), (nothing, state.inner))
        return updates, SkipState(_chosen(finite, state.skipped, state.skipped + 1), inner)

    return Optimizer(lambda params: SkipState(0, optimizer.init(params)), update, _inner_rate(optimizer))


@described
def accumulate(optimizer: Optimizer, times: int) -> Optimizer:
    """``optimizer`` on the mean of ``times`` gradients; the updates in between are 0.

    So ``times`` micro-batches of n samples make one step of ``times`` * n samples.
    """
    require_optimizer("accumulate", optimizer)
    require(is_count(times), "accumulate", "times to be a positive whole number", repr(times))

    def update(grads: Updates, state: AccumulationState, params: Params) -> tuple[Updates, AccumulationState]:
        count = state.count + 1
        _, total = advance(lambda g, total: (g, total + g), grads, state.total)
        waiting = zeros_like(grads), AccumulationState(count, total, state.inner)
        full = count == times
        if full is False:  # known, not traced: the optimizer need not run
            return waiting
        mean = tree.map(lambda total, g: as_dtype_of(g, total / times), total, grads)
        updates, inner = optimizer.update(mean, state.inner, params)
        after = AccumulationState(0 * count, zeros_like(total), inner)
        return _chosen(full, (updates, after), waiting)  # type: ignore[no-any-return]

    def init(params: Params) -> AccumulationState:
        return AccumulationState(0, start_like(params), optimizer.init(params))

    return Optimizer(init, update, _inner_rate(optimizer))


@described
def lookahead(optimizer: Optimizer, times: int = 5, rate: float = 0.5) -> Optimizer:
    """``optimizer``, and after every ``times`` updates slow = slow + rate (params - slow), params = slow.

    (Zhang et al. 2019, who call them k and alpha.) Between pulls, the params are the fast ones.
    """
    require_optimizer("lookahead", optimizer)
    require(is_count(times), "lookahead", "times to be a positive whole number", repr(times))
    require(is_real(rate, low=0) and 0 < rate <= 1, "lookahead", "a rate in (0, 1]", repr(rate))

    def init(params: Params) -> LookaheadState:
        check_floating_leaves(params)
        return LookaheadState(0, tree.map(widened, params), optimizer.init(params))

    def update(updates: Updates, state: LookaheadState, params: Params) -> tuple[Updates, LookaheadState]:
        updates, inner = optimizer.update(updates, state.inner, params)
        waiting = updates, LookaheadState(state.count + 1, state.slow, inner)
        due = state.count + 1 == times
        if due is False:  # known, not traced: the slow params stay
            return waiting

        def pull(u: Array, param: Array, slow: Array) -> tuple[Array, Array, Array]:
            slow = slow + rate * (param + u - slow)
            return slow - param, param, slow

        pulled, _, slow = advance(pull, updates, params, state.slow)
        return _chosen(due, (pulled, LookaheadState(0 * state.count, slow, inner)), waiting)  # type: ignore[no-any-return]

    return Optimizer(init, update, _inner_rate(optimizer))


def _chosen(condition: Any, chosen: Any, other: Any) -> Any:
    """``chosen`` where the condition is true, else ``other``; leaf by leaf for a traced condition."""
    if isinstance(condition, bool):
        return chosen if condition else other
    xp = namespace(condition)
    return tree.map(lambda a, b: xp.where(condition, xp.asarray(a), xp.asarray(b)), chosen, other)


def _inner_rate(optimizer: Optimizer) -> Callable[[Any], Any] | None:
    """The learning rate of the optimizer in a wrapper, from the wrapper's state."""
    return optimizer.learning_rate and compose(optimizer.learning_rate, attrgetter("inner"))
