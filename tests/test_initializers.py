"""Initializers draw what they promise."""

import math

import numpy as np
import pytest

from funcnn import InputError, Key
from funcnn.initializers import glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, normal, zeros
from funcnn.testing import assert_pure
from tests.catalogue import INITIALIZERS

SHAPE = (300, 500)


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=str)
def test_laws(initializer):
    for dtype in (np.float32, np.float64):
        assert_pure(initializer, Key(0), SHAPE, dtype)
        values = initializer(Key(0), SHAPE, dtype)
        assert (values.shape, values.dtype) == (SHAPE, dtype)


@pytest.mark.parametrize(
    ("initializer", "stddev"),
    [
        (he_normal(), math.sqrt(2 / 300)),
        (he_uniform(), math.sqrt(2 / 300)),
        (glorot_normal(), math.sqrt(2 / 800)),
        (glorot_uniform(), math.sqrt(2 / 800)),
        (lecun_normal(), math.sqrt(1 / 300)),
        (normal(0.01), 0.01),
        (zeros(), 0.0),
    ],
    ids=str,
)
def test_mean_and_deviation(initializer, stddev):
    values = initializer(Key(0), SHAPE, np.float64)
    assert np.std(values) == pytest.approx(stddev, rel=0.01)
    assert abs(np.mean(values)) <= 5 * stddev / math.sqrt(values.size)


@pytest.mark.parametrize(("initializer", "bound"), [(he_uniform(), 6 / 300), (glorot_uniform(), 6 / 800)], ids=str)
def test_uniform_bounds(initializer, bound):
    values = initializer(Key(0), SHAPE, np.float64)
    assert np.max(np.abs(values)) == pytest.approx(math.sqrt(bound), rel=1e-3)
    assert np.max(np.abs(values)) <= math.sqrt(bound)


def test_negative_deviation_is_refused():
    with pytest.raises(InputError, match="normal: expected a stddev that is a number of at least 0, got -1"):
        normal(-1)
