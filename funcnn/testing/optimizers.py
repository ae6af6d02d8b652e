"""The laws of optimizers and schedules."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.errors import InputError
from funcnn.layer import Params
from funcnn.optimizers import Optimizer, apply_updates
from funcnn.spec import Described
from funcnn.testing.laws import Case, Law, as_dtype, check_spec, hold, jax_module
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close, ensure
from funcnn.training import AnyOptimizer

__all__ = ["check_optimizer", "check_schedule"]

STEPS = 50
"""How many updates a law follows."""


def check_optimizer(
    optimizer: Optimizer, *, oracle: AnyOptimizer | None = None, unless: Collection[str] = (), examples: int = 5
) -> None:
    """Try every law of an optimizer on random params and gradients.

    Args:
        optimizer: The optimizer.
        oracle: Another one, of Optax for instance, whose steps it must take.
        unless: The laws that it breaks on purpose: weight decay moves params without a gradient, and clipping by
            the global norm looks at the whole tree.
        examples: On how many cases each law is tried.

    Raises:
        BrokenLaw: At the first that fails; it names the law, the smallest case and the leaf.

    >>> import funcnn as fn
    >>> check_optimizer(fn.adam(0.01))
    """
    hold(optimizer, optimizer_laws(optimizer, oracle=oracle), examples, unless=unless)


def optimizer_laws(optimizer: Optimizer, *, oracle: AnyOptimizer | None = None) -> Mapping[str, Law]:
    """The laws by name."""
    laws: dict[str, Callable[[Optimizer, Case], None]] = {
        "init and update are pure": _purity,
        "updates and state keep structure, shape and dtype for 50 steps": _shapes,
        "zero gradients give exactly zero updates": _zero,
        "a quadratic descends": _descent,
        "a leaf's update does not depend on the tree around it": _leaves,
        "gradients unlike the params are refused": _refusal,
    }
    if oracle is not None:
        laws["50 steps are those of the oracle"] = partial(_oracle, oracle)
    return _bound(laws, optimizer, lambda optimizer, case: _steps(optimizer, case, np.float32)[-1])


def check_schedule(schedule: Callable[[Any], Any], *, jax: bool = False, examples: int = 10) -> None:
    """Try every law of a schedule; with ``jax``, that JAX traces it too.

    Raises:
        BrokenLaw: At the first that fails; it names the law and the step.

    >>> import funcnn as fn
    >>> check_schedule(fn.inverse_time_decay(0.1, decay=0.01))
    """
    hold(schedule, schedule_laws(schedule, jax=jax), examples)


def schedule_laws(schedule: Callable[[Any], Any], *, jax: bool = False) -> Mapping[str, Law]:
    """The laws by name."""
    laws: dict[str, Callable[[Any, Case], None]] = {
        "the value is a finite float of at least 0": _values,
    }
    if jax:
        laws["JAX traces it"] = _traces
    return _bound(laws, schedule, lambda schedule, case: schedule(case.key.seed))


def _bound(
    laws: Mapping[str, Callable[[Any, Case], None]], subject: Any, behaviour: Callable[[Any, Case], Any]
) -> dict[str, Law]:
    """The laws of this subject, with the spec's where it has one."""
    if isinstance(subject, Described) and subject.spec is not None:
        laws = {
            **laws,
            "the spec builds the same again": lambda subject, case: check_spec(
                subject, lambda made: behaviour(made, case)
            ),
        }
    return {name: partial(law, subject) for name, law in laws.items()}


def _params(case: Case, dtype: type = np.float32, label: str = "params") -> Params:
    weights, biases = ((case.batch, 3), (3,))
    return {"weights": case.array(f"{label} w", weights, dtype), "biases": (case.array(f"{label} b", biases, dtype),)}


def _steps(optimizer: AnyOptimizer, case: Case, dtype: type) -> list[tuple[Params, Params, Any]]:
    """Params, updates and state of :data:`STEPS` steps with random gradients."""
    params = _params(case, dtype)
    state, steps = optimizer.init(params), []
    for i in range(STEPS):
        updates, state = optimizer.update(_params(case, dtype, f"grads {i}"), state, params)
        params = apply_updates(params, updates)
        steps.append((params, updates, state))
    return steps


def _purity(optimizer: Optimizer, case: Case) -> None:
    params, grads = _params(case), _params(case, label="grads")
    assert_pure(optimizer.init, params)
    assert_pure(optimizer.update, grads, optimizer.init(params), params)


def _shapes(optimizer: Optimizer, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        start = _params(case, dtype)
        for params, updates, state in _steps(optimizer, case, dtype):
            assert_trees_alike(updates, start)
            assert_trees_alike(params, start)
            assert_trees_alike(state, optimizer.init(start))


def _zero(optimizer: Optimizer, case: Case) -> None:
    params = _params(case)
    zeros, state = tree.map(np.zeros_like, params), optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(zeros, state, params)
        for path, leaf in tree.leaves_with_paths(updates):
            ensure(not np.any(leaf), f"the update of {path} is {leaf}")


def _descent(optimizer: Optimizer, case: Case) -> None:
    """On |params|^2 / 2, whose gradient is the params themselves."""
    params = start = _params(case, np.float64)
    state = optimizer.init(params)
    for _ in range(STEPS):
        updates, state = optimizer.update(params, state, params)
        params = apply_updates(params, updates)
    before, after = (sum(float(np.sum(leaf**2)) for leaf in tree.leaves(end)) for end in (start, params))
    ensure(after < before, f"the sum of squares goes from {before:.3g} to {after:.3g}")


def _leaves(optimizer: Optimizer, case: Case) -> None:
    params, grads = _params(case), _params(case, label="grads")
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    alone, _ = optimizer.update(grads["weights"], optimizer.init(params["weights"]), params["weights"])
    ensure(tree.equal(updates["weights"], alone), "weights differ")


def _refusal(optimizer: Optimizer, case: Case) -> None:
    params = _params(case)
    state = optimizer.init(params)
    for what, grads in {
        "of one row": tree.map(lambda leaf: leaf[:1], params),
        "of float64": as_dtype(params, np.float64),
        "of integers": tree.map(lambda leaf: leaf.astype(int), params),
        "in another tree": (params["weights"], params["biases"][0]),
    }.items():
        with suppress(InputError):
            apply_updates(params, optimizer.update(grads, state, params)[0])
            raise AssertionError(f"gradients {what} are taken")


def _oracle(oracle: AnyOptimizer, optimizer: Optimizer, case: Case) -> None:
    for ours, theirs in zip(_steps(optimizer, case, np.float32), _steps(oracle, case, np.float32), strict=True):
        expected = tree.map(np.asarray, theirs[0])
        assert_trees_close(ours[0], expected, rtol=1e-4, atol=1e-5)


def _values(schedule: Callable[[Any], Any], case: Case) -> None:
    step = case.key.seed
    value = schedule(step)
    ensure(isinstance(value, float), f"{type(value).__name__} at step {step}")
    ensure(0 <= value < float("inf"), f"{value} at step {step}")


def _traces(schedule: Callable[[Any], Any], case: Case) -> None:
    step = case.key.seed
    assert_trees_close(float(jax_module().jit(schedule)(step)), schedule(step), rtol=1e-5)
