"""Comparing runs: the table's numbers, what shares a line and a colour, and which runs are found."""

import runpy
import shutil
import sys

import attrs
import pytest

from funcnn.runs import Options, main
from funcnn.runs.compare import Compared, overlay, read_runs, table
from funcnn.runs.plan import Plan
from tests.scripts import ran
from tests.small_experiments import adversarial, by_hand, carried_out, classifier, regression, two_inputs

HEAD = ["run", "seed", "epochs done", "best epoch"]


def row(epoch, seen, loss, accuracy):
    return {"epoch": epoch, "step": epoch, "train/loss": seen, "test/loss": loss, "test/accuracy": accuracy}


def compared(name, *history, experiment="digits", version=0, watch="train/loss", options=Options(), **config):
    known = {"hidden": [16], "optimizer": "adam", "decay": 0.0, "seed": 0}
    formats = {"accuracy": ".2%"}
    plan = Plan(experiment, version, {**known, **config}, options, 20, watch, None, 0.0, formats, {})
    return Compared(name, plan, history)


A = compared("a", row(1, 0.2, 0.3, 0.90), row(2, 0.4, 0.5, 0.80), seed=1)  # the first epoch is the best
B = compared("b", row(1, 0.4, 0.6, 0.70), row(2, 0.3, 0.1, 0.90))
AGAIN = attrs.evolve(B, name="again")
LINEAR = compared("c", row(1, 0.4, 0.6, 0.70), hidden=[])
FAILED = compared("d", seed=2)


def lines(text):
    """The cells of each line."""
    return [[cell.strip() for cell in line.split("  ") if cell] for line in text.splitlines()]


def test_a_line_a_run_and_one_for_the_mean_over_the_seeds_that_have_an_epoch():
    text = table([A, B, AGAIN, LINEAR, FAILED])
    assert lines(text) == [
        ["run", "hidden", *HEAD[1:], *("test/loss", "test/accuracy", "test/loss at best", "test/accuracy at best")],
        ["b", "16", "0", "2", "2", "0.1000", "90.00%", "0.1000", "90.00%"],
        ["again", "16", "0", "2", "2", "0.1000", "90.00%", "0.1000", "90.00%"],
        ["a", "16", "1", "2", "1", "0.5000", "80.00%", "0.3000", "90.00%"],
        ["d", "16", "2", "0", "-", "-", "-", "-", "-"],
        # of 0.1 and 0.5: mean 0.3, deviations 0.2 twice, sqrt(0.08 / 1)
        ["2 seeds, mean ± sd", "16", "0.3000 ± 0.2828", "85.00% ± 7.07%", "0.2000 ± 0.1414", "90.00% ± 0.00%"],
        ["c", "-", "0", "1", "1", "0.6000", "70.00%", "0.6000", "70.00%"],
    ]
    start = text.index("test/accuracy")
    assert all(line[start - 2 : start] == "  " != line[start : start + 2] for line in text.splitlines())
    assert "seeds" not in table([B, AGAIN])


def test_names_and_settings_are_shown_without_control_characters_on_their_line():
    evil = "a\x1b[2J\nb"
    hostile = compared(evil, {**row(1, 0.2, 0.3, 0.9), evil: 1.0}, optimizer=evil, **{evil: 1})
    text = table([hostile, B])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3
    assert r"a\x1b[2J b" in text


@pytest.mark.parametrize(
    ("changed", "title", "shown"),
    [
        ({"hidden": [8, 4]}, "hidden", "8 4"),
        ({"decay": 0.1}, "decay", "0.1"),
        ({"experiment": "clothes"}, "experiment", "clothes"),
        ({"version": 1}, "version", "1"),
        ({"options": Options(engine="jax")}, "engine", "jax"),
        ({"options": Options(threads=2)}, "threads", "2"),
    ],
)
def test_what_changes_numbers_has_a_column_and_tells_configs_apart(changed, title, shown):
    head, *rest = lines(table([B, compared("other", *A.history, seed=1, **changed)]))
    assert head[:3] == ["run", title, "seed"]
    assert {line[0]: line[1] for line in rest} == {"b": rest[0][1], "other": shown}


def test_what_does_not_change_numbers_has_no_column():
    other = compared("other", *A.history, seed=1, options=Options(checkpoint_every=7))
    assert lines(table([B, other]))[0][:4] == HEAD
    assert "2 seeds" in table([B, other])


