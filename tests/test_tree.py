"""Records are trees, and their arrays refuse writes."""

import copy
import pickle

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, Key, frozendict, tree
from funcnn.tree import record


@record
class Pair:
    left: object
    right: object = None


@record
class Single:
    only: object


@record
class Empty:
    pass


METRICS = frozendict({"b": np.ones(2), "a": 1.0})
TREE = (Pair(np.ones(2), Single(np.zeros((2, 3)))), {"b": [1.0], "a": ()}, None, Empty(), METRICS)
PATHS = ["0.left", "0.right.only", "1.b.0", "4.b", "4.a"]


def test_paths_name_fields_positions_and_keys():
    assert [path for path, _ in tree.leaves_with_paths(TREE)] == PATHS
    assert [*map(id, tree.leaves(TREE))] == [id(leaf) for _, leaf in tree.leaves_with_paths(TREE)]
    assert list(tree.leaves_with_paths(5.0)) == [("", 5.0)]


def test_map_keeps_the_structure():
    doubled = tree.map(lambda a, b: a + b, TREE, TREE)
    assert tree.same_structure(doubled, TREE)
    assert doubled[0].left.tolist() == [2.0, 2.0]
    assert doubled[1] == {"b": [2.0], "a": ()}
    assert (type(doubled[4]), repr(doubled[4])) == (frozendict, "{'b': array([2., 2.]), 'a': 2.0}")
    with pytest.raises(ValueError, match="tuple"):
        tree.map(np.add, TREE, TREE[:2])
    paths = tree.map_with_paths(lambda path, leaf, other: path if leaf is other else None, TREE, TREE)
    assert tree.equal(paths, tree.unflatten(TREE, PATHS))


def test_unflatten_is_the_inverse_of_leaves():
    assert tree.equal(tree.unflatten(TREE, tree.leaves(TREE)), TREE)


def test_size_counts_elements():
    assert (tree.size(TREE), tree.size(())) == (2 + 6 + 1 + 2 + 1, 0)


def test_arrays_in_records_are_read_only_views():
    array = np.ones(2)
    for pair in (Pair(array), tree.map(np.copy, Pair(array)), attrs.evolve(Pair(0.0), left=array)):
        with pytest.raises(ValueError, match="read-only"):
            pair.left[0] = 5.0
    array[0] = 5.0  # one's own stays one's own


def test_records_are_frozen_compare_by_identity_and_convert_nothing():
    pair = Pair(np.ones(2))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pair.left = 0
    assert pair == pair
    assert pair != Pair(pair.left)
    with pytest.raises(TypeError, match=r"Wrong\.x: a record's field has no converter"):

        @record
        class Wrong:
            x: float = attrs.field(converter=float)


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
        (METRICS, frozendict({"a": 1.0, "b": np.ones(2)}), False),
        (METRICS, dict(METRICS), False),
    ],
)
def test_equal_means_every_bit(left, right, same):
    assert tree.equal(left, right) == same


@pytest.mark.parametrize(
    ("left", "right", "close"),
    [
        (Pair(np.ones(2)), Pair(np.ones(2) + 1e-9), True),
        (Pair(np.ones(2)), Pair(np.ones(2) + 1e-3), False),
        (np.ones(2), np.ones((2, 2)), False),
        (Pair(np.ones(2)), (np.ones(2),), False),
        ((1.0, Key(0)), (1.0 + 1e-9, Key(0)), True),
        ((1.0, Key(0)), (1.0, Key(1)), False),
        ((1.0, "a"), (1.0 + 1e-9, "a"), True),
        ((1.0, "a"), (1.0, "b"), False),
        ((1.0, "a"), (1.0, 2.0), False),
        ((1.0, 2.0), (1.0, "a"), False),
    ],
)
def test_allclose_allows_rounding_alone(left, right, close):
    assert tree.allclose(left, right) == close


def test_allclose_allows_what_it_is_told():
    assert tree.allclose(Pair(np.ones(2)), Pair(np.ones(2) + 1e-3), atol=1e-2)


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
    with pytest.raises(InputError, match=r"expected one of the paths 0.left, 0.right.only, 1.b.0, .*, got '0.middle'"):
        tree.evolve_at(TREE, "0.middle", np.ones_like)


def test_a_frozendict_cannot_be_written_to():
    values = {"b": 1.0}
    frozen = frozendict(values)
    values["b"] = 2.0
    for write in ("frozen['b'] = 0", "del frozen['b']", "frozen |= {}", "frozen.update(b=0)", "frozen.other = 0"):
        with pytest.raises((TypeError, AttributeError)):
            exec(write, {"frozen": frozen})
    assert frozen == {"b": 1.0}


@pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy])
def test_a_frozendict_pickles_and_copies(again):
    assert type(again(METRICS)) is frozendict
    assert tree.equal(again(METRICS), METRICS)


def test_a_notebook_shows_what_leaves_are_and_escapes_their_paths():
    batch = fn.Batch(np.zeros((2, 3), np.float32), np.arange(2))
    html = batch._repr_html_()
    assert "<caption>Batch</caption><tr><td>inputs</td><td>float32 (2, 3)</td></tr>" in html
    assert "<td>train.inputs</td>" in fn.Dataset("<b>", batch, batch, (), "unit")._repr_html_()
    assert "<b>" not in fn.Dataset("<b>", batch, batch, (), "unit")._repr_html_()
    assert "<td>&lt;i&gt;</td>" in tree.table("any", {"<i>": 1.0})


def test_a_record_keeps_a_repr_of_its_own():
    @tree.record
    class Named:
        a: object

        def __repr__(self):
            return "its own"

    assert repr(Named(1)) == "its own"
