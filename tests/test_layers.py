"""Every layer obeys every law, and refuses what it cannot take."""

import re
from itertools import pairwise

import attrs
import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import funcnn as fn
from funcnn import INFERENCE, InputError, Key, Training, tree
from funcnn.initializers import he_normal, normal
from funcnn.jax import to_jax, to_numpy
from funcnn.layers import DenseParams, dense_forward, dense_vjp, relu_forward, relu_vjp
from funcnn.testing import (
    assert_trees_alike,
    assert_trees_close,
    check_combinator,
    check_layer,
    check_noise,
    strategies as fst,
)
from funcnn.testing.laws import randomized
from funcnn.testing.layers import batch_of
from tests.catalogue import COMBINATORS, EFFORT, LAYERS, LAYERS_OF_INDICES, NOISE, indices

PAIR = fn.parallel(fn.tanh(), fn.tanh())


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=str)
def test_laws(layer, in_shape):
    check_layer(layer, in_shape, **EFFORT)


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS_OF_INDICES, ids=str)
def test_laws_on_indices(layer, in_shape):
    check_layer(layer, in_shape, inputs=indices, **EFFORT)


@pytest.mark.parametrize(("combine", "in_shape", "layers"), COMBINATORS)
def test_laws_of_combinators(combine, in_shape, layers):
    check_combinator(combine, in_shape, layers=layers)


@pytest.mark.parametrize(("layer", "in_shape"), NOISE, ids=str)
def test_laws_of_noise(layer, in_shape):
    check_noise(layer, in_shape)


@st.composite
def groupings(draw, places, depth=2):
    """Nested groups of ``places``, in their order; ``None`` is the identity, and a group may be empty."""
    if depth == 0 or draw(st.booleans()):
        return (*places, None) if draw(st.booleans()) else tuple(places)
    ends = draw(st.lists(st.integers(0, len(places)), max_size=2).map(sorted))
    return tuple(draw(groupings(places[start:end], depth - 1)) for start, end in pairwise([0, *ends, len(places)]))


def grouped(serial, layers, params, grouping):
    """The layers in such groups, and their params."""

    def one(part):
        if isinstance(part, tuple):
            return grouped(serial, layers, params, part)
        return (fn.identity(), ()) if part is None else (layers[part], params[part])

    pairs = [*map(one, grouping)]
    return serial(*(layer for layer, _ in pairs)), tuple(own for _, own in pairs)


def ungrouped(grouping, params):
    """The params in one row again, without those of the identities."""
    for part, own in zip(grouping, params, strict=True):
        if isinstance(part, tuple):
            yield from ungrouped(part, own)
        elif part is not None:
            yield own


def assert_groups_change_nothing(layers, in_shape, grouping, serial=fn.serial):
    """``serial`` is associative, with the identity as unit: outputs and cotangents are the same, bit for bit."""
    params, _ = serial(*layers).init(Key(0), in_shape, dtype=np.float64)
    params, x = randomized(params, Key(1)), Key(2).normal((3, *in_shape), np.float64)
    model, nested = grouped(serial, layers, params, grouping)
    modes = [INFERENCE] if "dropout" in repr(layers) else [INFERENCE, Training(Key(3))]  # it draws by its place
    for mode in modes:
        y, pull = fn.pullback(serial(*layers), params, x, mode)
        z, pull_other = fn.pullback(model, nested, x, mode)
        assert tree.equal(z, y)
        for need_dx in (True, False):
            dy = randomized(y, Key(4))
            (dparams, dx), (others, other_dx) = pull(dy, need_dx=need_dx), pull_other(dy, need_dx=need_dx)
            assert tree.equal((tuple(ungrouped(grouping, others)), other_dx), (dparams, dx))


@settings(max_examples=50)
@given(st.data(), st.sampled_from([(3,), (4, 4, 2), (2, 3)]))
def test_serial_is_associative_and_identity_its_unit(data, in_shape):
    layers = data.draw(fst.layers(in_shape, largest=5)).spec.arguments["layers"]
    assert_groups_change_nothing(layers, in_shape, data.draw(groupings(range(len(layers)))))


