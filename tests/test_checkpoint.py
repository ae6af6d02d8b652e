"""Saving and loading: a round trip bit for bit, and every other file refused."""

import json
import re
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
from tests.resigned import resigned

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


def test_the_same_model_gives_the_same_bytes_however_its_arrays_lie_in_memory(saved, tmp_path):
    turned = tree.map(np.asfortranarray, PARAMS)
    save(tmp_path / "again", MODEL, turned, IN_SHAPE, scaling="unit", class_names=("a", "b", "c"))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_the_byte_order_of_arrays_is_no_part_of_a_tree(path):
    swapped = (np.arange(3.0).astype(">f8"), np.arange(3, dtype="<i4"))
    save_tree(path, swapped)
    for template in (swapped, tuple(array.astype(array.dtype.newbyteorder()) for array in swapped)):
        assert tree.equal(load_tree(path, template), (np.arange(3.0), np.arange(3, dtype=np.int32)))


def test_any_safetensors_reader_opens_it(saved):
    arrays = safetensors.numpy.load_file(saved)
    assert sorted(arrays) == ["1.0.biases", "1.0.weights", "2.biases", "2.weights"]
    assert np.array_equal(arrays["2.weights"], PARAMS[2].weights)


def rewritten(path, change_arrays, change_header):
    """The file with other arrays and another header."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["funcnn"])
    arrays = change_arrays(dict(safetensors.numpy.load_file(path)))
    safetensors.numpy.save_file(arrays, path, {"funcnn": json.dumps(change_header(header))})


def same(given):
    return given


def without(name):
    return lambda given: {key: value for key, value in given.items() if key != name}


def having(**changes):
    """With what has these names; a dot is written as a double underscore."""
    return lambda given: {**given, **{name.replace("__", "."): value for name, value in changes.items()}}


def bigger(header):
    header["model"]["arguments"]["layers"][2]["arguments"]["features"] = 5
    return header


def renamed(header):
    header["model"]["arguments"]["layers"][0]["name"] = "flatten9"
    header["model"]["arguments"]["layers"][2]["name"] = "thick"
    return header


def several(arrays):
    return {**without("2.biases")(arrays), "9": np.zeros(2), "1.0.biases": np.zeros(5, np.float32)}


FIVE = np.zeros(5, np.float32)
DAMAGED = "the bytes that were saved, got others; the file is damaged"
HEADER = "a header as funcnn writes it, got"
MISMATCHES = [
    (without("2.biases"), same, "2.biases is missing$"),
    (having(three=np.zeros(2)), same, "three is extra$"),
    (having(**{"2__biases": FIVE}), same, r"2.biases is float32 \(5,\) instead of float32 \(3,\)$"),
    (having(**{"2__biases": np.zeros(3)}), same, "2.biases is float64"),
    (several, same, r"1.0.biases is float32 \(5,\) .*; 2.biases is missing; 9 is extra$"),
    (same, bigger, r"2.biases is float32 \(3,\) instead of float32 \(5,\); 2.weights is"),
    (same, renamed, r"'flatten9' at layers\[0\], 'thick' at layers\[2\]; import the module"),
    (same, having(in_shape=[7]), r"1.0.weights is float32 \(6, 4\) instead of float32 \(7, 4\)"),
    (same, lambda header: 5, f"{HEADER} int"),
    (same, having(in_shape=[10**13, 1]), r"1.0.weights is float32 \(6, 4\) instead of float32 \(10000000000000, 4\)"),
    (same, having(scaling="unjt"), "header scaling: expected the name of a scaling, or null, got 'unjt'"),
    (same, having(scaling=None), DAMAGED),
    (same, without("sha256"), DAMAGED),
]


@pytest.mark.parametrize(("arrays", "header", "message"), MISMATCHES)
def test_mismatches_are_listed(saved, arrays, header, message):
    rewritten(saved, arrays, header)
    with pytest.raises(InputError, match=rf"^{saved}:.*{message}"):
        load(saved)


@pytest.mark.parametrize("read", [load, lambda path: load_tree(path, TREE)])
def test_what_is_no_such_file_is_refused(path, read):
    with pytest.raises(InputError, match=f"^{path}: expected a saved model, got no such file$"):
        read(path)
    safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    with pytest.raises(InputError, match=f"^{path}: expected a model that funcnn saved"):
        read(path)


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
    before, bare = saved.read_bytes(), fn.Layer(lambda key, shape, **_: ({}, shape), MODEL.forward, MODEL.vjp)
    same_paths = {"a.b": np.zeros(2, np.float32), "a": {"b": np.ones(2, np.float32)}}
    unlike = r"^save: expected the arrays of its architecture, got .*1.0.weights is missing"
    with pytest.raises(InputError, match=unlike):
        save(saved, MODEL, PARAMS[2], IN_SHAPE)
    with pytest.raises(InputError, match="expected described things and plain data"):
        save(saved, fn.serial(fn.Layer(MODEL.init, MODEL.forward, MODEL.vjp)), (PARAMS,), IN_SHAPE)
    with pytest.raises(InputError, match=r"^save: expected a path of its own for every array"):
        save(saved, bare, same_paths, (1,))
    with pytest.raises(InputError, match=r"^save_tree: expected a path of its own for every array, got two the same"):
        save_tree(saved, same_paths)
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
    assert (type(back[1].step), back[1].key) == (int, state.key)
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
def test_another_or_a_damaged_tree_is_refused(path, template, message):
    save_tree(path, TREE)
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        load_tree(path, template)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: expected {DAMAGED}"):
        load_tree(path, template)


UNSAVABLE = {
    **{type(leaf).__name__: leaf for leaf in (b"x", 1j, object(), {1})},
    **{str(leaf.dtype): leaf for leaf in (np.array([None]), np.zeros(2, complex), np.zeros(2, "M8[s]"))},
    "MaskedArray": np.ma.masked_array([1.0], [True]),
    "int": 10**5000,
}


@pytest.mark.parametrize("kind", UNSAVABLE)
def test_a_leaf_that_would_not_come_back_is_not_saved(path, kind):
    with pytest.raises(InputError, match=rf"^save_tree a: expected an array of .*, got {re.escape(kind)}"):
        save_tree(path, {"a": UNSAVABLE[kind]})
    assert not path.exists()


def test_a_path_that_safetensors_needs_is_not_saved(path):
    with pytest.raises(InputError, match=r"^save_tree: expected a path of its own for every array, got '__metadata__'"):
        save_tree(path, {"__metadata__": np.zeros(2)})


def test_a_float_that_is_written_as_a_whole_number_comes_back_as_a_float(path):
    save_tree(path, {"rate": 0.5})
    resigned(path, lambda header: {"leaves": {"rate": 1}})
    assert repr(load_tree(path, {"rate": 0.5})) == "{'rate': 1.0}"
    resigned(path, lambda header: {"leaves": {"rate": 10**400}})
    with pytest.raises(InputError, match="rate: expected a leaf that is float"):
        load_tree(path, {"rate": 0.5})


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
