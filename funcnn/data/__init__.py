"""Data: idx files, images, the data sets that are read from them, computed ones, and shuffled batches."""

from funcnn.data.batches import batches
from funcnn.data.datasets import SCALINGS, Dataset, DatasetName, Scaling, load_dataset, scale
from funcnn.data.folder import load_folder
from funcnn.data.idx import read_idx, write_idx
from funcnn.data.images import image_paths, read_image, write_image
from funcnn.data.normalize import INKS, as_mnist, read_as_mnist
from funcnn.data.synthetic import sine, spiral

__all__ = [
    "INKS",
    "SCALINGS",
    "Dataset",
    "DatasetName",
    "Scaling",
    "as_mnist",
    "batches",
    "image_paths",
    "load_dataset",
    "load_folder",
    "read_as_mnist",
    "read_idx",
    "read_image",
    "scale",
    "sine",
    "spiral",
    "write_idx",
    "write_image",
]
