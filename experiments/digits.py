"""The data of the experiments on digits and clothes: loading, splitting, standardising."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

import funcnn as fn
from funcnn.arrays import Array
from funcnn.data import DatasetName, Scaling
from funcnn.data.batches import take_rows
from funcnn.errors import require
from funcnn.layer import Params
from funcnn.layers.dense import DenseParams


@lru_cache(maxsize=1)
def load_data(
    dataset: DatasetName | Literal["folder"], data_dir: Path | None, *, scaling: Scaling = "unit", seed: int = 0
) -> fn.Dataset:
    """The data set of that name; for ``"folder"``, the images in ``data_dir``, split by ``seed``.

    The latest data set is kept in memory, so the runs of a sweep share it.
    """
    if dataset == "folder":
        return fn.load_folder(data_dir or Path(), fn.Key(seed).at("split"), scaling=scaling)
    return fn.load_dataset(dataset, data_dir=data_dir, scaling=scaling)


def split(key: fn.Key, samples: fn.Batch, share: float) -> tuple[fn.Batch, Mapping[str, fn.Batch]]:
    """The samples without a random share, and that share as ``"validation"``, if it is not 0.

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
    return take_rows(samples, order[count:]), {"validation": take_rows(samples, order[:count])}


def standardizer(inputs: Array) -> tuple[Callable[[fn.Batch], fn.Batch], Callable[[Params], Params]]:
    """Two functions: one standardises samples, one folds that into params.

    The first gives every feature of ``inputs`` mean 0 and deviation 1, like scikit-learn's StandardScaler; the
    deviation of a constant feature counts as 1. The second maps params learned on standardised samples to params for
    plain samples: an affine map before a dense layer is a dense layer. The model must be a serial whose first layer
    with params is dense.

    >>> standardized, _ = standardizer(np.array([[0.0, 5.0], [2.0, 5.0]]))
    >>> standardized(fn.Batch(np.array([[4.0, 6.0]]), np.array([0]))).inputs
    array([[3., 1.]])
    """
    mean, spread = inputs.mean(axis=0, dtype=np.float64).astype(inputs.dtype), inputs.std(axis=0, dtype=np.float64)
    deviation = np.where(spread > 0, spread, 1.0).astype(inputs.dtype)

    def standardized(samples: fn.Batch) -> fn.Batch:
        return fn.Batch((samples.inputs - mean) / deviation, samples.targets, samples.weights)

    def folded(params: Params) -> Params:
        place = next(i for i, layer in enumerate(params) if isinstance(layer, DenseParams))
        weights = params[place].weights / deviation[:, None]
        dense = DenseParams(weights, params[place].biases - mean @ weights)
        return (*params[:place], dense, *params[place + 1 :])

    return standardized, folded
