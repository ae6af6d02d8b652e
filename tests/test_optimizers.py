"""Every optimizer obeys every law, and agrees with Optax."""

import jax
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, Key, tree
from funcnn.jax import to_jax, to_numpy
from funcnn.optimizers import accumulate_momentum, scale_by_adam, scale_by_learning_rate
from funcnn.testing import BrokenLaw, assert_trees_close, check_optimizer
from funcnn.testing.laws import Case
from funcnn.testing.optimizers import optimizer_laws
from tests.catalogue import EXCEPTIONS, OPTAX, OPTIMIZERS, named


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_laws(optimizer):
    check_optimizer(optimizer)


@pytest.mark.parametrize(("optimizer", "unless"), EXCEPTIONS, ids=str)
def test_exceptions_obey_all_other_laws(optimizer, unless):
    check_optimizer(optimizer, unless=unless)
    for law in unless:
        with pytest.raises(BrokenLaw, match=law):
            check_optimizer(optimizer, unless=[other for other in unless if other != law])


@pytest.mark.parametrize(("ours", "theirs"), OPTAX, ids=named)
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


def test_a_chain_needs_a_state_for_each():
    with pytest.raises(ValueError, match="shorter"):
        fn.chain(fn.clip(1.0), fn.clip(1.0)).update(np.ones(3), ((),), np.ones(3))


@pytest.mark.parametrize("optimizer", [fn.sgd(0.1), fn.adam(0.1), fn.skip_if_not_finite(fn.nnfs.sgd(0.1))], ids=str)
def test_before_any_update_the_learning_rate_is_that_of_the_first(optimizer):
    assert optimizer.learning_rate(optimizer.init(np.ones(2))) == 0.1


def test_a_skipped_update_changes_no_learning_rate():
    optimizer, params = fn.skip_if_not_finite(fn.sgd(fn.inverse_time_decay(0.1, 1.0))), np.ones(2)
    state, rates = optimizer.init(params), []
    for grads in (params, params * np.nan, params):
        _, state = optimizer.update(grads, state, params)
        rates.append(optimizer.learning_rate(state))
    assert rates == [0.1, 0.1, 0.1 / 2]
    assert state.skipped == 1


def test_without_momentum_there_is_no_velocity():
    assert len(fn.sgd(0.1).init(np.ones(2))) == 1
    assert len(fn.rmsprop(0.1).init(np.ones(2))) == 2


def test_a_numpy_rate_promotes_nothing():
    params = np.ones(2, np.float32)
    for optimizer in (fn.sgd(np.float64(0.1)), fn.adam(np.float64(0.1), beta1=np.float64(0.9))):
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        assert updates.dtype == np.float32


