"""The gallery: every experiment obeys the laws and has the six verbs, and what holds of single ones."""

import math
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tyro

import experiments.__main__ as gallery
import funcnn as fn
from experiments import gan, language, sine, spirals, vae
from funcnn import tree
from funcnn.runs import main, read_run
from funcnn.runs.stream import stream
from funcnn.testing import check_experiment
from tests.onnx_table import difference, served
from tests.scripts import PIPES, python, ran

QUICK = {
    "autoencoder": "--hidden 4 --code 2 --batch-size 1000",
    "binary_spiral": "--samples 5 --hidden 4",
    "gan": "--hidden 4 --latent 2 --batch-size 8 --steps 5",
    "language": "--characters 3000 --context 8 --features 4 --heads 2 --layers 1",
    "lenet": "--batch-size 1000",
    "mnist": "--hidden 4 --batch-size 1000",
    "sine": "--samples 10 --hidden 4",
    "spirals": "--samples 5 --hidden 4",
    "vae": "--hidden 4 --batch-size 1000",
}
"""Every experiment of the gallery, and options that make it quick."""

FOLDER = Path(gallery.__file__).parent

named = pytest.mark.parametrize("name", QUICK)


def of(name, words=""):
    """The experiment with its quick options and others."""
    module = import_module(f"experiments.{name}")
    return module.experiment(tyro.cli(module.Config, args=f"{QUICK[name]} {words}".split()))


def command(name, *words):
    """The exit status of ``python -m experiments.NAME`` with these arguments."""
    module = import_module(f"experiments.{name}")
    return main(module.experiment, module.Config, arguments=" ".join(map(str, words)).split())


def exported_as(saved, path):
    """The largest difference between the outputs of a model and of its ONNX file."""
    draw = fn.Key(0).uniform((3, *saved.in_shape))
    x = (draw * 5).astype(np.int64) if "embedding" in repr(saved.model) else draw
    return difference(saved.model, saved.params, x, served(path, x))


def slope(function, params, grads):
    """The slope of ``function`` in a random direction, by central differences and by ``grads``."""
    directions = {path: fn.Key(7).at(path).normal(leaf.shape) for path, leaf in tree.leaves_with_paths(params)}

    def moved(by):
        return function(tree.map_with_paths(lambda path, leaf: leaf + by * directions[path], params))

    expected = sum(np.sum(leaf * directions[path]) for path, leaf in tree.leaves_with_paths(grads))
    return (moved(1e-6) - moved(-1e-6)) / 2e-6, pytest.approx(expected, rel=1e-5)


def begun(parts, shapes):
    """Random params in float64, biases too, so that no unit stands at its kink."""
    params = {name: part.init(fn.Key(0), shapes[name], dtype=np.float64)[0] for name, part in parts.items()}
    return tree.map_with_paths(lambda path, leaf: leaf + 0.1 * fn.Key(1).at(path).normal(leaf.shape), params)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "") for name in QUICK if name not in ("lenet", "mnist")),
        ("language", "--model gru --hidden 4"),
        ("lenet", "--batch-size 10 --activation tanh --pooling average"),
        ("lenet", "--epochs 1 --batch-norm"),
        ("mnist", "--hidden 8 --epochs 3 --batch-size 500 --validation 0.2 --scaling standard --dropout 0.2"),
        ("mnist", "--hidden --epochs 3 --batch-size 700 --optimizer sgd --momentum 0.9 --l2 1e-4 --max-norm 1.0"),
    ],
)
def test_the_laws_of_an_experiment(name, words):
    check_experiment(of(name, words))


