"""Every schedule obeys every law."""

import re

import jax
import pytest

import funcnn as fn
from funcnn import InputError
from funcnn.testing import check_schedule
from tests.catalogue import EFFORT, SCHEDULES, named

ONE = fn.constant(1.0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_laws(schedule):
    check_schedule(schedule, **EFFORT)


VALUES = [
    (fn.constant(0.5), {10**9: 0.5}),
    (fn.inverse_time_decay(1e-3, decay=1e-3), {0: 1e-3, 4689: 0.00017577781683951485}),
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
]


@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=named)
def test_values_are_those_of_the_formula(schedule, values):
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, rel=1e-15, abs=1e-12)


@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=named)
def test_under_jit_the_values_are_the_same(schedule, values):
    traced = jax.jit(schedule)
    assert [float(traced(step)) for step in values] == pytest.approx([*values.values()], abs=1e-6)


NUMBER, COUNT = "{} to be a number of at least 0", "steps to be a positive whole number"
RISING = "boundaries that are rising positive whole numbers"
REFUSED = [
    ("constant", fn.constant, NUMBER.format("value"), (-1.0,)),
    ("inverse_time_decay", lambda x: fn.inverse_time_decay(x, 0.1), NUMBER.format("value"), (-1.0,)),
    ("inverse_time_decay", lambda x: fn.inverse_time_decay(1.0, x), NUMBER.format("decay"), (-0.1,)),
    ("exponential_decay", lambda x: fn.exponential_decay(x, 0.5), NUMBER.format("value"), (-1.0,)),
    ("exponential_decay", lambda x: fn.exponential_decay(1.0, x), "a rate above 0", (0.0,)),
    ("exponential_decay", lambda x: fn.exponential_decay(1.0, 0.5, steps=x), COUNT, (0,)),
    ("exponential_decay", lambda x: fn.exponential_decay(1.0, 0.5, 1, x), "True or False for staircase", (0, "x")),
    ("polynomial", lambda x: fn.polynomial(x, 0.0, 5), NUMBER.format("value"), (-1.0,)),
    ("polynomial", lambda x: fn.polynomial(1.0, x, 5), NUMBER.format("end"), (-1.0,)),
    ("polynomial", lambda x: fn.polynomial(1.0, 0.0, 5, power=x), "a power above 0", (0.0,)),
    ("polynomial", lambda x: fn.polynomial(1.0, 0.0, x), COUNT, (0,)),
    ("cosine", lambda x: fn.cosine(x, 5), NUMBER.format("value"), (-1.0,)),
    ("cosine", lambda x: fn.cosine(1.0, 5, end=x), NUMBER.format("end"), (-1.0,)),
    ("cosine", lambda x: fn.cosine(1.0, x), COUNT, (0,)),
    ("join[0]", lambda x: fn.join([x, ONE], [1]), "a schedule", (0.1,)),
    ("join", lambda x: fn.join([ONE], x), "one boundary between each two schedules", ((1,),)),
    ("join", lambda x: fn.join([ONE, ONE], x), "one boundary between each two schedules", ((),)),
    ("join", lambda x: fn.join([ONE] * 3, x), RISING, ((3, 2), (2, 2))),
    ("join", lambda x: fn.join([ONE] * 2, x), RISING, ((0,),)),
    ("warm_up", lambda x: fn.warm_up(x, 4), "a schedule", (0.1,)),
    ("warm_up", lambda x: fn.warm_up(ONE, x), COUNT, (0,)),
    ("one_cycle", lambda x: fn.one_cycle(x, 10), NUMBER.format("peak"), (-1.0,)),
    ("one_cycle", lambda x: fn.one_cycle(1.0, 10, warm_share=x), "a warm_share in [0, 1)", (1.0, -0.1)),
    ("one_cycle", lambda x: fn.one_cycle(1.0, 10, start_divisor=x), "a start_divisor of at least 1", (0.5,)),
    ("one_cycle", lambda x: fn.one_cycle(1.0, x), COUNT, (0,)),
    ("one_cycle", lambda x: fn.one_cycle(1.0, x), "steps left after the rise", (1,)),
]
HINTS = {"a schedule": "; such as constant(0.1)", "steps left after the rise": "; more steps, or a smaller warm_share"}


@pytest.mark.parametrize(("where", "make", "expected", "values"), REFUSED)
def test_bad_arguments_are_refused(where, make, expected, values):
    for value in values:
        message = f"{where}: expected {expected}, got {value!r}{HINTS.get(expected, '')}"
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            make(value)
