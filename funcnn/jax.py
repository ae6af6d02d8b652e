"""JAX: the same pure step, compiled, on one device or many.

Importing this module makes every record of funcnn, users' own too, one of JAX's trees: ``jax.jit``, ``jax.grad`` and
``jax.vmap`` take params as they are, and so does Optax. It takes the extra ``jax``.

    step   = fn.train_step(model, loss, optimizer)       the step, as on NumPy
    step   = compiled(step)                              one dispatch a step
    run    = epoch(step, batch_size)                     one dispatch an epoch
    many   = over_seeds(train)                           many seeds in one program
    step   = sharded(step, mesh)                         each device has its part of the batch, of one host or several

>>> import funcnn as fn, numpy as np
>>> params, _ = fn.dense(3).init(fn.Key(0), (2,))
>>> jax.jit(lambda params, x: fn.predict(fn.dense(3), params, x))(params, np.ones((4, 2), np.float32)).shape
(4, 3)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shape, number
from funcnn.errors import is_count, require
from funcnn.keys import Key, Label, words
from funcnn.layer import Params
from funcnn.training import Batch, State, Step, count_rows
from funcnn.tree import record

try:
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; funcnn.jax takes the extra `jax`: pip install 'funcnn[jax]'") from None


@record
class JaxKey:
    """A key whose draws JAX compiles, with the methods of :class:`funcnn.Key`; other numbers than NumPy's.

    Attributes:
        data: A typed key of ``jax.random``.
    """

    data: Any

    def at(self, *labels: Label | Array) -> "JaxKey":
        """The child at ``labels``: strings, whole numbers, or a traced number, such as the step of a state."""
        return JaxKey(reduce(_child, labels, self.data))

    def normal(self, shape: Shape, dtype: Any = np.float32) -> Array:
        """Independent draws from the standard normal distribution."""
        return jax.random.normal(self.data, shape, dtype)

    def uniform(self, shape: Shape, dtype: Any = np.float32, *, low: float = 0.0, high: float = 1.0) -> Array:
        """Independent draws from the uniform distribution on [low, high)."""
        return jax.random.uniform(self.data, shape, dtype, low, high)

    def bernoulli(self, p: float, shape: Shape) -> Array:
        """Independent booleans that are true with probability ``p``."""
        return jax.random.bernoulli(self.data, p, shape)

    def permutation(self, n: int) -> Array:
        """The numbers 0 to ``n - 1`` in random order."""
        return jax.random.permutation(self.data, n)


def jax_key(key: Key) -> JaxKey:
    """The key of the same seed and path.

    >>> bool(jax_key(Key(0).at("a", 1)).normal(()) == jax_key(Key(0)).at("a").at(1).normal(()))
    True
    """
    root = jax.random.fold_in(jax.random.key(key.seed & 0xFFFFFFFF), key.seed >> 32)
    return JaxKey(root).at(*key.path)


def to_jax(values: Any) -> Any:
    """A tree's NumPy arrays as JAX arrays; numbers and keys stay as they are."""
    return tree.map(lambda leaf: jax.numpy.asarray(leaf) if hasattr(leaf, "dtype") else leaf, values)


def to_numpy(values: Any) -> Any:
    """A tree's JAX arrays as NumPy arrays; numbers and keys stay as they are.

    A state that is to be saved, or to go on on NumPy, takes its own :class:`Key` back: it never changes in a run.
    """
    return tree.map(_to_numpy, values)


def on_device(values: Any) -> Any:
    """A tree as a compiled step gives it back: its numbers are arrays too, and a :class:`Key` is a :class:`JaxKey`."""
    return tree.map(lambda leaf: jax_key(leaf) if isinstance(leaf, Key) else jax.numpy.asarray(leaf), values)


def compiled(step: Step) -> Step:
    """``step``, compiled for each shape of batch; the memory of the old params and state goes to the new ones.

    So the arguments are used up: keep what it gives back. NumPy arrays are copied, and stay as they are.
    """
    jitted: Step = jax.jit(step, donate_argnums=(0, 1))

    def call(params: Params, state: State, batch: Batch) -> tuple[Params, State]:
        return jitted(*_ready(step, params, state, batch), batch)

    return call


