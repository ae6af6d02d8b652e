"""Schedules: described functions from the number of finished updates to a value, such as a learning rate.

They are plain arithmetic, so a compiler can trace the step counter. A value is a finite number of at least 0, and a
number of steps is a positive whole number; others raise ``InputError``.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import attrs
from toolz import compose

from funcnn.arrays import namespace, number
from funcnn.errors import InputError, is_count, is_real, require
from funcnn.spec import DescribedFunction, described

__all__ = ["Schedule", "constant", "cosine", "exponential_decay", "inverse_time_decay", "join", "one_cycle"]
__all__ += ["piecewise", "polynomial", "warm_up"]


@attrs.frozen(eq=False, repr=False)
class Schedule(DescribedFunction):
    """``schedule(step) -> float``; ``step`` is 0 at the first update."""

    def __call__(self, step: Any) -> Any:
        known = (type(step) is int and step < 2**63) or is_real(step)
        if not known and getattr(step, "shape", None) != ():  # nor traced
            raise InputError(repr(self), "the number of finished updates", repr(step))
        return self.function(step)


Rate: TypeAlias = float | Callable[[Any], Any]
"""A learning rate: a number, or any function of the step."""


@described
def constant(value: float) -> Schedule:
    """The same value at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    _check("constant", value=value)
    return Schedule(lambda step: value)


@described
def inverse_time_decay(value: float, decay: float) -> Schedule:
    """value / (1 + decay * step).

    >>> inverse_time_decay(1e-3, decay=1e-3)(4689)
    0.00017577781683951485
    """
    _check("inverse_time_decay", value=value, decay=decay)
    return Schedule(lambda step: value / (1 + decay * step))


