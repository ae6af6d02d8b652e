"""The table of everything that obeys laws: a new part joins by one row, and every law runs on it."""

import os

import numpy as np
import optax
from toolz import compose

import funcnn as fn
from funcnn.initializers import glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, normal, zeros
from funcnn.optimizers import accumulate_momentum, scale_by_adam, scale_by_learning_rate, scale_by_rms, scale_by_rss
from funcnn.spec import Described

EFFORT = {"examples": int(os.environ["FUNCNN_EXAMPLES"])} if "FUNCNN_EXAMPLES" in os.environ else {"jax": True}
"""How hard the laws are tried: with JAX as second oracle, or, for mutation testing, on that many cases without."""


def named(part):
    """The id of a row, the same in every run: functions and foreign objects would be written with their address."""
    return repr(part) if isinstance(part, Described) else None


LAYERS = [
    (fn.dense(3), (4,)),
    (fn.dense(1, weights=normal(0.01), biases=normal(1.0)), (2,)),
    *((layer, (5,)) for layer in (fn.relu(), fn.leaky_relu(), fn.elu(), fn.elu(0.5), fn.selu(), fn.gelu(), fn.silu())),
    *((layer, (5,)) for layer in (fn.gelu(approximate=True), fn.softplus(), fn.sigmoid(), fn.tanh(), fn.layer_norm())),
    *((layer, (2, 3)) for layer in (fn.relu(), fn.leaky_relu(0.2), fn.layer_norm(eps=0.1), fn.rms_norm(eps=0.1))),
    *((layer, shape) for layer in (fn.softmax(), fn.log_softmax()) for shape in ((4,), (2, 3))),
    *((fn.dropout(rate), (6,)) for rate in (0.4, 0.0)),
    (fn.rms_norm(), (4,)),
    (fn.identity(), (3,)),
    (fn.flatten(), (2, 3, 2)),
    (fn.reshape(3, 2), (6,)),
    (fn.conv2d(2), (4, 5, 3)),
    (fn.conv2d(2, (2, 3), stride=2), (5, 6, 1)),
    (fn.conv2d(3, 2, padding="valid", stride=(2, 1)), (5, 4, 2)),
    (fn.conv2d(1, 3, stride=3), (7, 7, 1)),
    (fn.conv2d(2, 3, padding="valid"), (4, 5, 1)),
    (fn.conv2d(2, 1), (3, 3, 2)),
    (fn.conv2d(26, 2), (4, 5, 1)),  # too wide for whole rows
    (fn.conv2d_transpose(2, (2, 3), stride=2), (2, 3, 3)),
    (fn.conv2d_transpose(3, (1, 3), padding="valid", stride=(2, 1)), (3, 2, 1)),
    (fn.max_pool2d(), (4, 5, 2)),
    (fn.max_pool2d(3, stride=2), (7, 6, 1)),
    (fn.avg_pool2d((2, 1)), (4, 3, 2)),
    (fn.avg_pool2d(2, stride=1), (3, 4, 1)),
    (fn.avg_pool2d(2, stride=3), (5, 10, 2)),
    (fn.add(fn.tanh()), (3,)),
    (fn.add(fn.dense(3), fn.serial(fn.relu(), fn.dense(3))), (4,)),
    (fn.concatenate(fn.tanh()), (3,)),
    (fn.concatenate(fn.identity(), fn.dense(3), fn.serial(fn.dropout(0.5), fn.dense(2))), (4,)),
    (fn.concatenate(fn.identity(), fn.dropout(0.5), fn.tanh()), (2, 3)),
    (fn.residual(fn.serial(fn.dense(4), fn.relu(), fn.dense(3))), (3,)),
    (fn.repeat(2, fn.serial(fn.dense(3), fn.tanh())), (4,)),
    (fn.parallel(fn.dense(3), fn.serial(fn.relu(), fn.dense(2))), ((5,), (4,))),
    (fn.serial(fn.parallel(fn.dropout(0.5), fn.tanh()), fn.parallel(fn.dense(2), fn.identity())), ((3,), (2, 2))),
    (fn.fork(fn.dense(3), fn.tanh()), (4,)),
    (fn.joined(), ((3,), (2,))),
    (fn.joined(-2), ((3, 2), (1, 2))),
    (fn.summed(), ((3,), (3,))),
    (fn.serial(fn.fork(fn.dense(3), fn.relu()), fn.parallel(fn.dense(2), fn.dense(2)), fn.summed()), (4,)),
    (fn.dense(3), (2, 4)),
    (fn.batch_norm(), (3,)),
    (fn.batch_norm(eps=0.1), (2, 3)),
    (fn.attention(2), (3, 4)),
    (fn.attention(1, causal=True), ((3, 4), (3,))),
    (fn.positions(), (3, 4)),
    (fn.positions("sinusoidal"), (3, 5)),
    (fn.conv1d(3), (5, 2)),
    (fn.conv1d(2, 2, stride=2, causal=True), (5, 2)),
    (fn.gru(), ((3,), (4,))),
    (fn.recurrent(fn.gru(), 4), (5, 3)),
    (fn.recurrent(fn.serial(fn.joined(), fn.dense(4), fn.tanh()), 4), (3, 2)),
    (fn.global_avg_pool(), (3, 2, 2)),
    (fn.global_avg_pool(), (5, 2)),
    (fn.upsample2d(3), (3, 2, 2)),
    (fn.serial(), (3,)),
    (fn.serial(fn.dense(4), fn.relu(), fn.dense(3)), (5,)),
    (fn.serial(fn.flatten(), fn.serial(fn.dense(4), fn.relu()), fn.identity(), fn.dense(3), fn.softmax()), (2, 3)),
]


