"""Every public function x bad inputs: each cell is a right result or our error.

The rows are found by looking: what the packages export, what constructors have registered, and the functions of what
they make. A new one joins by itself; where an argument has a name that is not in the tables below, the test says so.
"""

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

import funcnn as fn
from funcnn import InputError, tree
from funcnn.spec import Described, constructors
from tests.catalogue import INITIALIZERS, LAYERS, LAYERS_OF_INDICES, LOSSES, METRICS, OPTIMIZERS, SCHEDULES, indices

KEY = fn.Key(0)
MODEL = fn.serial(fn.dense(4), fn.relu(), fn.dense(3))
PARAMS, _ = MODEL.init(KEY, (2,))
X, LABELS = KEY.normal((5, 2)), np.arange(5) % 3
BATCH = fn.Batch(X, LABELS, np.ones(5, np.float32))
STEP = fn.train_step(MODEL, fn.softmax_cross_entropy(), fn.adam())
STATE = STEP.init(PARAMS, KEY)

FILES = {
    "save",
    "load",
    "save_tree",
    "load_tree",
    "load_folder",
    "load_dataset",
    "read_idx",
    "write_idx",
    "write_image",
}
FILES |= {"read_image", "image_paths", "read_as_mnist"}
"""Functions of files, which have tests of damage of their own."""

WITHOUT = FILES | {"described", "record", "elementwise", "stateless", "trajectory", "keep_freed_memory"}
"""Those, and functions of functions."""

ARGUMENTS: dict[str, Any] = {
    "key": KEY,
    "seed": 0,
    "layer": MODEL,
    "model": MODEL,
    "params": PARAMS,
    "x": X,
    "in_shape": (2,),
    "batch": BATCH,
    "loss": fn.softmax_cross_entropy(),
    "optimizer": fn.sgd(0.1),
    "schedule": fn.constant(0.1),
    "mode": fn.INFERENCE,
    "samples": 4,
    "classes": 3,
    "batch_size": 2,
    "features": 3,
    "kernel": 3,
    "vocabulary": 5,
    "size": 2,
    "stride": 1,
    "slope": 0.1,
    "alpha": 0.5,
    "delta": 0.5,
    "rate": 0.5,
    "eps": 1e-3,
    "times": 2,
    "strength": 0.1,
    "stddev": 0.1,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "decay": 0.5,
    "bound": 1.0,
    "mask": "*",
    "label_smoothing": 0.1,
    "k": 2,
    "value": 0.1,
    "end": 0.01,
    "steps": 10,
    "power": 1.0,
    "peak": 0.1,
    "warm_share": 0.3,
    "start_divisor": 25.0,
    "values": [0.1, 0.01],
    "boundaries": [5],
    "schedules": [fn.constant(0.1), fn.constant(0.2)],
    "precision": 0.1,
    "dtype": np.float32,
    "shape": (2, 3),
    "step": 3,
    "padding": "same",
    "staircase": True,
    "approximate": True,
    "weights": fn.initializers.zeros(),
    "biases": fn.initializers.zeros(),
    "table": fn.initializers.zeros(),
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "initial_accumulator": 0.1,
    "eps_placement": "inside",
    "nesterov": True,
    "low": 0.0,
    "high": 1.0,
    "p": 0.5,
    "n": 4,
    "outputs": KEY.normal((5, 3)),
    "targets": LABELS,
    "threshold": 0.5,
    "bins": 4,
    "penalty": fn.l2(0.1),
    "metrics": {},
    "updates": PARAMS,
    "grads": PARAMS,
    "matrix": np.eye(3),
    "pixels": np.full((30, 30, 4), 255, np.uint8),
    "ink": "auto",
    "scaling": "unit",
    "state": STATE,
    "inputs": X,
    "optimizer_state": (),
    "metric": fn.accuracy,
    "layers": fn.relu(),
    "path": (),
    "optimizers": fn.sgd(0.1),
    "labels": "a",
    "function": fn.accuracy,
    "name": "a",
}
"""A right argument for every name."""

