"""The training step, its fold, and evaluation."""

import itertools
import math
import re
import tracemalloc

import array_api_strict
import attrs
import numpy as np
import optax
import pytest
from hypothesis import given, seed, settings, strategies as st
from toolz import take

import funcnn as fn
from funcnn import Batch, InputError, Key, tree
from funcnn.testing import assert_trees_close, check_step, strategies as fst
from funcnn.testing.laws import as_dtype
from tests.catalogue import EXCEPTIONS, LOSSES, OPTIMIZERS, PENALTIES, two
from tests.scripts import ran

MODEL = fn.serial(fn.dense(6), fn.relu(), fn.dense(3))
LOSS = fn.softmax_cross_entropy()
OPTIMIZER = fn.adam(fn.inverse_time_decay(0.01, decay=0.1))
ANY_OPTIMIZER = [*OPTIMIZERS, *(optimizer for optimizer, _ in EXCEPTIONS)]


def samples(n=20, weights=None):
    return Batch(Key(1).normal((n, 4)), Key(2).permutation(n) % 3, weights)


def start(optimizer=OPTIMIZER, **options):
    """A step, and params and state before it."""
    params, _ = MODEL.init(Key(0).at("init"), (4,))
    step = fn.train_step(MODEL, LOSS, optimizer, **options)
    return step, params, step.init(params, Key(0).at("train"))


def metrics_of(optimizer, steps=1, **options):
    """The metrics before the first step, and after each."""
    return [state.metrics for _, state in fn.trajectory(*start(optimizer, **options), [samples()] * steps)]


def size_of_update(update):
    return fn.global_norm(update.updates)


def count_of_rows(outputs, targets, weights):
    return outputs.shape[0]


HEADS = {"categorical_cross_entropy": fn.softmax(), "kl_divergence": fn.log_softmax()}
HEADS |= {"binary_cross_entropy": fn.sigmoid()}
"""What makes of any outputs those that a loss takes."""

OF_CLASSES = ("softmax_cross_entropy", "categorical_cross_entropy", "kl_divergence")

OF_ARRAYS = [(loss, drawn) for loss, drawn in LOSSES if drawn is not two]


@st.composite
def runs(draw, rows):
    """A step of any parts, params for it, and a batch of ``rows`` samples."""
    (loss, drawn), optimizer = draw(st.sampled_from(OF_ARRAYS)), draw(st.sampled_from(ANY_OPTIMIZER))
    key, penalty = draw(fst.keys()), draw(st.none() | st.sampled_from(PENALTIES))
    outputs, targets = as_dtype(drawn(key, rows), np.float32)
    out_shape = outputs.shape[1:]
    head = HEADS.get(loss.spec.name, fn.identity())
    model = fn.serial(draw(fst.layers((3,))), fn.dense(math.prod(out_shape)), fn.reshape(*out_shape), head)
    metrics = {"norm": fn.gradient_norm, "size": fn.StepMetric(size_of_update), "rows": count_of_rows}
    if optimizer.learning_rate is not None:
        metrics |= {"rate": fn.learning_rate}
    if loss.spec.name in OF_CLASSES:
        metrics |= {"accuracy": fn.accuracy, "top 2": fn.metrics.top_k_accuracy(2)}
    names = draw(st.lists(st.sampled_from([*metrics]), unique=True))
    weights = key.at("weights").uniform((rows,), low=0.1) if draw(st.booleans()) else None
    step = fn.train_step(model, loss, optimizer, penalty=penalty, metrics={name: metrics[name] for name in names})
    return step, draw(fst.params_for(model, (3,), np.float32)), Batch(key.at("x").normal((rows, 3)), targets, weights)


@settings(max_examples=15)
@given(st.integers(1, 4).flatmap(runs), fst.keys())
def test_laws(run, key):
    check_step(*run, key=key, steps=4)


@seed(67)  # of which the second run has dropout, penalty, weights and metrics
@settings(max_examples=2)
@given(runs(rows=4), fst.keys())
def test_laws_with_jax(run, key):
    check_step(*run, key=key, steps=1, jax=True)


@pytest.mark.parametrize("optimizer", ANY_OPTIMIZER, ids=str)
def test_laws_for_every_optimizer(optimizer):
    metrics = {"size": fn.StepMetric(size_of_update), "norm": fn.gradient_norm}
    step, params, _ = start(optimizer, metrics=metrics)
    check_step(step, params, samples(), steps=5)


def test_only_the_loss_is_measured_unless_more_is_asked_for():
    _, params, _ = start()
    before, after = metrics_of(OPTIMIZER)
    value, _, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    assert ([*before], math.isnan(before["loss"])) == (["loss"], True)
    assert after == {"loss": float(value)}
    assert fn.evaluate(MODEL, LOSS, params, samples()) == pytest.approx({"loss": float(value)})