def epoch(
    step: Step, batch_size: int
) -> Callable[[Params, State, Batch, Key], tuple[Params, State, Mapping[str, Any]]]:
    """``run(params, state, samples, key)``: the steps of ``batches(key, samples, batch_size)`` as one program.

    It gives new params, new state, and the metrics of each step as arrays (steps,). ``samples`` should be on the
    device already (:func:`to_jax`). The batches are those of the NumPy engine; params and state are used up.
    """
    require(is_count(batch_size), "epoch", "a batch_size that is a positive whole number", repr(batch_size))
    scanned = jax.jit(partial(_scan, step), donate_argnums=(0, 1))

    def run(params: Params, state: State, samples: Batch, key: Key) -> tuple[Params, State, Mapping[str, Any]]:
        order = key.permutation(count_rows("epoch", samples)).astype(np.int32)
        whole = len(order) // batch_size * batch_size
        pieces = [order[:whole].reshape(-1, batch_size), order[None, whole:]]
        first = tree.map(lambda leaf: leaf[: min(batch_size, len(order))], samples)
        params, state = _ready(step, params, state, first)
        told = []
        for rows in pieces:
            if rows.size:
                (params, state), metrics = scanned(params, state, samples, rows)
                told.append(metrics)
        return params, state, tree.map(lambda *parts: jax.numpy.concatenate(parts), *told)

    return run


def over_seeds(train: Callable[[JaxKey], Any]) -> Callable[[Sequence[int]], Any]:
    """``run(seeds)``: what ``train(key)`` gives for each seed, stacked along a new axis 0, as one program."""
    mapped = jax.jit(jax.vmap(train))

    def run(seeds: Sequence[int]) -> Any:
        keys = [jax_key(Key(seed)).data for seed in seeds]
        return mapped(JaxKey(jax.numpy.stack(keys)))

    return run


def sharded(step: Step, mesh: Mesh) -> Step:
    """``step``, compiled for the devices of ``mesh``, of one host or, after ``jax.distributed.initialize``, several.

    Every process calls it with the same arguments, the whole batch among them, and keeps its devices' part. Params and
    state are the same everywhere; the gradient is the mean over all parts, by the collectives that XLA puts in.

    Raises:
        InputError: At a call: the batch does not divide among the devices.
    """
    mesh = Mesh(mesh.devices, mesh.axis_names)  # JAX decides where the collectives stand, whatever mesh was given
    same = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
    parts = NamedSharding(mesh, PartitionSpec(mesh.axis_names))  # type: ignore[no-untyped-call]
    jitted: Step = jax.jit(step, in_shardings=(same, same, parts), out_shardings=same, donate_argnums=(0, 1))

    def call(params: Params, state: State, batch: Batch) -> tuple[Params, State]:
        rows = count_rows("sharded", batch)
        hint = "choose another batch size, and leave the last batch out"
        require(rows % mesh.size == 0, "sharded", f"a batch that {mesh.size} devices share evenly", rows, hint)
        if isinstance(state.key, Key):
            params, state = tree.map(partial(_placed, same), _ready(step, params, state, batch))
        return jitted(params, state, tree.map(partial(_placed, parts), batch))

    return call


def _child(data: Any, label: Label | Array) -> Any:
    """Folds in the words that :class:`funcnn.Key` makes of a label; a traced number is one of 32 bits."""
    known = words(label) if isinstance(label, int | str) else (0, label, 0)
    return reduce(jax.random.fold_in, known, data)


def _to_numpy(leaf: Any) -> Any:
    is_key = hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key or not hasattr(leaf, "dtype") else number(jax.device_get(leaf))


def _ready(step: Step, params: Params, state: State, batch: Batch) -> tuple[Params, State]:
    """On the device, with metrics as ``step`` gives them, so that it is compiled once; what has been there stays."""
    if not isinstance(state.key, Key):
        return params, state
    params, state = on_device((params, state))
    _, told = jax.eval_shape(step, params, state, batch)
    metrics = tree.map(lambda like: jax.numpy.full(like.shape, np.nan, like.dtype), told.metrics)
    return params, State(state.step, state.key, state.optimizer, metrics)


def _placed(sharding: NamedSharding, leaf: Array) -> Array:
    """The array laid out by ``sharding``; every process brings what its devices hold."""
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])


def _scan(
    step: Step, params: Params, state: State, samples: Batch, order: Array
) -> tuple[tuple[Params, State], Mapping[str, Any]]:
    def one(carry: tuple[Params, State], rows: Array) -> tuple[tuple[Params, State], Mapping[str, Any]]:
        params, state = step(*carry, tree.map(lambda leaf: leaf[rows], samples))
        return (params, state), state.metrics

    return jax.lax.scan(one, (params, state), order)


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
