"""The laws of a training step."""

import copy
import importlib
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
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
from funcnn.testing.laws import BrokenLaw, as_dtype, jax_module
from funcnn.testing.purity import assert_pure, assert_trees_close, ensure
from funcnn.training import Batch, State, count_rows, trajectory

__all__ = ["check_step"]

AnyStep: TypeAlias = Any
"""A :class:`funcnn.TrainStep`, or whatever has its ``init`` and is called as it is."""

FEW = 3
"""How many steps are enough for the laws that compare two runs."""

WITHIN = MappingProxyType({"rtol": 1e-6, "atol": 1e-8})
"""The rounding between NumPy and JAX in float64, which an optimizer may magnify."""


def check_step(
    step: AnyStep, params: Params, batch: Batch, *, key: Key = Key(0), steps: int = 50, jax: bool = False
) -> None:
    """Try every law of a training step, on steps that all take the same batch.

    The step is pure, counts, keeps its key, and changes no tree, shape or dtype. A saved run loads and goes on, and a
    pickled or copied step is the same one, bit for bit. With ``jax`` the compiled step is the same within rounding.

    Args:
        step: The step.
        params: The params before the first step.
        batch: The batch, of NumPy arrays.
        key: The key of the run.
        steps: How many steps the count and the kinds of the leaves are followed.
        jax: Whether ``funcnn.jax`` must run the same step. That is compared in float64: in float32 an optimizer that
            divides by small gradients makes large differences of rounding.

    Raises:
        BrokenLaw: At the first that fails; it names the law and the leaf.

    >>> import numpy as np, funcnn as fn
    >>> model, batch = fn.dense(2), fn.Batch(np.ones((3, 4), np.float32), np.array([0, 1, 0]))
    >>> params, _ = model.init(fn.Key(0), (4,))
    >>> check_step(fn.train_step(model, fn.softmax_cross_entropy(), fn.sgd(0.1)), params, batch)
    """
    run = _Run(step, params, batch, key)
    for name, law in step_laws(steps=steps, jax=jax).items():
        try:
            law(run)
        except Exception as error:
            raise BrokenLaw(f"{step!r} breaks the law '{name}': {error}") from error


def step_laws(*, steps: int, jax: bool) -> Mapping[str, "Callable[[_Run], None]"]:
    """The laws by name."""
    laws: dict[str, Callable[[_Run], None]] = {
        "init and step are pure": _purity,
        "params and state keep tree, shapes and dtypes": partial(_kinds, steps),
        "the step counts by one and keeps its key": partial(_counter, steps),
        "a saved run loads and goes on, bit for bit": _saved,
        "a pickled or copied step is the same step": _copied,
    }
    if jax:
        jax_module()  # which says what to install
        laws |= {
            "JAX compiles the step once, and it is the same": _compiled,
            "an epoch on JAX is its steps": _epoch,
            "seeds on JAX in one program are single runs": _seeds,
        }
    return laws


@attrs.frozen
class _Run:
    """What the laws are about."""

    step: AnyStep
    params: Params
    batch: Batch
    key: AnyKey

    def start(self) -> tuple[Params, State]:
        return self.params, self.step.init(self.params, self.key)

    def pairs(self, steps: int = FEW) -> Iterator[tuple[Params, State]]:
        """Params and state before the first step and after each."""
        return trajectory(self.step, *self.start(), [self.batch] * steps)


def _purity(run: _Run) -> None:
    assert_pure(run.step.init, run.params, run.key)
    assert_pure(run.step, *run.start(), run.batch)


def _counter(steps: int, run: _Run) -> None:
    for i, (_, state) in enumerate(run.pairs(steps)):
        ensure(state.step == i, f"state.step is {state.step} after {i} steps")
        ensure(state.key == run.key, f"state.key is {state.key} after {i} steps, and was {run.key}")


def _kinds(steps: int, run: _Run) -> None:
    for i, pair in enumerate(run.pairs(steps)):
        unlike = tree.unlike(_named(*run.start()), _named(*pair))
        wrong = [f"{path} is {found} instead of {expected}" for path, expected, found in unlike]
        ensure(not wrong, f"after {i} steps {'; '.join(wrong)}")
        ensure(tree.same_structure(pair, run.start()), f"after {i} steps the nodes differ: {pair} and {run.start()}")


