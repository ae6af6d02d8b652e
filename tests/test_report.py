"""The report of a run: whole in one file, right in its numbers, and at ease with experiments of every kind."""

import base64
import io
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import attrs
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from toolz import last

import funcnn as fn
from funcnn.runs import Experiment, Options, Progress, Section, stream, supervised
from funcnn.runs.classifier import classifier_sections, logits_of
from funcnn.runs.plan import Plan
from funcnn.runs.report import write_report
from funcnn.runs.sections import figure_section, images_section, text_section

LOSS = fn.softmax_cross_entropy()
EYE = np.eye(3, dtype=np.float32)
THREE = fn.Batch(EYE, np.arange(3))
"""A sample of each of three classes."""


class Page(HTMLParser):
    """The elements of a page, whose tags must match, and what it says under its headings, under names and in tables."""

    def __init__(self, text):
        super().__init__()
        self.text, self.depth, self.builder = text, 0, ET.TreeBuilder()
        self.feed(text)
        assert self.depth == 0
        self.root = self.builder.close()
        self.headings = ["".join(heading.itertext()) for heading in self.all("h1", "h2")]
        self.facts, self.tiles = said(self.all("dt", "dd")), {}
        for name, value in zip(*(self.root.findall(f".//header//{tag}") for tag in ("dt", "dd")), strict=True):
            self.tiles.update([said([name, value])])
        tables = {table.get("class").split()[0]: table.iter("tr") for table in self.all("table")}
        self.tables = {name: [said(row) for row in rows] for name, rows in tables.items()}

    def handle_starttag(self, tag, attributes):
        self.builder.start(tag, dict(attributes))
        self.depth += 1
        if tag in {"img", "link", "meta"}:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.builder.end(tag).tag == tag
        self.depth -= 1

    def handle_data(self, data):
        self.builder.data(data)

    def all(self, *tags):
        return [element for element in self.root.iter() if element.tag in tags]


def said(elements):
    """The text of each element; none of one that holds a list of facts."""
    return ["" if each.find(".//dl") is not None else "".join(map(str.strip, each.itertext())) for each in elements]


def experiment(*sections, **fields):
    """An experiment of which a report asks no more than words and sections."""
    functions = {"begin": lambda: ((), None), "step": lambda params, state, batch: (params, state)}
    fields = {"epochs": 5, "batches": lambda epoch: (), "sections": lambda params: sections, **fields}
    return Experiment(**functions, **fields)


def written(folder, ran, history=(), environment=None, params=(), **plan):
    """The report of an experiment that ended with ``history``."""
    known = {name: getattr(ran, name) for name in ("epochs", "watch", "patience", "tolerance", "formats")}
    known |= {"experiment": "thing", "version": 1, "config": {}, "options": Options(), "step": {}}
    plan = Plan(**{**known, **plan})
    progress = Progress(params, None, history, step=int(history[-1]["step"]) if history else 0)
    write_report(folder / "report.html", ran, plan, progress, environment or {})
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def rows(**columns):
    epochs = enumerate(zip(*columns.values(), strict=True), 1)
    return [{"epoch": n, "step": 4 * n, **dict(zip(columns, row, strict=True)), "seconds": 0.5} for n, row in epochs]


def judged(folder, model, params, batch, names=()):
    """The report of a classifier."""
    return written(folder, experiment(*classifier_sections(model, batch, names)(params)))


def diagonal(*layers):
    """A model that takes the i-th of three inputs for class i."""
    params, _ = fn.dense(3).init(fn.Key(0), (3,))
    params = attrs.evolve(params, weights=20 * np.eye(3, dtype=np.float32))
    return fn.serial(fn.dense(3), *layers), (params, *[()] * len(layers))


@pytest.fixture(scope="module")
def learned():
    """A classifier of digits, its params, the test samples, the whole run and its history."""
    data = fn.load_dataset("mnist_5k")
    model = fn.serial(fn.dense(80), fn.relu(), fn.dense(10))
    known = {"evaluate": {"test": data.test}, "metrics": {"accuracy": fn.accuracy}, "formats": {"accuracy": ".2%"}}
    known |= {"sections": classifier_sections(model, data.test, data.class_names)}
    ran = supervised(model, LOSS, fn.adam(1e-3), data.train, key=fn.Key(0), batch_size=128, epochs=2, **known)
    progress = last(stream(ran))
    return model, progress.params, data.test, ran, progress.history


