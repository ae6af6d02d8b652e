"""The tests of the tests: for every checker, wrong parts that it must catch, and name the law that they break."""

import re
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optax
import pytest
from attrs import evolve, frozen
from toolz import identity

import funcnn as fn
import funcnn.jax
from funcnn import INFERENCE, Key, frozendict, testing, tree
from funcnn.jax import epoch, over_seeds
from funcnn.optimizers import accumulate_momentum
from funcnn.schedules import Schedule
from funcnn.testing import BrokenLaw, check_layer, check_loss, check_vjp
from funcnn.testing.experiments import LAWS
from funcnn.testing.layers import layer_laws
from funcnn.testing.losses import loss_laws
from funcnn.testing.metrics import metric_laws
from funcnn.testing.optimizers import optimizer_laws, schedule_laws
from funcnn.testing.randomness import combinator_laws, noise_laws
from tests.catalogue import indices, labels

DENSE, DROPOUT, LOSS, SGD = fn.dense(3), fn.dropout(0.5), fn.softmax_cross_entropy(), fn.sgd(0.1)
PARAMS, _ = DENSE.init(Key(0), (4,))
BATCH = fn.Batch(Key(1).normal((4, 4)), np.array([0, 1, 2, 0]))
STEP = fn.train_step(DENSE, LOSS, SGD, metrics={"accuracy": fn.accuracy})

PAGE = (Path(__file__).parent.parent / "docs" / "laws.md").read_text()
REMAKE = "the page of laws is older than this fault: python -m tests.planted > docs/laws.md"

DIFFERENCES = "the vjp equals central differences"
COPIES = "a sample of weight k counts k times"
MEAN = "the mean over the noise is the output at inference"


def check_engine(wrong):
    """Check a right step on a wrong ``funcnn.jax``: the name of a function, and the one in its place."""
    with mock.patch.object(funcnn.jax, *wrong):
        testing.check_step(STEP, PARAMS, BATCH, steps=3, jax=True)


CHECKS = {
    "layer": partial(check_layer, in_shape=(4,), examples=5),
    "layer on JAX": partial(check_layer, in_shape=(4,), examples=1, jax=True),
    "linearity": partial(check_layer, in_shape=(4,), examples=5, unless=[DIFFERENCES]),
    "indices": partial(check_layer, in_shape=(2,), examples=5, inputs=indices),
    "loss": partial(check_loss, draw=labels, examples=5),
    "loss on JAX": partial(check_loss, draw=labels, examples=1, jax=True),
    "optimizer": partial(testing.check_optimizer, examples=2),
    "oracle": partial(testing.check_optimizer, examples=1, oracle=optax.rmsprop(0.1, eps=1e-2)),
    "schedule": partial(testing.check_schedule, jax=True),
    "metric": partial(testing.check_metric, draw=labels, examples=5, jax=True),
    "noise": partial(testing.check_noise, in_shape=(40,), examples=2),
    "combinator": partial(testing.check_combinator, in_shape=(3,), examples=2),
    "step": partial(testing.check_step, params=PARAMS, batch=BATCH, steps=3, jax=True),
    "engine": check_engine,
}


def with_vjp(change):
    """The dense layer with ``change(x, dy, dparams, dx)`` in place of its cotangents."""

    def vjp(params, x, dy, *, need_dx=True):
        dparams, dx = change(x, dy, *DENSE.vjp(params, x, dy))
        return dparams, dx if need_dx else None

    return evolve(DENSE, vjp=vjp)


def with_forward(change):
    """The dense layer with ``change(y, x)`` in place of its outputs."""

    def forward(params, x, mode):
        y, residuals = DENSE.forward(params, x, mode)
        return change(y, x), residuals

    return evolve(DENSE, forward=forward)


def with_spec(made, spec):
    """``made`` with a spec that is not its own."""
    object.__setattr__(made, "spec", spec)
    return made


def stale():
    """A dense layer whose VJP uses the residuals of the first call of all."""
    first = []

    def vjp(x, dy, dparams, dx):
        first.append(x)
        return evolve(dparams, weights=np.resize(first[0], x.shape).astype(dy.dtype).T @ dy), dx

    return with_vjp(vjp)


