"""Figures: what is drawn of any history, and how it gets into a file or a page."""

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from funcnn.runs.figures import INK, curves, data_uri, inline_svg, overlay, quantities, reliability_diagram, write_png

NAN = float("nan")


def history(**columns):
    """Rows with these columns; a double underscore stands for a slash."""
    named = {name.replace("__", "/"): values for name, values in columns.items()}
    rows = enumerate(zip(*named.values(), strict=True), 1)
    return [{"epoch": epoch, "step": 10 * epoch, **dict(zip(named, row, strict=True))} for epoch, row in rows]


LOSSES = history(train__loss=[3.0, 2.0, 1.0], test__loss=[3.5, 2.5, 3.0], learning_rate=[0.1] * 3, seconds=[1.0] * 3)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def drawn(axes):
    """The numbers of each line with a label."""
    handles, labels = axes.get_legend_handles_labels()
    return {label: list(line.get_ydata()) for line, label in zip(handles, labels, strict=True)}


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def words(svg):
    return "".join(ET.fromstring(svg).itertext())


def shown(axes, value):
    return axes.yaxis.get_major_formatter()(value, 0)


def test_axes_are_quantities_lines_are_groups_and_the_best_epoch_is_marked():
    loss, rate = (figure := curves(LOSSES)).axes
    assert titles(figure) == ["loss", "learning rate"]
    assert drawn(loss) == {"train": [3.0, 2.0, 1.0], "test": [3.5, 2.5, 3.0]}
    assert [list(line.get_ydata()) for line in rate.get_lines()] == [[0.1, 0.1, 0.1]]
    assert texts(loss.get_legend()) == ["train", "test"]
    assert rate.get_legend() is None
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    for axes in curves(LOSSES, 2).axes:
        assert list(axes.get_lines()[-1].get_xdata()) == [2, 2]
        assert axes.get_xlabel() == "epoch (best: 2)"


def test_columns_may_have_any_names_and_gaps():
    rows = history(generator_loss=[1.0, float("inf")], train__bits=[2.0, 1.0], a__b__bits=[1.0, 3.0])
    rows[1]["late"] = 5.0
    bits = ["train/bits", "a/b/bits"]
    assert quantities(rows) == {"generator_loss": ["generator_loss"], "bits": bits, "late": ["late"]}
    loss, bits, late = curves(rows).axes
    assert drawn(bits) == {"train": [2.0, 1.0], "a/b": [1.0, 3.0]}
    np.testing.assert_array_equal(loss.get_lines()[0].get_ydata(), [1.0, NAN])
    np.testing.assert_array_equal(late.get_lines()[0].get_ydata(), [NAN, 5.0])
    assert titles(curves(rows, only=["bits"])) == ["bits"]


def test_many_groups_have_colours_of_their_own():
    rows = history(**{f"{group}__loss": [1.0] for group in ("train", "test", "a", "b", "c", "d")})
    assert len({line.get_color() for line in curves(rows).axes[0].get_lines()}) == 6


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 21, 37, 100, 1000])
def test_the_first_and_the_last_epoch_have_ticks(epochs):
    rows = history(loss=[1.0] * epochs)
    for figure in (curves(rows), overlay({"": [rows]}, ["loss"])):
        ticks = figure.axes[0].get_xticks()
        assert {ticks[0], ticks[-1]} == {1, epochs}
        assert len(ticks) <= 7
        assert all(np.diff(ticks) > epochs / 9)


def test_the_scale_is_that_of_the_numbers_and_the_format_gives_percents():
    rows = history(near=[0.1, 0.5], far=[9.0, 10.0], below=[-1.0, 5.0], falling_loss=[1.0, 0.001], still=[0.1, 0.1])
    near, far, below, falling, still = curves(rows).axes
    assert near.get_ylim()[0] == still.get_ylim()[0] == 0
    assert far.get_ylim()[0] > 8
    assert below.get_ylim()[0] < -1
    assert [axes.get_yscale() for axes in (near, curves(LOSSES).axes[0], falling)] == ["linear", "linear", "log"]
    assert shown(falling, 0.001) == "0.001"
    assert not shown(near, 0.5).endswith("%")
    rows = history(test__near=[0.5, 1.0])
    for figure in (curves(rows, formats={"near": ".2%"}), overlay({"": [rows]}, ["test/near"], {"near": ".1%"})):
        assert shown(figure.axes[0], 0.5).endswith("%")


