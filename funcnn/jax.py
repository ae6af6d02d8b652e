"""JAX: the same pure step, compiled, on one device or many.

Importing this module makes every record of funcnn, users' own too, one of JAX's trees: ``jax.jit``, ``jax.grad`` and
``jax.vmap`` take params as they are, and so does Optax. It takes the extra ``jax``.

    step   = fn.train_step(model, loss, optimizer)       the step, as on NumPy
    step   = compiled(step)                              one dispatch per step
    run    = epoch(step, batch_size)                     one dispatch an epoch, and one for a smaller last batch
    run    = scanned(step)                               the same for rows of one's own
    many   = over_seeds(train)                           many seeds in one program
    step   = sharded(step, mesh)                         each device has its part of the batch, of one host or several

>>> import funcnn as fn, numpy as np
>>> params, _ = fn.dense(3).init(fn.Key(0), (2,))
>>> jax.jit(lambda params, x: fn.predict(fn.dense(3), params, x))(params, np.ones((4, 2), np.float32)).shape
(4, 3)
"""

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from toolz import concat

from funcnn import tree
from funcnn.arrays import Array, Shape, number, release_freed_memory
from funcnn.data.batches import row_tables
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, Label, check_draw, words
from funcnn.layer import Params
from funcnn.nodes import Flatten, Unflatten, on_node
from funcnn.training import Batch, State, Step, count_rows
from funcnn.tree import record

try:
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; funcnn.jax takes the extra `jax`: pip install 'funcnn[jax]'") from None

Measured: TypeAlias = tuple[Params, State, Mapping[str, Any]]
"""Params and state after several steps, and the metrics of each as arrays (steps,)."""


@record
class JaxKey:
    """A key whose draws JAX compiles, with the methods of :class:`funcnn.Key`; other numbers than NumPy's.

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


def to_jax(values: Any) -> Any:
    """A tree's NumPy arrays as JAX arrays; numbers and keys stay as they are."""
    return tree.map(lambda leaf: _placed(leaf) if hasattr(leaf, "dtype") else leaf, values)


