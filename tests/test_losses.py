"""Every loss obeys every law, agrees with Optax, and refuses what it cannot take."""

import jax
import numpy as np
import optax
import pytest

import funcnn as fn
from funcnn import InputError, Key, tree
from funcnn.testing import assert_trees_close, check_loss
from tests.catalogue import EFFORT, LOSSES, labels, named, soft

X, T = (Key(i).normal((6, 4), np.float64) for i in (7, 8))
LABELS = np.array([0, 3, 1, 1, 2, 0])
SOFT = soft(Key(9), 6)[1]

FUSED, SPLIT = fn.softmax_cross_entropy(), fn.categorical_cross_entropy()


def log_softmax(x):
    return fn.predict(fn.log_softmax(), (), x)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_laws(loss, draw):
    check_loss(loss, draw, **EFFORT)


def smoothed(outputs, targets):
    return optax.softmax_cross_entropy(outputs, optax.smooth_labels(targets, 0.2))


@pytest.mark.parametrize(
    ("ours", "theirs", "outputs", "targets"),
    [
        (fn.mean_squared_error(), optax.squared_error, X, T),
        (fn.mean_absolute_error(), lambda y, t: abs(y - t), X, T),
        (fn.huber(), optax.huber_loss, X, T),
        (fn.huber(0.3), lambda y, t: optax.huber_loss(y, t, delta=0.3), X, T),
        (fn.hinge(), optax.hinge_loss, X, np.sign(T)),
        (fn.sigmoid_binary_cross_entropy(), optax.sigmoid_binary_cross_entropy, 9 * X, (T > 0).astype(float)),
        (fn.kl_divergence(), optax.kl_divergence, log_softmax(X), np.exp(log_softmax(T))),
        *((FUSED, optax.softmax_cross_entropy, scale * X, SOFT) for scale in (0.01, 1, 30)),
        (fn.softmax_cross_entropy(label_smoothing=0.2), smoothed, X, np.eye(4)[LABELS]),
    ],
    ids=named,
)
def test_losses_and_their_gradients_are_those_of_optax(ours, theirs, outputs, targets):
    value, residuals = ours.forward(outputs, targets)
    with jax.enable_x64(True):
        expected, gradient = jax.value_and_grad(lambda y: theirs(y, targets).mean())(outputs)
    assert float(value) == pytest.approx(float(expected), rel=1e-9)
    assert_trees_close(ours.vjp(residuals), np.asarray(gradient), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_jax_gives_the_same_value_and_gradient(loss, draw):
    for weights in (None, np.array([1.0, 2.0, 0.0])):
        arguments = (*draw(Key(0), 3), weights)
        expected, residuals = loss.forward(*arguments)
        value, theirs = loss.forward(*tree.map(jax.numpy.asarray, arguments))
        assert float(value) == pytest.approx(float(expected), rel=1e-4)
        assert tree.allclose(tree.map(np.asarray, loss.vjp(theirs)), loss.vjp(residuals), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_both_routes_give_the_same_gradients(seed):
    logits, targets = labels(Key(seed), 1 + seed % 6)
    probabilities, pull = fn.pullback(fn.softmax(), (), logits)
    value, residuals = FUSED.forward(logits, targets)
    other, other_residuals = SPLIT.forward(probabilities, targets)
    assert_trees_close(float(value), float(other), rtol=1e-9)
    assert_trees_close(FUSED.vjp(residuals), pull(SPLIT.vjp(other_residuals))[1], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "value", "gradient"),
    [
        (FUSED, [[-800.0, 0.0]], [0], 800.0, [[-1.0, 1.0]]),
        (FUSED, [[-40.0, 0.0]], [0], 40.0, [[-1.0, 1.0]]),
        (FUSED, [[-np.inf, 0.0]], [1], 0.0, [[0.0, 0.0]]),
        (FUSED, [[-np.inf, 0.0]], [0], np.inf, [[-1.0, 1.0]]),
        (SPLIT, [[0.0, 1.0]], [0], 16.118, [[-1e7, 0.0]]),
        (fn.binary_cross_entropy(), [[0.0], [1.0]], [[1.0], [0.0]], 16.118, [[-5e6], [5e6]]),
        (fn.hinge(), [[1.0, 1.0]], [[1.0, 1.0]], 0.0, [[0.0, 0.0]]),
    ],
    ids=named,
)
def test_known_values(loss, outputs, targets, value, gradient):
    found, residuals = loss.forward(np.array(outputs), np.array(targets))
    assert float(found) == pytest.approx(value, abs=1e-3)
    assert loss.vjp(residuals) == pytest.approx(np.array(gradient), rel=1e-6)


def test_where_p_underflows_only_the_fused_loss_learns():
    p, pull = fn.pullback(fn.softmax(), (), np.array([[-40.0, 0.0]]))
    assert abs(pull(SPLIT.vjp(SPLIT.forward(p, np.array([0]))[1]))[1]).max() < 1e-9


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4, 1e30])
def test_large_logits_stay_finite(scale):
    value, residuals = FUSED.forward(np.array([[-scale, 0.0], [scale, -scale]], np.float32), np.array([0, 1]))
    assert np.isfinite(value)
    assert np.isfinite(FUSED.vjp(residuals)).all()