@named
def test_the_verbs(name, tmp_path, capsys, without_pictures):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert command(name, QUICK[name], "--epochs", 2, "--out", whole) == 0
    assert command(name, "train", QUICK[name], "--epochs", 1, "--out", parted) == 0
    assert command(name, "resume", parted, "--epochs", 2) == 0
    assert read_run(parted).digest == read_run(whole).digest is not None
    capsys.readouterr()
    assert command(name, "reproduce", whole) == 0
    assert "identical, bit for bit" in capsys.readouterr().out
    assert command(name, "compare", whole, parted, "--out", tmp_path / "compare.png") == 0
    assert str(parted) in capsys.readouterr().out
    saved = fn.load(whole / "model.safetensors")
    assert command(name, "export", whole, tmp_path / "model.onnx") == 0
    assert exported_as(saved, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("name", ["gan", "sine"])
def test_a_sweep(name, tmp_path, capsys):
    grid = "--vary hidden 2 3 --seeds 0 1 --workers 1"
    assert command(name, "sweep", QUICK[name], "--epochs 1", grid, "--out", tmp_path) == 0
    runs = {f"hidden={hidden},seed={seed}" for hidden in (2, 3) for seed in (0, 1)}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == runs
    assert "2 seeds, mean ± sd" in capsys.readouterr().out


@named
def test_the_report_shows_what_is_its_own(name):
    experiment = of(name)
    sections = list(experiment.sections(experiment.begin()[0]))
    assert sections
    assert all(section.title for section in sections)
    assert any(mark in section.html for section in sections for mark in ("<svg", "<img", "<pre"))


@named
def test_another_seed_begins_with_other_params(name):
    first, again, other = (of(name, f"--seed {seed}").begin()[0] for seed in (3, 3, 4))
    assert tree.equal(first, again)
    assert not tree.equal(first, other)


def test_the_list_names_every_module_that_can_be_run():
    printed = ran("-m", "experiments", cwd=FOLDER.parent, check=True).stdout
    lists = [re.findall(r"^  (\w+) ", part, re.MULTILINE) for part in printed.split("tools:\n")]
    assert lists == [[*QUICK], ["benchmark", "predict", "published"]]


def test_whoever_reads_the_list_may_go():
    with python("-m", "experiments", cwd=FOLDER.parent, **PIPES) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 141)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_list_fits_its_terminal(columns):
    lines = gallery.listing(columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert len({line.index(line.split()[1], 4) for line in lines if re.match(r"  \w", line)}) == 1


@named
def test_an_experiment_is_read_in_one_sitting(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert text.count("\n") <= (145 if name == "mnist" else 130)
    assert (
        text.endswith('if __name__ == "__main__":\n    raise SystemExit(main(experiment, Config))\n') or name == "mnist"
    )


@pytest.mark.parametrize(("module", "epochs", "group"), [(sine, 8, "fitted"), (spirals, 1, "test")])
def test_the_problems_of_the_book_are_learned(module, epochs, group):
    *_, progress = stream(module.experiment(module.Config(epochs=epochs)))
    assert progress.step == 137 * epochs
    assert progress.history[-1][f"{group}/accuracy"] > 0.5


def test_the_network_of_chapter_10_ends_as_in_the_book():
    """With the book's own numbers, which come from NumPy's old generator; it tells a loss of 0.07 and 0.98 right."""
    draws = np.random.RandomState(0)
    noise = np.stack([draws.randn(100) for _ in range(3)])
    radius, arms = np.linspace(0, 1, 100), np.arange(3)[:, None]
    angle = 2.5 * (4 * arms + 4 * radius + 0.2 * noise)
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1).reshape(300, 2)
    batch = fn.Batch(points.astype(np.float32), np.repeat(np.arange(3), 100))
    model, optimizer = fn.serial(fn.dense(64), fn.relu(), fn.dense(3)), fn.nnfs.adam(0.05, decay=5e-7)
    params, _ = model.init(fn.Key(0), (2,))
    first, second = (0.01 * draws.randn(*shape).astype(np.float32) for shape in ((2, 64), (64, 3)))
    params = tree.map(lambda leaf: {(2, 64): first, (64, 3): second}.get(leaf.shape, leaf), params)
    step = fn.train_step(model, fn.softmax_cross_entropy(), optimizer, metrics={"accuracy": fn.accuracy})
    state = step.init(params, fn.Key(0))
    for _ in range(10_001):
        params, state = step(params, state, batch)
    assert state.metrics["loss"] < 0.1
    assert state.metrics["accuracy"] > 0.95


def test_the_gradient_of_the_variational_bound():
    outputs = {"encoder": 6, "decoder": 4}
    parts = {name: fn.serial(fn.dense(5), fn.relu(), fn.dense(count)) for name, count in outputs.items()}
    params = begun(parts, {"encoder": (4,), "decoder": (3,)})
    x, noise = fn.Key(2).uniform((7, 4), np.float64), fn.Key(3).normal((7, 3), np.float64)
    _, pull = vae.bound(parts, params, x, noise)
    found, expected = slope(lambda moved: vae.bound(parts, moved, x, noise)[0]["loss"], params, pull())
    assert found == expected


def test_the_terms_of_the_variational_bound():
    """A decoder that ignores its code gives log 2 a pixel; codes that are the prior do not diverge from it."""
    parts = {"encoder": fn.dense(4), "decoder": fn.dense(3)}
    params = tree.map(np.zeros_like, begun(parts, {"encoder": (3,), "decoder": (2,)}))
    x, noise = fn.Key(2).uniform((5, 3), np.float64), fn.Key(3).normal((5, 2), np.float64)
    terms, _ = vae.bound(parts, params, x, noise)
    assert terms["reconstruction"] == terms["loss"] == pytest.approx(3 * math.log(2))
    assert terms["divergence"] == 0


@pytest.mark.parametrize("pack", [1, 2, 4])
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_each_player_s_gradient_is_that_of_its_own_loss(player, pack):
    outputs = {"generator": 2, "discriminator": 1}
    players = {name: fn.serial(fn.dense(5), fn.relu(), fn.dense(count)) for name, count in outputs.items()}
    params = begun(players, {"generator": (3,), "discriminator": (2 * pack,)})
    batch = fn.Batch(fn.Key(2).normal((8, 3), np.float64), fn.Key(3).normal((8, 2), np.float64))
    _, grads = gan.played(players, params, batch, pack)

    def loss(moved):
        return gan.played(players, {**params, player: moved}, batch, pack)[0][f"{player}_loss"]

    found, expected = slope(loss, params[player], grads[player])
    assert found == expected


def test_a_step_updates_both_players_with_batches_that_are_all_new():
    experiment = of("gan")
    params, state = experiment.begin()
    batches = [batch for epoch in range(2) for batch in experiment.batches(epoch)]
    after, _ = experiment.step(params, state, batches[0])
    for player in ("generator", "discriminator"):
        assert not tree.equal(after[player], params[player])
    assert len({array.tobytes() for batch in batches for array in (batch.inputs, batch.targets)}) == 2 * 5 * 2


def test_points_are_judged_by_the_modes_they_are_near():
    ring = gan.ring(fn.Key(0), 4000)
    three_deviations = 1 - math.exp(-4.5)  # in the plane
    assert gan.judged(ring)["test/near"] == pytest.approx(three_deviations, abs=0.005)
    assert gan.judged(ring)["test/modes"] == 8
    assert gan.judged(np.zeros((10, 2))) == {"test/near": 0.0, "test/modes": 0}
    assert gan.judged(np.tile(gan.MODES[:3], (10, 1))) == {"test/near": 1.0, "test/modes": 3}


@pytest.mark.parametrize("model", ["transformer", "gru"])
def test_a_model_of_characters_counts_bits_and_draws_what_it_finds_likely(model, tmp_path):
    """A text of two letters in turn: a bit each before it is learned, and none after."""
    (tmp_path / "text.txt").write_text("ab" * 500, encoding="utf-8")
    quick = {"context": 4, "features": 8, "hidden": 8, "batch_size": 10, "epochs": 3, "learning_rate": 0.05}
    experiment = language.experiment(language.Config(text=tmp_path / "text.txt", model=model, **quick))
    *_, progress = stream(experiment)
    assert progress.history[-1]["test/bits"] == progress.history[-1]["test/loss"] / math.log(2) < 0.01
    assert all(section.html.count("ab") > 280 for section in experiment.sections(progress.params))


def test_a_text_is_cut_into_sequences_whose_targets_are_one_later():
    batch = language.sequences(np.arange(8), 3)
    assert (batch.inputs.tolist(), batch.targets.tolist()) == ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("gan", "--batch-size 3", "--batch-size: expected a multiple of 2, got 3"),
        ("language", "--characters 30", "--characters: expected a text of which a tenth is longer than --context"),
        ("spirals", "--samples 0", "spiral: expected samples to be a positive whole number, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, words, message, tmp_path, capsys):
    assert command(name, words, "--out", tmp_path / "run") == 1
    assert message in capsys.readouterr().err
