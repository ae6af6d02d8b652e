"""Standardised inputs: what scikit-learn makes of them, and the params that take them as they were."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

import funcnn as fn
from experiments.config import Config, experiment
from experiments.run import beginning
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


def test_an_experiment_is_standardized_by_what_it_trains_on():
    data = fn.Dataset("tiny", SAMPLES, SAMPLES, ("a", "b", "c"), "unit")
    planned = experiment(Config(scaling="standard", hidden=(4,), validation=0.2), data)
    np.testing.assert_allclose(planned.train.inputs.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(planned.train.inputs.std(axis=0), [1, 1, 1, 0], atol=1e-5)
    params = beginning(planned).params
    expected = fn.predict(planned.model, params, planned.test.inputs)
    np.testing.assert_allclose(
        fn.predict(planned.model, planned.as_saved(params), INPUTS), expected, rtol=1e-3, atol=1e-4
    )
