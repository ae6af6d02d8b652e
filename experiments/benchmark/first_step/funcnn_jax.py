"""funcnn compiled by JAX."""

import time

import jax
import numpy as np

import funcnn as fn
from funcnn.jax import compiled

noise = np.random.default_rng(0)
batch = fn.Batch(noise.random((128, 784), np.float32), noise.integers(10, size=128))

model = fn.serial(fn.dense(128), fn.relu(), fn.dense(64), fn.relu(), fn.dense(10))
step = fn.train_step(model, fn.softmax_cross_entropy(), fn.adam(1e-3))
params, _ = model.init(fn.Key(0), (784,))
params, state = compiled(step)(params, step.init(params, fn.Key(0)), batch)
jax.device_get(params)

print(time.time())
