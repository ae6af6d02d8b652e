"""Constructors remember their calls, and loading calls only what is registered."""

import copy
import json
import pickle

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, described
from funcnn.initializers import normal
from funcnn.spec import Described, from_plain, map_parts, to_plain
from tests import catalogue as table
from tests.catalogue import named
from tests.scripts import ran


def test_repr_reads_like_the_call():
    assert repr(fn.serial(fn.dense(128), fn.relu(), fn.dense(10))) == "serial(dense(128), relu(), dense(10))"
    assert repr(fn.dense(features=3, weights=normal(0.01))) == "dense(3, weights=normal(0.01))"
    assert repr(fn.adam()) == repr(fn.adam(1e-3)) == "adam(0.001)"
    assert repr(fn.residual(fn.repeat(2, fn.relu()))) == "residual(repeat(2, relu()))"


def test_arguments_become_plain_values_that_nobody_can_change():
    places = [1, [2, np.int64(3)]]
    layer = picked(places)
    places.append(np.float64(0.5))
    assert repr(layer) == "picked((1, (2, 3)))" == repr(from_plain(to_plain(layer)))
    assert type(picked(np.float64(0.5)).spec.arguments["what"]) is float


@described
def picked(what):
    return what if isinstance(what, Described) else fn.relu()


def test_a_constructor_may_give_back_what_it_was_given():
    inner = fn.relu()
    assert (repr(picked(inner)), repr(inner)) == ("picked(relu())", "relu()")


def test_what_has_no_spec_is_refused():
    layer = fn.Layer(fn.relu().init, fn.relu().forward, fn.relu().vjp)
    with pytest.raises(InputError, match="expected described things and plain data, got <Layer without a spec>; "):
        to_plain(fn.serial(fn.relu(), layer))
    with pytest.raises(InputError, match="got <function"):
        to_plain(fn.sgd(lambda step: 0.1))


def test_all_unknown_names_are_listed_with_their_paths():
    plain = to_plain(fn.serial(fn.dense(3), fn.serial(fn.relu(), fn.softmax())))
    first, second = plain["arguments"]["layers"]
    first |= {"name": "thick"}
    second["arguments"]["layers"][0]["arguments"]["slope"] = 0.1
    second["arguments"]["layers"][1]["name"] = "hardmax"
    second["arguments"]["layers"].append(to_plain(fn.dense(3)) | {"arguments": {"features": -1}})  # not built
    with pytest.raises(InputError) as refusal:
        from_plain(plain)
    assert str(refusal.value) == (
        "from_plain: expected registered constructors, got 'thick' at layers[0], argument 'slope' of relu at "
        "layers[1].layers[0], 'hardmax' at layers[1].layers[1]; import the module that defines it"
    )


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"name": "dense"}, "expected registered constructors, got {'name': 'dense'} at the top"),
        ({"name": "dense", "arguments": {}}, "the arguments of dense, got {}; dense.*missing"),
        ({"name": "dense", "arguments": {"features": -1}}, "^dense: .*, got -1"),
        ({"name": "dense", "arguments": {}, "code": "import os"}, "at the top"),
        ({"name": 5, "arguments": {}}, "at the top"),
        (b"bytes", "at the top"),
    ],
)
def test_malformed_data_is_refused(plain, message):
    with pytest.raises(InputError, match=message):
        from_plain(plain)


def constructor(name, module):
    """One that is not described yet."""

    def made():
        return fn.relu()

    made.__name__, made.__module__ = name, module
    return made


def test_a_name_belongs_to_one_module():
    for module in ("sketches", "__main__"):  # a script or a notebook, which may define its own again, but not ours
        with pytest.raises(InputError, match=rf"@described {module}\.dense: expected a new name, got one that funcnn"):
            described(constructor("dense", module))
    for module in ("sketches", "sketches", "__main__", "__main__"):  # a module that is loaded again, or is a script
        described(constructor("sketched", module))
        assert repr(from_plain({"name": "sketched", "arguments": {}})) == "sketched()"
    described(constructor("drawn", "sketches"))
    with pytest.raises(InputError, match="expected a new name, got one that sketches registered; rename it"):
        described(constructor("drawn", "others"))


