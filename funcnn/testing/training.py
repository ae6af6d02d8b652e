"""The laws of a training step."""

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import numpy as np
from toolz import last

from funcnn import tree
from funcnn.checkpoint import load_tree, save_tree
from funcnn.data import batches
from funcnn.keys import AnyKey, Key
from funcnn.layer import Params
from funcnn.testing.laws import as_dtype, extra, hold
from funcnn.testing.purity import assert_pure, assert_same, assert_same_kinds, assert_trees_close, ensure
from funcnn.training import Batch, State, count_rows, trajectory

__all__ = ["check_step"]

AnyStep: TypeAlias = Any
"""A :class:`funcnn.TrainStep`, or another callable with its ``init`` and signature."""

FEW = 3
"""The number of steps in the laws that compare two runs."""

WITHIN = MappingProxyType({"rtol": 1e-6, "atol": 1e-8})
"""The tolerance between NumPy and JAX in float64; an optimizer may magnify rounding."""


def check_step(
    step: AnyStep, params: Params, batch: Batch, *, key: Key = Key(0), steps: int = 50, jax: bool = False
) -> None:
    """Try every law of a training step, on steps that all take the same batch.

    The step is pure, counts, keeps its key, and changes no tree, shape or dtype. A saved run loads and resumes, and a
    pickled or copied step is the same step, bit for bit. With ``jax`` the compiled step is the same within rounding.

    Args:
        step: The step.
        params: The params before the first step.
        batch: The batch, of NumPy arrays.
        key: The key of the run.
        steps: The number of steps over which the laws follow the count and the kinds of the leaves.
        jax: Whether ``funcnn.jax`` must run the same step. The laws compare in float64: in float32, an optimizer that
            divides by small gradients turns rounding into large differences.

    >>> import numpy as np, funcnn as fn
    >>> model, batch = fn.dense(2), fn.Batch(np.ones((3, 4), np.float32), np.array([0, 1, 0]))
    >>> params, _ = model.init(fn.Key(0), (4,))
    >>> check_step(fn.train_step(model, fn.softmax_cross_entropy(), fn.sgd(0.1)), params, batch)
    """
    run = _Run(step, params, batch, key)
    engine = extra("funcnn.jax") if jax else None
    hold(repr(step), _laws(run, steps))
    if engine is not None:
        as_double = {"params": as_dtype(params, np.float64), "batch": as_dtype(batch, np.float64)}
        with extra("jax").enable_x64(True):
            hold(repr(step), _laws_on_jax(attrs.evolve(run, **as_double), engine))


@attrs.frozen
class _Run:
    """The run that the laws are tried on."""

    step: AnyStep
    params: Params
    batch: Batch
    key: AnyKey

    def start(self) -> tuple[Params, State]:
        return self.params, self.step.init(self.params, self.key)

    def pairs(self, steps: int = FEW) -> Iterator[tuple[Params, State]]:
        """Params and state before the first step and after each."""
        return trajectory(self.step, *self.start(), [self.batch] * steps)


def _laws(run: _Run, steps: int) -> dict[str, Callable[[], None]]:
    """The laws by name."""

    def pure() -> None:
        assert_pure(run.step.init, run.params, run.key)
        assert_pure(run.step, *run.start(), run.batch)

    def alike() -> None:
        start = named(*run.start())
        for i, pair in enumerate(run.pairs(steps)):
            found = named(*pair)
            assert_same_kinds(f"after {i} steps", found, start)
            ensure(tree.same_structure(found, start), f"after {i} steps: the nodes differ: {found} and {start}")

    def counted() -> None:
        for i, (_, state) in enumerate(run.pairs(steps)):
            ensure(state.step == i, f"state.step is {state.step} after {i} steps")
            ensure(state.key == run.key, f"state.key is {state.key} after {i} steps, and was {run.key}")

    def saved() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.safetensors"
            for pair in run.pairs():
                save_tree(path, pair)
                loaded = load_tree(path, run.start())
                assert_same("loaded", named(*loaded), named(*pair))
                after, expected = (named(*run.step(*each, run.batch)) for each in (loaded, pair))
                assert_same("a step from the loaded state", after, expected)

    def copied() -> None:
        copies = {"pickled": pickle.loads(pickle.dumps(run.step)), "copied": copy.deepcopy(run.step)}
        for how, again in copies.items():
            for found, expected in zip(attrs.evolve(run, step=again).pairs(), run.pairs(), strict=True):
                assert_same(how, named(*found), named(*expected))

    return {
        "init and step are pure": pure,
        "params and state keep tree, shapes and dtypes": alike,
        "the step counts by one and keeps its key": counted,
        "a saved run loads and continues, bit for bit": saved,
        "a pickled or copied step is the same step": copied,
    }


