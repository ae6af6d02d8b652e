"""Every loss obeys every law, agrees with Optax, and refuses what it cannot take."""

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import funcnn as fn
from funcnn import InputError, Key
from funcnn.losses import softmax_cross_entropy_forward, softmax_cross_entropy_vjp
from funcnn.testing import assert_trees_close, check_loss
from tests.catalogue import EFFORT, LOSSES, labels, named, soft

X, T = (Key(i).normal((6, 4), np.float64) for i in (7, 8))

BOTH = [fn.softmax_cross_entropy(), fn.categorical_cross_entropy()]


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_laws(loss, draw):
    check_loss(loss, draw, **EFFORT)


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0.01, 30))
def test_softmax_cross_entropy_is_that_of_optax(seed, batch, scale):
    logits, targets = soft(Key(seed), batch)
    value, residuals = softmax_cross_entropy_forward(scale * logits, targets)
    with jax.enable_x64(True):
        expected, gradient = jax.value_and_grad(lambda z: optax.softmax_cross_entropy(z, targets).mean())(
            scale * logits
        )
    assert_trees_close(float(value), float(expected), rtol=1e-9)
    assert_trees_close(softmax_cross_entropy_vjp(residuals), np.asarray(gradient), rtol=1e-7, atol=1e-10)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_both_routes_give_the_same_gradients(seed, batch):
    logits, targets = labels(Key(seed), batch)
    fused = fn.softmax_cross_entropy()
    split = fn.categorical_cross_entropy()
    probabilities, pull = fn.pullback(fn.softmax(), (), logits)
    value, residuals = fused.forward(logits, targets)
    other, other_residuals = split.forward(probabilities, targets)
    assert_trees_close(float(value), float(other), rtol=1e-9)
    assert_trees_close(fused.vjp(residuals), pull(split.vjp(other_residuals))[1], rtol=1e-7, atol=1e-12)


def test_where_p_underflows_only_the_fused_loss_learns():
    logits, targets = np.array([[-40.0, 0.0]]), np.array([0])
    fused, split = fn.softmax_cross_entropy(), fn.categorical_cross_entropy()
    assert fused.vjp(fused.forward(logits, targets)[1]).tolist() == [[-1.0, 1.0]]
    p, pull = fn.pullback(fn.softmax(), (), logits)
    assert abs(pull(split.vjp(split.forward(p, targets)[1]))[1]).max() < 1e-9


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4, 1e30])
def test_large_logits_stay_finite(scale):
    logits = np.array([[-scale, 0.0], [scale, -scale]], np.float32)
    value, residuals = fn.softmax_cross_entropy().forward(logits, np.array([0, 1]))
    assert np.isfinite(value)
    assert np.isfinite(fn.softmax_cross_entropy().vjp(residuals)).all()


def test_known_values():
    value, residuals = fn.softmax_cross_entropy().forward(np.array([[-800.0, 0.0]]), np.array([0]))
    assert float(value) == 800.0
    assert fn.softmax_cross_entropy().vjp(residuals).tolist() == [[-1.0, 1.0]]
    value, residuals = fn.categorical_cross_entropy().forward(np.array([[0.0, 1.0]]), np.array([0]))
    assert float(value) == pytest.approx(16.118, abs=1e-3)
    assert fn.categorical_cross_entropy().vjp(residuals)[0, 0] == pytest.approx(-1e7)


