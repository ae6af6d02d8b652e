"""Batches: every sample once, in an order that the key decides."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, strategies as st

from funcnn import Batch, InputError, Key, batches


def samples(n):
    return Batch(np.arange(2.0 * n).reshape(n, 2), np.arange(n), np.arange(n) + 0.5)


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 1000))
def test_every_sample_comes_once(n, size, seed):
    pieces = list(batches(Key(seed), samples(n), size))
    assert [len(piece.inputs) for piece in pieces] == [size] * (n // size) + [n % size] * (n % size > 0)
    order = np.concatenate([piece.targets for piece in pieces])
    assert sorted(order) == list(range(n))
    assert np.array_equal(np.concatenate([piece.inputs for piece in pieces]), samples(n).inputs[order])
    assert np.array_equal(np.concatenate([piece.weights for piece in pieces]), samples(n).weights[order])


def order(key):
    return np.concatenate([piece.targets for piece in batches(key, samples(100), 7)]).tolist()


def test_the_key_decides_the_order():
    assert order(Key(0)) == order(Key(0))
    assert len({tuple(order(Key(0).at("epoch", epoch))) for epoch in range(5)}) == 5


def test_batches_are_made_as_they_are_asked_for():
    assert isinstance(batches(Key(0), samples(10), 3), Iterator)


@pytest.mark.parametrize("size", [0, -3, 2.0, None])
def test_bad_sizes_are_refused_at_once(size):
    with pytest.raises(InputError, match="batches: expected a batch_size that is a positive whole number, got"):
        batches(Key(0), samples(10), size)


def test_no_samples_are_refused_at_once():
    with pytest.raises(InputError, match=r"batches: expected the same number of samples, at least one.*inputs 0"):
        batches(Key(0), samples(0), 3)
