"""Small files with large bills, and headers that are signed and wrong: refused at the cost of their size."""

import contextlib
import gzip
import json
import struct
import time
import tracemalloc

import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, Key, load, save
from funcnn.data import read_idx
from funcnn.keys import ShapeKey
from funcnn.reading import read_bytes
from funcnn.spec import MOST_PARTS, described, from_plain, to_plain
from tests.catalogue import LAYERS
from tests.resigned import resigned, signed

SECONDS, BYTES, TIMES = 2.0, 1 << 23, 40
"""The law of reading: no longer than this, of processor time, and at most 8 MB and so many times the file's size."""


def within_the_law(read, path):
    """What ``read`` gives of the file, or refuses; it takes neither long nor much memory, whatever it does."""
    with contextlib.suppress(InputError):
        read(path)  # which imports what it needs
    tracemalloc.start()
    began = time.process_time()
    try:
        return read(path)
    finally:
        seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < SECONDS, f"{seconds:.1f} s"
        assert peak < BYTES + TIMES * path.stat().st_size, f"{peak:,} bytes"


def part(name, **arguments):
    return {"name": name, "arguments": arguments}


RELU = part("relu")


def nested(times, depth):
    return RELU if depth == 0 else part("repeat", times=times, layer=nested(times, depth - 1))


def dense(features):
    return {**to_plain(fn.dense(1)), "arguments": {**to_plain(fn.dense(1))["arguments"], "features": features}}


def deep(depth):
    return RELU if depth == 0 else part("residual", layer=deep(depth - 1))


def serial(*layers):
    return part("serial", layers=[*layers])


def conv(size):
    plain = to_plain(fn.conv2d(1))
    return {**plain, "arguments": {**plain["arguments"], "features": size, "kernel": [size, size]}}