def writes(x):
    """``x``, written to with the values that it has."""
    return np.copyto(x, x.copy()) or x


LAYERS = {
    "wrong sign of dx": (
        with_vjp(lambda x, dy, dp, dx: (dp, -dx)),
        f"{DIFFERENCES}' at batch size 1, seed 0: .* in x$",  # the smallest case
    ),
    "missing transpose": (
        with_vjp(lambda x, dy, dp, dx: (evolve(dp, weights=dp.weights.T.reshape(dp.weights.shape)), dx)),
        r"central differences.* in params\.weights$",
    ),
    "batch mean twice": (
        with_vjp(lambda x, dy, dp, dx: (tree.map(lambda leaf: leaf / len(x), dp), dx)),
        r"at batch size 2.* in .*params\.weights",
    ),
    "biases forgotten": (with_vjp(lambda x, dy, dp, dx: (evolve(dp, biases=0 * dp.biases), dx)), r"in params\.biases$"),
    "bias gradient broadcast": (
        with_vjp(lambda x, dy, dp, dx: (evolve(dp, biases=dy), dx)),
        r"cotangents.*params\.biases is float32 \(1, 3\) instead of float32 \(3,\)",
    ),
    "dtype promoted": (with_forward(lambda y, x: y.astype(np.float64)), "forward keeps shape and dtype"),
    "argument mutated": (with_forward(lambda y, x: y + 0 * np.negative(x, out=x).sum()), "pure.*is written to"),
    "global randomness": (
        with_forward(lambda y, x: y + np.random.standard_normal(y.shape).astype(y.dtype)),
        "pure.*global random state has changed",
    ),
    "subtracts the batch mean": (
        evolve(
            fn.identity(),
            forward=lambda p, x, mode: (x - x.mean(axis=0), ()),
            vjp=lambda p, r, dy, need_dx=True: (p, dy - dy.mean(axis=0) if need_dx else None),
        ),
        "rows do not depend on each other",
    ),
    "dx computed anyway": (evolve(DENSE, vjp=lambda p, r, dy, need_dx=True: DENSE.vjp(p, r, dy)), "need_dx"),
    "stale residual": (stale(), r"central differences.* in params\.weights$"),
    "the spec of another part": (with_spec(evolve(DENSE), fn.relu().spec), "spec"),
    "dtype ignored by init": (
        evolve(DENSE, init=lambda key, shape, dtype=np.float32: DENSE.init(key, shape)),
        "init is pure and keeps the dtype.*weights is float32",
    ),
    "writes to x at inference": (
        evolve(DENSE, forward=lambda p, x, mode: DENSE.forward(p, writes(x) if mode is INFERENCE else x, mode)),
        "pure at inference.*read-only",
    ),
}

LAYERS_ON_JAX = {
    "a forward pass that JAX cannot trace": (
        evolve(DENSE, forward=lambda p, x, mode: DENSE.forward(p, np.asarray(x), mode)),
        "the vjp equals that of JAX.*traced array",
    ),
    "other outputs on JAX": (
        with_forward(lambda y, x: y if isinstance(y, np.ndarray) else 2 * y),
        r"the vjp equals that of JAX.*: params\.weights differs",
    ),
}

EMBEDDING = fn.embedding(5, 3)
OF_INTEGERS = evolve(EMBEDDING, vjp=lambda p, x, dy, need_dx=True: (EMBEDDING.vjp(p, x, dy)[0], np.zeros(x.shape)))


def multiplied_loss():
    """Squared errors whose weights are factors: those of 0 let NaN through."""

    def forward(outputs, targets, weights=None):
        errors = outputs - np.eye(4)[targets % 4]
        shares = np.full(len(outputs), 1 / len(outputs)) if weights is None else weights / weights.sum()
        value = (errors**2).astype(outputs.dtype).mean(axis=1) @ shares.astype(outputs.dtype)
        return value, (errors * shares[:, None] / 2).astype(outputs.dtype)

    return fn.Loss(forward, lambda gradient: gradient)


def wrong_loss(change):
    """The cross-entropy with ``change(value, outputs)`` in place of its value."""

    def forward(outputs, targets, weights=None):
        value, residuals = LOSS.forward(outputs, targets, weights)
        return change(value, outputs), residuals

    return evolve(LOSS, forward=forward)


