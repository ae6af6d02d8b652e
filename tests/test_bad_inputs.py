"""Every public function x bad inputs: each cell is a right result or our error.

The rows are found by looking: what the packages export, what constructors have registered, and the functions of what
they make. A new one joins by itself; where an argument has a name that is not in the tables below, the test says so.
"""

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import funcnn as fn
from funcnn import InputError, tree
from funcnn.spec import Described, constructors
from tests import catalogue

KEY = fn.Key(0)
MODEL = fn.serial(fn.dense(4), fn.relu(), fn.dense(3))
PARAMS, _ = MODEL.init(KEY, (2,))
X, LABELS = KEY.normal((5, 2)), np.arange(5) % 3
BATCH = fn.Batch(X, LABELS, np.ones(5, np.float32))
STEP = fn.train_step(MODEL, fn.softmax_cross_entropy(), fn.adam())
STATE = STEP.init(PARAMS, KEY)
AVERAGE = fn.exponential_moving_average(0.5)

WITHOUT = {
    *("save", "load", "save_tree", "load_tree", "load_folder", "load_dataset", "read_idx", "write_idx", "write_image"),
    *("read_image", "image_paths", "read_as_mnist"),
    *("described", "record", "elementwise", "stateless", "trajectory", "keep_freed_memory"),
}
"""Functions of files, which have tests of damage of their own, and functions of functions."""


def named(value: Any, *names: str) -> dict[str, Any]:
    return dict.fromkeys(names, value)


ARGUMENTS: dict[str, Any] = (
    named(0.1, "slope", "strength", "stddev", "learning_rate", "label_smoothing", "value", "peak", "precision")
    | named(0.1, "weight_decay", "initial_accumulator")
    | named(0.5, "alpha", "delta", "rate", "decay", "p")
    | named(1.0, "bound", "power", "high")
    | named(0.9, "momentum", "beta1")
    | named(2, "batch_size", "size", "times", "k")
    | named(3, "classes", "features", "kernel")
    | named(4, "samples", "n")
    | named(True, "staircase", "approximate", "nesterov")
    | named(MODEL, "layer", "model")
    | named(PARAMS, "params", "updates")
    | named(fn.sgd(0.1), "optimizer", "optimizers")
    | named(fn.initializers.zeros(), "weights", "biases", "table")
    | {"x": X, "vocabulary": 5, "stride": 1, "steps": 10, "eps": 1e-3, "end": 0.01, "low": 0.0, "beta2": 0.99}
    | {"warm_share": 0.3, "start_divisor": 25.0, "values": [0.1, 0.01], "boundaries": [5], "mask": "*"}
    | {"padding": "same", "eps_placement": "inside", "ink": "auto", "scaling": "unit", "dtype": np.float32}
    | {"key": KEY, "in_shape": (2,), "shape": (2, 3), "batch": BATCH, "mode": fn.INFERENCE}
    | {"loss": fn.softmax_cross_entropy(), "penalty": fn.l2(0.1), "metrics": {}, "layers": fn.relu()}
    | {"schedule": fn.constant(0.1), "schedules": [fn.constant(0.1), fn.constant(0.2)]}
    | {"targets": LABELS, "matrix": np.eye(3), "inputs": X, "heads": 1, "causal": False, "axis": -1}
    | {"cell": fn.gru(), "kind": "learned", "losses": fn.softmax_cross_entropy()}
)
"""A right argument for every name."""