@pytest.mark.parametrize("loss", BOTH, ids=str)
def test_integer_one_hot_and_soft_targets_agree(loss):
    outputs = np.full((3, 4), 0.25) + 0.01 * Key(0).normal((3, 4), np.float64)
    targets = np.array([3, 0, 1])
    values = [
        loss.forward(outputs, form)[0] for form in (targets, np.eye(4)[targets], np.eye(4, dtype=np.int64)[targets])
    ]
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize("loss", BOTH, ids=str)
@pytest.mark.parametrize(
    ("outputs", "targets", "weights", "message"),
    [
        (np.ones((2, 3)), np.array([0, 3]), None, "expected labels from 0 to 2, got 3 in row 1$"),
        (np.ones((2, 3)), np.array([-1, 0]), None, "expected labels from 0 to 2, got -1 in row 0$"),
        (
            np.ones((2, 3)),
            np.array([[0], [1]]),
            None,
            r"targets as integers \(2,\) or distributions \(2, 3\), got int64 \(2, 1\)",
        ),
        (np.ones((2, 3)), np.array([0.0, 1.0]), None, r"got float64 \(2,\)"),
        (np.ones((2, 3)), np.array([0, 1, 2]), None, r"got int64 \(3,\)"),
        (
            np.ones((2, 3)),
            np.array([[1, 0, 0], [0.5, 0.6, 0]]),
            None,
            r"distributions, .* a sum of 1, got \[.*\] in row 1$",
        ),
        (np.ones((2, 3)), np.array([[2, -1, 0], [1, 0, 0]]), None, "distributions, .*in row 0$"),
        (np.ones((2, 3)), np.array([[1, 0, 0], [2, -1, 0]]), None, "distributions, .*in row 1$"),
        (np.ones((2, 3)), np.array([[np.nan, 0, 1], [1, 0, 0]]), None, "distributions, .*in row 0$"),
        (np.ones((2, 3)), np.array([0, 1]), np.array([np.inf, 1]), "finite weights of at least 0"),
        (np.ones((2, 3)), np.ones((2, 4)), None, r"got float64 \(2, 4\)"),
        (np.ones((0, 3)), np.zeros(0, np.int64), None, r"at least one sample, got \(0, 3\)"),
        (np.ones(3), np.array([0, 1, 1]), None, r"outputs \(batch, classes\), got \(3,\)"),
        (np.ones((2, 3), np.int64), np.array([0, 1]), None, "floating outputs, got int64"),
        (np.ones((2, 3)), np.array([0, 1]), np.ones((2, 1)), r"weights \(2,\), got \(2, 1\)"),
        (
            np.ones((2, 3)),
            np.array([0, 1]),
            np.zeros(2),
            "finite weights of at least 0, not all of them 0, got a least of 0",
        ),
        (np.ones((2, 3)), np.array([0, 1]), np.array([2.0, -1.0]), "weights of at least 0.*a least of -1"),
    ],
)
def test_bad_input_is_refused(loss, outputs, targets, weights, message):
    with pytest.raises(InputError, match=f"^{loss.spec.name}: .*{message}"):
        loss.forward(outputs, targets, weights)


def log_softmax(x):
    return fn.predict(fn.log_softmax(), (), x)


@pytest.mark.parametrize(
    ("ours", "theirs", "outputs", "targets"),
    [
        (fn.mean_squared_error(), optax.squared_error, X, T),
        (fn.mean_absolute_error(), lambda y, t: abs(y - t), X, T),
        (fn.huber(), optax.huber_loss, X, T),
        (fn.huber(0.3), lambda y, t: optax.huber_loss(y, t, delta=0.3), X, T),
        (fn.hinge(), optax.hinge_loss, X, np.sign(T)),
        (fn.sigmoid_binary_cross_entropy(), optax.sigmoid_binary_cross_entropy, 9 * X, (T > 0).astype(float)),
        (fn.kl_divergence(), lambda y, t: optax.kl_divergence(y, t)[:, None], log_softmax(X), np.exp(log_softmax(T))),
        (
            fn.softmax_cross_entropy(label_smoothing=0.2),
            lambda y, t: optax.softmax_cross_entropy(y, optax.smooth_labels(t, 0.2))[:, None],
            X,
            np.eye(4)[[0, 3, 1, 1, 2, 0]],
        ),
    ],
    ids=named,
)
def test_losses_are_those_of_optax(ours, theirs, outputs, targets):
    with jax.enable_x64(True):
        expected = float(theirs(jax.numpy.asarray(outputs), jax.numpy.asarray(targets)).mean())
    assert float(ours.forward(outputs, targets)[0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_jax_gives_the_same_value_and_gradient(loss, draw):
    outputs, targets = draw(Key(0), 3)
    for weights in (None, np.array([1.0, 2.0, 0.0])):
        expected, residuals = loss.forward(outputs, targets, weights)
        value, theirs = loss.forward(
            *(None if a is None else jax.numpy.asarray(a) for a in (outputs, targets, weights))
        )
        assert float(value) == pytest.approx(float(expected), rel=1e-4)
        assert np.asarray(loss.vjp(theirs)) == pytest.approx(loss.vjp(residuals), rel=1e-4, abs=1e-5)


def test_probabilities_are_clipped_in_the_gradient_too():
    value, residuals = fn.binary_cross_entropy().forward(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]))
    assert float(value) == pytest.approx(16.118, abs=1e-3)
    assert np.isfinite(fn.binary_cross_entropy().vjp(residuals)).all()


def test_the_divergence_from_one_label_is_its_negative_log_likelihood():
    outputs, targets = log_softmax(X), np.array([0, 3, 1, 1, 2, 0])
    value, _ = fn.kl_divergence().forward(outputs, np.eye(4)[targets])
    assert float(value) == pytest.approx(-outputs[np.arange(6), targets].mean())


