"""JAX and Optax take funcnn's params, and funcnn takes theirs."""

import jax
import numpy as np
import optax
import pytest

import funcnn as fn
from funcnn import Batch, Key, frozendict, tree
from funcnn.jax import compiled, to_jax, to_numpy
from funcnn.testing import assert_trees_close
from funcnn.tree import record

MODEL, LOSS = fn.serial(fn.dense(6), fn.tanh(), fn.layer_norm(), fn.dense(3)), fn.softmax_cross_entropy()
BATCH = Batch(Key(1).normal((20, 4)), Key(2).permutation(20) % 3)
PARAMS, _ = MODEL.init(Key(0), (4,))


THEIRS = {"sgd": optax.sgd(0.1, momentum=0.9), "adamw": optax.adamw(0.01), "lion": optax.lion(1e-3)}


@pytest.mark.parametrize("theirs", THEIRS.values(), ids=THEIRS)
def test_an_optax_optimizer_drives_the_step(theirs):
    params, batch = to_jax((PARAMS, BATCH))
    step = fn.train_step(MODEL, LOSS, theirs)
    state = step.init(params, Key(0))
    fast, losses = compiled(step), []
    for _ in range(30):
        params, state = fast(params, state, batch)
        losses.append(float(state.metrics["loss"]))
    assert losses[-1] < losses[0]
    assert tree.same_structure(params, PARAMS)


@pytest.mark.parametrize("ours", [fn.sgd(0.1, momentum=0.9), fn.adamw(0.01), fn.nadam(0.01)], ids=str)
def test_ours_drives_an_optax_style_loop(ours):
    params = other = to_jax(PARAMS)
    expected = PARAMS
    state, expected_state = ours.init(params), ours.init(PARAMS)

    @jax.jit
    def update(params, state):
        _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, BATCH)
        updates, state = ours.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(10):
        params, state = update(params, state)
        _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, expected, BATCH)
        updates, expected_state = ours.update(grads, expected_state, expected)
        expected = fn.apply_updates(expected, updates)
    assert_trees_close(to_numpy(params), expected, rtol=1e-3, atol=1e-4)
    assert not tree.equal(to_numpy(other), to_numpy(params))


def test_records_to_come_are_registered_too():
    @record
    class Later:
        x: object

    assert jax.tree_util.tree_leaves(Later(1.0)) == [1.0]
    assert paths_of((Later(1.0),)) == ["[0].x"]


def paths_of(values):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(values)]


def test_a_frozendict_is_a_tree_of_jax_in_the_order_it_was_given():
    metrics = frozendict({"b": 1.0, "a": 2.0})
    doubled = jax.jit(lambda values: jax.tree_util.tree_map(lambda leaf: 2 * leaf, values))(metrics)
    assert type(doubled) is frozendict
    assert [*doubled.items()] == [("b", 2.0), ("a", 4.0)]
    assert paths_of((metrics,)) == ["[0].b", "[0].a"]


def started(model):
    step = fn.train_step(model, LOSS, fn.adam())
    params, _ = model.init(Key(0), (4,))
    return compiled(step), params, step.init(params, Key(0))


def test_a_layer_that_jax_cannot_trace_is_named_with_what_to_write():
    wrong = fn.elementwise(lambda x: np.maximum(np.asarray(x), 0), lambda x: x)
    fast, params, state = started(fn.serial(fn.dense(3), fn.serial(wrong, fn.dense(3))))
    message = rf"^serial\[1\] serial\[0\]: expected array-API .*{__file__}, line \d+; .* funcnn.arrays.namespace\(x\)"
    with pytest.raises(fn.InputError, match=message):
        fast(params, state, BATCH)


def test_a_tree_that_a_step_has_used_up_is_called_so():
    fast, params, state = started(fn.dense(3))
    params, state = fast(params, state, BATCH)
    fast(params, state, BATCH)
    with pytest.raises(fn.InputError, match="got some that a step has used up; keep what it gives back"):
        fast(params, state, BATCH)
