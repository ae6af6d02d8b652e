"""Every schedule obeys every law."""

import jax
import pytest

import funcnn as fn
from funcnn import InputError
from funcnn.testing import check_schedule
from tests.catalogue import EFFORT, SCHEDULES, named


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_laws(schedule):
    check_schedule(schedule, **EFFORT)


def test_known_values():
    assert fn.inverse_time_decay(1e-3, decay=1e-3)(4689) == 0.00017577781683951485
    assert fn.inverse_time_decay(1e-3, decay=1e-3)(0) == 1e-3
    assert fn.constant(0.5)(10**9) == 0.5


ONE = fn.constant(1.0)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (fn.exponential_decay(1.0, 0.5, steps=10), {0: 1.0, 10: 0.5, 25: 0.5**2.5}),
        (fn.exponential_decay(1.0, 0.5), {3: 0.125}),
        (fn.exponential_decay(1.0, 0.5, steps=10, staircase=True), {9: 1.0, 10: 0.5, 25: 0.25}),
        (fn.polynomial(1.0, 0.2, steps=4, power=2.0), {0: 1.0, 1: 0.65, 4: 0.2, 100: 0.2}),
        (fn.cosine(1.0, steps=10, end=0.2), {0: 1.0, 5: 0.6, 10: 0.2, 100: 0.2}),
        (fn.join([ONE, fn.inverse_time_decay(2.0, 1.0), fn.constant(3.0)], [3, 5]), {0: 1, 2: 1, 3: 2, 4: 1, 5: 3}),
        (fn.piecewise([1.0, 0.1, 0.01], [100, 200]), {99: 1.0, 100: 0.1, 199: 0.1, 200: 0.01}),
        (fn.warm_up(fn.inverse_time_decay(1.0, 1.0), 4), {0: 0.0, 1: 0.25, 4: 1.0, 5: 0.5}),
        (fn.one_cycle(1.0, steps=100), {0: 0.04, 15: 0.52, 30: 1.0, 65: 0.5, 100: 0.0, 200: 0.0}),
        (fn.one_cycle(1.0, steps=10, warm_share=0.0, start_divisor=2.0), {0: 0.5, 1: 1.0, 10: 0.0}),
        (fn.one_cycle(1.0, steps=10, start_divisor=1), {0: 1.0}),
    ],
    ids=named,
)
def test_values_are_those_of_the_formula_and_of_jax(schedule, values):
    traced = jax.jit(schedule)
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, abs=1e-12)
        assert float(traced(step)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.constant(-1.0), "constant: expected value to be a number of at least 0, got -1.0"),
        (
            lambda: fn.inverse_time_decay(-1.0, 0.1),
            "inverse_time_decay: expected value to be a number of at least 0, got -1.0",
        ),
        (
            lambda: fn.inverse_time_decay(1.0, -0.1),
            "inverse_time_decay: expected decay to be a number of at least 0, got -0.1",
        ),
        (
            lambda: fn.exponential_decay(-1.0, 0.5),
            "exponential_decay: expected value to be a number of at least 0, got -1.0",
        ),
        (lambda: fn.exponential_decay(1.0, 0.0), "exponential_decay: expected a rate above 0, got 0.0"),
        (
            lambda: fn.exponential_decay(1.0, 0.5, steps=0),
            "exponential_decay: expected steps to be a positive whole number, got 0",
        ),
        (lambda: fn.polynomial(-1.0, 0.0, 5), "polynomial: expected value to be a number of at least 0, got -1.0"),
        (lambda: fn.polynomial(1.0, -1.0, 5), "polynomial: expected end to be a number of at least 0, got -1.0"),
        (lambda: fn.polynomial(1.0, 0.0, 5, power=0.0), "polynomial: expected a power above 0, got 0.0"),
        (lambda: fn.polynomial(1.0, 0.0, 0), "polynomial: expected steps to be a positive whole number, got 0"),
        (lambda: fn.cosine(-1.0, 5), "cosine: expected value to be a number of at least 0, got -1.0"),
        (lambda: fn.cosine(1.0, 5, end=-1.0), "cosine: expected end to be a number of at least 0, got -1.0"),
        (lambda: fn.cosine(1.0, 0), "cosine: expected steps to be a positive whole number, got 0"),
        (lambda: fn.join([0.1, ONE], [1]), r"join\[0\]: expected a schedule, got 0.1; such as constant\(0.1\)"),
        (lambda: fn.warm_up(0.1, 4), r"warm_up: expected a schedule, got 0.1; such as constant\(0.1\)"),
        (lambda: fn.warm_up(ONE, 0), "warm_up: expected steps to be a positive whole number, got 0"),
        (lambda: fn.one_cycle(-1.0, 10), "one_cycle: expected peak to be a number of at least 0, got -1.0"),
        (lambda: fn.join([ONE], [1]), r"join: expected one boundary between each two schedules, got \(1,\)"),
        (lambda: fn.join([ONE, ONE], []), r"join: expected one boundary between each two schedules, got \(\)"),
        (
            lambda: fn.join([ONE] * 3, [3, 2]),
            r"join: expected boundaries that are rising positive whole numbers, got \(3, 2\)",
        ),
        (lambda: fn.join([ONE] * 3, [2, 2]), r"join: expected boundaries that are rising .*, got \(2, 2\)"),
        (lambda: fn.join([ONE] * 2, [0]), r"join: expected boundaries that are rising .*, got \(0,\)"),
        (
            lambda: fn.one_cycle(1.0, 10, warm_share=1.0),
            r"one_cycle: expected a warm_share in \[0, 1\), got 1.0",
        ),
        (lambda: fn.one_cycle(1.0, 10, warm_share=-0.1), r"one_cycle: expected a warm_share in \[0, 1\), got -0.1"),
        (
            lambda: fn.one_cycle(1.0, 10, start_divisor=0.5),
            "one_cycle: expected a start_divisor of at least 1, got 0.5",
        ),
        (lambda: fn.one_cycle(1.0, 0), "one_cycle: expected steps to be a positive whole number, got 0"),
        (
            lambda: fn.one_cycle(1.0, 1),
            "one_cycle: expected steps left after the rise, got 1; more steps, or a smaller warm_share",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()