OWN: dict[str, dict[str, Any]] = {
    "class_weights": {"weights": (1.0, 2.0, 0.5)},
    "as_mnist": {"pixels": np.pad(np.zeros((10, 4, 4), np.uint8), ((9, 9), (9, 9), (0, 0)), constant_values=255)},
    "scale": {"pixels": np.ones((2, 3), np.uint8)},
    "averaged": {"state": AVERAGE.update(PARAMS, AVERAGE.init(PARAMS), PARAMS)[1]},
    "calibration_error": {"table": np.ones((3, 3))},
    "weighted_mean": {"parts": [(1, {"loss": 1.0})]},
    "reshape": {"shape": 2},
    "calibrated": {"model": fn.batch_norm(), "params": fn.batch_norm().init(KEY, (2,))[0]},
    "groups": {"optimizers": (("*", fn.sgd(0.1)),)},
    "attention": {"weights": fn.initializers.glorot_uniform()},
    "joint_loss": {"weights": None},
    "masked": {"mask": np.ones(2, bool)},
    "max_norm": {"mask": "*weights"},
}
"""Those of one function alone."""

MESSAGES = Path(__file__).with_name("messages.txt")
"""Read what changes in it as a stranger would: ``python -m tests.test_bad_inputs > tests/messages.txt`` writes it."""

MOVERS = ("identity()", "serial()", "flatten()", "reshape(")
"""Layers that hand on what they are given, whatever it is."""

UNREAD = {("mask", "text"), ("weights", "float16"), ("targets", "float16")}
"""What may be given: a mask is any text, and of weights and targets every kind of number will do."""


def arrays_like(right: np.ndarray) -> dict[str, dict[str, Any]]:
    """Variants of an array, by what is expected: the ``same`` result, that it is ``refused``, or ``either``."""
    wide = np.repeat(right, 2, axis=-1) if right.ndim else right
    floating = right.dtype if right.dtype.kind == "f" else np.float32
    float16 = {"float16": right.astype(np.float16)}
    return {
        "same": {"Fortran": np.asfortranarray(right), "read-only": fn.arrays.readonly(right.copy())}
        | {"strided": wide[..., ::2] if right.ndim else right},
        "refused": {"list": right.tolist(), "None": None, "text": "text", "strings": right.astype(str)}
        | {"object": right.astype(object), "complex": right.astype(complex)}
        | {"masked": np.ma.masked_array(right, np.ones(right.shape, bool))}
        | {"matrix": np.ones((2, 2), right.dtype).view(np.matrix)}
        | (float16 if right.dtype.kind == "f" else {}),
        "either": {
            **({} if right.dtype.kind == "f" else float16),
            "0-d": right.reshape(-1)[0].copy() if right.size else right,
            "empty": right[:0],
            "NaN": np.full(right.shape, np.nan, floating),
            "infinite": np.full(right.shape, np.inf, floating),
            "huge": np.full(right.shape, 1e30, np.float32),
            "longer": np.concatenate([right, right]) if right.ndim else right,
            "negative": -np.abs(right.astype(np.int64)) - 1,
        },
    }


def others(right: Any) -> dict[str, dict[str, Any]]:
    """The same for what is no array."""
    of_numpy = {int: np.int64, float: np.float64}.get(type(right))
    return {
        "same": {"NumPy's": of_numpy(right)} if of_numpy else {},
        "refused": {"text": "text?", "complex": 1j, "anything": object()},
        "either": {"-1": -1, "0": 0, "-1.5": -1.5, "huge": 10**400, "NaN": float("nan"), "infinite": float("inf")}
        | {"None": None, "empty": (), "array": np.ones(2), "list": [object()], "dict": {"a": object()}},
    }


@attrs.frozen
class Row:
    """A public function and right arguments, each of which is made bad."""

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

    def takes_none(self, name: str) -> bool:
        default = inspect.signature(self.function).parameters[name].default
        return name == "weights" or self.name.endswith(".init") or default is None


def row_of(name: str, function: Callable[..., Any]) -> Row:
    """The row of a function whose arguments are found by the names of its parameters."""
    known = {**ARGUMENTS, **OWN.get(name, {})}
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    unknown = {p.name for p in parameters if p.default is p.empty} - known.keys()
    assert not unknown, f"{name}: give {unknown} in the tables of this file"
    return Row(name, function, {p.name: known[p.name] for p in parameters if p.name in known})