def root_loss():
    """The root of the cross-entropy: its gradient and weights are right, but it is no mean over samples."""

    def forward(outputs, targets, weights=None):
        value, residuals = LOSS.forward(outputs, targets, weights)
        return np.sqrt(value), (np.sqrt(value), residuals)

    def vjp(residuals):
        value, of_square = residuals
        return LOSS.vjp(of_square) / (2 * value)

    return fn.Loss(forward, vjp)


LOSSES = {
    "wrong sign": (evolve(LOSS, vjp=lambda r: -LOSS.vjp(r)), "gradient equals central differences"),
    "sum instead of mean": (
        evolve(wrong_loss(lambda value, o: value * len(o)), vjp=lambda r: LOSS.vjp(r) * len(r[0])),
        "counts k times|mean over samples",
    ),
    "weights ignored": (evolve(LOSS, forward=lambda o, t, w=None: LOSS.forward(o, t)), "counts k times"),
    "weights as plain factors": (multiplied_loss(), "a sample of weight zero does not count"),
    "weights as booleans": (
        evolve(LOSS, forward=lambda o, t, w=None: LOSS.forward(o, t, None if w is None else w.astype(bool))),
        "counts k times",
    ),
    "promoted": (wrong_loss(lambda value, o: np.float64(value)), "one number of the outputs' dtype"),
    "gradient in float64": (
        evolve(LOSS, vjp=lambda r: LOSS.vjp(r).astype(np.float64)),
        "gradient has the shape and dtype of the outputs",
    ),
    "writes to the outputs": (
        evolve(LOSS, forward=lambda o, t, w=None: LOSS.forward(writes(o), t, w)),
        "pure.*read-only",
    ),
    "root of the mean": (root_loss(), "the value is the mean over samples"),
    "the spec of another part": (
        with_spec(evolve(LOSS), fn.softmax_cross_entropy(label_smoothing=0.1).spec),
        "spec.*differs",
    ),
}

LOSSES_ON_JAX = {
    "another value on JAX": (
        wrong_loss(lambda value, o: value if isinstance(o, np.ndarray) else 2 * value),
        "the gradient equals that of JAX",
    ),
}


def with_updates(change):
    """SGD with ``change(updates, grads)`` in place of its updates."""

    def update(grads, state, params):
        updates, state = SGD.update(grads, state, params)
        return change(updates, grads), state

    return evolve(SGD, update=update)


def promoting():
    """Momentum whose state becomes float64."""
    right = accumulate_momentum(0.9)

    def update(grads, state, params):
        updates, state = right.update(grads, state, params)
        return updates, tree.map(lambda leaf: leaf.astype(np.float64), state)

    return evolve(right, update=update)


KINDS_KEPT = "keep structure, shape and dtype"
OPTIMIZERS = {
    "wrong sign": (with_updates(lambda u, g: tree.map(np.negative, u)), "50 steps decrease a quadratic function"),
    "noise at zero gradients": (with_updates(lambda u, g: tree.map(lambda a: a - 1e-9, u)), "exactly zero"),
    "promoted": (with_updates(lambda u, g: tree.map(lambda a: a * np.float64(1), u)), KINDS_KEPT),
    "writes to grads": (with_updates(lambda u, g: tree.map(lambda a: np.negative(a, out=a), g)), "pure.*written to"),
    "takes any gradients": (
        evolve(SGD, update=lambda g, s, p: (tree.map(lambda a, b: -(a + 0 * b).astype(b.dtype) / 10, g, p), s)),
        "gradients that do not fit the params are refused.*: gradients of one row are taken",
    ),
    "depends on tree": (
        with_updates(lambda u, g: tree.map(lambda a: a / len(tree.leaves(g)), u)),
        "not depend on the tree",
    ),
    "state promoted": (promoting(), f"{KINDS_KEPT}.*is float32 .* instead of float64"),
    "a state of another structure": (
        evolve(SGD, update=lambda g, s, p: (SGD.update(g, SGD.init(p), p)[0], (s,))),
        KINDS_KEPT,
    ),
    "the spec of another part": (with_spec(evolve(SGD), fn.sgd(0.2).spec), "spec builds the same again.*differs"),
}