def to_numpy(values: Any, like: Any = None) -> Any:
    """A tree's JAX arrays as NumPy arrays, those without an axis as numbers; or, leaf by leaf, as what ``like`` has.

    With ``like`` a state gets its own :class:`Key` back, so it can be saved, or go on on NumPy.

    Raises:
        InputError: A key is not the one that ``like`` has.

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
    """A tree as a compiled step gives it back: its numbers are arrays too, and a :class:`Key` is a :class:`JaxKey`.

    Raises:
        InputError: A leaf is no array, number or key.
    """

    def placed(path: str, leaf: Any) -> Any:
        try:
            return _placed(_keyed(leaf))
        except (TypeError, ValueError):
            expected = f"an array, a number or a key at {path or 'the root'}"
            hint = "keep what is no array in the layer or optimizer, not in its params or state"
            raise InputError("on_device", expected, repr(leaf), hint) from None

    return tree.map_with_paths(placed, values)


def replicated(values: Any, mesh: Mesh) -> Any:
    """A tree of arrays as every device of ``mesh`` has it, whole; what is there already stays."""
    return tree.map(partial(_placed, layout=_layout(mesh)), values)


def compiled(step: Step) -> Step:
    """``step``, compiled for each shape of batch; the memory of the old params and state goes to the new ones.

    So the arguments are used up: keep what it gives back. NumPy arrays are copied, and stay as they are. A batch may be
    any tree; a :class:`Key` in it becomes a :class:`JaxKey`.
    """
    program = _program(step, None, None)

    def call(params: Params, state: Any, batch: Any) -> tuple[Params, Any]:
        return program(params, state, tree.map(_keyed, batch))

    return call


def sharded(step: Step, mesh: Mesh) -> Step:
    """``step``, compiled for the devices of ``mesh``, of one host or, after ``jax.distributed.initialize``, several.

    Every process calls it with the same arguments, the whole batch among them, and keeps its devices' part. Params and
    state are the same everywhere; the gradient is the mean over all parts, by the collectives that XLA puts in. A batch
    may be any tree whose arrays have as many samples along axis 0.

    Raises:
        InputError: At a call: the batch does not divide among the devices.
    """
    parts = _layout(mesh, mesh.axis_names)
    program = _program(step, _layout(mesh), parts)

    def call(params: Params, state: Any, batch: Any) -> tuple[Params, Any]:
        check_shared("sharded", mesh, _count_shared(batch))
        return program(params, state, tree.map(partial(_placed, layout=parts), batch))

    return call


def scanned(step: Step, mesh: Mesh | None = None) -> Callable[[Params, State, Batch, Array], Measured]:
    """``run(params, state, samples, rows)``: a step on the samples of each row of ``rows`` (steps, batch), one program.

    It gives new params, new state, and the metrics of each step as arrays (steps,); params and state are used up.
    ``samples`` should be on the devices already (:func:`replicated`, or :func:`to_jax` for one device). With a ``mesh``
    each of its devices has its part of every batch, as in :func:`sharded`; without one, one device of this process.

    Raises:
        InputError: At a call: ``rows`` are no table of numbers of samples, or do not divide among the devices.
    """
    mesh = mesh or _own_device()
    same, parts = _layout(mesh), _layout(mesh, None, mesh.axis_names)
    program = _program(partial(_scan, step), same, same, parts)

    def run(params: Params, state: State, samples: Batch, rows: Array) -> Measured:
        _check_rows(rows, count_rows("scanned", samples))
        check_shared("scanned", mesh, rows.shape[1])
        (params, state), metrics = program(params, state, replicated(samples, mesh), _placed(rows, parts))
        return params, state, metrics

    return run


def _scan(step: Step, params: Params, state: State, samples: Batch, rows: Array) -> Any:
    def one(carry: tuple[Params, State], row: Array) -> tuple[tuple[Params, State], Mapping[str, Any]]:
        params, state = step(*carry, tree.map(lambda leaf: leaf[row], samples))
        return (params, state), state.metrics

    return jax.lax.scan(one, (params, state), rows)


def _check_rows(rows: Array, samples: int) -> None:
    fits = getattr(rows, "ndim", 0) == 2 and rows.size > 0 and jax.numpy.issubdtype(rows.dtype, jax.numpy.integer)
    require(fits, "scanned", "rows (steps, batch), whole numbers", getattr(rows, "shape", repr(rows)))
    known = not isinstance(rows, np.ndarray) or 0 <= int(rows.min()) <= int(rows.max()) < samples
    require(known, "scanned", f"rows from 0 to {samples - 1}, as there are samples", "others")


def epoch(step: Step, batch_size: int, mesh: Mesh | None = None) -> Callable[[Params, State, Batch, Key], Measured]:
    """``run(params, state, samples, key)``: the steps of ``batches(key, samples, batch_size)``, :func:`scanned`.

    The batches are those of the NumPy engine.

    Raises:
        InputError: ``batch_size`` is no positive whole number; at a call, a batch does not divide among the devices.
    """
    require(is_count(batch_size), "epoch", "a batch_size that is a positive whole number", repr(batch_size))
    mesh = mesh or _own_device()
    scan = scanned(step, mesh)

    def run(params: Params, state: State, samples: Batch, key: Key) -> Measured:
        tables = row_tables(key, count_rows("epoch", samples), batch_size)
        for rows in tables:
            check_shared("epoch", mesh, rows.shape[1])
        metrics = []
        for rows in tables:
            params, state, measured = scan(params, state, samples, rows.astype(np.int32))
            metrics.append(measured)
        return params, state, tree.map(lambda *parts: jax.numpy.concatenate(parts), *metrics)

    return run


def over_seeds(train: Callable[[JaxKey], Any]) -> Callable[[Sequence[int]], Any]:
    """``run(seeds)``: what ``train(key)`` gives for each seed, stacked along a new axis 0, as one program."""
    mapped = _fenced(jax.jit(jax.vmap(train)))

    def run(seeds: Sequence[int]) -> Any:
        return mapped(JaxKey(jax.numpy.stack([jax_key(Key(seed)).data for seed in seeds])))

    return run


def first_devices(count: int | None = None) -> Mesh:
    """The mesh of the first ``count`` devices there are, on all hosts; of all of them unless told.

    Raises:
        InputError: There are fewer.
    """
    found = jax.devices()
    fits = count is None or (is_count(count) and count <= len(found))
    parted = f"set XLA_FLAGS=--xla_force_host_platform_device_count={count} to part the processor"
    hint = parted if found[0].platform == "cpu" and is_count(count) else ""
    require(fits, "devices", f"a number from 1 to {len(found)}, the {found[0].platform} devices here", count, hint)
    return Mesh(np.array(found[:count]), ("data",))


def _own_device() -> Mesh:
    return Mesh(np.array(jax.local_devices()[:1]), ("data",))


def check_shared(where: str, mesh: Mesh, rows: int) -> None:
    """Raise unless the devices of ``mesh`` share ``rows`` samples evenly."""
    hint = "choose another batch size, so that the last batch fits too"
    require(rows % mesh.size == 0, where, f"batches that {mesh.size} devices share evenly", f"one of {rows}", hint)


def _count_shared(batch: Any) -> int:
    """The number of samples in a :class:`Batch`, or in all arrays of another tree."""
    if isinstance(batch, Batch):
        return count_rows("sharded", batch)
    counts = {np.shape(leaf)[:1] for leaf in tree.leaves(batch)}
    fits = len(counts) == 1 and () not in counts
    require(fits, "sharded", "a batch of arrays with the same number of samples along axis 0", sorted(counts))
    return int(next(iter(counts))[0])


def _layout(mesh: Mesh, *axes: Any) -> NamedSharding:
    """How an array lies on the devices of ``mesh``: its axes are parted as ``axes`` says, the others are whole."""
    automatic = Mesh(mesh.devices, mesh.axis_names)  # JAX decides where the collectives stand
    return NamedSharding(automatic, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _placed(leaf: Any, layout: NamedSharding | None = None) -> Array:
    """The array as ``layout`` says, of which every process brings its devices' part; without one, on one device."""
    if layout is None:  # in memory of its own: others may write to that of NumPy's array
        return jax.numpy.array(leaf) if isinstance(leaf, np.ndarray) else jax.device_put(leaf)
    if layout.is_fully_addressable or getattr(leaf, "sharding", None) == layout:
        return jax.device_put(leaf, layout)
    return jax.make_array_from_callback(leaf.shape, layout, lambda index: leaf[index])