def _saved(run: _Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        for pair in run.pairs():
            save_tree(path, pair)
            loaded = load_tree(path, run.start())
            _assert_same("loaded", loaded, pair)
            _assert_same("after a step from what was loaded", run.step(*loaded, run.batch), run.step(*pair, run.batch))


def _copied(run: _Run) -> None:
    for how, again in {"pickled": pickle.loads(pickle.dumps(run.step)), "copied": copy.deepcopy(run.step)}.items():
        for found, expected in zip(attrs.evolve(run, step=again).pairs(), run.pairs(), strict=True):
            _assert_same(how, found, expected)


def _assert_same(when: str, found: Any, expected: Any) -> None:
    """Every bit is the same, but for NaN, of which JSON keeps no bits."""
    ensure(tree.same_structure(found, expected), f"{when}, the trees differ: {found} and {expected}")
    for (path, a), (_, b) in zip(*(tree.leaves_with_paths(_named(*each)) for each in (found, expected)), strict=True):
        both_nan = isinstance(a, float) and isinstance(b, float) and a != a and b != b
        ensure(tree.kind(a) == tree.kind(b) and (both_nan or tree.equal(a, b)), f"{when}, {path} is {a} instead of {b}")


def _named(params: Params, state: State) -> dict[str, Any]:
    return {"params": params, "state": state}


def _compiled(run: _Run) -> None:
    traced = []

    def step(params: Params, state: State, batch: Batch) -> tuple[Params, State]:
        traced.append(batch)
        return run.step(params, state, batch)  # type: ignore[no-any-return]

    with jax_module().enable_x64(True):
        run = _in_double(run)
        pair, compiled = run.start(), _engine().compiled(step)
        for _ in range(FEW):
            pair = compiled(*pair, run.batch)
        _assert_close(pair, last(_on_numpy(run).pairs()))
    ensure(len(traced) == 1, f"it is traced {len(traced)} times in {FEW} steps of one shape")


def _epoch(run: _Run) -> None:
    size = max(1, count_rows("check_step", run.batch) // 2)
    with jax_module().enable_x64(True):
        run, engine = _in_double(run), _engine()
        params, state, metrics = engine.epoch(run.step, size)(*run.start(), engine.to_jax(run.batch), run.key)
        _, *pairs = trajectory(run.step, *_on_numpy(run).start(), batches(run.key, run.batch, size))
        _assert_close((params, state), pairs[-1])
        stacked = tree.map(lambda *values: np.asarray(values), *(state.metrics for _, state in pairs))
        assert_trees_close(engine.to_numpy({"metrics": metrics}), {"metrics": stacked}, **WITHIN)


def _seeds(run: _Run) -> None:
    with jax_module().enable_x64(True):
        run, engine, seeds = _in_double(run), _engine(), (0, 1)

        def beginning(key: AnyKey, batch: Batch) -> _Run:
            """The run of a seed, with params of its own."""
            scale = 1 + 0.01 * key.normal((), np.float64)
            return _Run(run.step, tree.map(lambda leaf: scale * leaf, run.params), batch, key)

        batch = engine.to_jax(run.batch)
        together = engine.over_seeds(lambda key: last(beginning(key, batch).pairs(2)))(seeds)
        for i, seed in enumerate(seeds):
            alone = beginning(_NumbersOfJax(engine.jax_key(Key(seed))), run.batch)
            _assert_close(tree.map(lambda leaf, i=i: leaf[i], together), last(alone.pairs(2)))


def _assert_close(pair: tuple[Params, State], expected: tuple[Params, State]) -> None:
    """``pair`` of JAX has the tree of NumPy's, and its values within rounding."""
    assert_trees_close(_engine().to_numpy(_without_key(*pair)), _without_key(*expected), **WITHIN)


def _without_key(params: Params, state: State) -> dict[str, Any]:
    return {
        "params": params,
        "state": {"step": state.step, "optimizer": state.optimizer, "metrics": state.metrics},
    }


def _in_double(run: _Run) -> _Run:
    return attrs.evolve(run, params=as_dtype(run.params, np.float64), batch=as_dtype(run.batch, np.float64))


def _on_numpy(run: _Run) -> _Run:
    """The run with the random numbers that it has on JAX."""
    return attrs.evolve(run, key=_NumbersOfJax(_engine().jax_key(run.key)))


@attrs.frozen
class _NumbersOfJax:
    """A key for NumPy that draws what the key of JAX draws."""

    key: Any

    def at(self, *labels: Any) -> AnyKey:
        return _NumbersOfJax(self.key.at(*labels))

    def __getattr__(self, method: str) -> Callable[..., np.ndarray]:
        return lambda *args, **kwargs: np.asarray(getattr(self.key, method)(*args, **kwargs))


def _engine() -> Any:
    return importlib.import_module("funcnn.jax")  # here, since not everyone has it
