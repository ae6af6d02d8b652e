"""The training step, its fold, and evaluation."""

import math
import subprocess
import sys
import tracemalloc

import array_api_strict
import attrs
import numpy as np
import optax
import pytest
from hypothesis import given, seed, settings, strategies as st
from toolz import last, take

import funcnn as fn
from funcnn import Batch, InputError, Key, tree
from funcnn.testing import assert_trees_close, check_step, strategies as fst
from funcnn.testing.laws import as_dtype
from tests.catalogue import EXCEPTIONS, LOSSES, OPTIMIZERS, PENALTIES

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


HEADS = {
    "categorical_cross_entropy": fn.softmax(),
    "kl_divergence": fn.log_softmax(),
    "binary_cross_entropy": fn.sigmoid(),
}
"""What makes of any outputs those that a loss takes."""

OF_CLASSES = ("softmax_cross_entropy", "categorical_cross_entropy", "kl_divergence")


@st.composite
def runs(draw, rows):
    """A step of any parts, params for it, and a batch of ``rows`` samples."""
    (loss, drawn), optimizer = draw(st.sampled_from(LOSSES)), draw(st.sampled_from(ANY_OPTIMIZER))
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


@settings(max_examples=30)
@given(st.integers(1, 4).flatmap(runs), fst.keys())
def test_laws(run, key):
    check_step(*run, key=key, steps=4)


@pytest.mark.parametrize("part", [1, 2])  # which workers share
def test_laws_with_jax(part):
    @seed(part)
    @settings(max_examples=3)
    @given(runs(rows=4), fst.keys())
    def law(run, key):
        check_step(*run, key=key, steps=1, jax=True)

    law()


@pytest.mark.parametrize("optimizer", ANY_OPTIMIZER, ids=str)
def test_laws_for_every_optimizer(optimizer):
    metrics = {"size": fn.StepMetric(size_of_update), "norm": fn.gradient_norm}
    step, params, _ = start(optimizer, metrics=metrics)
    check_step(step, params, samples(), steps=5)


def test_only_the_loss_is_measured_unless_more_is_asked_for():
    step, params, state = start()
    assert list(state.metrics) == ["loss"]
    assert np.isnan(state.metrics["loss"])
    _, after = step(params, state, samples())
    value, _, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    assert after.metrics == {"loss": float(value)}
    assert fn.evaluate(MODEL, LOSS, params, samples()) == pytest.approx({"loss": float(value)})


def test_metrics_are_of_the_batch_before_its_update_and_in_the_order_given():
    _, params, _ = start()
    before, after = metrics_of(OPTIMIZER, metrics={"b": fn.accuracy, "a": fn.accuracy}, penalty=fn.l2(0.1))
    assert list(before) == list(after) == ["loss", "b", "a", "penalty"]
    assert all(map(np.isnan, before.values()))
    outputs = fn.predict(MODEL, params, samples().inputs)
    assert after["a"] == after["b"] == fn.accuracy(outputs, samples().targets)


SCHEDULE = fn.inverse_time_decay(0.1, decay=1.0)

