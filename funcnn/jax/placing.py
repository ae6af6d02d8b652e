"""Trees on JAX: records as JAX's trees, arrays between NumPy and the devices, and their layout on a mesh."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from funcnn import tree
from funcnn.arrays import Array, number
from funcnn.errors import InputError, is_count, require
from funcnn.jax.keys import jax_key
from funcnn.keys import Key
from funcnn.nodes import Flatten, Unflatten, on_node

__all__ = ["check_shared", "first_devices", "on_device", "replicated", "to_jax", "to_numpy"]


def to_jax(values: Any) -> Any:
    """A tree's NumPy arrays as JAX arrays; numbers and keys stay as they are."""
    return tree.map(lambda leaf: placed(leaf) if hasattr(leaf, "dtype") else leaf, values)


def to_numpy(values: Any, like: Any = None) -> Any:
    """A tree's JAX arrays as NumPy arrays, 0-d arrays as numbers; with ``like``, each leaf in the kind of its leaf.

    With ``like`` a state gets its own :class:`Key` back, so you can save it or continue it on NumPy.

    Raises:
        InputError: A key is not the key in ``like``.

    >>> to_numpy((jax.numpy.ones(2), jax.numpy.float32(0.5)))
    (array([1., 1.], dtype=float32), 0.5)
    >>> to_numpy(jax.numpy.float32(0.5), like=np.zeros((), np.float64))
    array(0.5)
    """

    def plain(leaf: Any) -> Any:
        is_key = hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf if is_key or not hasattr(leaf, "dtype") else number(jax.device_get(leaf))

    def as_before(before: Any, leaf: Any) -> Any:
        if not isinstance(before, Key):
            return np.asarray(leaf, before.dtype) if hasattr(before, "dtype") else leaf
        same = bool((jax.random.key_data(leaf.data) == jax.random.key_data(jax_key(before).data)).all())
        hint = "draw from key.at(step), not a new key"
        require(same, "to_numpy", f"the key that came in, {before}", "another", hint)
        return before

    found = tree.map(plain, values)
    return found if like is None else tree.map(as_before, like, found)


def on_device(values: Any) -> Any:
    """A tree in the form that a compiled step returns: numbers are arrays, and a :class:`Key` is a :class:`JaxKey`.

    Raises:
        InputError: A leaf is no array, number or key.
    """

    def of_jax(path: str, leaf: Any) -> Any:
        try:
            return placed(keyed(leaf))
        except (TypeError, ValueError):
            expected = f"an array, a number or a key at {path or 'the root'}"
            hint = "keep what is no array in the layer or optimizer, not in its params or state"
            raise InputError("on_device", expected, repr(leaf), hint) from None

    return tree.map_with_paths(of_jax, values)


def replicated(values: Any, mesh: Mesh) -> Any:
    """A tree of arrays that every device of ``mesh`` has whole; arrays that are there already stay."""
    return tree.map(partial(placed, layout=layout_on(mesh)), values)


def first_devices(count: int | None = None) -> Mesh:
    """The mesh of the first ``count`` devices on all hosts; without ``count``, of all devices.

    Raises:
        InputError: There are fewer.
    """
    found = jax.devices()
    fits = count is None or (is_count(count) and count <= len(found))
    parted = f"set XLA_FLAGS=--xla_force_host_platform_device_count={count} to part the processor"
    hint = parted if found[0].platform == "cpu" and is_count(count) else ""
    require(fits, "devices", f"a number from 1 to {len(found)}, the {found[0].platform} devices here", count, hint)
    return Mesh(np.array(found[:count]), ("data",))


def own_device() -> Mesh:
    """The mesh of one device of this process."""
    return Mesh(np.array(jax.local_devices()[:1]), ("data",))


def check_shared(where: str, mesh: Mesh, rows: int) -> None:
    """Raise unless the devices of ``mesh`` share ``rows`` samples evenly."""
    hint = "choose another batch size, so that the last batch fits too"
    require(rows % mesh.size == 0, where, f"batches that {mesh.size} devices share evenly", f"one of {rows}", hint)


def layout_on(mesh: Mesh, *axes: Any) -> NamedSharding:
    """The layout of an array on the devices of ``mesh``: ``axes`` names the parted axes, the others are whole."""
    automatic = Mesh(mesh.devices, mesh.axis_names)  # JAX decides where the collectives stand
    return NamedSharding(automatic, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def placed(leaf: Any, layout: NamedSharding | None = None) -> Array:
    """The array in ``layout``, where every process brings the part of its devices; without one, on one device.

    A NumPy array is copied before this returns. JAX would read its memory later, or keep it, and so see what the caller
    writes there next; ``jax.jit`` does the same with its NumPy arguments, and ``jax.numpy.array`` too.
    """
    own = leaf.copy() if isinstance(leaf, np.ndarray) else leaf
    if layout is None or layout.is_fully_addressable or getattr(leaf, "sharding", None) == layout:
        return jax.device_put(own, layout)
    return jax.make_array_from_callback(own.shape, layout, lambda index: own[index])


def keyed(leaf: Any) -> Any:
    """A :class:`Key` as a :class:`JaxKey`; any other leaf as it is."""
    return jax_key(leaf) if isinstance(leaf, Key) else leaf


def owned(leaf: Any) -> Any:
    """The leaf of a batch as a program may read it after the caller has changed it: see :func:`placed`."""
    return placed(leaf) if isinstance(leaf, np.ndarray) else keyed(leaf)


@on_node
def _register(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    def flatten_with_keys(node: Any) -> tuple[list[tuple[Any, Any]], Any]:
        children, auxiliary, names = flatten(node)
        return [*zip(map(jax.tree_util.GetAttrKey, names), children, strict=True)], auxiliary

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, lambda node: flatten(node)[:2])
