"""Initial values: described functions ``(key, shape, dtype) -> array``.

``fan_in`` is the number of inputs that one output sums over, and ``fan_out`` the number of outputs that one input
feeds. Weights are (in, out); axes before these two are a receptive field. Normal distributions are not truncated, as in
PyTorch; Keras and JAX cut theirs at two standard deviations.
"""

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from funcnn.arrays import Array, Shape, check_dtype, check_in_shape, namespace
from funcnn.errors import InputError, is_real, require
from funcnn.keys import AnyKey, Key, ShapeKey, check_key
from funcnn.spec import DescribedFunction, described

__all__ = ["Initializer", "fans", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal"]
__all__ += ["normal", "zeros"]


@attrs.frozen(eq=False, repr=False)
class Initializer(DescribedFunction):
    """``initializer(key, shape, dtype) -> array``."""

    def __call__(self, key: AnyKey, shape: Shape, dtype: Any = np.float32) -> Array:
        check_key(repr(self), key)
        check_in_shape(repr(self), shape)
        check_dtype(repr(self), dtype)
        if isinstance(key, ShapeKey):
            return key.normal(shape, dtype)  # which takes no memory, while the function may make an array of its own
        try:
            values = self.function(key, shape, dtype)
        except InputError as error:  # of fans, for instance
            raise error.named(repr(self)) from error.__cause__
        return values if values.dtype == dtype else namespace(values).astype(values, dtype)  # NumPy widens bfloat16


@described
def he_normal() -> Initializer:
    """N(0, 2 / fan_in), for layers before a ReLU (He et al. 2015, eq. 10)."""
    return _scaled_normal(_he)


@described
def he_uniform() -> Initializer:
    """Uniform with the variance of :func:`he_normal`: the bound is sqrt(6 / fan_in)."""
    return _scaled_uniform(_he)


@described
def glorot_normal() -> Initializer:
    """N(0, 2 / (fan_in + fan_out)), for layers before tanh or softmax (Glorot and Bengio 2010, eq. 12)."""
    return _scaled_normal(_glorot)


@described
def glorot_uniform() -> Initializer:
    """Uniform with the variance of :func:`glorot_normal`: the bound is sqrt(6 / (fan_in + fan_out)) (eq. 16)."""
    return _scaled_uniform(_glorot)


@described
def lecun_normal() -> Initializer:
    """N(0, 1 / fan_in), for layers before selu (LeCun et al. 1998; Klambauer et al. 2017)."""
    return _scaled_normal(lambda shape: 1 / fans(shape)[0])


@described
def normal(stddev: float) -> Initializer:
    """N(0, stddev^2) for any shape.

    >>> normal(0.01)(Key(0), (2,), np.float32).dtype
    dtype('float32')
    """
    require(is_real(stddev, low=0), "normal", "a stddev that is a number of at least 0", repr(stddev))
    return Initializer(lambda key, shape, dtype: stddev * key.normal(shape, dtype))


@described
def zeros() -> Initializer:
    """All zeros.

    >>> zeros()(Key(0), (2,), np.float32)
    array([0., 0.], dtype=float32)
    """
    return Initializer(lambda key, shape, dtype: np.zeros(shape, dtype))


def check_initializer(where: str, initializer: object) -> None:
    """Raise unless it is an initializer, rather than, say, a constructor of one."""
    if not isinstance(initializer, Initializer):
        raise InputError(where, "an initializer", repr(initializer), "call its constructor: he_normal()")


def fans(shape: Shape) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of weights with this shape.

    Raises:
        InputError: The shape has fewer than two axes.

    >>> fans((784, 128)), fans((3, 3, 16, 32))
    ((784, 128), (144, 288))
    """
    check_in_shape("fans", shape)
    require(len(shape) > 1, "fans", "weights of two axes or more", shape, "biases take zeros() or normal(stddev)")
    *field, inputs, outputs = shape
    return math.prod(field) * inputs, math.prod(field) * outputs


def _he(shape: Shape) -> float:
    return 2 / fans(shape)[0]


def _glorot(shape: Shape) -> float:
    return 2 / sum(fans(shape))


def _scaled_normal(variance: Callable[[Shape], float]) -> Initializer:
    return Initializer(lambda key, shape, dtype: math.sqrt(variance(shape)) * key.normal(shape, dtype))


def _scaled_uniform(variance: Callable[[Shape], float]) -> Initializer:
    def draw(key: Key, shape: Shape, dtype: Any) -> Array:
        bound = math.sqrt(3 * variance(shape))
        return key.uniform(shape, dtype, low=-bound, high=bound)

    return Initializer(draw)
