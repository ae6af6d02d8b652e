"""Keys: randomness as a value.

A key is a seed and a path of labels. It does not change when it is used: the same key always draws the same
numbers, and :meth:`Key.at` names as many independent children as one likes. A child is known by its label,
not by the order of calls, so adding a layer or a metric never changes what another one draws. Nothing here
reads or changes global random state.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs
import numpy as np

from funcnn.arrays import Array, Shape, number
from funcnn.errors import InputError

Label: TypeAlias = int | str


def _is_word(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def _label(value: Any) -> Label:
    """A label as the plain int or str that prints and goes through JSON."""
    label: Label = number(value)
    if isinstance(label, str) or _is_word(label):
        return label
    raise InputError("Key.at", "labels that are strings or whole numbers in [0, 2**64)", repr(value))


def _labels(values: Iterable[Any]) -> tuple[Label, ...]:
    return tuple([_label(value) for value in values])


def words(label: Label) -> tuple[int, ...]:
    """A label as 32-bit words; the first tells numbers from strings, so two paths never read the same."""
    if isinstance(label, int):
        return (0, label & 0xFFFFFFFF, label >> 32)
    digest = hashlib.blake2b(label.encode(errors="surrogatepass"), digest_size=16).digest()
    return (1, *(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)))


AnyKey: TypeAlias = Any
"""A :class:`Key`, or what has its methods: a :class:`funcnn.jax.JaxKey`."""


def check_key(where: str, key: AnyKey) -> None:
    """Raise unless ``key`` has the methods of a :class:`Key`: a seed alone has none."""
    if not hasattr(key, "at"):
        raise InputError(where, "a key", repr(key), "make one of a seed: Key(0)")


@attrs.frozen(init=False)
class Key:
    """A seed and a path of labels, from which arrays are drawn.

    The bits come from PCG64, seeded by ``numpy.random.SeedSequence`` with the seed as entropy and the path, in
    words of 32 bits, as spawn key. Draws are a function of key, method, shape and dtype alone. Two draws from *one*
    key are related; take a child for each.

    Args:
        seed: A whole number in [0, 2**64).
        path: The labels from the root to here.

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

    def __init__(self, seed: Any, path: Iterable[Any] = ()) -> None:
        plain = number(seed)
        if not _is_word(plain):
            raise InputError("Key", "a seed that is a whole number in [0, 2**64)", repr(plain))
        self.__attrs_init__(plain, _labels(path))

    def at(self, *labels: Label) -> "Key":
        """The child at ``labels``, each a string or a whole number."""
        child = Key.__new__(Key)  # whose seed, and labels up to here, have been looked at
        child.__attrs_init__(self.seed, (*self.path, *_labels(labels)))
        return child

    def normal(self, shape: Shape, dtype: Any = np.float32) -> Array:
        """Independent draws from the standard normal distribution."""
        return self._generator().standard_normal(shape, dtype)

    def uniform(self, shape: Shape, dtype: Any = np.float32, *, low: float = 0.0, high: float = 1.0) -> Array:
        """Independent draws from the uniform distribution on [low, high)."""
        draws = self._generator().random(shape, dtype)
        draws *= high - low
        draws += low
        return draws

    def bernoulli(self, p: float, shape: Shape) -> Array:
        """Independent booleans that are true with probability ``p``."""
        return self._generator().random(shape, np.float32) < p

    def permutation(self, n: int) -> Array:
        """The numbers 0 to ``n - 1`` in random order."""
        return self._generator().permutation(n)

    def _generator(self) -> np.random.Generator:
        path = tuple(word for label in self.path for word in words(label))
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=path)))
