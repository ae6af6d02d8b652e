"""Programs: a step compiled for one device, for many, or for many steps or seeds at once."""

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from funcnn import tree
from funcnn.arrays import Array, release_freed_memory
from funcnn.data.batches import row_tables
from funcnn.errors import InputError, is_count, require
from funcnn.jax.keys import JaxKey, jax_key
from funcnn.jax.placing import check_shared, layout_on, on_device, own_device, owned, placed, replicated
from funcnn.keys import Key
from funcnn.layer import Params
from funcnn.training import Batch, State, Step, count_rows

__all__ = ["compiled", "epoch", "over_seeds", "scanned", "sharded"]

Measured: TypeAlias = tuple[Params, State, Mapping[str, Any]]
"""Params and state after several steps, and the metrics of each as arrays (steps,)."""


def compiled(step: Step) -> Step:
    """``step``, compiled for each shape of batch; the new params and state take the memory of the old ones.

    So a call uses up its JAX arrays: keep what it returns. NumPy arrays are copied, so you may write to them after a
    call. A batch may be any tree; a :class:`Key` in it becomes a :class:`JaxKey`.
    """
    program = _program(step, None, None)

    def call(params: Params, state: Any, batch: Any) -> tuple[Params, Any]:
        return program(params, state, tree.map(owned, batch))

    return call


def sharded(step: Step, mesh: Mesh) -> Step:
    """``step``, compiled for the devices of ``mesh``, on one host or, after ``jax.distributed.initialize``, on several.

    Every process calls it with the same arguments and the whole batch, and keeps the part of its devices. Params and
    state are the same everywhere; the gradient is the mean over all parts, by collectives that XLA inserts. A batch
    may be any tree whose arrays have the same number of samples along axis 0.

    Raises:
        InputError: At a call: the batch does not divide among the devices.
    """
    parts = layout_on(mesh, mesh.axis_names)
    program = _program(step, layout_on(mesh), parts)

    def call(params: Params, state: Any, batch: Any) -> tuple[Params, Any]:
        check_shared("sharded", mesh, _count_shared(batch))
        return program(params, state, tree.map(partial(placed, layout=parts), batch))

    return call


def scanned(step: Step, mesh: Mesh | None = None) -> Callable[[Params, State, Batch, Array], Measured]:
    """``run(params, state, samples, rows)``: a step on the samples of each row of ``rows`` (steps, batch), one program.

    It gives new params, new state, and the metrics of each step as arrays (steps,); it uses up params and state. Put
    ``samples`` on the devices first (:func:`replicated`, or :func:`to_jax` for one device). With a ``mesh`` each device
    has its part of every batch, as in :func:`sharded`; without one, the program runs on one device of this process.

    Raises:
        InputError: At a call: ``rows`` is no table of indices of samples, or does not divide among the devices.
    """
    mesh = mesh or own_device()
    same, parts = layout_on(mesh), layout_on(mesh, None, mesh.axis_names)
    program = _program(partial(scan_rows, step), same, same, parts)

    def run(params: Params, state: State, samples: Batch, rows: Array) -> Measured:
        _check_rows(rows, count_rows("scanned", samples))
        check_shared("scanned", mesh, rows.shape[1])
        (params, state), metrics = program(params, state, replicated(samples, mesh), placed(rows, parts))
        return params, state, metrics

    return run


