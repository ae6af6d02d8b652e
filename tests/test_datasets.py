"""Data sets: known by their bytes, from the package, a local folder, or a mirror."""

import gzip
import os
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, load_dataset
from funcnn.data import datasets, sources
from funcnn.data.sources import DATA_DIR_VARIABLE, FILES, SOURCES

EMBEDDED = Path(datasets.__file__).parent / "mnist_5k"
AT_HAND = [*SOURCES] if os.environ.get(DATA_DIR_VARIABLE) else ["mnist_5k"]
DOWN = "http://127.0.0.1:9/"


@pytest.mark.parametrize("name", AT_HAND)
def test_every_set_at_hand(name):
    data = load_dataset(name)
    assert (data.name, data.scaling, len(data.class_names)) == (name, "unit", 10)
    for part, size in zip((data.train, data.test), (4000, 1000) if name == "mnist_5k" else (60000, 10000), strict=True):
        assert (part.inputs.shape, part.inputs.dtype, part.targets.dtype) == ((size, 784), np.float32, np.int64)
        assert (part.inputs.min(), part.inputs.max(), part.weights) == (0.0, 1.0, None)
        assert np.unique(part.targets).tolist() == list(range(10))
        with pytest.raises(ValueError, match="read-only"):
            part.inputs[0] = 1.0


def test_the_embedded_set_is_balanced_and_its_parts_share_no_image():
    data = load_dataset("mnist_5k")
    assert data.class_names == tuple("0123456789")
    assert [np.bincount(part.targets).tolist() for part in (data.train, data.test)] == [[400] * 10, [100] * 10]
    train, test = ({row.tobytes() for row in part.inputs} for part in (data.train, data.test))
    assert not train & test
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        data.train = None


def test_symmetric_scaling():
    unit, symmetric = (load_dataset("mnist_5k", scaling=scaling).test.inputs for scaling in ("unit", "symmetric"))
    assert (symmetric.min(), symmetric.max(), symmetric.dtype) == (-1.0, 1.0, np.float32)
    assert np.allclose(symmetric, 2 * unit - 1, atol=1e-6)


@pytest.fixture
def source(monkeypatch):
    """``mnist`` with the bytes of the embedded set, so that whole downloads can be tried without the full one."""
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)

    def use(*mirrors):
        small = attrs.evolve(SOURCES["mnist"], md5s=SOURCES["mnist_5k"].md5s, mirrors=mirrors)
        for module in (sources, datasets):
            monkeypatch.setattr(module, "SOURCES", {**SOURCES, "mnist": small})

    use(DOWN)
    return use


def test_a_local_folder(source, tmp_path, monkeypatch):
    shutil.copytree(EMBEDDED, tmp_path / "given")
    shutil.copytree(EMBEDDED, tmp_path / "parent" / "mnist")
    for file in FILES:
        zipped = (EMBEDDED / f"{file}.gz").read_bytes()
        plain, dotted = gzip.decompress(zipped), file.replace("-idx", ".idx")
        for path, content in ((f"plain/{file}", plain), (f"dotted/{dotted}", plain), (f"zipped/{file}", zipped)):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(content)
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
        (Path.unlink, "expected train-labels-idx1-ubyte.gz or train-labels-idx1-ubyte in .*, got neither"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "expected a whole gzip file"),
        (lambda path: path.write_bytes(b"<html>"), r"got 6 other bytes \(MD5 .*\); get the file again"),
    ],
)
def test_a_damaged_folder_is_refused(source, tmp_path, damage, message):
    shutil.copytree(EMBEDDED, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "train-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match=message):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist5k", {}, "load_dataset: expected one of mnist_5k, mnist, fashion_mnist, got 'mnist5k'"),
        ("mnist", {"scaling": "none"}, r"load_dataset\('mnist'\): expected a scaling of unit, symmetric"),
        ("mnist", {"data_dir": "/nowhere"}, "expected a folder in data_dir, got /nowhere; create it"),
        ("mnist_5k", {"data_dir": "/nowhere"}, "expected no data_dir, since this data set comes with"),
        ("mnist", {}, "expected a folder in FUNCNN_DATA_DIR, got /elsewhere"),
    ],
)
def test_bad_arguments_are_refused(monkeypatch, name, options, message):
    monkeypatch.setenv(DATA_DIR_VARIABLE, "/elsewhere")
    with pytest.raises(InputError, match=message):
        load_dataset(name, **options)


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """A function that serves a folder on this machine and gives its URL, and the list of what was served."""
    servers, served = [], []
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda self, *args: served.append(self.path))

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start, served
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def corrupt(tmp_path):
    """A mirror's folder whose files are whole but not MNIST."""
    for file in FILES:
        write = tmp_path / "corrupt" / f"{file}.gz"
        write.parent.mkdir(exist_ok=True)
        write.write_bytes(gzip.compress(file.encode()))
    return tmp_path / "corrupt"


def test_the_first_good_mirror_serves_once(source, serve, corrupt, tmp_path):
    start, served = serve
    source(DOWN, start(corrupt), start(EMBEDDED))
    assert fn.tree.equal(load_dataset("mnist").train, load_dataset("mnist_5k").train)
    assert {path.name for path in (tmp_path / "cache" / "mnist").iterdir()} == {f"{file}.gz" for file in FILES}
    assert len(served) == 8
    load_dataset("mnist")
    assert len(served) == 8, "what is in the cache is not downloaded again"
    (tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"half")
    load_dataset("mnist")
    assert len(served) == 10, "what is damaged there is"


def test_no_mirror_at_all_says_what_each_one_answered(source, serve, corrupt, tmp_path):
    start, _ = serve
    (tmp_path / "empty").mkdir()
    source(DOWN, start(tmp_path / "empty"), start(corrupt))
    with pytest.raises(InputError) as refusal:
        load_dataset("mnist")
    message = str(refusal.value)
    assert message.startswith("load_dataset('mnist'): expected a mirror that serves train-images-idx3-ubyte.gz, got ")
    for part in ("train-images-idx3-ubyte.gz: ConnectionError; ", "404", "other bytes (MD5"):
        assert part in message
    assert len(message) < 900
    assert message.endswith("put the files in a folder and name it by data_dir or FUNCNN_DATA_DIR")
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_the_cache_is_the_platforms_and_is_named_where_it_cannot_be_written(source, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sources.cache_folder().name == "funcnn"
    monkeypatch.setattr(sources, "cache_folder", lambda: Path("/proc/none"))
    with pytest.raises(InputError, match="expected a cache folder that can be written, got /proc/none/mnist"):
        load_dataset("mnist")


def test_without_pooch_the_message_says_what_to_install(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'funcnn\[experiments\]', or give data_dir"):
        load_dataset("mnist")