OWN: dict[str, dict[str, Any]] = {
    "class_weights": {"weights": (1.0, 2.0, 0.5)},
    "as_mnist": {"pixels": np.pad(np.zeros((10, 4, 4), np.uint8), ((9, 9), (9, 9), (0, 0)), constant_values=255)},
    "scale": {"pixels": np.ones((2, 3), np.uint8)},
    "averaged": {
        "state": fn.exponential_moving_average(0.5).update(
            PARAMS, fn.exponential_moving_average(0.5).init(PARAMS), PARAMS
        )[1]
    },
    "calibration_error": {"table": np.ones((3, 3))},
    "weighted_mean": {"parts": [(1, {"loss": 1.0})]},
    "regression_accuracy": {},
    "State": {"optimizer": ()},
    "frozendict": {"values": {"a": 1.0}},
    "fans": {"shape": (2, 3)},
    "reshape": {"shape": 2},
    "parallel": {"layers": fn.relu()},
    "max_norm": {"mask": "*weights"},
    "Dataset": {"name": "a", "train": BATCH, "test": BATCH, "class_names": ("a",), "scaling": "unit"},
    "Training": {},
}
"""Those of one function alone."""


MOVERS = ("identity()", "serial()", "flatten()", "reshape(")
"""Layers that hand on what they are given, whatever it is."""

UNREAD = {("mask", "text"), ("weights", "float16"), ("targets", "float16")}
"""What may be given: a mask is any text, and of weights and targets every kind of number will do."""


def arrays_like(right: np.ndarray) -> dict[str, tuple[Any, str]]:
    """Variants of an array, and what is expected: the ``same`` result, that it is ``refused``, or ``either``."""
    wide = np.repeat(right, 2, axis=-1) if right.ndim else right
    return {
        "Fortran": (np.asfortranarray(right), "same"),
        "read-only": (fn.arrays.readonly(right.copy()), "same"),
        "strided": (wide[..., ::2] if right.ndim else right, "same"),
        "masked": (np.ma.masked_array(right, np.ones(right.shape, bool)), "refused"),
        "matrix": (np.ones((2, 2), right.dtype).view(np.matrix), "refused"),
        "list": (right.tolist(), "refused"),
        "None": (None, "refused"),
        "text": ("text", "refused"),
        "object": (right.astype(object), "refused"),
        "complex": (right.astype(complex), "refused"),
        "float16": (right.astype(np.float16), "refused" if right.dtype.kind == "f" else "either"),
        "strings": (right.astype(str), "refused"),
        "0-d": (right.reshape(-1)[0].copy() if right.size else right, "either"),
        "empty": (right[:0], "either"),
        "NaN": (np.full(right.shape, np.nan, right.dtype if right.dtype.kind == "f" else np.float32), "either"),
        "infinite": (np.full(right.shape, np.inf, right.dtype if right.dtype.kind == "f" else np.float32), "either"),
        "huge": (np.full(right.shape, 1e30, np.float32), "either"),
        "longer": (np.concatenate([right, right]) if right.ndim else right, "either"),
        "negative": (-np.abs(right.astype(np.int64)) - 1, "either"),
    }


def others(right: Any) -> dict[str, tuple[Any, str]]:
    """The same for what is no array."""
    values: dict[str, tuple[Any, str]] = {
        **{name: (value, "either") for name, value in {"-1": -1, "0": 0, "-1.5": -1.5, "huge": 10**400}.items()},
        **{name: (value, "either") for name, value in {"NaN": float("nan"), "infinite": float("inf")}.items()},
        **{name: (value, "either") for name, value in {"None": None, "empty": (), "array": np.ones(2)}.items()},
        **{name: (value, "refused") for name, value in {"text": "text?", "complex": 1j, "anything": object()}.items()},
        **{name: (value, "either") for name, value in {"list": [object()], "dict": {"a": object()}}.items()},
    }
    if isinstance(right, bool):
        return values
    if isinstance(right, int):
        values["NumPy's"] = (np.int64(right), "same")
    if isinstance(right, float):
        values["NumPy's"] = (np.float64(right), "same")
    return values


