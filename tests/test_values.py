"""Values at the edges, where a plain formula gives another one, or none; each is known from theory."""

import copy
import math
import pickle
from operator import methodcaller

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, metrics, special, tree
from funcnn.optimizers import apply_updates
from tests.catalogue import OF_CLASSES, named

KEY = fn.Key(0)
CROSS_ENTROPY, BINARY = fn.softmax_cross_entropy(), fn.sigmoid_binary_cross_entropy()
DENSE, (DENSE_PARAMS, _) = fn.dense(2), fn.dense(2).init(KEY, (3,))
LIBRARIES = pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])


def single(loss, output, target):
    """Value and gradient of a loss of one sample, in float32."""
    value, residuals = loss.forward(np.float32(output), np.array(target))
    return float(value), loss.vjp(residuals)


@pytest.mark.parametrize("z", [-90.0, -20.0, -15.0, -10.0, -1.0, 0.0, 1.0, 10.0, 15.0, 20.0, 60.0, 90.0])
def test_losses_and_the_log_of_a_softmax_keep_their_digits_where_they_are_small(z):
    right = math.log1p(math.exp(-z))
    value, slope = single(BINARY, [[z]], [[1.0]])
    assert value == pytest.approx(right, rel=1e-6)
    assert float(slope[0, 0]) == pytest.approx(-1 / (1 + math.exp(z)), rel=1e-6, abs=1e-38)
    mirrored, other = single(BINARY, [[-z]], [[0.0]])
    assert (mirrored, float(other[0, 0])) == (value, -float(slope[0, 0]))
    if z > 0:
        assert single(CROSS_ENTROPY, [[z, 0.0]], [0])[0] == pytest.approx(right, rel=1e-6)
        y = fn.predict(fn.log_softmax(), (), np.float32([[z, 0.0], [0.0, 0.0]]))
        assert [-y[0, 0], *y[1]] == pytest.approx([right, -math.log(2), -math.log(2)], rel=1e-6)


@pytest.mark.parametrize("target", [[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]])
def test_the_slope_with_respect_to_targets_is_right_where_one_is_zero(target):
    logits = np.array([[0.127, 2.127]])
    slope = jax.grad(lambda t: CROSS_ENTROPY.forward(jnp.asarray(logits), t)[0])(jnp.asarray([target]))
    assert slope[0] == pytest.approx(np.log(np.exp(logits[0]).sum()) - logits[0], rel=1e-5)


UNBOUNDED = [fn.relu(), fn.leaky_relu(0.0), fn.elu(), fn.gelu(), fn.gelu(True), fn.silu(), fn.softplus()]
BOUNDED = [fn.sigmoid(), fn.tanh()]


@pytest.mark.parametrize("layer", UNBOUNDED + BOUNDED, ids=str)
@LIBRARIES
def test_activations_reach_their_limits(layer, xp):
    x = xp.asarray([-np.inf, -1e36, -1e4, -200.0, 200.0, 1e4, 1e36, np.inf], dtype=xp.float32)
    y, pull = fn.pullback(layer, (), x)
    low = -1.0 if layer.spec.name in ("elu", "tanh") else 0.0
    high, slope = ([1.0] * 4, 0.0) if layer in BOUNDED else ([200.0, 1e4, 1e36, np.inf], 1.0)
    assert np.asarray(y) == pytest.approx(np.float32([low] * 4 + high), abs=1e-30)
    assert np.asarray(pull(xp.ones_like(x))[1]) == pytest.approx(np.float32([0.0] * 4 + [slope] * 4), abs=1e-30)


