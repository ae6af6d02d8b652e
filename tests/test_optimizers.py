"""Every optimizer obeys every law, and agrees with Optax."""

import re

import jax
import numpy as np
import optax
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
    assert fn.apply_updates(((), ()), optimizer.update(((), ()), optimizer.init(((), ())), ((), ()))[0]) == ((), ())


@pytest.mark.parametrize(("optimizer", "unless"), EXCEPTIONS, ids=str)
def test_exceptions_obey_all_other_laws(optimizer, unless):
    check_optimizer(optimizer, unless=unless)
    for law in unless:
        with pytest.raises(BrokenLaw, match=law):
            check_optimizer(optimizer, unless=[other for other in unless if other != law])


@pytest.mark.parametrize(("ours", "theirs"), OPTAX, ids=named)
def test_fifty_random_steps_are_those_of_optax(ours, theirs):
    optimizer_laws(ours, oracle=theirs)["50 steps equal those of the oracle"](Case(Key(0), 4))


def followed(optimizer, params, all_grads):
    """The updates and the state of every step from the same params."""
    state = optimizer.init(params)
    for grads in all_grads:
        updates, state = optimizer.update(grads, state, params)
        yield updates, state


def test_chain_is_associative():
    a, b, c = accumulate_momentum(0.9), accumulate_momentum(0.5), scale_by_learning_rate(0.1)
    chains = [fn.chain(a, fn.chain(b, c)), fn.chain(fn.chain(a, b), c), fn.chain(a, fn.chain(), b, c)]
    first, *others = ([u.tolist() for u, _ in followed(chain, np.ones(3), [np.ones(3)] * 2)] for chain in chains)
    assert others == [first, first]


def test_a_chain_needs_a_state_for_each():
    with pytest.raises(ValueError, match="shorter"):
        fn.chain(fn.clip(1.0), fn.clip(1.0)).update(np.ones(3), ((),), np.ones(3))


def test_gradients_of_another_kind_of_tree_are_refused():
    with pytest.raises(InputError, match=r"^an optimizer: expected gradients and updates .* another tree$"):
        fn.sgd(0.1).update([np.ones(2)], fn.sgd(0.1).init((np.ones(2),)), (np.ones(2),))


def test_before_any_update_the_learning_rate_is_that_of_the_first():
    for optimizer in (fn.sgd(0.1), fn.adam(fn.cosine(0.1, 5)), fn.skip_if_not_finite(fn.nnfs.sgd(0.1, 1.0))):
        assert optimizer.learning_rate(optimizer.init(np.ones(2))) == 0.1


def test_without_momentum_there_is_no_velocity():
    assert [len(make(0.1).init(np.ones(2))) for make in (fn.sgd, fn.rmsprop)] == [1, 2]


PRESETS = [fn.sgd, fn.adam, fn.adamw, fn.nadam, fn.adagrad, fn.rmsprop]
RATES = [np.float64(0.1), lambda step: 0.1 * np.cos(step / 100), fn.piecewise([0.1, 0.01], np.array([2]))]


@pytest.mark.parametrize("make", [*PRESETS, lambda rate: fn.adam(rate, beta1=np.float64(0.9))])
@pytest.mark.parametrize("rate", RATES, ids=["number", "function", "schedule"])
def test_numbers_of_numpy_promote_nothing(make, rate):
    params = np.ones(3, np.float32)
    assert all(updates.dtype == np.float32 for updates, _ in followed(make(rate), params, [params] * 3))


@pytest.mark.parametrize("make", [*PRESETS, scale_by_learning_rate])
@pytest.mark.parametrize("rate", [-1, -0.1, float("nan"), float("inf"), "fast", None])
def test_a_bad_learning_rate_is_refused_by_the_name_that_was_called(make, rate):
    message = f"^{make.__name__}: expected a learning rate of at least 0, or a schedule, got {rate!r}$"
    with pytest.raises(InputError, match=message):
        make(rate)


