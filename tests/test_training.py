"""The training step, its fold, and evaluation."""

import subprocess
import sys
import tracemalloc

import array_api_strict
import attrs
import numpy as np
import pytest
from toolz import last, take

import funcnn as fn
from funcnn import Batch, InputError, Key, tree
from funcnn.testing import assert_trees_close, check_step

MODEL = fn.serial(fn.dense(6), fn.relu(), fn.dense(3))
LOSS = fn.softmax_cross_entropy()
OPTIMIZER = fn.adam(fn.inverse_time_decay(0.01, decay=0.1))


def samples(n=20, weights=None):
    return Batch(Key(1).normal((n, 4)), Key(2).permutation(n) % 3, weights)


def start(optimizer=OPTIMIZER):
    params, _ = MODEL.init(Key(0).at("init"), (4,))
    return fn.train_step(MODEL, LOSS, optimizer), params, fn.initial_state(optimizer, params, Key(0).at("train"))


@pytest.mark.parametrize("optimizer", [OPTIMIZER, fn.sgd(0.1, momentum=0.9)], ids=str)
@pytest.mark.parametrize("weights", [None, np.linspace(0, 1, 20, dtype=np.float32)], ids=["unweighted", "weighted"])
def test_laws(optimizer, weights):
    check_step(*start(optimizer), samples(weights=weights))


def test_a_step_records_loss_accuracy_and_rate():
    step, params, state = start()
    assert np.isnan(state.metrics["loss"])
    _, after = step(params, state, samples())
    value, _, outputs = fn.loss_and_gradient(MODEL, LOSS, params, samples())
    assert after.metrics == {"loss": float(value), "accuracy": fn.accuracy(outputs, samples().targets)}
    assert fn.hyperparameters(after.optimizer) == {"learning_rate": 0.01}


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
        return float(outputs.std())

    step = fn.train_step(MODEL, LOSS, OPTIMIZER, metrics={"spread": spread})
    _, params, state = start()
    _, state = step(params, state, samples())
    assert sorted(state.metrics) == ["loss", "spread"]
    assert sorted(fn.evaluate(MODEL, LOSS, params, samples(), metrics={"spread": spread})) == ["loss", "spread"]


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
    found = fn.evaluate(MODEL, LOSS, params, everything, batch_size=batch_size)
    assert found["loss"] == pytest.approx(float(whole), rel=1e-6)
    outputs = fn.predict(MODEL, params, everything.inputs)
    assert found["accuracy"] == pytest.approx(fn.accuracy(outputs, everything.targets, everything.weights))


def test_no_weight_at_all_is_refused():
    _, params, _ = start()
    with pytest.raises(InputError, match="evaluate: expected a weight above 0, got none"):
        fn.evaluate(MODEL, LOSS, params, samples(weights=np.zeros(20)))


def test_the_step_runs_on_any_namespace():
    xp = array_api_strict
    step, params, state = start(fn.sgd(0.1, momentum=0.9))
    strict = tree.map(lambda leaf: xp.asarray(np.array(leaf)), (params, samples(weights=np.ones(20, np.float32))))
    strict_state = fn.initial_state(fn.sgd(0.1, momentum=0.9), strict[0], state.key)
    after, _ = step(strict[0], strict_state, strict[1])
    expected, _ = step(params, state, samples())
    assert_trees_close(tree.map(np.asarray, after), expected)
    found = fn.evaluate(MODEL, LOSS, after, strict[1], batch_size=7)
    assert found == pytest.approx(fn.evaluate(MODEL, LOSS, expected, samples()), rel=1e-5)
    assert len(list(fn.batches(Key(0), strict[1], 7))) == 3


@pytest.mark.usefixtures("unchecked_annotations")
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


@pytest.mark.usefixtures("unchecked_annotations")
@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["accuracy"], "expected metrics by name, got"),
        (fn.accuracy, "expected metrics by name, got"),
        ({"accuracy": 1.0}, "expected metrics by name, got"),
        ({"loss": fn.accuracy}, "expected metrics of other names than those of the loss and penalty, got loss"),
    ],
)
def test_metrics_have_names_of_their_own(metrics, message):
    with pytest.raises(InputError, match=f"train_step: {message}"):
        fn.train_step(MODEL, LOSS, OPTIMIZER, metrics=metrics)


@pytest.mark.usefixtures("unchecked_annotations")
def test_a_seed_is_no_key():
    with pytest.raises(InputError, match=r"initial_state: expected a key, got 0; make one of a seed: Key\(0\)"):
        fn.initial_state(OPTIMIZER, (), 0)


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
    step, state = fn.train_step(model, LOSS, OPTIMIZER), fn.initial_state(OPTIMIZER, params, Key(3))
    before = fn.evaluate(model, LOSS, params, batch, batch_size=7)
    for part in fn.batches(Key(4), batch, 6):
        params, state = step(params, state, part)
    assert fn.evaluate(model, LOSS, params, batch)["loss"] < before["loss"]


@pytest.mark.usefixtures("unchecked_annotations")
def test_a_whole_dataset_is_no_batch():
    _, params, _ = start()
    data = fn.load_dataset("mnist_5k")
    for call in (lambda: fn.evaluate(MODEL, LOSS, params, data), lambda: fn.batches(Key(0), data, 10)):
        with pytest.raises(InputError, match="expected a Batch, got Dataset; of a Dataset, give train or test"):
            call()


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
@pytest.mark.usefixtures("unchecked_annotations")
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
state = fn.initial_state(optimizer, params, key.at("train"))
step = fn.train_step(model, fn.softmax_cross_entropy(), optimizer)
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
    step, state = fn.train_step(model, LOSS, optimizer), fn.initial_state(optimizer, params, Key(0))
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