ORACLES = {
    "eps misplaced": fn.rmsprop(0.1, eps=1e-2, eps_placement="outside"),
    "a different eps": fn.rmsprop(0.1, eps=1e-3),
    "a different decay": fn.rmsprop(0.1, decay=0.8, eps=1e-2),
    "a different rate": fn.rmsprop(fn.exponential_decay(0.1, 0.99), eps=1e-2),
}

SCHEDULES = {
    "negative": (lambda step: -0.1, "finite float of at least 0.*at step 0"),
    "an integer": (lambda step: 1, "int at step"),
    "not traced": (lambda step: 0.1 if step < 10 else 0.01, "JAX traces it"),
    "the spec of another part": (with_spec(Schedule(lambda step: 0.1), fn.constant(0.2).spec), "spec"),
}


def wrong_metric(change):
    """The accuracy with ``change(accuracy, outputs, targets, weights)`` in its place."""
    return lambda outputs, targets, weights=None: change(fn.accuracy, outputs, targets, weights)


METRICS = {
    "truncated if weights are integers": (
        wrong_metric(lambda f, o, t, w: f(o, t, w) if w is None or w.dtype.kind == "f" else int(f(o, t, w))),
        COPIES,
    ),
    "weights as plain factors": (
        wrong_metric(lambda f, o, t, w: np.average(o[:, 0], weights=w)),
        "weight zero does not count",
    ),
    "weights ignored": (wrong_metric(lambda f, o, t, w: f(o, t)), COPIES),
    "not normalized": (wrong_metric(lambda f, o, t, w: f(o, t, w) if w is None else f(o, t, w) * w.mean()), COPIES),
    "a sum if there are no weights": (
        wrong_metric(lambda f, o, t, w: f(o, t, w) * (len(o) if w is None else 1)),
        "equal weights",
    ),
    "mean of means": (
        wrong_metric(lambda f, o, t, w: np.mean([f(o[i : i + 2], t[i : i + 2]) for i in range(0, len(o), 2)])),
        "counts k times|order of samples|values of parts",
    ),
    "the largest output": (
        wrong_metric(lambda f, o, t, w: float(np.max(np.abs(o)))),
        "the values of parts merge to the value of the whole",
    ),
    "the first output": (wrong_metric(lambda f, o, t, w: float(o[0, 0])), "the order of samples does not matter"),
    "writes to the outputs": (wrong_metric(lambda f, o, t, w: f(np.negative(o, out=o), t, w)), "written to"),
    "NaN": (wrong_metric(lambda f, o, t, w: f(o, t, w) * float("nan")), "the value is nan"),
    "not traced": (wrong_metric(lambda f, o, t, w: f(np.asarray(o), t, w)), "JAX gives the same"),
}


def noise(masked):
    """Dropout with ``masked(x, key)`` in training."""
    return evolve(DROPOUT, forward=lambda p, x, mode: (x if mode is INFERENCE else masked(x, mode.key), ()))


NOISES = {
    "not scaled": (noise(lambda x, key: x * key.bernoulli(0.5, x.shape)), f"{MEAN}.*off by up to"),
    "ignores the key": (
        noise(lambda x, key: 2 * x * Key(0).bernoulli(0.5, x.shape)),
        "another key draws different noise",
    ),
    "one mask for the whole batch": (
        noise(lambda x, key: 2 * x * key.bernoulli(0.5, x.shape[1:])),
        "every sample gets its own noise",
    ),
}


def both_with_one_key(left, right):
    """The sum of two layers that hands the same key, and mode, to both."""

    def init(key, in_shape, *, dtype=np.float32):
        parts = [layer.init(key, in_shape, dtype=dtype) for layer in (left, right)]
        return tuple(params for params, _ in parts), parts[0][1]

    def forward(params, x, mode):
        parts = [layer.forward(p, x, mode) for layer, p in zip((left, right), params, strict=True)]
        return parts[0][0] + parts[1][0], tuple(residuals for _, residuals in parts)

    return fn.Layer(init, forward, fn.add(left, right).vjp)


