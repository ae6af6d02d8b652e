"""Saving and loading: a round trip bit for bit, and every other file refused."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, strategies as st

import funcnn as fn
from funcnn import InputError, Key, load, save, tree
from funcnn.checkpoint import load_tree, save_tree
from funcnn.initializers import normal
from funcnn.spec import described
from funcnn.testing.layers import batch_of
from tests.catalogue import LAYERS

MODEL = fn.serial(fn.flatten(), fn.serial(fn.dense(4, biases=normal(1.0)), fn.relu()), fn.dense(3))
IN_SHAPE = (2, 3)
PARAMS, _ = MODEL.init(Key(0), IN_SHAPE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    save(path, MODEL, PARAMS, IN_SHAPE, scaling="unit", class_names=("a", "b", "c"))
    return path


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(path, layer, in_shape, dtype):
    params, _ = layer.init(Key(0), in_shape, dtype=dtype)
    save(path, layer, params, in_shape)
    back = load(path)
    assert repr(back.model) == repr(layer)
    assert tree.equal(back.params, params)
    x = batch_of(in_shape, Key(1), 3, lambda key, shape: key.normal(shape, dtype))
    assert tree.equal(fn.predict(back.model, back.params, x), fn.predict(layer, params, x))


def test_all_that_is_needed_to_use_it_comes_back(saved):
    back = load(saved)
    assert (back.in_shape, back.scaling, back.class_names) == (IN_SHAPE, "unit", ("a", "b", "c"))
    assert back.versions == {"funcnn": fn.__version__, "numpy": np.__version__}
    with pytest.raises(ValueError, match="read-only"):
        back.params[2].weights[0] = 1.0


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name, MODEL, PARAMS, IN_SHAPE, scaling="unit")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_safetensors_reader_opens_it(saved):
    arrays = safetensors.numpy.load_file(saved)
    assert sorted(arrays) == ["1.0.biases", "1.0.weights", "2.biases", "2.weights"]
    assert np.array_equal(arrays["2.weights"], PARAMS[2].weights)


def test_arrays_in_any_order_of_memory_are_saved(path):
    turned = tree.map(lambda leaf: np.asfortranarray(leaf), PARAMS)
    save(path, MODEL, turned, IN_SHAPE)
    assert tree.equal(load(path).params, PARAMS)


def rewritten(path, change_arrays=dict, change_header=lambda header: header):
    """The file with other arrays or another header."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["funcnn"])
    arrays = change_arrays(dict(safetensors.numpy.load_file(path)))
    safetensors.numpy.save_file(arrays, path, {"funcnn": json.dumps(change_header(header))})


def without(name):
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


def bigger(header):
    header["model"]["arguments"]["layers"][2]["arguments"]["features"] = 5
    return header


def renamed(header):
    header["model"]["arguments"]["layers"][0]["name"] = "flatten9"
    header["model"]["arguments"]["layers"][2]["name"] = "thick"
    return header


MISMATCHES = {
    "missing": (without("2.biases"), None, "2.biases is missing"),
    "extra": (lambda a: {**a, "3.weights": np.zeros(2)}, None, "3.weights is extra"),
    "shape": (
        lambda a: {**a, "2.biases": np.zeros(4, np.float32)},
        None,
        r"2.biases is float32 \(4,\) instead of float32 \(3,\)$",
    ),
    "dtype": (lambda a: {**a, "2.biases": np.zeros(3)}, None, "2.biases is float64"),
    "all at once": (
        lambda a: {**without("2.biases")(a), "9": np.zeros(2), "1.0.biases": np.zeros(5, np.float32)},
        None,
        r"1.0.biases is float32 \(5,\) .*; 2.biases is missing; 9 is extra$",
    ),
    "architecture": (dict, bigger, r"2.biases is float32 \(3,\) instead of float32 \(5,\); 2.weights is"),
    "names": (dict, renamed, r"'flatten9' at layers\[0\], 'thick' at layers\[2\]; import the module"),
    "input shape": (
        dict,
        lambda h: {**h, "in_shape": [7]},
        r"1.0.weights is float32 \(6, 4\) instead of float32 \(7, 4\)",
    ),
    "no layer": (dict, lambda h: {**h, "model": "dense"}, "model: expected a Layer, got 'dense'"),
    "no architecture": (dict, lambda h: {"in_shape": [6]}, "a header as funcnn writes it, got KeyError"),
    "no object": (dict, lambda h: 5, "a header as funcnn writes it, got int"),
    "no size": (dict, lambda h: {**h, "in_shape": [0]}, "shape of positive whole numbers|as funcnn writes it"),
    "no memory": (dict, lambda h: {**h, "in_shape": [10**13, 1]}, "a header as funcnn writes it, got .*Memory"),
    "another scaling": (
        dict,
        lambda h: {**h, "scaling": "unjt"},
        "the bytes that were saved, got others; the file is damaged",
    ),
    "no digest": (
        dict,
        lambda h: {k: v for k, v in h.items() if k != "sha256"},
        "the bytes that were saved, got others",
    ),
    "no dtype": (dict, lambda h: {**h, "dtype": "float99"}, "a header as funcnn writes it, got TypeError"),
}


