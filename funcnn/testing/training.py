"""The laws of a training step."""

from funcnn.layer import Params
from funcnn.testing.purity import assert_pure, assert_trees_alike, ensure
from funcnn.training import Batch, State, Step


def check_step(step: Step, params: Params, state: State, batch: Batch, *, steps: int = 50) -> None:
    """A step is pure, counts, never changes its key, and keeps every shape and dtype.

    Raises:
        AssertionError: Says which of these does not hold, and the leaf.

    >>> import numpy as np, funcnn as fn
    >>> model, optimizer, batch = fn.dense(2), fn.sgd(0.1), fn.Batch(np.ones((3, 4), np.float32), np.array([0, 1, 0]))
    >>> params, _ = model.init(fn.Key(0), (4,))
    >>> step = fn.train_step(model, fn.softmax_cross_entropy(), optimizer)
    >>> check_step(step, params, fn.initial_state(optimizer, params, fn.Key(1)), batch)
    """
    assert_pure(step, params, state, batch)
    new_params, new_state = params, state
    for i in range(steps):
        new_params, new_state = step(new_params, new_state, batch)
        ensure(new_state.step == state.step + i + 1, f"step {new_state.step} follows {state.step + i}")
    ensure(new_state.key == state.key, "the state's key has changed")
    assert_trees_alike((new_params, new_state.optimizer), (params, state.optimizer))
