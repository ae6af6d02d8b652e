"""Transforms: parts of a chain that clip, decay, freeze or watch, and wrappers around a whole optimizer.

Where a part of the params is meant, ``mask`` is a pattern of paths as :func:`funcnn.tree.leaves_with_paths` writes
them, in the manner of a shell: ``"*weights"`` leaves the biases out, ``"0.*"`` means the first layer.
"""

import operator
from collections.abc import Callable
from functools import reduce
from operator import attrgetter
from typing import Any

import numpy as np
from toolz import compose

from funcnn import special, tree
from funcnn.arrays import Array, as_dtype_of, check_array, check_floating, namespace, number, widened
from funcnn.errors import is_count, is_real, require
from funcnn.layer import Params
from funcnn.optimizers.base import (
    Optimizer,
    Updates,
    apply_updates,
    by_leaf,
    check_floating_leaves,
    require_optimizer,
    start_like,
    stateless,
    zeros_like,
)
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["AccumulationState", "AverageState", "LookaheadState", "SkipState", "accumulate", "add_decayed_weights"]
__all__ += ["averaged", "clip", "clip_by_global_norm", "exponential_moving_average", "freeze", "global_norm"]
__all__ += ["lookahead", "masked", "max_norm", "skip_if_not_finite"]


@record
class SkipState:
    """The state of :func:`skip_if_not_finite`: how many updates were left out, and the optimizer's own state."""

    skipped: Any
    inner: Any


@record
class AccumulationState:
    """The state of :func:`accumulate`: gradients seen since the latest update, their sum, the optimizer's own state."""

    count: Any
    total: Updates
    inner: Any


@record
class AverageState:
    """The state of :func:`exponential_moving_average`: 1 - decay^(finished updates), and the average of the params."""

    weight: float
    average: Params


@record
class LookaheadState:
    """The state of :func:`lookahead`: updates since the latest pull, the slow params, and the optimizer's own state."""

    count: Any
    slow: Params
    inner: Any


@described
def clip(bound: float) -> Optimizer:
    """Each element of the gradients cut to [-bound, bound]."""
    require(is_real(bound) and bound > 0, "clip", "a bound above 0", repr(bound))

    def update(grads: Updates, params: Params) -> Updates:
        return by_leaf(1, lambda g, param: (namespace(g).clip(g, -bound, bound),), grads, params)[0]

    return stateless(update)


@described
def clip_by_global_norm(bound: float) -> Optimizer:
    """All gradients scaled by min(1, bound / norm), the norm taken over all of them (Pascanu et al. 2013).

    Below the bound it is the identity, bit for bit. The metric :data:`funcnn.gradient_norm` of a step tells the norm.
    """
    fits = is_real(bound) and bound > 0
    require(fits, "clip_by_global_norm", "a bound above 0", repr(bound))

    def update(grads: Updates, params: Params) -> Updates:
        norm = global_norm(grads)

        def scaled(g: Array, param: Array) -> tuple[Array]:
            xp = namespace(g)
            return (g * (bound / xp.maximum(xp.asarray(norm, dtype=g.dtype), xp.asarray(bound, dtype=g.dtype))),)

        return by_leaf(1, scaled, grads, params)[0]

    return stateless(update)


@described
def add_decayed_weights(rate: float, mask: str = "*") -> Optimizer:
    """The gradients plus rate times the params under ``mask``.

    Before a rule it is the gradient of an l2 penalty rate |params|^2 / 2; after it, decoupled weight decay.
    """
    require(is_real(rate, low=0), "add_decayed_weights", "a rate of at least 0", repr(rate))
    return _masked("add_decayed_weights", mask, lambda g, param: g + rate * param)


