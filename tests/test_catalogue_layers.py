"""What the laws cannot know of the catalogue: that each layer is the function its name promises."""

import re

import array_api_strict
import jax
import numpy as np
import pytest
from scipy import special as scipy_special

import funcnn as fn
from funcnn import INFERENCE, InputError, Key, Training, special, tree
from funcnn.arrays import namespace
from funcnn.jax import to_jax, to_numpy
from funcnn.layers.windows import Windows, strided
from funcnn.testing import assert_trees_close, check_layer
from funcnn.testing.laws import randomized
from tests.catalogue import EFFORT, named

X = np.linspace(-8, 8, 1601)[None]

ACTIVATIONS = [
    (fn.relu(), jax.nn.relu),
    (fn.leaky_relu(), jax.nn.leaky_relu),
    (fn.leaky_relu(0.3), lambda x: jax.nn.leaky_relu(x, 0.3)),
    (fn.elu(), jax.nn.elu),
    (fn.elu(0.5), lambda x: jax.nn.elu(x, 0.5)),
    (fn.selu(), jax.nn.selu),
    (fn.gelu(), lambda x: jax.nn.gelu(x, approximate=False)),
    (fn.gelu(approximate=True), lambda x: jax.nn.gelu(x, approximate=True)),
    (fn.silu(), jax.nn.silu),
    (fn.softplus(), jax.nn.softplus),
    (fn.sigmoid(), jax.nn.sigmoid),
    (fn.tanh(), jax.numpy.tanh),
    (fn.softmax(), jax.nn.softmax),
    (fn.log_softmax(), jax.nn.log_softmax),
]


@pytest.mark.parametrize(("layer", "reference"), ACTIVATIONS, ids=named)
def test_activations_are_those_of_jax(layer, reference):
    with jax.enable_x64(True):
        expected = np.asarray(reference(X))
    assert_trees_close(fn.predict(layer, (), X), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("layer", "reference"), ACTIVATIONS, ids=named)
def test_activations_overflow_nowhere(layer, reference):
    x = np.array([[-1e4, -100.0, 0.0, 100.0, 1e4]], np.float32)
    y, pull = fn.pullback(layer, (), x)
    assert np.isfinite(y).all()
    assert np.isfinite(pull(np.ones_like(x))[1]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(special.sigmoid, scipy_special.expit), (special.normal_cdf, scipy_special.ndtr)]
)
def test_tails_keep_their_digits(ours, theirs, dtype):
    x = np.linspace(-12, 12, 500, dtype=dtype)
    assert ours(x).dtype == dtype
    assert ours(x) == pytest.approx(theirs(x.astype(np.float64)), rel=float(150 * np.finfo(dtype).eps))


