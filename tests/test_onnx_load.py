"""Models of PyTorch and scikit-learn, and ONNX graphs that funcnn has the layers for, loaded and trained further."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from sklearn.datasets import load_digits

import funcnn as fn
from funcnn import Key, onnx as exchange
from tests.onnx_table import served

FILES = Path(__file__).parent / "onnx_files"
PAIRS = np.load(FILES / "pairs.npz")
NAMES = sorted(path.stem for path in FILES.glob("*.onnx"))
LOSS = fn.softmax_cross_entropy()
NEAR = 1e-5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def of(name, output="probabilities"):
    """A model of the files; there is an output to choose for that of classes alone."""
    return exchange.load(FILES / f"{name}.onnx", output=output if "classifier" in name else None)


def as_images(x, in_shape):
    """Inputs as a loaded model takes them: images with the channels last."""
    return x if x.shape[1:] == in_shape else np.moveaxis(x, 1, -1)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_others_gives_what_it_gave_there(name):
    saved, x, y = of(name), PAIRS[f"{name}.x"], PAIRS[f"{name}.y"]
    assert np.allclose(fn.predict(saved.model, saved.params, as_images(x, saved.in_shape)), y, rtol=NEAR, atol=NEAR)


def test_both_exporters_of_torch_give_the_same_model():
    one, other = of("torch_lenet_script"), of("torch_lenet_export")
    assert fn.tree.equal(one.params, other.params)
    assert repr(one.model) == repr(other.model)
    assert one.in_shape == (28, 28, 1)
    assert repr(one.model).startswith("serial(conv2d(6, kernel=5), relu(), max_pool2d(), conv2d(16, kernel=5, padding=")


@pytest.mark.parametrize("name", ["torch_lenet_export", "torch_perceptron_script", "sklearn_classifier"])
def test_a_model_of_others_trains_on_for_an_epoch(name):
    saved = of(name, output="add_result2")  # its logits
    if name.startswith("torch"):
        train = fn.load_dataset("mnist_5k").train
        x, labels = train.inputs.reshape(-1, *saved.in_shape)[:2000], train.targets[:2000]
    else:
        x, labels = load_digits(return_X_y=True)
        x = (x / 16).astype(np.float32)
    model, params, samples = saved.model, saved.params, fn.Batch(x, labels)
    before = fn.evaluate(model, LOSS, params, samples, metrics={"accuracy": fn.accuracy})
    step = fn.train_step(model, LOSS, fn.adam(1e-3))
    state = step.init(params, Key(0))
    for batch in fn.batches(Key(1), samples, batch_size=50):
        params, state = step(params, state, batch)
    params = fn.calibrated(model, params, x)
    after = fn.evaluate(model, LOSS, params, samples, metrics={"accuracy": fn.accuracy})
    assert before["accuracy"] > 0.5
    assert after["loss"] < 0.95 * before["loss"]
    assert after["accuracy"] > before["accuracy"]


def written(path, inputs, body, *, outputs="float[N,K] y", opset=20):
    """An ONNX graph from its text, in which random weights stand with their shape, as in ``w{3,2}``."""
    head = f'<ir_version: 10, opset_import: ["": {opset}, "other": 1]>'
    text = re.sub(WEIGHTS, r"\1", body)
    proto = onnx.parser.parse_model(f"{head} g (float[N,{inputs}] x) => ({outputs}) {{ {text} }}")
    for name, shape in re.findall(WEIGHTS, body):
        array = np.abs(Key(1).at(name).normal(tuple(map(int, shape.split(",")))))
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    path.write_bytes(proto.SerializeToString())
    return path


WEIGHTS = r"\b(\w+)\{([\d,]+)\}"
KNOWN = {
    "dense behind images": ("2,5,4", "a = Conv<pads=[1,1,1,1]>(x, k{4,2,3,3}) b = Flatten(a) y = MatMul(b, w{80,3})"),
    "as many features as an image has": (
        "2,4,4",
        "a = Conv(x, k{4,2,3,3}) b = Flatten(a) c = MatMul(b, s{16,16}) d = Add(c, o{16}) e = Gemm(d, s) "
        "y = MatMul(e, w{16,2})",
    ),
    "norms of images laid flat": (
        "2,4,4",
        "a = Conv(x, k{4,2,3,3}) b = Flatten(a) c = LayerNormalization(b, s{16}, o{16}) "
        "d = BatchNormalization(c, s, o, o, s) e = Softmax(d) y = Gemm(e, w{16,3})",
    ),
    "branches laid flat": (
        "2,4,4",
        "a = Conv(x, k{4,2,3,3}) b = Flatten(a) e = Relu(a) c = Flatten(e) d = Concat<axis=1>(b, c) "
        "y = Gemm<transB=1, alpha=0.5>(d, w{3,32}, o{1,3})",
    ),
    "branches of channels": (
        "2,4,4",
        "a = Conv(x, k{4,2,3,3}) b = Relu(a) c = Concat<axis=1>(b, a) d = GlobalAveragePool(c) e = Flatten(d) "
        "y = MatMul(e, w{8,2})",
    ),
    "nested sums": ("3", "a = Gemm(x, w{3,3}) b = Tanh(a) c = Add(a, b) d = Gemm(c, w) e = Sum(d, c) y = Identity(e)"),
    "a softmax over channels": (
        "2,5,4",
        "a = Conv(x, k{4,2,3,3}) b = Softmax<axis=1>(a) c = Transpose<perm=[0,2,3,1]>(b) y = Flatten(c)",
    ),
    "images made of features": (
        "16",
        "z = Constant<value_ints=[-1,1,4,4]>() a = Reshape(x, z) b = Conv(a, q{4,1,3,3}) c = Flatten(b) "
        "y = MatMul(c, w{16,2})",
    ),
    "strides that pad below": (
        "2,5,4",
        'a = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, k{4,2,3,3}) b = Flatten(a) y = MatMul(b, w{24,1})',
    ),
    "the mean of a sequence": (
        "2,6",
        "a = Conv<pads=[2,0]>(x, c{3,2,3}) z = Constant<value_ints=[2]>() b = ReduceMean<keepdims=0>(a, z) "
        "y = MatMul(b, w{3,2})",
    ),
    "of positions": ("4,3", 'a = MatMul(x, w{3,5}) b = Add(a, o{5}) c = Gelu<approximate="tanh">(b) y = Flatten(c)'),
}


@pytest.mark.parametrize(("inputs", "body"), KNOWN.values(), ids=KNOWN)
def test_a_graph_is_read_as_onnxruntime_reads_it(path, inputs, body):
    written(path, inputs, body)
    saved, x = exchange.load(path), Key(2).normal((3, *map(int, inputs.split(","))))
    y = fn.predict(saved.model, saved.params, as_images(x, saved.in_shape))
    assert np.allclose(y, served(path, x)[0], rtol=NEAR, atol=NEAR)
    assert y.shape == served(path, x)[0].shape


REFUSED = {
    "an operator": ("3", "y = Erf(x)", "Erf 'y': expected an operator that funcnn has a layer for, got Erf"),
    "a domain": ("3", "y = other.Relu(x)", "other.Relu 'y': .* got other.Relu"),
    "a product": ("3", "a = Relu(x) y = Mul(a, x)", r"Mul 'y': expected x sigmoid\(x\), got the product"),
    "a constant": ("3", "y = Mul(x, w{3})", "Mul 'y': .* got Mul of such inputs"),
    "a bias alone": ("3", "y = Add(x, w{3})", "Add 'y': expected a bias behind a product with weights"),
    "pads": ("2,5,4", "a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, k{4,2,3,3}) y = Flatten(a)", "Conv 'a': .* pads"),
    "pads of a pool": (
        "2,5,4",
        "a = MaxPool<kernel_shape=[2,2], pads=[1,1,1,1]>(x) y = Flatten(a)",
        "MaxPool .* no pads",
    ),
    "groups": ("2,5,4", "a = Conv<group=2>(x, k{4,1,3,3}) y = Flatten(a)", "Conv 'a': expected group 1"),
    "an order": (
        "32",
        "z = Constant<value_ints=[-1,2,4,4]>() a = Reshape(x, z) b = Conv(a, k{4,2,3,3}) y = Flatten(b)",
        "Conv 'b': .*order",
    ),
    "flat images": ("2,5,4", "a = Conv(x, k{4,2,3,3}) y = Flatten(a)", "output 'y': expected values in the order"),
    "a batch": ("4,3", "a = Transpose<perm=[1,0,2]>(x) y = Flatten(a)", "Transpose 'a': expected the batch as"),
    "all in one": ("4", "z = Constant<value_ints=[1,-1]>() y = Reshape(x, z)", "Reshape 'y': expected a shape"),
    "a crossing": ("3", "a = Relu(x) b = Tanh(x) c = Add(a, b) y = Add(c, a)", "Relu 'a': expected branches"),
    "computed weights": ("3", "a = Relu(x) y = MatMul(x, a)", "MatMul"),
    "a softmax over samples": ("3", "y = Softmax<axis=0>(x)", "Softmax 'y': expected an axis behind the batch"),
    "a product in another order": (
        "3,3",
        "a = Transpose<perm=[0,2,1]>(x) b = Sigmoid(a) c = Mul(x, b) y = Flatten(c)",
        "Mul 'c': expected x sigmoid",
    ),
    "a cast in a branch": (
        "3",
        "a = Cast<to=7>(x) b = Cast<to=1>(a) c = Tanh(x) y = Add(b, c)",
        "Cast 'a': expected float32, got int64",
    ),
    "a cast that cuts fractions off": (
        "3",
        "a = Cast<to=7>(x) b = Cast<to=1>(a) y = Relu(b)",
        "Cast 'b': expected int64, got float32",
    ),
    "a dropout that trains": (
        "3",
        "r = Constant<value = float {0.5}>() m = Constant<value = bool {1}>() y = Dropout(x, r, m)",
        "Dropout 'y': expected a graph for inference, got training_mode",
    ),
    "biases of positions": ("3", "a = MatMul(x, w{3,2}) b = Add(a, o{1,1,2}) y = Flatten(b)", "Add 'b': .* outputs"),
    "a slope": ("3", "y = LeakyRelu<alpha=2.0>(x)", r"LeakyRelu 'y' leaky_relu: expected a slope in \[0, 1\)"),
    "a constant output": ("3", "a = Relu(x) y = Constant<value=float[1,1] {1.0}>()", "graph: expected an output"),
}


@pytest.mark.parametrize(("inputs", "body", "message"), REFUSED.values(), ids=REFUSED)
def test_what_funcnn_has_no_layer_for_is_refused_by_name(path, inputs, body, message):
    written(path, inputs, body)
    with pytest.raises(fn.InputError, match=f"^{path}: (Add 'y' )?{message}"):
        exchange.load(path)


def refused(path, message, **options):
    with pytest.raises(fn.InputError, match=f"^{path}:? {message}"):
        exchange.load(path, **options)


def test_several_inputs_or_outputs_are_refused_unless_one_is_chosen(path):
    written(path, "3", "y = Relu(x) z = Tanh(y)", outputs="float[N,3] y, float[N,3] z")
    refused(path, "graph: expected one output, got y, z; choose by output=")
    refused(path, "graph: expected an output that is computed from the input, got 'w'", output="w")
    assert repr(exchange.load(path, output="z").model) == "serial(relu(), tanh())"
    written(path, "3] z, float[N,3", "y = Relu(x)")
    refused(path, "graph: expected one input, got z, x")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"opset": 12}, "expected a model of opset 13 to 28, got 12; export it again"),
        ({"opset": 99}, "expected a model of opset 13 to 28, got 99; export it again"),
        ({"body": "a = Relu(y) y = Tanh(a)"}, ".* a model that onnx.checker takes, got Nodes in a graph"),
        ({"body": "y = Gemm(x, w{4,3})"}, ".* a model that onnx.checker takes, got .*imension"),
        ({"inputs": "M"}, r"input 'x': expected sizes that are known behind the batch, got \('N', 'M'\)"),
    ],
)
def test_a_graph_that_is_none_is_refused(path, how, message):
    written(path, **{"inputs": "3", "body": "y = Relu(x)", **how})
    refused(path, message)


def test_external_data_are_read_and_missed(path):
    proto = onnx.load(FILES / "torch_lenet_script.onnx")
    onnx.save(proto, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    assert fn.tree.equal(exchange.load(path).params, of("torch_lenet_script").params)
    (path.parent / "weights.data").unlink()
    refused(path, "expected a whole ONNX model, got .*weights.data.*; the file is damaged, or its external")


@pytest.mark.parametrize("name", ["torch_residual_script", "sklearn_classifier"])
def test_a_damaged_file_is_refused_or_read(path, name):
    """A changed weight cannot be seen; anything else ends with our error."""
    whole, ends = (FILES / f"{name}.onnx").read_bytes(), 0
    for i in range(60):
        place, byte, share = Key(i).uniform((3,), np.float64)
        damaged = bytearray(whole)
        damaged[int(place * 1500)] = int(byte * 256)
        path.write_bytes(damaged if i % 3 else whole[: int(share * len(whole))])
        try:
            exchange.load(path, output="probabilities" if name.startswith("sklearn") else None)
        except fn.InputError:
            ends += 1
    assert ends >= 20


def test_what_others_write_as_metadata_is_not_read_as_ours(path):
    proto = onnx.load(FILES / "sklearn_regressor.onnx")
    onnx.helper.set_model_props(proto, {"scaling": "theirs"})
    onnx.save(proto, path)
    assert exchange.load(path).scaling is None
    proto.producer_name = "funcnn"
    onnx.save(proto, path)
    refused(path, "scaling: expected one of unit, symmetric, got theirs")
    refused(path.parent / "none.onnx", "expected an ONNX model, got no such file")
