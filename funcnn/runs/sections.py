"""Sections that an experiment can add to its report: figures, images and text as escaped HTML."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from funcnn.arrays import Array
from funcnn.errors import require
from funcnn.runs import figures
from funcnn.runs.experiment import Section

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def figure_section(title: str, figure: Figure, note: str = "") -> Section:
    """A matplotlib figure, made without pyplot; black and white become the text and background colours of the page."""
    svg = figures.inline_svg(figure, f"section {title}")
    return Section(title, rendered("figure", title, svg, figure.get_figwidth(), note))


def images_section(title: str, images: Iterable[Array], note: str = "", captions: Sequence[str] = ()) -> Section:
    """A grid of images.

    Each is (height, width), or (height, width, 3) for red, green and blue. Integers range from 0 to 255, other numbers
    from the least to the greatest in all images.

    Raises:
        InputError: An image has another shape, or there are not as many captions as images.
    """
    arrays = [np.asarray(image) for image in images]
    for index, array in enumerate(arrays):
        fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
        require(fits, f"images_section[{index}]", "(height, width) or (height, width, 3)", array.shape)
    fits = len(captions) in (0, len(arrays))
    require(fits, "images_section", f"a caption for each of {len(arrays)} images, or none", len(captions))
    numbers = np.concatenate([np.zeros(0), *(array[np.isfinite(array)] for array in arrays)])
    whole = all(np.issubdtype(array.dtype, np.integer) for array in arrays)
    low, high = (0, 255) if whole or not numbers.size else (numbers.min(), numbers.max())
    uris = [figures.data_uri(array, low, high) for array in arrays]
    pictures = list(zip(uris, captions or [""] * len(uris), strict=True))
    widest = max((array.shape[1] for array in arrays), default=0)
    return Section(title, rendered("images", title, pictures, widest, note))


def text_section(title: str, text: str) -> Section:
    """Text in a monospaced font, which is smaller if a line is too long for the page."""
    return Section(title, rendered("text", text))


def rendered(macro: str, *values: Any) -> str:
    """The HTML of a macro in ``sections.html.jinja``, called with ``values``."""
    return str(getattr(TEMPLATES.get_template("sections.html.jinja").module, macro)(*values))