def test_sigmoid_keeps_its_digits_down_to_zero():
    x = np.float32([-100, -80, -20, 0, 20])
    assert special.sigmoid(x) == pytest.approx(1 / (1 + np.exp(-x.astype(float))), rel=1e-5, abs=1e-44)


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e18, 1e20, 1e37])
@LIBRARIES
def test_norms_of_huge_numbers_are_finite(scale, xp):
    grads = tuple(xp.asarray(np.float32([scale])) for _ in range(2))
    assert float(fn.global_norm(grads)) == pytest.approx(scale * math.sqrt(2), rel=1e-6)
    updates, _ = fn.clip_by_global_norm(scale / 10).update(grads, (), grads)
    clipped = np.float64([np.asarray(leaf)[0] for leaf in updates])
    assert clipped == pytest.approx([math.sqrt(0.5) * scale / 10] * 2, rel=1e-6, abs=0)
    params, pushed = ({"weights": xp.full((2, 2), value, dtype=xp.float32)} for value in (0.0, scale))
    kept, _ = fn.max_norm(scale / 10).update(pushed, (), params)
    weights = np.asarray(apply_updates(params, kept)["weights"])
    assert weights == pytest.approx(np.full((2, 2), math.sqrt(0.5) * scale / 10), rel=1e-5, abs=0)
    for layer in (fn.layer_norm(1e-30), fn.rms_norm(1e-30)):
        params = tree.map(xp.asarray, layer.init(KEY, (2,))[0])
        y, pull = fn.pullback(layer, params, xp.asarray(np.float32([[scale, -scale]])))
        assert np.asarray(y) == pytest.approx(np.float32([[1, -1]]), rel=1e-5)
        assert np.isfinite(np.asarray(pull(y)[1])).all()


HALVES = np.array([[0.5, 0.5], [0.9, 0.1]])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_weights_of_any_dtype_are_numbers(dtype):
    for more in (1,) if dtype is bool else (1, 2):
        right = (math.log(2) - more * math.log(0.9)) / (1 + more)
        found = metrics.negative_log_likelihood(HALVES, np.array([0, 0]), np.array([1, more]).astype(dtype))
        assert found == pytest.approx(right)