def _keyed(leaf: Any) -> Any:
    return jax_key(leaf) if isinstance(leaf, Key) else leaf


def _program(
    f: Callable[..., Any], same: NamedSharding | None, *parts: NamedSharding | None
) -> Callable[..., tuple[Any, Any]]:
    """``f(params, state, *data)``, compiled; params and state are placed as ``same`` says, and used up.

    The data lie as ``parts`` says already. ``None`` means wherever they are, or on one device.
    """
    program = _fenced(jax.jit(f, in_shardings=(same, same, *parts), out_shardings=same, donate_argnums=(0, 1)))

    def call(params: Params, state: Any, *data: Any) -> tuple[Any, Any]:
        if not all(isinstance(leaf, jax.Array) for leaf in tree.leaves((params, state))):
            placed = on_device({"params": params, "state": state})  # named, for the path in a message
            params, state = placed["params"], placed["state"]
            if isinstance(state, State):  # metrics of the dtype that a step gives, so that it is compiled once
                metrics = tree.map(lambda value: jax.numpy.asarray(value, value.dtype), state.metrics)
                state = State(state.step, state.key, state.optimizer, metrics)
            if same is not None:
                params, state = tree.map(partial(_placed, layout=same), (params, state))
        after: tuple[Any, Any] = program(params, state, *data)
        return after

    return call


def _fenced(jitted: Any) -> Callable[..., Any]:
    """``jitted``, with less memory and with our words for what JAX raises; its results are the same.

    What was freed before a compilation, and what it took itself, goes back to the system: of a small program's memory
    that is a good part. It compiles anew for new shapes of its last argument; those of the others stay.
    """
    known = set()

    def call(*arguments: Any) -> Any:
        try:
            shapes = tuple(map(np.shape, tree.leaves(arguments[-1])))
            if shapes not in known:
                lowered = jitted.lower(*arguments)
                release_freed_memory()
                lowered.compile()  # which the call finds again
                release_freed_memory()
                known.add(shapes)
            return jitted(*arguments)
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
            raise _not_traceable(error) from error
        except (RuntimeError, ValueError) as error:
            if any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in tree.leaves(arguments[:2])):
                hint = "keep what it gives back: params, state = step(params, state, batch)"
                raise InputError("a compiled step", "params and state", "some that a step has used up", hint) from error
            raise

    return call


def _not_traceable(error: Exception) -> InputError:
    """What to say of a layer that JAX cannot trace: its place in the model, and its line."""
    notes = getattr(error, "__notes__", [])  # those of JAX among them
    places = [note for note in notes if re.fullmatch(r"\w+\[\d+\]", note)]
    libraries = [Path(str(library.__file__)).parent for library in (jax, np)]
    frames = traceback.extract_tb(error.__traceback__)
    *_, at = (frame for frame in frames if not any(map(Path(frame.filename).is_relative_to, libraries)))
    where = " ".join(reversed(places)) or "what is compiled"
    found = f"{type(error).__name__} in {at.filename}, line {at.lineno}"
    hint = "take functions of xp = funcnn.arrays.namespace(x), not NumPy's, and neither if nor float() on arrays"
    return InputError(where, "array-API expressions, which JAX can trace", found, hint)


@on_node
def _register(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    def flatten_with_keys(node: Any) -> tuple[list[tuple[Any, Any]], Any]:
        children, auxiliary, names = flatten(node)
        return [*zip(map(jax.tree_util.GetAttrKey, names), children, strict=True)], auxiliary

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, lambda node: flatten(node)[:2])