GROUPINGS = [((0, 1), 2, 3), (0, (1, (2, 3))), (((0,), 1), (2, 3)), (None, 0, None, (1, None), (), 2, 3, None)]


def out_shape(layer, in_shape):
    return layer.init(Key(0), in_shape)[1]


def assert_associative_with_unit(serial, layers, in_shape):
    for grouping in GROUPINGS:
        assert_groups_change_nothing(layers, in_shape, grouping, serial)


OF_ARRAYS = [row for row in LAYERS if {type(size) for size in row[1] + out_shape(*row)} == {int}]


@pytest.mark.parametrize(("layer", "in_shape"), OF_ARRAYS, ids=str)
def test_every_layer_may_stand_in_any_group(layer, in_shape):
    assert_associative_with_unit(fn.serial, (fn.tanh(), layer, fn.flatten(), fn.dense(2)), in_shape)


def rounding(layer):
    def forward(params, x, mode):
        y, residuals = layer.forward(params, x, mode)
        return y.round(3), residuals

    return attrs.evolve(layer, forward=forward)


def with_cotangents(change):
    """A serial whose layers' VJP gives ``change(dparams, dx)``."""

    def changed(layer):
        def vjp(params, residuals, dy, *, need_dx=True):
            return change(*layer.vjp(params, residuals, dy, need_dx=need_dx))

        return attrs.evolve(layer, vjp=vjp)

    return changed


WRONG_SERIALS = {
    "rounds its outputs": rounding,
    "clips its cotangents": with_cotangents(lambda dparams, dx: (dparams, None if dx is None else dx.clip(-0.1, 0.1))),
    "gives dparams in the order of the backward pass": with_cotangents(lambda dparams, dx: (dparams[::-1], dx)),
    "doubles its gradients": with_cotangents(lambda dparams, dx: (tree.map(lambda d: 2 * d, dparams), dx)),
}


@pytest.mark.parametrize("change", WRONG_SERIALS.values(), ids=WRONG_SERIALS)
def test_a_serial_that_is_not_associative_is_caught(change):
    layers = fn.dense(4), fn.tanh(), fn.dense(3), fn.softmax()
    with pytest.raises((AssertionError, TypeError, ValueError)):
        assert_associative_with_unit(lambda *parts: change(fn.serial(*parts)), layers, (5,))


def test_another_layer_at_the_end_changes_no_other_params():
    layers = fn.dense(4), fn.relu(), fn.serial(fn.dense(3), fn.softmax())
    params, _ = fn.serial(*layers).init(Key(0), (5,))
    longer, _ = fn.serial(*layers, fn.dense(2)).init(Key(0), (5,))
    assert tree.equal(longer[:3], params)


def names_its_key():
    """A layer whose params and outputs name the key it was given."""
    return fn.Layer(
        lambda key, in_shape, dtype=np.float32: (key.path, in_shape),
        lambda params, x, mode: (x, mode.key.path),
        lambda params, residuals, dy, need_dx=True: (params, dy),
    )


def test_every_layer_has_a_key_of_its_own():
    model = fn.serial(names_its_key(), fn.serial(names_its_key(), names_its_key()))
    params, _ = model.init(Key(0).at("init"), (3,))
    assert params == (("init", 0), (("init", 1, 0), ("init", 1, 1)))
    _, residuals = model.forward(params, np.ones((1, 3)), Training(Key(0).at("step", 5)))
    assert residuals == (("step", 5, 0), (("step", 5, 1, 0), ("step", 5, 1, 1)))
    siblings = fn.parallel(names_its_key(), names_its_key())
    assert siblings.init(Key(0), ((3,), (3,)))[0] == ((0,), (1,))
    assert siblings.forward(((), ()), (np.ones(1),) * 2, Training(Key(0)))[1] == ((0,), (1,))