@pytest.mark.parametrize("make", [fn.mean_squared_error, fn.kl_divergence])
def test_weights_weigh_the_samples(make):
    weights = np.arange(1.0, 7.0)
    outputs, targets = log_softmax(X), np.exp(log_softmax(T))
    singles = [make().forward(outputs[i : i + 1], targets[i : i + 1])[0] for i in range(6)]
    assert make().forward(outputs, targets, weights)[0] == pytest.approx(np.average(singles, weights=weights))
    with pytest.raises(InputError, match=rf"^{make.__name__}: expected weights \(6,\), got \(2,\)$"):
        make().forward(outputs, targets, weights[:2])


def test_on_the_margin_the_hinge_is_flat():
    value, residuals = fn.hinge().forward(np.ones((1, 2)), np.ones((1, 2)))
    assert value == 0.0
    assert not fn.hinge().vjp(residuals).any()


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        (fn.hinge(), [[1.0], [0.0]], r"hinge: expected targets of -1 or 1, got \[0.\] in row 1"),
        (fn.hinge(), [[1.0, -1.0], [-1.0, 2.0]], r"hinge: expected targets of -1 or 1, got \[-1.  2.\] in row 1"),
        (fn.binary_cross_entropy(), [[0.5], [1.5]], r"binary_cross_entropy: expected targets from 0 to 1, got \[1.5\]"),
        (
            fn.sigmoid_binary_cross_entropy(),
            [[-0.5], [1.0]],
            r"sigmoid_binary.*: expected targets from 0 to 1.* in row 0",
        ),
        (
            fn.sigmoid_binary_cross_entropy(),
            [[0.5], [np.nan]],
            r"sigmoid_binary.*: expected targets from 0 to 1.*row 1",
        ),
    ],
    ids=str,
)
def test_targets_that_the_loss_is_not_made_for_are_refused(loss, targets, message):
    with pytest.raises(InputError, match=message):
        loss.forward(np.ones(np.shape(targets)), np.array(targets))


def test_labels_of_numpy_are_looked_at_beside_outputs_of_jax():
    with pytest.raises(InputError, match=r"expected labels from 0 to 2, got 3 in row 1$"):
        fn.softmax_cross_entropy().forward(jax.numpy.ones((2, 3)), np.array([0, 3]))


def test_a_class_that_is_ruled_out_by_its_logit_costs_nothing():
    logits = np.array([[0.0, -np.inf, 1.0]])
    value, residuals = fn.softmax_cross_entropy().forward(logits, np.array([2]))
    expected, of_two = fn.softmax_cross_entropy().forward(logits[:, [0, 2]], np.array([1]))
    assert value == expected
    assert (
        fn.softmax_cross_entropy().vjp(residuals)[0, [0, 2]].tolist()
        == fn.softmax_cross_entropy().vjp(of_two)[0].tolist()
    )
    assert fn.softmax_cross_entropy().forward(logits, np.array([1]))[0] == np.inf


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
    outputs, targets = X, np.array([0, 3, 1, 1, 2, 0])
    weights = fn.class_weights(targets, (2.0, 1.0, 1.0, 3.0))
    assert weights.dtype == np.float32
    twice = np.repeat(np.arange(6), [2, 3, 1, 1, 1, 2])
    loss = fn.softmax_cross_entropy()
    expected, _ = loss.forward(outputs[twice], targets[twice])
    assert float(loss.forward(outputs, targets, weights)[0]) == pytest.approx(float(expected))
    assert loss.forward(outputs.astype(np.float32), targets, weights.astype(np.float64))[0].dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        *(fn.mean_squared_error, fn.mean_absolute_error, fn.huber, fn.hinge, fn.kl_divergence),
        *(fn.sigmoid_binary_cross_entropy, fn.binary_cross_entropy),
    ],
)
@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (np.ones((3, 1)), np.ones(3), r"targets in the outputs' shape \(3, 1\), .*got \(3,\); reshape one"),
        (np.ones(3), np.ones((3, 1)), r"targets in the outputs' shape \(3,\), .*got \(3, 1\)"),
        (np.ones((0, 2)), np.ones((0, 2)), "of at least one sample"),
        (np.ones((3, 1), int), np.ones((3, 1)), "floating outputs, got int64"),
    ],
)
def test_targets_do_not_broadcast(make, outputs, targets, message):
    with pytest.raises(InputError, match=f"^{make.__name__}: .*{message}"):
        make().forward(outputs, targets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.huber(0.0), "huber: expected a delta above 0, got 0.0"),
        (
            lambda: fn.softmax_cross_entropy(1.0),
            r"softmax_cross_entropy: expected a label_smoothing in \[0, 1\), got 1.0",
        ),
        (lambda: fn.softmax_cross_entropy(-0.1), r"softmax_cross_entropy: expected a label_smoothing in .*, got -0.1"),
    ],
)
def test_bad_hyperparameters_are_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()
