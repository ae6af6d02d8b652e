"""The canvas to draw on in a report: what the page holds is the model, and what it computes is what predict says.

Its JavaScript runs in Node.js where there is one; what it is given is tested without.
"""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import attrs
import numpy as np
import pytest
from toolz import concat

import funcnn as fn
from funcnn import tree
from funcnn.data import as_mnist, scale
from funcnn.runs import drawing
from funcnn.runs.classifier import classifier_sections, logits_of
from funcnn.runs.drawing import LAYERS, drawing_section, in_page
from tests import catalogue
from tests.canvases import digits
from tests.test_report import Page

KEY = fn.Key(0)
DATA = fn.load_dataset("mnist_5k")
PERCEPTRON = fn.serial(fn.dense(128), fn.relu(), fn.dropout(0.5), fn.dense(64), fn.relu(), fn.dense(10))
SCRIPTS = Path(drawing.__file__).parent


def drawn(model, in_shape):
    """Random params: vectors too, which initializers leave at 0 or 1."""
    params, _ = model.init(KEY, in_shape)
    keys = (KEY.at("vectors", i) for i in range(len(tree.leaves(params))))
    return tree.map(lambda leaf: leaf if leaf.ndim > 1 else leaf + 0.3 * next(keys).uniform(leaf.shape), params)


def rounded(params):
    """The params as the page holds them."""
    return tree.map(lambda leaf: leaf.astype(np.float16).astype(leaf.dtype) if leaf.ndim > 1 else leaf, params)


def data_of(section):
    """What the page is given."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', section.html, re.DOTALL)[1])


def decoded(data):
    """The arrays of all layers, in order."""
    content, arrays, at = base64.b64decode(data["arrays"]), [], 0
    for _, shape in concat(layer["params"] for layer in data["layers"]):
        dtype = np.dtype("<f2" if len(shape) > 1 else "<f4")
        arrays.append(np.frombuffer(content, dtype, int(np.prod(shape)), at).reshape(shape))
        at += arrays[-1].nbytes
    assert at == len(content)
    return arrays


@pytest.fixture(scope="module")
def node():
    """The values of a JavaScript expression for each of some given things, with the scripts of the page."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node.js to run the page's JavaScript; `node` is looked for on the PATH")
    source = "\n".join((SCRIPTS / name).read_text() for name in ("network.js", "picture.js"))

    def values(expression, given):
        last = f'const given = JSON.parse(require("fs").readFileSync(0)); const f = {expression};'
        code = f'"use strict"; {source}\n{last} console.log(JSON.stringify(given.map(one => [...f(one)])));'
        end = subprocess.run([program, "-e", code], input=json.dumps(given), capture_output=True, text=True)
        assert end.returncode == 0, end.stderr
        return [np.array(value) for value in json.loads(end.stdout)]

    return values


CASES = [
    *((layer, shape) for layer, shape in catalogue.LAYERS if layer.spec.name in LAYERS),
    (fn.serial(fn.repeat(2, fn.serial(fn.dense(4), fn.tanh())), fn.serial(), fn.dense(3), fn.softmax()), (4,)),
    (fn.serial(fn.conv2d(3, (5, 4), stride=(2, 3)), fn.batch_norm(), fn.relu(), fn.flatten(), fn.dense(2)), (9, 8, 2)),
    (fn.serial(fn.conv2d(2, 3, stride=2), fn.max_pool2d((3, 2), stride=(1, 2)), fn.avg_pool2d(2)), (12, 12, 1)),
    (fn.serial(fn.dense(3), fn.flatten(), fn.dense(2)), (2, 4)),
]


NETWORK = "({ data, x }) => network(data)(Float64Array.from(x))"


def test_every_layer_of_the_page_gives_what_predict_gives(node):
    expected, given = [], []
    for i, (layer, shape) in enumerate(CASES):
        params, x = drawn(layer, shape), 2 * KEY.at("x", i).normal((3, *shape))
        expected.extend(fn.predict(layer, rounded(params), x).reshape(3, -1))
        given += [{"data": in_page(layer, params, shape), "x": sample.ravel().tolist()} for sample in x]
    assert {layer.spec.name for layer, _ in CASES} >= {*LAYERS}
    found = node(NETWORK, given)
    for y, other, (layer, _) in zip(expected, found, np.repeat(np.array(CASES, object), 3, axis=0), strict=True):
        np.testing.assert_allclose(other, y, atol=2e-5, rtol=2e-5, err_msg=repr(layer))


