"""The page of a run: whole in one file, right in its numbers, and at ease with models and data of other kinds."""

import base64
import io
import os
import re
from html.parser import HTMLParser

import attrs
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import funcnn as fn
from experiments.config import Config, experiment, load_data
from experiments.page import write_page
from experiments.run import Row, run

VOID = {"img", "link", "meta"}
LOSS = fn.softmax_cross_entropy()


class Page(HTMLParser):
    """The elements of a page with their attributes, the rows of each table by its class, and what stands under a
    name; tags must match."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.tables, self.facts, self._open = text, [], {}, [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(attributes["class"].split()[0], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag in {"dt", "dd"}:
            self.facts.append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data.strip()
        elif {"dt", "dd"} & set(self._open):
            self.facts[-1] += data.strip()

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def written(folder, saved, data, history=(), **facts):
    facts = {"title": "a run", "config": {}, "environment": {}, **facts}
    write_page(folder / "report.html", saved=saved, data=data, history=history, **facts)
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def saved_as(model, params, in_shape):
    return fn.SavedModel(model, params, in_shape, None, (), {})


def fresh(model, inputs, targets, names=()):
    """A model with its first params, and samples to judge it on."""
    params, _ = model.init(fn.Key(0), inputs.shape[1:])
    batch = fn.Batch(inputs, targets)
    return saved_as(model, params, inputs.shape[1:]), fn.Dataset("some", batch, batch, names, "unit")


def diagonal(*layers):
    """A model that takes the i-th of three inputs for class i."""
    identity = np.eye(3, dtype=np.float32)
    params, _ = fn.dense(3).init(fn.Key(0), (3,))
    params = attrs.evolve(params, weights=20 * identity)
    return saved_as(fn.serial(fn.dense(3), *layers), (params, *[()] * len(layers)), (3,)), identity


@pytest.fixture(scope="module")
def learned():
    config = Config(hidden=(80,), epochs=2, validation=0.1)
    data = load_data(config)
    planned = experiment(config, data)
    progress = run(planned, lambda progress: None).progress
    return saved_as(planned.model, progress.params, (784,)), data, progress.history


@pytest.fixture(scope="module")
def page(learned, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), *learned)


def test_nothing_is_fetched(page):
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page.text))
    assert "@import" not in page.text
    assert not page.all("script")
    assert not page.all("link")


def test_every_picture_has_words(page):
    assert all(image["alt"] for image in page.all("img"))
    described = [box for box in page.all("div") if box.get("role") == "img"]
    assert len(described) == len(page.all("svg")) == 5
    assert all(box["aria-label"] for box in described)


def test_no_id_is_given_twice(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_the_numbers_are_those_of_others(page, learned):
    saved, data, _ = learned
    expected = fn.evaluate(saved.model, LOSS, saved.params, data.test)
    error = np.sqrt(expected["accuracy"] * (1 - expected["accuracy"]) / 1000)
    assert f"<dd>{expected['accuracy']:.2%} <small>± {error:.2%}</small></dd>" in page.text
    assert f"<dd>{expected['loss']:.4f}</dd>" in page.text
    labels, predictions = data.test.targets, fn.predict(saved.model, saved.params, data.test.inputs).argmax(axis=1)
    counts = [[int(text) for text in row[1:]] for row in page.tables["confusion"][1:]]
    assert counts == confusion_matrix(labels, predictions).tolist()
    *classes, mean = page.tables["classes"][1:]
    scores = precision_recall_fscore_support(labels, predictions)
    assert [row[1:] for row in classes] == [
        [*(f"{score:.4f}" for score in row), f"{count}"] for *row, count in zip(*scores, strict=True)
    ]
    assert mean == ["mean", *(f"{np.mean(score):.4f}" for score in scores[:3]), ""]


def test_the_most_confident_mistakes_come_first(page, learned):
    saved, data, _ = learned
    probabilities = fn.predict(fn.softmax(), (), fn.predict(saved.model, saved.params, data.test.inputs))
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != data.test.targets)
    expected = sorted(wrong, key=lambda sample: -probabilities[sample].max())[:24]
    assert [int(sample) for sample in re.findall(r"#(\d+)</span>", page.text)] == expected
    shown = [image for image in page.all("img") if "taken for" in image["alt"]]
    for sample, image in zip(expected, shown, strict=True):
        assert image["alt"] == f"{data.test.targets[sample]}, taken for {probabilities[sample].argmax()}"
        ink = 1 - np.asarray(decoded(image).convert("L")) / 255
        np.testing.assert_allclose(ink, data.test.inputs[sample].reshape(28, 28), atol=0.01)


def decoded(image):
    return Image.open(io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))))


def test_the_largest_weights_are_shown(page, learned):
    norms = np.linalg.norm(learned[0].params[0].weights, axis=0)
    shown = [image["alt"] for image in page.all("img") if "weights" in image["alt"]]
    assert shown == [f"weights of unit {unit}" for unit in np.argsort(-norms)[:64]]
    assert "64 of 80 units" in page.text


def test_everything_is_escaped(tmp_path):
    inputs, targets = fn.Key(0).normal((9, 4)), np.arange(9) % 3
    evil = "<b>&\"'"
    saved, data = fresh(fn.serial(fn.dense(3)), inputs, targets, (evil, "b", "c"))
    data = attrs.evolve(data, name=evil)
    page = written(tmp_path, saved, data, title=evil, config={evil: evil}, environment={"a": [{evil: {"b": [evil]}}]})
    assert evil not in page.text
    assert page.tables["confusion"][1][0] == evil
    assert page.facts[-8:] == [evil, evil, "a", "", evil, "", "b", evil]


def test_lists_of_lists_are_told_in_words(tmp_path):
    saved, data = fresh(fn.serial(fn.dense(3)), fn.Key(0).normal((9, 4)), np.arange(9) % 3)
    page = written(tmp_path, saved, data, environment={"gone on with": [["a: 1 -> 2", "b: 3 -> 4"], ["a: 1 -> 5"]]})
    assert page.facts[-2:] == ["gone on with", "a: 1 -> 2, b: 3 -> 4a: 1 -> 5"]


def test_names_that_are_no_text_stand_there_in_escapes(tmp_path):
    name = os.fsdecode(b"\xe9t\xe9")
    saved, data = fresh(fn.serial(fn.dense(3)), fn.Key(0).normal((9, 4)), np.arange(9) % 3, (name, "b", "c"))
    page = written(tmp_path, saved, data, config={"data_dir": name})
    assert page.tables["confusion"][1][0] == page.facts[-1] == r"\udce9t\udce9"


def test_a_perfect_model_has_no_mistakes(tmp_path):
    saved, inputs = diagonal()
    batch = fn.Batch(inputs, np.arange(3))
    page = written(tmp_path, saved, fn.Dataset("three", batch, batch, ("a", "b", "c"), "unit"))
    assert "100.00% <small>± 0.00%</small>" in page.text
    assert "every test sample is classified right" in page.text
    assert "Training</h2>" not in page.text
    assert not page.all("img")


def test_a_class_without_samples_has_zeros(tmp_path):
    saved, inputs = diagonal()
    batch = fn.Batch(inputs[:2], np.array([0, 2]))
    page = written(tmp_path, saved, fn.Dataset("two", batch, batch, (), "unit"))
    assert [row[1:] for row in page.tables["confusion"][1:]] == [["1", "0", "0"], ["0", "0", "0"], ["0", "1", "0"]]
    assert page.tables["classes"][2] == ["1", "0.0000", "0.0000", "0.0000", "0"]


def test_probabilities_are_taken_as_such(tmp_path):
    pages = []
    for layers in ((), (fn.softmax(),), (fn.log_softmax(),)):
        saved, inputs = diagonal(*layers)
        batch = fn.Batch(inputs / 10, np.eye(3)[[0, 1, 1]])
        page = written(tmp_path, saved, fn.Dataset("three", batch, batch, (), "unit"))
        pages.append(re.search(r"<dl>.*?</dl>", page.text, re.DOTALL)[0])
    assert pages[0] == pages[1] == pages[2]


@pytest.mark.parametrize(("in_shape", "images"), [((12, 20), True), ((12, 20, 1), True), ((12, 20, 3), False)])
def test_images_need_not_be_square(tmp_path, in_shape, images):
    targets = np.arange(10) % 2
    page = written(tmp_path, *fresh(fn.serial(fn.flatten(), fn.dense(2)), fn.Key(1).normal((10, *in_shape)), targets))
    assert {decoded(image).size for image in page.all("img")} == ({(20, 12)} if images else set())


def test_only_weights_of_pixels_are_shown(tmp_path):
    model = fn.serial(fn.conv2d(4, 3), fn.flatten(), fn.dense(2))
    page = written(tmp_path, *fresh(model, fn.Key(1).normal((10, 8, 8, 1)), np.arange(10) % 2))
    assert "First-layer weights" not in page.text


def test_a_long_history_keeps_the_page_small(learned, tmp_path):
    saved, data, history = learned
    row = attrs.asdict(history[0])
    long = [Row(**{**row, "epoch": epoch, "test_loss": 2 + np.sin(epoch)}) for epoch in range(1, 2001)]
    written(tmp_path, saved, data, long)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_memory_stays_bounded(tmp_path):
    sizes = []

    def forward(params, x, mode):
        sizes.append(len(x))
        return fn.dense(2).forward(params, x, mode)

    model = fn.Layer(fn.dense(2).init, forward, fn.dense(2).vjp)
    written(tmp_path, *fresh(model, fn.Key(1).normal((2500, 4)), np.arange(2500) % 2))
    assert [size for size in sizes if size > 1] == [1000, 1000, 500]  # the summary looks at one sample


@pytest.mark.parametrize(("model", "message"), [(fn.dense(1), "takes a classifier"), (fn.dense(2), "labels below")])
def test_what_is_no_classifier_of_the_data_is_refused(tmp_path, model, message):
    with pytest.raises(fn.InputError, match=message):
        written(tmp_path, *fresh(model, fn.Key(0).normal((9, 4)), np.arange(9) % 3))