OF_SCHEDULE = [
    fn.sgd(SCHEDULE),
    fn.sgd(SCHEDULE, momentum=0.9),
    fn.adam(SCHEDULE),
    fn.adamw(SCHEDULE),
    fn.nadam(SCHEDULE),
    fn.adagrad(SCHEDULE),
    fn.rmsprop(SCHEDULE),
    fn.nnfs.sgd(0.1, decay=1.0, momentum=0.9),
    fn.nnfs.adam(0.1, decay=1.0),
    fn.nnfs.adagrad(0.1, decay=1.0),
    fn.nnfs.rmsprop(0.1, decay=1.0),
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
    metrics = {"rate": fn.learning_rate}
    with pytest.raises(
        InputError, match=r"train_step: expected an optimizer that tells its learning rate, got .*; leave"
    ):
        fn.train_step(MODEL, LOSS, optimizer, metrics=metrics)


@pytest.mark.parametrize("optimizer", [fn.sgd(0.1), fn.chain(fn.clip_by_global_norm(1e-3), fn.sgd(0.1))], ids=str)
def test_the_gradient_norm_is_that_of_loss_and_penalty_before_any_clipping(optimizer):
    _, params, _ = start()
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    expected = fn.global_norm(tree.map(np.add, grads, fn.l2(0.1).gradient(params)))
    _, after = metrics_of(optimizer, metrics={"norm": fn.gradient_norm}, penalty=fn.l2(0.1))
    assert after["norm"] == pytest.approx(float(expected), rel=1e-6)
    assert after["norm"] > 1e-2


def test_a_metric_of_ones_own_measures_all_of_an_update():
    seen = []
    step, params, state = start(fn.sgd(0.5), metrics={"seen": fn.StepMetric(lambda update: seen.append(update) or 0)})
    step(params, state, samples())
    (update,) = seen
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    assert tree.equal((update.params, update.grads), (params, grads))
    assert tree.equal(update.updates, tree.map(lambda g: -update.learning_rate * g, grads))


def test_without_a_learning_rate_an_update_has_none():
    _, after = metrics_of(fn.clip(1.0), metrics={"none": fn.StepMetric(lambda update: update.learning_rate is None)})
    assert after["none"] == 1.0


@pytest.mark.parametrize(
    ("value", "found"),
    [(np.ones(3), r"\(3,\)"), (np.ones((2, 1)), r"\(2, 1\)"), (None, "None"), ("high", "high"), ((1, 2), r"\(1, 2\)")],
)
def test_a_metric_that_is_no_number_is_refused_by_its_name(value, found):
    step, params, state = start(metrics={"wrong": lambda outputs, targets, weights: value})
    with pytest.raises(InputError, match=f"^metric 'wrong': expected one number, got {found}$"):
        step(params, state, samples())
    with pytest.raises(InputError, match=f"^metric 'wrong': expected one number, got {found}$"):
        fn.evaluate(MODEL, LOSS, params, samples(), metrics=step.metrics)


@pytest.mark.parametrize("value", [True, 3, 0.25, np.float32(0.25), np.int64(3), np.array(0.25), np.bool_(True)])
def test_any_number_is_measured_as_a_float(value):
    metrics = {"number": lambda outputs, targets, weights: value}
    _, after = metrics_of(OPTIMIZER, metrics=metrics)
    assert (type(after["number"]), after["number"]) == (float, value)


def test_a_regression_has_no_accuracy():
    inputs = Key(0).normal((20, 4))
    batch, model, metrics = Batch(inputs, inputs @ np.ones((4, 3), np.float32)), fn.dense(3), {"accuracy": fn.accuracy}
    params, _ = model.init(Key(1), (4,))
    step = fn.train_step(model, fn.mean_squared_error(), fn.sgd(0.1), metrics=metrics)
    with pytest.raises(InputError, match="accuracy: expected distributions, at least 0 with a sum of 1, got"):
        step(params, step.init(params, Key(2)), batch)


def test_metrics_of_a_step_are_none_of_an_evaluation():
    _, params, _ = start()
    metrics = {"accuracy": fn.accuracy, "norm": fn.gradient_norm, "rate": fn.learning_rate}
    with pytest.raises(
        InputError, match="evaluate: expected metrics of outputs and targets, got norm, rate, measured by"
    ):
        fn.evaluate(MODEL, LOSS, params, samples(), metrics=metrics)


def test_a_step_follows_the_gradient():
    step, params, state = start(fn.sgd(0.5))
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    after, _ = step(params, state, samples())
    assert_trees_close(after, tree.map(lambda p, g: p - 0.5 * g, params, grads))


@pytest.mark.parametrize("mode", [fn.INFERENCE, fn.Training(Key(5))], ids=str)
def test_the_mean_of_per_example_gradients_is_the_gradient(mode):
    _, params, _ = start()
    each = fn.per_example_gradients(MODEL, LOSS, params, samples(), mode)
    _, grads, _ = fn.loss_and_gradient(MODEL, LOSS, params, samples(), mode)
    assert_trees_close(tree.map(lambda leaf: leaf.mean(axis=0), each), grads, rtol=1e-4, atol=1e-6)


def test_metrics_of_ones_own():
    def spread(outputs, targets, weights):
        return outputs.std()

    _, params, _ = start()
    outputs = fn.predict(MODEL, params, samples().inputs)
    _, after = metrics_of(OPTIMIZER, metrics={"spread": spread})
    found = fn.evaluate(MODEL, LOSS, params, samples(), metrics={"spread": spread})
    assert after["spread"] == found["spread"] == float(outputs.std())


def test_training_learns():
    step, params, state = start(fn.adam(0.05))
    final, _ = last(fn.trajectory(step, params, state, [samples()] * 200))
    before, after = (fn.evaluate(MODEL, LOSS, p, samples()) for p in (params, final))
    assert after["loss"] < 0.2 * before["loss"]


def test_trajectory_is_the_fold_and_lazy():
    step, params, state = start()

    def endless():
        while True:
            yield samples()

    pairs = list(take(4, fn.trajectory(step, params, state, endless())))
    assert tree.equal(pairs[0], (params, state))
    for batch in [samples()] * 3:
        params, state = step(params, state, batch)
    assert tree.equal(pairs[3], (params, state))


def test_each_step_draws_from_a_key_of_its_own():
    seen = []

    def forward(params, x, mode):
        seen.append(mode.key)
        return MODEL.forward(params, x, mode)

    _, params, state = start()
    step = fn.train_step(attrs.evolve(MODEL, forward=forward), LOSS, OPTIMIZER)
    last(fn.trajectory(step, params, state, [samples()] * 3))
    assert seen == [Key(0).at("train", i) for i in range(3)]


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


def test_no_weight_at_all_is_refused():
    _, params, _ = start()
    with pytest.raises(InputError, match="evaluate: expected finite weights of at least 0, not all of them 0"):
        fn.evaluate(MODEL, LOSS, params, samples(weights=np.zeros(20)))


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((fn.dense, LOSS, OPTIMIZER), r"expected a Layer, .*call its constructor: dense\(10\)"),
        (
            (MODEL, fn.softmax_cross_entropy, OPTIMIZER),
            r"expected a Loss, .*call its constructor: softmax_cross_entropy",
        ),
        ((MODEL, LOSS, fn.adam), r"expected an Optimizer, .*call its constructor: adam\(\)"),
    ],
)
def test_constructors_that_were_not_called_are_refused(arguments, message):
    with pytest.raises(InputError, match=f"train_step: {message}"):
        fn.train_step(*arguments)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["accuracy"], "expected metrics by name, got"),
        (fn.accuracy, "expected metrics by name, got"),
        ({"accuracy": 1.0}, "expected metrics by name, got"),
        ({"loss": fn.accuracy}, "expected metrics of other names than those of the loss and penalty, got loss"),
        (
            {"penalty": fn.gradient_norm},
            "expected metrics of other names than those of the loss and penalty, got penalty",
        ),
    ],
)
def test_metrics_have_names_of_their_own(metrics, message):
    with pytest.raises(InputError, match=f"^train_step: {message}"):
        fn.train_step(MODEL, LOSS, OPTIMIZER, metrics=metrics)
    with pytest.raises(InputError, match=f"^evaluate: {message}"):
        fn.evaluate(MODEL, LOSS, (), samples(), metrics=metrics)