UNIT = r"in \[0, 1\)"
REFUSED = [
    ("accumulate_momentum", accumulate_momentum, f"a momentum {UNIT}", (1.0, -0.5, True)),
    ("sgd accumulate_momentum", lambda x: fn.sgd(0.1, momentum=x), f"a momentum {UNIT}", (1.0, True)),
    ("rmsprop accumulate_momentum", lambda x: fn.rmsprop(0.1, momentum=x), f"a momentum {UNIT}", (1.0,)),
    ("accumulate_momentum", lambda x: accumulate_momentum(0.5, x), "True or False for nesterov", (0, 1.0)),
    ("sgd", lambda x: fn.sgd(0.1, x, nesterov=True), "a momentum above 0 for nesterov", (0.0,)),
    ("adam", lambda x: fn.adam(beta1=x), f"a beta1 {UNIT}", (1.0, -0.1)),
    ("adam", lambda x: fn.adam(beta2=x), f"a beta2 {UNIT}", (1.0, -0.1)),
    ("adam", lambda x: fn.adam(eps=x), "an eps above 0", (0.0, -1.0)),
    ("nadam scale_by_adam", lambda x: fn.nadam(beta1=x), f"a beta1 {UNIT}", (1.0,)),
    ("scale_by_adam", lambda x: scale_by_adam(nesterov=x), "True or False for nesterov", (0, 1.0)),
    ("adagrad scale_by_rss", lambda x: fn.adagrad(0.1, x), "an initial_accumulator of at least 0", (-1.0,)),
    ("adagrad scale_by_rss", lambda x: fn.adagrad(0.1, eps=x), "an eps above 0", (0.0,)),
    (
        "adagrad scale_by_rss",
        lambda x: fn.adagrad(0.1, 0, 1, x),
        "an eps_placement of 'inside' or 'outside'",
        ("above", None),
    ),
    ("rmsprop scale_by_rms", lambda x: fn.rmsprop(0.1, decay=x), f"a decay {UNIT}", (1.0, -0.1)),
    ("rmsprop scale_by_rms", lambda x: fn.rmsprop(0.1, eps=x), "an eps above 0", (-1.0,)),
    *((make.__name__, make, "a bound above 0", (0.0, -1.0)) for make in (fn.clip, fn.clip_by_global_norm, fn.max_norm)),
    ("add_decayed_weights", fn.add_decayed_weights, "a rate of decay of at least 0", (-0.1,)),
    ("exponential_moving_average", fn.exponential_moving_average, f"a decay {UNIT}", (1.0, -0.1)),
    ("accumulate", lambda x: fn.accumulate(fn.adam(), x), "times to be a positive whole number", (0, 1.5)),
    ("skip_if_not_finite", fn.skip_if_not_finite, "an Optimizer", (None, fn.sgd)),
    ("accumulate", lambda x: fn.accumulate(x, 4), "an Optimizer", (fn.adam,)),
    (r"chain\[1\]", lambda x: fn.chain(fn.adam(), x), "an Optimizer", (fn.sgd,)),
]


@pytest.mark.parametrize(("where", "make", "expected", "values"), REFUSED)
def test_bad_hyperparameters_are_refused(where, make, expected, values):
    hint = r"; call its constructor: adam\(\)$" if expected == "an Optimizer" else "$"
    for value in values:
        with pytest.raises(InputError, match=f"^{where}: expected {expected}.*, got {re.escape(repr(value))}{hint}"):
            make(value)


def draws(params, times, key=2):
    return [tree.map(lambda leaf, i=i: Key(key).at(i).normal(leaf.shape, leaf.dtype), params) for i in range(times)]


def test_adam_equals_its_chain():
    params = {"w": Key(0).normal((3, 4)), "b": Key(1).normal((4,))}
    schedule = fn.inverse_time_decay(0.01, 0.1)
    fused, chained = fn.adam(schedule, eps=1e-6), fn.chain(scale_by_adam(eps=1e-6), scale_by_learning_rate(schedule))
    both = zip(*(followed(optimizer, params, draws(params, 10)) for optimizer in (fused, chained)), strict=True)
    for (updates, state), (others, (moments, rate)) in both:
        assert_trees_close(updates, others, rtol=1e-5, atol=1e-9)
        assert tree.equal((state.sums, state.squares), (moments.sums, moments.squares))
        assert (state.step, state.learning_rate) == (moments.step, rate.learning_rate)


