"""Inputs of mean 0 and deviation 1 in every feature, as scikit-learn's StandardScaler makes them.

An affine map before a dense layer is a dense layer: :func:`folded` gives the params that do the same with the inputs
as they were, so what is saved needs no statistics beside it.
"""

import attrs
import numpy as np

import funcnn as fn
from funcnn.annotations import Float
from funcnn.arrays import Array
from funcnn.layer import Params
from funcnn.layers.dense import DenseParams


@attrs.frozen(eq=False)
class Statistics:
    """Of every feature over some samples; the deviation of a constant one counts as 1."""

    mean: Float[Array, "in"]
    deviation: Float[Array, "in"]


def statistics(inputs: Float[Array, "samples in"]) -> Statistics:
    """Those of ``inputs``.

    >>> statistics(np.array([[0.0, 5.0], [2.0, 5.0]]))
    Statistics(mean=array([1., 5.]), deviation=array([1., 1.]))
    """
    mean, deviation = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    kept = np.where(deviation > 0, deviation, 1.0)
    return Statistics(mean.astype(inputs.dtype), kept.astype(inputs.dtype))


def standardized(over: Statistics, samples: fn.Batch) -> fn.Batch:
    """The samples with inputs (x - mean) / deviation."""
    return fn.Batch((samples.inputs - over.mean) / over.deviation, samples.targets, samples.weights)


def folded(over: Statistics, params: Params) -> Params:
    """Params that give with inputs x what ``params`` give with (x - mean) / deviation, but for rounding.

    ``params`` are those of a serial whose first layer with params is dense.
    """
    place = next(i for i, layer in enumerate(params) if isinstance(layer, DenseParams))
    weights = params[place].weights / over.deviation[:, None]
    dense = DenseParams(weights, params[place].biases - over.mean @ weights)
    return (*params[:place], dense, *params[place + 1 :])
