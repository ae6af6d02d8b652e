"""A folder as a data set: it has one subfolder of images for each label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from funcnn.annotations import UInt8
from funcnn.arrays import Array
from funcnn.data.datasets import Dataset, Scaling, check_scaling, scale
from funcnn.data.images import image_paths
from funcnn.data.normalize import INKS, read_as_mnist
from funcnn.errors import InputError, is_one_of, is_real, require
from funcnn.keys import Key, check_key
from funcnn.training import Batch

__all__ = ["load_folder"]


def load_folder(
    path: str | Path, key: Key, *, test: float = 0.2, scaling: Scaling = "unit", ink: str = "auto"
) -> Dataset:
    """The images in the subfolders of ``path``; each subfolder is named after its label.

    :func:`funcnn.data.as_mnist` gives each image the form of MNIST's, as ``experiments.predict`` does. The labels are
    sorted by name. The split depends on the key and the names of the files alone. Hidden files and files directly in
    ``path`` are ignored.

    Args:
        path: The folder of folders.
        key: Draws the images to hold out.
        test: The share of each label's images to hold out, in (0, 1); both parts get at least one image.
        scaling: ``"unit"`` for pixels in [0, 1], ``"symmetric"`` for [-1, 1].
        ink: Whether ink is ``"dark"`` or ``"light"`` in all images, or ``"auto"``.

    Raises:
        InputError: ``path`` is not a folder, has fewer than two labels, has a label with fewer than two images, or
            has files that are not images or are blank; the message lists these files.
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    where, folder = f"load_folder({str(path)!r})", Path(path)
    check_key(where, key)
    check_scaling(where, scaling)
    require(is_one_of(ink, INKS), where, f"an ink of {', '.join(INKS)}", repr(ink))
    require(is_real(test, low=0, below=1) and test > 0, where, "a share of test images in (0, 1)", repr(test))
    require(folder.is_dir(), where, "a folder", "none")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    require(len(names) > 1, where, "a folder of images for each of two labels or more", names or "no folder")
    paths = [image_paths(folder / name) for name in names]
    few = [f"{len(found)} in {name!r}" for name, found in zip(names, paths, strict=True) if len(found) < 2]
    require(not few, where, "two images or more for each label, to train and to test on", ", ".join(few))
    inputs = scale(_read_all(where, [path for found in paths for path in found], ink), scaling)
    targets = np.repeat(np.arange(len(names)), [len(found) for found in paths])
    order, tested = key.permutation(len(targets)), np.zeros(len(targets), bool)
    for label, found in enumerate(paths):  # both parts get their share of each label
        own = np.flatnonzero(targets[order] == label)
        tested[own[: min(max(1, round(test * len(found))), len(found) - 1)]] = True
    held_out, trained = order[tested], order[~tested]
    return Dataset(
        name=folder.resolve().name,
        train=Batch(inputs[trained], targets[trained]),
        test=Batch(inputs[held_out], targets[held_out]),
        class_names=tuple(names),
        scaling=scaling,
    )


def _read_all(where: str, paths: Sequence[Path], ink: str) -> UInt8[Array, "samples 28 28"]:
    """All images, or one error that lists all files that are not images."""
    images, faults = [], []
    for path in paths:
        try:
            images.append(read_as_mnist(path, ink))
        except InputError as error:
            faults.append(str(error))
    if faults:
        got = f"{len(faults)} of {len(paths)} that are not: {'; '.join(faults)}"
        raise InputError(where, "files that are images with something on them", got)
    return np.stack(images)
