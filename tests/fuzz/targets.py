"""Everything that reads bytes, with valid inputs for each."""

import gzip
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import funcnn as fn
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark.contest import Measurement
from experiments.benchmark.tables import Results, text
from experiments.mnist import Config
from funcnn.data import load_folder, read_idx, write_idx
from funcnn.data.normalize import read_as_mnist
from funcnn.runs import compare, folder as files, read_run
from funcnn.runs.plan import CONVERTER, structured, write_json
from funcnn.runs.stream import beginning
from funcnn.spec import from_plain, to_plain
from tests.catalogue import INITIALIZERS, LAYERS, PENALTIES, SCHEDULES
from tests.fuzz.mutations import of_bytes, of_json, of_rows, of_saved, of_zipped
from tests.fuzz.trial import Target
from tests.small_experiments import regression

DEFLATED = 1100
"""A byte of a gzip file stands for 1,032 bytes at most."""

PICTURE = 2**29
"""What 2**24 pixels take, which any image may have, in colours and with their grey values."""


def targets(scratch: Path) -> list[Target]:
    """All targets; they write their inputs into ``scratch``, a folder of their own."""
    return [*_saved(scratch), *_of_runs(scratch / "run"), *_data(scratch), *_plain(scratch)]


def _written(path: Path, read):
    """``read`` of the path, once the input stands there."""

    def reading(content):
        path.write_bytes(content)
        return read(path)

    return reading


def _saved(scratch: Path) -> list[Target]:
    models, path = [], scratch / "model"
    small = [(layer, shape) for layer, shape in LAYERS if len(repr(layer)) < 200]
    for layer, in_shape in small:
        params, _ = layer.init(fn.Key(0), in_shape)
        fn.save(path, layer, params, in_shape, scaling="unit", class_names=("a", "b"))
        models.append(path.read_bytes())
    tree = {"a": np.ones((2, 3), np.float32), "b": (fn.Key(3, ("x", 1)), 5, 0.5, "text", True)}
    fn.save_tree(path, tree)
    of_tree = Target("tree", (path.read_bytes(),), of_saved, _written(path, lambda path: fn.load_tree(path, tree)))
    return [Target("model", tuple(models), of_saved, _written(path, fn.load)), of_tree]


def _of_runs(folder: Path) -> list[Target]:
    experiment = regression()
    fn.runs.run(experiment, folder, show=None, source=folder.parent, config={"width": 4, "seed": 0, "epochs": 3})
    first = beginning(experiment)

    def compared(folder):
        runs = compare.read_runs(folder)
        return compare.table(runs).encode()

    def progress(folder):
        return files.read_progress(folder, first)

    readers = {
        "config.json": (of_json, compared),
        "environment.json": (of_json, read_run),
        "history.csv": (of_rows, lambda folder: (compared(folder), progress(folder))),
        "steps.csv": (of_rows, lambda folder: (read_run(folder), progress(folder))),
        "digest.txt": (of_bytes, read_run),
        "checkpoint.safetensors": (of_saved, progress),
    }
    return [
        Target(name, ((folder / name).read_bytes(),), mutate, _restored(folder / name, partial(read, folder)))
        for name, (mutate, read) in readers.items()
    ]


def _restored(path: Path, read):
    """``read()`` while the input stands at ``path``, where afterwards stands again what stood there."""
    before = path.read_bytes()

    def reading(content):
        path.write_bytes(content)
        try:
            return read()
        finally:
            path.write_bytes(before)

    return reading


def _data(scratch: Path) -> list[Target]:
    arrays, path = [], scratch / "array"
    for kind in ("u1", "i2", "f8"):
        write_idx(path, np.arange(24, dtype=kind).reshape(2, 3, 4))
        arrays += [path.read_bytes(), gzip.compress(path.read_bytes())]
    pixels = np.zeros((12, 10, 3), np.uint8)
    pixels[3:9, 4:6] = 255
    pictures = []
    for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"):
        Image.fromarray(pixels).save(file := io.BytesIO(), form)
        pictures.append(file.getvalue())
    pictures.append(gzip.compress(pictures[0]))
    folder = scratch / "folder"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for i in range(2):
            (folder / label / f"{i}.png").write_bytes(pictures[0])
    of_folder = _restored(folder / "a" / "0.png", lambda: load_folder(folder, fn.Key(0)))
    return [
        Target("idx", tuple(arrays), of_zipped, _written(path, read_idx), DEFLATED),
        Target("image", tuple(pictures), of_zipped, _written(scratch / "image", read_as_mnist), DEFLATED, PICTURE),
        Target("images", tuple(pictures), of_zipped, of_folder, DEFLATED, PICTURE, every=20),
    ]


def _plain(scratch: Path) -> list[Target]:
    parts = [*(layer for layer, _ in LAYERS), *PENALTIES, *SCHEDULES, *INITIALIZERS]
    described = [json.dumps(to_plain(part)).encode() for part in parts if part.spec is not None]
    made = [
        Measurement("small-32-sgd", peer, 0, (0.5, 0.25), (1.0,), (2.0,), 5, 6, 7, 8) for peer in ("funcnn", "floor")
    ]
    results = Results({"threads": 1, "processor": "p"}, {}, tuple(made), {"funcnn": 5, "floor": None})
    write_json(path := scratch / "benchmark.json", results)

    def plain(content):
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):  # JSON is read elsewhere
            return
        from_plain(values)

    def config(content):
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            return
        structured("config", values, Config)

    return [
        Target("plain", tuple(described), of_json, plain),
        Target("config", (json.dumps(CONVERTER.unstructure(Config())).encode(),), of_json, config),
        Target(
            "benchmark.json", (path.read_bytes(),), of_json, _written(path, lambda p: text(benchmark.read(p))), every=5
        ),
    ]