def test_a_class_that_is_ruled_out_by_its_logit_costs_nothing():
    logits = np.array([[0.0, -np.inf, 1.0]])
    value, residuals = FUSED.forward(logits, np.array([2]))
    expected, of_two = FUSED.forward(logits[:, [0, 2]], np.array([1]))
    assert value == expected
    assert FUSED.vjp(residuals)[0, [0, 2]].tolist() == FUSED.vjp(of_two)[0].tolist()
    assert FUSED.forward(logits, np.array([1]))[0] == np.inf


@pytest.mark.parametrize("loss", [FUSED, SPLIT], ids=str)
def test_integer_one_hot_and_soft_targets_agree(loss):
    outputs, targets = 0.25 + 0.01 * Key(0).normal((3, 4), np.float64), np.array([3, 0, 1])
    forms = (targets, np.eye(4)[targets], np.eye(4, dtype=np.int64)[targets])
    assert len({float(loss.forward(outputs, form)[0]) for form in forms}) == 1


def test_the_divergence_from_one_label_is_its_negative_log_likelihood():
    value, _ = fn.kl_divergence().forward(log_softmax(X), np.eye(4)[LABELS])
    assert float(value) == pytest.approx(-log_softmax(X)[np.arange(6), LABELS].mean())


@pytest.mark.parametrize("make", [fn.mean_squared_error, fn.kl_divergence])
def test_weights_weigh_the_samples(make):
    weights, outputs, targets = np.arange(1.0, 7.0), log_softmax(X), np.exp(log_softmax(T))
    singles = [make().forward(outputs[i : i + 1], targets[i : i + 1])[0] for i in range(6)]
    assert make().forward(outputs, targets, weights)[0] == pytest.approx(np.average(singles, weights=weights))
    with pytest.raises(InputError, match=rf"^{make.__name__}: expected weights \(6,\), got \(2,\)$"):
        make().forward(outputs, targets, weights[:2])