def test_no_parameters_are_no_trouble():
    for optimizer in (fn.adam(), fn.sgd(0.1, momentum=0.9), fn.rmsprop(0.1), fn.skip_if_not_finite(fn.adam())):
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
        (lambda: fn.sgd(0.1, nesterov=True), "sgd: expected a momentum above 0 for nesterov, got 0.0"),
        (lambda: fn.adam(beta1=1.0), r"adam: expected a beta1 in \[0, 1\), got 1.0"),
        (lambda: fn.adam(beta2=-0.1), r"adam: expected a beta2 in \[0, 1\), got -0.1"),
        (lambda: fn.adam(eps=0.0), "adam: expected an eps above 0, got 0.0"),
        (
            lambda: fn.chain(fn.adam(), fn.sgd),
            r"chain\[1\]: expected an Optimizer, got <function sgd at .*>; call its constructor: adam\(\)",
        ),
        (lambda: fn.adamw(-1), "adamw: expected a learning rate of at least 0, or a schedule, got -1"),
        (lambda: fn.nadam(-1), "nadam: expected a learning rate of at least 0, or a schedule, got -1"),
        (lambda: fn.adagrad(-1), "adagrad: expected a learning rate of at least 0, or a schedule, got -1"),
        (lambda: fn.rmsprop(-1), "rmsprop: expected a learning rate of at least 0, or a schedule, got -1"),
        (lambda: scale_by_learning_rate(-1), "scale_by_learning_rate: expected a learning rate of .*, got -1"),
        (lambda: fn.sgd(0.1, momentum=True), r"accumulate_momentum: expected a momentum in \[0, 1\), got True"),
        (lambda: fn.nadam(beta1=1.0), r"scale_by_adam: expected a beta1 in \[0, 1\), got 1.0"),
        (lambda: fn.adagrad(0.1, -1.0), "scale_by_rss: expected an initial_accumulator of at least 0, got -1.0"),
        (lambda: fn.adagrad(0.1, eps=0.0), "scale_by_rss: expected an eps above 0, got 0.0"),
        (
            lambda: fn.adagrad(0.1, eps_placement="above"),
            "scale_by_rss: expected an eps_placement of 'inside' or 'outside', got 'above'",
        ),
        (lambda: fn.rmsprop(0.1, decay=1.0), r"scale_by_rms: expected a decay in \[0, 1\), got 1.0"),
        (lambda: fn.rmsprop(0.1, decay=-0.1), r"scale_by_rms: expected a decay in \[0, 1\), got -0.1"),
        (lambda: fn.rmsprop(0.1, eps=-1.0), "scale_by_rms: expected an eps above 0, got -1.0"),
        (lambda: fn.rmsprop(0.1, momentum=1.0), r"accumulate_momentum: expected a momentum in \[0, 1\), got 1.0"),
        (lambda: fn.clip(0.0), "clip: expected a bound above 0, got 0.0"),
        (lambda: fn.clip_by_global_norm(0.0), "clip_by_global_norm: expected a bound above 0, got 0.0"),
        (lambda: fn.max_norm(0.0), "max_norm: expected a bound above 0, got 0.0"),
        (
            lambda: fn.chain(fn.add_decayed_weights(-0.1)),
            "add_decayed_weights: expected a rate of at least 0, got -0.1",
        ),
        (
            lambda: fn.accumulate(fn.adam, 4),
            r"accumulate: expected an Optimizer, got .*; call its constructor: adam\(\)",
        ),
        (lambda: fn.skip_if_not_finite(None), "skip_if_not_finite: expected an Optimizer, got None; call its .*"),
        (lambda: fn.accumulate(fn.adam(), 0), "accumulate: expected times to be a positive whole number, got 0"),
        (
            lambda: fn.exponential_moving_average(1.0),
            r"exponential_moving_average: expected a decay in \[0, 1\), got 1.0",
        ),
        (
            lambda: fn.exponential_moving_average(-0.1),
            r"exponential_moving_average: expected a decay in \[0, 1\), got -0.1",
        ),
    ],
)
def test_bad_hyperparameters_are_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
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
    updates, _ = fn.clip_by_global_norm(norm / 2).update(grads, state, grads)
    assert float(fn.global_norm(updates)) == pytest.approx(norm / 2)


def test_clipping_by_the_norm_of_all_keeps_the_dtype_of_each():
    grads = {"single": np.ones(2, np.float32), "double": np.ones(2)}
    updates, _ = fn.clip_by_global_norm(1.0).update(grads, fn.clip_by_global_norm(1.0).init(grads), grads)
    assert {name: leaf.dtype for name, leaf in updates.items()} == {"single": np.float32, "double": np.float64}


def test_gradients_that_are_not_finite_are_skipped():
    whole, params = fn.adamw(0.1, weight_decay=0.5), np.ones(3)
    optimizer = fn.skip_if_not_finite(whole)
    state = optimizer.init(params)
    updates, state = optimizer.update(np.ones(3), state, params)
    assert tree.equal(updates, whole.update(np.ones(3), whole.init(params), params)[0])
    for value in (np.nan, np.inf):
        updates, after = optimizer.update(np.array([1.0, value, 1.0]), state, params)
        assert updates.tolist() == [0.0, 0.0, 0.0]
        assert tree.equal(after.inner, state.inner)
        assert after.skipped == 1


