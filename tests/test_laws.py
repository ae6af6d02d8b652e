"""The tests of the tests: for every checker, a wrong implementation that it must catch."""

from functools import partial
from typing import Any

import attrs
import numpy as np
import optax
import pytest

import funcnn as fn
import funcnn.jax
from funcnn import INFERENCE, Key, frozendict, tree
from funcnn.jax import epoch, over_seeds
from funcnn.optimizers import accumulate_momentum
from funcnn.schedules import Schedule
from funcnn.testing import (
    BrokenLaw,
    assert_pure,
    assert_trees_close,
    check_combinator,
    check_layer,
    check_loss,
    check_metric,
    check_noise,
    check_optimizer,
    check_schedule,
    check_step,
    check_vjp,
)
from funcnn.testing.laws import Case
from funcnn.testing.layers import layer_laws
from tests.catalogue import indices, labels

DENSE = fn.dense(3)


def with_vjp(change):
    """The dense layer with ``change(params, x, dy, dparams, dx)`` in place of its cotangents."""

    def vjp(params, residuals, dy, *, need_dx=True):
        dparams, dx = DENSE.vjp(params, residuals, dy)
        dparams, dx = change(params, residuals, dy, dparams, dx)
        return dparams, dx if need_dx else None

    return attrs.evolve(DENSE, vjp=vjp)


def with_forward(change):
    """The dense layer with ``change(y, x, mode)`` in place of its outputs."""

    def forward(params, x, mode):
        y, residuals = DENSE.forward(params, x, mode)
        return change(y, x, mode), residuals

    return attrs.evolve(DENSE, forward=forward)


def with_spec(made, spec):
    """``made`` with a spec that is not its own."""
    object.__setattr__(made, "spec", spec)
    return made


def draws_without_a_key(y, x, mode):
    return y + np.random.standard_normal(y.shape).astype(y.dtype)


def writes_to_its_argument(y, x, mode):
    x *= 2
    return y


def stale():
    """A dense layer whose VJP uses the residuals of the first call of all."""
    first = []

    def forward(params, x, mode):
        first.append(x)
        return DENSE.forward(params, x, mode)

    def vjp(params, residuals, dy, *, need_dx=True):
        old = np.resize(first[0], residuals.shape).astype(dy.dtype)
        return DENSE.vjp(params, old, dy, need_dx=need_dx)

    return attrs.evolve(DENSE, forward=forward, vjp=vjp)


WRONG_LAYERS = {
    "wrong sign of dx": (with_vjp(lambda p, x, dy, dp, dx: (dp, -dx)), r"central differences.* in x$"),
    "missing transpose": (
        with_vjp(lambda p, x, dy, dp, dx: (attrs.evolve(dp, weights=dp.weights.T.reshape(dp.weights.shape)), dx)),
        r"central differences.* in params\.weights$",
    ),
    "batch mean twice": (
        with_vjp(lambda p, x, dy, dp, dx: (tree.map(lambda leaf: leaf / len(x), dp), dx)),
        r"at batch size 2.* in .*params\.weights",
    ),
    "biases forgotten": (
        with_vjp(lambda p, x, dy, dp, dx: (attrs.evolve(dp, biases=0 * dp.biases), dx)),
        r"in params\.biases$",
    ),
    "bias gradient broadcast": (
        with_vjp(lambda p, x, dy, dp, dx: (attrs.evolve(dp, biases=dy), dx)),
        r"cotangents.*params\.biases is float32 \(1, 3\) instead of float32 \(3,\)",
    ),
    "dtype promoted": (with_forward(lambda y, x, mode: y.astype(np.float64)), "forward keeps shape and dtype"),
    "argument mutated": (with_forward(writes_to_its_argument), "pure.*an argument is written to"),
    "global randomness": (with_forward(draws_without_a_key), "pure.*global random state has changed"),
    "rows mixed": (
        attrs.evolve(
            fn.identity(),
            forward=lambda p, x, mode: (x - x.mean(axis=0), ()),
            vjp=lambda p, r, dy, need_dx=True: (p, dy - dy.mean(axis=0) if need_dx else None),
        ),
        "rows do not depend on each other",
    ),
    "dx computed anyway": (
        attrs.evolve(DENSE, vjp=lambda p, r, dy, need_dx=True: DENSE.vjp(p, r, dy)),
        "need_dx",
    ),
    "stale residual": (stale(), r"central differences.* in params\.weights$"),
    "another spec": (with_spec(attrs.evolve(DENSE), fn.relu().spec), "spec"),
    "dtype ignored by init": (
        attrs.evolve(DENSE, init=lambda key, shape, dtype=np.float32: DENSE.init(key, shape)),
        "init is pure and keeps the dtype.*weights is float32",
    ),
}


