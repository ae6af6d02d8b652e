"""The data that is computed."""

import numpy as np
import pytest

from funcnn import InputError, Key
from funcnn.data import sine, spiral


def test_the_spiral_is_arms_that_turn():
    data = spiral(Key(0), 100, 3)
    assert (data.inputs.shape, data.inputs.dtype, data.targets.dtype) == ((300, 2), np.float32, np.int64)
    assert np.bincount(data.targets).tolist() == [100, 100, 100]
    radius = np.linalg.norm(data.inputs, axis=1).reshape(3, 100)
    assert radius == pytest.approx(np.tile(np.linspace(0, 1, 100), (3, 1)), abs=1e-6)
    assert not np.array_equal(data.inputs, spiral(Key(1), 100, 3).inputs)


def test_the_sine_is_one_period():
    data = sine(1000)
    assert data.inputs[:, 0] == pytest.approx(np.arange(1000) / 1000)
    assert data.targets == pytest.approx(np.sin(2 * np.pi * data.inputs), abs=1e-6)


@pytest.mark.parametrize("call", [lambda: spiral(Key(0), 0, 3), lambda: spiral(Key(0), 3, -1), lambda: sine(2.5)])
def test_bad_numbers_are_refused(call):
    with pytest.raises(InputError, match="to be a positive whole number"):
        call()
