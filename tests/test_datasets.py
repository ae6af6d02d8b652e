"""Data sets: known by their bytes, from the package, a local folder, or a mirror."""

import gzip
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, load_dataset
from funcnn.data import datasets, sources
from funcnn.data.sources import DATA_DIR_VARIABLE, FILES, SOURCES

EMBEDDED = Path(datasets.__file__).parent / "mnist_5k"
AT_HAND = [*SOURCES] if os.environ.get(DATA_DIR_VARIABLE) else ["mnist_5k"]
SIZES = {"mnist_5k": (4000, 1000), "mnist": (60000, 10000), "fashion_mnist": (60000, 10000)}


def test_the_embedded_set():
    data = load_dataset("mnist_5k")
    for part, count in ((data.train, 400), (data.test, 100)):
        assert part.inputs.shape == (10 * count, 784)
        assert (part.inputs.dtype, part.inputs.min(), part.inputs.max()) == (np.float32, 0.0, 1.0)
        assert (part.targets.dtype, np.bincount(part.targets).tolist()) == (np.int64, [count] * 10)
        assert part.weights is None
    assert data.class_names == tuple("0123456789")
    assert (data.name, data.scaling) == ("mnist_5k", "unit")


def test_train_and_test_share_no_image():
    data = load_dataset("mnist_5k")
    train, test = ({row.tobytes() for row in part.inputs} for part in (data.train, data.test))
    assert not train & test


def test_symmetric_scaling():
    unit, symmetric = (load_dataset("mnist_5k", scaling=scaling).test.inputs for scaling in ("unit", "symmetric"))
    assert (symmetric.min(), symmetric.max(), symmetric.dtype) == (-1.0, 1.0, np.float32)
    assert np.allclose(symmetric, 2 * unit - 1, atol=1e-6)


def test_inputs_lie_where_jax_need_not_copy_them():
    data = load_dataset("mnist_5k")
    assert data.train.inputs.ctypes.data % 64 == data.test.inputs.ctypes.data % 64 == 0


def test_a_dataset_is_frozen():
    data = load_dataset("mnist_5k")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        data.train = None
    with pytest.raises(ValueError, match="read-only"):
        data.train.inputs[0] = 1.0


@pytest.mark.parametrize("name", AT_HAND)
def test_every_set_at_hand(name):
    data = load_dataset(name)
    for part, size in zip((data.train, data.test), SIZES[name], strict=True):
        assert part.inputs.shape == (size, 784)
        assert np.unique(part.targets).tolist() == list(range(len(data.class_names)))


@pytest.fixture
def source(monkeypatch):
    """``mnist`` with the bytes of the embedded set, so that whole downloads can be tried without the full one."""
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    small = attrs.evolve(SOURCES["mnist"], md5s=SOURCES["mnist_5k"].md5s)

    def use(*mirrors):
        table = {**SOURCES, "mnist": attrs.evolve(small, mirrors=mirrors)}
        for module in (sources, datasets):
            monkeypatch.setattr(module, "SOURCES", table)

    return use


def test_a_local_folder(source, tmp_path, monkeypatch):
    source("http://127.0.0.1:9/")
    shutil.copytree(EMBEDDED, tmp_path / "given")
    shutil.copytree(EMBEDDED, tmp_path / "parent" / "mnist")
    (tmp_path / "plain").mkdir()
    for file in FILES:
        (tmp_path / "plain" / file).write_bytes(gzip.decompress((EMBEDDED / f"{file}.gz").read_bytes()))
    for folder in ("dotted", "zipped"):
        (tmp_path / folder).mkdir()
    for file in FILES:
        content = (EMBEDDED / f"{file}.gz").read_bytes()
        (tmp_path / "dotted" / file.replace("-idx", ".idx")).write_bytes(gzip.decompress(content))
        (tmp_path / "zipped" / file).write_bytes(content)  # without the ending
    expected = load_dataset("mnist_5k")
    for folder in ("given", "parent", "plain", "dotted", "zipped"):
        assert fn.tree.equal(load_dataset("mnist", data_dir=tmp_path / folder).test, expected.test)
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path / "parent"))
    assert fn.tree.equal(load_dataset("mnist").train, expected.train)


