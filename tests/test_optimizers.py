"""Every optimizer obeys every law, and agrees with Optax."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, Key, tree
from funcnn.optimizers import accumulate_momentum, scale_by_adam, scale_by_learning_rate
from funcnn.testing import BrokenLaw, assert_trees_close, check_optimizer
from funcnn.testing.laws import Case
from funcnn.testing.optimizers import optimizer_laws
from tests.catalogue import EXCEPTIONS, OPTAX, OPTIMIZERS


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_laws(optimizer):
    check_optimizer(optimizer)


@pytest.mark.parametrize(("optimizer", "unless"), EXCEPTIONS, ids=str)
def test_exceptions_obey_all_other_laws(optimizer, unless):
    check_optimizer(optimizer, unless=unless)
    for law in unless:
        with pytest.raises(BrokenLaw, match=law):
            check_optimizer(optimizer, unless=[other for other in unless if other != law])


@pytest.mark.parametrize(("ours", "theirs"), OPTAX, ids=str)
def test_fifty_random_steps_are_those_of_optax(ours, theirs):
    optimizer_laws(ours, oracle=theirs)["50 steps are those of the oracle"](Case(Key(0), 4))


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


def test_adam_equals_its_chain():
    params = {"w": Key(0).normal((3, 4)), "b": Key(1).normal((4,))}
    schedule = fn.inverse_time_decay(0.01, 0.1)
    fused, chained = fn.adam(schedule, eps=1e-6), fn.chain(scale_by_adam(eps=1e-6), scale_by_learning_rate(schedule))
    state, other = fused.init(params), chained.init(params)
    for i in range(10):
        grads = tree.map(lambda leaf, i=i: Key(2).at(i).normal(leaf.shape), params)
        updates, state = fused.update(grads, state, params)
        others, other = chained.update(grads, other, params)
        assert_trees_close(updates, others, rtol=1e-5, atol=1e-9)


def test_a_small_gradient_is_not_clipped():
    grads = {"w": Key(0).normal((3, 4)), "b": Key(1).normal((4,))}
    norm = float(fn.global_norm(grads))
    clipping = fn.clip_by_global_norm(norm * 1.001)
    updates, state = clipping.update(grads, clipping.init(grads), grads)
    assert tree.equal(updates, grads)
    assert fn.hyperparameters(state)["global_norm"] == pytest.approx(norm)
    updates, _ = fn.clip_by_global_norm(norm / 2).update(grads, state, grads)
    assert float(fn.global_norm(updates)) == pytest.approx(norm / 2)


def test_gradients_that_are_not_finite_are_skipped():
    optimizer, params = fn.skip_if_not_finite(fn.adam(0.1)), np.ones(3)
    state = optimizer.init(params)
    _, state = optimizer.update(np.ones(3), state, params)
    for value in (np.nan, np.inf):
        updates, after = optimizer.update(np.array([1.0, value, 1.0]), state, params)
        assert updates.tolist() == [0.0, 0.0, 0.0]
        assert tree.equal(after.inner, state.inner)
        assert fn.hyperparameters(after)["skipped"] == 1


def test_accumulated_micro_batches_are_one_batch():
    optimizer, params = fn.accumulate(fn.adam(0.1), times=3), np.ones(3)
    state, total = optimizer.init(params), np.zeros(3)
    for i in range(3):
        grads = Key(0).at(i).normal((3,), np.float64)
        total += grads / 3
        updates, state = optimizer.update(grads, state, params)
        assert np.any(updates) == (i == 2)
    expected, _ = fn.adam(0.1).update(total, fn.adam(0.1).init(params), params)
    assert_trees_close(updates, expected)


def test_frozen_params_stay_bit_for_bit():
    model, optimizer = fn.serial(fn.dense(4), fn.relu(), fn.dense(3)), fn.chain(fn.adam(0.1), fn.freeze("0.*"))
    params, _ = model.init(Key(0), (5,))
    grads = tree.map(lambda leaf: leaf + 1, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    after = fn.apply_updates(params, updates)
    assert tree.equal(after[0], params[0])
    assert not np.any(after[2].weights == params[2].weights)


def test_max_norm_holds_after_every_update():
    params = {"weights": 3 * Key(0).normal((5, 4), np.float64), "biases": 9 * np.ones(4)}
    optimizer = fn.chain(fn.sgd(1.0), fn.max_norm(1.5))
    updates, _ = optimizer.update(tree.map(np.ones_like, params), optimizer.init(params), params)
    after = fn.apply_updates(params, updates)
    assert np.linalg.norm(after["weights"], axis=0) == pytest.approx(1.5)
    assert after["biases"].tolist() == [8.0] * 4


def test_the_average_follows_the_params():
    optimizer, params, average, weight = fn.chain(fn.sgd(0.1), fn.exponential_moving_average(0.8)), np.ones(3), 0, 0
    state = optimizer.init(params)
    for i in range(5):
        updates, state = optimizer.update(Key(0).at(i).normal((3,), np.float64), state, params)
        params = fn.apply_updates(params, updates)
        average, weight = 0.8 * average + 0.2 * params, 0.8 * weight + 0.2
    assert_trees_close(fn.averaged(0.8, state[1]), average / weight)


def book_sgd(gradients, lr, decay, momentum):
    """The loop of the book, for one array."""
    w, v = np.ones(3), np.zeros(3)
    for i, g in enumerate(gradients):
        v = momentum * v - lr / (1 + decay * i) * g
        w = w + v
    return w


def book_cache(gradients, lr, decay, new_cache):
    w, cache = np.ones(3), np.zeros(3)
    for i, g in enumerate(gradients):
        cache = new_cache(cache, g)
        w = w - lr / (1 + decay * i) * g / (np.sqrt(cache) + 1e-7)
    return w


def book_adam(gradients, lr, decay):
    w, m, c = np.ones(3), np.zeros(3), np.zeros(3)
    for i, g in enumerate(gradients):
        m, c = 0.9 * m + 0.1 * g, 0.999 * c + 0.001 * g**2
        m_hat, c_hat = m / (1 - 0.9 ** (i + 1)), c / (1 - 0.999 ** (i + 1))
        w = w - lr / (1 + decay * i) * m_hat / (np.sqrt(c_hat) + 1e-7)
    return w


@pytest.mark.parametrize(
    ("optimizer", "book"),
    [
        (fn.nnfs.sgd(0.1, 0.1, 0.9), lambda g: book_sgd(g, 0.1, 0.1, 0.9)),
        (fn.nnfs.sgd(0.1, 0.1), lambda g: book_sgd(g, 0.1, 0.1, 0.0)),
        (fn.nnfs.adagrad(0.1, 0.1), lambda g: book_cache(g, 0.1, 0.1, lambda c, g: c + g**2)),
        (fn.nnfs.rmsprop(0.1, 0.1), lambda g: book_cache(g, 0.1, 0.1, lambda c, g: 0.9 * c + 0.1 * g**2)),
        (fn.nnfs.adam(0.1, 0.1), lambda g: book_adam(g, 0.1, 0.1)),
    ],
    ids=str,
)
def test_presets_are_those_of_the_book(optimizer, book):
    gradients = [Key(0).at(i).normal((3,), np.float64) for i in range(50)]
    params = np.ones(3)
    state = optimizer.init(params)
    for g in gradients:
        updates, state = optimizer.update(g, state, params)
        params = fn.apply_updates(params, updates)
    assert_trees_close(params, book(gradients), rtol=1e-9)
