"""Losses, metrics, activations and optimizers beside those of scikit-learn, SciPy and PyTorch, where installed."""

import math

import numpy as np
import pytest

import funcnn as fn
from funcnn import metrics, special

KEY = fn.Key(3)
LOGITS, LABELS = 4 * KEY.normal((40, 5), np.float64), KEY.permutation(40) % 5
WEIGHTS = KEY.at("weights").uniform((40,), np.float64) * (np.arange(40) % 3)
PROBABILITIES = fn.predict(fn.softmax(), (), LOGITS)
VALUES, TARGETS = KEY.at("a").normal((40, 3), np.float64), KEY.at("b").normal((40, 3), np.float64)
HIT = (TARGETS > 0).astype(float)


def value(loss, outputs, targets, weights=None):
    return float(loss.forward(outputs, targets, weights)[0])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_scikit_learn_agrees(weights):
    judge = pytest.importorskip("sklearn.metrics")
    kwargs, chosen = {"sample_weight": weights}, PROBABILITIES.argmax(axis=1)
    ours = {
        "accuracy": fn.accuracy(PROBABILITIES, LABELS, weights),
        "top 2": metrics.top_k_accuracy(2)(PROBABILITIES, LABELS, weights),
        "log loss": metrics.negative_log_likelihood(PROBABILITIES, LABELS, weights),
        "cross-entropy": value(fn.softmax_cross_entropy(), LOGITS, LABELS, weights),
        "squared": value(fn.mean_squared_error(), VALUES, TARGETS, weights),
        "absolute": value(fn.mean_absolute_error(), VALUES, TARGETS, weights),
        "exact": metrics.exact_match(special.sigmoid(VALUES), HIT, weights),
    }
    theirs = {
        "accuracy": judge.accuracy_score(LABELS, chosen, **kwargs),
        "top 2": judge.top_k_accuracy_score(LABELS, PROBABILITIES, k=2, **kwargs),
        "log loss": judge.log_loss(LABELS, PROBABILITIES, **kwargs),
        "cross-entropy": judge.log_loss(LABELS, PROBABILITIES, **kwargs),
        "squared": judge.mean_squared_error(TARGETS, VALUES, **kwargs),
        "absolute": judge.mean_absolute_error(TARGETS, VALUES, **kwargs),
        "exact": judge.accuracy_score(HIT, VALUES > 0, **kwargs),
    }
    assert ours == pytest.approx(theirs, rel=1e-12)
    matrix = metrics.confusion_matrix(PROBABILITIES, LABELS, weights)
    assert matrix == pytest.approx(judge.confusion_matrix(LABELS, chosen, **kwargs), rel=1e-12)
    table = judge.precision_recall_fscore_support(LABELS, chosen, zero_division=0, **kwargs)
    for f, expected in zip((metrics.precision, metrics.recall, metrics.f1), table, strict=False):
        assert f(matrix) == pytest.approx(expected, rel=1e-12)


def test_scipy_agrees():
    scipy = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-40, 40, 801), [-700.0, -1e4, 1e4]])
    for ours, theirs in (
        (special.sigmoid, scipy.expit),
        (special.erf, scipy.erf),
        (special.normal_cdf, scipy.ndtr),
        (special.softplus, lambda x: np.logaddexp(x, 0)),
    ):
        assert ours(x) == pytest.approx(theirs(x), rel=1e-12, abs=1e-300)
    assert special.log_softmax(LOGITS) == pytest.approx(scipy.log_softmax(LOGITS, axis=1), rel=1e-9)


def torch_losses(nn):
    signs = np.where(HIT > 0, 1.0, -1.0)
    rows = {
        "cross-entropy": (fn.softmax_cross_entropy(), nn.cross_entropy, LOGITS, LABELS),
        "smoothed": (
            fn.softmax_cross_entropy(0.1),
            lambda y, t: nn.cross_entropy(y, t, label_smoothing=0.1),
            LOGITS,
            LABELS,
        ),
        "soft targets": (fn.softmax_cross_entropy(), nn.cross_entropy, LOGITS, PROBABILITIES[::-1].copy()),
        "binary": (fn.sigmoid_binary_cross_entropy(), nn.binary_cross_entropy_with_logits, VALUES, HIT),
        "probabilities": (fn.binary_cross_entropy(), nn.binary_cross_entropy, special.sigmoid(VALUES), HIT),
        "squared": (fn.mean_squared_error(), nn.mse_loss, VALUES, TARGETS),
        "absolute": (fn.mean_absolute_error(), nn.l1_loss, VALUES, TARGETS),
        "huber": (fn.huber(0.5), lambda y, t: nn.huber_loss(y, t, delta=0.5), VALUES, TARGETS),
        "hinge": (fn.hinge(), lambda y, t: (1 - t * y).clamp(min=0).mean(), VALUES, signs),
        "kl": (
            fn.kl_divergence(),
            lambda y, t: nn.kl_div(y, t, reduction="batchmean"),
            special.log_softmax(LOGITS),
            PROBABILITIES[::-1].copy(),
        ),
    }
    return rows.values()


