"""The table of everything that obeys laws: a new part joins by one row, and every law runs on it."""

import numpy as np

import funcnn as fn
from funcnn.initializers import glorot_normal, glorot_uniform, he_normal, he_uniform, normal, zeros
from funcnn.optimizers import accumulate_momentum, scale_by_learning_rate

LAYERS = [
    (fn.dense(3), (4,)),
    (fn.dense(1, weights=normal(0.01), biases=normal(1.0)), (2,)),
    (fn.relu(), (5,)),
    (fn.relu(), (2, 3)),
    (fn.softmax(), (4,)),
    (fn.softmax(), (2, 3)),
    (fn.flatten(), (2, 3, 2)),
    (fn.identity(), (3,)),
    (fn.serial(), (3,)),
    (fn.serial(fn.dense(4), fn.relu(), fn.dense(3)), (5,)),
    (fn.serial(fn.flatten(), fn.serial(fn.dense(4), fn.relu()), fn.identity(), fn.dense(3), fn.softmax()), (2, 3)),
]


def labels(key, batch):
    return key.at("outputs").normal((batch, 4), np.float64), key.at("targets").permutation(batch) % 4


def one_hot(key, batch):
    outputs, targets = labels(key, batch)
    return outputs, np.eye(4)[targets]


def soft(key, batch):
    outputs, _ = labels(key, batch)
    targets = key.at("soft").uniform((batch, 4), np.float64)
    return outputs, targets / targets.sum(axis=1, keepdims=True)


def probabilities(draw):
    """Outputs that are probabilities, as a softmax layer makes them."""

    def drawn(key, batch):
        outputs, targets = draw(key, batch)
        return fn.predict(fn.softmax(), (), outputs), targets

    return drawn


LOSSES = [
    (loss, domain(draw))
    for loss, domain in (
        (fn.softmax_cross_entropy(), lambda draw: draw),
        (fn.categorical_cross_entropy(), probabilities),
    )
    for draw in (labels, one_hot, soft)
]

OPTIMIZERS = [
    fn.sgd(0.1),
    fn.sgd(fn.inverse_time_decay(0.1, decay=0.01)),
    fn.sgd(0.01, momentum=0.9),
    fn.sgd(0.01, momentum=0.9, nesterov=True),
    fn.adam(),
    fn.adam(fn.inverse_time_decay(0.01, decay=0.1), beta1=0.8, beta2=0.99, eps=1e-6),
    fn.chain(accumulate_momentum(0.5), scale_by_learning_rate(0.1)),
]

SCHEDULES = [
    fn.constant(0.1),
    fn.constant(0.0),
    fn.inverse_time_decay(1e-3, decay=1e-5),
    fn.inverse_time_decay(1.0, 0.0),
]

INITIALIZERS = [he_normal(), he_uniform(), glorot_normal(), glorot_uniform(), normal(0.3), zeros()]