@pytest.fixture(scope="module")
def page(learned, tmp_path_factory):
    """The report of that run."""
    _, params, _, ran, history = learned
    (folder := tmp_path_factory.mktemp("page") / "run-1").mkdir()
    config = {"hidden": [80], "patience": None, "seed": 0}
    return written(folder, ran, history, {"machine": {"cores": 2}}, params, config=config)


def test_a_report_is_whole(page, learned):
    for element in page.root.iter():
        for name in ("src", "href", "xlink:href"):
            assert element.get(name, "#").startswith(("#", "data:"))
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page.text))
    assert "@import" not in page.text
    assert not page.all("script", "link")
    assert all(image.get("alt") for image in page.all("img"))
    described = [box for box in page.all("div") if box.get("role") == "img"]
    assert len(described) == len(page.all("svg")) == 6
    assert all(box.get("aria-label") for box in described)
    ids = [element.get("id") for element in page.root.iter() if element.get("id")]
    assert len(set(ids)) == len(ids)
    described = learned[3].describe()
    assert described in page.text
    [table] = page.all("pre")  # whose letters are as small as its longest line needs
    assert table.attrib == {"style": f"--letters: {max(map(len, described.splitlines()))}"}
    assert "100cqw / var(--letters)" in page.text


def test_the_parts_come_in_order(page):
    assert page.headings == [
        *("run-1 thing", "Model", "Training", "Architecture", "Classifier", "Confusion matrix", "Classes"),
        *("Most confident mistakes", "First-layer weights", "Calibration", "Config", "Options", "Environment"),
    ]
    config = ["hidden", "80", "patience", "\N{EN DASH}", "seed", "0"]
    options = ["engine", "numpy", "threads", "1", "checkpoint_every", "1000"]
    assert page.facts[-16:] == [*config, *options, "machine", "", "cores", "2"]


def test_the_numbers_are_those_of_others(page, learned):
    model, params, batch, _, history = learned
    expected = fn.evaluate(model, LOSS, params, batch, metrics={"accuracy": fn.accuracy})
    loss, accuracy = f"{expected['loss']:.4f}", f"{expected['accuracy']:.2%}"
    best = f"2train loss {history[1]['train/loss']:.4f}"
    assert page.tiles == {"test loss": loss, "test accuracy": accuracy, "best epoch": best}
    assert "2 of 2 epochs, 64 steps" in page.text
    error = np.sqrt(expected["accuracy"] * (1 - expected["accuracy"]) / 1000)
    assert f"{accuracy}± {error:.2%}" in page.facts
    assert page.facts[page.facts.index("test cross-entropy") + 1] == loss
    assert page.facts[page.facts.index("parameters") + 1] == "63,610"
    labels, predictions = batch.targets, fn.predict(model, params, batch.inputs).argmax(axis=1)
    counts = [[int(text) for text in row[1:]] for row in page.tables["confusion"][1:]]
    assert counts == confusion_matrix(labels, predictions).tolist()
    *classes, mean = page.tables["classes"][1:]
    *scores, samples = precision_recall_fscore_support(labels, predictions)
    rows = [[*(f"{score:.4f}" for score in row), f"{count}"] for *row, count in zip(*scores, samples, strict=True)]
    assert [row[1:] for row in classes] == rows
    assert mean == ["mean", *(f"{np.mean(score):.4f}" for score in scores), ""]


def test_the_most_confident_mistakes_and_the_largest_weights_are_shown(page, learned):
    model, params, batch, *_ = learned
    probabilities = fn.predict(fn.softmax(), (), fn.predict(model, params, batch.inputs))
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != batch.targets)
    expected = sorted(wrong, key=lambda sample: -probabilities[sample].max())[:24]
    assert [int(sample) for sample in re.findall(r"#(\d+)</span>", page.text)] == expected
    mistakes, weights = page.all("img")[:24], page.all("img")[24:]
    for sample, image in zip(expected, mistakes, strict=True):
        assert image.get("alt") == f"{batch.targets[sample]}, taken for {probabilities[sample].argmax()}"
        ink = 1 - np.asarray(decoded(image).convert("L")) / 255
        np.testing.assert_allclose(ink, batch.inputs[sample].reshape(28, 28), atol=0.01)
    units = np.argsort(-np.linalg.norm(params[0].weights, axis=0))[:64]
    assert [image.get("alt") for image in weights] == [f"weights of unit {unit}" for unit in units]
    assert "64 of 80 units" in page.text


