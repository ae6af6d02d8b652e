"""Training: a step is a pure function from params, state and batch to new params and state; a run folds it.

    step = train_step(model, loss, optimizer)
    state = step.init(params, key)
    params, state = step(params, state, batch)

A :class:`State` holds all that a step needs beside params and batch: the number of finished steps, the key of random
layers (they draw from ``key.at(step)``), the optimizer's state, and the metrics of the latest batch.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeAlias

import attrs
import numpy as np
from toolz import accumulate, compose

from funcnn import tree
from funcnn.arrays import Array, default_float, namespace, number
from funcnn.errors import InputError, is_count, require
from funcnn.keys import AnyKey, Key, check_key
from funcnn.layer import INFERENCE, Layer, Mode, Params, Training, check_layer
from funcnn.losses import Loss, require_loss
from funcnn.metrics import weighted_mean
from funcnn.optimizers import Optimizer, apply_updates, global_norm
from funcnn.optimizers.base import Updates
from funcnn.penalties import Penalty
from funcnn.targets import as_floating, check_weights
from funcnn.tree import frozendict, record

__all__ = ["Batch", "State", "StepMetric", "TrainStep", "evaluate", "gradient_norm", "learning_rate"]
__all__ += ["loss_and_gradient", "per_example_gradients", "train_step", "trajectory"]


@record
class Batch:
    """Samples along axis 0.

    Attributes:
        inputs: (batch, *in_shape), or a tuple of such arrays.
        targets: (batch,) integers, or other targets that the loss takes.
        weights: (batch,), or (batch, length) for the positions of sequences; ``None`` for equal weights.
    """

    inputs: Array
    targets: Array
    weights: Array | None = None


@record
class State:
    """The state of a training run, beside its params.

    Attributes:
        step: The number of finished steps.
        key: The root of the steps' keys; it never changes.
        optimizer: The optimizer's state.
        metrics: Metrics by name, of the latest batch before its update; NaN before the first step.
    """

    step: int
    key: Key
    optimizer: Any
    metrics: Mapping[str, Any]


@record
class Update:
    """One update of the params, as a :class:`StepMetric` measures it.

    Attributes:
        params: The params before the update.
        grads: The gradient of loss and penalty, which goes into the optimizer.
        updates: The optimizer's updates, which are added to the params.
        learning_rate: The rate of the update; ``None`` where the optimizer has none.
    """

    params: Params
    grads: Updates
    updates: Updates
    learning_rate: Any


@attrs.frozen
class StepMetric:
    """A metric of the step itself, not of outputs and targets: ``function(update)`` of an :class:`Update`."""

    function: Callable[[Update], Any]


gradient_norm = StepMetric(compose(global_norm, attrgetter("grads")))
"""The Euclidean norm of the whole gradient, before the optimizer clips or scales it."""

learning_rate = StepMetric(attrgetter("learning_rate"))
"""The learning rate of the step's update."""

AnyOptimizer: TypeAlias = Any
"""An :class:`funcnn.Optimizer`, or another object with its ``init`` and ``update``, such as Optax's on JAX arrays."""

Metric: TypeAlias = Callable[[Array, Array, Array | None], Any]
"""``metric(outputs, targets, weights)``, a mean over the samples, such as :func:`funcnn.metrics.accuracy`."""

Metrics: TypeAlias = Mapping[str, Metric]

Step: TypeAlias = Callable[[Params, State, Batch], tuple[Params, State]]

NO_METRICS: Mapping[str, Any] = frozendict({})


@attrs.frozen(eq=False)
class TrainStep:
    """One gradient step; :func:`train_step` makes it.

    A call is the step, ``(params, state, batch) -> (params, state)``; :meth:`init` gives the state before the first.
    """

    model: Layer
    loss: Loss
    optimizer: AnyOptimizer
    penalty: Penalty | None
    metrics: Mapping[str, Metric | StepMetric]

    def init(self, params: Params, key: AnyKey) -> State:
        """The state before the first step: its tree is that of every later state, and its metrics are NaN.

        Raises:
            InputError: ``key`` is not a Key (for example, a bare integer seed).
        """
        check_key("train_step.init", key)
        names = ["loss", *self.metrics, *(["penalty"] if self.penalty else [])]
        trained = tree.trainable(params) if self.model.calibrate else params
        return State(0, key, self.optimizer.init(trained), frozendict(dict.fromkeys(names, float("nan"))))

    def __call__(self, params: Params, state: State, batch: Batch) -> tuple[Params, State]:
        mode = Training(state.key.at(state.step))
        value, grads, outputs = loss_and_gradient(self.model, self.loss, params, batch, mode)
        whole = params
        if self.model.calibrate:  # some params are statistics, which penalty and optimizer do not see
            params, grads = tree.trainable(params), tree.trainable(grads)
        if self.penalty is not None:
            grads = tree.map(operator.add, grads, self.penalty.gradient(params))
        updates, optimizer_state = self.optimizer.update(grads, state.optimizer, params)
        measured = {"loss": value}
        for name, metric in self.metrics.items():
            if isinstance(metric, StepMetric):
                rate = self.optimizer.learning_rate(optimizer_state) if _has_rate(self.optimizer) else None
                measured[name] = metric.function(Update(params, grads, updates, rate))
            else:
                measured[name] = metric(outputs, batch.targets, batch.weights)
        if self.penalty is not None:
            measured["penalty"] = self.penalty.value(params)
        del grads  # the new params can take its memory, which is still in the cache
        state = State(state.step + 1, state.key, optimizer_state, frozendict(_scalars(measured, outputs)))
        new = apply_updates(params, updates)
        return tree.with_constants(new, whole) if self.model.calibrate else new, state


