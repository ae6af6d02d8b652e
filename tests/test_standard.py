"""Standardised inputs: what scikit-learn makes of them, and the params that take them as they were."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

import funcnn as fn
from experiments.mnist import Config, experiment
from experiments.standard import folded, standardized, statistics
from funcnn import Batch, Key

INPUTS = np.concatenate([Key(0).normal((50, 3)) * 7 + 2, np.full((50, 1), 5, np.float32)], axis=1)
SAMPLES = Batch(INPUTS, Key(1).permutation(50) % 3)


def test_inputs_are_those_of_scikit_learn():
    new = Batch(Key(2).normal((20, 4)), SAMPLES.targets[:20])
    scaler = StandardScaler().fit(INPUTS)
    for samples in (SAMPLES, new):
        ours = standardized(statistics(INPUTS), samples)
        np.testing.assert_allclose(ours.inputs, scaler.transform(samples.inputs), rtol=1e-4, atol=1e-5)
        assert ours.inputs.dtype == np.float32


@pytest.mark.parametrize("model", [fn.dense(3), fn.dropout(0.2)], ids=["dense first", "dropout first"])
def test_folded_params_take_the_inputs_as_they_were(model):
    model, over = fn.serial(model, fn.dense(8), fn.tanh(), fn.dense(3)), statistics(INPUTS)
    params, _ = model.init(Key(3), (4,))
    expected = fn.predict(model, params, standardized(over, SAMPLES).inputs)
    np.testing.assert_allclose(fn.predict(model, folded(over, params), INPUTS), expected, rtol=1e-3, atol=1e-4)


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
    seen = train.std(axis=0) > 0  # elsewhere a pixel of the test samples can be far off
    assert seen.sum() > 600
    expected = fn.predict(saved.model, params, test)
    np.testing.assert_allclose(fn.predict(saved.model, saved.params, pixels), expected, rtol=1e-3, atol=1e-3)
