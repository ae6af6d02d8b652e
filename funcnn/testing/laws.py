"""The runner of all checkers: it tries laws on random cases, and reports the smallest case that fails."""

from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shape, Shapes
from funcnn.errors import imported
from funcnn.keys import Key
from funcnn.layer import Params
from funcnn.spec import from_plain, to_plain
from funcnn.testing.purity import ensure

__all__ = ["BrokenLaw"]


class BrokenLaw(AssertionError):
    """A law that does not hold; the message names the law, the counterexample and what differs."""


@attrs.frozen
class Case:
    """One trial of a law: a key for everything random, and a batch size."""

    key: Key
    batch: int

    def array(self, label: str, shape: Shape, dtype: type = np.float64) -> Array:
        """Random values of this case; each ``label`` has its own."""
        return self.key.at(label).normal(shape, dtype)

    def for_jax(self) -> "Case":
        """The case with the batch size 3, so that JAX compiles once for all cases."""
        return attrs.evolve(self, batch=3)


Law: TypeAlias = Callable[[Case], None]

Laws: TypeAlias = Mapping[str, Law]
"""Laws by name."""

Inputs: TypeAlias = Callable[[Key, Shape], Array]
"""``inputs(key, shape)`` draws inputs in float64, or integers."""

Draw: TypeAlias = Callable[[Key, int], tuple[Array, Array]]
"""``draw(key, batch)`` gives outputs and targets in the domain of a loss or metric, floating ones in float64."""

WEIGHTS = (np.bool_, np.uint8, np.int64, np.float32, np.float64)
"""The dtypes of sample weights that are tried."""

JUNK = (np.nan, np.inf, -np.inf)
"""Values that a sample of weight 0 may hold."""


def hold(
    subject: str,
    laws: Mapping[str, Callable[..., None]],
    examples: int | None = None,
    *,
    unless: Collection[str] = (),
) -> None:
    """Try each law except those in ``unless``, on ``examples`` random cases; without ``examples`` once, without a case.

    Raises:
        AssertionError: ``unless`` names a law that does not exist.
        BrokenLaw: A law fails; the message has the smallest case that Hypothesis finds, and the error of the law.
        ModuleNotFoundError: Hypothesis is not installed.
    """
    ensure(set(unless) <= laws.keys(), f"unless names laws of {[*laws]}, not {[*unless]}")
    search = None if examples is None else _search(examples)
    for name, law in laws.items():
        if name not in unless:
            cases: list[Case] = []
            try:
                law() if search is None else search(law, cases)
            except Exception as error:
                at = f" at batch size {cases[-1].batch}, seed {cases[-1].key.seed}" if cases else ""
                found = error if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                raise BrokenLaw(f"{subject} breaks the law '{name}'{at}: {found}") from error


def _search(examples: int) -> Callable[[Law, list[Case]], None]:
    """``search(law, cases)`` finds the smallest case on which the law fails; it appends each case that it tries."""
    hypothesis = extra("hypothesis")
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    seeds, batches = hypothesis.strategies.integers(0, 2**16), hypothesis.strategies.integers(1, 5)

    def search(law: Law, cases: list[Case]) -> None:
        def attempt(seed: int, batch: int) -> None:
            cases.append(Case(Key(seed), batch))
            law(cases[-1])

        settings(hypothesis.given(seeds, batches)(attempt))()

    return search


def spec_law(name: str, subject: Any, behaviour: Callable[[Any, Case], Any]) -> Laws:
    """The law that the spec of ``subject`` builds a part with the same repr and bits; no law without a spec."""

    def law(case: Case) -> None:
        again = from_plain(to_plain(subject))
        ensure(repr(again) == repr(subject), f"built again it is {again!r}")
        ensure(tree.equal(behaviour(again, case), behaviour(subject, case)), "built again it differs")

    return {} if getattr(subject, "spec", None) is None else {name: law}


def normal_inputs(key: Key, shape: Shape) -> Array:
    """Inputs from the standard normal distribution."""
    return key.normal(shape, np.float64)


def batch_of(shape: Shapes, key: Key, batch: int, draw: Inputs) -> Any:
    """An array (batch, *shape) from ``draw``, or a tuple of arrays for a tuple of shapes."""
    if all(isinstance(size, int) for size in shape):
        return draw(key, (batch, *shape))
    return tuple(batch_of(part, key.at(i), batch, draw) for i, part in enumerate(shape))


def weighted(draw: Draw, case: Case) -> tuple[Array, Array, Array]:
    """Outputs, targets and random weights."""
    return *draw(case.key, case.batch), case.key.at("weights").uniform((case.batch,), np.float64, low=0.1)


def spoiled(draw: Draw, case: Case, junk: float) -> tuple[Any, Any, Array]:
    """Outputs, targets and weights with two more samples of weight 0, whose values are ``junk`` and labels -1."""

    def longer(leaf: Array) -> Array:
        row = np.full_like(leaf[:1], junk if leaf.dtype.kind == "f" else -1)
        return np.concatenate([row, leaf, row])

    outputs, targets, weights = weighted(draw, case)
    return tree.map(longer, outputs), tree.map(longer, targets), np.pad(weights, 1)


def repeated(values: Any, times: Array) -> Any:
    """Sample i ``times[i]`` times."""
    return tree.map(lambda leaf: np.repeat(leaf, times, axis=0), values)


def randomized(params: Params, key: Key) -> Params:
    """Random values in place of all of ``params``: zero biases would sit exactly on the kink of a ReLU.

    The values of constants are not negative, since a constant may be a variance.
    """
    leaves = enumerate(tree.leaves(params))
    drawn = tree.unflatten(params, [key.at(i).normal(leaf.shape, leaf.dtype) for i, leaf in leaves])
    return tree.with_constants(drawn, tree.map(np.abs, drawn))


def as_dtype(arrays: Any, dtype: type) -> Any:
    """A tree's floating arrays in ``dtype``, its integers as they are."""
    return tree.map(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array, arrays)


def extra(name: str) -> ModuleType:
    """A module of the extra ``test``.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to install it.
    """
    return imported("this takes the extra `test`: pip install 'funcnn[test]'", name)
