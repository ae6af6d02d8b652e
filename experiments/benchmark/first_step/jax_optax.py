"""JAX and Optax, written by hand."""

import time
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import optax

noise = np.random.default_rng(0)
inputs, targets = noise.random((128, 784), np.float32), noise.integers(10, size=128)

shapes = list(pairwise((784, 128, 64, 10)))
params = [(np.float32((2 / m) ** 0.5) * noise.standard_normal((m, n), np.float32), np.zeros(n, "f")) for m, n in shapes]
optimizer = optax.adam(1e-3)


def loss_of(params: Any) -> Any:
    """Softmax cross-entropy."""
    x: Any = inputs
    for weights, biases in params[:-1]:
        x = jax.nn.relu(x @ weights + biases)
    return optax.softmax_cross_entropy_with_integer_labels(x @ params[-1][0] + params[-1][1], targets).mean()


@jax.jit
def step(params: Any, state: Any) -> Any:
    """New params and state."""
    updates, state = optimizer.update(jax.grad(loss_of)(params), state, params)
    return optax.apply_updates(params, updates), state


jax.device_get(step(params, optimizer.init(params)))

print(time.time())