def test_another_network_gives_others(node):
    """The comparison sees a weight that is off by a hundredth."""
    model, shape = fn.dense(3), (4,)
    params, x = drawn(model, shape), KEY.normal((1, 4))
    off = attrs.evolve(params, weights=params.weights + 0.01 * (np.arange(12) == 5).reshape(4, 3))
    (found,) = node(NETWORK, [{"data": in_page(model, off, shape), "x": x[0].tolist()}])
    assert not np.allclose(found, fn.predict(model, rounded(params), x)[0], atol=2e-5, rtol=2e-5)


def sheets():
    """Drawings of light ink as the page has them, 128 x 128 pixels: digits of four sizes, a dot, two bars, a block."""
    whole = np.zeros((44, 128, 128), np.uint8)
    for i, image in enumerate(digits(DATA, 40)[0]):
        large = np.kron(image, np.ones((1 + i % 4, 1 + i % 4), np.uint8))
        top, left = i % 15, 16 - i % 17
        whole[i, top : top + len(large), left : left + len(large)] = large
    whole[40, 60, 70] = whole[41, 5:9, :101] = whole[42, 20:110, 64:70] = 255
    whole[43, 10:-10, 10:-10] = 200
    return whole


def test_the_page_sees_a_drawing_as_predict_does(node):
    given = [{"height": 128, "width": 128, "data": sheet.ravel().tolist()} for sheet in sheets()]
    found = np.stack(node("ink => asMnist({ ...ink, data: Float64Array.from(ink.data) }).data", given))
    papers = np.stack([255 - sheets()] * 3 + [np.full_like(sheets(), 255)], axis=-1)
    expected = np.stack([as_mnist(paper) for paper in papers]).reshape(found.shape)
    assert np.abs(found - expected).max() <= 1  # by rounding
    assert (found != expected).sum() < 10


def test_a_blank_canvas_shows_nothing(node):
    (found,) = node("() => asMnist({ height: 4, width: 4, data: new Float64Array(16) }).data", [0])
    assert not found.any()


SAY = """({ data: { scaling: [offset, divisor], ...saved }, images }) => {
    const predict = network(saved);
    return images.flatMap(image => [...probabilities(predict(Float64Array.from(image, p => (p - offset) / divisor)))]);
}"""


def test_the_probabilities_of_the_page_are_those_of_predict(node):
    images, _ = digits(DATA, 100)
    lenet = [fn.reshape(28, 28, 1), fn.conv2d(3, 5), fn.batch_norm(), fn.max_pool2d(4), fn.flatten(), fn.dense(10)]
    for model in (PERCEPTRON, fn.serial(*lenet), fn.serial(*lenet, fn.softmax())):
        params = drawn(model, (784,))
        data = data_of(drawing_section(model, params, (784,), "symmetric", DATA.class_names))
        (found,) = node(SAY, [{"data": data, "images": images.reshape(100, 784).tolist()}])
        logits = logits_of(model, params, scale(images, "symmetric"))
        np.testing.assert_allclose(found.reshape(100, 10), fn.predict(fn.softmax(), (), logits), atol=5e-3)
        assert np.mean(found.reshape(100, 10).argmax(axis=1) == logits.argmax(axis=1)) >= 0.99


