"""Keys are values: the same key draws the same, another one something else."""

import json
import pickle
import random

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st

from funcnn import InputError, Key
from funcnn.testing import assert_pure

paths = st.lists(st.one_of(st.integers(0, 2**64 - 1), st.text(max_size=5)), max_size=4).map(tuple)
DRAWS = {
    "normal": lambda key: key.normal((50,)),
    "uniform": lambda key: key.uniform((50,)),
    "bernoulli": lambda key: key.bernoulli(0.5, (50,)),
    "permutation": lambda key: key.permutation(50),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_pure_and_differ_between_keys(draw):
    state = random.getstate()
    assert_pure(draw, Key(0, ("a", 1)))
    assert random.getstate() == state
    keys = Key(0), Key(1), Key(0).at(0), Key(0).at("0"), Key(0).at(0, 0), Key(0).at("a"), Key(0).at("a", "b")
    assert len({draw(key).tobytes() for key in keys}) == len(keys)


@given(st.integers(0, 2**64 - 1), paths, paths)
def test_keys_are_values_of_seed_and_path(seed, path, more):
    key = Key(seed).at(*path).at(*more)
    assert key == Key(seed, path + more) == Key(**json.loads(json.dumps(attrs.asdict(key))))
    assert key == pickle.loads(pickle.dumps(key)) == eval(repr(key))
    assert hash(key) == hash(Key(seed, [*path, *more]))
    same = Key(seed, path).normal((4,)).tolist() == Key(seed, more).normal((4,)).tolist()
    assert same == (path == more)


def test_numpy_integers_are_numbers():
    assert Key(np.int64(3), (np.uint8(4),)) == Key(3, (4,))
    assert type(Key(np.int64(3)).seed) is type(Key(0, (np.uint8(4),)).path[0]) is int


def test_distributions():
    key, n = Key(0), 200_000
    assert key.normal((n,)).dtype == np.float32
    assert np.mean(key.normal((n,), np.float64)) == pytest.approx(0, abs=0.01)
    assert np.std(key.normal((n,))) == pytest.approx(1, abs=0.01)
    draws = key.uniform((n,), low=-2.0, high=6.0)
    assert (draws.dtype, draws.min() >= -2, draws.max() < 6) == (np.float32, True, True)
    assert np.mean(draws) == pytest.approx(2, abs=0.03)
    assert np.mean(key.bernoulli(0.3, (n,))) == pytest.approx(0.3, abs=0.01)
    assert sorted(key.permutation(100).tolist()) == list(range(100))


def test_the_stream_is_pinned():
    """Another NumPy or another encoding of labels must not change results unnoticed."""
    assert Key(0).at("epoch", 3).permutation(8).tolist() == [7, 3, 6, 1, 5, 0, 2, 4]


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, True, None, ("a",), [1]])
def test_bad_seeds_and_labels_are_refused(value):
    for seed in (value, "0"):
        with pytest.raises(InputError, match=r"^Key: expected a seed that is a whole number in \[0, 2\*\*64\)"):
            Key(seed)
    for make in (Key(0).at, lambda label: Key(0, ("a", label))):
        with pytest.raises(InputError, match=r"^Key.at: expected labels that are strings or whole numbers"):
            make(value)
