"""scikit-learn's multilayer perceptron, which draws its own batches."""

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from experiments.benchmark.workloads import CLASSES, Ready, Task


def classifier_of(task: Task) -> Any:
    """A classifier with the initial params, which it accepts only after its first step."""
    workload = task.workload
    classifier = MLPClassifier(
        workload.hidden,
        solver=workload.optimizer,
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init={"sgd": 0.1, "adam": 1e-3}[workload.optimizer],
        momentum=0.0,
        random_state=0,
    )
    first = slice(workload.batch)
    classifier.partial_fit(task.inputs[first], task.targets[first], classes=range(CLASSES))
    layers = (array for pair in zip(classifier.coefs_, classifier.intercepts_, strict=True) for array in pair)
    for mine, given in zip(layers, task.params(), strict=True):
        mine[...] = given
    return classifier


def training(task: Task) -> Ready:
    """A call an epoch."""
    classifier = classifier_of(task)

    return Ready(lambda _: [classifier.partial_fit(task.inputs, task.targets).loss_])


def inference(task: Task) -> Ready:
    """Piece by piece; as probabilities, the only outputs there are."""
    classifier = classifier_of(task)

    return Ready(lambda _: np.concatenate([classifier.predict_proba(piece) for piece in task.pieces()]))