def indices(key, shape):
    """Integers from 0 to 4."""
    return (5 * key.uniform(shape, np.float64)).astype(np.int64)


LAYERS_OF_INDICES = [
    (fn.embedding(5, 3), ()),
    (fn.embedding(5, 2), (3,)),
    (fn.serial(fn.embedding(5, 2), fn.flatten(), fn.dense(3)), (2,)),
]
"""Layers whose inputs are :func:`indices`."""

NOISE = [(fn.dropout(rate), (5,)) for rate in (0.1, 0.5, 0.9)]
"""Layers that are random in training, and right in the mean."""

COMBINATORS = [
    (fn.serial, (3,), 3),
    (fn.add, (3,), 2),
    (fn.concatenate, (3,), 2),
    (fn.fork, (3,), 2),
    (fn.parallel, ((3,), (2,)), 2),
    (fn.residual, (3,), 1),
]
"""Combinators, the shape of their inputs, and of how many layers."""


def labels(key, batch):
    return key.at("outputs").normal((batch, 4), np.float64), key.at("targets").permutation(batch) % 4


def sequences(key, batch):
    outputs = key.at("outputs").normal((batch, 3, 4), np.float64)
    return outputs, indices(key.at("targets"), (batch, 3)) % 4


def one_hot(key, batch):
    outputs, targets = labels(key, batch)
    return outputs, np.eye(4)[targets]


def soft(key, batch):
    outputs, _ = labels(key, batch)
    targets = key.at("soft").uniform((batch, 4), np.float64)
    return outputs, targets / targets.sum(axis=1, keepdims=True)


def through(layer, draw):
    """Outputs as a layer makes them."""

    def drawn(key, batch):
        outputs, targets = draw(key, batch)
        return fn.predict(layer, (), outputs), targets

    return drawn


def probabilities(draw):
    return through(fn.softmax(), draw)


def regression(*shape):
    """Any outputs and targets of this shape."""
    return lambda key, batch: tuple(key.at(i).normal((batch, *shape), np.float64) for i in range(2))


def signs(key, batch):
    outputs, targets = regression(3)(key, batch)
    return outputs, np.sign(targets)


def unit(key, batch):
    return tuple(key.at(i).uniform((batch, 3), np.float64, low=0.01, high=0.99) for i in range(2))


def logits_and_unit(key, batch):
    return regression(3)(key, batch)[0], unit(key, batch)[1]


def two(key, batch):
    """Outputs and targets of two kinds."""
    return tuple(zip(labels(key, batch), regression(3)(key, batch), strict=True))


LOSSES = [
    (fn.joint_loss(fn.softmax_cross_entropy(), fn.mean_squared_error(), weights=(1.0, 0.5)), two),
    *((loss, regression(*shape)) for loss in (fn.mean_squared_error(), fn.huber(0.5)) for shape in ((), (3,), (2, 3))),
    (fn.mean_absolute_error(), regression(3)),
    (fn.huber(), regression(1)),
    (fn.hinge(), signs),
    (fn.sigmoid_binary_cross_entropy(), logits_and_unit),
    (fn.binary_cross_entropy(), unit),
    (fn.kl_divergence(), through(fn.log_softmax(), soft)),
    *((fn.softmax_cross_entropy(label_smoothing=0.1), draw) for draw in (labels, soft)),
    *((fn.softmax_cross_entropy(), draw) for draw in (labels, one_hot, soft, sequences)),
    *((fn.categorical_cross_entropy(), probabilities(draw)) for draw in (labels, one_hot, soft)),
]

