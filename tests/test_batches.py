"""Batches: every sample once, in an order that the key decides."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, strategies as st

from funcnn import Batch, InputError, Key, batches, tree


def samples(n):
    return Batch(np.arange(2.0 * n).reshape(n, 2), np.arange(n), np.arange(n) + 0.5)


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 1000))
def test_every_sample_comes_once(n, size, seed):
    pieces = list(batches(Key(seed), samples(n), size))
    assert [len(piece.inputs) for piece in pieces] == [size] * (n // size) + [n % size] * (n % size > 0)
    whole = tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
    assert sorted(whole.targets) == list(range(n))
    assert tree.equal(whole, tree.map(lambda leaf: leaf[whole.targets], samples(n)))


def test_the_key_decides_the_order():
    keys = [Key(0), Key(0), *(Key(0).at("epoch", epoch) for epoch in range(5))]
    first, again, *others = (np.concatenate([piece.targets for piece in batches(key, samples(99), 7)]) for key in keys)
    assert np.array_equal(first, again)
    assert len({order.tobytes() for order in others}) == 5


def test_batches_are_made_as_they_are_asked_for():
    assert isinstance(batches(Key(0), samples(10), 3), Iterator)


@pytest.mark.parametrize(
    ("n", "size", "message"),
    [(10, size, "a batch_size that is a positive whole number, got") for size in (0, -3, 2.0, None)]
    + [(0, 3, "the same number of samples, at least one.*inputs 0")],
)
def test_bad_sizes_are_refused_at_once(n, size, message):
    with pytest.raises(InputError, match=f"batches: expected {message}"):
        batches(Key(0), samples(n), size)
