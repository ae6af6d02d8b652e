"""The data of the experiments on digits and clothes, and a share of them set aside."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import funcnn as fn
from funcnn import tree
from funcnn.data import DatasetName, Scaling
from funcnn.errors import require


def absolute(path: Path | None) -> Path | None:
    """A path that means the same from any working folder."""
    return path and path.absolute()


@lru_cache(maxsize=1)
def load_data(
    dataset: DatasetName | Literal["folder"], data_dir: Path | None, *, scaling: Scaling = "unit", seed: int = 0
) -> fn.Dataset:
    """The data set of that name, or for ``"folder"`` that of the images in ``data_dir``, split by ``seed``.

    The latest one is kept, so the runs of a sweep share it.
    """
    if dataset == "folder":
        return fn.load_folder(data_dir or Path(), fn.Key(seed).at("split"), scaling=scaling)
    return fn.load_dataset(dataset, data_dir=data_dir, scaling=scaling)


def split(key: fn.Key, samples: fn.Batch, share: float) -> tuple[fn.Batch, Mapping[str, fn.Batch]]:
    """The samples without a random share of them, and that share as ``"validation"``; for 0 there is none.

    Raises:
        InputError: One of the two would be empty.

    >>> rest, aside = split(fn.Key(0), fn.load_dataset("mnist_5k").train, 0.1)
    >>> rest.inputs.shape, aside["validation"].inputs.shape
    ((3600, 784), (400, 784))
    """
    if not share:
        return samples, {}
    rows = len(samples.inputs)
    count = round(share * rows)
    require(0 < count < rows, "--validation", "a share that leaves samples on both sides", share)
    order = key.permutation(rows)
    rest, aside = (tree.map(lambda leaf, rows=rows: leaf[rows], samples) for rows in (order[count:], order[:count]))
    return rest, {"validation": aside}