COMBINATORS = {
    "one key for all params": (both_with_one_key, r"initialized from its own key.*the keys are Key\(seed=0, p"),
    "one key for masks": (
        lambda a, b: evolve(fn.add(a, b), forward=both_with_one_key(a, b).forward),
        "draws from its own key.*the keys are",
    ),
    "a layer left out": (lambda a, b: fn.serial(a), "2 layers are called 1 times"),
}


def unchanged(params, state):
    return params, state


@frozen
class Wrong:
    """The right step, with ``after(params, state)`` in place of what it gives and ``before(state)`` of its first."""

    after: Any = unchanged
    before: Any = identity

    def init(self, params, key):
        return self.before(STEP.init(params, key))

    def __call__(self, params, state, batch):
        return self.after(*STEP(params, evolve(state, optimizer=SGD.init(params)), batch))


def changed(state, changes):
    return evolve(state, **{name: change(state) for name, change in changes.items()})


def with_state(**changes):
    """A wrong step whose states, but for the first, have these fields, as functions of the right state."""
    return Wrong(after=lambda params, state: (params, changed(state, changes)))


def with_first(**changes):
    return Wrong(before=lambda state: changed(state, changes))


def with_metrics(change):
    return with_state(metrics=lambda state: frozendict(change(state.metrics)))


def with_all(optimizer_state):
    """A wrong step all of whose states have this state of the optimizer."""
    change = partial(evolve, optimizer=optimizer_state)
    return Wrong(lambda params, state: (params, change(state)), change)


def counting():
    """A step that counts its calls for itself, and tells the count."""
    calls = []
    return with_metrics(lambda m: {**m, "loss": float(calls.append(0) or len(calls))})


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
    return params, evolve(state, metrics=frozendict({name: float(v) for name, v in state.metrics.items()}))


def another_on_jax(params, state):
    return (params if isinstance(params.weights, np.ndarray) else tree.map(lambda leaf: 1.1 * leaf, params)), state


def another_tree_on_jax(params, state):
    metrics = state.metrics if isinstance(params.weights, np.ndarray) else {**state.metrics}
    return params, evolve(state, metrics=metrics)


def weak_on_jax(params, state):
    return params, evolve(state, metrics=frozendict({**state.metrics, "loss": 1.0}))


COUNT = "the step counts by one and keeps its key'"
KINDS = "params and state keep tree, shapes and dtypes': after 1 steps:"
SAVED, COPIED = "a saved run loads and continues, bit for bit'", "a pickled or copied step is the same step'"
COMPILED = "JAX compiles the step once, with the same result'"

STEPS = {
    "a counter of its own": (counting(), "pure.*second call"),
    "counts by two": (with_state(step=lambda s: s.step + 1), f"{COUNT}: state.step is 2 after 1 steps"),
    "does not count": (with_state(step=lambda s: 1), f"{COUNT}: state.step is 1 after 2 steps"),
    "begins at one": (with_first(step=lambda s: s.step + 1), f"{COUNT}: state.step is 1 after 0 steps"),
    "changes its key": (with_state(key=lambda s: s.key.at(0)), rf"{COUNT}: state.key is .*path=\(0,\)\) after 1"),
    "takes another key": (with_first(key=lambda s: Key(9)), f"{COUNT}: state.key is .* after 0"),
    "a late metric": (with_metrics(lambda m: {**m, "late": 0.0}), f"{KINDS} state.metrics.late is float instead"),
    "an early metric": (with_metrics(lambda m: {"loss": m["loss"]}), f"{KINDS} state.metrics.accuracy is missing ins"),
    "a metric of another dtype": (
        with_metrics(lambda m: {**m, "loss": np.float32(m["loss"])}),
        rf"{KINDS} state.metrics.loss is float32 \(\) instead of float",
    ),
    "metrics in another order": (with_metrics(lambda m: dict(sorted(m.items()))), f"{KINDS} the nodes differ"),
    "metrics that can be changed": (with_state(metrics=lambda s: {**s.metrics}), f"{KINDS} the nodes differ"),
    "params of another dtype": (
        Wrong(lambda params, state: (tree.map(lambda leaf: leaf.astype(np.float64), params), state)),
        rf"{KINDS} params.weights is float64 \(4, 3\) instead of .*; params.biases is",
    ),
    "two leaves with the same path": (
        with_all({"a.b": np.ones(1), "a": {"b": np.zeros(1)}}),
        f"{SAVED}: InputError: save_tree: expected a path of its own",
    ),
    "a leaf that cannot be saved": (
        with_all({0}),
        rf"{SAVED}: InputError: save_tree 1.optimizer: expected .* which can be saved, got set",
    ),
    "a closure": (Wrong(lambda params, state: (params, state)), f"{COPIED}: .*pickle"),
    "a layer without a spec": (evolve(STEP, model=with_forward(lambda y, x: y)), f"{COPIED}: .*pickle"),
    "lost by pickling": (Wrong(LostByPickle()), f"{COPIED}: pickled: params.weights differs"),
    "lost by a deep copy": (Wrong(LostByCopy()), f"{COPIED}: copied: params.weights differs"),
    "not traced": (Wrong(not_traced), f"{COMPILED}: "),
    "other values on JAX": (Wrong(another_on_jax), f"{COMPILED}: params.weights differs by up to"),
    "another tree on JAX": (Wrong(another_tree_on_jax), f"{COMPILED}: .*structures differ"),
    "compiled twice": (Wrong(weak_on_jax), f"{COMPILED}: it is traced 2 times in 3 steps"),
}

