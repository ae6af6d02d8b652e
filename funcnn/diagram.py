"""A figure of a model's architecture, as SVG.

A drawing composes as layers do: the layers of :func:`funcnn.serial` stand below each other, branches stand side by
side. A line enters every drawing at the middle of its top and leaves it at the middle of its bottom, so nesting needs
no special case.
"""

from collections.abc import Sequence
from itertools import accumulate

import attrs

from funcnn.arrays import Shapes
from funcnn.errors import printable
from funcnn.layer import Layer, check_layer
from funcnn.outline import Part, outline

__all__ = ["diagram"]

BRANCHING = ("add", "concatenate", "fork", "parallel", "residual")
"""Layers that run the layers inside them side by side."""

_LETTER, _LINE = 7.25, 17.0  # of a monospaced font of 12 pixels
_GAP, _APART, _MARGIN = 18.0, 20.0, 10.0
_LONGEST = 44  # letters; a longer line is cut, and a tooltip has all of it
_BLUE = "#3b82c4"


@attrs.frozen(eq=False)
class Drawing:
    """SVG within (0, 0) and (width, height)."""

    width: float
    height: float
    svg: str = ""


def diagram(model: Layer, in_shape: Shapes) -> str:
    """An SVG figure of the model: a box for each layer, with its output shape and its number of parameters.

    The branches of :func:`funcnn.add`, :func:`funcnn.concatenate`, :func:`funcnn.fork`, :func:`funcnn.parallel` and
    :func:`funcnn.residual` stand side by side. Layers with parameters are blue. Lines and letters have the colour of
    the text around the figure.

    Raises:
        InputError: The model is not a layer, or the shapes do not fit.

    >>> import funcnn as fn
    >>> svg = diagram(fn.serial(fn.dense(128), fn.relu(), fn.dense(10)), (784,))
    >>> svg[:4], "dense(128)" in svg, "100,480 parameters" in svg
    ('<svg', True, True)
    """
    check_layer("diagram", model)
    whole = _stacked([_box(["input", str(in_shape)], "start"), _drawn(outline(model, in_shape))])
    width, height = whole.width + 2 * _MARGIN, whole.height + 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" style="max-width: {width:g}px">{_moved(whole, _MARGIN, _MARGIN)}</svg>'
    )


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
    return Drawing(width, tops[-1] - _GAP, "".join([*placed, *joints]))


def _beside(drawings: Sequence[Drawing], end: Drawing) -> Drawing:
    """Side by side: a line from the top to each of them, and from each of them to ``end``."""
    inner = sum(drawing.width for drawing in drawings) + _APART * (len(drawings) - 1)
    width, height = max(inner, end.width), max(drawing.height for drawing in drawings)
    lefts = [*accumulate((drawing.width + _APART for drawing in drawings), initial=(width - inner) / 2)]
    top, bottom, parts = _GAP, 2 * _GAP + height, []
    for drawing, left in zip(drawings, lefts, strict=False):
        middle = left + drawing.width / 2
        parts.append(_moved(drawing, left, top))
        parts.append(_path(f"M{width / 2:g} 0V{top / 2:g}H{middle:g}V{top:g}"))
        parts.append(_path(f"M{middle:g} {top + drawing.height:g}V{bottom - _GAP / 2:g}H{width / 2:g}"))
    parts.append(_path(f"M{width / 2:g} {bottom - _GAP / 2:g}V{bottom:g}"))
    parts.append(_moved(end, (width - end.width) / 2, bottom))
    return Drawing(width, bottom + end.height, "".join(parts))


def _framed(inside: Drawing, title: str) -> Drawing:
    """In a frame with a title, for a layer that runs the layers inside it in its own way."""
    width, height = max(inside.width, 2 * _LETTER * len(title)) + 2 * _APART, inside.height + 2 * _GAP + _LINE
    frame = _rect(width, height, 8, 'fill="none" stroke="currentColor" stroke-dasharray="4 3"')
    top, left = _GAP + _LINE, (width - inside.width) / 2
    through = [_path(f"M{width / 2:g} {a:g}V{b:g}") for a, b in ((0, top), (top + inside.height, height))]
    heading = _text(title, 8, _LINE, bold=True, anchor="start")
    return Drawing(width, height, "".join([frame, *through, heading, _moved(inside, left, top)]))


def _box(lines: Sequence[str], kind: str) -> Drawing:
    """Lines of text in a box, the first one bold, with the head of an arrow that ends there."""
    shown = [line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…" for line in lines]
    width, height = _LETTER * max(map(len, shown)) + 24, _LINE * len(shown) + 12
    colour, opacity = _BLUE if kind == "layer" else "currentColor", {"layer": "0.2", "plain": "0.05"}.get(kind, "0")
    style = f'fill="{colour}" fill-opacity="{opacity}" stroke="{colour}"'
    box = _rect(width, height, 5 if kind in ("layer", "plain") else 17, style)
    texts = [_text(line, width / 2, _LINE * (i + 1), bold=i == 0) for i, line in enumerate(shown)]
    whole = [f"<title>{_escaped(line)}</title>" for line, part in zip(lines, shown, strict=True) if line != part][:1]
    head = [] if kind == "start" else [_path(f"M{width / 2:g} 0m-4 -5l4 5l4 -5")]
    return Drawing(width, height, f"<g>{''.join([*whole, box, *texts, *head])}</g>")


def _text(line: str, x: float, y: float, *, bold: bool, anchor: str = "middle") -> str:
    weight, opacity = ("bold", "1") if bold else ("normal", "0.75")
    return (
        f'<text x="{x:g}" y="{y:g}" fill="currentColor" opacity="{opacity}" text-anchor="{anchor}" '
        f'font-family="monospace" font-size="12" font-weight="{weight}">{_escaped(line)}</text>'
    )


def _rect(width: float, height: float, radius: int, style: str) -> str:
    return f'<rect width="{width:g}" height="{height:g}" rx="{radius}" {style} />'


def _path(steps: str) -> str:
    return f'<path d="{steps}" fill="none" stroke="currentColor" />'


def _moved(drawing: Drawing, x: float, y: float) -> str:
    return f'<g transform="translate({x:g} {y:g})">{drawing.svg}</g>'


def _escaped(line: str) -> str:
    from html import escape  # here, since it takes 10 ms

    return escape(line, quote=False)
