"""Records are trees, and their arrays refuse writes."""

import copy
import pickle

import attrs
import numpy as np
import pytest

from funcnn import InputError, Key, frozendict, tree
from funcnn.tree import record


@record
class Pair:
    left: object
    right: object = None


@record
class Single:
    only: object


TREE = (Pair(np.ones(2), Single(np.zeros((2, 3)))), {"b": [1.0], "a": ()}, None)


def test_paths_name_fields_positions_and_keys():
    assert [path for path, _ in tree.leaves_with_paths(TREE)] == ["0.left", "0.right.only", "1.b.0"]
    assert len(tree.leaves(TREE)) == 3
    assert list(tree.leaves_with_paths(5.0)) == [("", 5.0)]


def test_map_keeps_the_structure():
    doubled = tree.map(lambda a, b: a + b, TREE, TREE)
    assert tree.same_structure(doubled, TREE)
    assert doubled[0].left.tolist() == [2.0, 2.0]
    assert doubled[1] == {"b": [2.0], "a": ()}
    with pytest.raises(ValueError, match="tuple"):
        tree.map(np.add, TREE, TREE[:2])


def test_unflatten_is_the_inverse_of_leaves():
    assert tree.equal(tree.unflatten(TREE, tree.leaves(TREE)), TREE)


def test_size_counts_elements():
    assert tree.size(TREE) == 2 + 6 + 1
    assert tree.size(()) == 0


def test_arrays_in_records_are_read_only_views():
    array = np.ones(2)
    for pair in (Pair(array), tree.map(np.copy, Pair(array)), attrs.evolve(Pair(0.0), left=array)):
        with pytest.raises(ValueError, match="read-only"):
            pair.left[0] = 5.0
    array[0] = 5.0  # one's own stays one's own


def test_records_are_frozen_and_compare_by_identity():
    pair = Pair(np.ones(2))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pair.left = 0
    assert pair == pair
    assert pair != Pair(pair.left)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (Pair(np.ones(2)), Pair(np.ones(2)), True),
        (Pair(np.ones(2)), Pair(np.ones(2), 1.0), False),
        (np.ones(2), np.ones((2, 1)), False),
        (np.ones(2), np.ones(2, np.float32), False),
        (np.array([0.0]), np.array([-0.0]), False),
        (np.array([np.nan]), np.array([np.nan]), True),
        ((1.0,), [1.0], False),
        (("a", 3), ("a", 3), True),
        (("a", 3), ("b", 3), False),
    ],
)
def test_equal_means_every_bit(left, right, same):
    assert tree.equal(left, right) == same


def test_allclose_allows_rounding_alone():
    assert tree.allclose(Pair(np.ones(2)), Pair(np.ones(2) + 1e-9))
    assert not tree.allclose(Pair(np.ones(2)), Pair(np.ones(2) + 1e-3))
    assert tree.allclose(Pair(np.ones(2)), Pair(np.ones(2) + 1e-3), atol=1e-2)
    assert not tree.allclose(np.ones(2), np.ones((2, 2)))
    assert not tree.allclose(Pair(np.ones(2)), (np.ones(2),))


def test_a_record_may_be_empty_but_converts_nothing():
    @record
    class Empty:
        pass

    assert tree.leaves((Empty(), 1.0)) == [1.0]
    with pytest.raises(TypeError, match=r"Wrong\.x: a record's field has no converter"):

        @record
        class Wrong:
            x: float = attrs.field(converter=float)


def test_ravel_goes_there_and_back():
    params = (Pair(np.arange(6.0).reshape(2, 3), np.ones(1)), np.zeros((1, 2)))
    vector, unravel = tree.ravel(params)
    assert vector.shape == (9,)
    assert tree.equal(unravel(vector), params)
    with pytest.raises(InputError, match=r"unravel: expected a vector \(9,\), got \(10,\)"):
        unravel(np.zeros(10))
    with pytest.raises(InputError, match="ravel: expected a tree with at least one array"):
        tree.ravel(())


def test_evolve_at_changes_one_leaf():
    changed = tree.evolve_at(TREE, "0.right.only", np.ones_like)
    assert changed[0].right.only.tolist() == [[1.0] * 3] * 2
    assert tree.equal(tree.evolve_at(changed, "0.right.only", np.zeros_like), TREE)
    with pytest.raises(InputError, match=r"expected one of the paths 0.left, 0.right.only, 1.b.0, got '0.middle'"):
        tree.evolve_at(TREE, "0.middle", np.ones_like)


def test_trees_with_keys_are_close_where_the_keys_are_equal():
    assert tree.allclose((1.0, Key(0)), (1.0 + 1e-9, Key(0)))
    assert not tree.allclose((1.0, Key(0)), (1.0, Key(1)))


METRICS = frozendict({"b": np.ones(2), "a": 1.0})


def test_a_frozendict_cannot_be_written_to():
    values = {"b": 1.0}
    frozen = frozendict(values)
    values["b"] = 2.0
    assert frozen == {"b": 1.0}
    for write in ("frozen['b'] = 0", "del frozen['b']", "frozen |= {}", "frozen.update(b=0)", "frozen.other = 0"):
        with pytest.raises((TypeError, AttributeError)):
            exec(write, {"frozen": frozen})
    assert frozen == {"b": 1.0}


@pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy])
def test_a_frozendict_pickles_and_copies(again):
    assert type(again(METRICS)) is frozendict
    assert tree.equal(again(METRICS), METRICS)


def test_a_frozendict_is_a_tree_in_the_order_it_was_given():
    assert list(METRICS) == ["b", "a"]
    assert [path for path, _ in tree.leaves_with_paths((METRICS,))] == ["0.b", "0.a"]
    doubled = tree.map(lambda leaf: 2 * leaf, METRICS)
    assert (type(doubled), repr(doubled)) == (frozendict, "{'b': array([2., 2.]), 'a': 2.0}")
    assert tree.equal(tree.unflatten(METRICS, tree.leaves(METRICS)), METRICS)
    assert not tree.same_structure(METRICS, frozendict({"a": 0.0, "b": 0.0}))
    assert not tree.same_structure(METRICS, dict(METRICS))
