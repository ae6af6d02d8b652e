"""Comparing runs: the table's numbers, what shares a line and a colour, and which runs are found."""

import runpy
import shutil
import subprocess
import sys

import attrs
import pytest

from funcnn.runs import Options, main
from funcnn.runs.compare import Compared, overlay, read_runs, table
from funcnn.runs.folder import Plan
from tests.small_experiments import adversarial, by_hand, carried_out, classifier, regression, two_inputs

METRICS = [*("test/loss", "test/accuracy", "test/loss at best", "test/accuracy at best")]


def row(epoch, seen, loss, accuracy):
    return {"epoch": epoch, "step": epoch, "train/loss": seen, "test/loss": loss, "test/accuracy": accuracy}


def compared(name, history, *, experiment="digits", version=0, watch="train/loss", options=Options(), **config):
    formats = {"accuracy": ".2%"}
    known = {"hidden": [128, 64], "optimizer": "adam", "decay": 0.0, "seed": 0}
    plan = Plan(experiment, version, {**known, **config}, options, 20, watch, None, 0.0, formats, {})
    return Compared(name, plan, tuple(history))


SMALL = [
    compared("a", [row(1, 0.2, 0.3, 0.90), row(2, 0.4, 0.5, 0.80)], hidden=[16], seed=1),  # the first epoch is the best
    compared("b", [row(1, 0.4, 0.6, 0.70), row(2, 0.3, 0.1, 0.90)], hidden=[16], seed=0),
]
LINEAR = compared("c", [row(1, 0.4, 0.6, 0.70)], hidden=[], seed=0)
FAILED = compared("d", [], hidden=[16], seed=2)


def lines(text):
    """The cells of each line."""
    return [[cell.strip() for cell in line.split("  ") if cell] for line in text.splitlines()]


def test_one_line_a_run_and_one_for_the_mean():
    assert lines(table([*SMALL, LINEAR])) == [
        ["run", "hidden", "seed", "epochs done", "best epoch", *METRICS],
        ["b", "16", "0", "2", "2", "0.1000", "90.00%", "0.1000", "90.00%"],
        ["a", "16", "1", "2", "1", "0.5000", "80.00%", "0.3000", "90.00%"],
        # of 0.1 and 0.5: mean 0.3, deviations 0.2 twice, sqrt(0.08 / 1)
        ["2 seeds, mean ± sd", "16", "0.3000 ± 0.2828", "85.00% ± 7.07%", "0.2000 ± 0.1414", "90.00% ± 0.00%"],
        ["c", "-", "0", "1", "1", "0.6000", "70.00%", "0.6000", "70.00%"],
    ]


def test_columns_are_aligned():
    title, *rest = table([*SMALL, LINEAR]).splitlines()
    for line, start in zip(rest, ["90.00%", "80.00%", "85.00%", "70.00%"], strict=True):
        assert line.index(start, title.index("test/accuracy")) == title.index("test/accuracy")


def test_only_settings_that_differ_have_a_column():
    assert lines(table(SMALL))[0][:2] == ["run", "seed"]
    other = compared("e", SMALL[0].history, hidden=[16], decay=0.1, optimizer="sgd")
    assert lines(table([*SMALL, other]))[0][:4] == ["run", "optimizer", "decay", "seed"]
    assert lines(table([*SMALL, other]))[1][:3] == ["b", "adam", "0.0"]


@pytest.mark.parametrize(
    ("changed", "title", "shown"),
    [
        ({"experiment": "clothes"}, "experiment", "clothes"),
        ({"version": 1}, "version", "1"),
        ({"options": Options(engine="jax")}, "engine", "jax"),
        ({"options": Options(threads=2)}, "threads", "2"),
    ],
)
def test_what_else_changes_numbers_tells_runs_of_one_config_apart(changed, title, shown):
    other = compared("other", SMALL[0].history, hidden=[16], seed=1, **changed)
    head, *rest = lines(table([SMALL[1], other]))
    assert head[1] == title
    assert [line[1] for line in rest if line[0] == "other"] == [shown]
    assert not any("mean" in line[0] for line in rest)


def test_how_often_a_checkpoint_is_written_does_not():
    other = attrs.evolve(SMALL[0], plan=attrs.evolve(SMALL[0].plan, options=Options(checkpoint_every=7)))
    assert lines(table([SMALL[1], other]))[0][:2] == ["run", "seed"]


def test_a_run_without_an_epoch_is_shown_and_not_counted():
    *_, failed, mean = lines(table([*SMALL, FAILED]))
    assert failed == ["d", "2", "0", "-", "-", "-", "-", "-"]
    assert mean[:2] == ["2 seeds, mean ± sd", "0.3000 ± 0.2828"]


def test_runs_of_which_none_has_an_epoch_are_shown_too():
    assert lines(table([FAILED])) == [["run", "seed", "epochs done", "best epoch"], ["d", "2", "0", "-"]]
    assert [list(axes.get_lines()[0].get_ydata()) for axes in overlay([FAILED]).axes] == [[]]


def test_a_seed_counts_once():
    again = attrs.evolve(SMALL[1], name="b again")
    assert table([*SMALL, again]).splitlines()[-1].startswith("2 seeds")
    assert "seeds" not in table([SMALL[1], again])


def test_runs_without_a_seed_are_no_seeds_of_one_config():
    config = {"optimizer": "adam"}
    runs = [attrs.evolve(run, plan=attrs.evolve(run.plan, config=config)) for run in SMALL]
    assert [line[:2] for line in lines(table(runs))] == [["run", "seed"], ["a", "-"], ["b", "-"]]