def test_a_seed_is_no_key():
    step, params, _ = start()
    with pytest.raises(InputError, match=r"train_step\.init: expected a key, got 0; make one of a seed: Key\(0\)"):
        step.init(params, 0)


def test_several_inputs_are_samples_too():
    def both():
        def forward(params, x, mode):
            return x[0] + x[1], ()

        return fn.Layer(
            lambda key, shapes, **_: ((), shapes[0]), forward, lambda params, _, dy, **__: (params, (dy, dy))
        )

    model = fn.serial(fn.parallel(fn.dense(3), fn.dense(3)), both())
    params, _ = model.init(Key(0), ((4,), (2,)))
    batch = Batch((Key(1).normal((20, 4)), Key(2).normal((20, 2))), samples().targets)
    step = fn.train_step(model, LOSS, OPTIMIZER)
    state = step.init(params, Key(3))
    before = fn.evaluate(model, LOSS, params, batch, batch_size=7)
    for part in fn.batches(Key(4), batch, 6):
        params, state = step(params, state, part)
    assert fn.evaluate(model, LOSS, params, batch)["loss"] < before["loss"]


def test_a_whole_dataset_is_no_batch():
    _, params, _ = start()
    data = fn.load_dataset("mnist_5k")
    for call in (lambda: fn.evaluate(MODEL, LOSS, params, data), lambda: fn.batches(Key(0), data, 10)):
        with pytest.raises(InputError, match="expected a Batch, got Dataset; of a Dataset, give train or test"):
            call()


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_bad_batch_sizes_are_refused(batch_size):
    _, params, _ = start()
    with pytest.raises(InputError, match="evaluate: expected a batch_size that is a positive whole number"):
        fn.evaluate(MODEL, LOSS, params, samples(), batch_size=batch_size)


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (samples(0), "inputs 0, targets 0"),
        (attrs.evolve(samples(5), targets=np.zeros(4, np.int64)), "inputs 5, targets 4"),
        (attrs.evolve(samples(5), weights=np.ones(6)), "inputs 5, targets 5, weights 6"),
    ],
)
def test_bad_batches_are_refused(batch, found):
    _, params, _ = start()
    with pytest.raises(InputError, match=f"evaluate: expected the same number of samples, at least one.*got {found}"):
        fn.evaluate(MODEL, LOSS, params, batch)


def test_an_empty_batch_is_refused_by_a_step():
    step, params, state = start()
    with pytest.raises(
        InputError, match=r"softmax_cross_entropy: expected outputs .* at least one sample, got \(0, 3\)"
    ):
        step(params, state, samples(0))


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
    runs = [
        subprocess.run([sys.executable, "-W", "error", "-c", DIGEST], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert "accuracy" in runs[0]
