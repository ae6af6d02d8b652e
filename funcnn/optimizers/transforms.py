"""Transforms: parts of a chain that clip, decay, freeze or watch.

A ``mask`` chooses leaves of the params: it is a shell pattern for their paths, as in
:func:`funcnn.tree.leaves_with_paths`. ``"*weights"`` leaves out the biases, ``"0.*"`` is the first layer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import special, tree
from funcnn.arrays import Array, check_array, check_floating, namespace
from funcnn.errors import is_real, require
from funcnn.layer import Params
from funcnn.optimizers.base import (
    Optimizer,
    Updates,
    advance,
    apply_updates,
    by_leaf,
    check_floating_leaves,
    check_unit,
    start_like,
    stateless,
)
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["AverageState", "add_decayed_weights", "averaged", "clip", "clip_by_global_norm"]
__all__ += ["exponential_moving_average", "freeze", "global_norm", "masked", "max_norm"]


@record
class AverageState:
    """The state of :func:`exponential_moving_average`: 1 - decay^(finished updates), and the params' average."""

    weight: float
    average: Params


@described
def clip(bound: float) -> Optimizer:
    """Each element of the gradients cut to [-bound, bound]."""
    _check_bound("clip", bound)

    def update(grads: Updates, params: Params) -> Updates:
        return by_leaf(lambda g, param: namespace(g).clip(g, -bound, bound), grads, params)

    return stateless(update)


@described
def clip_by_global_norm(bound: float) -> Optimizer:
    """All gradients scaled by min(1, bound / norm), the norm taken over all of them (Pascanu et al. 2013).

    Below the bound it is the identity, bit for bit. The metric :data:`funcnn.gradient_norm` gives the norm.
    """
    _check_bound("clip_by_global_norm", bound)

    def update(grads: Updates, params: Params) -> Updates:
        norm = global_norm(grads)

        def scaled(g: Array, param: Array) -> Array:
            xp = namespace(g)
            return g * (bound / xp.maximum(xp.asarray(norm, dtype=g.dtype), xp.asarray(bound, dtype=g.dtype)))

        return by_leaf(scaled, grads, params)

    return stateless(update)


@described
def add_decayed_weights(rate: float, mask: str = "*") -> Optimizer:
    """The gradients plus rate times the params under ``mask``.

    Before a rule, it is the gradient of the l2 penalty rate |params|^2 / 2; after a rule, decoupled weight decay.
    """
    require(is_real(rate, low=0), "add_decayed_weights", "a rate of decay of at least 0", repr(rate))
    return _masked("add_decayed_weights", mask, lambda g, param: g + rate * param)


@described
def freeze(mask: str) -> Optimizer:
    """No update under ``mask``.

    In a mask, ``*`` is any text: ``"0.*"`` matches the params of layer 0 of a :func:`funcnn.serial`, ``"*biases"`` all
    biases. Put ``freeze`` at the end of a chain: a later optimizer could still change the leaves, by weight decay for
    instance.

    Raises:
        InputError: The mask is no text. At ``update``: it matches no leaf.

    >>> import funcnn as fn
    >>> optimizer, params = fn.chain(fn.adam(0.1), freeze("*biases")), {"weights": np.ones(2), "biases": np.ones(2)}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> updates["weights"].round(3).tolist(), updates["biases"].tolist()
    ([-0.1, -0.1], [0.0, 0.0])
    """
    return _masked("freeze", mask, lambda update, param: namespace(update).zeros_like(update))


def masked(mask: Updates) -> Optimizer:
    """The updates where ``mask``, a tree of boolean arrays like the params, is true, and 0 elsewhere.

    At the end of a chain, it keeps pruned weights at 0 (Han et al. 2015), whatever their gradients. It has no spec,
    since arrays are no plain data.

    Raises:
        InputError: A leaf of the mask is no boolean array. At ``update``: the mask differs from the params.

    >>> from funcnn import chain, sgd
    >>> optimizer, params = chain(sgd(1.0), masked(np.array([True, False]))), np.zeros(2)
    >>> optimizer.update(np.array([1.0, np.nan]), optimizer.init(params), params)[0]
    array([-1.,  0.])
    """
    for path, leaf in tree.leaves_with_paths(mask):
        check_array("masked", f"mask {path}".rstrip(), leaf)
        require(str(leaf.dtype).endswith("bool"), f"masked {path}".rstrip(), "a boolean array", leaf.dtype)

    def kept(update: Array, param: Array, chosen: Array) -> Array:
        xp = namespace(update)
        return xp.where(chosen != 0, update, xp.zeros_like(update))

    def update(updates: Updates, params: Params) -> Updates:
        check_floating_leaves(params)
        require(tree.same_structure(mask, params), "masked", "params with the tree of the mask", "another tree")
        numbers = tree.map(lambda leaf, param: namespace(param).asarray(leaf, dtype=param.dtype), mask, params)
        return by_leaf(kept, updates, params, numbers)

    return stateless(update)


@described
def max_norm(bound: float, mask: str = "*weights") -> Optimizer:
    """Updates that leave the weights into each unit with a norm of at most ``bound`` (Srivastava et al. 2014).

    The norm is taken over all axes except the last. Put it at the end of a chain.
    """
    _check_bound("max_norm", bound)

    def kept(update: Array, param: Array) -> Array:
        new = param + update
        xp = namespace(new)
        norms = special.norm(new, axis=tuple(range(new.ndim - 1)))
        over = norms > bound
        scale = bound / xp.where(over, norms, xp.full_like(norms, bound))
        return xp.where(xp.broadcast_to(over, new.shape), new * scale - param, update)

    return _masked("max_norm", mask, kept)


@described
def exponential_moving_average(decay: float) -> Optimizer:
    """The same updates; the state keeps average = decay average + (1 - decay) params (Polyak and Juditsky 1992).

    Put it at the end of a chain: it averages the params after the update. :func:`averaged` reads the average,
    corrected for its start from zero.
    """
    check_unit("exponential_moving_average", decay=decay)

    def update(updates: Updates, state: AverageState, params: Params) -> tuple[Updates, AverageState]:
        new = apply_updates(params, updates)
        _, average = advance(lambda param, old: (param, decay * old + (1 - decay) * param), new, state.average)
        return updates, AverageState(decay * state.weight + (1 - decay), average)

    return Optimizer(lambda params: AverageState(0.0, start_like(params)), update)


def averaged(state: Any) -> Params:
    """The average of the params, from an ``exponential_moving_average`` anywhere in ``state``.

    Raises:
        InputError: The state has none or more than one, or there was no update yet.

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
    """The optimizer that gives ``f(update, param)`` under ``mask``, and does not change other updates."""
    require(isinstance(mask, str), name, "a mask that is a pattern of paths", repr(mask), 'such as "*weights"')

    def update(updates: Updates, params: Params) -> Updates:
        changed, chosen = by_leaf(f, updates, params), tree.matching(name, mask, params)
        return tree.map(lambda chosen, new, old: new if chosen else old, chosen, changed, updates)

    return stateless(update)


def _check_bound(where: str, bound: float) -> None:
    require(is_real(bound) and bound > 0, where, "a bound above 0", repr(bound))