ONES, PAIR = np.ones((2, 3)), np.array([0, 1])
OF_CLASSES = [
    (ONES, np.array([0, 3]), None, "expected labels from 0 to 2, got 3 in row 1$"),
    (jax.numpy.ones((2, 3)), np.array([0, 3]), None, "expected labels from 0 to 2, got 3 in row 1$"),
    (ONES, np.array([-1, 0]), None, "expected labels from 0 to 2, got -1 in row 0$"),
    (ONES, PAIR[:, None], None, r"targets as integers \(2,\) or distributions \(2, 3\), got int64 \(2, 1\)"),
    (ONES, PAIR.astype(float), None, r"got float64 \(2,\)"),
    (ONES, np.array([0, 1, 2]), None, r"got int64 \(3,\)"),
    (ONES, np.ones((2, 4)), None, r"got float64 \(2, 4\)"),
    (ONES, PAIR, np.array([np.inf, 1]), "finite weights of at least 0"),
    (ONES, PAIR, np.zeros(2), "finite weights of at least 0, not all of them 0, got a least of 0"),
    (ONES, PAIR, np.array([2.0, -1.0]), "weights of at least 0.*a least of -1"),
    (ONES, PAIR, np.ones((2, 1)), r"weights \(2,\), got \(2, 1\)"),
    (ONES[:0], PAIR[:0], None, r"at least one sample, got \(0, 3\)"),
    (ONES[0], np.array([0, 1, 1]), None, r"outputs \(batch, classes\), got \(3,\)"),
    (ONES.astype(np.int64), PAIR, None, "floating outputs, got int64"),
]
NO_DISTRIBUTION = "distributions, at least 0 with a sum of 1, got "
NO_DISTRIBUTIONS = [
    ([[1, 0, 0], [0.5, 0.6, 0]], r"\[.*\] in row 1"),
    ([[2, -1, 0], [1, 0, 0]], ".* in row 0"),
    ([[1, 0, 0], [2, -1, 0]], ".* in row 1"),
    ([[np.nan, 0, 1], [1, 0, 0]], ".* in row 0"),
    *((targets, ".* in row 0") for targets in ([[-0.5, 1.5]], [[0.5, 0.1]], [[np.nan, 1.0]], [[2, 0]])),
]
OF_ALL = [
    (np.ones((3, 1)), np.ones(3), None, r"targets in the outputs' shape \(3, 1\), .*got \(3,\); reshape one"),
    (np.ones(3), np.ones((3, 1)), None, r"targets in the outputs' shape \(3,\), .*got \(3, 1\)"),
    (np.ones((0, 2)), np.ones((0, 2)), None, "of at least one sample"),
    (np.ones((3, 1), int), np.ones((3, 1)), None, "floating outputs, got int64"),
]
OF_SIGNS = [([[1.0], [0.0]], r"\[0.\] in row 1"), ([[1.0, -1.0], [-1.0, 2.0]], r"\[-1.  2.\] in row 1")]
OF_SHARES = [
    ([[0.5], [1.5]], r"targets from 0 to 1, got \[1.5\] in row 1"),
    ([[-0.5], [1.0]], "targets from 0 to 1.* in row 0"),
    ([[0.5], [np.nan]], "targets from 0 to 1.* in row 1"),
]
BINARY = [fn.sigmoid_binary_cross_entropy(), fn.binary_cross_entropy()]
OTHERS = [fn.mean_squared_error(), fn.mean_absolute_error(), fn.huber(), fn.hinge(), fn.kl_divergence(), *BINARY]


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "weights", "message"),
    [
        *((loss, *row) for loss in (FUSED, SPLIT) for row in OF_CLASSES),
        *((loss, *row) for loss in OTHERS for row in OF_ALL),
        *(
            (loss, -np.ones(np.shape(t)), np.array(t), None, f"{NO_DISTRIBUTION}{message}$")
            for loss in (FUSED, SPLIT, fn.kl_divergence())
            for t, message in NO_DISTRIBUTIONS
        ),
        *((fn.hinge(), np.ones(np.shape(t)), np.array(t), None, f"-1 or 1, got {message}") for t, message in OF_SIGNS),
        *((loss, np.ones((2, 1)), np.array(t), None, message) for loss in BINARY for t, message in OF_SHARES),
    ],
    ids=named,
)
def test_bad_input_is_refused(loss, outputs, targets, weights, message):
    with pytest.raises(InputError, match=f"^{loss.spec.name}: .*{message}"):
        loss.forward(outputs, targets, weights)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([0, -1]), "labels from 0 to 1, got -1 in row 1"),
        (np.array([2, 0]), "labels from 0 to 1, got 2 in row 0"),
        (np.eye(2), r"labels as integers \(batch,\), got float64 \(2, 2\)"),
        (np.array([0.0, 1.0]), r"labels as integers \(batch,\), got float64 \(2,\)"),
    ],
)
def test_class_weights_of_no_labels_are_refused(targets, message):
    with pytest.raises(InputError, match=f"class_weights: expected {message}"):
        fn.class_weights(targets, (2.0, 1.0))


def test_class_weights_count_samples_of_a_class():
    weights = fn.class_weights(LABELS, (2.0, 1.0, 1.0, 3.0))
    assert weights.dtype == np.float32
    assert np.array_equal(weights, fn.class_weights(LABELS, np.array([2, 1, 1, 3])))
    twice = np.repeat(np.arange(6), [2, 3, 1, 1, 1, 2])
    expected, _ = FUSED.forward(X[twice], LABELS[twice])
    assert float(FUSED.forward(X, LABELS, weights)[0]) == pytest.approx(float(expected))
    assert FUSED.forward(X.astype(np.float32), LABELS, weights.astype(np.float64))[0].dtype == np.float32


@pytest.mark.parametrize(
    ("make", "expected", "value"),
    [
        (fn.huber, "a delta above 0", 0.0),
        *((fn.softmax_cross_entropy, r"a label_smoothing in \[0, 1\)", value) for value in (1.0, -0.1)),
    ],
)
def test_bad_hyperparameters_are_refused(make, expected, value):
    with pytest.raises(InputError, match=f"^{make.__name__}: expected {expected}, got {value}$"):
        make(value)


TWO = fn.joint_loss(FUSED, fn.mean_squared_error(), weights=(1.0, 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fn.joint_loss(), "expected at least one loss, got none"),
        (lambda: fn.joint_loss(FUSED, weights=(1.0, 2.0)), r"expected 1 weights of at least 0, got \(1.0, 2.0\)"),
        (lambda: fn.joint_loss(FUSED, weights=(-1.0,)), r"expected 1 weights of at least 0, got \(-1.0,\)"),
        (lambda: TWO.forward(X, (LABELS, T)), "expected a tuple of 2 outputs, got ndarray"),
        (lambda: TWO.forward((X,), (LABELS, T)), "expected a tuple of 2 outputs, got tuple"),
        (lambda: TWO.forward((X, X), LABELS), "expected a tuple of 2 targets, got ndarray"),
    ],
)
def test_what_is_no_joint_loss_is_refused(call, message):
    with pytest.raises(InputError, match=f"^joint_loss: {message}$"):
        call()