def test_metrics_are_of_the_batch_before_its_update_and_in_the_order_given():
    def spread(outputs, targets, weights):
        return outputs.std()

    _, params, _ = start()
    metrics = {"b": fn.accuracy, "a": spread}
    before, after = metrics_of(OPTIMIZER, metrics=metrics, penalty=fn.l2(0.1))
    assert list(before) == list(after) == ["loss", "b", "a", "penalty"]
    assert all(map(np.isnan, before.values()))
    outputs = fn.predict(MODEL, params, samples().inputs)
    assert (after["b"], after["a"]) == (fn.accuracy(outputs, samples().targets), float(outputs.std()))
    found = fn.evaluate(MODEL, LOSS, params, samples(), metrics=metrics)
    assert {name: found[name] for name in metrics} == {name: after[name] for name in metrics}


SCHEDULE = fn.inverse_time_decay(0.1, decay=1.0)

OF_SCHEDULE = [
    *(rule(SCHEDULE) for rule in (fn.sgd, fn.adam, fn.adamw, fn.nadam, fn.adagrad, fn.rmsprop)),
    *(rule(0.1, decay=1.0) for rule in (fn.nnfs.sgd, fn.nnfs.adam, fn.nnfs.adagrad, fn.nnfs.rmsprop)),
    fn.sgd(SCHEDULE, momentum=0.9),
    fn.nnfs.sgd(0.1, decay=1.0, momentum=0.9),
    fn.chain(fn.clip(1.0), fn.sgd(SCHEDULE), fn.max_norm(2.0)),
    fn.chain(fn.chain(fn.adam(SCHEDULE)), fn.exponential_moving_average(0.9)),
    fn.chain(fn.sgd(fn.constant(9.0)), fn.sgd(SCHEDULE)),
    fn.skip_if_not_finite(fn.adam(SCHEDULE)),
    fn.skip_if_not_finite(fn.chain(fn.clip(1.0), fn.accumulate(fn.sgd(SCHEDULE), times=1))),
]


def rates_of(optimizer):
    """The learning rate that each of four steps measures."""
    _, *after = metrics_of(optimizer, 4, metrics={"rate": fn.learning_rate})
    return [metrics["rate"] for metrics in after]


@pytest.mark.parametrize("optimizer", OF_SCHEDULE, ids=str)
def test_the_learning_rate_is_that_of_the_schedule_through_whatever_stands_around(optimizer):
    assert rates_of(optimizer) == pytest.approx([*map(SCHEDULE, range(4))])
    assert rates_of(fn.accumulate(optimizer, times=2)) == pytest.approx([*map(SCHEDULE, (0, 0, 0, 1))])


@pytest.mark.parametrize("optimizer", [fn.clip(1.0), fn.chain(), fn.skip_if_not_finite(fn.clip(1.0)), optax.adam(0.1)])
def test_the_learning_rate_of_an_optimizer_without_one_is_refused(optimizer):
    with pytest.raises(InputError, match="train_step: expected an optimizer that tells its learning rate, got"):
        fn.train_step(MODEL, LOSS, optimizer, metrics={"rate": fn.learning_rate})


@pytest.mark.parametrize("optimizer", [fn.sgd(0.1), fn.chain(fn.clip_by_global_norm(1e-3), fn.sgd(0.1))], ids=str)
def test_the_gradient_norm_is_that_of_loss_and_penalty_before_any_clipping(optimizer):
    _, params, _ = start()
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    expected = fn.global_norm(tree.map(np.add, grads, fn.l2(0.1).gradient(params)))
    _, after = metrics_of(optimizer, metrics={"norm": fn.gradient_norm}, penalty=fn.l2(0.1))
    assert after["norm"] == pytest.approx(float(expected), rel=1e-6)
    assert after["norm"] > 1e-2


def test_a_metric_of_ones_own_measures_all_of_an_update():
    updates = []
    metrics = {"seen": fn.StepMetric(lambda update: updates.append(update) or 0)}
    step, params, state = start(fn.sgd(0.5), metrics=metrics)
    after, _ = step(params, state, samples())
    metrics_of(fn.clip(1.0), metrics=metrics)
    update, without_rate = updates
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    assert tree.equal((update.params, update.grads), (params, grads))
    assert tree.equal(update.updates, tree.map(lambda g: -0.5 * g, grads))
    assert tree.equal(after, tree.map(np.add, params, update.updates))
    assert (update.learning_rate, without_rate.learning_rate) == (0.5, None)


