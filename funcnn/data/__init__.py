"""Data: idx files, the data sets that are read from them, computed ones, and shuffled batches."""

from funcnn.data.batches import batches
from funcnn.data.datasets import SCALINGS, Dataset, load_dataset, scale
from funcnn.data.idx import read_idx, write_idx
from funcnn.data.synthetic import sine, spiral

__all__ = ["SCALINGS", "Dataset", "batches", "load_dataset", "read_idx", "scale", "sine", "spiral", "write_idx"]
