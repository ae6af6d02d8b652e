"""The laws of an experiment, by which its runs resume and reproduce bit for bit."""

import random
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from toolz import identity, last

from funcnn import tree
from funcnn.arrays import readonly
from funcnn.checkpoint import load_tree, save_tree
from funcnn.keys import Key
from funcnn.runs.experiment import Experiment
from funcnn.runs.stream import Progress, beginning, stream
from funcnn.testing.laws import hold
from funcnn.testing.purity import assert_same, assert_same_kinds, ensure
from funcnn.testing.training import named

__all__ = ["check_experiment"]

FEW = 3
"""The number of batches of an epoch in the laws."""


def check_experiment(experiment: Experiment, *, epochs: int = 2, unless: Collection[str] = ()) -> None:
    """Try every law of an experiment on the first three batches of each of its first ``epochs`` epochs.

    The laws repeat the calls of a first run, and compare. Then they stop the run at its beginning, after its first step
    and everywhere in its second epoch. Two epochs take about 50 steps, 20 evaluations and memory for 20 params and
    states, however long the experiment; checkpoints go to a temporary folder. Global random states stay as they were.

    Args:
        experiment: The experiment.
        epochs: The number of epochs to run, at most the epochs of the experiment.
        unless: The names of laws to leave out.

    Raises:
        AssertionError: ``unless`` names a law that does not exist.
        InputError: ``epochs`` is no positive whole number.

    >>> import funcnn as fn
    >>> from funcnn.runs import supervised
    >>> train, loss = fn.Batch(np.eye(3, dtype=np.float32), np.arange(3)), fn.softmax_cross_entropy()
    >>> experiment = supervised(fn.dense(3), loss, fn.adam(), train, key=fn.Key(0), batch_size=2, epochs=9)
    >>> check_experiment(experiment)
    >>> noise = np.random.default_rng(0)
    >>> noisy = lambda epoch: [attrs.evolve(train, inputs=noise.random((3, 3), np.float32))]
    >>> check_experiment(attrs.evolve(experiment, batches=noisy))
    Traceback (most recent call last):
    funcnn.testing.laws.BrokenLaw: ... a function of the epoch': batches of epoch 2 again: batch 1.inputs differs
    """
    batches, epochs = experiment.batches, min(epochs, experiment.epochs)
    few = attrs.evolve(experiment, epochs=epochs, batches=lambda epoch: islice(batches(epoch), FEW))
    with _global_states(_states()), np.errstate(all="ignore"):  # a run goes on with NaN too
        run = _Run(few, _first_calls(few))
        hold("the experiment", {name: partial(law, run) for name, law in LAWS.items()}, unless=unless)