@pytest.mark.parametrize("model", [fn.serial(fn.tanh(), fn.tanh()), fn.add(fn.tanh(), fn.tanh())], ids=str)
def test_every_layer_needs_params(model):
    x = np.ones((2, 3))
    _, residuals = model.forward(((), ()), x, INFERENCE)
    with pytest.raises(InputError, match=r"(serial|add): expected the params of 2 layers, got those of 1"):
        model.forward(((),), x, INFERENCE)
    with pytest.raises((ValueError, IndexError), match=r"shorter|range"):
        model.vjp(((),), residuals, x)


@pytest.mark.parametrize(
    "layer", [fn.dense(3, biases=normal(1.0)), fn.conv2d(3, biases=normal(1.0)), fn.embedding(4, 3)]
)
def test_params_are_drawn_from_the_keys_of_their_names(layer):
    params, _ = layer.init(Key(0), (4, 4, 1))
    initializers = {"weights": he_normal(), "biases": normal(1.0), "table": normal(1.0)}
    for name, leaf in tree.leaves_with_paths(params):
        assert np.array_equal(leaf, initializers[name](Key(0).at(name), leaf.shape, np.float32))


@pytest.mark.parametrize(
    "around",
    [
        lambda spied: fn.serial(spied, fn.relu()),
        lambda spied: fn.serial(fn.serial(fn.serial(spied)), fn.relu()),
        lambda spied: fn.serial(fn.flatten(), fn.serial(fn.relu(), fn.serial(spied))),
        lambda spied: fn.add(spied, fn.relu()),
    ],
    ids=["first", "nested", "behind layers without parameters", "a branch"],
)
def test_the_first_input_gradient_is_skipped(around):
    asked, inner = [], fn.dense(3)

    def vjp(params, residuals, dy, *, need_dx=True):
        asked.append(need_dx)
        return inner.vjp(params, residuals, dy, need_dx=need_dx)

    model = around(attrs.evolve(inner, vjp=vjp))
    params, _ = model.init(Key(0), (3,))
    _, pull = fn.pullback(model, params, np.ones((2, 3), np.float32))
    pull(np.ones((2, 3), np.float32), need_dx=False)
    pull(np.ones((2, 3), np.float32))
    assert asked == [False, True]


def test_layers_before_the_first_parameters_are_not_asked_at_all():
    def refuse(*args, **kwargs):
        raise AssertionError("nobody reads this gradient")

    start = fn.Layer(fn.relu().init, fn.relu().forward, refuse)
    model = fn.serial(start, fn.dense(2))
    params, _ = model.init(Key(0), (3,))
    _, pull = fn.pullback(model, params, np.ones((2, 3), np.float32))
    dparams, dx = pull(np.ones((2, 2), np.float32), need_dx=False)
    assert dparams[0] == ()
    assert dx is None


def test_identity_is_the_unit_between_layers_of_tuples():
    fork, units = fn.fork(fn.tanh(), fn.relu()), (fn.identity(), fn.parallel(fn.identity(), fn.identity()))
    x = np.array([[-1.0, 2.0]])
    for unit in units:
        model = fn.serial(fork, unit, fn.summed())
        params, out_shape = model.init(Key(0), (2,))
        assert out_shape == (2,)
        assert fn.predict(model, params, x).tolist() == (np.tanh(x) + np.array([[0.0, 2.0]])).tolist()
    with pytest.raises(InputError, match=r"^identity\(\): expected a shape .*, got \(3, -1\)$"):
        fn.identity().init(Key(0), ((2,), (3, -1)))


def test_functions_stand_alone():
    params = DenseParams(np.ones((2, 3)), np.zeros(3))
    y, residuals = dense_forward(params, np.ones((1, 2)), INFERENCE)
    assert y.tolist() == [[2.0, 2.0, 2.0]]
    dparams, dx = dense_vjp(params, residuals, np.ones((1, 3)))
    assert_trees_close((dparams, dx), (DenseParams(np.ones((2, 3)), np.ones(3)), np.full((1, 2), 3.0)))
    assert fn.serial().vjp((), (), y) == ((), y)
    y, residuals = relu_forward((), np.array([-1.0, 0.0, 2.0]), INFERENCE)
    assert relu_vjp((), residuals, np.ones(3))[1].tolist() == [0.0, 0.0, 1.0]