@pytest.mark.parametrize(("layer", "message"), WRONG_LAYERS.values(), ids=WRONG_LAYERS)
def test_a_wrong_layer_is_caught(layer, message):
    with pytest.raises(BrokenLaw, match=message):
        check_layer(layer, (4,))


def test_a_gradient_of_integers_is_caught():
    embedding = fn.embedding(5, 3)
    wrong = attrs.evolve(embedding, vjp=lambda p, x, dy, need_dx=True: (embedding.vjp(p, x, dy)[0], np.zeros(x.shape)))
    with pytest.raises(BrokenLaw, match=r"cotangents.*structures differ"):
        check_layer(wrong, (2,), inputs=indices)
    params, _ = embedding.init(Key(0), (2,), dtype=np.float64)
    with pytest.raises(AssertionError, match="dx is given for inputs that are integers"):
        check_vjp(wrong, params, np.array([[0, 1]]), Key(0))


def test_check_layer_tries_the_noise_of_a_layer_that_draws():
    def forward(params, x, mode):
        kept = mode.key.bernoulli(0.5, x.shape) if isinstance(mode, fn.Training) else np.ones(x.shape, bool)
        return x * kept.astype(x.dtype), kept

    layer = fn.Layer(
        fn.relu().init,
        forward,
        lambda params, kept, dy, need_dx=True: (params, dy * kept.astype(dy.dtype) if need_dx else None),
    )
    law = "the mean over the noise is the output at inference"
    with pytest.raises(BrokenLaw, match=law):
        check_layer(layer, (5,))
    check_layer(layer, (5,), unless=[law])
    with pytest.raises(AssertionError, match="unless names laws of"):
        check_layer(layer, (5,), unless=["no law"])


def test_check_layer_asks_for_inputs_where_it_needs_them():
    with pytest.raises(fn.InputError, match=r"^check_layer: .*embedding\(5, 3\): expected integers.*give inputs="):
        check_layer(fn.embedding(5, 3), (4,))


def test_check_loss_takes_a_loss_of_several_outputs():
    loss = fn.mean_squared_error()

    def forward(outputs, targets, weights=None):
        values, residuals = zip(
            *(loss.forward(o, t, weights) for o, t in zip(outputs, targets, strict=True)), strict=True
        )
        return sum(values), residuals

    both = fn.Loss(forward, lambda residuals: tuple(map(loss.vjp, residuals)))

    def draw(key, batch):
        return tuple(tuple(key.at(a, b).normal((batch, 2), np.float64) for b in (0, 1)) for a in (0, 1))

    check_loss(both, draw)
    with pytest.raises(BrokenLaw, match="central differences"):
        check_loss(attrs.evolve(both, vjp=lambda residuals: tuple(-loss.vjp(each) for each in residuals)), draw)


def test_a_mask_without_rescaling_is_caught():
    def forward(params, x, mode):
        return (x, ()) if mode is INFERENCE else (x * mode.key.bernoulli(0.5, x.shape), ())

    wrong = attrs.evolve(fn.dropout(0.5), forward=forward)
    with pytest.raises(BrokenLaw, match=r"the mean over the noise is the output at inference.*off by up to"):
        check_noise(wrong, (4,))