@pytest.mark.parametrize(("arrays", "header", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_mismatches_are_listed(saved, arrays, header, message):
    rewritten(saved, arrays, header or (lambda header: header))
    with pytest.raises(InputError, match=rf"^{saved}:.*{message}"):
        load(saved)


def test_a_changed_weight_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-3] ^= 1
    saved.write_bytes(content)
    with pytest.raises(
        InputError, match=f"^{saved}: expected the bytes that were saved, got others; the file is damaged"
    ):
        load(saved)


def test_paths_that_would_be_the_same_are_refused(path):
    params = {"a.b": np.zeros(2, np.float32), "a": {"b": np.ones(2, np.float32)}}
    layer = described_params()
    with pytest.raises(InputError, match="save: expected a path of its own for every array"):
        save(path, layer, params, (1,))


def described_params():
    return fn.Layer(lambda key, in_shape, dtype=np.float32: ({}, in_shape), MODEL.forward, MODEL.vjp)


def test_a_missing_file_is_refused(path):
    with pytest.raises(InputError, match=f"^{path}: expected a saved model, got no such file$"):
        load(path)


def test_another_safetensors_file_is_refused(path):
    safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    with pytest.raises(InputError, match=f"^{path}: expected a model that funcnn saved"):
        load(path)


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for size in range(0, len(content), 7):
        saved.write_bytes(content[:size])
        with pytest.raises(InputError, match=f"^{saved}: expected a whole safetensors file"):
            load(saved)
    saved.write_bytes(content + b"\0")
    with pytest.raises(InputError):
        load(saved)


@given(st.data())
def test_every_changed_byte_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "model.safetensors"
    save(path, fn.dense(2), fn.dense(2).init(Key(0), (3,))[0], (3,))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        saved = load(path)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 both ends are right
    else:  # JSON has white space and spellings that mean the same
        assert tree.equal(saved.params, fn.dense(2).init(Key(0), (3,))[0])


def test_a_failed_save_leaves_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(
        InputError, match=r"save: expected the arrays of its architecture, got .*1.0.weights is missing"
    ):
        save(saved, MODEL, PARAMS[2], IN_SHAPE)
    with pytest.raises(InputError, match="expected described things and plain data"):
        save(saved, fn.serial(fn.Layer(MODEL.init, MODEL.forward, MODEL.vjp)), (PARAMS,), IN_SHAPE)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


OPTIMIZER = fn.chain(fn.clip_by_global_norm(1.0), fn.adam(1e-3))
STEP = fn.train_step(MODEL, fn.softmax_cross_entropy(), OPTIMIZER, metrics={"accuracy": fn.accuracy})
TREE = PARAMS, STEP.init(PARAMS, Key(2**63, ("a", 1)))


def test_a_training_state_comes_back_bit_for_bit(path):
    batch = fn.Batch(Key(3).normal((4, 2, 3)), np.array([0, 1, 2, 0]))
    params, state = STEP(*TREE, batch)
    save_tree(path, (params, state))
    back = load_tree(path, TREE)
    assert tree.equal(back, (params, state))
    assert isinstance(back[1].step, int)
    assert back[1].key == state.key


def test_numbers_that_are_not_finite_come_back(path):
    save_tree(path, TREE)
    assert np.isnan(load_tree(path, TREE)[1].metrics["loss"])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (TREE[0], "extra"),
        ((TREE[0], TREE[1], np.zeros(3)), "2 is missing"),
        ((TREE[0], TREE[1], 0), "the leaves"),
        (tree.map(lambda leaf: leaf[:1] if hasattr(leaf, "dtype") and leaf.ndim else leaf, TREE), "instead of"),
    ],
)
def test_another_tree_is_refused(path, template, message):
    save_tree(path, TREE)
    with pytest.raises(InputError, match=message):
        load_tree(path, template)


def test_a_damaged_tree_is_refused(path):
    save_tree(path, TREE)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="the bytes that were saved"):
        load_tree(path, TREE)


def test_two_leaves_of_one_path_are_refused(path):
    with pytest.raises(InputError, match="save_tree: expected a path of its own for every array, got two the same"):
        save_tree(path, {"a.b": np.ones(1), "a": {"b": np.zeros(1)}})
    assert not path.exists()


def test_a_parameter_without_an_axis_comes_back(path):
    @described
    def scaled():
        return fn.Layer(
            lambda key, shape, *, dtype=np.float32: ({"slope": np.full((), 2, dtype)}, shape),
            lambda params, x, mode: (params["slope"] * x, ()),
            lambda params, residuals, dy, *, need_dx=True: (params, dy),
        )

    params, _ = scaled().init(Key(0), (3,))
    save(path, scaled(), params, (3,))
    assert tree.equal(load(path).params, params)
