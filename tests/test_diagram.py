"""The figure of an architecture: well-formed, every layer once, with the shapes that ``init`` gives."""

import xml.etree.ElementTree as ET
from collections import Counter

import pytest

import funcnn as fn
from funcnn import tree
from funcnn.diagram import BRANCHING
from funcnn.outline import outline
from funcnn.spec import described
from tests.catalogue import LAYERS, LAYERS_OF_INDICES, named

KEY = fn.Key(0)
SVG = "{http://www.w3.org/2000/svg}"


def boxes(layer, in_shape):
    """The lines of text in each box, whole where the figure cuts them, and each text that stands in no box."""
    root = ET.fromstring(fn.diagram(layer, in_shape))
    assert root.tag == f"{SVG}svg"
    found = []
    for group in root.iter(f"{SVG}g"):
        if lines := [text.text for text in group.findall(f"{SVG}text")]:
            whole = group.findtext(f"{SVG}title")
            found.append([whole, *lines[1:]] if whole else lines)
    return found


def expected(part):
    """The boxes of a part, in the order of its outline."""
    if not part.parts:
        count = f" · {part.parameters:,} parameters" if part.parameters else ""
        return [[repr(part.layer), f"{part.out_shape}{count}"]]
    inside = [box for each in part.parts for box in expected(each)]
    name = part.layer.spec.name
    end = [[name, str(part.out_shape)]] if name in BRANCHING else []
    title = [] if end or name in ("serial", "repeat") else [[f"{name} {part.out_shape}"]]
    return [*title, *inside, *end]


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS + LAYERS_OF_INDICES, ids=named)
def test_every_layer_stands_once_with_its_shape_and_parameters(layer, in_shape):
    part = outline(layer, in_shape)
    params, out_shape = layer.init(KEY, in_shape)
    assert (part.in_shape, part.out_shape, part.parameters) == (in_shape, out_shape, tree.size(params))
    first, *rest = boxes(layer, in_shape)
    assert first == ["input", str(in_shape)]
    assert Counter(map(tuple, rest)) == Counter(map(tuple, expected(part)))


def test_the_boxes_are_those_of_the_layers():
    model = fn.serial(fn.dense(4), fn.residual(fn.serial(fn.relu(), fn.dense(4))), fn.concatenate(fn.tanh(), fn.relu()))
    assert boxes(model, (3,)) == [
        ["input", "(3,)"],
        ["dense(4)", "(4,) · 16 parameters"],
        *(["relu()", "(4,)"], ["dense(4)", "(4,) · 20 parameters"], ["residual", "(4,)"]),
        *(["tanh()", "(4,)"], ["relu()", "(4,)"], ["concatenate", "(8,)"]),
    ]
    assert ["recurrent (5, 4)"] in boxes(fn.recurrent(fn.gru(), 4), (5, 3))


def rectangles(element, x=0.0, y=0.0):
    """Left, top, right and bottom of each rectangle, where all translations around it put it."""
    if "transform" in element.attrib:
        dx, dy = map(float, element.get("transform").removeprefix("translate(").removesuffix(")").split())
        x, y = x + dx, y + dy
    if element.tag == f"{SVG}rect" and "stroke-dasharray" not in element.attrib:
        yield x, y, x + float(element.get("width")), y + float(element.get("height"))
    for child in element:
        yield from rectangles(child, x, y)


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=named)
def test_boxes_stand_apart_and_inside_the_figure(layer, in_shape):
    root = ET.fromstring(fn.diagram(layer, in_shape))
    found = [*rectangles(root)]
    for left, top, right, bottom in found:
        assert min(left, top) > 0
        assert right < float(root.get("width"))
        assert bottom < float(root.get("height"))
        beside = [not (right < a or c < left or bottom < b or d < top) for a, b, c, d in found]
        assert sum(beside) == 1  # itself


def test_what_runs_beside_each_other_stands_beside_each_other():
    branches, chain = (ET.fromstring(fn.diagram(made(fn.dense(3), fn.dense(4)), (2,))) for made in (fn.fork, fn.serial))
    (_, a, _, _), (_, b, _, _) = [*rectangles(branches)][1:3]
    assert a == b
    (a, _, b, end), (c, start, d, _) = [*rectangles(chain)][1:3]
    assert (a + b, end < start) == (c + d, True)


def test_any_name_is_escaped_and_a_long_one_cut():
    class Odd:
        def __repr__(self):
            return "<b>&\"'\0\n" + 60 * "x"

    @described
    def oddly(thing):
        return fn.relu()

    letters = "oddly(<b>&\"'\\x00 " + 60 * "x" + ")"
    assert boxes(oddly(Odd()), (2,))[1] == [letters, "(2,)"]
    own = fn.elementwise(lambda x: x, lambda x: x)
    assert boxes(fn.add(own, own), (2,))[1:3] == 2 * [["<Layer without a spec>", "(2,)"]]


def test_what_has_no_figure_is_refused():
    with pytest.raises(fn.InputError, match=r"diagram: expected a Layer, got .*; call its constructor"):
        fn.diagram(fn.relu, (2,))
    with pytest.raises(fn.InputError, match=r"serial\[0\] conv2d.*got \(batch, 28, 28\)"):
        fn.diagram(fn.serial(fn.conv2d(2)), (28, 28))