ENGINES = {
    "an epoch in another order": (
        ("epoch", lambda step, size: lambda *args: epoch(step, size)(*args[:-1], args[-1].at(0))),
        r"an epoch on JAX equals its steps': params\.weights differs",
    ),
    "one seed for all": (
        ("over_seeds", lambda train: lambda seeds: over_seeds(train)([0 for _ in seeds])),
        r"many seeds in one JAX program equal single runs': params\.weights differs",
    ),
}

FAULTS = {
    "layer": LAYERS,
    "layer on JAX": LAYERS_ON_JAX,
    "linearity": {
        "a quadratic term in dx": (
            with_vjp(lambda x, dy, dp, dx: (dp, dx + 1e-4 * dy.sum() ** 2)),
            "the vjp is linear in dy.* 1 differs",
        )
    },
    "indices": {"a gradient for integers": (OF_INTEGERS, r"cotangents.*structures differ")},
    "loss": LOSSES,
    "loss on JAX": LOSSES_ON_JAX,
    "optimizer": OPTIMIZERS,
    "oracle": {
        name: (wrong, "50 steps equal those of the oracle.* differs by up to") for name, wrong in ORACLES.items()
    },
    "schedule": SCHEDULES,
    "metric": METRICS,
    "noise": NOISES,
    "combinator": COMBINATORS,
    "step": STEPS,
    "engine": ENGINES,
}


@pytest.mark.parametrize(
    ("check", "name", "part", "message"),
    [
        pytest.param(CHECKS[kind], name, *row, id=f"{kind}: {name}")
        for kind, faults in FAULTS.items()
        for name, row in faults.items()
    ],
)
def test_a_fault_is_caught_by_its_law(check, name, part, message):
    with pytest.raises(BrokenLaw, match=message) as caught:
        check(part)
    law = re.search(r"breaks the law '(.*?)'(?: at|:)", str(caught.value))[1]
    assert re.search(rf"^\| {re.escape(law)} \| (?:.*; )?{re.escape(name)}(?:;| \|)", PAGE, re.MULTILINE), REMAKE


def laws_of_a_step():
    """The laws that :func:`funcnn.testing.check_step` tries, which needs the step to make them."""
    with mock.patch("funcnn.testing.training.hold") as hold:
        CHECKS["step"](STEP)
    return [law for call in hold.call_args_list for law in call.args[1]]


ALL_LAWS = {
    "check_layer": lambda: layer_laws(DENSE, (4,), jax=True),
    "check_noise": lambda: noise_laws(DROPOUT, (4,)),
    "check_combinator": lambda: combinator_laws(fn.add, (4,)),
    "check_loss": lambda: loss_laws(LOSS, labels, jax=True),
    "check_optimizer": lambda: optimizer_laws(SGD, oracle=SGD),
    "check_schedule": lambda: schedule_laws(fn.constant(0.1), jax=True),
    "check_metric": lambda: metric_laws(fn.accuracy, labels, jax=True),
    "check_step": laws_of_a_step,
    "check_experiment": lambda: LAWS,
}