OF_CLASSES = [
    *(fn.accuracy, fn.metrics.top_k_accuracy(2), fn.metrics.negative_log_likelihood),
    *(fn.metrics.confusion_matrix, fn.metrics.reliability),
]
METRICS = [
    *((metric, probabilities(draw)) for metric in OF_CLASSES for draw in (labels, one_hot, sequences)),
    (fn.metrics.binary_accuracy, unit),
    (fn.metrics.exact_match, unit),
    (fn.metrics.regression_accuracy(0.3), regression(2, 3)),
]

MERGES = "the values of parts merge to the value of the whole"
OF_CONFUSION = (fn.metrics.precision, fn.metrics.recall, fn.metrics.f1)
METRICS_OF_TABLES = [
    *((compose(metric, fn.metrics.confusion_matrix), labels, [MERGES]) for metric in OF_CONFUSION),
    (compose(fn.metrics.calibration_error, fn.metrics.reliability), probabilities(labels), [MERGES]),
]
"""Metrics that are no means and no sums, and the law that they break therefore: their tables merge instead."""

SCHEDULES = [
    fn.constant(0.1),
    fn.constant(0.0),
    fn.inverse_time_decay(1e-3, decay=1e-5),
    fn.inverse_time_decay(1.0, 0.0),
    fn.exponential_decay(0.1, 0.9),
    fn.exponential_decay(0.1, 0.5, steps=1000, staircase=True),
    fn.polynomial(0.1, 0.01, steps=1000),
    fn.polynomial(0.1, 0.2, steps=30000, power=2.0),
    fn.cosine(0.1, steps=1000),
    fn.cosine(0.1, steps=40000, end=0.01),
    fn.join([fn.constant(0.1), fn.cosine(0.1, steps=1000)], [500]),
    fn.piecewise([0.1, 0.01, 0.001], [1000, 20000]),
    fn.warm_up(fn.inverse_time_decay(0.1, 0.001), steps=1000),
    fn.one_cycle(0.1, steps=50000),
]

OPTIMIZERS = [
    fn.sgd(0.1),
    *(fn.sgd(schedule) for schedule in SCHEDULES if schedule(1) > 0),
    fn.sgd(0.01, momentum=0.9),
    fn.sgd(0.01, momentum=0.9, nesterov=True),
    fn.adam(),
    fn.adam(fn.inverse_time_decay(0.01, decay=0.1), beta1=0.8, beta2=0.99, eps=1e-6),
    fn.adamw(0.01, weight_decay=0.0),
    fn.nadam(0.01),
    fn.lion(0.01, weight_decay=0.0),
    fn.lookahead(fn.adam(0.01), times=3),
    fn.adagrad(0.1),
    fn.adagrad(1.0, initial_accumulator=0.0, eps_placement="outside"),
    fn.rmsprop(0.01),
    fn.rmsprop(0.01, momentum=0.5, eps_placement="outside"),
    fn.chain(accumulate_momentum(0.5), scale_by_learning_rate(0.1)),
    *(
        fn.chain(scale(), scale_by_learning_rate(0.01))
        for scale in (scale_by_adam, scale_by_rms, scale_by_rss, fn.scale_by_lion)
    ),
    fn.chain(fn.clip(0.5), fn.sgd(0.1)),
    fn.skip_if_not_finite(fn.adam(0.01)),
    fn.accumulate(fn.adam(0.01), times=3),
    fn.chain(fn.sgd(0.1), fn.exponential_moving_average(0.9)),
    fn.chain(fn.sgd(0.1), fn.max_norm(100.0, mask="*")),
    fn.nnfs.sgd(0.1, decay=0.01, momentum=0.9),
    fn.nnfs.adagrad(0.5),
    fn.nnfs.rmsprop(0.01, decay=0.1),
    fn.nnfs.adam(0.01, decay=0.1),
]

DECAYS = "zero gradients give exactly zero updates"
LOOKS_AROUND = "a leaf's update does not depend on the tree around it"