@pytest.mark.parametrize("rows", [[], history(loss=[NAN, NAN]), history(loss=[float("inf"), 1.0]), [{"epoch": 1}]])
def test_whatever_the_numbers_there_is_a_picture(rows, tmp_path):
    write_png(tmp_path / "a.png", curves(rows, 1 if rows else None))
    write_png(tmp_path / "b.png", overlay({"a": [rows, []], "b": []}, ["loss", "nowhere"]))
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))


def band(axes):
    """The least and the greatest number of a band at each epoch."""
    [shape] = axes.collections
    points = shape.get_paths()[0].vertices
    return {x: (min(y), max(y)) for x in np.unique(points[:, 0]) if len(y := points[points[:, 0] == x, 1])}


def test_a_group_is_its_mean_in_a_band():
    seeds = [history(loss=[1.0, 3.0, 5.0]), history(loss=[3.0, 4.0]), history(loss=[2.0, NAN])]
    figure = overlay({"small": seeds, "large": [history(loss=[7.0])]}, ["loss", "missing"])
    assert titles(figure) == ["loss", "missing"]
    loss, missing = figure.axes
    assert drawn(loss)["small"] == [2.0, 3.5, 5.0]
    assert band(loss) == {1: (1, 3), 2: (3, 4), 3: (5, 5)}
    np.testing.assert_array_equal(drawn(loss)["large"], [7.0, NAN, NAN])
    np.testing.assert_array_equal(drawn(missing)["small"], [NAN] * 3)
    assert texts(figure.legends[0]) == ["small", "large"]
    small, large = loss.get_lines()
    assert small.get_color() != large.get_color()
    assert overlay({"": [LOSSES]}, ["train/loss"]).legends == overlay({}, []).axes == overlay({"a": []}, []).axes == []


def test_many_groups_have_as_many_colours_and_a_legend_under_the_axes(tmp_path):
    groups = {f"a rather long name of group {number}": [LOSSES] for number in range(30)}
    figure = overlay(groups, ["train/loss", "test/loss"])
    write_png(tmp_path / "a.png", figure)
    assert len({tuple(line.get_color()) for line in figure.axes[0].get_lines()}) == 30
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert all(axes.get_window_extent().height > 200 for axes in figure.axes)


@pytest.mark.parametrize("name", [r"$\frac$ & <b>", "a\udce9b", "ß"])
def test_any_name_can_be_drawn(name, tmp_path):
    write_png(tmp_path / "a.png", overlay({name: [LOSSES], "b": []}, ["train/loss"]))
    if name.isprintable():
        assert name in words(inline_svg(curves([{"epoch": 1, f"{name}/{name}": 1.0}]), "a"))


def test_svg_takes_the_colours_and_the_font_of_the_page():
    figure = Figure()
    axes = figure.add_subplot(title="$x^2$")  # a formula of one's own stays a formula
    axes.loglog([1, 1000], [1, 1000], color="black", label="line")
    axes.legend(facecolor="white")
    svg = inline_svg(figure, "a")
    assert "currentColor" in svg
    assert "var(--paper, white)" in svg
    assert not re.search("#0{6}|#f{6}", svg)
    assert "line" in words(svg)
    assert "$" not in words(svg)
    ids = [set(re.findall(r'id="([^"]*)"', text)) for text in (svg, inline_svg(figure, "b"))]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert svg == inline_svg(figure, "a")


def test_the_settings_of_matplotlib_stay_as_they_are():
    def settings():
        return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}  # which is found when asked for

    before = settings()
    inline_svg(curves(LOSSES, 1), "a")
    inline_svg(reliability_diagram(np.array([[1.0, 0.9, 1.0]])), "b")
    assert settings() == before


def test_images_have_the_colours_that_are_asked_for():
    image = np.array([[0.0, 1.0], [2.0, NAN]])
    assert data_uri(image, 0, 1) == data_uri(np.array([[-1.0, 1.0], [1.0, NAN]]), 0, 1)
    assert data_uri(image, 0, 1) != data_uri(image, 0, 1, INK)
    assert data_uri(np.zeros((2, 2)), 0, 0).startswith("data:image/png;base64,")