@pytest.mark.parametrize("make", [fn.adam, fn.nadam])
@pytest.mark.parametrize("shape", [(1100, 1000), (1_100_000,), (2, 550_000), (4, 3, 300, 300)], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_is_updated_as_its_two_halves(make, shape, order):
    def halves(array):
        return tuple(np.split(array, 2)) if getattr(array, "ndim", 0) else (array,) * 2

    optimizer, params = make(0.01), np.asarray(Key(0).normal(shape), order=order)
    all_grads = [np.asarray(grads, order=order) for grads in draws(params, 2)]
    whole = followed(optimizer, params, all_grads)
    apart = [followed(optimizer, halves(params)[i], [halves(grads)[i] for grads in all_grads]) for i in (0, 1)]
    for after, *parts in zip(whole, *apart, strict=True):
        assert tree.equal(tree.map(lambda leaf: halves(leaf)[0], after), parts[0])
        assert tree.equal(tree.map(lambda leaf: halves(leaf)[1], after), parts[1])


@pytest.mark.parametrize("optimizer", [fn.adam(), fn.nadam(), fn.rmsprop(0.1), fn.lion()], ids=str)
def test_gradients_of_numpy_meet_a_state_of_jax(optimizer):
    params, grads = np.ones(3, np.float32), np.full(3, 0.5, np.float32)
    expected, _ = optimizer.update(grads, optimizer.init(params), params)
    updates, _ = optimizer.update(grads, optimizer.init(to_jax(params)), to_jax(params))
    assert isinstance(updates, jax.Array)
    assert_trees_close(to_numpy(updates), expected, rtol=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=named)
def test_a_single_number_is_updated_as_a_vector_of_one(optimizer):
    number, vector = np.array(0.5, np.float32), np.array([0.5], np.float32)
    of_number, of_vector = (followed(optimizer, params, [3 * params] * 4) for params in (number, vector))
    for (found, _), (expected, _) in zip(of_number, of_vector, strict=True):
        assert found == expected[0]


def test_a_small_gradient_is_not_clipped():
    grads = {"w": Key(0).normal((3, 4)), "b": Key(1).normal((4,))}
    norm = float(fn.global_norm(grads))
    assert tree.equal(fn.clip_by_global_norm(norm * 1.001).update(grads, (), grads)[0], grads)
    clipped, _ = fn.clip_by_global_norm(norm / 2).update(grads, (), grads)
    assert float(fn.global_norm(clipped)) == pytest.approx(norm / 2)


def test_clipping_by_the_norm_of_all_keeps_the_dtype_of_each():
    grads = {"single": np.ones(2, np.float32), "double": np.ones(2)}
    updates, _ = fn.clip_by_global_norm(1.0).update(grads, fn.clip_by_global_norm(1.0).init(grads), grads)
    assert {name: leaf.dtype for name, leaf in updates.items()} == {"single": np.float32, "double": np.float64}


def test_gradients_that_are_not_finite_are_skipped():
    whole, params = fn.adamw(fn.inverse_time_decay(0.1, 1.0), weight_decay=0.5), np.ones(3)
    optimizer, bad = fn.skip_if_not_finite(whole), [np.array([1.0, value, 1.0]) for value in (np.nan, np.inf)]
    steps = [*followed(optimizer, params, [params, *bad, params])]
    assert tree.equal([steps[i][0] for i in (0, 3)], [updates for updates, _ in followed(whole, params, [params] * 2)])
    assert [steps[i][0].tolist() for i in (1, 2)] == [[0.0, 0.0, 0.0]] * 2
    assert tree.equal([steps[i][1].inner for i in (1, 2)], [steps[0][1].inner] * 2)
    assert [optimizer.learning_rate(state) for _, state in steps] == [0.1, 0.1, 0.1, 0.1 / 2]
    assert [state.skipped for _, state in steps] == [0, 1, 2, 2]


def test_accumulated_micro_batches_are_one_batch():
    whole, params = fn.chain(fn.add_decayed_weights(0.1), fn.sgd(0.1, momentum=0.9)), np.ones(3)
    grads = draws(params, 6)
    updates = [updates for updates, _ in followed(fn.accumulate(whole, times=3), params, grads)]
    assert [np.any(each) for each in updates] == [False, False, True] * 2
    means = [sum(grads[i : i + 3]) / 3 for i in (0, 3)]
    assert_trees_close(updates[2::3], [expected for expected, _ in followed(whole, params, means)])


@pytest.mark.parametrize(
    "optimizer",
    [
        fn.skip_if_not_finite(fn.adam(0.1)),
        fn.accumulate(fn.adam(0.1), times=2),
        fn.chain(fn.clip_by_global_norm(0.5), fn.sgd(fn.cosine(0.1, 5)), fn.max_norm(0.5)),
    ],
    ids=str,
)
def test_under_jit_it_is_the_same(optimizer):
    params, update = {"weights": Key(0).normal((3, 2))}, jax.jit(optimizer.update)
    state, grads = optimizer.init(to_jax(params)), draws(params, 4)
    if hasattr(state, "skipped"):
        grads[2] = {"weights": grads[2]["weights"] + np.float32(np.inf)}
    for given, (updates, _) in zip(grads, followed(optimizer, params, grads), strict=True):
        others, state = update(to_jax(given), state, to_jax(params))
        assert_trees_close(to_numpy(others), updates, rtol=1e-4)


def test_frozen_params_stay_bit_for_bit():
    model, optimizer = fn.serial(fn.dense(4), fn.relu(), fn.dense(3)), fn.chain(fn.adam(0.1), fn.freeze("0.*"))
    params, _ = model.init(Key(0), (5,))
    updates, _ = optimizer.update(tree.map(lambda leaf: leaf + 1, params), optimizer.init(params), params)
    after = fn.apply_updates(params, updates)
    assert tree.equal(after[0], params[0])
    assert not np.any(after[2].weights == params[2].weights)


@pytest.mark.parametrize("engine", [lambda update: update, jax.jit], ids=["numpy", "jit"])
def test_pruned_weights_stay_zero_whatever_their_gradients(engine):
    params = {"w": np.where(kept := Key(0).normal((4, 3)) > 0, Key(1).normal((4, 3)), 0), "b": np.ones(3, np.float32)}
    optimizer = fn.chain(fn.adam(0.1), fn.masked({"w": kept, "b": np.ones(3, bool)}))
    update, state = engine(optimizer.update), optimizer.init(params)
    grads = {"w": np.where(kept, Key(2).normal((4, 3)), np.float32(np.nan)), "b": np.ones(3, np.float32)}
    updates, _ = update(grads, state, params)
    after = fn.apply_updates(params, to_numpy(updates))
    assert (after["w"][~kept] == 0).all()
    assert (after["w"][kept] != params["w"][kept]).all()
    assert (after["b"] != params["b"]).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(3, bool), r"an optimizer: .* the array is float64 \(2,\) instead of float64 \(3,\)"),
        ((np.ones(3, bool),), "masked: expected params with the tree of the mask, got another tree"),
    ],
    ids=["another shape", "another tree"],
)
def test_a_mask_of_other_params_is_refused(mask, message):
    with pytest.raises(fn.InputError, match=f"^{message}$"):
        fn.masked(mask).update(np.ones(2), (), np.ones(2))
    with pytest.raises(fn.InputError, match=r"masked.*a boolean array, got float64"):
        fn.masked(np.ones(2))