def test_softmax_is_stable():
    y, pull = fn.pullback(fn.softmax(), (), np.array([[-800.0, 0.0], [1e300, -1e300]]))
    assert y.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert np.isfinite(pull(np.ones((2, 2)))[1]).all()
    y = fn.predict(fn.log_softmax(), (), np.array([[-800.0, 0.0], [1e300, -1e300]]))
    assert y.tolist() == [[-800.0, 0.0], [0.0, -2e300]]


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=str)
def test_jit_gives_the_same_at_inference_and_dx_only_where_it_is_needed(layer, in_shape):
    params, _ = layer.init(Key(0), in_shape)
    x = batch_of(in_shape, Key(1), 3, Key.normal)

    def both(params, x):
        y, pull = fn.pullback(layer, params, x)
        return y, pull(y), pull(y, need_dx=False)[1]

    _, (_, dx), not_needed = expected = both(params, x)
    assert_trees_alike(dx, x)
    assert not_needed is None
    assert_trees_close(to_numpy(jax.jit(both)(to_jax(params), x)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "in_shape", "where"),
    [
        (fn.relu(), (3,), "relu()"),
        (fn.softmax(), (3,), "softmax()"),
        (fn.log_softmax(), (3,), "log_softmax()"),
        (fn.dropout(0.5), (3,), "dropout(0.5)"),
        (fn.layer_norm(), (3,), "layer_norm()"),
        (fn.rms_norm(), (3,), "rms_norm()"),
        (fn.dense(2), (3,), "dense(2)"),
        (fn.conv2d(2), (4, 4, 1), "conv2d(2, (3, 3))"),
        (fn.serial(fn.flatten(), fn.serial(fn.dense(2))), (3,), "serial[1] serial[0] dense(2)"),
        (fn.max_pool2d(), (4, 4, 1), "max_pool2d((2, 2))"),
        (fn.avg_pool2d(), (4, 4, 1), "avg_pool2d((2, 2))"),
        (fn.add(fn.tanh(), fn.dense(2), fn.tanh()), (2,), "add[0] tanh()"),
    ],
    ids=str,
)
def test_integers_are_refused_at_their_place(layer, in_shape, where):
    params, _ = layer.init(Key(0), in_shape)
    for dtype in ("int64", "uint8", "bool"):
        with pytest.raises(InputError, match=rf"^{re.escape(where)}: expected floating inputs, got {dtype}; convert"):
            layer.forward(params, np.ones((2, *in_shape), dtype), INFERENCE)


@pytest.mark.parametrize("layer", [fn.dense(2), fn.conv2d(2), fn.layer_norm(), fn.rms_norm()], ids=str)
def test_another_float_dtype_is_refused(layer):
    params, _ = layer.init(Key(0), (4, 4, 1))
    with pytest.raises(InputError, match="expected inputs of its params' dtype, float32, got float64; convert one of"):
        fn.predict(layer, params, np.ones((2, 4, 4, 1)))