def test_a_wrong_call_names_the_constructor():
    with pytest.raises(TypeError, match=r"^dense\(\): missing a required argument: 'features'"):
        fn.dense()
    with pytest.raises(TypeError, match=r"^nothing\(\): @described makes layers, losses and the like, not None"):
        described(nothing)()


def nothing():
    return None


@described
def conv(features):
    return fn.conv2d(features)


@described
def looked_up(name):
    try:
        return {"relu": fn.relu}[name]()
    except KeyError as error:
        raise InputError("looked_up", "relu", name) from error


def test_an_error_begins_with_the_name_that_was_called_and_keeps_its_cause():
    with pytest.raises(InputError, match=r"^conv conv2d: expected features"):
        conv(0)
    with pytest.raises(InputError, match=r"^looked_up: expected relu, got tanh$") as caught:
        looked_up("tanh")
    assert isinstance(caught.value.__cause__, KeyError)


def test_map_parts_reaches_every_argument():
    seen = []
    model = fn.serial(fn.dense(3), fn.relu())
    assert repr(map_parts(lambda part: seen.append(part) or fn.identity(), model)) == "serial(identity(), identity())"
    assert seen == [*model.spec.arguments["layers"]]
    bare = fn.Layer(None, None, None)
    assert map_parts(lambda part: part, bare) is bare


@described
def tilted(slope):
    """A layer of one's own, all of closures."""
    return fn.Layer(
        lambda key, in_shape, *, dtype=np.float32: ((), in_shape),
        lambda params, x, mode: (slope * x, ()),
        lambda params, residuals, dy, *, need_dx=True: (params, slope * dy if need_dx else None),
    )


STEP = fn.train_step(
    fn.serial(fn.dense(5), tilted(0.5), fn.dropout(0.5), fn.dense(4)),
    fn.softmax_cross_entropy(),
    fn.chain(fn.clip_by_global_norm(1.0), fn.adam(fn.cosine(0.1, 10))),
    penalty=fn.l1(0.1),
    metrics={"accuracy": fn.accuracy, "norm": fn.gradient_norm, "rate": fn.learning_rate},
)

ROWS = [*table.LAYERS, *table.NOISE, *table.LAYERS_OF_INDICES, *table.LOSSES, *table.EXCEPTIONS, *table.METRICS]
PARTS = [*(row[0] for row in [*ROWS, *table.COMBINATORS]), *table.OPTIMIZERS, *table.SCHEDULES, *table.INITIALIZERS]
PARTS += [*table.PENALTIES, tilted(0.3)]
"""Everything of the catalogue. What a call makes again behaves the same: a law of layers, losses and optimizers."""


@pytest.mark.parametrize("part", PARTS, ids=named)
def test_what_is_pickled_copied_or_written_out_is_the_same_call(part):
    for again in (pickle.loads(pickle.dumps(part)), copy.deepcopy(part)):
        assert type(again) is type(part)
        assert repr(again) == repr(part)
    if named(part):
        plain = json.loads(json.dumps(to_plain(part)))
        names = {**vars(fn), **vars(fn.initializers), **vars(fn.metrics), **vars(fn.optimizers), "tilted": tilted}
        assert to_plain(from_plain(plain)) == plain == to_plain(eval(repr(part), names))
        assert repr(from_plain(plain)) == repr(part)


def test_what_is_pickled_is_loaded_in_another_process(tmp_path):
    described_parts = [part for part in PARTS if named(part)]
    (tmp_path / "parts").write_bytes(pickle.dumps([*described_parts, STEP]))
    code = "import pickle, sys; *parts, step = pickle.load(open(sys.argv[1], 'rb')); print(*parts, step.model, sep='|')"
    printed = ran("-c", code, tmp_path / "parts", check=True).stdout
    assert printed.strip().split("|") == [*map(repr, described_parts), repr(STEP.model)]


def test_what_is_changed_by_hand_has_no_spec_and_is_pickled_as_its_functions():
    changed = attrs.evolve(fn.dense(2), forward=fn.relu().forward)
    again = pickle.loads(pickle.dumps(changed))
    assert repr(again) == repr(changed) == "<Layer without a spec>"
    assert fn.predict(again, (), np.array([[-1.0, 2.0]])).tolist() == [[0.0, 2.0]]
    with pytest.raises((pickle.PicklingError, AttributeError), match="pickle"):
        pickle.dumps(attrs.evolve(fn.dense(2), forward=lambda params, x, mode: (x, ())))