@described
def freeze(mask: str) -> Optimizer:
    """No update under ``mask``; at the end of a chain, so that nothing comes after it.

    A mask is a pattern of the paths of leaves, in which ``*`` stands for any text: ``"0.*"`` for the params of layer 0
    of a :func:`funcnn.serial`, ``"*biases"`` for all biases. An optimizer after ``freeze`` could still change these
    leaves, by weight decay for instance.

    Raises:
        InputError: The mask is no text; at ``update``, it matches the path of no leaf.

    >>> import funcnn as fn
    >>> optimizer, params = fn.chain(fn.adam(0.1), freeze("*biases")), {"weights": np.ones(2), "biases": np.ones(2)}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> updates["weights"].round(3).tolist(), updates["biases"].tolist()
    ([-0.1, -0.1], [0.0, 0.0])
    """
    return _masked("freeze", mask, lambda update, param: namespace(update).zeros_like(update))


def masked(mask: Updates) -> Optimizer:
    """The updates where ``mask``, a tree of boolean arrays like the params, is true, and 0 elsewhere.

    At the end of a chain, it leaves weights that were pruned at 0 (Han et al. 2015), whatever their gradients. It
    has no spec, since arrays are no plain data.

    Raises:
        InputError: A leaf of the mask is no boolean array; at an update, it is not like the params.

    >>> from funcnn import chain, sgd
    >>> optimizer, params = chain(sgd(1.0), masked(np.array([True, False]))), np.zeros(2)
    >>> optimizer.update(np.array([1.0, np.nan]), optimizer.init(params), params)[0]
    array([-1.,  0.])
    """
    for path, leaf in tree.leaves_with_paths(mask):
        check_array("masked", f"mask {path}".rstrip(), leaf)
        require(str(leaf.dtype).endswith("bool"), f"masked {path}".rstrip(), "a boolean array", leaf.dtype)

    def kept(update: Array, param: Array, chosen: Array) -> tuple[Array]:
        xp = namespace(update)
        return (xp.where(chosen != 0, update, xp.zeros_like(update)),)

    def update(updates: Updates, params: Params) -> Updates:
        check_floating_leaves(params)
        require(tree.same_structure(mask, params), "masked", "params with the tree of the mask", "another tree")
        numbers = tree.map(lambda leaf, param: namespace(param).asarray(leaf, dtype=param.dtype), mask, params)
        return by_leaf(1, kept, updates, params, numbers)[0]

    return stateless(update)


@described
def max_norm(bound: float, mask: str = "*weights") -> Optimizer:
    """Updates that leave the weights into each unit with a norm of at most ``bound`` (Srivastava et al. 2014).

    The norm is taken over all axes but the last. It stands at the end of a chain.
    """
    require(is_real(bound) and bound > 0, "max_norm", "a bound above 0", repr(bound))

    def kept(update: Array, param: Array) -> Array:
        xp, new = namespace(param), param + update
        norms = special.norm(new, axis=tuple(range(new.ndim - 1)))
        over = norms > bound
        scale = bound / xp.where(over, norms, xp.full_like(norms, bound))
        return xp.where(xp.broadcast_to(over, new.shape), new * scale - param, update)

    return _masked("max_norm", mask, kept)


@described
def skip_if_not_finite(optimizer: Optimizer) -> Optimizer:
    """``optimizer``, but a gradient with NaN or infinity changes neither params nor its state."""
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
    """``optimizer`` on the mean of ``times`` gradients; the updates in between are zero.

    So ``times`` micro-batches of n samples make one step of ``times`` n samples.
    """
    require_optimizer("accumulate", optimizer)
    require(is_count(times), "accumulate", "times to be a positive whole number", repr(times))

    def update(grads: Updates, state: AccumulationState, params: Params) -> tuple[Updates, AccumulationState]:
        count, nothing = state.count + 1, zeros_like(grads)
        _, total = by_leaf(2, lambda g, total: (g, total + g), grads, state.total)
        waiting = nothing, AccumulationState(count, total, state.inner)
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
def exponential_moving_average(decay: float) -> Optimizer:
    """The updates as they are; the state keeps average = decay average + (1 - decay) params (Polyak and Juditsky 1992).

    It stands at the end of a chain, and averages the params after the update. :func:`averaged` reads the average,
    corrected for its start from zero.
    """
    fits = is_real(decay, low=0, below=1)
    require(fits, "exponential_moving_average", "a decay in [0, 1)", repr(decay))

    def update(updates: Updates, state: AverageState, params: Params) -> tuple[Updates, AverageState]:
        new = apply_updates(params, updates)
        _, average = by_leaf(2, lambda param, old: (param, decay * old + (1 - decay) * param), new, state.average)
        return updates, AverageState(decay * state.weight + (1 - decay), average)

    return Optimizer(lambda params: AverageState(0.0, start_like(params)), update)


