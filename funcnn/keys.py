"""Keys: randomness as a value.

A key is a seed and a path of labels. It is immutable: the same key always draws the same numbers, and :meth:`Key.at`
gives any number of independent children. A child is named by its label, not by the order of calls, so adding a layer or
a metric never changes what another one draws. There is no global random state.
"""

import hashlib
import math
import struct
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn.arrays import Array, Shape, check_dtype, number
from funcnn.errors import InputError, is_real, is_size, require

__all__ = ["Key"]

Label: TypeAlias = int | str


def _is_word(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def _label(value: Any) -> Label:
    """A label as a plain int or str, which prints well and goes through JSON."""
    if type(value) is str or (type(value) is int and 0 <= value < 2**64):
        return value  # the usual case
    label: Label = number(value)
    if isinstance(label, str) or _is_word(label):
        return label
    raise InputError("Key.at", "labels that are strings or whole numbers in [0, 2**64)", repr(value))


def words(label: Label) -> tuple[int, ...]:
    """A label as 32-bit words; the first tells numbers from strings, so different paths give different words."""
    if isinstance(label, int):
        return (0, label & 0xFFFFFFFF, label >> 32)
    digest = hashlib.blake2b(label.encode(errors="surrogatepass"), digest_size=16).digest()
    return (1, *struct.unpack("<4I", digest))


AnyKey: TypeAlias = Any
"""A :class:`Key`, or a :class:`funcnn.jax.JaxKey`, which has the same methods."""


def check_key(where: str, key: AnyKey) -> None:
    """Raise unless ``key`` is a key, rather than a seed."""
    if not hasattr(key, "at"):
        raise InputError(where, "a key", repr(key), "make one of a seed: Key(0)")


def check_draw(
    method: str, shape: Any = (), dtype: Any = np.float32, *, low: Any = 0.0, high: Any = 1.0, p: Any = 0.5, n: Any = 0
) -> None:
    """Raise unless a key can draw this; the values of traced numbers are not checked."""
    if (
        type(shape) is tuple
        and all(type(size) is int and size >= 0 for size in shape)
        and dtype is np.float32
        and (type(low), type(high), type(p), type(n)) == (float, float, float, int)
        and -math.inf < low <= high < math.inf
        and 0 <= p <= 1
        and 0 <= n < 2**63
    ):
        return  # the usual case, which a step asks often
    where, sizes = f"Key.{method}", shape if isinstance(shape, tuple | list) else (shape,)
    require(all(map(is_size, sizes)), where, "a shape of whole numbers", repr(shape))
    check_dtype(where, dtype)
    traced = any(getattr(number, "shape", None) == () and not isinstance(number, Real) for number in (low, high, p))
    require(traced or (is_real(low) and is_real(high) and low <= high), where, "finite low <= high", f"{low}, {high}")
    require(traced or (is_real(p) and 0 <= p <= 1), where, "a probability p in [0, 1]", repr(p))
    require(is_size(n), where, "n to be a whole number of at least 0", repr(n))


def _drawable(dtype: Any) -> Any:
    """The dtype to draw in: float32 for bfloat16, which NumPy cannot draw."""
    return dtype if np.dtype(dtype).kind == "f" else np.float32


@attrs.frozen(init=False)
class Key:
    """A seed and a path of labels, from which arrays are drawn.

    The bits come from PCG64, seeded by ``numpy.random.SeedSequence`` with the seed as entropy and the path, in
    words of 32 bits, as spawn key. Draws are a function of key, method, shape and dtype alone. Two draws from *one*
    key are related; take a child for each.

    Args:
        seed: A whole number in [0, 2**64).
        path: The labels from the root to here, strings or whole numbers in [0, 2**64).

    Raises:
        InputError: The seed or a label is negative, too large or of another type.

    >>> key = Key(0)
    >>> key.at("epoch", 3)
    Key(seed=0, path=('epoch', 3))
    >>> key.at("epoch").at(3) == key.at("epoch", 3)
    True
    >>> key.at("a").permutation(5)
    array([3, 0, 2, 4, 1])
    """

    seed: int
    path: tuple[Label, ...] = ()

    def __init__(self, seed: int | np.integer, path: Iterable[Label] = ()) -> None:
        plain = number(seed)
        if not _is_word(plain):
            raise InputError("Key", "a seed that is a whole number in [0, 2**64)", repr(plain))
        self.__attrs_init__(plain, tuple(map(_label, path)))

    def at(self, *labels: Label) -> "Key":
        """The descendant at ``labels``."""
        child = Key.__new__(Key)  # its seed and the labels up to here are checked already
        child.__attrs_init__(self.seed, (*self.path, *map(_label, labels)))
        return child

    def normal(self, shape: Shape, dtype: Any = np.float32) -> Array:
        """Independent draws from the standard normal distribution."""
        check_draw("normal", shape, dtype)
        return self._generator().standard_normal(shape, _drawable(dtype)).astype(dtype, copy=False)

    def uniform(self, shape: Shape, dtype: Any = np.float32, *, low: float = 0.0, high: float = 1.0) -> Array:
        """Independent draws from the uniform distribution on [low, high); rounding may give ``high``."""
        check_draw("uniform", shape, dtype, low=low, high=high)
        draws = self._generator().random(shape, _drawable(dtype))
        draws *= high - low
        draws += low
        return draws.astype(dtype, copy=False)

    def bernoulli(self, p: float, shape: Shape) -> Array:
        """Independent booleans that are true with probability ``p``."""
        check_draw("bernoulli", shape, p=p)
        return self._generator().random(shape, np.float32) < p

    def permutation(self, n: int) -> Array:
        """The numbers 0 to ``n - 1`` in random order."""
        check_draw("permutation", n=n)
        return self._generator().permutation(n)

    def _generator(self) -> "np.random.Generator":  # a string: NumPy imports numpy.random on first use
        path = tuple(word for label in self.path for word in words(label))
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=path)))


class ShapeKey(Key):
    """A key for shapes alone: every draw is one zero, broadcast to the shape, so a layer of any size costs nothing.

    ``init`` with it gives params with the shapes and dtypes of a layer's, but without its numbers.

    >>> ShapeKey(0).at("weights").normal((10**6, 10**6)).shape
    (1000000, 1000000)
    """

    __slots__ = ()

    def at(self, *labels: Label) -> "ShapeKey":
        return ShapeKey(self.seed, (*self.path, *labels))

    def normal(self, shape: Shape, dtype: Any = np.float32) -> Array:
        check_draw("normal", shape, dtype)
        return _spread(np.zeros((), dtype), shape)

    def uniform(self, shape: Shape, dtype: Any = np.float32, *, low: float = 0.0, high: float = 1.0) -> Array:
        check_draw("uniform", shape, dtype, low=low, high=high)
        return _spread(np.zeros((), dtype), shape)

    def bernoulli(self, p: float, shape: Shape) -> Array:
        check_draw("bernoulli", shape, p=p)
        return _spread(np.zeros((), np.bool), shape)

    def permutation(self, n: int) -> Array:
        check_draw("permutation", n=n)
        return _spread(np.zeros((), np.int64), (n,))


def _spread(value: Array, shape: Shape) -> Array:
    """The 0-d array ``value``, broadcast to the shape in the memory of one number; the view is writeable.

    Raises:
        InputError: NumPy has no array of this shape.
    """
    try:  # not broadcast_to, whose views refuse writes: an init may write to its draws
        return np.lib.stride_tricks.as_strided(value, shape, (0,) * len(shape))
    except ValueError:
        raise InputError("init", "params of a shape that NumPy can have", shape) from None