def test_lookahead_takes_the_steps_of_optax():
    param, optimizer = Key(0).normal((5,), np.float64), fn.lookahead(fn.adam(0.1), 3, 0.4)
    state, peer = optimizer.init(param), optax.lookahead(optax.adam(0.1), 3, 0.4)
    with jax.enable_x64(True):
        theirs = optax.LookaheadParams.init_synced(jax.numpy.asarray(param))
        peer_state = peer.init(theirs)
        for grads in draws(param, 10):
            updates, state = optimizer.update(grads, state, param)
            param = fn.apply_updates(param, updates)
            changes, peer_state = peer.update(jax.numpy.asarray(grads), peer_state, theirs)
            theirs = optax.apply_updates(theirs, changes)
            assert param == pytest.approx(np.asarray(theirs.fast), rel=1e-6)
            assert state.slow == pytest.approx(np.asarray(theirs.slow), rel=1e-6)


def test_max_norm_holds_after_every_update():
    params = {"weights": Key(0).normal((5, 4), np.float64) * [3, 3, 3, 0.1] + [0, 0, 0, 1], "biases": 9 * np.ones(4)}
    optimizer = fn.chain(fn.sgd(1.0), fn.max_norm(1.5))
    updates, _ = optimizer.update(tree.map(np.ones_like, params), optimizer.init(params), params)
    after, free = fn.apply_updates(params, updates), params["weights"] - 1
    assert np.linalg.norm(free[:, 3]) < 1.5
    assert after["weights"] == pytest.approx(free * np.minimum(1, 1.5 / np.linalg.norm(free, axis=0)))
    assert after["biases"].tolist() == [8.0] * 4


def test_the_average_follows_the_params():
    optimizer, params, average, weight = fn.chain(fn.sgd(0.1), fn.exponential_moving_average(0.8)), np.ones(3), 0, 0
    state = optimizer.init(params)
    with pytest.raises(InputError, match=r"^averaged: expected a state after one update or more, got the first one$"):
        fn.averaged(state)
    for grads in draws(params, 5):
        updates, state = optimizer.update(grads, state, params)
        params = fn.apply_updates(params, updates)
        average, weight = 0.8 * average + 0.2 * params, 0.8 * weight + 0.2
    assert_trees_close(fn.averaged(state), average / weight)


