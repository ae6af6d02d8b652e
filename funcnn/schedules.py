"""Schedules: described functions from the number of finished updates to a value, a learning rate for instance.

They are written in plain arithmetic, so that a step counter which is traced by a compiler serves as well.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs

from funcnn.errors import is_real, require
from funcnn.spec import DescribedFunction, described


@attrs.frozen(eq=False, repr=False)
class Schedule(DescribedFunction):
    """``schedule(step) -> float``; ``step`` is 0 at the first update."""


Rate: TypeAlias = float | Callable[[Any], Any]
"""A learning rate: a number, or any function of the step."""


@described
def constant(value: float) -> Schedule:
    """The same value at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    _check("constant", "value", value)
    return Schedule(partial(_constant, value))


@described
def inverse_time_decay(value: float, decay: float) -> Schedule:
    """value / (1 + decay * step).

    Raises:
        InputError: ``value`` or ``decay`` is negative.

    >>> inverse_time_decay(1e-3, decay=1e-3)(4689)
    0.00017577781683951485
    """
    _check("inverse_time_decay", "value", value)
    _check("inverse_time_decay", "decay", decay)
    return Schedule(partial(_inverse_time_decay, value, decay))


def as_schedule(where: str, rate: Rate) -> Callable[[Any], Any]:
    """A number as the constant schedule; a function as it is.

    Raises:
        InputError: Neither, or a number that is negative or not finite; ``where`` names the caller.
    """
    if callable(rate):
        return rate
    require(is_real(rate, low=0), where, "a learning rate of at least 0, or a schedule", repr(rate))
    return constant(rate)


def _check(where: str, name: str, value: object) -> None:
    require(is_real(value, low=0), where, f"a {name} that is a number of at least 0", repr(value))


def _constant(value: float, step: Any) -> float:
    del step  # the same at every one
    return value


def _inverse_time_decay(value: float, decay: float, step: Any) -> Any:
    return value / (1 + decay * step)