@pytest.mark.parametrize("weights", [[2.0, -1.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_weights_that_weigh_nothing_or_less_are_refused_by_all(weights):
    batch = fn.Batch(HALVES, np.array([0, 1]), np.array(weights))
    for judge in (fn.accuracy, metrics.confusion_matrix, CROSS_ENTROPY.forward):
        with pytest.raises(InputError, match="finite weights of at least 0, not all of them 0"):
            judge(batch.inputs, batch.targets, batch.weights)
    with pytest.raises(InputError, match=r"^evaluate: expected finite weights of at least 0, not all of them 0"):
        fn.evaluate(fn.identity(), CROSS_ENTROPY, (), batch, batch_size=1)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_sample_without_weight_leaves_no_trace_in_an_evaluation(batch_size):
    batch = fn.Batch(np.array([[1.0], [2.0], [np.nan]]), np.array([[0.0], [np.nan], [0.0]]), np.array([1.0, 0.0, 0.0]))
    assert fn.evaluate(fn.identity(), fn.mean_squared_error(), (), batch, batch_size=batch_size) == {"loss": 1.0}


@pytest.mark.parametrize("label", [-1, 2, 2**40])
@pytest.mark.parametrize("metric", OF_CLASSES)
def test_metrics_take_no_labels_that_are_no_classes(metric, label):
    with pytest.raises(InputError, match=f"expected labels from 0 to 1, got {label} in row 1"):
        metric(HALVES, np.array([0, label]))


def test_outputs_that_are_nan_are_wrong():
    nan, labels = np.full((2, 3), np.nan), np.array([0, 2])
    assert fn.accuracy(nan, labels) == metrics.top_k_accuracy(1)(nan, labels) == 0.0
    assert metrics.top_k_accuracy(3)(nan, labels) == 0.0
    assert metrics.binary_accuracy(nan, np.zeros((2, 3))) == metrics.exact_match(nan, np.zeros((2, 3))) == 0.0
    matrix = metrics.confusion_matrix(nan, labels)
    assert metrics.recall(matrix).tolist() == [0.0, 0.0, 0.0]
    assert matrix.sum(axis=1).tolist() == [1.0, 0.0, 1.0]
    assert math.isnan(metrics.calibration_error(metrics.reliability(nan, labels)))


HALF = np.ones((2, 3), np.float16)
SMALL = "floating inputs, got float16; its range is too small, convert"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *((lambda f=layer: fn.predict(f, (), HALF), SMALL) for layer in (fn.silu(), fn.gelu(True), fn.softmax())),
        (lambda: DENSE.init(KEY, (3,), dtype=np.float16), "a dtype of float32, float64, bfloat16, got <class"),
        *(
            (lambda made=made: made.init((HALF,)), "floating params 0, got float16")
            for made in (fn.adam(), fn.sgd(0.1), fn.clip_by_global_norm(1.0))
        ),
        (lambda: fn.mean_squared_error().forward(HALF, HALF), "floating outputs, got float16"),
    ],
)
def test_float16_is_refused_with_a_hint(call, message):
    with pytest.raises(InputError, match=f"expected {message}"):
        call()


def test_what_travels_stays_read_only():
    model = fn.serial(DENSE, fn.layer_norm())
    step = fn.train_step(model, CROSS_ENTROPY, fn.adam())
    params, _ = model.init(KEY, (3,))
    batch = fn.Batch(np.ones((2, 3), np.float32), np.array([0, 1]))
    values = (params, *step(params, step.init(params, KEY), batch), batch, fn.frozendict({"a": np.ones(2)}))
    for again in (pickle.loads(pickle.dumps(values)), copy.deepcopy(values)):
        assert tree.equal(again, values)
        assert not any(leaf.flags.writeable for leaf in tree.leaves(again) if isinstance(leaf, np.ndarray))


def test_a_saved_model_travels(tmp_path):
    fn.save(tmp_path / "a", DENSE, DENSE_PARAMS, (3,))
    saved = fn.load(tmp_path / "a")
    again = pickle.loads(pickle.dumps(saved))
    assert tree.equal(again.params, saved.params)
    assert dict(again.versions) == dict(saved.versions)


def test_big_endian_arrays_are_saved_as_the_machine_has_them(tmp_path):
    swapped = tree.map(lambda leaf: leaf.astype(">f4"), DENSE_PARAMS)
    fn.save(tmp_path / "a", DENSE, swapped, (3,))
    assert tree.equal(fn.load(tmp_path / "a").params, DENSE_PARAMS)
    fn.save_tree(tmp_path / "b", swapped)
    assert tree.equal(fn.load_tree(tmp_path / "b", DENSE_PARAMS), DENSE_PARAMS)
    fn.data.write_idx(tmp_path / "c", np.float32([1, 2]).astype(">f4"))
    assert fn.data.read_idx(tmp_path / "c").tolist() == [1.0, 2.0]


def test_saving_refuses_what_loading_would_not_understand(tmp_path):
    with pytest.raises(InputError, match=r"^save: expected a scaling of unit, symmetric, or None, got 'nope'$"):
        fn.save(tmp_path / "a", DENSE, DENSE_PARAMS, (3,), scaling="nope")
    with pytest.raises(InputError, match=r"^save: expected class_names one by one, got 'abc'"):
        fn.save(tmp_path / "a", DENSE, DENSE_PARAMS, (3,), class_names="abc")
    assert not [*tmp_path.iterdir()]


STACKED, _ = fn.serial(DENSE, DENSE).init(KEY, (3,))
UPDATE = methodcaller("update", STACKED, (), STACKED)
MASKED = [
    (fn.freeze, (), UPDATE),
    (fn.max_norm, (1.0,), UPDATE),
    (fn.add_decayed_weights, (0.1,), UPDATE),
    (fn.l1, (0.1,), methodcaller("value", STACKED)),
    (fn.l2, (0.1,), methodcaller("gradient", STACKED)),
]


@pytest.mark.parametrize(("make", "arguments", "use"), MASKED)
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest(make, arguments, use):
    use(make(*arguments, "1.weights"))
    message = r"expected a pattern that matches .* got '\*kernel'; the nearest: "
    with pytest.raises(InputError, match=f"^{make.__name__}: {message}"):
        use(make(*arguments, "*kernel"))
    with pytest.raises(InputError, match=f"^{make.__name__}: expected a mask that is a pattern of paths, got None"):
        make(*arguments, None)


@pytest.mark.parametrize(
    ("model", "in_shape"),
    [
        (fn.repeat(2, fn.dense(3)), (3,)),
        (fn.residual(fn.dense(3)), (3,)),
        (fn.serial(fn.dense(3), fn.serial(fn.relu(), fn.residual(fn.dense(3)))), (3,)),
        (fn.parallel(fn.dense(3), fn.serial(fn.dense(2))), ((3,), (2,))),
    ],
)
def test_a_summary_names_layers_by_the_paths_of_their_params(model, in_shape):
    expected = {path.rpartition(".")[0] for path, _ in tree.leaves_with_paths(model.init(KEY, in_shape)[0])}
    rows = [line.split() for line in fn.summary(model, in_shape).splitlines()[1:-1]]
    assert {row[0] for row in rows if row[1].startswith("dense")} == expected


@pytest.mark.parametrize(
    "schedule",
    [
        *(fn.cosine(1000.0, 10**10), fn.polynomial(1.0, 0.0, 10**10)),
        *(fn.exponential_decay(1.0, 0.5, 10**10, staircase=True), fn.piecewise([1.0, 0.5], [10**10])),
    ],
    ids=named,
)
def test_schedules_trace_however_many_steps_there_are(schedule):
    assert float(jax.jit(schedule)(5)) == pytest.approx(schedule(5), rel=1e-6)
    assert schedule(int(2e10)) < schedule(5)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([8, 65, *[0, 0, 0, 1] * 65, 7], "sizes that fit into memory"),
        ([8, 3, *[255] * 12], "bytes of values for shape"),
        ([13, 4, *[255] * 12, 0, 0, 0, 0], "sizes that fit into memory"),
    ],
)
def test_idx_headers_that_no_array_has_are_refused(tmp_path, content, expected):
    (tmp_path / "a").write_bytes(bytes([0, 0, *content]))
    with pytest.raises(InputError, match=expected):
        fn.data.read_idx(tmp_path / "a")


