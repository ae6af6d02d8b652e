"""What one can do with any layer."""

import numpy as np
import pytest

import funcnn as fn
from funcnn import INFERENCE, InputError, Key, Training


def test_modes():
    mode = Training(Key(0))
    assert mode.at(3) == Training(Key(0).at(3))
    assert INFERENCE.at(3) is INFERENCE


def test_predict_and_pullback_agree_with_the_functions():
    model = fn.serial(fn.dense(3), fn.softmax())
    params, _ = model.init(Key(0), (2,))
    x = Key(1).normal((4, 2))
    y, residuals = model.forward(params, x, INFERENCE)
    other, pull = fn.pullback(model, params, x)
    assert np.array_equal(y, fn.predict(model, params, x))
    assert np.array_equal(y, other)
    assert fn.tree.equal(pull(y), model.vjp(params, residuals, y))
    assert pull(y, need_dx=False)[1] is None


def test_summary_lists_the_innermost_layers():
    own = fn.Layer(fn.relu().init, fn.relu().forward, fn.relu().vjp)
    model = fn.serial(fn.flatten(), fn.serial(fn.dense(1000), own), fn.serial(), fn.dense(10))
    assert fn.summary(model, (28, 28)).splitlines() == [
        "layer                       output shape  parameters",
        "0 flatten()                 (784,)                 0",
        "1.0 dense(1000)             (1000,)          785,000",
        "1.1 <Layer without a spec>  (1000,)                0",
        "2 serial()                  (1000,)                0",
        "3 dense(10)                 (10,)             10,010",
        "total                                        795,010",
    ]
    sequences = fn.summary(fn.serial(fn.recurrent(fn.gru(), 12), fn.global_avg_pool()), (24, 1)).splitlines()
    assert sequences[1].split() == ["0", "recurrent(gru(),", "12)", "(24,", "12)", "540"]
    assert fn.summary(fn.dense(2), (3,)).splitlines()[1].split() == ["dense(2)", "(2,)", "8"]
    assert fn.summary(fn.embedding(5, 3), (2,)).splitlines()[1].split()[-1] == "15"
    assert fn.summary(fn.dense(2), (np.int64(3),)).splitlines()[-1].split() == ["total", "8"]


def test_summary_refuses_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"serial\[0\] conv2d\(2, \(3, 3\)\): expected inputs \(batch, height"):
        fn.summary(fn.serial(fn.conv2d(2)), (28, 28))
