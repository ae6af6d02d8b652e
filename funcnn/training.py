"""Training: a step is a pure function from params, state and batch to new params and state; a run is its fold.

    params, state = step(params, state, batch)

Whatever a step needs beside the batch stands in its :class:`State`: how many steps were taken, the key that
random layers draw from (at ``key.at(step)``), the optimizer's state, and the metrics of the latest batch.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from toolz import accumulate

from funcnn import tree
from funcnn.arrays import Array, namespace, number
from funcnn.errors import InputError, is_count, require
from funcnn.keys import Key, check_key
from funcnn.layer import INFERENCE, Layer, Mode, Params, Training
from funcnn.losses import Loss
from funcnn.metrics import accuracy, weighted_mean
from funcnn.optimizers import Updates, apply_updates
from funcnn.penalties import Penalty
from funcnn.tree import record


@record
class Batch:
    """Samples along axis 0.

    Attributes:
        inputs: (batch, *in_shape).
        targets: (batch,) integers, or whatever else the loss takes.
        weights: (batch,), or ``None`` where all samples count the same.
    """

    inputs: Array
    targets: Array
    weights: Array | None = None


@record
class State:
    """What a training run carries beside its params.

    Attributes:
        step: How many steps are finished.
        key: The root of the steps' keys; it never changes.
        optimizer: The optimizer's state.
        metrics: Loss and accuracy of the latest batch, before its update; NaN before the first.
    """

    step: int
    key: Key
    optimizer: Any
    metrics: dict[str, Any]


AnyOptimizer: TypeAlias = Any
"""An :class:`funcnn.Optimizer`, or whatever has its ``init`` and ``update``: Optax's for instance, on JAX arrays."""

Metric: TypeAlias = Callable[[Array, Array, Array | None], Any]
"""``metric(outputs, targets, weights)``, a mean over the samples, such as :func:`funcnn.accuracy`."""

ACCURACY: Mapping[str, Metric] = MappingProxyType({"accuracy": accuracy})

Step: TypeAlias = Callable[[Params, State, Batch], tuple[Params, State]]


def initial_state(optimizer: AnyOptimizer, params: Params, key: Key) -> State:
    """The state before the first step.

    Raises:
        InputError: ``key`` is no key, but a seed for instance.
    """
    check_key("initial_state", key)
    return State(0, key, optimizer.init(params), {"loss": float("nan"), "accuracy": float("nan")})


def train_step(
    model: Layer,
    loss: Loss,
    optimizer: AnyOptimizer,
    *,
    penalty: Penalty | None = None,
    metrics: Mapping[str, Metric] = ACCURACY,
) -> Step:
    """The pure function ``(params, state, batch) -> (params, state)`` of one gradient step.

    Args:
        model: The model.
        loss: Its loss.
        optimizer: What makes updates of gradients.
        penalty: Added to the loss, once per batch; the state's metrics then hold it beside the loss of the data.
        metrics: Functions ``(outputs, targets, weights)`` whose values the state's metrics hold, by name.

    Raises:
        InputError: An argument is a constructor that was not called, or of another kind.

    >>> import numpy as np, funcnn as fn
    >>> model, optimizer, key = fn.dense(2), fn.sgd(0.5), Key(0)
    >>> params, _ = model.init(key.at("init"), (3,))
    >>> batch = Batch(np.eye(3, dtype=np.float32), np.array([0, 1, 0]))
    >>> step = train_step(model, fn.softmax_cross_entropy(), optimizer)
    >>> params, state = step(params, initial_state(optimizer, params, key.at("train")), batch)
    >>> state.step, sorted(state.metrics)
    (1, ['accuracy', 'loss'])
    """
    require(isinstance(model, Layer), "train_step", "a Layer", repr(model), "call its constructor: dense(10)")
    require(isinstance(loss, Loss), "train_step", "a Loss", repr(loss), "call its constructor: softmax_cross_entropy()")
    fits = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    require(fits, "train_step", "an Optimizer", repr(optimizer), "call its constructor: adam()")
    fits = isinstance(metrics, Mapping) and all(map(callable, metrics.values()))
    require(fits, "train_step", "metrics by name", repr(metrics), 'such as {"accuracy": accuracy}')
    taken = sorted({"loss", "penalty"} & set(metrics))
    require(not taken, "train_step", "metrics of other names than those of the loss and penalty", ", ".join(taken))
    require(penalty is None or isinstance(penalty, Penalty), "train_step", "a Penalty", repr(penalty), "l2(1e-4)")
    return partial(_train_step, model, loss, optimizer, penalty, metrics)


def trajectory(step: Step, params: Params, state: State, batches: Iterable[Batch]) -> Iterator[tuple[Params, State]]:
    """The pairs of params and state before the first batch and after each, as they are asked for.

    ``toolz.last(trajectory(...))`` is the end of the run.
    """
    pairs: Iterator[tuple[Params, State]] = accumulate(partial(_advance, step), batches, (params, state))
    return pairs


