"""JAX: every record of funcnn, users' own too, becomes one of its trees.

Import this module once, and ``jax.jit``, ``jax.grad`` and ``jax.vmap`` take params as they are, and so does Optax:
its optimizers drive :func:`funcnn.train_step`, and ours drive its loops. It takes the extra ``jax``.

>>> import funcnn as fn, numpy as np
>>> params, _ = fn.dense(3).init(fn.Key(0), (2,))
>>> jax.jit(lambda params, x: fn.predict(fn.dense(3), params, x))(params, np.ones((4, 2), np.float32)).shape
(4, 3)
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax

from funcnn import tree
from funcnn.arrays import number


def to_jax(values: Any) -> Any:
    """A tree's NumPy arrays as JAX arrays; numbers and keys stay as they are."""
    return tree.map(lambda leaf: jax.numpy.asarray(leaf) if hasattr(leaf, "dtype") else leaf, values)


def to_numpy(values: Any) -> Any:
    """A tree's JAX arrays as NumPy arrays; numbers and keys stay as they are."""
    return tree.map(lambda leaf: number(jax.device_get(leaf)) if hasattr(leaf, "dtype") else leaf, values)


def _register(cls: type, names: tuple[str, ...]) -> None:
    jax.tree_util.register_pytree_with_keys(
        cls, partial(_flatten_with_keys, names), partial(_unflatten, cls), partial(_flatten, names)
    )


def _flatten_with_keys(names: tuple[str, ...], record: Any) -> tuple[list[tuple[Any, Any]], None]:
    return [(jax.tree_util.GetAttrKey(name), getattr(record, name)) for name in names], None


def _flatten(names: tuple[str, ...], record: Any) -> tuple[list[Any], None]:
    return [getattr(record, name) for name in names], None


def _unflatten(cls: type, auxiliary: None, children: Iterable[Any]) -> Any:
    del auxiliary  # a record is its fields
    return cls(*children)


tree.on_record(_register)
