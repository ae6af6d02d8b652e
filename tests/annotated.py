"""What :mod:`tests.test_annotations` runs with every call of funcnn checked against its annotations."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import testing, tree
from funcnn.testing.laws import Case, batch_of, weighted
from tests import catalogue as table

KEY = fn.Key(0)


@pytest.mark.parametrize(("layer", "in_shape"), [*table.LAYERS, *table.LAYERS_OF_INDICES], ids=table.named)
def test_layers(layer, in_shape):
    draw = table.indices if (layer, in_shape) in table.LAYERS_OF_INDICES else fn.Key.normal
    params, _ = layer.init(KEY, in_shape)
    for mode in (fn.INFERENCE, fn.Training(KEY)):
        y, pull = fn.pullback(layer, params, batch_of(in_shape, KEY, 3, draw), mode)
        pull(y)
        pull(y, need_dx=False)
    fn.summary(layer, in_shape)
    fn.diagram(layer, in_shape)


JUDGES = [*table.LOSSES, *table.METRICS, *(row[:2] for row in table.METRICS_OF_TABLES)]


@pytest.mark.parametrize(("part", "draw"), JUDGES, ids=table.named)
def test_losses_and_metrics(part, draw):
    for outputs, targets, weights in ((*draw(KEY, 4), None), weighted(draw, Case(KEY, 4))):
        if isinstance(part, fn.Loss):
            part.vjp(part.forward(outputs, targets, weights)[1])
        else:
            part(outputs, targets, weights)


@pytest.mark.parametrize("optimizer", table.OPTIMIZERS, ids=table.named)
def test_optimizers(optimizer):
    params = {"w": KEY.normal((3, 2)), "b": (KEY.normal((2,)),)}
    state = optimizer.init(params)
    for _ in range(4):
        updates, state = optimizer.update(params, state, params)
        fn.apply_updates(params, updates)


@pytest.mark.parametrize("part", table.SCHEDULES + table.INITIALIZERS + table.PENALTIES, ids=table.named)
def test_other_parts(part):
    if isinstance(part, fn.Schedule):
        part(3)
    elif isinstance(part, fn.Initializer):
        part(KEY, (3, 2), np.float32)
    else:
        tree.leaves((part.value({"0": {"weights": np.ones(3)}}), part.gradient({"0": {"weights": np.ones(3)}})))


def test_checkers():
    """One case of each, where their doctests would try many."""
    testing.check_layer(fn.dense(3), (4,), examples=1)
    testing.check_loss(fn.softmax_cross_entropy(), table.labels, examples=1)
    testing.check_metric(fn.accuracy, table.labels, examples=1)
    testing.check_optimizer(fn.sgd(0.1), examples=1)
    testing.check_schedule(fn.constant(0.1), examples=1)