@pytest.mark.parametrize(
    ("forward", "law"),
    [
        (lambda p, x, mode: (x * Key(0).bernoulli(0.5, x.shape) / 0.5, ()), "another key draws other noise"),
        (lambda p, x, mode: (x * mode.key.bernoulli(0.5, x.shape[1:]) / 0.5, ()), "every sample has noise of its own"),
    ],
)
def test_noise_that_is_shared_is_caught(forward, law):
    with pytest.raises(BrokenLaw, match=law):
        check_noise(attrs.evolve(fn.dropout(0.5), forward=forward), (40,))


def both_with_one_key(left, right):
    """The sum of two layers that hands the same key, and mode, to both."""

    def init(key, in_shape, *, dtype=np.float32):
        parts = [layer.init(key, in_shape, dtype=dtype) for layer in (left, right)]
        return tuple(params for params, _ in parts), parts[0][1]

    def forward(params, x, mode):
        parts = [layer.forward(p, x, mode) for layer, p in zip((left, right), params, strict=True)]
        return parts[0][0] + parts[1][0], tuple(residuals for _, residuals in parts)

    return fn.Layer(init, forward, fn.add(left, right).vjp)


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (both_with_one_key, r"initialized from a key of its own.*the keys are Key\(seed=0, path=\(\)\), Key"),
        (
            lambda a, b: attrs.evolve(fn.add(a, b), forward=both_with_one_key(a, b).forward),
            "draws from a key of its own.*the keys are",
        ),
        (lambda a, b: fn.serial(a), "2 layers are called 1 times"),
    ],
    ids=["one key for all params", "one key for all masks", "a layer left out"],
)
def test_a_wrong_combinator_is_caught(combine, message):
    with pytest.raises(BrokenLaw, match=message):
        check_combinator(combine, (3,))


def test_a_vjp_that_is_not_linear_is_caught():
    layer = with_vjp(lambda p, x, dy, dp, dx: (dp, dx + 1e-4 * dy.sum() ** 2))
    with pytest.raises(AssertionError, match=r"1 differs by up to"):
        layer_laws(layer, (4,))["the vjp is linear in dy"](Case(Key(0), 2))


def test_the_counter_example_is_the_smallest():
    with pytest.raises(BrokenLaw, match="at batch size 1, seed 0: "):
        check_layer(WRONG_LAYERS["wrong sign of dx"][0], (4,))


@pytest.mark.parametrize("oracle", ["differences", "jax"])
def test_both_oracles_catch_a_wrong_vjp(oracle):
    params, _ = DENSE.init(Key(0), (4,), dtype=np.float64)
    x = Key(1).normal((2, 4), np.float64)
    check_vjp(DENSE, params, x, Key(2), oracle=oracle)
    with pytest.raises(AssertionError, match="x"):
        check_vjp(WRONG_LAYERS["wrong sign of dx"][0], params, x, Key(2), oracle=oracle)


def test_a_kink_is_no_error():
    x = np.array([[1e-7, -1e-7, 1.0, 3e-5]])
    check_vjp(fn.relu(), (), x, Key(0))


def wrong_loss(**changes):
    return attrs.evolve(fn.softmax_cross_entropy(), **changes)


RIGHT_LOSS = fn.softmax_cross_entropy()


def multiplied_loss():
    """Squared errors whose weights are factors: those of 0 let NaN through."""

    def forward(outputs, targets, weights=None):
        shares = np.full(len(outputs), 1 / len(outputs)) if weights is None else weights / weights.sum()
        return ((outputs - targets) ** 2).astype(outputs.dtype).mean(axis=1) @ shares.astype(outputs.dtype), shares

    return attrs.evolve(
        fn.mean_squared_error(),
        forward=lambda o, t, w=None: (forward(o, np.eye(4)[t % 4], w)[0], (o, t, forward(o, np.eye(4)[t % 4], w)[1])),
        vjp=lambda r: ((r[0] - np.eye(4)[r[1] % 4]) * r[2][:, None] / 2).astype(r[0].dtype),
    )


