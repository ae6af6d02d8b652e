"""Keras on JAX, or on what KERAS_BACKEND says; it draws its own batches."""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")  # before the import, which reads it

import keras

from experiments.benchmark.task import PIECE, Ready, Task, as_it_is
from experiments.benchmark.workloads import CLASSES, PIXELS

place = as_it_is


def network(task: Task) -> Any:
    """Dense layers with the params to begin with."""
    hidden = (keras.layers.Dense(width, activation="relu") for width in task.workload.hidden)
    model = keras.Sequential([keras.Input((PIXELS,)), *hidden, keras.layers.Dense(CLASSES)])
    model.set_weights(task.params())
    return model


def training(task: Task, mode: str) -> Ready:
    """A call an epoch."""
    del mode  # there is one way
    model, workload = network(task), task.workload
    sgd, adam = keras.optimizers.SGD(0.1), keras.optimizers.Adam(1e-3, epsilon=1e-8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile({"sgd": sgd, "adam": adam}[workload.optimizer], loss)

    def run(order: Any) -> Any:
        del order  # it draws its own
        told = model.fit(task.inputs, task.targets, batch_size=workload.batch, verbose=0)
        return told.history["loss"]

    return Ready(run)


def inference(task: Task) -> Ready:
    """Keras cuts the pieces."""
    model = network(task)

    def run(order: Any) -> Any:
        del order  # nothing is drawn
        return model.predict(task.inputs, batch_size=PIECE, verbose=0)

    return Ready(run)