def train_step(
    model: Layer,
    loss: Loss,
    optimizer: AnyOptimizer,
    *,
    penalty: Penalty | None = None,
    metrics: Mapping[str, Metric | StepMetric] = NO_METRICS,
) -> TrainStep:
    """The pure function ``(params, state, batch) -> (params, state)`` of one gradient step, and its first state.

    Args:
        model: The model.
        loss: Its loss.
        optimizer: Its optimizer.
        penalty: A term of the loss, once per batch; the state's metrics hold it apart from the loss of the data.
        metrics: The state's other metrics, by name: functions ``(outputs, targets, weights)`` such as
            :func:`funcnn.metrics.accuracy`, and the step's own :data:`gradient_norm` and :data:`learning_rate`.

    Raises:
        InputError: An argument has the wrong kind, such as a constructor that was not called; a metric has the name of
            the loss or penalty; ``learning_rate`` is a metric, and the optimizer has no rate. At a call: a metric is
            not one number.

    >>> import numpy as np, funcnn as fn
    >>> model, key = fn.dense(2), Key(0)
    >>> params, _ = model.init(key.at("init"), (3,))
    >>> batch = Batch(np.eye(3, dtype=np.float32), np.array([0, 1, 0]))
    >>> metrics = {"accuracy": fn.accuracy, "learning_rate": fn.learning_rate}
    >>> step = train_step(model, fn.softmax_cross_entropy(), fn.sgd(0.5), metrics=metrics)
    >>> params, state = step(params, step.init(params, key.at("train")), batch)
    >>> state.step, list(state.metrics), state.metrics["learning_rate"]
    (1, ['loss', 'accuracy', 'learning_rate'], 0.5)
    """
    _check_parts("train_step", model, loss)
    fits = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    require(fits, "train_step", "an Optimizer", repr(optimizer), "call its constructor: adam()")
    require(
        penalty is None or isinstance(penalty, Penalty), "train_step", "a Penalty", repr(penalty), "such as l2(1e-4)"
    )
    check_metrics("train_step", metrics)
    fits = learning_rate not in metrics.values() or _has_rate(optimizer)
    require(fits, "train_step", "an optimizer that tells its learning rate", repr(optimizer), "leave that metric out")
    return TrainStep(model, loss, optimizer, penalty, frozendict(metrics))


def trajectory(step: Step, params: Params, state: State, batches: Iterable[Batch]) -> Iterator[tuple[Params, State]]:
    """The pairs of params and state before the first batch and after each batch, computed lazily.

    ``toolz.last(trajectory(...))`` is the end of the run.
    """

    def advance(pair: tuple[Params, State], batch: Batch) -> tuple[Params, State]:
        return step(*pair, batch)

    pairs: Iterator[tuple[Params, State]] = accumulate(advance, batches, (params, state))
    return pairs


def loss_and_gradient(
    model: Layer, loss: Loss, params: Params, batch: Batch, mode: Mode = INFERENCE
) -> tuple[Array, Updates, Array]:
    """The loss of the batch, its gradient as a tree like ``params``, and the outputs."""
    _check_parts("loss_and_gradient", model, loss)
    check_batch("loss_and_gradient", batch)
    outputs, residuals = model.forward(params, batch.inputs, mode)
    value, loss_residuals = loss.forward(outputs, batch.targets, batch.weights)
    grads, _ = model.vjp(params, residuals, loss.vjp(loss_residuals), need_dx=False)
    return value, grads, outputs


def per_example_gradients(model: Layer, loss: Loss, params: Params, batch: Batch, mode: Mode = INFERENCE) -> Updates:
    """The gradient of each sample alone, without weights: leaves (batch, *shape of the parameter).

    Their mean over axis 0 is the gradient of the batch, unless a layer is random: every sample gets the same draws.

    >>> import numpy as np, funcnn as fn
    >>> params, _ = fn.dense(2).init(Key(0), (3,))
    >>> batch = Batch(np.eye(3, dtype=np.float32), np.array([0, 1, 0]))
    >>> per_example_gradients(fn.dense(2), fn.softmax_cross_entropy(), params, batch).weights.shape
    (3, 3, 2)
    """
    _check_parts("per_example_gradients", model, loss)
    rows = count_rows("per_example_gradients", batch)
    samples = tree.pieces(Batch(batch.inputs, batch.targets), rows, 1)
    grads = [loss_and_gradient(model, loss, params, sample, mode)[1] for sample in samples]
    return tree.map(lambda *leaves: namespace(leaves[0]).stack(leaves), *grads)


