"""Standardised inputs: what scikit-learn makes of them, and the params that take them as they were."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

import funcnn as fn
from experiments.digits import standardizer
from experiments.mnist import Config, experiment
from funcnn import Batch, Key

INPUTS = np.concatenate([Key(0).normal((50, 3)) * 7 + 2, np.full((50, 1), 5, np.float32)], axis=1)


def test_inputs_are_those_of_scikit_learn():
    standardized, _ = standardizer(INPUTS)
    scaler = StandardScaler().fit(INPUTS)
    for inputs in (INPUTS, Key(2).normal((50, 4))):
        ours = standardized(Batch(inputs, np.zeros(50, int))).inputs
        np.testing.assert_allclose(ours, scaler.transform(inputs), rtol=1e-4, atol=1e-5)
        assert ours.dtype == np.float32


@pytest.mark.parametrize("first", [fn.identity(), fn.dropout(0.2)])
def test_folded_params_take_the_inputs_as_they_were(first):
    standardized, folded = standardizer(INPUTS)
    model = fn.serial(first, fn.dense(8), fn.tanh(), fn.dense(3))
    params, _ = model.init(Key(3), (4,))
    expected = fn.predict(model, params, standardized(Batch(INPUTS, np.zeros(50, int))).inputs)
    np.testing.assert_allclose(fn.predict(model, folded(params), INPUTS), expected, rtol=1e-3, atol=1e-4)


def test_an_experiment_is_standardized_by_what_it_trains_on_and_saves_what_takes_pixels(tmp_path):
    standard = experiment(Config(scaling="standard", hidden=(4,), validation=0.2))
    train, test = (standard.data[name].inputs for name in ("train", "test"))
    assert len(train) == 3200
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-3)
    deviation = train.std(axis=0)
    np.testing.assert_allclose(deviation[deviation > 0], 1, atol=1e-3)
    params, _ = standard.begin()
    standard.save(tmp_path / "model.safetensors", params)
    saved, pixels = fn.load(tmp_path / "model.safetensors"), fn.load_dataset("mnist_5k").test.inputs
    assert saved.scaling == "unit"
    expected = fn.predict(saved.model, params, test)
    np.testing.assert_allclose(fn.predict(saved.model, saved.params, pixels), expected, rtol=1e-3, atol=1e-3)