@attrs.frozen
class Row:
    """A public function and right arguments; ``varied`` are the names of those that are made bad."""

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]

    def call(self, **changed: Any) -> Any:
        signature = inspect.signature(self.function)
        bound = inspect.BoundArguments(signature, {})
        for name, parameter in signature.parameters.items():
            if name in self.arguments:
                value = {**self.arguments, **changed}[name]
                bound.arguments[name] = (value,) if parameter.kind is parameter.VAR_POSITIONAL else value
        result = self.function(*bound.args, **bound.kwargs)
        return [*result] if isinstance(result, Iterator) else result


def arguments_of(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Right arguments of a function, by the names of its parameters."""
    known = {**ARGUMENTS, **OWN.get(name, {})}
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    unknown = {p.name for p in parameters if p.default is p.empty} - known.keys()
    assert not unknown, f"{name}: give {unknown} in the tables of this file"
    return {p.name: known[p.name] for p in parameters if p.name in known}


def functions() -> dict[str, Callable[..., Any]]:
    """What is registered, and what the packages export, but records, and metrics, which the catalogue has."""
    found: dict[str, Callable[..., Any]] = {}
    for module in (fn, fn.data, fn.optimizers, fn.nnfs, fn.metrics, fn.initializers):
        found |= {
            name: value
            for name, value in vars(module).items()
            if name in getattr(module, "__all__", vars(module))
            and getattr(value, "__module__", "").startswith("funcnn")
            and not name.startswith(("_", "check_"))
            and not name.endswith(("_init", "_forward", "_vjp"))  # which the rows of layers call
        }
    registered = {name: made for name, made in constructors().items() if made.__module__.startswith("funcnn.")}
    plain = {
        name: f
        for name, f in found.items()
        if inspect.isfunction(f) and "outputs" not in inspect.signature(f).parameters
    }
    return {name: function for name, function in {**plain, **registered}.items() if name not in WITHOUT}


def rows() -> list[Row]:
    """All functions: those exported, the constructors, and the functions of what these make."""
    found = [Row(name, function, arguments_of(name, function)) for name, function in functions().items()]
    for layer, in_shape in [*LAYERS, *LAYERS_OF_INDICES]:
        found.extend(rows_of_layer(layer, in_shape))
    for part, draw in [*LOSSES, *METRICS]:
        outputs, targets = draw(KEY, 5)
        function = getattr(part, "forward", part)
        found.append(Row(repr(part), judged(function), {"outputs": outputs, "targets": targets, "weights": np.ones(5)}))
    for optimizer in OPTIMIZERS:
        found.extend(rows_of_optimizer(optimizer))
    for schedule in SCHEDULES:
        found.append(Row(repr(schedule), lambda step, f=schedule: f(step), {"step": 3}))
    for initializer in INITIALIZERS:
        arguments = {"key": KEY, "shape": (2, 3), "dtype": np.float32}
        found.append(
            Row(f"{initializer!r}()", lambda key, shape, dtype, f=initializer: f(key, shape, dtype), arguments)
        )
    for name in ("normal", "uniform", "bernoulli", "permutation"):
        method = getattr(KEY, name)
        found.append(Row(f"Key.{name}", method, arguments_of(f"Key.{name}", method)))
    found.append(Row("TrainStep.init", STEP.init, {"params": PARAMS, "key": KEY}))
    inputs = {"inputs": X, "targets": LABELS, "weights": np.ones(5, np.float32)}
    found.append(
        Row(
            "TrainStep()",
            lambda inputs, targets, weights: STEP(PARAMS, STATE, fn.Batch(inputs, targets, weights)),
            inputs,
        )
    )
    return found


def judged(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda outputs, targets, weights: f(outputs, targets, weights)


def rows_of_optimizer(optimizer: fn.Optimizer) -> list[Row]:
    params = {"w": KEY.normal((3, 2)), "b": (KEY.normal((2,)),)}
    state = optimizer.init(params)

    def init(w: Any) -> Any:
        return optimizer.init({**params, "w": w})

    def update(w: Any) -> Any:
        updates, after = optimizer.update({**params, "w": w}, state, params)
        return fn.apply_updates(params, updates), after

    return [Row(f"{optimizer!r}.{f.__name__}", f, {"w": params["w"]}) for f in (init, update)]


def rows_of_layer(layer: fn.Layer, in_shape: Any) -> list[Row]:
    params, _ = layer.init(KEY, in_shape)
    init = Row(f"{layer!r}.init", layer.init, {"key": KEY, "in_shape": in_shape, "dtype": np.float32})
    if not all(isinstance(size, int) for size in in_shape):
        return [init]
    x = (indices if (layer, in_shape) in LAYERS_OF_INDICES else fn.Key.normal)(KEY, (5, *in_shape))
    return [init, Row(f"{layer!r}.forward", layer.forward, {"params": params, "x": x, "mode": fn.INFERENCE})]


def outcome(row: Row, name: str, value: Any, expected: str) -> str:
    """What becomes of a bad argument: right, refused, foreign (another exception) or silent."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = row.call(**{name: value})
    except InputError:
        return "silent" if expected == "same" else "refused"
    except Exception as error:
        return f"foreign {type(error).__name__}: {error}"[:150]
    if expected == "same":
        return "right" if same_result(result, row.call()) else "silent"
    return "silent" if expected == "refused" and not same_result(result, row.call()) else "right"


def same_result(result: Any, right: Any) -> bool:
    """Whether what came of another argument is what comes of the right one, which it then says in another way."""
    if isinstance(right, (Described, fn.Key)):
        return repr(result) == repr(right)
    arrays = [
        [leaf for leaf in tree.leaves(each) if not callable(leaf) and not isinstance(leaf, fn.Key)]
        for each in (result, right)
    ]
    if any(np.asarray(leaf).dtype.kind not in "biuf" for leaf in arrays[0]):
        return False
    return len(arrays[0]) == len(arrays[1]) and all(map(tree.allclose, *arrays))


def cells() -> list[tuple[str, str]]:
    """Name and outcome of every cell of the table."""
    found = []
    for row in (row for row in rows() if not row.name.startswith(MOVERS)):
        row.call()  # the right arguments are right
        for name, right in row.arguments.items():
            variants = arrays_like(right) if isinstance(right, np.ndarray) else others(right)
            for what, (value, expected) in variants.items():
                if (name, what) not in UNREAD and not (what == "None" and accepts_none(row, name)):
                    found.append((f"{row.name} {name}={what}", outcome(row, name, value, expected)))
    return found


def accepts_none(row: Row, name: str) -> bool:
    return (
        name == "weights"
        or row.name.endswith(".init")
        or inspect.signature(row.function).parameters[name].default is None
    )


def report() -> Counter[str]:
    table = cells()
    for name, found in table:
        if found not in ("right", "refused"):
            print(f"{name}: {found}")
    return Counter(found.split()[0] for _, found in table)


def test_bad_inputs_end_in_a_right_result_or_in_our_error():
    table = cells()
    silent = [name for name, found in table if found == "silent"]
    foreign = [f"{name}: {found}" for name, found in table if found.startswith("foreign")]
    assert not silent
    assert len(foreign) <= 0.01 * len(table), "\n".join(foreign)


def test_a_function_that_takes_anything_is_found():
    row = Row("wrong", lambda x: np.asarray(x, float), {"x": np.ones(3)})
    assert outcome(row, "x", [1.0, 2.0], "refused") == "silent"
    assert outcome(row, "x", "text", "refused").startswith("foreign ValueError")


if __name__ == "__main__":
    print(report())
