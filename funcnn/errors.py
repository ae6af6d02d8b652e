"""The error that funcnn raises for bad input, checks of arguments, and imports of optional modules.

Every message has the same four parts: where it happened, what was expected, what came, and what to do. A
combinator adds its own place in front, so the message names the whole path to a nested layer.
"""

import math
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from numbers import Integral, Real
from types import ModuleType
from typing import Any


class InputError(ValueError):
    """Input that a function cannot take.

    >>> raise InputError("dense(64)", "inputs (batch, ..., 128)", "(32, 2, 64)", "put flatten() before it")
    Traceback (most recent call last):
    funcnn.errors.InputError: dense(64): expected inputs (batch, ..., 128), got (32, 2, 64); put flatten() before it
    """

    def __init__(self, where: str, expected: str, got: object, hint: str = "") -> None:
        super().__init__(printable(f"{where}: expected {expected}, got {got}" + (f"; {hint}" if hint else "")))
        self.where, self.rest = where, (expected, got, hint)

    def __reduce__(self) -> tuple[type["InputError"], tuple[object, ...]]:
        return InputError, (self.where, *self.rest)  # errors cross processes by pickle

    def within(self, place: str) -> "InputError":
        """The same error, with the outer ``place`` in front of where it happened."""
        return InputError(f"{place} {self.where}", *self.rest)

    def named(self, name: str) -> "InputError":
        """The same error, with ``name`` in front of where it happened unless that begins with it.

        >>> error = InputError("conv2d(3)", "inputs (batch, height, width, 1)", (5, 4))
        >>> error.named("conv2d").where, error.named("conv").where
        ('conv2d(3)', 'conv conv2d(3)')
        """
        return self if re.match(rf"{re.escape(name)}(?!\w)", self.where) else self.within(name)


def printable(text: str) -> str:
    """The text with its control characters escaped, so that no name changes a terminal; line breaks are kept.

    >>> print(printable("a\\x1b[2J.png"))
    a\\x1b[2J.png
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def require(condition: bool, where: str, expected: str, got: object, hint: str = "") -> None:
    """Raise :class:`InputError` unless ``condition`` holds; hot paths use ``if`` and build no message."""
    if not condition:
        raise InputError(where, expected, got, hint)


def validator(place: str, expected: str, fits: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    """An attrs validator that raises unless ``fits(value)``; ``{}`` in ``place`` is the field's name."""

    def check(record: Any, attribute: Any, value: Any) -> None:
        require(fits(value), place.format(attribute.name), expected, repr(value))

    return check


def is_count(value: object) -> bool:
    """Whether ``value`` is a whole number of at least one (``True`` is not).

    >>> [is_count(value) for value in (3, 0, 2.0, True)]
    [True, False, False, False]
    """
    return is_size(value) and value != 0


def is_size(value: object) -> bool:
    """Whether ``value`` is a whole number in [0, 2**63), as a size of an array is (``True`` is not)."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < 2**63


def is_one_of(value: object, names: Iterable[str]) -> bool:
    """Whether ``value`` is a string among the names."""
    return isinstance(value, str) and value in names


def is_real(value: object, low: float = -math.inf, below: float = math.inf) -> bool:
    """Whether ``value`` is a finite number in [low, below) (``True`` is not).

    >>> [is_real(value, low=0) for value in (0, 0.5, -1.0, float("inf"), float("nan"), "0.5", True)]
    [True, True, False, False, False, False, False]
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) and low <= float(value) < below
    except OverflowError:  # an int beyond all floats
        return False


def imported(hint: str, name: str, *others: str) -> ModuleType:
    """Import all the modules and return the one called ``name``.

    Raises:
        ModuleNotFoundError: One is not installed; the message ends with ``hint``.
    """
    try:
        module, *_ = map(import_module, (name, *others))
        return module
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; {hint}") from None
