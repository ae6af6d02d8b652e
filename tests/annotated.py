"""What :mod:`tests.test_annotations` runs with every call of funcnn checked against its annotations."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import tree
from funcnn.testing.laws import Case, batch_of, weighted
from tests.catalogue import (
    INITIALIZERS,
    LAYERS,
    LAYERS_OF_INDICES,
    LOSSES,
    METRICS,
    METRICS_OF_TABLES,
    OPTIMIZERS,
    PENALTIES,
    SCHEDULES,
    indices,
    named,
)

KEY = fn.Key(0)


@pytest.mark.parametrize(("layer", "in_shape"), [*LAYERS, *LAYERS_OF_INDICES], ids=named)
def test_layers(layer, in_shape):
    draw = indices if (layer, in_shape) in LAYERS_OF_INDICES else fn.Key.normal
    params, _ = layer.init(KEY, in_shape)
    for mode in (fn.INFERENCE, fn.Training(KEY)):
        y, pull = fn.pullback(layer, params, batch_of(in_shape, KEY, 3, draw), mode)
        pull(y)
        pull(y, need_dx=False)
    fn.summary(layer, in_shape)


@pytest.mark.parametrize(("loss", "draw"), LOSSES, ids=named)
def test_losses(loss, draw):
    for arguments in (draw(KEY, 4), weighted(draw, Case(KEY, 4))):
        loss.vjp(loss.forward(*arguments)[1])


@pytest.mark.parametrize(("metric", "draw"), METRICS + [row[:2] for row in METRICS_OF_TABLES], ids=named)
def test_metrics(metric, draw):
    for arguments in ((*draw(KEY, 4), None), weighted(draw, Case(KEY, 4))):
        metric(*arguments)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=named)
def test_optimizers(optimizer):
    params = {"w": KEY.normal((3, 2)), "b": (KEY.normal((2,)),)}
    state = optimizer.init(params)
    for _ in range(4):
        updates, state = optimizer.update(params, state, params)
        fn.apply_updates(params, updates)


@pytest.mark.parametrize("part", SCHEDULES + INITIALIZERS + PENALTIES, ids=named)
def test_other_parts(part):
    if isinstance(part, fn.Schedule):
        part(3)
    elif isinstance(part, fn.Initializer):
        part(KEY, (3, 2), np.float32)
    else:
        tree.leaves((part.value({"0": {"weights": np.ones(3)}}), part.gradient({"0": {"weights": np.ones(3)}})))
