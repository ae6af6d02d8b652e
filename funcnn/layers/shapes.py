"""Layers that change only the shape."""

import math
from collections.abc import Callable
from typing import TypeAlias

from funcnn.annotations import Shaped
from funcnn.arrays import Array, Shape, check_array, namespace
from funcnn.errors import InputError, is_count, require
from funcnn.layer import Layer, parameterless
from funcnn.spec import described

__all__ = ["flatten", "reshape"]

Samples: TypeAlias = Shaped[Array, "batch ..."]


@described
def flatten() -> Layer:
    """y = x as (batch, features), in row-major order.

    >>> import funcnn as fn
    >>> flatten().init(fn.Key(0), (28, 28))
    ((), (784,))
    """
    return _reshaped("flatten()", lambda in_shape: (math.prod(in_shape),))


@described
def reshape(*shape: int) -> Layer:
    """y = x as (batch, *shape), in row-major order.

    Raises:
        InputError: A size is not a positive whole number; later, inputs with another number of elements.

    >>> import funcnn as fn
    >>> reshape(28, 28, 1).init(fn.Key(0), (784,))
    ((), (28, 28, 1))
    """
    require(all(map(is_count, shape)), "reshape", "sizes that are positive whole numbers", shape)
    where, elements = f"reshape{shape}", math.prod(shape)

    def out_shape(in_shape: Shape) -> Shape:
        if math.prod(in_shape) != elements:
            raise InputError(where, f"{elements} elements a sample", f"{math.prod(in_shape)}: {in_shape}")
        return shape

    return _reshaped(where, out_shape)


def _reshaped(where: str, out_shape: Callable[[Shape], Shape]) -> Layer:
    """y = x in another shape, and dx = dy in the shape of x, which is the residual."""

    def forward(x: Samples) -> tuple[Samples, Shape]:
        check_array(where, "inputs", x)
        require(x.ndim > 0, where, "inputs (batch, ...)", x.shape)
        return namespace(x).reshape(x, (x.shape[0], *out_shape(x.shape[1:]))), x.shape

    return parameterless(where, out_shape, forward, lambda in_shape, dy: namespace(dy).reshape(dy, in_shape))
