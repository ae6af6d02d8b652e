"""Keys on JAX."""

from functools import reduce
from typing import Any

import jax
import numpy as np
from toolz import concat

from funcnn.arrays import Array, Shape
from funcnn.keys import Key, Label, check_draw, words
from funcnn.tree import record

__all__ = ["JaxKey", "jax_key"]


@record
class JaxKey:
    """A key with the methods of :class:`funcnn.Key` that JAX compiles; its numbers are not those of NumPy.

    Attributes:
        data: A typed key of ``jax.random``.
    """

    data: Any

    def at(self, *labels: Label | Array) -> "JaxKey":
        """The child at ``labels``: strings, whole numbers, or a traced number, such as the step of a state."""
        known = [words(label) if isinstance(label, int | str) else (0, label, 0) for label in labels]
        return JaxKey(reduce(jax.random.fold_in, concat(known), self.data))

    def normal(self, shape: Shape, dtype: Any = np.float32) -> Array:
        """Independent draws from the standard normal distribution."""
        check_draw("normal", shape, dtype)
        return jax.random.normal(self.data, shape, dtype)

    def uniform(self, shape: Shape, dtype: Any = np.float32, *, low: float = 0.0, high: float = 1.0) -> Array:
        """Independent draws from the uniform distribution on [low, high)."""
        check_draw("uniform", shape, dtype, low=low, high=high)
        return jax.random.uniform(self.data, shape, dtype, low, high)

    def bernoulli(self, p: float, shape: Shape) -> Array:
        """Independent booleans that are true with probability ``p``."""
        check_draw("bernoulli", shape, p=p)
        return jax.random.bernoulli(self.data, p, shape)

    def permutation(self, n: int) -> Array:
        """The numbers 0 to ``n - 1`` in random order."""
        check_draw("permutation", n=n)
        return jax.random.permutation(self.data, n)


def jax_key(key: Key) -> JaxKey:
    """The key of the same seed and path.

    >>> bool(jax_key(Key(0).at("a", 1)).normal(()) == jax_key(Key(0)).at("a").at(1).normal(()))
    True
    """
    root = jax.random.fold_in(jax.random.key(key.seed & 0xFFFFFFFF), key.seed >> 32)
    return JaxKey(root).at(*key.path)