@pytest.mark.parametrize("value", [np.ones(3), np.ones((2, 1)), array_api_strict.ones(3), None, "high", (1, 2)])
def test_a_metric_that_is_no_number_is_refused_by_its_name(value):
    step, params, state = start(metrics={"wrong": lambda outputs, targets, weights: value})
    message = f"^metric 'wrong': expected one number, got {re.escape(str(getattr(value, 'shape', value)))}$"
    with pytest.raises(InputError, match=message):
        step(params, state, samples())
    with pytest.raises(InputError, match=message):
        fn.evaluate(MODEL, LOSS, params, samples(), metrics=step.metrics)


@pytest.mark.parametrize("value", [True, 3, 0.25, np.float32(0.25), np.int64(3), np.array(0.25), np.bool_(True)])
def test_any_number_is_measured_as_a_float(value):
    _, after = metrics_of(OPTIMIZER, metrics={"number": lambda outputs, targets, weights: value})
    assert (type(after["number"]), after["number"]) == (float, value)


@pytest.mark.parametrize("mode", [fn.INFERENCE, fn.Training(Key(5))], ids=str)
def test_the_mean_of_per_example_gradients_is_the_gradient(mode):
    _, params, _ = start()
    each = fn.per_example_gradients(MODEL, LOSS, params, samples(), mode)
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples(), mode)
    assert_trees_close(tree.map(lambda leaf: leaf.mean(axis=0), each), grads, rtol=1e-4, atol=1e-6)


def test_trajectory_is_the_lazy_fold_whose_steps_draw_from_keys_of_their_own():
    seen = []

    def forward(params, x, mode):
        seen.append(mode.key)
        return MODEL.forward(params, x, mode)

    _, params, state = start()
    step = fn.train_step(attrs.evolve(MODEL, forward=forward), LOSS, OPTIMIZER)
    pairs = list(take(4, fn.trajectory(step, params, state, itertools.repeat(samples()))))
    assert seen == [Key(0).at("train", i) for i in range(3)]
    for pair in pairs:
        assert tree.equal(pair, (params, state))
        params, state = step(params, state, samples())


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
@pytest.mark.parametrize("weights", [None, np.maximum(np.arange(20.0) - 9, 0)], ids=["unweighted", "weighted"])
def test_evaluation_does_not_depend_on_the_batch_size(batch_size, weights):
    _, params, _ = start()
    everything = samples(weights=weights)
    whole, _ = LOSS.forward(fn.predict(MODEL, params, everything.inputs), everything.targets, everything.weights)
    metrics = {"accuracy": fn.accuracy}
    found = fn.evaluate(MODEL, LOSS, params, everything, batch_size=batch_size, metrics=metrics)
    assert found["loss"] == pytest.approx(float(whole), rel=1e-6)
    outputs = fn.predict(MODEL, params, everything.inputs)
    assert found["accuracy"] == pytest.approx(fn.accuracy(outputs, everything.targets, everything.weights))


def test_the_step_runs_on_any_namespace():
    xp = array_api_strict
    metrics = {"accuracy": fn.accuracy, "norm": fn.gradient_norm, "rate": fn.learning_rate, "rows": count_of_rows}
    step, params, state = start(fn.sgd(0.1, momentum=0.9), metrics=metrics)
    strict = tree.map(lambda leaf: xp.asarray(np.array(leaf)), (params, samples(weights=np.ones(20, np.float32))))
    after, strict_state = step(strict[0], step.init(strict[0], state.key), strict[1])
    expected, state = step(params, state, samples())
    assert_trees_close(tree.map(np.asarray, after), expected)
    for name, value in strict_state.metrics.items():
        assert (value.dtype, float(value)) == (xp.asarray(0.0).dtype, pytest.approx(state.metrics[name], rel=1e-5))
    found = fn.evaluate(MODEL, LOSS, after, strict[1], batch_size=7)
    assert found == pytest.approx(fn.evaluate(MODEL, LOSS, expected, samples()), rel=1e-5)
    assert len(list(fn.batches(Key(0), strict[1], 7))) == 3


def step_with(metrics):
    return fn.train_step(MODEL, LOSS, OPTIMIZER, metrics=metrics)


def evaluated(batch=samples(), params=MODEL.init(Key(0), (4,))[0], **options):
    return fn.evaluate(MODEL, LOSS, params, batch, **options)