def functions() -> dict[str, Callable[..., Any]]:
    """What is registered, and what the packages export, but records, and metrics, which the catalogue has."""
    exported = {
        name: value
        for module in (fn, fn.data, fn.optimizers, fn.nnfs, fn.metrics, fn.initializers)
        for name, value in vars(module).items()
        if name in getattr(module, "__all__", vars(module))
        and inspect.isfunction(value)
        and value.__module__.startswith("funcnn")
        and "outputs" not in inspect.signature(value).parameters
        and not name.startswith(("_", "check_"))
        and not name.endswith(("_init", "_forward", "_vjp"))  # which the rows of layers call
    }
    registered = {
        name: made
        for name, made in constructors().items()  # among which those of doctests may be
        if made.__module__.startswith("funcnn.") and name in getattr(sys.modules[made.__module__], "__all__", ())
    }
    return {name: function for name, function in {**exported, **registered}.items() if name not in WITHOUT}


def rows() -> Iterator[Row]:
    """All functions: those exported, the constructors, and the functions of what these make."""
    yield from (row_of(name, function) for name, function in functions().items())
    for layer, in_shape in [*catalogue.LAYERS, *catalogue.LAYERS_OF_INDICES]:
        params, _ = layer.init(KEY, in_shape)
        yield Row(f"{layer!r}.init", layer.init, {"key": KEY, "in_shape": in_shape, "dtype": np.float32})
        if all(isinstance(size, int) for size in in_shape):
            draw = catalogue.indices if (layer, in_shape) in catalogue.LAYERS_OF_INDICES else fn.Key.normal
            arguments = {"params": params, "x": draw(KEY, (5, *in_shape)), "mode": fn.INFERENCE}
            yield Row(f"{layer!r}.forward", layer.forward, arguments)
    for part, draw in [*catalogue.LOSSES, *catalogue.METRICS]:
        judge = getattr(part, "forward", part)
        if draw is catalogue.two:
            continue  # its losses have rows of their own
        arguments = dict(zip(("outputs", "targets", "weights"), (*draw(KEY, 5), np.ones(5)), strict=True))
        yield Row(repr(part), lambda outputs, targets, weights, f=judge: f(outputs, targets, weights), arguments)
    for optimizer in catalogue.OPTIMIZERS:
        yield from rows_of_optimizer(optimizer)
    for schedule in catalogue.SCHEDULES:
        yield Row(repr(schedule), lambda step, f=schedule: f(step), {"step": 3})
    for initializer in catalogue.INITIALIZERS:
        arguments = {"key": KEY, "shape": (2, 3), "dtype": np.float32}
        yield Row(f"{initializer!r}()", lambda key, shape, dtype, f=initializer: f(key, shape, dtype), arguments)
    for name in ("normal", "uniform", "bernoulli", "permutation"):
        yield row_of(f"Key.{name}", getattr(KEY, name))
    yield Row("train_step.init", STEP.init, {"params": PARAMS, "key": KEY})
    arguments = {"inputs": X, "targets": LABELS, "weights": np.ones(5, np.float32)}
    yield Row(
        f"step of {MODEL!r} and {STEP.loss!r}",
        lambda inputs, targets, weights: STEP(PARAMS, STATE, fn.Batch(inputs, targets, weights)),
        arguments,
    )


def rows_of_optimizer(optimizer: fn.Optimizer) -> list[Row]:
    params = {"w": KEY.normal((3, 2)), "b": (KEY.normal((2,)),)}
    state = optimizer.init(params)

    def init(w: Any) -> Any:
        return optimizer.init({**params, "w": w})

    def update(w: Any) -> Any:
        updates, after = optimizer.update({**params, "w": w}, state, params)
        return fn.apply_updates(params, updates), after

    return [Row(f"{optimizer!r}.{f.__name__}", f, {"w": params["w"]}) for f in (init, update)]