def evaluate(
    model: Layer, loss: Loss, params: Params, batch: Batch, *, batch_size: int = 1000, metrics: Metrics = NO_METRICS
) -> dict[str, float]:
    """Loss and metrics over all samples, in pieces of ``batch_size`` so that memory stays bounded.

    A piece counts by the weight of its samples, so ``batch_size`` changes the result only by rounding.

    Raises:
        InputError: ``batch_size`` is no positive whole number; the batch is empty, has the total weight 0, or rows that
            do not match; a metric is a :class:`StepMetric`, or not one number.
    """
    _check_parts("evaluate", model, loss)
    check_metrics("evaluate", metrics)
    found = [name for name, metric in metrics.items() if isinstance(metric, StepMetric)]
    require(not found, "evaluate", "metrics of outputs and targets", f"{', '.join(found)}, measured by a step")
    require(is_count(batch_size), "evaluate", "a batch_size that is a positive whole number", repr(batch_size))
    rows = count_rows("evaluate", batch)
    if batch.weights is not None:
        check_weights("evaluate", batch.weights)

    def measured(piece: Batch) -> dict[str, Any]:
        outputs, _ = model.forward(params, piece.inputs, INFERENCE)
        value, _ = loss.forward(outputs, piece.targets, piece.weights)
        values = {name: metric(outputs, piece.targets, piece.weights) for name, metric in metrics.items()}
        return _scalars({"loss": value, **values}, outputs)

    pieces = tree.pieces(batch, rows, batch_size)
    return weighted_mean((weight, measured(piece)) for piece in pieces if (weight := _total_weight(piece)) > 0)


def _total_weight(batch: Batch) -> float:
    """The number of samples, or the sum of their weights."""
    if batch.weights is None:
        return float(tree.leaves(batch.inputs)[0].shape[0])
    weights = as_floating(batch.weights)
    return float(namespace(weights).sum(weights))


def count_rows(where: str, batch: Batch) -> int:
    """The number of samples.

    Raises:
        InputError: It is 0, or differs between inputs, targets and weights.
    """
    check_batch(where, batch)
    counts: dict[str, int] = {path: array.shape[0] for path, array in tree.leaves_with_paths(batch)}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        found = ", ".join(f"{path} {count}" for path, count in counts.items())
        raise InputError(where, "the same number of samples, at least one, in inputs, targets and weights", found)
    return next(iter(counts.values()))


def check_batch(where: str, batch: Any) -> None:
    """Raise unless it is a Batch."""
    if not isinstance(batch, Batch):
        raise InputError(where, "a Batch", type(batch).__name__, "of a Dataset, give train or test")


def _check_parts(where: str, model: Any, loss: Any) -> None:
    check_layer(where, model)
    require_loss(where, loss)


def check_metrics(where: str, metrics: Mapping[str, Any]) -> None:
    """Raise unless ``metrics`` are functions by name, and no name is that of the loss or penalty."""
    kinds = (isinstance(metric, StepMetric) or callable(metric) for metric in getattr(metrics, "values", tuple)())
    fits = isinstance(metrics, Mapping) and all(kinds)
    require(fits, where, "metrics by name", repr(metrics), 'such as {"accuracy": accuracy}')
    taken = sorted({"loss", "penalty"} & set(metrics))
    require(not taken, where, "metrics of other names than those of the loss and penalty", ", ".join(taken))


def _has_rate(optimizer: AnyOptimizer) -> bool:
    return isinstance(optimizer, Optimizer) and optimizer.learning_rate is not None


def _scalars(values: Mapping[str, Any], outputs: Any) -> dict[str, Any]:
    """Floats on NumPy, elsewhere 0-d arrays of the default floating dtype; raises unless each value is one number."""
    scalars, xp = {}, namespace(outputs if isinstance(outputs, np.ndarray) else tree.leaves(outputs)[0])
    for name, value in values.items():
        value = number(value)
        is_number = isinstance(value, int | float)
        if not is_number and getattr(value, "ndim", None) != 0:
            raise InputError(f"metric {name!r}", "one number", getattr(value, "shape", value))
        if xp is np and is_number:
            scalars[name] = float(value)
        else:
            dtype = default_float(xp)
            scalars[name] = xp.asarray(float(value), dtype=dtype) if is_number else xp.astype(value, dtype)
    return scalars
