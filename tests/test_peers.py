"""Losses, layers and optimizers beside those of SciPy, PyTorch and ONNX, where installed."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import special

KEY = fn.Key(3)
LOGITS, LABELS = 4 * KEY.normal((40, 5), np.float64), KEY.permutation(40) % 5
OTHERS = fn.predict(fn.softmax(), (), LOGITS)[::-1].copy()
VALUES, TARGETS = KEY.at("a").normal((40, 3), np.float64), KEY.at("b").normal((40, 3), np.float64)
HIT = (TARGETS > 0).astype(float)
SIGNS = 2 * HIT - 1


def test_scipy_agrees():
    scipy = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-40, 40, 801), [-700.0, -1e4, 1e4]])
    named = (special.sigmoid, scipy.expit), (special.normal_cdf, scipy.ndtr)
    for ours, theirs in (*named, (special.softplus, lambda x: np.logaddexp(x, 0))):
        assert ours(x) == pytest.approx(theirs(x), rel=1e-12, abs=1e-300)
    assert special.log_softmax(LOGITS) == pytest.approx(scipy.log_softmax(LOGITS, axis=1), rel=1e-9)


TORCH_LOSSES = [
    (fn.softmax_cross_entropy(), "cross_entropy", {}, LOGITS, LABELS),
    (fn.softmax_cross_entropy(0.1), "cross_entropy", {"label_smoothing": 0.1}, LOGITS, LABELS),
    (fn.softmax_cross_entropy(), "cross_entropy", {}, LOGITS, OTHERS),
    (fn.sigmoid_binary_cross_entropy(), "binary_cross_entropy_with_logits", {}, VALUES, HIT),
    (fn.binary_cross_entropy(), "binary_cross_entropy", {}, special.sigmoid(VALUES), HIT),
    (fn.mean_squared_error(), "mse_loss", {}, VALUES, TARGETS),
    (fn.mean_absolute_error(), "l1_loss", {}, VALUES, TARGETS),
    (fn.huber(0.5), "huber_loss", {"delta": 0.5}, VALUES, TARGETS),
    (fn.hinge(), lambda y, t: (1 - t * y).clamp(min=0).mean(), {}, VALUES, SIGNS),
    (fn.kl_divergence(), "kl_div", {"reduction": "batchmean"}, special.log_softmax(LOGITS), OTHERS),
]


def test_losses_and_their_gradients_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for ours, theirs, options, outputs, targets in TORCH_LOSSES:
        tensor = torch.tensor(outputs, requires_grad=True)
        function = theirs if callable(theirs) else getattr(torch.nn.functional, theirs)
        expected = function(tensor, torch.tensor(targets), **options)
        expected.backward()
        found, residuals = ours.forward(outputs, targets)
        assert float(found) == pytest.approx(expected.item(), rel=1e-9), ours
        assert ours.vjp(residuals) == pytest.approx(tensor.grad.numpy(), rel=1e-7, abs=1e-12), ours


ADAGRAD = fn.adagrad(0.1, initial_accumulator=0.0, eps=1e-10, eps_placement="outside")
TORCH_OPTIMIZERS = [
    (fn.sgd(0.1), "SGD", {"lr": 0.1}),
    (fn.sgd(0.1, 0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (fn.sgd(0.1, 0.9, nesterov=True), "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (fn.adam(0.01), "Adam", {"lr": 0.01}),
    (fn.adamw(0.01, weight_decay=0.1), "AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    (ADAGRAD, "Adagrad", {"lr": 0.1}),
    (fn.rmsprop(0.01, decay=0.99, eps_placement="outside"), "RMSprop", {"lr": 0.01}),
]


def test_optimizers_take_the_steps_of_torch():
    torch = pytest.importorskip("torch")
    for optimizer, name, options in TORCH_OPTIMIZERS:
        param = VALUES
        tensor, state = torch.tensor(param, requires_grad=True), optimizer.init(param)
        peer = getattr(torch.optim, name)([tensor], **options)
        for i in range(20):
            grads = KEY.at("grads", i).normal(param.shape, np.float64)
            updates, state = optimizer.update(grads, state, param)
            param = fn.apply_updates(param, updates)
            tensor.grad = torch.tensor(grads)
            peer.step()
        assert param == pytest.approx(tensor.detach().numpy(), rel=1e-9), optimizer


def test_activations_are_those_of_torch():
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-30, 30, 121), [-1e36, 1e36]]).astype(np.float32)
    options = {"softplus": {"threshold": 1e9}}
    for name in ("relu", "leaky_relu", "elu", "selu", "silu", "softplus", "sigmoid", "tanh"):
        theirs = getattr(torch, name, None) or getattr(torch.nn.functional, name)
        expected = theirs(torch.tensor(x), **options.get(name, {})).numpy()
        assert fn.predict(getattr(fn, name)(), (), x) == pytest.approx(expected, rel=1e-5, abs=1e-6), name


def test_batch_norm_is_that_of_torch():
    """In training by the batch; calibrated, by what momentum=None keeps of one batch."""
    torch = pytest.importorskip("torch")
    layer, x, dy = fn.batch_norm(), 3 * KEY.normal((64, 5), np.float64) + 1, KEY.at("dy").normal((64, 5), np.float64)
    params = fn.layers.BatchNormParams(*KEY.at("params").normal((2, 5), np.float64), np.zeros(5), np.ones(5))
    peer = torch.nn.BatchNorm1d(5, momentum=None, dtype=torch.float64)
    peer.weight.data, peer.bias.data = torch.tensor(params.scale), torch.tensor(params.offset)
    tensor = torch.tensor(x, requires_grad=True)
    theirs = peer(tensor)
    theirs.backward(torch.tensor(dy))
    y, residuals = layer.forward(params, x, fn.Training(KEY))
    dparams, dx = layer.vjp(params, residuals, dy)
    ours = (y, dx, dparams.scale, dparams.offset)
    for found, expected in zip(ours, (theirs, tensor.grad, peer.weight.grad, peer.bias.grad), strict=True):
        assert found == pytest.approx(expected.detach().numpy(), rel=1e-9, abs=1e-12)
    calibrated = fn.calibrated(layer, params, x)
    assert calibrated.mean == pytest.approx(peer.running_mean.numpy(), rel=1e-9)
    assert calibrated.variance * 64 / 63 == pytest.approx(peer.running_var.numpy(), rel=1e-9)  # theirs is unbiased


def test_gru_is_that_of_torch():
    torch = pytest.importorskip("torch")
    layer, x, dy = fn.recurrent(fn.gru(), 3), KEY.normal((4, 7, 2), np.float64), KEY.normal((4, 7, 3), np.float64)
    params = fn.tree.map(lambda leaf: KEY.normal(leaf.shape, np.float64), layer.init(KEY, (7, 2))[0])
    peer = torch.nn.GRU(2, 3, batch_first=True, dtype=torch.float64)
    ours = {"ih": params.inputs, "hh": params.state}
    for name, affine in ours.items():
        getattr(peer, f"weight_{name}_l0").data = torch.tensor(affine.weights.T.copy())
        getattr(peer, f"bias_{name}_l0").data = torch.tensor(affine.biases)
    tensor = torch.tensor(x, requires_grad=True)
    theirs, _ = peer(tensor)
    theirs.backward(torch.tensor(dy))
    y, residuals = layer.forward(params, x, fn.INFERENCE)
    dparams, dx = layer.vjp(params, residuals, dy)
    assert y == pytest.approx(theirs.detach().numpy(), rel=1e-9, abs=1e-12)
    assert dx == pytest.approx(tensor.grad.numpy(), rel=1e-9, abs=1e-12)
    for name, affine in {"ih": dparams.inputs, "hh": dparams.state}.items():
        weights, biases = getattr(peer, f"weight_{name}_l0").grad, getattr(peer, f"bias_{name}_l0").grad
        assert affine.weights == pytest.approx(weights.numpy().T, rel=1e-9, abs=1e-12), name
        assert affine.biases == pytest.approx(biases.numpy(), rel=1e-9, abs=1e-12), name


LARGE = [[0, 1, 2, 3], [10000, 10001, 10002, 10003]]
"""The input of the node test of ONNX for Softmax and LogSoftmax, "large number"; the outputs are the published ones."""


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        (fn.softmax(), LARGE, [[0.032058604, 0.08714432, 0.23688284, 0.6439143]] * 2),
        (fn.log_softmax(), LARGE, [[-3.4401896, -2.4401896, -1.4401896, -0.44018966]] * 2),
        (fn.elu(2.0), [-1, 0, 1], [-1.2642411, 0.0, 1.0]),
        (fn.leaky_relu(0.1), [-1, 0, 1], [-0.1, 0.0, 1.0]),
        (fn.sigmoid(), [-1, 0, 1], [0.26894143, 0.5, 0.7310586]),
        (fn.softplus(), [-1, 0, 1], [0.31326166, 0.6931472, 1.3132616]),
        (fn.tanh(), [1], [0.7615941559557649]),
    ],
    ids=str,
)
def test_the_vectors_of_onnx(layer, x, expected):
    assert fn.predict(layer, (), np.array(x, np.float64)) == pytest.approx(np.array(expected), rel=1e-6)
    assert fn.predict(layer, (), np.float32(x)) == pytest.approx(np.array(expected), rel=1e-5)
