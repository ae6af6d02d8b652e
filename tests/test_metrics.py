"""Metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcnn import InputError, accuracy
from funcnn.metrics import weighted_mean

OUTPUTS = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])


def test_accuracy():
    assert accuracy(OUTPUTS, np.array([1, 1, 0])) == 2 / 3
    assert accuracy(OUTPUTS, np.eye(2)[[1, 1, 0]]) == 2 / 3
    assert accuracy(OUTPUTS, np.array([1, 1, 0]), np.array([1, 2, 1])) == 0.5


def test_targets_of_another_shape_are_refused():
    with pytest.raises(
        InputError, match=r"accuracy: expected targets \(3,\) or \(3, 2\) of at least one sample, got \(3, 1\)"
    ):
        accuracy(OUTPUTS, np.array([[1], [1], [0]]))


def test_weights_do_not_broadcast():
    with pytest.raises(InputError, match=r"accuracy: expected weights \(3,\), got \(3, 1\)"):
        accuracy(OUTPUTS, np.array([1, 1, 0]), np.ones((3, 1)))


def test_half_precision_counts_exactly():
    outputs = np.tile(np.array([[0.0, 1.0]], np.float16), (70_001, 1))
    assert accuracy(outputs, np.ones(70_001, np.int64)) == 1.0


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(-10, 10)), min_size=1, max_size=10))
def test_weighted_mean_is_the_mean_over_all(parts):
    found = weighted_mean((weight, {"loss": value}) for weight, value in parts)
    expected = np.mean(np.repeat([value for _, value in parts], [weight for weight, _ in parts]))
    assert found["loss"] == pytest.approx(expected, abs=1e-9)
