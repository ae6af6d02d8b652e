"""Penalties: numbers that grow with the params, added to the loss once per batch.

A penalty is not weight decay: its gradient goes through the optimizer's rule; the decay of :func:`funcnn.adamw` does
not. ``mask`` is a pattern of paths as in :mod:`funcnn.optimizers.transforms`. The default matches the weights of dense
and convolutional layers, but no biases, tables or scales.
"""

from collections.abc import Callable
from itertools import compress
from typing import Any

import attrs

from funcnn import tree
from funcnn.arrays import Array, namespace
from funcnn.errors import is_real, require
from funcnn.layer import Params
from funcnn.spec import Described, described

__all__ = ["Penalty", "l1", "l2"]


@attrs.frozen(eq=False, repr=False)
class Penalty(Described):
    """Two pure functions; :func:`l1` and :func:`l2` make them.

    Attributes:
        value: ``value(params)``, one number.
        gradient: ``gradient(params)``, a tree like the params.
    """

    value: Callable[[Params], Any]
    gradient: Callable[[Params], Any]


@described
def l1(strength: float, mask: str = "*weights") -> Penalty:
    """strength * sum |w|; the gradient is strength * sign(w), and 0 at 0.

    >>> import numpy as np
    >>> float(l1(0.5).value({"weights": np.array([-2.0, 1.0]), "biases": np.array([9.0])}))
    1.5
    """
    return _penalty("l1", strength, mask, abs, lambda w: namespace(w).sign(w))


@described
def l2(strength: float, mask: str = "*weights") -> Penalty:
    """strength * sum w^2; the gradient is 2 * strength * w. scikit-learn's ``alpha`` is l2(alpha / (2 batch)).

    >>> import numpy as np
    >>> l2(0.5).gradient({"weights": np.array([-2.0, 1.0]), "biases": np.array([9.0])})
    {'weights': array([-2.,  1.]), 'biases': array([0.])}
    """
    return _penalty("l2", strength, mask, lambda w: w * w, lambda w: 2 * w)


def _penalty(
    name: str, strength: float, mask: str, f: Callable[[Array], Array], df: Callable[[Array], Array]
) -> Penalty:
    require(is_real(strength, low=0), name, "a strength of at least 0", repr(strength))
    require(isinstance(mask, str), name, "a mask that is a pattern of paths", repr(mask), 'such as "*weights"')

    def value(params: Params) -> Any:
        chosen = tree.leaves(tree.matching(name, mask, params))
        return strength * sum(namespace(leaf).sum(f(leaf)) for leaf in compress(tree.leaves(params), chosen))

    def gradient(params: Params) -> Any:
        def of_leaf(chosen: bool, leaf: Array) -> Array:
            return strength * df(leaf) if chosen else namespace(leaf).zeros_like(leaf)

        return tree.map(of_leaf, tree.matching(name, mask, params), params)

    return Penalty(value, gradient)
