"""Constructors remember their calls, and loading calls only what is registered."""

import json

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, described
from funcnn.initializers import normal
from funcnn.spec import from_plain, map_parts, to_plain
from tests.catalogue import LAYERS, LOSSES, OPTIMIZERS, SCHEDULES

EVERYTHING = [*(layer for layer, _ in LAYERS), *(loss for loss, _ in LOSSES), *OPTIMIZERS, *SCHEDULES]


@pytest.mark.parametrize("made", EVERYTHING, ids=str)
def test_json_and_repr_bring_it_back(made):
    plain = json.loads(json.dumps(to_plain(made)))
    assert to_plain(from_plain(plain)) == plain
    assert repr(from_plain(plain)) == repr(made)
    names = {name: getattr(fn, name) for name in fn.__all__}
    names |= {"normal": normal, **{name: getattr(fn.optimizers, name) for name in vars(fn.optimizers)}}
    assert to_plain(eval(repr(made), names)) == plain


def test_repr_reads_like_the_call():
    assert repr(fn.serial(fn.dense(128), fn.relu(), fn.dense(10))) == "serial(dense(128), relu(), dense(10))"
    assert repr(fn.dense(features=3, weights=normal(0.01))) == "dense(3, weights=normal(0.01))"
    assert repr(fn.adam()) == repr(fn.adam(1e-3)) == "adam()"
    assert repr(fn.Layer(None, None, None)) == "<Layer without a spec>"


def test_numpy_scalars_become_python_numbers():
    assert type(fn.sgd(np.float64(0.5)).spec.arguments["learning_rate"]) is float
    assert type(fn.dense(np.int64(3)).spec.arguments["features"]) is int


def test_what_has_no_spec_is_refused():
    layer = fn.Layer(fn.relu().init, fn.relu().forward, fn.relu().vjp)
    with pytest.raises(
        InputError, match="expected described things and plain data, got <Layer without a spec>; make it"
    ):
        to_plain(fn.serial(fn.relu(), layer))
    with pytest.raises(InputError, match="got <function"):
        to_plain(fn.sgd(lambda step: 0.1))


def test_all_unknown_names_are_listed_with_their_paths():
    plain = to_plain(fn.serial(fn.dense(3), fn.serial(fn.relu(), fn.softmax())))
    plain["arguments"]["layers"][0]["name"] = "thick"
    plain["arguments"]["layers"][1]["arguments"]["layers"][1]["name"] = "hardmax"
    plain["arguments"]["layers"][1]["arguments"]["layers"][0]["arguments"]["slope"] = 0.1
    with pytest.raises(InputError) as refusal:
        from_plain(plain)
    assert "'thick' at layers[0], argument 'slope' of relu at layers[1].layers[0], " in str(refusal.value)
    assert "'hardmax' at layers[1].layers[1]; import the module" in str(refusal.value)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"name": "dense"}, "expected registered constructors, got {'name': 'dense'} at the top"),
        ({"name": "dense", "arguments": {}}, "the arguments of dense, got {}; dense.*missing"),
        (
            {"name": "dense", "arguments": {"features": -1}},
            "dense: expected features to be a positive whole number, got -1",
        ),
        ({"name": "dense", "arguments": {}, "code": "import os"}, "at the top"),
        ({"name": 5, "arguments": {}}, "at the top"),
        (b"bytes", "at the top"),
    ],
)
def test_malformed_data_is_refused(plain, message):
    with pytest.raises(InputError, match=message):
        from_plain(plain)


def test_a_name_belongs_to_one_module():
    def dense():
        return fn.relu()

    with pytest.raises(
        InputError, match=r"@described tests\.test_spec\.dense: expected a new name, got one that funcnn"
    ):
        described(dense)
    dense.__module__ = "__main__"  # in a script or a notebook, which may define its own again, but not ours
    with pytest.raises(InputError, match=r"@described __main__\.dense: expected a new name, got one that funcnn"):
        described(dense)
    dense.__module__ = "funcnn.layers.dense"  # as when a module is loaded again
    original = fn.dense
    try:
        described(dense)
        assert repr(from_plain({"name": "dense", "arguments": {}})) == "dense()"
    finally:
        described(original.__wrapped__)


def test_a_wrong_call_names_the_constructor():
    with pytest.raises(TypeError, match=r"^dense\(\): missing a required argument: 'features'"):
        fn.dense()


def test_map_parts_reaches_every_argument():
    seen = []
    model = fn.serial(fn.dense(3), fn.relu())
    assert repr(map_parts(lambda part: seen.append(part) or fn.identity(), model)) == "serial(identity(), identity())"
    assert seen == [*model.spec.arguments["layers"]]
    bare = fn.Layer(None, None, None)
    assert map_parts(lambda part: part, bare) is bare


def test_what_is_changed_by_hand_has_no_spec():
    changed = attrs.evolve(fn.dense(2), forward=fn.relu().forward)
    assert repr(changed) == "<Layer without a spec>"
    assert repr(fn.dense(2)) == "dense(2)"


def test_a_constructor_may_give_back_what_it_was_given():
    @described
    def same(layer):
        return layer

    inner = fn.relu()
    assert repr(same(inner)) == "same(relu())"
    assert repr(inner) == "relu()"


def test_lists_become_tuples_that_nobody_can_change():
    @described
    def picked(places):
        return fn.relu()

    places = [1, [2, np.int64(3)]]
    layer = picked(places)
    places.append(4)
    assert repr(layer) == "picked((1, (2, 3)))" == repr(from_plain(to_plain(layer)))


def test_only_what_can_remember_is_described():
    @described
    def nothing():
        return None

    with pytest.raises(TypeError, match=r"nothing\(\): @described makes layers, losses and the like, not None"):
        nothing()