@pytest.mark.parametrize("mode", [KEY, True, None, "training"])
@pytest.mark.parametrize("layer", [fn.dropout(0.5), fn.serial(fn.relu()), fn.add(fn.relu())])
def test_a_mode_that_is_none_is_refused_where_it_is_read(layer, mode):
    with pytest.raises(InputError, match=r"expected a mode, Training\(key\) or INFERENCE, got "):
        layer.forward(layer.init(KEY, (3,))[0], np.ones((2, 3), np.float32), mode)


@pytest.mark.parametrize("model", [DENSE, fn.serial(DENSE, fn.relu(), DENSE), fn.layer_norm()], ids=str)
def test_params_that_are_not_unpacked_are_named(model):
    with pytest.raises(InputError, match=r"init gives two things: params, out_shape = "):
        fn.predict(model, model.init(KEY, (3,)), np.ones((1, 3), np.float32))


def test_per_example_gradients_take_several_inputs():
    model = fn.serial(fn.parallel(DENSE, DENSE), fn.summed())
    params, _ = model.init(KEY, ((3,), (3,)))
    batch = fn.Batch(tuple(fn.Key(i).normal((4, 3)) for i in range(2)), np.array([0, 1, 0, 1]))
    each = fn.per_example_gradients(model, CROSS_ENTROPY, params, batch)
    _, together, _ = fn.loss_and_gradient(model, CROSS_ENTROPY, params, batch)
    assert tree.allclose(tree.map(lambda leaf: leaf.mean(axis=0), each), together, rtol=1e-4, atol=1e-6)
