"""Keras on JAX, or on what KERAS_BACKEND says; it draws its own batches."""

import os
from functools import partial
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")  # before the import, which reads it

import keras

from experiments.benchmark.workloads import CLASSES, PIECE, PIXELS, Ready, Task


def network(task: Task) -> Any:
    """Dense layers with the params to begin with."""
    hidden = (keras.layers.Dense(width, activation="relu") for width in task.workload.hidden)
    model = keras.Sequential([keras.Input((PIXELS,)), *hidden, keras.layers.Dense(CLASSES)])
    model.set_weights(task.params())
    return model


def training(task: Task) -> Ready:
    """A call an epoch."""
    model, workload = network(task), task.workload
    sgd, adam = keras.optimizers.SGD(0.1), keras.optimizers.Adam(1e-3, epsilon=1e-8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile({"sgd": sgd, "adam": adam}[workload.optimizer], loss)

    fit = partial(model.fit, task.inputs, task.targets, batch_size=workload.batch, verbose=0)
    return Ready(lambda _: fit().history["loss"])


def inference(task: Task) -> Ready:
    """Keras cuts the pieces."""
    model = network(task)

    return Ready(lambda _: model.predict(task.inputs, batch_size=PIECE, verbose=0))
