"""The book's small problems, their data, and the command that runs them."""

import numpy as np
import pytest

import funcnn as fn
from experiments.book import PROBLEMS, main, solve
from funcnn import Batch, InputError, Key, evaluate
from funcnn.data import sine, spiral
from funcnn.layers import DenseParams


def test_the_spiral_is_arms_that_turn():
    data = spiral(Key(0), 100, 3)
    assert (data.inputs.shape, data.inputs.dtype, data.targets.dtype) == ((300, 2), np.float32, np.int64)
    assert np.bincount(data.targets).tolist() == [100, 100, 100]
    radius = np.linalg.norm(data.inputs, axis=1).reshape(3, 100)
    assert radius == pytest.approx(np.tile(np.linspace(0, 1, 100), (3, 1)), abs=1e-6)
    assert not np.array_equal(data.inputs, spiral(Key(1), 100, 3).inputs)


def test_the_sine_is_one_period():
    data = sine(1000)
    assert data.inputs[:, 0] == pytest.approx(np.arange(1000) / 1000)
    assert data.targets == pytest.approx(np.sin(2 * np.pi * data.inputs), abs=1e-6)


@pytest.mark.usefixtures("unchecked_annotations")
@pytest.mark.parametrize("call", [lambda: spiral(Key(0), 0, 3), lambda: spiral(Key(0), 3, -1), lambda: sine(2.5)])
def test_bad_numbers_are_refused(call):
    with pytest.raises(InputError, match="to be a positive whole number"):
        call()


@pytest.mark.usefixtures("unchecked_annotations")  # a thousand checked steps are slow
@pytest.mark.parametrize(("name", "epochs", "accuracy"), [("sine", 1000, 0.5), ("spirals", 150, 0.5)])
def test_problems_are_learned(name, epochs, accuracy):
    key = Key(0).at(name)
    problem = PROBLEMS[name](key)
    params = solve(problem, key, epochs, name)
    found = evaluate(problem.model, problem.loss, params, problem.test, metrics=problem.metrics)
    assert found["accuracy"] > accuracy


@pytest.mark.usefixtures("unchecked_annotations")  # ten thousand checked steps are slow
def test_the_network_of_chapter_10_ends_as_in_the_book():
    """With the book's own numbers, which come from NumPy's old generator; it tells a loss of 0.07 and 0.98 right."""
    draws = np.random.RandomState(0)
    noise = np.stack([draws.randn(100) for _ in range(3)])
    radius, arms = np.linspace(0, 1, 100), np.arange(3)[:, None]
    angle = 2.5 * (4 * arms + 4 * radius + 0.2 * noise)
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1).reshape(300, 2)
    batch = Batch(points.astype(np.float32), np.repeat(np.arange(3), 100))
    model, optimizer = fn.serial(fn.dense(64), fn.relu(), fn.dense(3)), fn.nnfs.adam(0.05, decay=5e-7)
    first, second = (0.01 * draws.randn(*shape).astype(np.float32) for shape in ((2, 64), (64, 3)))
    zeros = np.zeros(64, np.float32)
    params = DenseParams(first, zeros), (), DenseParams(second, zeros[:3])
    step = fn.train_step(model, fn.softmax_cross_entropy(), optimizer)
    state = fn.initial_state(optimizer, params, Key(0))
    for _ in range(10_001):
        params, state = step(params, state, batch)
    assert state.metrics["loss"] < 0.1
    assert state.metrics["accuracy"] > 0.95


def test_the_command_draws_a_picture_of_each(tmp_path, capsys):
    assert main(["--epochs", "2", "--out", str(tmp_path / "book")]) == 0
    assert sorted(path.name for path in (tmp_path / "book").iterdir()) == sorted(f"{name}.png" for name in PROBLEMS)
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_bad_arguments_end_with_2(tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["--epochs", "0", "--out", str(tmp_path)])
    assert end.value.code == 2