WRONG_LOSSES = {
    "wrong sign": (wrong_loss(vjp=lambda r: -RIGHT_LOSS.vjp(r)), "gradient is that of central differences"),
    "sum instead of mean": (
        wrong_loss(
            forward=lambda o, t, w=None: (RIGHT_LOSS.forward(o, t, w)[0] * len(o), RIGHT_LOSS.forward(o, t, w)[1]),
            vjp=lambda r: RIGHT_LOSS.vjp(r) * len(r[0]),
        ),
        "weight of two|mean over samples",
    ),
    "weights ignored": (wrong_loss(forward=lambda o, t, w=None: RIGHT_LOSS.forward(o, t)), "a weight of two"),
    "weights multiplied": (multiplied_loss(), "a weight of zero is no sample"),
    "weights in the dtype of the outputs": (
        wrong_loss(forward=lambda o, t, w=None: RIGHT_LOSS.forward(o, t, None if w is None else w.astype(bool))),
        "a weight of two",
    ),
    "promoted": (
        wrong_loss(
            forward=lambda o, t, w=None: (np.float64(RIGHT_LOSS.forward(o, t, w)[0]), RIGHT_LOSS.forward(o, t, w)[1])
        ),
        "one number of the outputs' dtype",
    ),
    "gradient in float64": (
        wrong_loss(vjp=lambda r: RIGHT_LOSS.vjp(r).astype(np.float64)),
        "gradient is like the outputs",
    ),
}