def named(params: Params, state: Any) -> dict[str, Any]:
    """The pair as a tree with names in its paths."""
    return {"params": params, "state": state}


def _laws_on_jax(run: _Run, engine: Any) -> dict[str, Callable[[], None]]:
    """The laws of the engine on a run in float64, by name."""

    def on_numpy() -> _Run:
        """The run on NumPy, with the random numbers of JAX."""
        return attrs.evolve(run, key=_NumbersOfJax(engine.jax_key(run.key)))

    def without_key(params: Params, state: State) -> dict[str, Any]:
        return {"params": params, "state": {name: getattr(state, name) for name in ("step", "optimizer", "metrics")}}

    def assert_close(pair: tuple[Params, State], expected: tuple[Params, State]) -> None:
        """JAX's ``pair`` has the tree of NumPy's ``expected``, and its values within rounding."""
        assert_trees_close(engine.to_numpy(without_key(*pair)), without_key(*expected), **WITHIN)

    def compiled() -> None:
        traced = []

        def step(*args: Any) -> Any:
            traced.append(args)
            return run.step(*args)

        pair, on_jax = run.start(), engine.compiled(step)
        for _ in range(FEW):
            pair = on_jax(*pair, run.batch)
        assert_close(pair, last(on_numpy().pairs()))
        ensure(len(traced) == 1, f"it is traced {len(traced)} times in {FEW} steps of one shape")

    def epoch() -> None:
        size = max(1, count_rows("check_step", run.batch) // 2)
        params, state, metrics = engine.epoch(run.step, size)(*run.start(), engine.to_jax(run.batch), run.key)
        _, *pairs = trajectory(run.step, *on_numpy().start(), batches(run.key, run.batch, size))
        assert_close((params, state), pairs[-1])
        stacked = tree.map(lambda *values: np.asarray(values), *(state.metrics for _, state in pairs))
        assert_trees_close(engine.to_numpy({"metrics": metrics}), {"metrics": stacked}, **WITHIN)

    def seeds() -> None:
        batch = engine.to_jax(run.batch)

        def end(key: AnyKey, batch: Batch) -> tuple[Params, State]:
            """The end of a run whose first params depend on the key."""
            scale = 1 + 0.01 * key.normal((), np.float64)
            params = tree.map(lambda leaf: scale * leaf, run.params)
            return last(_Run(run.step, params, batch, key).pairs(2))  # type: ignore[no-any-return]

        together = engine.over_seeds(lambda key: end(key, batch))((0, 1))
        for seed in (0, 1):
            alone = end(_NumbersOfJax(engine.jax_key(Key(seed))), run.batch)
            assert_close(tree.map(lambda leaf, i=seed: leaf[i], together), alone)

    return {
        "JAX compiles the step once, with the same result": compiled,
        "an epoch on JAX equals its steps": epoch,
        "many seeds in one JAX program equal single runs": seeds,
    }


@attrs.frozen
class _NumbersOfJax:
    """A key for NumPy that draws the numbers of JAX's key."""

    key: Any

    def at(self, *labels: Any) -> AnyKey:
        return _NumbersOfJax(self.key.at(*labels))

    def __getattr__(self, method: str) -> Callable[..., np.ndarray]:
        return lambda *args, **kwargs: np.asarray(getattr(self.key, method)(*args, **kwargs))