def decoded(image):
    return Image.open(io.BytesIO(base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"))))


def test_a_regression_has_a_report(tmp_path):
    x = fn.Key(0).at("data").uniform((100, 1), low=-1.0)
    data, model = fn.Batch(x, x**2), fn.serial(fn.dense(8), fn.tanh(), fn.dense(1))

    def sections(params):
        figure = Figure()
        figure.add_subplot().plot(x[:, 0], fn.predict(model, params, x)[:, 0])
        yield figure_section("Fit", figure, "What was <learned>.")

    known = {"key": fn.Key(0), "batch_size": 50, "epochs": 3, "sections": sections}
    ran = supervised(model, fn.mean_squared_error(), fn.adam(1e-2), data, **known)
    progress = last(stream(ran))
    page = written(tmp_path, ran, progress.history, params=progress.params)
    assert page.headings[1:] == ["Model", "Training", "Architecture", "Fit", "Options"]
    assert [*page.tiles] == ["train loss", "best epoch"]
    assert "What was &lt;learned&gt;." in page.text
    described = [box.get("aria-label") for box in page.all("div") if box.get("role") == "img"]
    curves = [f"{name} against epochs" for name in ("loss", "learning rate", "gradient norm")]
    assert described == [*curves, "Architecture", "Fit"]


def test_columns_may_have_any_names(tmp_path):
    page = written(tmp_path, experiment(), rows(generator_loss=[1.0, 2.0], discriminator_loss=[0.5, float("nan")]))
    assert page.tiles == {"generator loss": "2", "discriminator loss": "nan"}
    assert page.headings == [f"{tmp_path.name} thing", "Training", "Options"]
    assert len(page.all("svg")) == 2
    assert "epoch (best" not in page.text


def test_the_header_shows_eight_numbers_at_most_and_the_curves_the_best_epoch(tmp_path):
    history = rows(**{"train/loss": [3.0, 1.0, 2.0]}, **{f"test/n{number}": [1.0] * 3 for number in range(8)})
    page = written(tmp_path, experiment(watch="train/loss"), history, formats={"n0": ".1%"})
    assert [*page.tiles] == [*(f"test n{number}" for number in range(7)), "best epoch"]
    assert page.tiles["test n0"] == "100.0%"
    assert "epoch (best: 2)" in page.text


def test_a_history_may_be_empty_and_a_report_is_replaced(tmp_path):
    for title in ("Old", "New"):
        page = written(tmp_path, experiment(Section(title, "<p>own</p>"), watch="train/loss"))
        assert page.headings[1:] == [title, "Options"]
    assert "0 of 5 epochs, 0 steps, 0.0 s." in page.text
    assert "<p>own</p>" in page.text
    assert page.tiles == {}


def test_everything_is_escaped(tmp_path):
    evil = "<b>&'$"  # a column has no quotes
    folder = tmp_path / evil
    folder.mkdir()
    model, params = diagonal()
    sections = (
        text_section(evil, evil),
        images_section(evil, [np.zeros((2, 2))], evil, [evil]),
        figure_section(evil, Figure(), evil),
        *classifier_sections(model, THREE, (evil, "b", "c"))(params),
    )
    history = rows(**{f"{evil}/{evil}": [1.0], evil: [2.0]})
    environment, told = {"a": [{evil: {"b": [evil]}}]}, {"experiment": evil, "config": {evil: evil}, "watch": evil}
    page = written(folder, experiment(*sections, describe=lambda: evil), history, environment, **told)
    assert evil not in page.text
    assert page.tables["confusion"][1][0] == evil
    assert page.headings[0] == f"{evil} {evil}"
    assert page.headings.count(evil) == 3
    assert page.facts[-6:] == ["a", "", evil, "", "b", evil]
    assert page.facts[page.facts.index("engine") - 2 :][:2] == [evil, evil]


def test_lists_of_lists_are_told_in_words_and_what_is_no_text_in_escapes(tmp_path):
    name = os.fsdecode(b"\xe9t\xe9")
    model, params = diagonal()
    sections = classifier_sections(model, THREE, (name, "b", "c"))(params)
    environment = {"resumed": [["a: 1 -> 2", "b: 3 -> 4"], ["a: 1 -> 5"]], "data_dir": name}
    page = written(tmp_path, experiment(*sections), environment=environment)
    assert page.facts[-4:] == ["resumed", "a: 1 -> 2, b: 3 -> 4a: 1 -> 5", "data_dir", r"\udce9t\udce9"]
    assert page.tables["confusion"][1][0] == page.facts[-1]


def test_a_perfect_model_has_no_mistakes(tmp_path):
    page = judged(tmp_path, *diagonal(), THREE, ("a", "b", "c"))
    assert "100.00%± 0.00%" in page.facts
    assert "every test sample is classified right" in page.text
    assert "Training" not in page.headings
    assert not page.all("img")


def test_a_class_without_samples_has_zeros(tmp_path):
    page = judged(tmp_path, *diagonal(), fn.Batch(EYE[:2], np.array([0, 2])))
    assert [row[1:] for row in page.tables["confusion"][1:]] == [["1", "0", "0"], ["0", "0", "0"], ["0", "1", "0"]]
    assert page.tables["classes"][2] == ["1", "0.0000", "0.0000", "0.0000", "0"]


def test_probabilities_are_taken_as_such():
    batch = fn.Batch(EYE / 10, EYE[[0, 1, 1]])
    models = [diagonal(*layers) for layers in ((), (fn.softmax(),), (fn.log_softmax(),))]
    shown = [[*classifier_sections(model, batch)(params)] for model, params in models]
    for sections in zip(*shown, strict=True):
        assert len({section.html for section in sections if section.title != "Calibration"}) <= 1


def test_params_may_be_saved_as_others():
    model, params = diagonal()
    doubled = (attrs.evolve(params[0], weights=params[0].weights / 2),)
    sections = classifier_sections(model, THREE, as_saved=lambda params: doubled)
    assert [*sections(())] == [*classifier_sections(model, THREE)(doubled)]


@pytest.mark.parametrize(
    ("layers", "in_shape", "sizes", "weights"),
    [
        *(((), shape, {(20, 12)}, True) for shape in ((12, 20), (12, 20, 1))),
        *(((), (12, 20, 3), set(), False), ((fn.conv2d(4, 3),), (8, 8, 1), {(8, 8)}, False)),
    ],
)
def test_images_need_not_be_square_and_only_weights_of_pixels_are_shown(tmp_path, layers, in_shape, sizes, weights):
    model = fn.serial(*layers, fn.flatten(), fn.dense(2))
    params, _ = model.init(fn.Key(0), in_shape)
    page = judged(tmp_path, model, params, fn.Batch(fn.Key(1).normal((10, *in_shape)), np.arange(10) % 2))
    assert {decoded(image).size for image in page.all("img")} == sizes
    assert ("First-layer weights" in page.headings) is weights


def test_a_long_history_keeps_the_report_small(learned, tmp_path):
    _, params, _, ran, history = learned
    long = [{**history[0], "epoch": epoch, "test/loss": 2 + np.sin(epoch)} for epoch in range(1, 2001)]
    written(tmp_path, ran, long, params=params)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_memory_stays_bounded(monkeypatch):
    sizes = []
    monkeypatch.setattr(fn, "predict", lambda model, params, inputs: sizes.append(len(inputs)) or inputs)
    logits_of(fn.identity(), (), np.zeros((2500, 4)))
    assert sizes == [1000, 1000, 500]


def images(section):
    """The images of a section as arrays."""
    found = [decoded(ET.Element("img", src=source)) for source in re.findall(r'src="([^"]*)"', section.html)]
    return [np.asarray(image.convert("RGB")) for image in found]


def test_images_are_shown_as_they_are():
    whole = np.array([[51, 102], [153, 204]], np.uint8)
    [grey] = images(images_section("a", [whole]))
    np.testing.assert_array_equal(grey, np.stack([whole] * 3, axis=2))
    dark, coloured = images(images_section("a", [np.zeros((1, 2)), np.array([[[1.0, np.nan, 2.0]]])], "", ["x", "y"]))
    np.testing.assert_array_equal(dark, np.zeros((1, 2, 3)))
    np.testing.assert_array_equal(coloured, [[[127, 0, 255]]])


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        (classifier_sections, [fn.dense(1), THREE], "takes a classifier"),
        (classifier_sections, [fn.dense(2), THREE], "labels below 2, .* got 2"),
        (classifier_sections, [fn.dense(3), THREE, ("a", "b")], "a name for each of 3 classes, got 2"),
        (images_section, ["a", [np.zeros((2, 2)), np.zeros(4)]], r"images_section\[1\]: expected \(height, width\)"),
        (images_section, ["a", [np.zeros((2, 2, 4))]], r"images_section\[0\]: .* got \(2, 2, 4\)"),
        (images_section, ["a", [EYE, EYE], "", ["b"]], "a caption for each of 2 images, or none, got 1"),
    ],
)
def test_what_cannot_be_shown_is_refused(section, given, message):
    with pytest.raises(fn.InputError, match=message):
        section(*given)


def test_no_images_and_no_text_are_a_section():
    assert images(images_section("a", [])) == []
    assert "--letters: 1" in text_section("a", "").html
    assert images(images_section("a", [np.full((2, 2), np.nan)]))[0].shape == (2, 2, 3)