def test_runs_without_an_epoch_or_without_a_seed_are_shown_too():
    assert lines(table([FAILED])) == [HEAD, ["d", "2", "0", "-"]]
    assert [list(axes.get_lines()[0].get_ydata()) for axes in overlay([FAILED]).axes] == [[]]
    without = [attrs.evolve(run, plan=attrs.evolve(run.plan, config={})) for run in (A, B)]
    assert [line[:2] for line in lines(table(without))] == [HEAD[:2], ["a", "-"], ["b", "-"]]


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
    runs = [compared(str(i), {"epoch": 1, "step": 1, **row}, watch=None, seed=i) for i, row in enumerate(rows)]
    assert lines(table(runs))[0] == [*HEAD, *titles, *(f"{title} at best" for title in titles)]


def test_a_config_has_a_colour_and_a_seed_counts_in_its_band():
    figure = overlay([A, B, LINEAR])
    watched, _, accuracy = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["train loss", "test loss", "test accuracy"]
    assert [line.get_ydata()[0] for line in accuracy.get_lines()] == pytest.approx([0.8, 0.7])
    assert list(watched.get_lines()[0].get_ydata()) == pytest.approx([0.3, 0.35])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hidden 16", "hidden -"]
    assert overlay([A, B]).legends == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory, without_pictures):
    """The folders of runs of four experiments, one of which failed before its first epoch ended."""
    parent = tmp_path_factory.mktemp("runs")
    for make in (classifier, two_inputs, adversarial):
        carried_out(make(), parent / make.__name__, name=make.__name__, config={"epochs": 3, "seed": 0})
    failed = by_hand(lambda state: {"loss": float("nan")})
    assert carried_out(failed, parent / "failed", name="by_hand").failure
    return parent


def test_runs_of_any_experiments_stand_side_by_side_and_none_is_needed(runs, tmp_path):
    end = ran("-m", "funcnn.runs", "compare", runs, "--out", "new/picture.png", cwd=tmp_path)
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout.startswith(table(read_runs(runs)))
    assert (tmp_path / "new/picture.png").read_bytes().startswith(b"\x89PNG")
    head, *rest = lines(end.stdout)[:5]
    cells = {line[head.index("experiment")]: dict(zip(head, line, strict=True)) for line in rest}
    assert {*cells} == {"classifier", "adversarial", "by_hand", "two_inputs"}
    assert cells["classifier"]["test/accuracy"].endswith("%")
    assert [name for name, line in cells.items() if line["distance"] != "-"] == ["adversarial"]
    assert cells["two_inputs"]["train/loss"] != "-"
    assert [cells["by_hand"][name] for name in HEAD[1:]] == ["-", "0", "-"]


@pytest.mark.parametrize("words", [[], ["train"], ["--help"]])
def test_without_an_experiment_there_is_no_other_verb(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["python -m funcnn.runs", *words])
    with pytest.raises(SystemExit, match=r"^error: funcnn.runs: expected the verb compare, got "):
        runpy.run_module("funcnn.runs", run_name="__main__")


def test_runs_are_found_below_folders_or_refused(runs, tmp_path, capsys):
    def compare(*words):
        config = attrs.make_class("Config", {})
        return main(lambda config: regression(), config, arguments=["compare", *words, "--out", f"{tmp_path}/new.png"])

    (tmp_path / "empty").mkdir()
    assert compare(f"{tmp_path}/empty") == 1
    assert "a run, or one that contains runs, got no config.json in it" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        compare()
    assert "RUN...: expected at least one folder, got none" in capsys.readouterr().err
    assert not (tmp_path / "new.png").exists()
    for copy in ("deep/er/one", "deep/.writing-config.json.x", "elsewhere"):
        shutil.copytree(runs / "classifier", tmp_path / copy)
    assert compare(f"{tmp_path}/deep", f"{tmp_path}/elsewhere") == 0
    shown = [line[0] for line in lines(capsys.readouterr().out)[:3]]
    assert shown == ["run", f"{tmp_path}/deep/er/one", f"{tmp_path}/elsewhere"]
    (tmp_path / "elsewhere" / "history.csv").write_text("epoch\nseven\n")
    assert compare(f"{tmp_path}") == 1
    assert f"error: {tmp_path}/elsewhere/history.csv: expected rows as" in capsys.readouterr().err