def test_every_law_of_every_checker_has_a_fault_on_the_page():
    sections = dict(re.findall(r"^`(check_\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    on_page = {checker: {*re.findall(r"^\| (.*?) \|", text, re.MULTILINE)} for checker, text in sections.items()}
    assert on_page == {checker: {"law", *laws()} for checker, laws in ALL_LAWS.items()}, REMAKE


def test_steps_of_the_oracle_pass():
    CHECKS["oracle"](fn.rmsprop(0.1, eps=1e-2))


def test_check_layer_tries_the_noise_of_a_layer_that_draws():
    def forward(params, x, mode):
        kept = np.ones(x.shape, bool) if mode is INFERENCE else mode.key.bernoulli(0.5, x.shape)
        return x * kept.astype(x.dtype), kept

    def vjp(params, kept, dy, need_dx=True):
        return params, dy * kept.astype(dy.dtype) if need_dx else None

    layer = fn.Layer(fn.relu().init, forward, vjp)
    with pytest.raises(BrokenLaw, match=MEAN):
        CHECKS["layer"](layer)
    check_layer(layer, (5,), unless=[MEAN], examples=2)
    with pytest.raises(AssertionError, match="unless names laws of"):
        check_layer(layer, (5,), unless=["no law"])


def test_check_layer_asks_for_inputs_where_it_needs_them():
    with pytest.raises(fn.InputError, match=r"^check_layer: .*embedding\(5, 3\): expected integers.*give inputs="):
        check_layer(EMBEDDING, (4,))


def test_check_loss_takes_a_loss_of_several_outputs():
    loss = fn.mean_squared_error()

    def forward(outputs, targets, weights=None):
        pairs = [loss.forward(o, t, weights) for o, t in zip(outputs, targets, strict=True)]
        return sum(value for value, _ in pairs), [residuals for _, residuals in pairs]

    def draw(key, batch):
        return tuple(tuple(key.at(a, b).normal((batch, 2), np.float64) for b in (0, 1)) for a in (0, 1))

    both = fn.Loss(forward, lambda residuals: tuple(map(loss.vjp, residuals)))
    check_loss(both, draw, examples=5)
    with pytest.raises(BrokenLaw, match="central differences"):
        check_loss(evolve(both, vjp=lambda residuals: tuple(-loss.vjp(each) for each in residuals)), draw, examples=5)


@pytest.mark.parametrize("oracle", ["differences", "jax"])
def test_both_oracles_catch_a_wrong_vjp(oracle):
    params, _ = DENSE.init(Key(0), (4,), dtype=np.float64)
    x = Key(1).normal((2, 4), np.float64)
    check_vjp(DENSE, params, x, Key(2), oracle=oracle)
    with pytest.raises(AssertionError, match="x"):
        check_vjp(LAYERS["wrong sign of dx"][0], params, x, Key(2), oracle=oracle)


def test_a_gradient_of_integers_is_caught():
    params, _ = EMBEDDING.init(Key(0), (2,), dtype=np.float64)
    with pytest.raises(AssertionError, match="dx is given for inputs that are integers"):
        check_vjp(OF_INTEGERS, params, np.array([[0, 1]]), Key(0))


def test_a_kink_is_no_error():
    check_vjp(fn.relu(), (), np.array([[1e-7, -1e-7, 1.0, 3e-5]]), Key(0))


def reads_global_randomness(x):
    state = np.random.get_state()
    noise = np.random.standard_normal()
    np.random.set_state(state)
    return x + noise


def remembers(x, calls=[]):  # noqa: B006 which is the fault
    return x + (calls.append(1) or len(calls))


@pytest.mark.parametrize("function", [reads_global_randomness, remembers])
def test_an_impure_function_is_caught(function):
    with pytest.raises(AssertionError, match="another result"):
        testing.assert_pure(function, np.ones(2))


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
        testing.assert_trees_close(actual, [np.zeros(2)])