def test_a_swapped_data_set_is_refused(tmp_path, monkeypatch):
    """Fashion-MNIST in the place of MNIST: here the embedded bytes pass for Fashion-MNIST's."""
    shutil.copytree(EMBEDDED, tmp_path / "mnist")
    clothes = attrs.evolve(SOURCES["fashion_mnist"], md5s=SOURCES["mnist_5k"].md5s)
    monkeypatch.setattr(sources, "SOURCES", {"mnist": SOURCES["mnist"], "fashion_mnist": clothes})
    expected = r"expected the bytes of mnist's train-images-idx3-ubyte, got those of fashion_mnist's train-images"
    with pytest.raises(InputError, match=expected):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.unlink(),
            r"expected train-labels-idx1-ubyte.gz or train-labels-idx1-ubyte in .*, got neither",
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "expected a whole gzip file"),
        (lambda path: path.write_bytes(b"<html>"), r"got 6 other bytes \(MD5 .*\); get the file again"),
    ],
)
def test_a_damaged_folder_is_refused(source, tmp_path, damage, message):
    source("http://127.0.0.1:9/")
    shutil.copytree(EMBEDDED, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "train-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match=message):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: load_dataset("mnist5k"),
            "load_dataset: expected one of mnist_5k, mnist, fashion_mnist, got 'mnist5k'",
        ),
        (
            lambda: load_dataset("mnist", scaling="none"),
            r"load_dataset\('mnist'\): expected a scaling of unit, symmetric",
        ),
        (lambda: load_dataset("mnist", data_dir="/nowhere"), "expected a folder in data_dir, got /nowhere; create it"),
        (lambda: load_dataset("mnist_5k", data_dir="/nowhere"), "expected no data_dir, since this data set comes with"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_missing_folder_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv(DATA_DIR_VARIABLE, "/nowhere")
    with pytest.raises(InputError, match="expected a folder in FUNCNN_DATA_DIR, got /nowhere"):
        load_dataset("mnist")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word, and counts them."""

    served: ClassVar[list[str]] = []

    def log_message(self, *args):
        self.served.append(self.path)


@pytest.fixture
def serve():
    """A function that serves a folder on this machine and gives its URL."""
    servers = []

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    Quiet.served.clear()
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(sources, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def corrupt(tmp_path):
    """A mirror's folder whose files are whole but not MNIST."""
    folder = tmp_path / "corrupt"
    shutil.copytree(EMBEDDED, folder)
    for file in FILES:
        content = bytearray(gzip.decompress((folder / f"{file}.gz").read_bytes()))
        content[-1] ^= 1
        (folder / f"{file}.gz").write_bytes(gzip.compress(content))
    return folder


def test_the_first_good_mirror_serves(source, serve, cache, corrupt):
    down = "http://127.0.0.1:9/"
    source(down, serve(corrupt), serve(EMBEDDED))
    assert fn.tree.equal(load_dataset("mnist").train, load_dataset("mnist_5k").train)
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(f"{file}.gz" for file in FILES)
    assert len(Quiet.served) == 8
    load_dataset("mnist")
    assert len(Quiet.served) == 8, "what is in the cache is not downloaded again"


def test_a_damaged_cache_is_downloaded_again(source, serve, cache):
    source(serve(EMBEDDED))
    load_dataset("mnist")
    (cache / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"half")
    load_dataset("mnist")
    assert len(Quiet.served) == 5


def test_no_mirror_at_all_says_what_each_one_answered(source, serve, cache, corrupt, tmp_path):
    (tmp_path / "empty").mkdir()
    source("http://127.0.0.1:9/", serve(tmp_path / "empty"), serve(corrupt))
    with pytest.raises(InputError) as refusal:
        load_dataset("mnist")
    message = str(refusal.value)
    assert message.startswith("load_dataset('mnist'): expected a mirror that serves train-images-idx3-ubyte.gz, got ")
    assert "train-images-idx3-ubyte.gz: ConnectionError; " in message
    assert "404" in message
    assert "other bytes (MD5" in message
    assert len(message) < 900
    assert message.endswith("put the files in a folder and name it by data_dir or FUNCNN_DATA_DIR")
    assert not list(cache.rglob("*.gz"))


def test_a_cache_that_cannot_be_written_is_named(source, monkeypatch):
    source("http://127.0.0.1:9/")
    monkeypatch.setattr(sources, "cache_folder", lambda: Path("/proc/none"))
    with pytest.raises(InputError, match="expected a cache folder that can be written, got /proc/none/mnist"):
        load_dataset("mnist")


def test_the_cache_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sources.cache_folder().name == "funcnn"


def test_without_pooch_the_message_says_what_to_install(source, cache, monkeypatch):
    source("http://127.0.0.1:9/")
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'funcnn\[experiments\]', or give data_dir"):
        load_dataset("mnist")
