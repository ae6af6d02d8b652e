"""Comparing runs: the table's numbers, what shares a line and a colour, and which runs are found."""

import shutil

import attrs
import pytest

from experiments import mnist
from experiments.compare import METRICS, Run, main, overlay, read_runs, table
from experiments.config import Config
from experiments.run import Row


def row(epoch, training_loss, test_loss, test_accuracy):
    return Row(
        epoch=epoch,
        training_loss=training_loss,
        training_accuracy=0.5,
        validation_loss=None,
        validation_accuracy=None,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        learning_rate=0.1,
        gradient_norm=1.0,
        seconds=1.0,
    )


def run(name, history, **config):
    return Run(name, attrs.evolve(Config(), **config), tuple(history))


SMALL = [
    run("a", [row(1, 0.2, 0.3, 0.90), row(2, 0.4, 0.5, 0.80)], hidden=(16,), seed=1),  # the first epoch is the best
    run("b", [row(1, 0.4, 0.6, 0.70), row(2, 0.3, 0.1, 0.90)], hidden=(16,), seed=0),
]
LINEAR = run("c", [row(1, 0.4, 0.6, 0.70)], hidden=(), seed=0)
FAILED = run("d", [], hidden=(16,), seed=2)


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
        assert line.index(start, title.index("test accuracy")) == title.index("test accuracy")


def test_only_settings_that_differ_have_a_column():
    assert lines(table(SMALL))[0][:2] == ["run", "seed"]
    other = run("e", SMALL[0].history, hidden=(16,), decay=0.1, optimizer="sgd")
    assert lines(table([*SMALL, other]))[0][:4] == ["run", "optimizer", "decay", "seed"]
    assert lines(table([*SMALL, other]))[1][:3] == ["b", "adam", "0.0"]


def test_a_run_without_an_epoch_is_shown_and_not_counted():
    *_, failed, mean = lines(table([*SMALL, FAILED]))
    assert failed == ["d", "2", "0", "-", "-", "-", "-", "-"]
    assert mean[:2] == ["2 seeds, mean ± sd", "0.3000 ± 0.2828"]


def test_a_seed_counts_once():
    again = attrs.evolve(SMALL[1], name="b again")
    assert table([*SMALL, again]).splitlines()[-1].startswith("2 seeds")
    assert "seeds" not in table([SMALL[1], again])


def test_a_config_has_a_colour_and_a_seed_a_line():
    figure = overlay([*SMALL, LINEAR])
    training, _, accuracy = figure.axes
    b, a, c = accuracy.get_lines()
    assert [list(line.get_ydata()) for line in (b, a, c)] == [[0.7, 0.9], [0.9, 0.8], [0.7]]
    assert a.get_color() == b.get_color() != c.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hidden 16", "hidden -"]
    assert list(training.get_lines()[0].get_ydata()) == [0.4, 0.3]
    assert overlay(SMALL).legends == []


def test_many_configs_have_as_many_colours():
    runs = [run(str(width), SMALL[0].history, hidden=(width,)) for width in range(1, 31)]
    assert len({tuple(line.get_color()) for line in overlay(runs).axes[0].get_lines()}) == 30


def test_runs_are_found_below_a_folder_and_pictured(tmp_path, capsys):
    for seed in "10":
        out = tmp_path / "runs" / f"seed-{seed}"
        assert mnist.main(["--epochs", "2", "--hidden", "16", "--seed", seed, "--out", str(out)]) == 0
    shutil.copytree(tmp_path / "runs" / "seed-1", tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "runs" / "seed-1" / ".writing-config.json.x")
    capsys.readouterr()
    picture = tmp_path / "new" / "picture.png"
    assert main([str(tmp_path / "runs"), str(tmp_path / "elsewhere"), "--out", str(picture)]) == 0
    shown = [line[0] for line in lines(capsys.readouterr().out)[:-2]]
    folders = [str(tmp_path / name) for name in ("runs/seed-0", "runs/seed-1", "elsewhere")]
    assert shown == ["run", *folders, "2 seeds, mean ± sd"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    [one] = read_runs(tmp_path / "elsewhere")
    assert (one.config.seed, len(one.history)) == (1, 2)


@pytest.mark.usefixtures("unchecked_annotations")
def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "picture.png")]) == 1
    assert "expected the folder of a run, or one that holds such, got no config.json in it" in capsys.readouterr().err
    assert not (tmp_path / "picture.png").exists()
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "RUN...: expected at least one folder, got none" in capsys.readouterr().err