def is_clear(row: Row, value: Any, error: InputError) -> bool:
    """Whether the message tells what came, and begins with a name that the caller wrote, of function or argument."""
    if str(error.rest[1]) == "None" and not any(each is None for each in (value, *row.arguments.values())):
        return False
    written = {word for text in (row.name, *map(repr, row.arguments.values())) for word in re.findall(r"\w+", text)}
    written |= {"serial"} if "repeat" in written else set()  # it makes one
    return error.where.startswith("an optimizer") or re.findall(r"\w*", error.where)[0] in written


def without_arguments(where: str) -> str:
    """A place with the names of parts, but without the arguments behind them."""
    shorter = re.sub(r"\([^()]*\)", "", where)
    return where if shorter == where else without_arguments(shorter)


def outcome(row: Row, name: str, value: Any, expected: str) -> tuple[str, str]:
    """What becomes of a bad argument: right, refused, unclear, foreign (another exception) or silent; and what is said.

    That is the message without what came, and with the names of parts for the parts.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = row.call(**{name: value})
    except InputError as error:
        wanted, _, hint = error.rest
        said = f"{without_arguments(error.where)}: expected {wanted}{hint and '; '}{hint}"
        verdict = "refused" if is_clear(row, value, error) else f"unclear: {error}"
        return "silent" if expected == "same" else verdict, said
    except Exception as error:
        return f"foreign {type(error).__name__}: {error}"[:150], ""
    return "right" if expected == "either" or same_result(result, row.call()) else "silent", ""


def same_result(result: Any, right: Any) -> bool:
    """Whether what came of another argument is what comes of the right one, which it then says in another way."""
    if isinstance(right, (Described, fn.Key)):
        return repr(result) == repr(right)
    found, expected = (
        [leaf for leaf in tree.leaves(each) if not callable(leaf) and not isinstance(leaf, fn.Key)]
        for each in (result, right)
    )
    numbers = all(np.asarray(leaf).dtype.kind in "biuf" for leaf in found)
    return numbers and len(found) == len(expected) and all(map(tree.allclose, found, expected))


def table() -> Iterator[tuple[str, str, str]]:
    """Name and outcome of every cell, and what is said."""
    for row in (row for row in rows() if not row.name.startswith(MOVERS)):
        row.call()  # the right arguments are right
        for name, right in row.arguments.items():
            variants = arrays_like(right) if isinstance(right, np.ndarray) else others(right)
            for expected, values in variants.items():
                for what, value in values.items():
                    if (name, what) not in UNREAD and not (what == "None" and row.takes_none(name)):
                        yield f"{row.name} {name}={what}", *outcome(row, name, value, expected)


def messages(cells: Iterable[tuple[str, str, str]]) -> str:
    """All that is said, a line each."""
    return "".join(f"{line}\n" for line in sorted({said for *_, said in cells if said}))


def test_bad_inputs_end_in_a_right_result_or_in_our_error_in_the_words_that_were_read():
    cells = [*table()]
    assert [f"{name}: {found}" for name, found, _ in cells if found not in ("right", "refused")] == []
    assert messages(cells) == MESSAGES.read_text()


def test_a_function_that_takes_anything_is_found():
    row = Row("wrong", lambda x: np.asarray(x, float), {"x": np.ones(3)})
    assert outcome(row, "x", [1.0, 2.0], "refused")[0] == "silent"
    assert outcome(row, "x", "text", "refused")[0].startswith("foreign ValueError")


@pytest.mark.parametrize(
    ("where", "got", "found"),
    [
        ("conv1d(2)", "text", "refused"),
        ("conv2d(2)", "text", "unclear: conv2d"),
        ("conv1d(2)", None, "unclear: conv1d"),
    ],
)
def test_a_message_with_the_name_of_another_function_or_without_what_came_is_found(where, got, found):
    def refuse(x: Any) -> None:
        raise InputError(where, "anything", got)

    verdict, _ = outcome(Row("conv1d(2).forward", refuse, {"x": np.ones(3)}), "x", "text", "refused")
    assert verdict.startswith(found)


if __name__ == "__main__":
    print(messages(table()), end="")