def averaged(state: Any) -> Params:
    """The average of the params that ``exponential_moving_average`` keeps, wherever it stands in ``state``.

    Raises:
        InputError: There is none in the state, more than one, or no update yet.

    >>> import numpy as np, funcnn as fn
    >>> optimizer = fn.chain(fn.sgd(0.5), exponential_moving_average(0.9))
    >>> _, state = optimizer.update(np.array([1.0]), optimizer.init(np.array([1.0])), np.array([1.0]))
    >>> averaged(state)
    array([0.5])
    """
    found = tree.nodes(AverageState, state)
    require(len(found) == 1, "averaged", "a state with one exponential_moving_average in it", f"{len(found)} of them")
    require(found[0].weight != 0, "averaged", "a state after one update or more", "the first one")
    return tree.map(lambda average: average / found[0].weight, found[0].average)


@described
def lookahead(optimizer: Optimizer, times: int = 5, rate: float = 0.5) -> Optimizer:
    """``optimizer``, and after every ``times`` updates slow = slow + rate (params - slow), params = slow.

    (Zhang et al. 2019; there k and alpha.) The params between are the fast ones.
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

        def pull(u: Array, param: Array, slow: Array) -> tuple[Array, Array]:
            slow = slow + rate * (param + u - slow)
            return slow - param, slow

        pulled, slow = by_leaf(2, pull, updates, params, state.slow)
        return _chosen(due, (pulled, LookaheadState(0 * state.count, slow, inner)), waiting)  # type: ignore[no-any-return]

    return Optimizer(init, update, _inner_rate(optimizer))


def global_norm(updates: Updates) -> Any:
    """The Euclidean norm over all elements of all leaves.

    >>> import numpy as np
    >>> float(global_norm((np.array([3.0]), np.array([[4.0]]))))
    5.0
    """
    leaves = tree.leaves(updates)
    for leaf in leaves:
        check_floating("global_norm", leaf, "leaves")
    with np.errstate(over="ignore"):
        norm = sum(namespace(leaf).sum(leaf * leaf) for leaf in leaves) ** 0.5
    if not leaves or (isinstance(norm, np.generic) and np.isfinite(norm)):
        return norm
    norms = [special.norm(namespace(leaf).reshape(leaf, (-1,)), axis=0) for leaf in leaves]
    return special.norm(namespace(leaves[0]).concat(norms), axis=0)[0]


def _masked(name: str, mask: str, f: Callable[[Array, Array], Array]) -> Optimizer:
    """The optimizer that gives ``f(update, param)`` under ``mask``, and other updates as they are."""
    require(isinstance(mask, str), name, "a mask that is a pattern of paths", repr(mask), 'such as "*weights"')

    def update(updates: Updates, params: Params) -> Updates:
        (changed,) = by_leaf(1, lambda *leaves: (f(*leaves),), updates, params)
        chosen = tree.matching(name, mask, params)
        return tree.map(lambda chosen, new, old: new if chosen else old, chosen, changed, updates)

    return stateless(update)


def _chosen(condition: Any, chosen: Any, other: Any) -> Any:
    """The one tree or the other; leaf by leaf where the condition may be traced."""
    if isinstance(condition, bool):
        return chosen if condition else other
    xp = namespace(condition)
    return tree.map(lambda a, b: xp.where(condition, xp.asarray(a), xp.asarray(b)), chosen, other)


def _inner_rate(optimizer: Optimizer) -> Callable[[Any], Any] | None:
    """The learning rate of the optimizer inside a wrapper, whose state holds that of the optimizer."""
    return optimizer.learning_rate and compose(optimizer.learning_rate, attrgetter("inner"))