EXCEPTIONS = [
    (fn.adamw(0.01, weight_decay=0.1), [DECAYS]),
    (fn.adamw(0.01, weight_decay=0.1, mask="*weights"), [DECAYS, LOOKS_AROUND]),
    (fn.chain(fn.add_decayed_weights(0.1), fn.sgd(0.1)), [DECAYS]),
    (fn.lion(0.01), [DECAYS]),
    (fn.groups({"*": fn.adam(0.01)}), []),
    (fn.chain(fn.sgd(0.1), fn.max_norm(0.5, mask="*")), [DECAYS]),
    (fn.chain(fn.clip_by_global_norm(1.0), fn.sgd(0.1)), [LOOKS_AROUND]),
    *((fn.chain(fn.sgd(0.1), fn.freeze(mask)), [LOOKS_AROUND]) for mask in ("*weights", "*biases*")),
]
"""Optimizers and the laws that they break on purpose."""


def decayed(step):
    return 0.01 / (1 + 0.1 * step)


OPTAX = [
    (fn.sgd(0.1), optax.sgd(0.1)),
    (fn.sgd(0.1, momentum=0.9), optax.sgd(0.1, momentum=0.9)),
    (fn.sgd(0.1, momentum=0.9, nesterov=True), optax.sgd(0.1, momentum=0.9, nesterov=True)),
    (fn.sgd(fn.inverse_time_decay(0.01, 0.1), momentum=0.5), optax.sgd(decayed, momentum=0.5)),
    (fn.adam(), optax.adam(1e-3)),
    (fn.adam(0.01, beta1=0.8, beta2=0.95, eps=1e-3), optax.adam(0.01, b1=0.8, b2=0.95, eps=1e-3)),
    (fn.adam(fn.inverse_time_decay(0.01, 0.1)), optax.adam(decayed)),
    (fn.adamw(0.01, weight_decay=0.1), optax.adamw(0.01, weight_decay=0.1)),
    (fn.lion(0.01, weight_decay=0.1), optax.lion(0.01, weight_decay=0.1)),
    (fn.nadam(0.01), optax.nadam(0.01)),
    (fn.nadam(0.01, beta1=0.8, beta2=0.95, eps=1e-3), optax.nadam(0.01, b1=0.8, b2=0.95, eps=1e-3)),
    (
        fn.adamw(0.01, beta1=0.8, beta2=0.95, eps=0.1, weight_decay=0.1),
        optax.adamw(0.01, b1=0.8, b2=0.95, eps=0.1, weight_decay=0.1),
    ),
    (fn.adagrad(0.1), optax.adagrad(0.1)),
    (fn.adagrad(0.1, 0.5, eps=0.1), optax.adagrad(0.1, initial_accumulator_value=0.5, eps=0.1)),
    (fn.rmsprop(0.01), optax.rmsprop(0.01)),
    (fn.rmsprop(0.01, eps=0.1), optax.rmsprop(0.01, eps=0.1)),
    (fn.rmsprop(0.01, decay=0.8, momentum=0.9), optax.rmsprop(0.01, decay=0.8, momentum=0.9)),
    (fn.rmsprop(0.01, eps=0.1, eps_placement="outside"), optax.rmsprop(0.01, eps=0.1, eps_in_sqrt=False)),
    (fn.chain(fn.clip(0.5), fn.sgd(0.1)), optax.chain(optax.clip(0.5), optax.sgd(0.1))),
    (fn.chain(fn.clip_by_global_norm(1.0), fn.sgd(0.1)), optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))),
    (fn.chain(fn.add_decayed_weights(0.1), fn.sgd(0.1)), optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1))),
    (fn.accumulate(fn.adam(0.1), times=4), optax.MultiSteps(optax.adam(0.1), 4)),
    (fn.sgd(fn.exponential_decay(0.1, 0.5, 10)), optax.sgd(optax.exponential_decay(0.1, 10, 0.5))),
    (fn.sgd(fn.polynomial(0.1, 0.01, 30, 2.0)), optax.sgd(optax.polynomial_schedule(0.1, 0.01, 2.0, 30))),
    (fn.sgd(fn.cosine(0.1, 40)), optax.sgd(optax.cosine_decay_schedule(0.1, 40))),
]
"""Optimizers of ours, and those of Optax whose steps they take."""

PENALTIES = [fn.l1(0.3), fn.l2(0.3), fn.l1(0.1, mask="*"), fn.l2(0.1, mask="*w*s")]

INITIALIZERS = [he_normal(), he_uniform(), glorot_normal(), glorot_uniform(), lecun_normal(), normal(0.3), zeros()]