@pytest.mark.parametrize("namespace", [np, jax.numpy, array_api_strict], ids=lambda xp: xp.__name__)
def test_a_segment_sum_is_that_of_jax(namespace):
    rows, segments = Key(0).normal((50, 3, 2)), Key(1).permutation(50) % 7
    found = special.segment_sum(namespace.asarray(rows), namespace.asarray(segments), 9)
    assert_trees_close(np.asarray(found), np.asarray(jax.ops.segment_sum(rows, segments, 9)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        *((*row, "SAME") for row in (((3, 3), (1, 1)), ((1, 1), (1, 1)), ((2, 3), (2, 1)), ((1, 4), (3, 2)))),
        ((3, 3), (2, 2), "VALID"),
    ],
)
def test_convolution_is_that_of_jax(kernel, stride, padding):
    layer = fn.conv2d(4, kernel, stride=stride, padding=padding.lower())
    params, out_shape = layer.init(Key(0), (7, 9, 3), dtype=np.float64)
    params, x = randomized(params, Key(1)), Key(2).normal((2, 7, 9, 3), np.float64)
    with jax.enable_x64(True):
        dimensions = ("NHWC", "HWIO", "NHWC")
        expected = np.asarray(
            jax.lax.conv_general_dilated(x, np.array(params.weights), stride, padding, dimension_numbers=dimensions)
        )
    y = fn.predict(layer, params, x)
    assert y.shape == (2, *out_shape)
    assert_trees_close(y, expected + params.biases, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch", [2, 16])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), (1, 1)), ((4, 4), (2, 2)), ((1, 2), (3, 2)), ((2, 5), (1, 3))])
def test_transposed_convolution_is_that_of_jax(kernel, stride, padding, batch):
    layer = fn.conv2d_transpose(4, kernel, stride=stride, padding=padding.lower())
    params, out_shape = layer.init(Key(0), (4, 5, 3), dtype=np.float64)
    params, x = randomized(params, Key(1)), Key(2).normal((batch, 4, 5, 3), np.float64)
    with jax.enable_x64(True):
        weights = np.moveaxis(params.weights, 2, 3)
        expected = np.asarray(jax.lax.conv_transpose(x, weights, stride, padding, transpose_kernel=True))
    y = fn.predict(layer, params, x)
    assert y.shape == (batch, *out_shape)
    assert_trees_close(y, expected + params.biases, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pools_are_the_maximum_and_mean_of_each_window(stride):
    x = Key(0).normal((2, 5, 6, 3), np.float64)
    largest = fn.predict(fn.max_pool2d(2, stride=stride), (), x)
    mean = fn.predict(fn.avg_pool2d(2, stride=stride), (), x)
    for r, c in np.ndindex(*largest.shape[1:3]):
        window = x[:, r * stride : r * stride + 2, c * stride : c * stride + 2]
        assert np.array_equal(largest[:, r, c], window.max(axis=(1, 2)))
        assert mean[:, r, c] == pytest.approx(window.mean(axis=(1, 2)))


def test_of_equal_values_the_first_has_the_gradient():
    _, pull = fn.pullback(fn.max_pool2d(), (), np.zeros((1, 2, 2, 1)))
    assert pull(np.ones((1, 1, 1, 1)))[1].ravel().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_images_smaller_than_a_window_are_refused():
    with pytest.raises(InputError, match=r"^windows: expected images of at least 2 x 3, got 1 x 3$"):
        Windows((2, 3), (1, 1)).of(np.ones((1, 1, 3, 1)))


def test_laying_windows_back_counts_how_often_a_pixel_is_seen():
    windows = Windows((2, 3), (1, 2))
    counts = windows.laid_back(windows.of(np.ones((1, 4, 5, 1))), (4, 5))[0, :, :, 0]
    assert counts.tolist() == [[1, 1, 2, 1, 1], [2, 2, 4, 2, 2], [2, 2, 4, 2, 2], [1, 1, 2, 1, 1]]


WINDOWS = [
    Windows((3, 3), (1, 1)),
    Windows((5, 2), (1, 3)),
    Windows((1, 1), (2, 2)),
    Windows((2, 2), (3, 2)),
    Windows((2, 3), (2, 1), "same"),
]


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_strided_windows_are_the_stacked_ones(windows, dtype, channels):
    x = Key(0).normal((2, 7, 6, channels), dtype)
    for image in (x, np.asfortranarray(x), x[:, ::-1], x[:0], x[1::5]):
        assert np.array_equal(strided(windows, image), windows.of(image))


def test_an_image_one_pixel_wide_has_its_windows_whatever_its_strides():
    x = Key(0).normal((2, 3, 9, 4))[:, :, ::9]
    assert np.array_equal(strided(Windows((2, 1), (1, 1)), x), Windows((2, 1), (1, 1)).of(x))


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_laid_back_with_the_batch_last_is_the_plain_sum(windows):
    rows, columns = windows.patches(np.ones((1, 7, 6, 1))).shape[1:3]
    y = Key(0).permutation(16 * rows * columns * 4).astype(np.float32).reshape(16, rows, columns, 4) % 16  # exact sums
    weights = np.arange(windows.size[0] * windows.size[1] * 3 * 4, dtype=np.float32).reshape(*windows.size, 3, 4) - 9
    found = windows.spread(y, weights, (7, 6))
    assert np.array_equal(found, np.concatenate([windows.spread(y[i : i + 1], weights, (7, 6)) for i in range(16)]))


def test_windows_that_are_kept_give_the_same_gradients():
    layer = fn.conv2d(2)
    params, x = layer.init(Key(0), (5, 6, 3))[0], Key(1).normal((4, 5, 6, 3))
    y, kept = layer.forward(params, x, Training(Key(2)))
    _, fresh = layer.forward(params, x, INFERENCE)
    assert kept[1] is not None
    assert fresh[1] is None
    assert_trees_close(layer.vjp(params, kept, y), layer.vjp(params, fresh, y), rtol=0, atol=0)


def test_dropout_drops_with_its_rate_and_keeps_the_mean():
    x = np.ones((200, 500))
    mode = Training(Key(0))
    y, pull = fn.pullback(fn.dropout(0.3), (), x, mode)
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert np.unique(y).tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert np.array_equal(pull(x)[1], y)
    assert np.array_equal(fn.predict(fn.dropout(0.3), (), x), x)
    assert not np.array_equal(y, fn.dropout(0.3).forward((), x, Training(Key(1)))[0])


def test_layer_norm_normalizes_each_sample():
    x = 5 + 3 * Key(0).normal((4, 50), np.float64)
    params, _ = fn.layer_norm().init(Key(0), (50,), dtype=np.float64)
    y = fn.predict(fn.layer_norm(), params, x)
    assert y.mean(axis=1) == pytest.approx(np.zeros(4), abs=1e-12)
    assert y.std(axis=1) == pytest.approx(np.ones(4), rel=1e-5)
    params, _ = fn.rms_norm().init(Key(0), (50,), dtype=np.float64)
    y = fn.predict(fn.rms_norm(), params, x)
    assert np.sqrt((y**2).mean(axis=1)) == pytest.approx(np.ones(4), rel=1e-5)


def test_embedding_takes_rows_and_adds_up_their_gradients():
    layer = fn.embedding(5, 3)
    params, out_shape = layer.init(Key(0), (2,), dtype=np.float64)
    x = np.array([[0, 4], [4, 4]])
    y, pull = fn.pullback(layer, params, x)
    assert out_shape == (2, 3)
    assert np.array_equal(y, params.table[x])
    dparams, dx = pull(np.ones_like(y))
    assert dparams.table[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 3.0]
    assert dx is None


def test_an_embedding_keeps_the_dtype_also_on_jax():
    layer, x = fn.embedding(5, 3), np.array([[0, 4], [4, 4]])
    params, _ = layer.init(Key(0), (2,))
    y, residuals = layer.forward(to_jax(params), jax.numpy.asarray(x), INFERENCE)
    dparams, dx = layer.vjp(to_jax(params), residuals, y)
    expected, pull = fn.pullback(layer, params, x)
    assert_trees_close(to_numpy((y, dparams)), (expected, pull(expected)[0]))
    assert dx is None


def test_parallel_keeps_its_inputs_apart():
    model = fn.serial(fn.parallel(fn.dense(3), fn.serial(fn.dense(2), fn.relu())))
    params, out_shape = model.init(Key(0), ((5,), (4,)), dtype=np.float64)
    x = Key(1).normal((6, 5), np.float64), Key(2).normal((6, 4), np.float64)
    y, residuals = model.forward(params, x, INFERENCE)
    assert out_shape == ((3,), (2,))
    assert np.array_equal(y[0], fn.predict(fn.dense(3), params[0][0], x[0]))
    dparams, dx = model.vjp(params, residuals, y)
    assert [leaf.shape for leaf in dx] == [(6, 5), (6, 4)]
    assert fn.parallel(fn.tanh(), fn.tanh()).vjp(((), ()), x, x)[1] is not None
    assert tree.same_structure(dparams, params)


def test_a_small_convolutional_net_learns():
    model = fn.serial(
        *(fn.reshape(28, 28, 1), fn.conv2d(8, stride=2), fn.relu(), fn.max_pool2d()),
        *(fn.flatten(), fn.layer_norm(), fn.dense(10)),
    )
    data, key, loss, optimizer = fn.load_dataset("mnist_5k"), Key(0), fn.softmax_cross_entropy(), fn.adam(3e-3)
    params, _ = model.init(key.at("init"), (784,))
    step = fn.train_step(model, loss, optimizer)
    state = step.init(params, key.at("train"))
    for epoch in range(2):
        for batch in fn.batches(key.at("epoch", epoch), data.train, 32):
            params, state = step(params, state, batch)
    assert fn.evaluate(model, loss, params, data.test, metrics={"accuracy": fn.accuracy})["accuracy"] > 0.85


@pytest.mark.parametrize(
    "layer",
    [
        fn.elementwise(lambda x: x**3, lambda x: 3 * x**2),
        fn.elementwise(lambda x: namespace(x).exp(x), lambda y: y, of="y"),
    ],
    ids=["of x", "of y"],
)
def test_an_elementwise_layer_obeys_the_laws_and_names_itself(layer):
    check_layer(layer, (3,), **EFFORT)
    with pytest.raises(InputError, match=r"^elementwise\(\): expected floating inputs"):
        fn.predict(layer, (), np.arange(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fn.dropout(1.0), r"dropout: expected a rate, the probability to drop, in \[0, 1\), got 1.0"),
        (lambda: fn.dropout(-0.1), r"dropout: expected a rate, .*, got -0.1"),
        (lambda: fn.dropout("half"), r"dropout: expected a rate, .*, got 'half'"),
        (lambda: fn.leaky_relu(1.0), r"leaky_relu: expected a slope in \[0, 1\), got 1.0"),
        (lambda: fn.leaky_relu(-0.1), r"leaky_relu: expected a slope in \[0, 1\), got -0.1"),
        (lambda: fn.elu(0.0), "elu: expected an alpha above 0, got 0.0"),
        (lambda: fn.layer_norm(0.0), "layer_norm: expected an eps above 0, got 0.0"),
        (lambda: fn.elementwise(abs, abs, of="z"), "elementwise: expected of to be 'x' or 'y', got 'z'"),
        (lambda: fn.reshape(0, 3), r"reshape: expected sizes that are positive whole numbers, got \(0, 3\)"),
        (lambda: fn.reshape(2, 3).init(Key(0), (5,)), r"reshape\(2, 3\): expected 6 elements a sample, got 5: \(5,\)"),
        (lambda: fn.conv2d(0), "conv2d: expected features to be a positive whole number, got 0"),
        (lambda: fn.conv2d_transpose(0), "conv2d_transpose: expected features to be a positive whole number, got 0"),
        (lambda: fn.conv2d(3, (3, 0)), r"conv2d: expected kernel to be one or two .* numbers, got \(3, 0\)"),
        (lambda: fn.conv2d(3, padding="full"), "conv2d: expected a padding of 'same' or 'valid', got 'full'"),
        (
            lambda: fn.conv2d(3).init(Key(0), (784,)),
            r"conv2d\(3, \(3, 3\)\): expected inputs \(batch, height, width, channels\), got \(batch, 784\); "
            r"put reshape\(height, width, channels\) before it",
        ),
        (
            lambda: fn.conv2d(3, padding="valid").init(Key(0), (2, 9, 1)),
            r"conv2d\(3, \(3, 3\)\): expected images of at least 3 x 3, got 2 x 9",
        ),
        (
            lambda: fn.conv1d(2, 5, padding="valid").init(Key(0), (3, 4)),
            r"conv1d\(2, 5\): expected sequences of at least 5 positions, got 3",
        ),
        (
            lambda: fn.predict(fn.global_avg_pool(), (), np.ones((2, 3))),
            r"global_avg_pool: expected inputs \(batch, ..., channels\), got \(2, 3\)",
        ),
        (lambda: fn.avg_pool2d(2, stride=0), "avg_pool2d: expected stride to be one or two .* numbers, got 0"),
        (lambda: fn.embedding(0, 3), "embedding: expected vocabulary to be a positive whole number, got 0"),
        (lambda: fn.embedding(3, 0), "embedding: expected features to be a positive whole number, got 0"),
        (lambda: embed(np.array([-1])), r"embedding\(5, 3\): expected integers from 0 to 4, got values from -1 to -1"),
        (lambda: fn.conv2d(3, (3, 3, 3)), r"conv2d: expected kernel .* numbers, got \(3, 3, 3\)"),
        (lambda: fn.conv2d(3, stride=0), "conv2d: expected stride to be one or two positive whole numbers, got 0"),
        (
            lambda: fn.predict(fn.conv2d(3), fn.conv2d(3).init(Key(0), (4, 4, 2))[0], np.ones((2, 4, 4, 3))),
            r"conv2d\(3, \(3, 3\)\): expected inputs \(batch, height, width, 2\), got \(2, 4, 4, 3\)",
        ),
        (
            lambda: fn.predict(fn.conv2d(3), fn.conv2d(3).init(Key(0), (4, 4, 2))[0], np.ones((2, 4, 2))),
            r"conv2d\(3, \(3, 3\)\): expected inputs \(batch, height, width, 2\), got \(2, 4, 2\)",
        ),
        (lambda: fn.avg_pool2d((3, 2)).init(Key(0), (2, 9, 1)), r"avg_pool2d\(\(3, 2\)\): .* 3 x 2, got 2 x 9"),
        (lambda: fn.max_pool2d().init(Key(0), (28, 28)), r"max_pool2d\(\(2, 2\)\): .*, got \(batch, 28, 28\); .*"),
        (lambda: fn.predict(fn.max_pool2d(3), (), np.ones((1, 2, 9, 1))), r"max_pool2d\(\(3, 3\)\): .*, got 2 x 9"),
        (lambda: fn.rms_norm(0.0), "rms_norm: expected an eps above 0, got 0.0"),
        (lambda: fn.max_pool2d(0), "max_pool2d: expected size to be one or two positive whole numbers, got 0"),
        (lambda: fn.layer_norm().init(Key(0), ()), r"layer_norm: expected inputs \(batch, ..., f.*, got \(batch,\)"),
        (lambda: fn.rms_norm().init(Key(0), ()), r"rms_norm: expected inputs \(batch, ..., features\), got \(batch,\)"),
        (lambda: fn.dense(3, biases=7), r"dense biases: expected an initializer, got 7; call its constructor: .*"),
        (lambda: embed(np.array([5])), r"embedding\(5, 3\): expected integers from 0 to 4, got values from 5 to 5"),
        (lambda: embed(np.array([1.0])), r"embedding\(5, 3\): expected integers, got float64"),
        (lambda: fn.add(), "add: expected at least one layer, got none"),
        (lambda: fn.concatenate(), "concatenate: expected at least one layer, got none"),
        (lambda: fn.parallel(), "parallel: expected at least one layer, got none"),
        (lambda: fn.add(fn.tanh(), 3), r"add\[1\]: expected a Layer, got 3; call its constructor: relu\(\)"),
        (
            lambda: fn.concatenate(fn.tanh(), fn.flatten()).init(Key(0), (2, 3)),
            r"concatenate: expected layers with the same output shape but for the last axis, got \(\(2, 3\), \(6,\)\)",
        ),
        (
            lambda: fn.add(fn.dense(3), fn.dense(4)).init(Key(0), (5,)),
            r"add: expected layers with the same output shape, got \(\(3,\), \(4,\)\)",
        ),
        (lambda: fn.residual(fn.dense(3)).init(Key(0), (5,)), r"residual: expected layers .* same output shape.*"),
        (lambda: together(fn.summed(), (2, 1)), r"summed: expected inputs of the same shape, got \[\(2, 1\), .*"),
        (lambda: together(fn.joined(), (2, 4, 1)), r"joined: .* but for axis -1, got \[\(2, 4, 1\), \(2, 3\)\]"),
        (lambda: fn.concatenate(fn.relu), r"concatenate\[0\]: expected a Layer, got <function relu at .*"),
        (lambda: fn.add(fn.dense(3), fn.conv2d(2)).init(Key(0), (2, 3)), r"add\[1\] conv2d\(2, \(3, 3\)\): .*"),
        (
            lambda: fn.parallel(fn.relu()).init(Key(0), ((3,), (4,))),
            r"parallel: expected a tuple of 1 input shapes, got \(\(3,\), \(4,\)\)",
        ),
        (lambda: fn.repeat(0, fn.relu()), "repeat: expected times to be a positive whole number up to 10,000, got 0"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()


def together(layer, shape):
    return fn.predict(layer, (), (np.ones(shape), np.ones((2, 3))))


def embed(x):
    layer = fn.embedding(5, 3)
    return fn.predict(layer, layer.init(Key(0), ())[0], x)


@pytest.mark.parametrize("features", [1, 4, 5])
def test_sinusoidal_positions_are_waves_of_geometric_lengths(features):
    found = fn.predict(fn.positions("sinusoidal"), (), np.zeros((2, 7, features)))
    for t, row in enumerate(found[1]):
        angles = [t / 10000 ** (2 * (i // 2) / features) for i in range(features)]
        assert row.tolist() == pytest.approx([np.cos(a) if i % 2 else np.sin(a) for i, a in enumerate(angles)])


WIDE = fn.initializers.normal(3.0)


@pytest.mark.parametrize(
    ("layer", "in_shape"),
    [
        (fn.dense(3, weights=WIDE), (2,)),
        (fn.conv2d(2, 3, weights=WIDE), (4, 4, 1)),
        (fn.conv1d(2, 3, weights=WIDE), (4, 1)),
        (fn.conv2d_transpose(2, 3, weights=WIDE), (4, 4, 1)),
        (fn.embedding(5, 3, table=WIDE), (4,)),
        (fn.positions(table=WIDE), (4, 2)),
        (fn.attention(2, weights=WIDE), (3, 4)),
        (fn.gru(weights=WIDE), ((3,), (4,))),
        (fn.recurrent(fn.gru(weights=WIDE), 4), (5, 3)),
    ],
    ids=named,
)
def test_a_layer_draws_by_its_initializer_and_from_the_key_of_its_path(layer, in_shape):
    drawn = {path: leaf for path, leaf in tree.leaves_with_paths(layer.init(Key(3), in_shape)[0]) if "bias" not in path}
    assert drawn
    for path, leaf in drawn.items():
        assert tree.equal(leaf, WIDE(Key(3).at(*path.split(".")), leaf.shape, np.float32)), path


@pytest.mark.parametrize(
    ("layer", "in_shape", "message"),
    [
        (fn.attention(2), ((3, 4), (4,)), r"attention\(2\): expected weights \(batch, 3\), got \(4,\)"),
        (fn.gru(), (3,), r"gru\(\): expected inputs \(batch, in\) and a state \(batch, features\), got \(3,\)"),
    ],
    ids=named,
)
def test_shapes_that_do_not_fit_are_refused(layer, in_shape, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        layer.init(Key(0), in_shape)


def test_a_cell_needs_a_state():
    params, _ = fn.gru().init(Key(0), ((3,), (4,)))
    with pytest.raises(InputError, match=r"^gru\(\): expected a tuple of x and state, got ndarray$"):
        fn.predict(fn.gru(), params, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("batch_size", [1, 3, 11, 1000])
def test_statistics_are_those_of_all_samples_however_they_are_split(batch_size):
    x = 3 + 2 * Key(1).normal((11, 5, 2), np.float64)
    model = fn.serial(fn.batch_norm(), fn.dense(3), fn.batch_norm())
    before, _ = model.init(Key(0), (5, 2), dtype=np.float64)
    first, dense, second = fn.calibrated(model, before, x, batch_size=batch_size)
    hidden = fn.predict(fn.serial(fn.batch_norm(), fn.dense(3)), (first, dense), x)
    for found, seen in ((first, x), (second, hidden)):
        assert_trees_close(found.mean, seen.mean(axis=(0, 1)), rtol=1e-12)
        assert_trees_close(found.variance, seen.var(axis=(0, 1)), rtol=1e-12)
    assert tree.equal((dense, first.scale, first.offset), (before[1], before[0].scale, before[0].offset))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fn.recurrent(fn.batch_norm(), 3),
            "recurrent: expected a cell without batch_norm, got batch_norm(); layer_norm() does without",
        ),
        (
            lambda: fn.recurrent(fn.serial(fn.joined(), fn.dense(4)), 3).init(Key(0), (5, 2)),
            "recurrent: expected a cell that gives a state (3,), got (4,)",
        ),
        (
            lambda: fn.predict(fn.recurrent(fn.gru(), 3), (), np.ones(2)),
            "recurrent: expected inputs (batch, length, ...), got (2,)",
        ),
    ],
)
def test_cells_and_sequences_that_do_not_fit_are_refused(call, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()