def loss_and_gradient(
    model: Layer, loss: Loss, params: Params, batch: Batch, mode: Mode = INFERENCE
) -> tuple[Array, Updates, Array]:
    """The loss of the batch, its gradient as a tree like ``params``, and the outputs."""
    outputs, residuals = model.forward(params, batch.inputs, mode)
    value, loss_residuals = loss.forward(outputs, batch.targets, batch.weights)
    grads, _ = model.vjp(params, residuals, loss.vjp(loss_residuals), need_dx=False)
    return value, grads, outputs


def per_example_gradients(model: Layer, loss: Loss, params: Params, batch: Batch, mode: Mode = INFERENCE) -> Updates:
    """The gradient of each sample alone, without weights: leaves (batch, *shape of the parameter).

    Their mean over axis 0 is the gradient of the batch, where no layer is random: each sample draws as the first would.

    >>> import numpy as np, funcnn as fn
    >>> params, _ = fn.dense(2).init(Key(0), (3,))
    >>> batch = Batch(np.eye(3, dtype=np.float32), np.array([0, 1, 0]))
    >>> per_example_gradients(fn.dense(2), fn.softmax_cross_entropy(), params, batch).weights.shape
    (3, 3, 2)
    """
    rows = count_rows("per_example_gradients", batch)
    samples = (Batch(batch.inputs[i : i + 1, ...], batch.targets[i : i + 1, ...]) for i in range(rows))
    grads = [loss_and_gradient(model, loss, params, sample, mode)[1] for sample in samples]
    return tree.map(lambda *leaves: namespace(leaves[0]).stack(leaves), *grads)


def evaluate(
    model: Layer,
    loss: Loss,
    params: Params,
    batch: Batch,
    *,
    batch_size: int = 1000,
    metrics: Mapping[str, Metric] = ACCURACY,
) -> dict[str, float]:
    """Loss and metrics over all samples, in pieces of ``batch_size`` so that memory stays bounded.

    The pieces count by their samples' weights, so the result does not depend on ``batch_size`` but for rounding.

    Raises:
        InputError: ``batch_size`` is no positive whole number, the batch is empty or weighs nothing, or its rows do
            not match.
    """
    require(is_count(batch_size), "evaluate", "a batch_size that is a positive whole number", repr(batch_size))
    rows = count_rows("evaluate", batch)
    require(total_weight(batch) > 0, "evaluate", "a weight above 0", "none")
    slices = (slice(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size))
    pieces = (tree.map(operator.itemgetter((piece, ...)), batch) for piece in slices)
    counted = ((weight, piece) for piece in pieces if (weight := total_weight(piece)) > 0)
    return weighted_mean((weight, _evaluated(model, loss, metrics, params, piece)) for weight, piece in counted)


def count_rows(where: str, batch: Batch) -> int:
    """The number of samples.

    Raises:
        InputError: There are none, or inputs, targets and weights differ in their number.
    """
    require(isinstance(batch, Batch), where, "a Batch", type(batch).__name__, "of a Dataset, give train or test")
    counts: dict[str, int] = {path: array.shape[0] for path, array in tree.leaves_with_paths(batch)}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        found = ", ".join(f"{path} {count}" for path, count in counts.items())
        raise InputError(where, "the same number of samples, at least one, in inputs, targets and weights", found)
    return next(iter(counts.values()))


def total_weight(batch: Batch) -> float:
    """What the metrics of ``batch`` are a mean over: its samples, or the sum of their weights."""
    if batch.weights is None:
        return float(tree.leaves(batch.inputs)[0].shape[0])
    return float(namespace(batch.weights).sum(batch.weights))


def _advance(step: Step, pair: tuple[Params, State], batch: Batch) -> tuple[Params, State]:
    params, state = pair
    return step(params, state, batch)


def _train_step(
    model: Layer,
    loss: Loss,
    optimizer: AnyOptimizer,
    penalty: Penalty | None,
    metrics: Mapping[str, Metric],
    params: Params,
    state: State,
    batch: Batch,
) -> tuple[Params, State]:
    mode = Training(state.key.at(state.step))
    value, grads, outputs = loss_and_gradient(model, loss, params, batch, mode)
    measured = _measured(metrics, value, outputs, batch)
    if penalty is not None:
        grads = tree.map(operator.add, grads, penalty.gradient(params))
        measured["penalty"] = number(penalty.value(params))
    updates, optimizer_state = optimizer.update(grads, state.optimizer, params)
    del grads  # the new params can have its memory, which is still in the cache
    return apply_updates(params, updates), State(state.step + 1, state.key, optimizer_state, measured)


def _evaluated(model: Layer, loss: Loss, metrics: Mapping[str, Metric], params: Params, batch: Batch) -> dict[str, Any]:
    outputs, _ = model.forward(params, batch.inputs, INFERENCE)
    value, _ = loss.forward(outputs, batch.targets, batch.weights)
    return _measured(metrics, value, outputs, batch)


def _measured(metrics: Mapping[str, Metric], value: Array, outputs: Array, batch: Batch) -> dict[str, Any]:
    measured = {name: metric(outputs, batch.targets, batch.weights) for name, metric in metrics.items()}
    return {"loss": number(value), **measured}
