"""The laws of optimizers and schedules."""

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.errors import InputError
from funcnn.layer import Params
from funcnn.optimizers import Optimizer, apply_updates
from funcnn.testing.laws import Case, Laws, as_dtype, extra, hold, spec_law
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close, ensure
from funcnn.training import AnyOptimizer

__all__ = ["check_optimizer", "check_schedule"]

STEPS = 50
"""The number of updates in a law."""


def check_optimizer(
    optimizer: Optimizer, *, oracle: AnyOptimizer | None = None, unless: Collection[str] = (), examples: int = 5
) -> None:
    """Try every law of an optimizer on random params and gradients.

    Args:
        optimizer: The optimizer.
        oracle: Another optimizer, of Optax for instance, that must take the same steps.
        unless: The laws that the optimizer breaks on purpose: weight decay moves params without a gradient, and
            clipping by the global norm looks at the whole tree.
        examples: The number of cases for each law.

    >>> import funcnn as fn
    >>> check_optimizer(fn.adam(0.01))
    """
    hold(repr(optimizer), optimizer_laws(optimizer, oracle=oracle), examples, unless=unless)


def optimizer_laws(optimizer: Optimizer, *, oracle: AnyOptimizer | None = None) -> Laws:
    """The laws by name."""

    def pure(case: Case) -> None:
        params, grads = _params(case), _params(case, label="grads")
        assert_pure(optimizer.init, params)
        assert_pure(optimizer.update, grads, optimizer.init(params), params)

    def alike(case: Case) -> None:
        for dtype in (np.float32, np.float64):
            start = _params(case, dtype)
            for params, updates, state in _steps(optimizer, case, dtype):
                assert_trees_alike(updates, start)
                assert_trees_alike(params, start)
                assert_trees_alike(state, optimizer.init(start))

    def zero(case: Case) -> None:
        params = _params(case)
        zeros, state = tree.map(np.zeros_like, params), optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(zeros, state, params)
            for path, leaf in tree.leaves_with_paths(updates):
                ensure(not np.any(leaf), f"the update of {path} is {leaf}")

    def descends(case: Case) -> None:
        """On |params|^2 / 2, whose gradient is the params themselves."""
        params = start = _params(case, np.float64)
        state = optimizer.init(params)
        for _ in range(STEPS):
            updates, state = optimizer.update(params, state, params)
            params = apply_updates(params, updates)
        before, after = (sum(float(np.sum(leaf**2)) for leaf in tree.leaves(end)) for end in (start, params))
        ensure(after < before, f"the sum of squares goes from {before:.3g} to {after:.3g}")

    def alone(case: Case) -> None:
        params, grads = _params(case), _params(case, label="grads")
        together, by_itself = (
            optimizer.update(dy, optimizer.init(x), x)[0]
            for dy, x in ((grads, params), (grads["weights"], params["weights"]))
        )
        ensure(tree.equal(together["weights"], by_itself), "weights differ")

    def refused(case: Case) -> None:
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

    def same_as_oracle(case: Case) -> None:
        ours, theirs = (_steps(each, case, np.float32) for each in (optimizer, oracle))
        for (found, _, _), (expected, _, _) in zip(ours, theirs, strict=True):
            assert_trees_close(found, tree.map(np.asarray, expected), rtol=1e-4, atol=1e-5)

    return {
        "init and update are pure": pure,
        "updates and state keep structure, shape and dtype for 50 steps": alike,
        "zero gradients give exactly zero updates": zero,
        "50 steps decrease a quadratic function": descends,
        "a leaf's update does not depend on the tree around it": alone,
        "gradients that do not fit the params are refused": refused,
        **({"50 steps equal those of the oracle": same_as_oracle} if oracle is not None else {}),
        **spec_law("the spec builds the same again", optimizer, lambda made, case: _steps(made, case, np.float32)[-1]),
    }


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


def check_schedule(schedule: Callable[[Any], Any], *, jax: bool = False, examples: int = 10) -> None:
    """Try every law of a schedule; with ``jax``, that JAX traces it too.

    >>> import funcnn as fn
    >>> check_schedule(fn.inverse_time_decay(0.1, decay=0.01))
    """
    hold(repr(schedule), schedule_laws(schedule, jax=jax), examples)


def schedule_laws(schedule: Callable[[Any], Any], *, jax: bool = False) -> Laws:
    """The laws by name; the seed of a case is the step."""

    def finite(case: Case) -> None:
        step = case.key.seed
        value = schedule(step)
        ensure(isinstance(value, float), f"{type(value).__name__} at step {step}")
        ensure(0 <= value < float("inf"), f"{value} at step {step}")

    def traced(case: Case) -> None:
        step = case.key.seed
        assert_trees_close(float(extra("jax").jit(schedule)(step)), schedule(step), rtol=1e-5)

    return {
        "the value is a finite float of at least 0": finite,
        **({"JAX traces it": traced} if jax else {}),
        **spec_law("the spec builds the same again", schedule, lambda made, case: made(case.key.seed)),
    }