@attrs.frozen
class _Call:
    """The first call of a function: its arguments, the global random states, and its result, ``None`` if it failed."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    states: tuple[Any, Any]
    result: Any = None

    def again(self, *args: Any) -> Any:
        with _global_states(self.states):
            return self.function(*args)


@attrs.frozen
class _Run:
    """An experiment of few batches, and the calls of its first run."""

    experiment: Experiment
    calls: list[_Call]

    def of(self, name: str) -> list[_Call]:
        return [call for call in self.calls if call.name.startswith(name)]


def _first_calls(experiment: Experiment) -> list[_Call]:
    """The calls of a stream until it ends or a call fails; a law will repeat the failed call."""
    calls, states = list[_Call](), _states()

    def recorded(name: str, function: Callable[..., Any], given: Callable[[Any], Any] = identity) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            number = 1 + sum(call.name.startswith(name) for call in calls)
            calls.append(_Call(f"{name} {number}", function, args, states))
            calls[-1] = attrs.evolve(calls[-1], result=_copied(calls[-1].again(*_copied(args))))
            return given(calls[-1].result)

        return call

    def batches(epoch: int) -> dict[str, Any]:
        copies = map(_copied, experiment.batches(epoch))  # all batches may be one array that is filled anew
        return {f"batch {i}": batch for i, batch in enumerate(copies, 1)}

    def values(by_name: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(by_name.values())

    recorder = attrs.evolve(
        experiment,
        begin=recorded("begin", lambda: named(*experiment.begin()), values),
        batches=recorded("batches of epoch", batches, values),
        step=recorded("step", lambda *args: named(*experiment.step(*args)), values),
        evaluate=recorded("evaluate", experiment.evaluate),
    )
    with suppress(Exception):
        last(stream(recorder))
    return calls


def _savable(run: _Run) -> None:
    for call in run.of("begin"):
        for path, leaf in tree.leaves_with_paths(call.result):
            fits = hasattr(leaf, "dtype") or isinstance(leaf, int | float | str | Key)
            ensure(fits, f"{path} is a {type(leaf).__name__}; make its class a record: @funcnn.tree.record")


def _repeated(name: str, run: _Run) -> None:
    """A call that is repeated after all later calls gives the same result, and changes no argument."""
    found = []
    for call in reversed(run.of(name)):
        args = tree.map(readonly, _copied(call.args))
        found.append((call, call.again(*args)))
        assert_same(f"{call.name} changes an argument", args, call.args)
    for call, result in found:  # after all calls, since none may change the result of another
        assert_same(f"{call.name} again", result, call.result)


def _batches(run: _Run) -> None:
    for call in run.of("batches"):
        next(iter(run.experiment.batches(*call.args)), None)  # and no further
    _repeated("batches", run)


def _kinds(run: _Run) -> None:
    def kept(pair: Any) -> Any:  # all but metrics, which a run makes numbers
        return tree.map_with_paths(lambda path, leaf: 0.0 if path.startswith("state.metrics.") else leaf, pair)

    for call in run.of("step"):
        if call.result is not None:
            assert_same_kinds(f"after {call.name}", kept(call.result), kept(run.calls[0].result))


def _step(run: _Run) -> None:
    for call in run.of("step"):  # first with other params, to catch a memory by the count of steps
        call.again(*_copied((run.of("step")[-1].args[0], *call.args[1:])))
    _repeated("step", run)


def _evaluate(run: _Run) -> None:
    _repeated("evaluate", run)
    for call in run.of("evaluate"):
        ensure(isinstance(call.result, Mapping), f"it gives {call.result!r} instead of numbers by name")
        for name, value in call.result.items():
            number = np.shape(value) == () and not isinstance(value, str)
            ensure(number, f"{name!r} is {value!r} instead of a number")
            float(value)


def _globals(run: _Run) -> None:
    for call in run.calls:
        with _global_states(call.states):
            np.random.bytes(4096), random.randbytes(4096)  # this changes every word of both states
            numpy_state, python_state = _states()
            result = _copied(call.function(*_copied(call.args)))
            numpy_changed = not tree.equal(_states()[0], numpy_state)
            python_changed = _states()[1] != python_state and "beartype" not in sys.modules  # beartype draws from it
        assert_same(f"{call.name} in another global random state", result, call.result)
        ensure(not numpy_changed, f"{call.name} changes NumPy's global random state; draw from a Key")
        ensure(not python_changed, f"{call.name} changes the state of Python's random; draw from a Key")


def _stopping(run: _Run) -> None:
    experiment = run.experiment
    whole = [start := beginning(experiment), *stream(experiment, start)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        for i, stop in enumerate(whole, 1):
            if i <= 2 or len(stop.history) == 1:
                save_tree(path, named(stop.params, stop.state))
                again = attrs.evolve(stop, **load_tree(path, named(*experiment.begin())))
                for found, expected in zip(stream(experiment, again), whole[i:], strict=True):
                    at = f"at step {expected.step}, stopped after step {stop.step}"
                    assert_same(at, _recorded(found), _recorded(expected))


LAWS: Mapping[str, Callable[[_Run], None]] = {
    "params and state can be saved": _savable,
    "begin gives the same params and state every time": partial(_repeated, "begin"),
    "batches are a function of the epoch": _batches,
    "a step keeps the tree, shapes and dtypes of params and state": _kinds,
    "the step is pure": _step,
    "evaluate is pure and gives numbers": _evaluate,
    "nothing reads or changes global random state": _globals,
    "stopping anywhere and resuming gives the same params and rows": _stopping,
}
"""The laws by name."""


def _recorded(progress: Progress) -> dict[str, Any]:
    """Params, state, the rows of the latest epoch's steps, and the row of the epoch without its seconds."""
    history = [{**row, "seconds": 0} for row in progress.history[-1:]]
    return {**named(progress.params, progress.state), "steps": [*progress.steps_after(0)], "history": history}


def _copied(values: Any) -> Any:
    return tree.map(lambda leaf: leaf.copy("K") if isinstance(leaf, np.ndarray) else leaf, values)


def _states() -> tuple[Any, Any]:
    return np.random.get_state(legacy=False), random.getstate()


@contextmanager
def _global_states(states: tuple[Any, Any]) -> Iterator[None]:
    """Set these global random states of NumPy and Python; at the end, restore the earlier ones."""
    before = _states()
    try:
        np.random.set_state(states[0])
        random.setstate(states[1])
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
