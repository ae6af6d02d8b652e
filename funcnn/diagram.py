"""A figure of a model's architecture, as SVG.

A drawing composes as layers do: what :func:`funcnn.serial` composes stands below each other, what has the same input or
a tuple of inputs stands side by side. Every drawing is entered at the middle of its top and left at the middle of its
bottom, so nesting needs no special case.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import attrs

from funcnn.arrays import Shapes
from funcnn.errors import printable
from funcnn.layer import Layer, check_layer
from funcnn.outline import Part, outline

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["diagram"]

BRANCHING = ("add", "concatenate", "fork", "parallel", "residual")
"""Layers that run the layers inside them side by side."""

_LETTER, _LINE = 7.25, 17.0  # of a monospaced font of 12 pixels
_GAP, _APART, _MARGIN = 18.0, 20.0, 10.0
_LONGEST = 44  # letters; what is longer is cut, and a tooltip has all of it
_BLUE = "#3b82c4"


def diagram(model: Layer, in_shape: Shapes) -> str:
    """An SVG figure of the model: a box for each layer, with its output shape and its number of parameters.

    The branches of :func:`funcnn.add`, :func:`funcnn.concatenate`, :func:`funcnn.fork`, :func:`funcnn.parallel` and
    :func:`funcnn.residual` stand side by side. Layers with parameters are blue. Lines and letters have the colour of
    the text around the figure.

    Raises:
        InputError: The model is no layer, or the shapes do not fit.

    >>> import funcnn as fn
    >>> svg = diagram(fn.serial(fn.dense(128), fn.relu(), fn.dense(10)), (784,))
    >>> svg[:4], "dense(128)" in svg, "100,480 parameters" in svg
    ('<svg', True, True)
    """
    check_layer("diagram", model)
    whole = _stacked([_box(["input", str(in_shape)], "start"), _drawn(outline(model, in_shape))])
    width, height = whole.width + 2 * _MARGIN, whole.height + 2 * _MARGIN
    from xml.etree import ElementTree  # here, as it takes 10 ms

    svg = _element(
        "svg",
        [_moved(whole, _MARGIN, _MARGIN)],
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        style=f"max-width: {width:g}px",
    )
    return ElementTree.tostring(svg, encoding="unicode")


@attrs.frozen(eq=False)
class Drawing:
    """Elements within (0, 0) and (width, height)."""

    width: float
    height: float
    elements: tuple["Element", ...] = ()


def _drawn(part: Part) -> Drawing:
    """The layer, with all layers inside it."""
    spec = part.layer.spec
    if not part.parts or spec is None:
        count = f" · {part.parameters:,} parameters" if part.parameters else ""
        name = printable(" ".join(repr(part.layer).split()))  # XML has no control characters
        return _box([name, f"{part.out_shape}{count}"], "layer" if count else "plain")
    inside = [_drawn(each) for each in part.parts]
    if spec.name in BRANCHING:
        skip = [Drawing(_APART, 0)] if spec.name == "residual" else []
        return _beside([*inside, *skip], _box([spec.name, str(part.out_shape)], "pill"))
    stack = _stacked(inside)
    return stack if spec.name in ("serial", "repeat") else _framed(stack, f"{spec.name} {part.out_shape}")


def _stacked(drawings: Sequence[Drawing]) -> Drawing:
    """Below each other, each joined to the next."""
    width = max(drawing.width for drawing in drawings)
    tops = [*accumulate((drawing.height + _GAP for drawing in drawings), initial=0.0)]
    placed = [_moved(each, (width - each.width) / 2, top) for each, top in zip(drawings, tops, strict=False)]
    joints = [_path(f"M{width / 2:g} {top - _GAP:g}v{_GAP:g}") for top in tops[1:-1]]
    return Drawing(width, tops[-1] - _GAP, (*placed, *joints))


def _beside(drawings: Sequence[Drawing], end: Drawing) -> Drawing:
    """Side by side, from one line into all of them, and from all of them into ``end``."""
    inner = sum(drawing.width for drawing in drawings) + _APART * (len(drawings) - 1)
    width, height = max(inner, end.width), max(drawing.height for drawing in drawings)
    lefts = [*accumulate((drawing.width + _APART for drawing in drawings), initial=(width - inner) / 2)]
    top, bottom, elements = _GAP, 2 * _GAP + height, []
    for drawing, left in zip(drawings, lefts, strict=False):
        middle = left + drawing.width / 2
        elements.append(_moved(drawing, left, top))
        elements.append(_path(f"M{width / 2:g} 0V{top / 2:g}H{middle:g}V{top:g}"))
        elements.append(_path(f"M{middle:g} {top + drawing.height:g}V{bottom - _GAP / 2:g}H{width / 2:g}"))
    elements.append(_path(f"M{width / 2:g} {bottom - _GAP / 2:g}V{bottom:g}"))
    elements.append(_moved(end, (width - end.width) / 2, bottom))
    return Drawing(width, bottom + end.height, tuple(elements))


def _framed(inside: Drawing, title: str) -> Drawing:
    """In a frame with a title, as a layer of layers that runs them in a way of its own."""
    width, height = max(inside.width, 2 * _LETTER * len(title)) + 2 * _APART, inside.height + 2 * _GAP + _LINE
    frame = _element("rect", width=f"{width:g}", height=f"{height:g}", rx="8", fill="none", stroke="currentColor")
    frame.set("stroke-dasharray", "4 3")
    top, left = _GAP + _LINE, (width - inside.width) / 2
    through = [_path(f"M{width / 2:g} {a:g}V{b:g}") for a, b in ((0, top), (top + inside.height, height))]
    heading = _text(title, 8, _LINE, bold=True, anchor="start")
    return Drawing(width, height, (frame, *through, heading, _moved(inside, left, top)))


def _box(lines: Sequence[str], kind: str) -> Drawing:
    """Lines of text in a box, the first one bold, with the head of an arrow that ends there."""
    shown = [line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…" for line in lines]
    width, height = _LETTER * max(map(len, shown)) + 24, _LINE * len(shown) + 12
    box = _element("rect", width=f"{width:g}", height=f"{height:g}", rx="5" if kind in ("layer", "plain") else "17")
    box.set("fill", _BLUE if kind == "layer" else "currentColor")
    box.set("fill-opacity", {"layer": "0.2", "plain": "0.05"}.get(kind, "0"))
    box.set("stroke", _BLUE if kind == "layer" else "currentColor")
    texts = [_text(line, width / 2, _LINE * (i + 1), bold=i == 0) for i, line in enumerate(shown)]
    whole = [_element("title", text=line) for line, part in zip(lines, shown, strict=True) if line != part][:1]
    head = [] if kind == "start" else [_path(f"M{width / 2:g} 0m-4 -5l4 5l4 -5")]
    return Drawing(width, height, (_element("g", [*whole, box, *texts, *head]),))


def _text(line: str, x: float, y: float, *, bold: bool, anchor: str = "middle") -> "Element":
    text = _element("text", text=line, x=f"{x:g}", y=f"{y:g}", fill="currentColor", opacity="1" if bold else "0.75")
    text.attrib |= {"text-anchor": anchor, "font-family": "monospace", "font-size": "12"}
    text.set("font-weight", "bold" if bold else "normal")
    return text


def _path(steps: str) -> "Element":
    return _element("path", d=steps, fill="none", stroke="currentColor")


def _moved(drawing: Drawing, x: float, y: float) -> "Element":
    return _element("g", drawing.elements, transform=f"translate({x:g} {y:g})")


def _element(tag: str, children: Sequence["Element"] = (), *, text: str | None = None, **attributes: str) -> "Element":
    from xml.etree.ElementTree import Element

    element = Element(tag, attributes)
    element.text = text
    element.extend(children)
    return element