BY_NAME = "expected metrics by name, got"
TAKEN = "expected metrics of other names than those of the loss and penalty, got"
WRONG_METRICS = [
    (["accuracy"], BY_NAME),
    (fn.accuracy, BY_NAME),
    ({"accuracy": 1.0}, BY_NAME),
    ({"loss": fn.accuracy}, f"{TAKEN} loss"),
    ({"penalty": fn.gradient_norm}, f"{TAKEN} penalty"),
]
NOT_CALLED = "call its constructor:"
NO_DATASET = "expected a Batch, got Dataset; of a Dataset, give train or test"
UNEVEN = "evaluate: expected the same number of samples, at least one.*got"
DATA = fn.load_dataset("mnist_5k")
REFUSED = [
    *((lambda m=metrics: step_with(m), f"^train_step: {message}") for metrics, message in WRONG_METRICS),
    *((lambda m=metrics: evaluated(metrics=m), f"^evaluate: {message}") for metrics, message in WRONG_METRICS),
    (lambda: evaluated(metrics={"a": fn.accuracy, "b": fn.gradient_norm, "c": fn.learning_rate}), "got b, c, meas"),
    (lambda: fn.train_step(fn.dense, LOSS, OPTIMIZER), f"^train_step: expected a Layer, .*{NOT_CALLED} dense"),
    (lambda: fn.train_step(MODEL, fn.hinge, OPTIMIZER), f"^train_step: expected a Loss, .*{NOT_CALLED} softmax_cross"),
    (lambda: fn.train_step(MODEL, LOSS, fn.adam), f"^train_step: expected an Optimizer, .*{NOT_CALLED} adam"),
    (lambda: start()[0].init((), 0), r"^train_step\.init: expected a key, got 0; make one of a seed: Key\(0\)"),
    (lambda: start()[0](*start()[1:], samples(0)), r"^softmax_cross_entropy: .* at least one sample, got \(0, 3\)"),
    (lambda: fn.accuracy(np.eye(3), np.full((3, 3), 0.5)), "^accuracy: expected distributions, at least 0"),
    (lambda: evaluated(DATA), NO_DATASET),
    (lambda: fn.batches(Key(0), DATA, 10), NO_DATASET),
    *((lambda n=n: evaluated(batch_size=n), "a batch_size that is a positive whole number") for n in (0, -1, 2.5)),
    (lambda: evaluated(samples(0)), f"{UNEVEN} inputs 0, targets 0"),
    (lambda: evaluated(attrs.evolve(samples(5), targets=np.zeros(4, np.int64))), f"{UNEVEN} inputs 5, targets 4"),
    (lambda: evaluated(samples(5, np.ones(6))), f"{UNEVEN} inputs 5, targets 5, weights 6"),
    (lambda: evaluated(samples(5, np.zeros(5))), "evaluate: expected finite weights of at least 0, not all of them 0"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_a_step_or_an_evaluation_cannot_take_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


DIGEST = """
import hashlib, random
import numpy as np
import funcnn as fn

untouched = repr(np.random.get_state()), random.getstate()
key, data = fn.Key(7), fn.load_dataset("mnist_5k")
model, optimizer = fn.serial(fn.dense(16), fn.relu(), fn.dense(10)), fn.adam()
params, _ = model.init(key.at("init"), (784,))
metrics = {"accuracy": fn.accuracy, "norm": fn.gradient_norm}
step = fn.train_step(model, fn.softmax_cross_entropy(), optimizer, metrics=metrics)
state = step.init(params, key.at("train"))
for batch in fn.batches(key.at("epoch", 0), data.train, 256):
    params, state = step(params, state, batch)
assert (repr(np.random.get_state()), random.getstate()) == untouched
print(hashlib.sha256(b"".join(leaf.tobytes() for leaf in fn.tree.leaves(params))).hexdigest(), state.metrics)
"""


def peak_of_a_step(step, params, state, batch):
    """The most bytes of arrays that there were at once, over those of the params."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        step(params, state, batch)
        return (tracemalloc.get_traced_memory()[1] - before) / bytes_of(params)
    finally:
        tracemalloc.stop()


def bytes_of(params):
    return sum(leaf.nbytes for leaf in tree.leaves(params))


def test_a_step_with_adam_needs_no_more_than_old_and_new_and_one_leaf():
    model, optimizer = fn.serial(fn.dense(500), fn.relu(), fn.dense(500), fn.relu(), fn.dense(3)), fn.adam()
    params, _ = model.init(Key(0), (4,))
    step = fn.train_step(model, LOSS, optimizer, metrics={"norm": fn.gradient_norm, "accuracy": fn.accuracy})
    state = step.init(params, Key(0))
    largest = max(leaf.nbytes for leaf in tree.leaves(params)) / bytes_of(params)
    allowed = 4 + largest + 0.1  # gradient, both moments, and update or params, beside the old ones; batch and outputs

    def hoarding(params, state, batch):
        kept = [tree.map(np.copy, params) for _ in range(2)]
        return (*step(params, state, batch), kept)

    assert peak_of_a_step(step, params, state, samples()) <= allowed
    assert peak_of_a_step(hoarding, params, state, samples()) > allowed


def test_two_processes_with_one_seed_give_the_same_bytes():
    one, other = (ran("-W", "error", "-c", DIGEST, check=True).stdout for _ in range(2))
    assert one == other
    assert "accuracy" in one