@pytest.mark.parametrize(("loss", "message"), WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_a_wrong_loss_is_caught(loss, message):
    with pytest.raises(BrokenLaw, match=message):
        check_loss(loss, labels)


def wrong_optimizer(change):
    """SGD with ``change(updates, grads, state, params)`` in place of its updates."""
    right = fn.sgd(0.1)

    def update(grads, state, params):
        updates, state = right.update(grads, state, params)
        return change(updates, grads, params), state

    return attrs.evolve(right, update=update)


def writes_to_gradients(updates, grads, params):
    for leaf in tree.leaves(grads):
        leaf *= 2
    return updates


MOMENTUM = attrs.evolve(accumulate_momentum(0.9))


def promoted_state(updates, state):
    return updates, tree.map(lambda leaf: leaf.astype(np.float64), state)


WRONG_OPTIMIZERS = {
    "wrong sign": (wrong_optimizer(lambda u, g, p: tree.map(np.negative, u)), "a quadratic descends"),
    "noise at zero gradients": (wrong_optimizer(lambda u, g, p: tree.map(lambda a: a - 1e-9, u)), "exactly zero"),
    "promoted": (
        wrong_optimizer(lambda u, g, p: tree.map(lambda a: a * np.float64(1), u)),
        "keep structure, shape and dtype",
    ),
    "writes to gradients": (wrong_optimizer(writes_to_gradients), "pure.*written to"),
    "takes any gradients": (
        attrs.evolve(
            fn.sgd(0.1),
            update=lambda g, s, p: (tree.map(lambda a, b: np.float32(-0.1) * (a + 0 * b).astype(b.dtype), g, p), s),
        ),
        "gradients unlike the params are refused.*: gradients of one row are taken",
    ),
    "depends on the tree": (
        wrong_optimizer(lambda u, g, p: tree.map(lambda a: a / len(tree.leaves(g)), u)),
        "does not depend on the tree",
    ),
    "state promoted": (
        attrs.evolve(MOMENTUM, update=lambda g, s, p: promoted_state(*MOMENTUM.update(g, s, p))),
        "keep structure, shape and dtype.*is float32 .* instead of float64",
    ),
    "another state": (
        attrs.evolve(fn.sgd(0.1), update=lambda g, s, p: (fn.sgd(0.1).update(g, fn.sgd(0.1).init(p), p)[0], (s,))),
        "keep structure, shape and dtype",
    ),
}


@pytest.mark.parametrize(("optimizer", "message"), WRONG_OPTIMIZERS.values(), ids=WRONG_OPTIMIZERS)
def test_a_wrong_optimizer_is_caught(optimizer, message):
    with pytest.raises(BrokenLaw, match=message):
        check_optimizer(optimizer)


@pytest.mark.parametrize(
    "wrong",
    [
        fn.rmsprop(0.1, eps=1e-2, eps_placement="outside"),
        fn.rmsprop(0.1, eps=1e-3),
        fn.rmsprop(0.1, decay=0.8, eps=1e-2),
        fn.rmsprop(fn.exponential_decay(0.1, 0.99), eps=1e-2),
    ],
    ids=["eps misplaced", "another eps", "another decay", "another rate"],
)
def test_other_steps_than_the_oracle_s_are_caught(wrong):
    oracle = optax.rmsprop(0.1, eps=1e-2)
    check_optimizer(fn.rmsprop(0.1, eps=1e-2), oracle=oracle, examples=1)
    with pytest.raises(BrokenLaw, match=r"50 steps are those of the oracle.* differs by up to"):
        check_optimizer(wrong, oracle=oracle, examples=1)


def wrong_metric(change):
    """The accuracy with ``change(accuracy, outputs, targets, weights)`` in its place."""
    return lambda outputs, targets, weights=None: change(fn.accuracy, outputs, targets, weights)


WRONG_METRICS = {
    "weights as whole numbers": (
        wrong_metric(lambda f, o, t, w: f(o, t, w) if w is None or w.dtype.kind == "f" else int(f(o, t, w))),
        "a weight of two is the sample twice",
    ),
    "weights multiplied": (
        wrong_metric(lambda f, o, t, w: np.average(o[:, 0], weights=w)),
        "a weight of zero is no sample",
    ),
    "weights ignored": (wrong_metric(lambda f, o, t, w: f(o, t)), "a weight of two is the sample twice"),
    "weights not normalized": (
        wrong_metric(lambda f, o, t, w: f(o, t, w) if w is None else f(o, t, w) * w.mean()),
        "a weight of two is the sample twice",
    ),
    "unweighted is a sum": (
        wrong_metric(lambda f, o, t, w: f(o, t, w) * (len(o) if w is None else 1)),
        "equal weights are none",
    ),
    "the mean of batch means": (
        wrong_metric(lambda f, o, t, w: np.mean([f(o[i : i + 2], t[i : i + 2]) for i in range(0, len(o), 2)])),
        "a weight of two|order of samples|parts merge",
    ),
    "the largest": (wrong_metric(lambda f, o, t, w: float(np.max(np.abs(o)))), "parts merge to the whole"),
    "the first": (wrong_metric(lambda f, o, t, w: float(o[0, 0])), "the order of samples does not matter"),
    "writes to its outputs": (wrong_metric(lambda f, o, t, w: f(np.negative(o, out=o), t, w)), "written to"),
    "NaN": (wrong_metric(lambda f, o, t, w: f(o, t, w) * float("nan")), "the value is nan"),
    "not traced": (wrong_metric(lambda f, o, t, w: f(np.asarray(o), t, w)), "JAX gives the same"),
}


@pytest.mark.parametrize(("metric", "message"), WRONG_METRICS.values(), ids=WRONG_METRICS)
def test_a_wrong_metric_is_caught(metric, message):
    with pytest.raises(BrokenLaw, match=message):
        check_metric(metric, labels, jax=True)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda step: -0.1, "finite float of at least 0.*at step 0"),
        (lambda step: 1, "int at step"),
        (lambda step: 0.1 if step < 10 else 0.01, "JAX traces it"),
        (with_spec(Schedule(lambda step: 0.1), fn.constant(0.2).spec), "spec"),
    ],
)
def test_a_wrong_schedule_is_caught(schedule, message):
    with pytest.raises(BrokenLaw, match=message):
        check_schedule(schedule, jax=True)


RIGHT_STEP = fn.train_step(DENSE, fn.softmax_cross_entropy(), fn.sgd(0.1), metrics={"accuracy": fn.accuracy})
BATCH = fn.Batch(Key(1).normal((4, 4)), np.array([0, 1, 2, 0]))


def unchanged(*given):
    return given if len(given) > 1 else given[0]


