"""The one error that funcnn raises for input it cannot take, and the import of a module that may not be installed.

Every message has the same four parts: where it happened, what was expected, what came, and what to do. A
combinator puts its own place in front, so the message of a nested layer names the whole path to it.
"""

import math
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
        return InputError, (self.where, *self.rest)  # what unpickling calls, for errors that cross processes

    def within(self, place: str) -> "InputError":
        """The same error with an outer ``place`` in front of where it happened."""
        return InputError(f"{place} {self.where}", *self.rest)


def printable(text: str) -> str:
    """The text with escapes for what no terminal should get from a name or a file, but with its line breaks.

    >>> print(printable("a\\x1b[2J.png"))
    a\\x1b[2J.png
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def require(condition: bool, where: str, expected: str, got: object, hint: str = "") -> None:
    """Raise :class:`InputError` unless ``condition`` holds; for constructors, where a call costs nothing."""
    if not condition:
        raise InputError(where, expected, got, hint)


def validator(place: str, expected: str, fits: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    """A validator of attrs: raise unless the value of a field fits; ``{}`` in ``place`` stands for the field's name."""

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
    """Whether ``value`` is a whole number of at least zero that an array can have as its size."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < 2**63


def is_one_of(value: object, names: Iterable[str]) -> bool:
    """Whether ``value`` is one of the names; anything but a string is not."""
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
    except OverflowError:  # a whole number beyond all floats
        return False


def imported(hint: str, name: str, *others: str) -> ModuleType:
    """The module ``name``, once it and ``others`` are imported.

    Raises:
        ModuleNotFoundError: One is not installed; the ``hint`` says what to do.
    """
    try:
        module, *_ = map(import_module, (name, *others))
        return module
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; {hint}") from None