def test_losses_and_their_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for ours, theirs, outputs, targets in torch_losses(torch.nn.functional):
        tensor = torch.tensor(outputs, requires_grad=True)
        expected = theirs(tensor, torch.tensor(targets))
        expected.backward()
        found, residuals = ours.forward(outputs, targets)
        assert float(found) == pytest.approx(expected.item(), rel=1e-9), ours
        assert ours.vjp(residuals) == pytest.approx(tensor.grad.numpy(), rel=1e-7, abs=1e-12), ours


def torch_optimizers(optim):
    return [
        (fn.sgd(0.1), lambda p: optim.SGD(p, 0.1)),
        (fn.sgd(0.1, 0.9), lambda p: optim.SGD(p, 0.1, momentum=0.9)),
        (fn.sgd(0.1, 0.9, nesterov=True), lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True)),
        (fn.adam(0.01), lambda p: optim.Adam(p, 0.01)),
        (fn.adamw(0.01, weight_decay=0.1), lambda p: optim.AdamW(p, 0.01, weight_decay=0.1)),
        (
            fn.adagrad(0.1, initial_accumulator=0.0, eps=1e-10, eps_placement="outside"),
            lambda p: optim.Adagrad(p, 0.1),
        ),
        (fn.rmsprop(0.01, decay=0.99, eps_placement="outside"), lambda p: optim.RMSprop(p, 0.01)),
    ]


def test_optimizers_take_the_steps_of_torch():
    torch = pytest.importorskip("torch")
    for optimizer, make in torch_optimizers(torch.optim):
        param = VALUES
        tensor, state = torch.tensor(param, requires_grad=True), optimizer.init(param)
        peer = make([tensor])
        for i in range(20):
            grads = KEY.at("grads", i).normal(param.shape, np.float64)
            updates, state = optimizer.update(grads, state, param)
            param = fn.apply_updates(param, updates)
            tensor.grad = torch.tensor(grads)
            peer.step()
        assert param == pytest.approx(tensor.detach().numpy(), rel=1e-9), optimizer


def test_activations_are_those_of_torch():
    torch = pytest.importorskip("torch")
    nn, x = torch.nn.functional, np.concatenate([np.linspace(-30, 30, 121), [-1e36, 1e36]]).astype(np.float32)
    rows = [
        (fn.relu(), nn.relu),
        (fn.leaky_relu(), nn.leaky_relu),
        (fn.elu(), nn.elu),
        (fn.selu(), nn.selu),
        (fn.silu(), nn.silu),
        (fn.softplus(), lambda x: nn.softplus(x, threshold=1e9)),
        (fn.sigmoid(), torch.sigmoid),
        (fn.tanh(), torch.tanh),
    ]
    for layer, theirs in rows:
        assert fn.predict(layer, (), x) == pytest.approx(theirs(torch.tensor(x)).numpy(), rel=1e-5, abs=1e-6), layer


def softmax_vectors():
    """The node test of ONNX for Softmax and LogSoftmax, "large number", with its published outputs."""
    x = np.float32([[0, 1, 2, 3], [10000, 10001, 10002, 10003]])
    row = [0.032058604, 0.08714432, 0.23688284, 0.6439143]
    return x, np.float32([row, row]), np.float32([[-3.4401896, -2.4401896, -1.4401896, -0.44018966]] * 2)


def test_the_vectors_of_onnx():
    x, softmax, log_softmax = softmax_vectors()
    assert fn.predict(fn.softmax(), (), x) == pytest.approx(softmax, rel=1e-5)
    assert fn.predict(fn.log_softmax(), (), x) == pytest.approx(log_softmax, rel=1e-5)
    example = np.float32([-1, 0, 1])
    assert fn.predict(fn.elu(2.0), (), example) == pytest.approx([-1.2642411, 0.0, 1.0], rel=1e-6)
    assert fn.predict(fn.leaky_relu(0.1), (), example) == pytest.approx([-0.1, 0.0, 1.0], rel=1e-6)
    assert fn.predict(fn.sigmoid(), (), example) == pytest.approx([0.26894143, 0.5, 0.7310586], rel=1e-6)
    assert fn.predict(fn.softplus(), (), example) == pytest.approx([0.31326166, 0.6931472, 1.3132616], rel=1e-6)
    assert math.isclose(fn.predict(fn.tanh(), (), np.array([1.0]))[0], 0.7615941559557649)