@pytest.mark.parametrize(
    ("layer", "in_shape", "shape", "message"),
    [
        (fn.layer_norm(), (5,), (2, 1), r"layer_norm\(\): expected inputs \(batch, ..., 5\), got \(2, 1\)"),
        (fn.rms_norm(), (5,), (5,), r"rms_norm\(\): expected inputs \(batch, ..., 5\), got \(5,\)"),
        (fn.max_pool2d(), (4, 4, 1), (2, 16), r"max_pool2d.*: expected inputs \(batch, height, .*\), got \(2, 16\)"),
        (fn.avg_pool2d(), (4, 4, 1), (4, 4, 1), r"avg_pool2d\(\(2, 2\)\): expected inputs \(batch, height, width, ch"),
        (fn.max_pool2d(), (4, 4, 1), (2, 1, 4, 1), r"max_pool2d.*: expected images of at least 2 x 2, got 1 x"),
        (fn.reshape(2, 3), (6,), (4, 5), r"reshape\(2, 3\): expected 6 elements a sample, got 5: \(5,\)"),
        (PAIR, ((3,), (3,)), (2, 3), r"parallel: expected a tuple of 2 inputs, got one array \(2, 3\)"),
    ],
    ids=str,
)
def test_other_shapes_than_those_of_init_are_refused(layer, in_shape, shape, message):
    params, _ = layer.init(Key(0), in_shape)
    with pytest.raises(InputError, match=f"^{message}"):
        fn.predict(layer, params, np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.gelu("none"), "gelu: expected True or False for approximate, got 'none'"),
        (lambda: fn.conv2d(2, 3.0), "conv2d: expected kernel to be one or two positive whole numbers, got 3.0"),
        (lambda: fn.max_pool2d("2"), "max_pool2d: expected size to be one or two positive whole numbers, got '2'"),
        (lambda: fn.dense(3, weights=he_normal), r"dense weights: expected an .*, .*constructor: he_normal\(\)"),
        (lambda: fn.conv2d(2, weights=he_normal), "conv2d weights: expected an initializer"),
        (lambda: fn.conv2d(2, biases=np.zeros), "conv2d biases: expected an initializer"),
        (lambda: fn.embedding(5, 2, he_normal), "embedding table: expected an initializer"),
        (
            lambda: fn.dense(3, biases=he_normal()).init(Key(0), (2,)),
            r"he_normal\(\) fans: expected weights of two axes or more, got",
        ),
        (lambda: fn.conv2d(2).init(Key(0), (4, 0, 1)), r"conv2d\(2, \(3, 3\)\): expected a shape of positive whole"),
        (lambda: fn.flatten().init(Key(0), 784), "flatten\\(\\): expected a shape of positive whole numbers"),
        (lambda: fn.serial(fn.dense(2)).init(0, (3,)), r"serial: expected a key, got 0; make one of a seed: Key\(0\)"),
        (lambda: fn.predict(PAIR, ((), ()), (np.ones((2, 3)),) * 3), "parallel: expected a tuple of 2 inputs, got 3"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}"):
        make()


def test_layers_that_take_a_tuple_stand_side_by_side():
    y = fn.predict(fn.concatenate(fn.summed(), fn.summed()), ((), ()), (np.ones((2, 3)), np.ones((2, 3))))
    assert y.tolist() == [[2.0] * 6] * 2


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((32, 2, 64), r"expected inputs \(batch, ..., 128\), got \(32, 2, 64\); put flatten\(\) before it$"),
        ((32, 127), r"expected inputs \(batch, ..., 128\), got \(32, 127\)$"),
        ((128,), r"expected inputs \(batch, ..., 128\), got \(128,\); one sample alone is x\[None\]$"),
    ],
)
def test_wrong_shapes_name_the_place(shape, message):
    model = fn.serial(fn.identity(), fn.identity(), fn.relu(), fn.dense(64))
    params, _ = model.init(Key(0), (128,))
    with pytest.raises(InputError, match=rf"^serial\[3\] dense\(64\): {message}"):
        fn.predict(model, params, np.ones(shape, np.float32))


@pytest.mark.parametrize("features", [0, -1, 2.0, "3", True, None])
def test_features_are_counted(features):
    with pytest.raises(InputError, match=f"^dense: expected features to be a positive whole number, got {features!r}$"):
        fn.dense(features)


@pytest.mark.parametrize("in_shape", [(0,), (-3,), 5, (2.5,), None, "784"])
def test_bad_input_shapes_are_refused(in_shape):
    with pytest.raises(InputError, match=r"dense\(3\): expected a shape of positive whole numbers, such as \(784,\)"):
        fn.dense(3).init(Key(0), in_shape)


def test_shape_layers_take_any_dtype():
    """Flatten and identity compute nothing, so bytes may pass through them to a layer that scales."""
    for layer in (fn.flatten(), fn.identity()):
        assert fn.predict(layer, (), np.ones((2, 3), np.uint8)).dtype == np.uint8
