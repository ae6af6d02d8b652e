"""Keras on JAX."""

import os
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from keras import layers

noise = np.random.default_rng(0)
inputs, targets = noise.random((128, 784), np.float32), noise.integers(10, size=128)

hidden = (layers.Dense(128, activation="relu"), layers.Dense(64, activation="relu"))
model = keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.train_on_batch(inputs, targets)

print(time.time())
