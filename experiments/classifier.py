"""A saved model as a classifier, whether it ends with a softmax or leaves that to its loss."""

import numpy as np
from jaxtyping import Float

import funcnn as fn
from funcnn.arrays import Array
from funcnn.errors import require


def logits_of(saved: fn.SavedModel, inputs: Array, batch_size: int = 1000) -> Float[Array, "samples classes"]:
    """The outputs as logits, in float64, as sums over all samples follow; in pieces, so that memory stays bounded.

    Outputs that are distributions already give their logarithms.

    Raises:
        InputError: The outputs are not (batch, classes).
    """
    starts = range(0, len(inputs), batch_size)
    pieces = [fn.predict(saved.model, saved.params, inputs[start : start + batch_size]) for start in starts]
    outputs = np.concatenate(pieces).astype(np.float64)
    fits = outputs.ndim == 2 and outputs.shape[1] > 1
    require(fits, "model", "outputs (batch, classes)", outputs.shape, "this takes a classifier")
    given = outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-4)
    return np.log(np.maximum(outputs, np.finfo(np.float64).tiny)) if given else outputs
