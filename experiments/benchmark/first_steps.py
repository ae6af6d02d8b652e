"""A script for each tool, as a user would write it: a network, a batch of noise, one training step, and its time.

They are strings, so that a process imports its tool only.
"""

from collections.abc import Mapping

_NOISE = """
import numpy as np
noise = np.random.default_rng(0)
inputs, targets = noise.random((128, 784), np.float32), noise.integers(10, size=128)
"""

_FUNCNN = """
import funcnn as fn
model = fn.serial(fn.dense(128), fn.relu(), fn.dense(64), fn.relu(), fn.dense(10))
step = fn.train_step(model, fn.softmax_cross_entropy(), fn.adam(1e-3))
params, _ = model.init(fn.Key(0), (784,))
state = step.init(params, fn.Key(0))
batch = fn.Batch(inputs, targets)
"""

_STEPS = {
    "funcnn": f"{_NOISE}{_FUNCNN}params, state = step(params, state, batch)",
    "funcnn-jax": f"""
import jax
{_NOISE}{_FUNCNN}
from funcnn.jax import compiled
params, state = compiled(step)(params, state, batch)
jax.device_get(params)
""",
    "jax-optax": f"""
from itertools import pairwise
import jax, optax
{_NOISE}
def layer(m, n):
    return np.float32((2 / m) ** 0.5) * noise.standard_normal((m, n), np.float32), np.zeros(n, "f")

def loss_of(params):
    x, (*hidden, (last, biases)) = inputs, params
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return optax.softmax_cross_entropy_with_integer_labels(x @ last + biases, targets).mean()

@jax.jit
def step(params, state):
    updates, state = optimizer.update(jax.grad(loss_of)(params), state, params)
    return optax.apply_updates(params, updates), state

params = [layer(*sizes) for sizes in pairwise((784, 128, 64, 10))]
optimizer = optax.adam(1e-3)
jax.device_get(step(params, optimizer.init(params)))
""",
    "torch": """
import torch
from torch import nn
inputs, targets = torch.rand(128, 784), torch.randint(10, (128,))
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
nn.functional.cross_entropy(model(inputs), targets).backward()
optimizer.step()
""",
    "scikit-learn": f"""
from sklearn.neural_network import MLPClassifier
{_NOISE}
MLPClassifier((128, 64), batch_size=128).partial_fit(inputs, targets, classes=range(10))
""",
    "keras": f"""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
from keras import layers
{_NOISE}
hidden = layers.Dense(128, activation="relu"), layers.Dense(64, activation="relu")
model = keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.train_on_batch(inputs, targets)
""",
}

FIRST_STEPS: Mapping[str, str] = {
    peer: f"import sys, time\n{step}\nprint(f'{{{{\"seconds\": [{{time.time() - float(sys.argv[1])}}]}}}}')"
    for peer, step in _STEPS.items()
}
"""The script of each peer; its argument is the start time of its process, and it prints the seconds since as JSON."""