def book_sgd(momentum):
    def step(rate, g, t, v, _):
        v = momentum * v - rate * g
        return v, v, _

    return step


def book_adagrad(rate, g, t, c, _):
    c = c + g**2
    return -rate * g / (np.sqrt(c) + 1e-7), c, _


def book_rmsprop(rate, g, t, c, _):
    c = 0.9 * c + 0.1 * g**2
    return -rate * g / (np.sqrt(c) + 1e-7), c, _


def book_adam(rate, g, t, m, c):
    m, c = 0.9 * m + 0.1 * g, 0.999 * c + 0.001 * g**2
    return -rate * m / (1 - 0.9**t) / (np.sqrt(c / (1 - 0.999**t)) + 1e-7), m, c


@pytest.mark.parametrize(
    ("optimizer", "book"),
    [
        (fn.nnfs.sgd(0.1, 0.1, 0.9), book_sgd(0.9)),
        (fn.nnfs.sgd(0.1, 0.1), book_sgd(0.0)),
        (fn.nnfs.adagrad(0.1, 0.1), book_adagrad),
        (fn.nnfs.rmsprop(0.1, 0.1), book_rmsprop),
        (fn.nnfs.adam(0.1, 0.1), book_adam),
    ],
    ids=named,
)
def test_presets_are_those_of_the_book(optimizer, book):
    grads, caches = draws(np.ones(3), 50, key=0), (0.0, 0.0)
    for i, (updates, _) in enumerate(followed(optimizer, np.ones(3), grads)):
        expected, *caches = book(0.1 / (1 + 0.1 * i), grads[i], i + 1, *caches)
        assert_trees_close(updates, expected, rtol=1e-9)


def test_each_group_is_updated_as_if_it_were_alone():
    params = {"a": Key(0).normal((3,)), "b": {"c": Key(1).normal((2,)), "d": Key(2).normal((2,))}}
    clipped = fn.chain(fn.clip_by_global_norm(0.1), fn.sgd(1.0))  # takes all leaves of its group together
    optimizer, alone = fn.groups({"b.c": fn.adam(0.1), "b.*": fn.sgd(0.5), "*": clipped}), params["b"]
    for i, (updates, _) in enumerate(followed(optimizer, params, [params] * 3)):
        for part, own, found in (
            (alone["c"], fn.adam(0.1), updates["b"]["c"]),
            (alone["d"], fn.sgd(0.5), updates["b"]["d"]),
            (params["a"], clipped, updates["a"]),
        ):
            assert tree.equal(found, [*followed(own, part, [part] * 3)][i][0])


def test_a_clip_cuts_both_ends():
    grads = np.array([-3.0, -1.0, 0.5, 3.0])
    assert fn.clip(1.0).update(grads, (), grads)[0].tolist() == [-1.0, -1.0, 0.5, 1.0]


def test_an_optimizer_around_another_tells_its_rate():
    schedule, params = fn.inverse_time_decay(0.5, 1.0), np.ones(2)
    for around in (fn.skip_if_not_finite, lambda inner: fn.accumulate(inner, 1), lambda inner: fn.lookahead(inner, 2)):
        optimizer = around(fn.sgd(schedule))
        rates = [optimizer.learning_rate(state) for _, state in followed(optimizer, params, [params] * 3)]
        assert rates == pytest.approx([schedule(i) for i in range(3)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fn.groups({0: fn.adam()}), 'groups: expected patterns of paths, got 0; such as "0.*"'),
        (
            lambda: fn.groups({"a": fn.adam()}).init({"a": np.ones(1), "b": np.ones(1)}),
            "groups: expected a pattern for each leaf, got none for 'b'; put \"*\" at the end",
        ),
        (
            lambda: fn.groups({"*": fn.adam(), "a": fn.adam()}).init({"a": np.ones(1)}),
            "groups: expected a leaf for each pattern, got none left for 'a'; put it first",
        ),
        (
            lambda: fn.groups({"c": fn.adam(), "*": fn.adam()}).init({"a": np.ones(1)}),
            "groups: expected a pattern that matches the path of a leaf, got 'c'; the nearest: a",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused(call, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()
