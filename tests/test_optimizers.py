"""Every optimizer obeys every law, and agrees with Optax."""

import numpy as np
import optax
import pytest

import funcnn as fn
from funcnn import InputError, Key
from funcnn.optimizers import accumulate_momentum, scale_by_learning_rate
from funcnn.testing import assert_trees_close, check_optimizer
from tests.catalogue import OPTIMIZERS


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_laws(optimizer):
    check_optimizer(optimizer)


def decayed(step):
    return 0.01 / (1 + 0.1 * step)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fn.sgd(0.1), optax.sgd(0.1)),
        (fn.sgd(0.1, momentum=0.9), optax.sgd(0.1, momentum=0.9)),
        (fn.sgd(0.1, momentum=0.9, nesterov=True), optax.sgd(0.1, momentum=0.9, nesterov=True)),
        (fn.sgd(fn.inverse_time_decay(0.01, 0.1), momentum=0.5), optax.sgd(decayed, momentum=0.5)),
        (fn.adam(), optax.adam(1e-3)),
        (fn.adam(0.01, beta1=0.8, beta2=0.95, eps=1e-3), optax.adam(0.01, b1=0.8, b2=0.95, eps=1e-3)),
        (fn.adam(fn.inverse_time_decay(0.01, 0.1)), optax.adam(decayed)),
    ],
    ids=str,
)
def test_fifty_random_steps_are_those_of_optax(ours, theirs):
    params = other = {"w": Key(0).normal((3, 4)), "b": Key(1).normal((4,))}
    state, other_state = ours.init(params), theirs.init(other)
    for i in range(50):
        grads = {"w": Key(2).at(i).normal((3, 4)), "b": Key(3).at(i).normal((4,))}
        updates, state = ours.update(grads, state, params)
        params = fn.apply_updates(params, updates)
        others, other_state = theirs.update(grads, other_state, other)
        other = optax.apply_updates(other, others)
    expected = {name: np.asarray(value) for name, value in other.items()}
    assert_trees_close(params, expected, rtol=1e-4, atol=1e-5)


def test_chain_is_associative():
    a, b, c = accumulate_momentum(0.9), accumulate_momentum(0.5), scale_by_learning_rate(0.1)
    params, results = np.ones(3), []
    for optimizer in (fn.chain(a, fn.chain(b, c)), fn.chain(fn.chain(a, b), c), fn.chain(a, fn.chain(), b, c)):
        updates, state = optimizer.update(params, optimizer.init(params), params)
        updates, _ = optimizer.update(params, state, params)
        results.append(updates.tolist())
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "optimizer", [fn.sgd(fn.inverse_time_decay(0.1, 1.0)), fn.adam(fn.inverse_time_decay(0.1, 1.0))]
)
def test_the_current_learning_rate_can_be_read(optimizer):
    params = np.ones(2)
    state = optimizer.init(params)
    rates = [fn.hyperparameters(state)["learning_rate"]]
    for _ in range(3):
        _, state = optimizer.update(params, state, params)
        rates.append(fn.hyperparameters(state)["learning_rate"])
    assert rates == [0.1, 0.1, 0.1 / 2, 0.1 / 3]


def test_a_numpy_rate_promotes_nothing():
    params = np.ones(2, np.float32)
    for optimizer in (fn.sgd(np.float64(0.1)), fn.adam(np.float64(0.1), beta1=np.float64(0.9))):
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        assert updates.dtype == np.float32


def test_no_parameters_are_no_trouble():
    for optimizer in (fn.adam(), fn.sgd(0.1, momentum=0.9)):
        updates, _ = optimizer.update(((), ()), optimizer.init(((), ())), ((), ()))
        assert fn.apply_updates(((), ()), updates) == ((), ())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.sgd(-0.1), "sgd: expected a learning rate of at least 0, or a schedule, got -0.1"),
        (lambda: fn.adam(-1), "adam: expected a learning rate of at least 0, or a schedule, got -1"),
        (lambda: fn.adam(float("nan")), "adam: .*got nan"),
        (lambda: fn.adam(float("inf")), "adam: .*got inf"),
        (lambda: fn.adam("fast"), "adam: .*or a schedule, got 'fast'"),
        (lambda: fn.sgd(None), "sgd: .*got None"),
        (lambda: fn.sgd(0.1, momentum=1.0), r"accumulate_momentum: expected a momentum in \[0, 1\), got 1.0"),
        (lambda: accumulate_momentum(-0.5), r"accumulate_momentum: expected a momentum in \[0, 1\), got -0.5"),
        (lambda: fn.sgd(0.1, nesterov=True), "sgd: expected a momentum above 0 for nesterov"),
        (lambda: fn.adam(beta1=1.0), r"adam: expected a beta1 in \[0, 1\)"),
        (lambda: fn.adam(beta2=-0.1), r"adam: expected a beta2 in \[0, 1\)"),
        (lambda: fn.adam(eps=0.0), "adam: expected an eps above 0"),
        (lambda: fn.chain(fn.adam(), fn.sgd), r"chain\[1\]: expected an Optimizer, .*call its constructor"),
    ],
)
@pytest.mark.usefixtures("unchecked_annotations")
def test_bad_hyperparameters_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
