"""The embedding layer: a row of a table for every index."""

from typing import Any, TypeAlias

import numpy as np

from funcnn.annotations import Float, Int
from funcnn.arrays import Array, Shape, as_rows, check_array, is_dtype, namespace
from funcnn.errors import InputError, is_count, require
from funcnn.initializers import Initializer, check_initializer, normal
from funcnn.keys import Key
from funcnn.layer import Layer, Mode, check_init, check_params
from funcnn.spec import described
from funcnn.special import segment_sum
from funcnn.tree import record

__all__ = ["EmbeddingParams", "embedding"]

Indices: TypeAlias = Int[Array, "*shape"]
Rows: TypeAlias = Float[Array, "*shape features"]


@record
class EmbeddingParams:
    """The params of :func:`embedding`."""

    table: Float[Array, "vocabulary features"]


@described
def embedding(vocabulary: int, features: int, table: Initializer = normal(1.0)) -> Layer:
    """y = table[x]: from integers (batch, ...) in [0, vocabulary) to (batch, ..., features) (Bengio et al. 2003).

    Raises:
        InputError: A size is not a positive whole number; later, inputs are not integers, or out of range.
    """
    for name, size in (("vocabulary", vocabulary), ("features", features)):
        require(is_count(size), "embedding", f"{name} to be a positive whole number", repr(size))
    check_initializer("embedding table", table)

    where = f"embedding({vocabulary}, {features})"

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[EmbeddingParams, Shape]:
        check_init(where, key, in_shape, dtype)
        return EmbeddingParams(table(key.at("table"), (vocabulary, features), dtype)), (*in_shape, features)

    def forward(params: EmbeddingParams, x: Indices, mode: Mode) -> tuple[Rows, Indices]:
        """The residual is x."""
        del mode  # deterministic
        check_params(where, params, EmbeddingParams)
        check_array(where, "inputs", x)
        xp, (rows, features) = namespace(x, params.table), params.table.shape
        if not is_dtype(namespace(x), x.dtype, "integral"):
            raise InputError(where, "integers", x.dtype)
        if isinstance(x, np.ndarray) and x.size and (x.min() < 0 or x.max() >= rows):  # a traced array has no values
            raise InputError(where, f"integers from 0 to {rows - 1}", f"values from {x.min()} to {x.max()}")
        return xp.reshape(xp.take(params.table, xp.reshape(x, (-1,)), axis=0), (*x.shape, features)), x

    def vjp(
        params: EmbeddingParams, residuals: Indices, dy: Rows, *, need_dx: bool = True
    ) -> tuple[EmbeddingParams, None]:
        """dtable[i] is the sum of dy where x is i."""
        del need_dx  # integers have no cotangent
        indices = namespace(residuals).reshape(residuals, (-1,))
        return EmbeddingParams(segment_sum(as_rows(dy), indices, params.table.shape[0])), None

    return Layer(init, forward, vjp)