@attrs.frozen
class WrongStep:
    """The right step, with ``after(params, state)`` in place of what it gives and ``before(state)`` of its first."""

    after: Any = unchanged
    before: Any = unchanged

    def init(self, params, key):
        return self.before(RIGHT_STEP.init(params, key))

    def __call__(self, params, state, batch):
        return self.after(*RIGHT_STEP(params, state, batch))


def with_state(change):
    """A wrong step whose states, but for the first, are changed by ``change``."""
    return WrongStep(lambda params, state: (params, change(state)))


def with_metrics(change):
    return with_state(lambda state: attrs.evolve(state, metrics=change(state.metrics)))


def with_every_state(change):
    """A wrong step all of whose states have the optimizer's state ``change(state)``."""

    def changed(state):
        return attrs.evolve(state, optimizer=change(state.optimizer))

    class Step(WrongStep):
        def __call__(self, params, state, batch):
            params, new = RIGHT_STEP(params, RIGHT_STEP.init(params, state.key), batch)
            return params, changed(attrs.evolve(new, step=state.step + 1))

    return Step(before=changed)


def counting():
    """A step that counts its calls for itself, and tells the count."""
    calls = []
    return with_metrics(lambda metrics: frozendict({**metrics, "loss": float(calls.append(0) or len(calls))}))


class Moved:
    """A change of the params."""

    def __call__(self, params, state):
        return tree.map(lambda leaf: leaf + 1, params), state


class LostByPickle(Moved):
    def __reduce__(self):
        return partial, (unchanged,)

    def __deepcopy__(self, memo):
        return self


class LostByCopy(Moved):
    def __deepcopy__(self, memo):
        return unchanged


def not_traced(params, state):
    return params, attrs.evolve(state, metrics=frozendict({name: float(v) for name, v in state.metrics.items()}))


def another_on_jax(params, state):
    return (params if isinstance(params.weights, np.ndarray) else tree.map(lambda leaf: 1.1 * leaf, params)), state


def another_tree_on_jax(params, state):
    metrics = state.metrics if isinstance(params.weights, np.ndarray) else {**state.metrics}
    return params, attrs.evolve(state, metrics=metrics)


def weak_on_jax(params, state):
    return params, attrs.evolve(state, metrics=frozendict({**state.metrics, "loss": 1.0}))


COUNT, KINDS = "the step counts by one and keeps its key", "params and state keep tree, shapes and dtypes"
SAVED, COPIED = "a saved run loads and goes on, bit for bit", "a pickled or copied step is the same step"
COMPILED = "JAX compiles the step once, and it is the same"

