"""A contact sheet of answers: each image, what the model saw of it, and the probabilities of the classes."""

from collections.abc import Sequence
from pathlib import Path

import attrs
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from toolz import partition_all

from funcnn.annotations import Float, UInt8
from funcnn.arrays import Array
from funcnn.files import replacing
from funcnn.runs.figures import BLUE, ORANGE
from funcnn.runs.text import one_line

SIDE, WIDTH, HEIGHT, PAGE = 168, 640, 208, 60
"""The side of a picture and the size of an answer in pixels, and the most answers of a sheet."""

_MARGIN, _BARS = 12, 120
_FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@attrs.frozen(eq=False)
class Answer:
    """A model's answer for an image: a probability for each name, and a remark if the image is doubtful."""

    path: Path
    original: Image.Image  # a thumbnail
    seen: UInt8[Array, "28 28"]  # by the model
    names: Sequence[str]
    probabilities: Float[Array, " classes"]
    remark: str

    @property
    def name(self) -> str:
        """The most probable class."""
        return self.names[int(self.probabilities.argmax())]

    @property
    def text(self) -> str:
        """The most probable class, and the remark."""
        return one_line(f"{self.name} ({self.remark})" if self.remark else self.name)


def thumbnail(pixels: UInt8[Array, "height width 4"]) -> Image.Image:
    """The image on white, as small as a picture of the sheet."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def write_sheets(folder: Path, answers: Sequence[Answer]) -> list[Path]:
    """Write all answers to one sheet, or several if there are many; returns the files."""
    pages = list(partition_all(PAGE, answers))
    numbers = [f"-{number}" for number in range(1, len(pages) + 1)] if len(pages) > 1 else [""]
    paths = [folder / f"answers{number}.png" for number in numbers]
    for path, page in zip(paths, pages, strict=True):
        with replacing(path) as part:
            contact_sheet(page).save(part)
    return paths


def contact_sheet(answers: Sequence[Answer]) -> Image.Image:
    """All answers in one image, in up to three columns."""
    columns = min(3, -(-len(answers) // 4))
    sheet = Image.new("RGB", (columns * WIDTH, -(-len(answers) // columns) * HEIGHT), "white")
    for place, answer in enumerate(answers):
        sheet.paste(_drawn(answer), (place % columns * WIDTH, place // columns * HEIGHT))
    return sheet


def _drawn(answer: Answer) -> Image.Image:
    """An answer: its text, its two pictures, and the bars of the ten most probable classes."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, large, small = ImageDraw.Draw(image), *(ImageFont.truetype(str(_FONT), size) for size in (14, 11))
    draw.text((_MARGIN, 8), f"{answer.text}   {one_line(answer.path.name)}", "black", large)
    top, seen = HEIGHT - SIDE - 8, Image.fromarray(answer.seen).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    image.paste(answer.original, (_MARGIN, top))
    draw.rectangle((_MARGIN, top, _MARGIN + answer.original.width, top + answer.original.height), outline="silver")
    image.paste(seen, (2 * _MARGIN + SIDE, top))
    likeliest = sorted(np.argsort(-answer.probabilities, kind="stable")[:10].tolist())
    names = [one_line(answer.names[number])[:14] for number in likeliest]
    left = 3 * _MARGIN + 2 * SIDE
    start = left + 8 + max(round(draw.textlength(name, small)) for name in names)
    for place, (number, name) in enumerate(zip(likeliest, names, strict=True)):
        share, y = float(answer.probabilities[number]), top + place * SIDE // 10
        draw.text((left, y), name, "black", small)
        colour = ORANGE if number == answer.probabilities.argmax() else BLUE
        draw.rectangle((start, y + 1, start + round(_BARS * share), y + SIDE // 10 - 4), colour)
        draw.text((start + _BARS + 6, y), f"{share:.2%}", "black", small)
    return image
