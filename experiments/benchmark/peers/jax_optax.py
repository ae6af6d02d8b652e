"""JAX and Optax, written by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.benchmark.peers import xla
from experiments.benchmark.workloads import Ready, Task

place = xla.place


def params_of(task: Task) -> list[tuple[Any, Any]]:
    """Pairs of weights and biases."""
    arrays = [jnp.asarray(array) for array in task.params()]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def perceptron(params: Any, x: Any) -> Any:
    """The outputs of dense layers."""
    *hidden, (w, b) = params
    for weights, biases in hidden:
        x = jax.nn.relu(x @ weights + biases)
    return x @ w + b


def lenet(params: Any, x: Any) -> Any:
    """The outputs of two convolutions with pools, and dense layers."""
    x = x.reshape(-1, 28, 28, 1)
    for (kernel, biases), padding in zip(params[:2], ("SAME", "VALID"), strict=True):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + biases)
        images, rows, columns, channels = x.shape
        x = x.reshape(images, rows // 2, 2, columns // 2, 2, channels).max((2, 4))
    return perceptron(params[2:], x.reshape(len(x), -1))


def training(task: Task, mode: str) -> Ready:
    """One dispatch for each step, or a scan."""
    network = lenet if task.workload.kind == "lenet" else perceptron
    optimizer = {"sgd": optax.sgd(0.1), "adam": optax.adam(1e-3)}[task.workload.optimizer]

    def loss_of(params: Any, inputs: Any, targets: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(network(params, inputs), targets).mean()

    def step(carry: Any, inputs: Any, targets: Any) -> Any:
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, inputs, targets)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    def scan(carry: Any, inputs: Any, targets: Any, order: Any) -> Any:
        return jax.lax.scan(lambda carry, rows: step(carry, inputs[rows], targets[rows]), carry, order)

    params = params_of(task)
    jitted = jax.jit(step if mode == "step" else scan, donate_argnums=0)
    return xla.training(task, mode, jitted, jitted, (params, optimizer.init(params)))


def inference(task: Task) -> Ready:
    """Piece by piece, as one program."""
    return xla.inference(task, perceptron, params_of(task))