def test_accumulated_micro_batches_are_one_batch():
    whole, params = fn.chain(fn.add_decayed_weights(0.1), fn.sgd(0.1, momentum=0.9)), np.ones(3)
    optimizer = fn.accumulate(whole, times=3)
    state, other = optimizer.init(params), whole.init(params)
    for _ in range(2):
        total = np.zeros(3)
        for i in range(3):
            grads = Key(0).at(i).normal((3,), np.float64)
            total += grads / 3
            updates, state = optimizer.update(grads, state, params)
            assert np.any(updates) == (i == 2)
        expected, other = whole.update(total, other, params)
        assert_trees_close(updates, expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        fn.skip_if_not_finite(fn.adam(0.1)),
        fn.accumulate(fn.adam(0.1), times=2),
        fn.chain(fn.clip_by_global_norm(0.5), fn.sgd(fn.cosine(0.1, 5)), fn.max_norm(0.5)),
    ],
    ids=str,
)
def test_compiled_by_jax_it_is_the_same(optimizer):
    params, update = {"weights": Key(0).normal((3, 2))}, jax.jit(optimizer.update)
    state, other = optimizer.init(params), optimizer.init(to_jax(params))
    for i in range(4):
        spoilt = i == 2 and hasattr(state, "skipped")
        grads = {"weights": Key(1).at(i).normal((3, 2)) + np.float32(np.inf if spoilt else 0)}
        updates, state = optimizer.update(grads, state, params)
        others, other = update(to_jax(grads), other, to_jax(params))
        assert_trees_close(to_numpy(others), updates, rtol=1e-4)


def test_frozen_params_stay_bit_for_bit():
    model, optimizer = fn.serial(fn.dense(4), fn.relu(), fn.dense(3)), fn.chain(fn.adam(0.1), fn.freeze("0.*"))
    params, _ = model.init(Key(0), (5,))
    grads = tree.map(lambda leaf: leaf + 1, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    after = fn.apply_updates(params, updates)
    assert tree.equal(after[0], params[0])
    assert not np.any(after[2].weights == params[2].weights)


def test_max_norm_holds_after_every_update():
    params = {"weights": Key(0).normal((5, 4), np.float64) * [3, 3, 3, 0.1] + [0, 0, 0, 1], "biases": 9 * np.ones(4)}
    optimizer = fn.chain(fn.sgd(1.0), fn.max_norm(1.5))
    updates, _ = optimizer.update(tree.map(np.ones_like, params), optimizer.init(params), params)
    after = fn.apply_updates(params, updates)
    free = params["weights"] - 1
    assert np.linalg.norm(free[:, 3]) < 1.5
    assert after["weights"] == pytest.approx(free * np.minimum(1, 1.5 / np.linalg.norm(free, axis=0)))
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
    ids=named,
)
def test_presets_are_those_of_the_book(optimizer, book):
    gradients = [Key(0).at(i).normal((3,), np.float64) for i in range(50)]
    params = np.ones(3)
    state = optimizer.init(params)
    for g in gradients:
        updates, state = optimizer.update(g, state, params)
        params = fn.apply_updates(params, updates)
    assert_trees_close(params, book(gradients), rtol=1e-9)


@pytest.mark.parametrize("make", [fn.sgd, fn.adam, fn.adamw, fn.nadam, fn.adagrad, fn.rmsprop])
@pytest.mark.parametrize(
    "schedule", [lambda: lambda step: 0.1 * np.cos(step / 100), lambda: fn.piecewise([0.1, 0.01], np.array([2]))]
)
def test_a_schedule_that_gives_numpys_numbers_promotes_nothing(make, schedule):
    optimizer, params = make(schedule()), np.ones(3, np.float32)
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(params, state, params)
        assert updates.dtype == np.float32