@pytest.mark.parametrize(
    ("rows", "titles"),
    [
        ([{"train/loss": 0.5, "test/kl": 2.0}], ["test/kl"]),
        ([{"train/loss": 0.5, "learning_rate": 0.1}], ["train/loss"]),
        ([{"train/loss": 0.5, "learning_rate": 0.1, "gradient_norm": 1.0, "distance": 3.0}], ["distance"]),
        ([{"reward": 3.0}], ["reward"]),
        ([{"train/loss": 0.5}, {"train/loss": 0.5, "test/kl": 2.0}], ["train/loss", "test/kl"]),
    ],
    ids=["evaluated", "trained", "evaluated without a group", "without a group", "one of each"],
)
def test_each_run_shows_what_was_evaluated_or_else_of_training(rows, titles):
    runs = [compared(str(i), [{"epoch": 1, "step": 1, **row}], watch=None, seed=i) for i, row in enumerate(rows)]
    assert lines(table(runs))[0] == [
        *("run", "seed", "epochs done", "best epoch"),
        *titles,
        *(f"{title} at best" for title in titles),
    ]


def test_a_config_has_a_colour_and_a_seed_counts_in_its_band():
    figure = overlay([*SMALL, LINEAR])
    watched, _, accuracy = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["train loss", "test loss", "test accuracy"]
    small, linear = accuracy.get_lines()
    assert [list(line.get_ydata())[:1] for line in (small, linear)] == [[pytest.approx(0.8)], [0.7]]
    assert small.get_color() != linear.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hidden 16", "hidden -"]
    assert list(watched.get_lines()[0].get_ydata()) == pytest.approx([0.3, 0.35])
    assert overlay(SMALL).legends == []


def test_many_configs_have_as_many_colours():
    runs = [compared(str(width), SMALL[0].history, hidden=[width]) for width in range(1, 31)]
    assert len({tuple(line.get_color()) for line in overlay(runs).axes[0].get_lines()}) == 30


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of runs of four experiments, one of which failed before its first epoch ended."""
    parent = tmp_path_factory.mktemp("runs")
    for make in (classifier, two_inputs, adversarial):
        carried_out(make(), parent / make.__name__, name=make.__name__, config={"epochs": 3, "seed": 0})
    failed = by_hand(lambda state: {"loss": float("nan")})
    assert carried_out(failed, parent / "failed", name="by_hand").failure
    return parent


def test_runs_of_different_experiments_stand_side_by_side(runs):
    head, *rest = lines(table(read_runs(runs)))
    cells = {line[0].rpartition("/")[2]: dict(zip(head, line, strict=True)) for line in rest}
    experiments = [line["experiment"] for _, line in sorted(cells.items())]
    assert experiments == ["adversarial", "classifier", "by_hand", "two_inputs"]
    assert cells["classifier"]["test/accuracy"].endswith("%")
    assert [name for name, line in cells.items() if line["distance"] != "-"] == ["adversarial"]
    assert cells["two_inputs"]["train/loss"] != "-"
    assert (cells["failed"]["seed"], cells["failed"]["epochs done"], cells["failed"]["best epoch"]) == ("-", "0", "-")


def test_no_experiment_is_needed_to_compare(runs, tmp_path):
    command = [sys.executable, "-m", "funcnn.runs", "compare", str(runs), "--out", "new/picture.png"]
    end = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout.startswith(table(read_runs(runs)))
    assert (tmp_path / "new/picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [[], ["train"], ["--help"]])
def test_without_an_experiment_there_is_no_other_verb(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["python -m funcnn.runs", *words])
    with pytest.raises(SystemExit, match=r"^error: funcnn.runs: expected the verb compare, got "):
        runpy.run_module("funcnn.runs", run_name="__main__")


def compare(*words):
    """The exit status of the verb."""
    return main(lambda config: regression(), attrs.make_class("Config", {}), arguments=["compare", *map(str, words)])


def test_runs_are_found_below_a_folder(runs, tmp_path, capsys):
    shutil.copytree(runs / "classifier", tmp_path / "deep" / "er" / "one")
    shutil.copytree(runs / "classifier", tmp_path / "deep" / ".writing-config.json.x")
    shutil.copytree(runs / "two_inputs", tmp_path / "elsewhere")
    assert compare(tmp_path / "deep", tmp_path / "elsewhere", "--out", tmp_path / "picture.png") == 0
    shown = [line[0] for line in lines(capsys.readouterr().out)[:-2]]
    assert shown == ["run", str(tmp_path / "deep/er/one"), str(tmp_path / "elsewhere")]


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    assert compare(tmp_path, "--out", tmp_path / "picture.png") == 1
    assert "expected the folder of a run, or one that holds such, got no config.json in it" in capsys.readouterr().err
    assert not (tmp_path / "picture.png").exists()
    with pytest.raises(SystemExit) as end:
        compare()
    assert end.value.code == 2
    assert "RUN...: expected at least one folder, got none" in capsys.readouterr().err


def test_a_damaged_run_is_named(runs, tmp_path, capsys):
    shutil.copytree(runs / "classifier", tmp_path / "damaged")
    (tmp_path / "damaged" / "history.csv").write_text("epoch\nseven\n")
    assert compare(runs, tmp_path / "damaged", "--out", tmp_path / "picture.png") == 1
    assert f"error: {tmp_path}/damaged/history.csv: expected rows as" in capsys.readouterr().err