WRONG_STEPS = {
    "a counter of its own": (counting(), "pure.*second call"),
    "counts by two": (
        with_state(lambda s: attrs.evolve(s, step=s.step + 1)),
        f"{COUNT}': state.step is 2 after 1 steps",
    ),
    "does not count": (with_state(lambda s: attrs.evolve(s, step=1)), f"{COUNT}': state.step is 1 after 2 steps"),
    "begins at one": (
        WrongStep(before=lambda s: attrs.evolve(s, step=s.step + 1)),
        f"{COUNT}': state.step is 1 after 0 steps",
    ),
    "changes its key": (
        with_state(lambda s: attrs.evolve(s, key=s.key.at(0))),
        rf"{COUNT}': state.key is Key\(seed=0, path=\(0,\)\) after 1",
    ),
    "takes another key": (
        WrongStep(before=lambda s: attrs.evolve(s, key=Key(9))),
        f"{COUNT}': state.key is .* after 0",
    ),
    "a metric after the first step": (
        with_metrics(lambda m: frozendict({**m, "late": 0.0})),
        f"{KINDS}': after 1 steps state.metrics.late is float instead of missing",
    ),
    "a metric at the first step alone": (
        with_metrics(lambda m: frozendict({"loss": m["loss"]})),
        f"{KINDS}': after 1 steps state.metrics.accuracy is missing instead of float",
    ),
    "a metric of another dtype": (
        with_metrics(lambda m: frozendict({**m, "loss": np.float32(m["loss"])})),
        rf"{KINDS}': after 1 steps state.metrics.loss is float32 \(\) instead of float",
    ),
    "metrics in another order": (
        with_metrics(lambda m: frozendict({name: m[name] for name in ("accuracy", "loss")})),
        f"{KINDS}': after 1 steps the nodes differ",
    ),
    "metrics that can be changed": (with_metrics(dict), f"{KINDS}': after 1 steps the nodes differ"),
    "params of another dtype": (
        WrongStep(lambda params, state: (tree.map(lambda leaf: leaf.astype(np.float64), params), state)),
        rf"{KINDS}': after 1 steps params.weights is float64 \(4, 3\) instead of float32 \(4, 3\); params.biases is",
    ),
    "two leaves of one path": (
        with_every_state(lambda s: {"a.b": np.ones(1), "a": {"b": np.zeros(1)}}),
        f"{SAVED}': save_tree: expected a path of its own for every array",
    ),
    "a leaf that is no data": (with_every_state(lambda s: {0}), f"{SAVED}': Object of type set is not JSON"),
    "a closure": (WrongStep(lambda params, state: (params, state)), f"{COPIED}': .*pickle"),
    "a layer without a spec": (
        attrs.evolve(RIGHT_STEP, model=with_forward(lambda y, x, mode: y)),
        f"{COPIED}': .*pickle",
    ),
    "lost by pickling": (WrongStep(LostByPickle()), f"{COPIED}': pickled, params.weights is"),
    "lost by a deep copy": (WrongStep(LostByCopy()), f"{COPIED}': copied, params.weights is"),
    "not traced": (WrongStep(not_traced), f"{COMPILED}': "),
    "other values on JAX": (WrongStep(another_on_jax), f"{COMPILED}': params.weights differs by up to"),
    "another tree on JAX": (WrongStep(another_tree_on_jax), f"{COMPILED}': .*structures differ"),
    "compiled twice": (WrongStep(weak_on_jax), f"{COMPILED}': it is traced 2 times in 3 steps"),
}


@pytest.mark.parametrize(("step", "message"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_a_wrong_step_is_caught(step, message):
    params, _ = DENSE.init(Key(0), (4,))
    with pytest.raises(BrokenLaw, match=message):
        check_step(step, params, BATCH, steps=3, jax=True)


WRONG_ENGINES = {
    "epoch": (
        lambda step, size: lambda params, state, samples, key: epoch(step, size)(params, state, samples, key.at(0)),
        r"an epoch on JAX is its steps': params\.weights differs",
    ),
    "over_seeds": (
        lambda train: lambda seeds: over_seeds(train)([0 for _ in seeds]),
        r"seeds on JAX in one program are single runs': params\.weights differs",
    ),
}


@pytest.mark.parametrize("name", WRONG_ENGINES)
def test_a_wrong_engine_is_caught(name, monkeypatch):
    wrong, message = WRONG_ENGINES[name]
    monkeypatch.setattr(funcnn.jax, name, wrong)
    params, _ = DENSE.init(Key(0), (4,))
    with pytest.raises(BrokenLaw, match=message):
        check_step(RIGHT_STEP, params, BATCH, steps=3, jax=True)


def test_reading_global_randomness_is_caught():
    def secretly(x):
        state = np.random.get_state()
        noise = np.random.standard_normal()
        np.random.set_state(state)
        return x + noise

    with pytest.raises(AssertionError, match="another result"):
        assert_pure(secretly, np.ones(2))


def test_memory_between_calls_is_caught():
    calls = []
    with pytest.raises(AssertionError, match="another result"):
        assert_pure(lambda x: x + (calls.append(1) or len(calls)), np.ones(2))


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        ((np.zeros(2), 0.0), "structures differ"),
        ([np.zeros(3)], r"0 is float64 \(3,\) instead of float64 \(2,\)"),
        ([np.zeros(2, np.float32)], "0 is float32"),
        ([np.array([0.0, 0.1])], r"0 differs by up to 0\.1"),
        ([np.array([0.0, np.nan])], "0 differs"),
    ],
)
def test_differing_trees_are_caught(actual, message):
    with pytest.raises(AssertionError, match=message):
        assert_trees_close(actual, [np.zeros(2)])
