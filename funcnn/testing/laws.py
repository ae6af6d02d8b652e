"""How a law is tried: on random cases, the smallest failing one reported."""

import importlib
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shape, Shapes
from funcnn.keys import Key
from funcnn.layer import Params
from funcnn.spec import from_plain, to_plain
from funcnn.testing.purity import ensure

__all__ = ["BrokenLaw"]


class BrokenLaw(AssertionError):
    """A law that does not hold; the message names the law, the counter-example and what differs."""


@attrs.frozen
class Case:
    """What a law is tried on: a key for everything random, and a batch size."""

    key: Key
    batch: int

    def array(self, label: str, shape: Shape, dtype: type = np.float64) -> Array:
        """Random values for ``label``, of this case alone."""
        return self.key.at(label).normal(shape, dtype)

    def for_jax(self) -> "Case":
        """The same with one batch size for all cases: JAX compiles for every shape anew."""
        return attrs.evolve(self, batch=3)


Law: TypeAlias = Callable[[Case], None]

Inputs: TypeAlias = Callable[[Key, Shape], Array]
"""``inputs(key, shape)`` draws inputs in float64, or integers."""

Draw: TypeAlias = Callable[[Key, int], tuple[Array, Array]]
"""``draw(key, batch)`` gives outputs and targets in the domain of a loss or metric, floating ones in float64."""


def normal_inputs(key: Key, shape: Shape) -> Array:
    """Inputs from the standard normal distribution."""
    return key.normal(shape, np.float64)


def batch_of(shape: Shapes, key: Key, batch: int, draw: Inputs) -> Any:
    """An array (batch, *shape) that ``draw`` makes, or a tuple of arrays for a tuple of shapes."""
    if all(isinstance(size, int) for size in shape):
        return draw(key, (batch, *shape))
    return tuple(batch_of(part, key.at(i), batch, draw) for i, part in enumerate(shape))


def spoiled(draw: Draw, case: Case, junk: float) -> tuple[Any, Any, Array]:
    """Outputs, targets and weights with two samples more, whose weight is 0: of ``junk``, or labels that are none."""

    def longer(leaf: Array) -> Array:
        row = np.full_like(leaf[:1], junk if leaf.dtype.kind == "f" else -1)
        return np.concatenate([row, leaf, row])

    outputs, targets, weights = weighted(draw, case)
    return tree.map(longer, outputs), tree.map(longer, targets), np.pad(weights, 1)


def repeated(values: Any, times: Array) -> Any:
    """Each sample as many times."""
    return tree.map(lambda leaf: np.repeat(leaf, times, axis=0), values)


WEIGHTS = (np.bool_, np.uint8, np.int64, np.float32, np.float64)
"""The dtypes of sample weights that are tried."""


def weighted(draw: Draw, case: Case) -> tuple[Array, Array, Array]:
    """Outputs, targets and random weights."""
    return *draw(case.key, case.batch), case.key.at("weights").uniform((case.batch,), np.float64, low=0.1)


def hold(subject: object, laws: Mapping[str, Law], examples: int, *, unless: Collection[str] = ()) -> None:
    """Try each law on ``examples`` cases, but those that ``unless`` names.

    Raises:
        AssertionError: There is no law of such a name.
        BrokenLaw: At the first law that fails, with the smallest case that Hypothesis finds.
        ModuleNotFoundError: Hypothesis is not installed.
    """
    ensure(set(unless) <= laws.keys(), f"unless names laws of {[*laws]}, not {[*unless]}")
    for name, law in laws.items():
        if name not in unless:
            _try(subject, name, law, examples)


def randomized(params: Params, key: Key) -> Params:
    """Random values in place of all of ``params``: zero biases would sit exactly on the kink of a ReLU."""
    leaves = enumerate(tree.leaves(params))
    return tree.unflatten(params, [key.at(i).normal(leaf.shape, leaf.dtype) for i, leaf in leaves])


def as_dtype(arrays: Any, dtype: type) -> Any:
    """A tree's floating arrays in ``dtype``, its integers as they are."""
    return tree.map(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array, arrays)


def check_spec(subject: Any, behaviour: Callable[[Any], Any]) -> None:
    """What the spec of ``subject`` builds again reads the same and behaves the same, bit for bit.

    Raises:
        AssertionError: It does not.
    """
    again = from_plain(to_plain(subject))
    ensure(repr(again) == repr(subject), f"built again it is {again!r}")
    ensure(tree.equal(behaviour(again), behaviour(subject)), "built again it differs")


def _try(subject: object, name: str, law: Law, examples: int) -> None:
    hypothesis = _imported("hypothesis")
    case = Case(Key(0), 1)

    def attempt(seed: int, batch: int) -> None:
        nonlocal case  # Hypothesis runs the smallest failing case last
        case = Case(Key(seed), batch)
        law(case)

    cases = hypothesis.given(hypothesis.strategies.integers(0, 2**16), hypothesis.strategies.integers(1, 5))
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    try:
        settings(cases(attempt))()
    except Exception as error:
        text = f"{subject!r} breaks the law '{name}' at batch size {case.batch}, seed {case.key.seed}: {error}"
        raise BrokenLaw(text) from error


def jax_module() -> ModuleType:
    """JAX, where a law takes it.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    return _imported("jax")


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; this takes the extra `test`: pip install 'funcnn[test]'") from None
