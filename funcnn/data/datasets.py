"""Data sets by name: ``mnist_5k`` comes with funcnn, ``mnist`` and ``fashion_mnist`` are downloaded once.

The MD5 of its uncompressed bytes identifies each file, so damaged files and files of other data sets are refused.
"""

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs
import numpy as np

from funcnn import tree
from funcnn.arrays import Array, check_array
from funcnn.data.idx import parse_idx
from funcnn.data.sources import DATA_DIR_VARIABLE, FILES, MOST_BYTES, SOURCES, downloaded, verified
from funcnn.errors import InputError, is_one_of, require
from funcnn.reading import read_bytes
from funcnn.training import Batch

__all__ = ["SCALINGS", "Dataset", "DatasetName", "Scaling", "load_dataset", "scale"]

DatasetName: TypeAlias = Literal["mnist_5k", "mnist", "fashion_mnist"]
Scaling: TypeAlias = Literal["unit", "symmetric"]

SCALINGS: Mapping[str, tuple[float, float]] = MappingProxyType({"unit": (0.0, 255.0), "symmetric": (127.5, 127.5)})
"""Offset and divisor of pixels by name: "unit" is x / 255, "symmetric" is (x - 127.5) / 127.5."""


@attrs.frozen(eq=False)
class Dataset:
    """Samples to train on and to test on.

    Attributes:
        name: The name of the data set, or of the folder that it was read from.
        train: Inputs (samples, 784) float32 and targets (samples,) int64.
        test: The same, held out.
        class_names: The name of each label.
        scaling: The name in :data:`SCALINGS`.
    """

    name: str
    train: Batch
    test: Batch
    class_names: tuple[str, ...]
    scaling: str

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        return tree.table(f"Dataset {self.name}", {"train": self.train, "test": self.test})


def load_dataset(name: DatasetName, *, data_dir: str | Path | None = None, scaling: Scaling = "unit") -> Dataset:
    """Load ``"mnist_5k"``, ``"mnist"`` or ``"fashion_mnist"``.

    ``mnist_5k`` comes with funcnn. The others are read from ``data_dir`` or, without it, from the folder that the
    environment variable ``FUNCNN_DATA_DIR`` names, or from its subfolder ``name``. Without both, they are downloaded
    once into the user's cache folder, which takes the extra ``experiments``.

    Args:
        name: The data set.
        data_dir: A folder with the four idx files, gzipped or plain, named ``train-images-idx3-ubyte`` or
            ``train-images.idx3-ubyte`` and so on.
        scaling: ``"unit"`` for pixels in [0, 1], ``"symmetric"`` for [-1, 1].

    Raises:
        InputError: The name or scaling is unknown, a folder or file is missing, a file has other bytes than this data
            set's, or no mirror serves it.

    >>> data = load_dataset("mnist_5k")
    >>> data.train.inputs.shape, data.test.inputs.shape, data.train.inputs.dtype
    ((4000, 784), (1000, 784), dtype('float32'))
    """
    where = f"load_dataset({name!r})"
    require(is_one_of(name, SOURCES), "load_dataset", f"one of {', '.join(SOURCES)}", repr(name))
    check_scaling(where, scaling)
    folder = _folder(where, name, data_dir)

    def content(file: str) -> bytes:
        if folder is None:
            return downloaded(name, file)
        dotted = file.replace("-idx", ".idx")  # the names in many archives
        paths = (folder / part for part in (f"{file}.gz", file, f"{dotted}.gz", dotted))
        path = next(filter(Path.exists, paths), None)
        if path is None:
            raise InputError(where, f"{file}.gz or {file} in {folder}", "neither", "put the four idx files there")
        return verified(name, file, read_bytes(path, MOST_BYTES), str(path))

    def array(file: str) -> Array:
        found = content(file)
        return parse_idx(io.BytesIO(found), file, len(found))

    images, labels, test_images, test_labels = map(array, FILES)
    return Dataset(
        name=name,
        train=Batch(scale(images, scaling), labels.astype(np.int64)),
        test=Batch(scale(test_images, scaling), test_labels.astype(np.int64)),
        class_names=SOURCES[name].class_names,
        scaling=scaling,
    )


def scale(pixels: Array, scaling: str) -> Array:
    """Pixels (samples, ...) in [0, 255] as inputs (samples, features) float32.

    >>> scale(np.array([[[0, 255]]], dtype=np.uint8), "symmetric")
    array([[-1.,  1.]], dtype=float32)
    """
    check_array("scale", "pixels", pixels)
    fits = pixels.ndim > 1 and pixels.dtype.kind in "uif"
    require(fits, "scale", "pixels (samples, ...), at least one each", f"{pixels.dtype} {pixels.shape}")
    check_scaling("scale", scaling)
    offset, divisor = SCALINGS[scaling]
    flat = pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
    inputs: Array = (flat - np.float32(offset)).astype(np.float32, copy=False)
    inputs /= divisor
    return inputs


def _folder(where: str, name: str, data_dir: str | Path | None) -> Path | None:
    """The local folder with the files of ``name``, or ``None`` if they must be downloaded."""
    if not SOURCES[name].mirrors:
        hint = f"leave it out, or choose one of {', '.join(other for other in SOURCES if SOURCES[other].mirrors)}"
        require(data_dir is None, where, "no data_dir, since this data set comes with funcnn", data_dir, hint)
        return Path(__file__).parent / name
    given = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not given:
        return None
    folder = Path(given)
    origin = "data_dir" if data_dir else DATA_DIR_VARIABLE
    require(folder.is_dir(), where, f"a folder in {origin}", given, "create it, or leave it out to download")
    return folder / name if (folder / name).is_dir() else folder


def check_scaling(where: str, scaling: object, *, or_none: bool = False) -> None:
    """Raise unless it is the name of a scaling or, with ``or_none``, ``None``."""
    fits = is_one_of(scaling, SCALINGS) or (or_none and scaling is None)
    require(fits, where, f"a scaling of {', '.join(SCALINGS)}" + (", or None" if or_none else ""), repr(scaling))
