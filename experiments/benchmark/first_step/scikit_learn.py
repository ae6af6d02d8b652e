"""scikit-learn."""

import time

import numpy as np
from sklearn.neural_network import MLPClassifier

noise = np.random.default_rng(0)
inputs, targets = noise.random((128, 784), np.float32), noise.integers(10, size=128)

classifier = MLPClassifier((128, 64), batch_size=128)
classifier.partial_fit(inputs, targets, classes=range(10))

print(time.time())