def test_what_the_page_holds_is_the_model():
    params = drawn(PERCEPTRON, (784,))
    section = drawing_section(PERCEPTRON, params, (784,), "unit", DATA.class_names)
    data = data_of(section)
    assert data["scaling"] == [0, 255]
    assert [layer["name"] for layer in data["layers"]] == ["dense", "relu", "dropout", "dense", "relu", "dense"]
    arrays = [["weights", [784, 128]], ["biases", [128]]]
    assert data["layers"][0] == {"name": "dense", "features": 128, "shape": [784], "out": [128], "params": arrays}
    for found, leaf in zip(decoded(data), tree.leaves(params), strict=True):
        np.testing.assert_allclose(found, leaf, rtol=2**-11 if leaf.ndim > 1 else 0, atol=2**-25)
    assert 292_000 < len(section.html) < 320_000
    scripts = [path.read_text().strip() for path in SCRIPTS.glob("*.js")]
    assert len(scripts) == 3
    assert all(script in section.html for script in scripts)  # as they are, though they pass through a template


def test_every_name_is_escaped_and_the_page_fetches_nothing():
    names = ("</script><b>&'\"", *"123456789")
    page = Page(f"<main>{drawing_section(PERCEPTRON, drawn(PERCEPTRON, (784,)), (784,), 'unit', names).html}</main>")
    assert [row.findtext("th") for row in page.root.iter("tr")][1:] == [*names]
    assert "http" not in page.text
    assert not re.search(r"fetch|import|XMLHttp|eval|innerHTML", page.text)
    assert "hidden" in next(page.root.iter("div")).attrib  # until JavaScript shows it
    assert page.root.find("noscript/p") is not None


def test_a_report_has_a_canvas_or_says_why_there_is_none():
    def first(model, **options):
        params, _ = model.init(KEY, (784,))
        return next(iter(classifier_sections(model, DATA.test, **options)(params)))

    assert first(fn.dense(10)).title == "Classifier"
    assert '<canvas width="28"' in first(fn.dense(10), scaling="unit").html
    wide, unknown = fn.serial(fn.dense(700), fn.dense(10)), fn.serial(fn.layer_norm(), fn.dense(10))
    assert "expected a model of at most 1,000,000 bytes, got 1114440" in first(wide, scaling="unit").html
    told = first(unknown, scaling="unit")
    assert (told.title, "drawing_section 0 layer_norm(): expected a layer that the page" in told.html) == ("Draw", True)
    with pytest.raises(fn.InputError, match=r"classifier_sections: expected a scaling of unit, symmetric, or None"):
        classifier_sections(fn.dense(10), DATA.test, scaling="standard")


def changed(**fields):
    """The arguments of a section, with other ones."""
    params, _ = PERCEPTRON.init(KEY, (784,))
    known = {"model": PERCEPTRON, "params": params, "in_shape": (784,), "scaling": "unit"}
    return {**known, "class_names": DATA.class_names, **fields}


def with_weight(value):
    first, *rest = changed()["params"]
    weights = np.where(np.arange(first.weights.size).reshape(first.weights.shape) == 7, value, first.weights)
    return (attrs.evolve(first, weights=weights.astype(np.float32)), *rest)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"in_shape": (20,)}, r"drawing_section: expected inputs \(784,\), \(28, 28\), \(28, 28, 1\), got \(20,\)"),
        ({"scaling": "standard"}, "drawing_section: expected a scaling of unit, symmetric, got 'standard'"),
        ({"class_names": ("a", "b")}, r"drawing_section: expected an output for each of 2 names, got \(10,\)"),
        ({"params": with_weight(1e5)}, r"drawing_section 0 weights: expected finite numbers up to 65504"),
        ({"params": with_weight(np.nan)}, r"drawing_section 0 weights: expected finite numbers"),
        ({"params": changed()["params"][:2]}, r"serial: expected the params of 6 layers, got those of 2"),
        ({"model": fn.serial(fn.residual(fn.relu()), fn.dense(10)), "params": None}, r"residual\(relu\(\)\): expected"),
        ({"model": fn.serial(fn.elementwise(abs, abs), fn.dense(10)), "params": None}, "a layer that the page knows"),
    ],
)
def test_what_the_page_cannot_compute_is_refused(fields, message):
    given = changed(**fields)
    if given["params"] is None:
        given["params"], _ = given["model"].init(KEY, (784,))
    with pytest.raises(fn.InputError, match=message):
        drawing_section(**given)


def test_python_and_javascript_know_the_same_layers(node):
    (names,) = node("() => Object.keys(LAYERS)", [0])
    assert {*names} == {*LAYERS}
