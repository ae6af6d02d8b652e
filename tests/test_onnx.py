"""Models go to ONNX and come back: onnxruntime, PyTorch and scikit-learn are the oracles."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

import funcnn as fn
from funcnn import Key, onnx as exchange, tree
from funcnn.testing.laws import randomized
from tests.catalogue import named
from tests.onnx_table import ROWS, cases, drawn, exported, loaded, served
from tests.scripts import ran

MODEL = fn.serial(fn.dense(4), fn.relu(), fn.serial(fn.dense(3), fn.softmax()))
PARAMS = randomized(MODEL.init(Key(0), (5,))[0], Key(1))
NEAR = 1e-5


@fn.described
def scaled_sine(scale):
    return fn.elementwise(lambda x: scale * np.sin(x), lambda x: scale * np.cos(x))


@fn.described
def without_translation():
    return fn.identity()


@exchange.translates(scaled_sine)
def _scaled_sine(graph, params, x, scale):
    return graph.node("Mul", scale, graph.node("Sin", x))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(("layer", "in_shape", "draw"), ROWS, ids=named)
def test_onnxruntime_gives_what_a_layer_gives_and_arrays_have_their_paths(path, layer, in_shape, draw):
    params, x = drawn(layer, in_shape, draw)
    assert exported(path, layer, params, in_shape, x) < NEAR
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert {name for name, _ in tree.leaves_with_paths(params)} <= names


PADDINGS = ("same", "valid")
WINDOWS = [
    *(fn.conv2d(2, (k, 3), stride=(s, 2), padding=p) for k in (1, 2, 4) for s in (1, 2, 3) for p in PADDINGS),
    *(fn.conv2d_transpose(2, (k, 3), stride=(s, 2), padding=p) for k in (1, 4) for s in (1, 3) for p in PADDINGS),
    *(pool((k, 2), stride=(s, 1)) for pool in (fn.max_pool2d, fn.avg_pool2d) for k in (1, 3) for s in (1, 2)),
    *(fn.conv1d(2, k, stride=s, causal=causal) for k in (1, 2, 5) for s in (1, 2) for causal in (False, True)),
]


@pytest.mark.parametrize("layer", WINDOWS, ids=named)
def test_windows_are_the_same_in_onnxruntime_and_loaded_again(path, layer):
    in_shape = (9, 3) if layer.spec.name == "conv1d" else (7, 8, 3)
    params, x = drawn(layer, in_shape, Key.normal)
    assert exported(path, layer, params, in_shape, x) < NEAR
    assert loaded(path, layer, params, x) < NEAR


@settings(max_examples=-(-settings.default.max_examples // 4))
@given(case=cases())
def test_a_random_architecture_is_the_same_in_onnxruntime_and_loaded_again(tmp_path_factory, case):
    path = tmp_path_factory.getbasetemp() / "random.onnx"
    layer, params, in_shape, x = case
    assert exported(path, layer, params, in_shape, x) < NEAR
    assert loaded(path, layer, params, x) < NEAR


def test_the_batch_is_free_and_the_file_says_what_it_is(path):
    exchange.export(path, MODEL, PARAMS, (5,), scaling="unit", class_names=["a", "b", "c"])
    for batch in (1, 7):
        x = Key(2).normal((batch, 5))
        assert np.allclose(served(path, x)[0], fn.predict(MODEL, PARAMS, x), atol=NEAR)
    proto = onnx.load(path)
    found = {entry.key: entry.value for entry in proto.metadata_props}
    assert found == {"scaling": "unit", "class_names": '["a", "b", "c"]'}
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert arrays.keys() == {"0.weights", "0.biases", "2.0.weights", "2.0.biases"}
    assert tree.equal(arrays["2.0.weights"], PARAMS[2][0].weights)
    saved = exchange.load(path)
    assert (saved.in_shape, saved.scaling, saved.class_names) == ((5,), "unit", ("a", "b", "c"))
    assert repr(saved.model) == "serial(dense(4), relu(), dense(3), softmax())"


def test_a_layer_of_ones_own_has_its_translation_beside_its_constructor(path):
    model = fn.serial(fn.dense(3), scaled_sine(1.7))
    params, _ = model.init(Key(0), (5,))
    assert exported(path, model, params, (5,), Key(1).normal((4, 5))) < NEAR


@pytest.mark.parametrize("operator", ["Sin", "Neg"])
def test_a_wrong_translation_is_caught(path, operator, monkeypatch):
    @fn.described
    def wrong():
        return fn.tanh()

    @exchange.translates(wrong)
    def _(graph, params, x):
        return graph.node(operator, x)

    assert exported(path, fn.serial(wrong(), fn.relu()), ((), ()), (5,), Key(1).normal((4, 5))) > 100 * NEAR


@pytest.mark.parametrize(
    ("of", "found"),
    [
        (lambda graph, x: graph.node("Tanh", "nowhere"), "Nodes in a graph must be topologically sorted"),
        (lambda graph, x: graph.node("Tenh", x), "No Op registered for Tenh"),
        (lambda graph, x: graph.node("ReduceMean", x, [1]), "Inferred shape and existing shape differ"),
    ],
)
def test_a_translation_that_is_no_onnx_is_refused(path, of, found):
    @fn.described
    def broken():
        return fn.tanh()

    exchange.translates(broken)(lambda graph, params, x: of(graph, x))
    with pytest.raises(fn.InputError, match=rf"^export: expected a graph that ONNX allows, got (.|\n)*{found}"):
        exchange.export(path, broken(), (), (5,))
    assert not path.exists()


WEIGHTS = tree.map(lambda leaf: leaf.astype(np.float64), PARAMS)
NO_SPEC = fn.elementwise(np.tanh, lambda x: x)


@pytest.mark.parametrize(
    ("model", "params", "in_shape", "options", "message"),
    [
        (
            *(fn.serial(fn.relu(), fn.residual(without_translation())), ((), ((), ())), (5,), {}),
            r"serial\[1\] add\[1\] without_translation\(\): expected a layer with a translation to ONNX, got none; "
            r"write @funcnn.onnx.translates\(without_translation\) above a function",
        ),
        (fn.serial(NO_SPEC), ((),), (5,), {}, r"serial\[0\] .* got one that was made by hand; decorate its"),
        (MODEL, PARAMS, (6,), {}, r"export: .* 0.weights is float32 \(5, 4\) instead of float32 \(6, 4\)"),
        (MODEL, WEIGHTS, (5,), {}, r"export: expected float32 params, got float64"),
        (MODEL, PARAMS[:2], (5,), {}, r"export: .* 2.0.biases is missing"),
        (MODEL, PARAMS, (5,), {"scaling": "big"}, r"export: expected a scaling of unit, symmetric, or None, got 'big'"),
        (MODEL, PARAMS, (5,), {"class_names": "abc"}, r"export: expected class_names one by one"),
        (fn.dense, PARAMS, (5,), {}, r"model: expected a Layer"),
        (fn.max_pool2d(), (), (5,), {}, r"max_pool2d.* expected inputs \(batch, height, width, channels\)"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_an_old_file_stays(path, model, params, in_shape, options, message):
    path.write_bytes(b"old")
    with pytest.raises(fn.InputError, match=f"^{message}"):
        exchange.export(path, model, params, in_shape, **options)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b"old"]


def test_translates_takes_a_described_constructor():
    with pytest.raises(fn.InputError, match="translates: expected a constructor decorated by"):
        exchange.translates(fn.predict)


def test_only_export_and_load_need_the_package(tmp_path):
    script = (
        "import sys; sys.modules['onnx'] = None; import funcnn as fn, funcnn.onnx; print(len(fn.onnx.__doc__) > 0)\n"
        "fn.onnx.export('a.onnx', fn.relu(), (), (3,))"
    )
    end = ran("-c", script, cwd=tmp_path)
    assert end.stdout == "True\n"
    assert end.stderr.endswith("funcnn.onnx takes the extra `onnx`: pip install 'funcnn[onnx]'\n")
