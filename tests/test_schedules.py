"""Every schedule obeys every law."""

import pytest

import funcnn as fn
from funcnn import InputError
from funcnn.testing import check_schedule
from tests.catalogue import SCHEDULES


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_laws(schedule):
    check_schedule(schedule, jax=True)


def test_known_values():
    assert fn.inverse_time_decay(1e-3, decay=1e-3)(4689) == 0.00017577781683951485
    assert fn.inverse_time_decay(1e-3, decay=1e-3)(0) == 1e-3
    assert fn.constant(0.5)(10**9) == 0.5


@pytest.mark.parametrize("make", [lambda: fn.constant(-1.0), lambda: fn.inverse_time_decay(-1.0, 0.1)])
def test_negative_rates_are_refused(make):
    with pytest.raises(InputError, match=r"expected a value that is a number of at least 0, got -1\.0"):
        make()


def test_negative_decay_is_refused():
    with pytest.raises(
        InputError, match=r"inverse_time_decay: expected a decay that is a number of at least 0, got -0\.1"
    ):
        fn.inverse_time_decay(1.0, -0.1)