MODELS = {
    "one layer 10,000,000 times": (nested(10**7, 1), [3], "repeat: expected times to be .* up to 10,000, got 10000000"),
    "three times 1,000": (nested(1000, 3), [3], "from_plain: expected at most 10,000 layers and other parts, got "),
    "10,000 at a time": (serial(*[nested(9999, 1)] * 500), [3], "from_plain: expected at most 10,000 layers and other"),
    "ten, six times": (nested(10, 6), [3], "from_plain: expected at most 10,000 layers and other parts, got "),
    "101 a level": (serial(*[serial(*[RELU] * 101)] * 101), [3], "from_plain: expected at most 10,000 layers and"),
    "a deep one": (deep(150), [3], "from_plain: expected data that are at most 100 deep, got deeper ones"),
    "a wide layer": (dense(5 * 10**7), [3], r"biases is missing; weights is missing"),
    "a wide layer of wide inputs": (dense(10**12), [10**12], "init: expected params of a shape that NumPy can have"),
    "many wide layers": (serial(*[dense(10**6)] * 100), [3], "0.biases is missing; "),
    "large kernels": (conv(10**4), [10**5, 10**5, 10**3], "biases is missing; weights is missing"),
    "a wide norm": (to_plain(fn.layer_norm()), [10**9], "offset is missing; scale is missing"),
    "a wide batch norm": (to_plain(fn.batch_norm()), [10**9], "mean is missing; "),
    "a large table": (to_plain(fn.embedding(10**9, 10**3)), [10**9], "table is missing"),
    "wide attention": (to_plain(fn.attention(8)), [10**9, 8 * 10**5], "inputs.biases is missing"),
    "long positions": (to_plain(fn.positions()), [10**9, 10**3], "table is missing"),
    "wide cells": (part("recurrent", cell=to_plain(fn.gru()), features=10**6), [10**9, 3], "inputs.biases is missing"),
    "a large stddev": (to_plain(fn.dense(9, fn.initializers.normal(1e300))), [10**9], "biases is missing; weights"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def header(model, in_shape, **changes):
    known = {"dtype": "float32", "scaling": None, "class_names": [], "versions": {}}
    return {"model": model, "in_shape": in_shape, **known, **changes}


@pytest.mark.parametrize(("model", "in_shape", "message"), MODELS.values(), ids=MODELS)
def test_a_model_that_is_larger_than_its_file_is_refused_at_no_cost(path, model, in_shape, message):
    path.write_bytes(signed(header(model, in_shape), {}))
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        within_the_law(load, path)


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_are_those_of_params(layer, in_shape, dtype):
    params, out_shape = layer.init(Key(0), in_shape, dtype=dtype)
    shapes, of_shapes = layer.init(ShapeKey(0), in_shape, dtype=dtype)
    assert of_shapes == out_shape
    assert fn.tree.unlike(params, shapes) == []
    assert sum(leaf.nbytes * any(leaf.strides) for leaf in fn.tree.leaves(shapes)) == 0


def test_the_law_catches_a_reader_that_draws_params(path, monkeypatch):
    path.write_bytes(bytes(400))
    with pytest.raises(AssertionError, match="bytes"):
        within_the_law(lambda path: fn.dense(10**6).init(Key(0), (3,)), path)
    monkeypatch.setattr(f"{__name__}.SECONDS", 0.05)
    with pytest.raises(AssertionError, match=r"^\d\.\d s"):
        within_the_law(lambda path: sum(range(5 * 10**5)), path)


@described
def twice_as_wild():
    """A layer of one's own, which changes what it has drawn."""

    def init(key, in_shape, *, dtype=np.float32):
        drawn = key.normal(in_shape, dtype)
        drawn *= 2
        return {"scale": drawn, "rest": key.uniform(in_shape, dtype)[key.permutation(len(drawn))]}, in_shape

    return fn.Layer(init, fn.identity().forward, fn.identity().vjp)


@described
def given(values):
    """An initializer of one's own, which knows its shape."""
    return fn.initializers.Initializer(lambda key, shape, dtype: np.array(values, dtype).reshape(shape))


@described
def unit_vectors():
    """A layer of one's own, which divides by what it has drawn."""

    def init(key, in_shape, *, dtype=np.float32):
        drawn = key.normal(in_shape, dtype)
        return {"scale": drawn / np.linalg.norm(drawn)}, in_shape

    return fn.Layer(init, fn.identity().forward, fn.identity().vjp)


@pytest.mark.parametrize("layer", [fn.dense(2, biases=given((1.0, 2.0))), unit_vectors(), twice_as_wild()], ids=str)
def test_an_init_of_ones_own_is_summarized_saved_and_loaded(path, layer):
    params, out_shape = layer.init(Key(0), (3,))
    assert f"{out_shape}" in fn.summary(layer, (3,))
    assert f"{out_shape}" in fn.diagram(layer, (3,))
    save(path, layer, params, (3,))
    assert fn.tree.equal(load(path).params, params)


def test_what_cannot_be_loaded_is_not_saved(path):
    model = fn.serial(*[fn.relu()] * MOST_PARTS)
    with pytest.raises(InputError, match="from_plain: expected at most 10,000 layers and other parts, got 10,001"):
        save(path, model, model.init(Key(0), (3,))[0], (3,))
    assert not path.exists()


def test_parts_are_counted_as_often_as_they_are_used():
    for times, layer in ((9_990, fn.relu()), (3_000, fn.dense(1))):
        assert repr(from_plain(to_plain(fn.repeat(times, layer)))) == f"repeat({times}, {layer!r})"
    with pytest.raises(InputError, match="from_plain: expected at most 10,000 layers and other parts, got "):
        from_plain(to_plain(fn.repeat(4_000, fn.dense(1))))
    with pytest.raises(InputError, match="from_plain: expected data that are at most 100 deep"):
        from_plain(json.loads("[" * 900 + "]" * 900))


NOT_A_HEADER = "expected a header with the fields model, in_shape, dtype, scaling, class_names, versions, got "
WRONG = [
    (lambda header: {**header, "class_names": None}, "header class_names: expected a list of names, got None"),
    (lambda header: {**header, "class_names": "ab"}, "header class_names: expected a list of names, got 'ab'"),
    (lambda header: {**header, "class_names": [1]}, r"header class_names: expected a list of names, got \[1\]"),
    (lambda header: {**header, "versions": []}, r"header versions: expected versions by name, got \[\]"),
    (lambda header: {**header, "versions": {"numpy": 2}}, "header versions: expected versions by name, got"),
    *((lambda header, i=i: {n: header[n] for n in header if n != i}, NOT_A_HEADER) for i in header(RELU, [3])),
    (lambda header: {**header, "colour": "red"}, NOT_A_HEADER),
    (lambda header: {"leaves": {}}, NOT_A_HEADER),
    (lambda header: {**header, "scaling": {"x": 1}}, "header scaling: expected the name of a scaling, or null, got"),
    (lambda header: {**header, "scaling": []}, "header scaling: expected the name of a scaling, or null, got"),
    (lambda header: {**header, "dtype": "O"}, "header dtype: expected that of its arrays, float32, got 'O'"),
    (lambda header: {**header, "dtype": 4}, "header dtype: expected the name of a dtype, got 4"),
    *(
        (lambda header, shape=shape: {**header, "in_shape": shape}, "header in_shape: expected a shape, or a list of")
        for shape in (None, 3, "3", [float("nan")], [3.0], [0], [-1], [True], [2**63], ["3"], [[3], 3], {"x": 3})
    ),
    (lambda header: {**header, "in_shape": [1] * 70}, "1.0.weights is float32|expected a shape|instead of"),
    (lambda header: {**header, "model": None}, "model: expected a Layer, got None"),
    (lambda header: {**header, "model": "dense"}, "model: expected a Layer, got 'dense'"),
    (lambda header: {**header, "model": to_plain(fn.adam(0.1))}, "model: expected a Layer, got adam"),
    (lambda header: {**header, "model": part("dense", features="x")}, "expected features to be a positive whole"),
    (lambda header: {**header, "model": part("dense", features=None)}, "expected features to be a positive whole"),
    (lambda header: {**header, "model": part("dense")}, "expected the arguments of dense, got"),
    (lambda header: {**header, "model": part("serial", layers=3)}, "expected"),
    (lambda header: {**header, "model": part("serial", layers=None)}, "expected"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_header_that_is_signed_and_wrong_is_refused(path, change, message):
    model = fn.serial(fn.flatten(), fn.serial(fn.dense(4), fn.relu()), fn.dense(3))
    save(path, model, model.init(Key(0), (2, 3))[0], (2, 3))
    resigned(path, change)
    with pytest.raises(InputError, match=f"^{path}:.*{message}"):
        within_the_law(load, path)


def safetensors_of(dtype, shape, size):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    text = json.dumps({"a": entry, "__metadata__": {"funcnn": "{}"}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


ARRAYS = [("BF16", [2], 4), ("F8_E4M3", [2], 2), ("F4", [2], 1), ("F32", [1] * 70, 4), ("F32", [2**63, 0], 0)]


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("read", [load, lambda path: fn.load_tree(path, {"a": np.zeros(2)})], ids=["load", "load_tree"])
def test_arrays_that_numpy_does_not_have_are_refused(path, read, array):
    path.write_bytes(safetensors_of(*array))
    with pytest.raises(InputError, match=f"^{path}: expected "):
        within_the_law(read, path)


def idx(*shape, kind=8):
    return bytes([0, 0, kind, len(shape)]) + np.array(shape, ">u4").tobytes()


PACKED = {
    "a bomb behind a small array": (gzip.compress(idx(3) + bytes(10**8)), "expected 3 bytes of values for shape"),
    "a bomb that is no idx file": (gzip.compress(bytes(10**8)), "an idx file, which begins with two zero bytes and"),
    "an array larger than its file": (gzip.compress(idx(10**9) + bytes(10**3)), "expected 1000000000 bytes of values"),
    "an array larger than all memory": (idx(2**31, 2**31), "expected .* bytes of values"),
    "many members": (gzip.compress(b"") * 20_000, "an idx file, which begins with two zero bytes and a type"),
    "no byte of an array": (idx(2**32 - 1, 2**28), "expected .* bytes of values"),
}


@pytest.mark.parametrize(("content", "message"), PACKED.values(), ids=PACKED)
def test_no_more_is_uncompressed_than_an_array_needs(path, content, message):
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: .*{message}"):
        within_the_law(read_idx, path)


def test_no_more_is_uncompressed_than_a_data_set_needs(path):
    path.write_bytes(gzip.compress(bytes(10**7)))
    assert len(read_bytes(path)) == 10**7
    with pytest.raises(InputError, match=f"^{path}: expected at most 1,000,000 bytes, got more of them, uncompressed$"):
        within_the_law(lambda path: read_bytes(path, 10**6), path)


def test_an_array_takes_no_more_memory_than_it_is(path):
    path.write_bytes(gzip.compress(idx(10**8) + bytes(10**8)))
    tracemalloc.start()
    assert read_idx(path).nbytes == 10**8
    assert tracemalloc.get_traced_memory()[1] < 1.1 * 10**8
    tracemalloc.stop()