@described
def exponential_decay(value: float, rate: float, steps: int = 1, staircase: bool = False) -> Schedule:
    """value * rate^(step / steps); with ``staircase`` the exponent is rounded down.

    >>> exponential_decay(1.0, 0.5, steps=10, staircase=True)(25)
    0.25
    """
    _check("exponential_decay", steps, value=value)
    require(is_real(rate) and rate > 0, "exponential_decay", "a rate above 0", repr(rate))
    require(isinstance(staircase, bool), "exponential_decay", "True or False for staircase", repr(staircase))

    def schedule(step: Any) -> Any:
        return value * rate ** (step // _traceable(steps) if staircase else step / float(steps))

    return Schedule(schedule)


@described
def polynomial(value: float, end: float, steps: int, power: float = 1.0) -> Schedule:
    """end + (value - end) (1 - step / steps)^power, and ``end`` after ``steps``; linear by default.

    >>> polynomial(1.0, 0.0, steps=4)(1)
    0.75
    """
    _check("polynomial", steps, value=value, end=end)
    require(is_real(power) and power > 0, "polynomial", "a power above 0", repr(power))
    return Schedule(lambda step: end + (value - end) * (1 - _done(step, steps)) ** power)


@described
def cosine(value: float, steps: int, end: float = 0.0) -> Schedule:
    """end + (value - end) (1 + cos(pi step / steps)) / 2, and ``end`` after ``steps`` (Loshchilov and Hutter 2017).

    >>> cosine(1.0, steps=10)(5)
    0.5
    """
    _check("cosine", steps, value=value, end=end)

    def schedule(step: Any) -> Any:
        done = _done(step, steps)
        cos = math.cos if isinstance(done, float) else namespace(done).cos
        return end + (value - end) * 0.5 * (1 + cos(math.pi * done))

    return Schedule(schedule)


@described
def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other: at each boundary the next one begins, at its step 0.

    >>> warm_then_decay = join([polynomial(0.0, 1.0, steps=4), inverse_time_decay(1.0, 0.5)], [4])
    >>> [warm_then_decay(step) for step in (0, 2, 4, 6)]
    [0.0, 0.5, 1.0, 0.5]
    """
    require(isinstance(schedules, tuple | list), "join", "a list of schedules", repr(schedules))
    require(isinstance(boundaries, Iterable), "join", "a list of boundaries", repr(boundaries))
    boundaries = tuple(map(number, boundaries))
    for i, part in enumerate(schedules):
        _check_schedule(f"join[{i}]", part)
    require(len(schedules) == len(boundaries) + 1, "join", "one boundary between each two schedules", boundaries)
    rising = all(map(is_count, boundaries)) and list(boundaries) == sorted(set(boundaries))
    require(rising, "join", "boundaries that are rising positive whole numbers", boundaries)
    (first, *later), starts = schedules, [_traceable(int(boundary)) for boundary in boundaries]

    def schedule(step: Any) -> Any:
        value = first(step)
        for start, other in zip(starts, later, strict=True):
            value = _where(step < start, value, other(_where(step < start, 0, step - start)))
        return value

    return Schedule(schedule)


@described
def piecewise(values: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """``values[i]`` before ``boundaries[i]``, ``values[i + 1]`` from there on; Keras changes one step later.

    >>> [piecewise([1.0, 0.1], [100])(step) for step in (99, 100)]
    [1.0, 0.1]
    """
    require(isinstance(values, tuple | list), "piecewise", "a list of values", repr(values))
    return join([constant(value) for value in values], boundaries)


@described
def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """Linear from 0 to the first value of ``schedule``, then ``schedule`` from its step 0.

    >>> [warm_up(constant(1.0), steps=4)(step) for step in (0, 1, 4, 100)]
    [0.0, 0.25, 1.0, 1.0]
    """
    _check_schedule("warm_up", schedule)
    _check("warm_up", steps)
    return join([polynomial(0.0, number(schedule(0)), steps), schedule], [steps])


@described
def one_cycle(peak: float, steps: int, warm_share: float = 0.3, start_divisor: float = 25.0) -> Schedule:
    """A cosine from peak / start_divisor up to ``peak``, then one down to 0 (Smith and Topin 2018).

    The rise takes ``warm_share`` of the steps. The value is 0 after ``steps`` updates; PyTorch's ``OneCycleLR`` ends
    one step earlier.

    >>> [round(one_cycle(1.0, steps=100)(step), 3) for step in (0, 30, 65, 100)]
    [0.04, 1.0, 0.5, 0.0]
    """
    _check("one_cycle", steps, peak=peak)
    require(is_real(warm_share, low=0, below=1), "one_cycle", "a warm_share in [0, 1)", repr(warm_share))
    require(is_real(start_divisor, low=1), "one_cycle", "a start_divisor of at least 1", repr(start_divisor))
    rising = max(1, round(warm_share * steps))
    require(rising < steps, "one_cycle", "steps left after the rise", steps, "more steps, or a smaller warm_share")
    return join([cosine(peak / start_divisor, rising, end=peak), cosine(peak, steps - rising)], [rising])


def as_schedule(where: str, rate: Rate) -> Callable[[Any], Any]:
    """A number as a constant schedule; a function as itself, with NumPy scalars turned into Python numbers.

    Raises:
        InputError: ``rate`` is neither, or is a number that is negative or not finite; ``where`` names the caller.
    """
    if callable(rate):
        return compose(number, rate)  # type: ignore[no-any-return]
    require(is_real(rate, low=0), where, "a learning rate of at least 0, or a schedule", repr(rate))
    return constant(rate)


def _check(where: str, steps: object = 1, **values: object) -> None:
    for name, value in values.items():
        require(is_real(value, low=0), where, f"{name} to be a number of at least 0", repr(value))
    require(is_count(steps), where, "steps to be a positive whole number", repr(steps))


def _check_schedule(where: str, schedule: object) -> None:
    require(callable(schedule), where, "a schedule", repr(schedule), "such as constant(0.1)")


def _done(step: Any, steps: int) -> Any:
    """step / steps, at most 1."""
    return _where(step < _traceable(steps), step / float(steps), 1.0)


def _traceable(steps: int) -> float:
    """A number of steps that a traced 32-bit counter can be compared with."""
    return steps if steps < 2**31 else float(steps)


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    """``chosen if condition else other``, where the condition may be traced."""
    if isinstance(condition, bool):
        return chosen if condition else other
    return namespace(condition).where(condition, chosen, other)