def scan_rows(step: Step, params: Params, state: State, samples: Batch, rows: Array) -> Any:
    """The program of :func:`scanned`, before it is compiled: ``((params, state), metrics)``."""

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

    The batches are the same as on NumPy.

    Raises:
        InputError: ``batch_size`` is no positive whole number; at a call, a batch does not divide among the devices.
    """
    require(is_count(batch_size), "epoch", "a batch_size that is a positive whole number", repr(batch_size))
    mesh = mesh or own_device()
    scan = scanned(step, mesh)

    def run(params: Params, state: State, samples: Batch, key: Key) -> Measured:
        tables = row_tables(key, count_rows("epoch", samples), batch_size)
        for rows in tables:
            check_shared("epoch", mesh, rows.shape[1])
        samples, metrics = replicated(samples, mesh), []  # once for all tables
        for rows in tables:
            params, state, measured = scan(params, state, samples, rows.astype(np.int32))
            metrics.append(measured)
        return params, state, tree.map(lambda *parts: jax.numpy.concatenate(parts), *metrics)

    return run


def over_seeds(train: Callable[[JaxKey], Any]) -> Callable[[Sequence[int]], Any]:
    """``run(seeds)``: the results of ``train(key)`` for each seed, stacked along a new axis 0, in one program."""
    mapped = _fenced(jax.jit(jax.vmap(train)))

    def run(seeds: Sequence[int]) -> Any:
        return mapped(JaxKey(jax.numpy.stack([jax_key(Key(seed)).data for seed in seeds])))

    return run


def _count_shared(batch: Any) -> int:
    """The number of samples in a :class:`Batch`, or in each array of another tree."""
    if isinstance(batch, Batch):
        return count_rows("sharded", batch)
    counts = {np.shape(leaf)[:1] for leaf in tree.leaves(batch)}
    fits = len(counts) == 1 and () not in counts
    require(fits, "sharded", "a batch of arrays with the same number of samples along axis 0", sorted(counts))
    return int(next(iter(counts))[0])


def _program(
    f: Callable[..., Any], same: NamedSharding | None, *parts: NamedSharding | None
) -> Callable[..., tuple[Any, Any]]:
    """``f(params, state, *data)``, compiled; it uses up params and state, which it places in the layout ``same``.

    The data are in the layouts ``parts`` already. ``None`` means on one device, for data wherever they are.
    """
    program = _fenced(jax.jit(f, in_shardings=(same, same, *parts), out_shardings=same, donate_argnums=(0, 1)))

    def call(params: Params, state: Any, *data: Any) -> tuple[Any, Any]:
        if not all(isinstance(leaf, jax.Array) for leaf in tree.leaves((params, state))):
            named = on_device({"params": params, "state": state})  # a message has the path
            params, state = named["params"], named["state"]
            if isinstance(state, State):  # with the dtypes of a step's metrics, so that it is compiled once
                metrics = tree.map(lambda value: jax.numpy.asarray(value, value.dtype), state.metrics)
                state = State(state.step, state.key, state.optimizer, metrics)
            if same is not None:
                params, state = tree.map(partial(placed, layout=same), (params, state))
        after: tuple[Any, Any] = program(params, state, *data)
        return after

    return call


def _fenced(jitted: Any) -> Callable[..., Any]:
    """``jitted``, with less memory, and with an ``InputError`` for an untraceable layer or arrays that are used up.

    It compiles for each new shape of its last argument. Before and after, it gives freed memory back to the system: for
    a small program that is a large part of its memory.
    """
    known = set()

    def call(*arguments: Any) -> Any:
        try:
            shapes = tuple(map(np.shape, tree.leaves(arguments[-1])))
            if shapes not in known:
                lowered = jitted.lower(*arguments)
                release_freed_memory()
                lowered.compile()  # the call below finds it again
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
    """The error for a layer that JAX cannot trace: it names the place in the model, and the line."""
    notes = getattr(error, "__notes__", [])  # some are JAX's own
    places = [note for note in notes if re.fullmatch(r"\w+\[\d+\]", note)]
    libraries = [Path(str(library.__file__)).parent for library in (jax, np)]
    frames = traceback.extract_tb(error.__traceback__)
    *_, at = (frame for frame in frames if not any(map(Path(frame.filename).is_relative_to, libraries)))
    where = " ".join(reversed(places)) or "what is compiled"
    found = f"{type(error).__name__} in {at.filename}, line {at.lineno}"
    hint = "take functions of xp = funcnn.arrays.namespace(x), not NumPy's, and neither if nor float() on arrays"
    return InputError(where, "array-API expressions, which JAX can trace", found, hint)
