"""A user's picture, size-normalized and centred like MNIST's pictures.

Those have light ink on black, scaled with its aspect ratio to fit 20x20 pixels, with its centre of mass in the middle
of 28x28. Each step is a function from a picture to a picture. A picture that already has this form hardly changes.
"""

from functools import partial
from pathlib import Path

import numpy as np
from toolz import pipe

from funcnn.annotations import Float32, UInt8
from funcnn.arrays import Array, Shape, check_array
from funcnn.data.images import in_memory, pillow, read_image
from funcnn.errors import InputError, is_one_of, require

__all__ = ["INKS", "as_mnist", "read_as_mnist"]

INKS = ("auto", "dark", "light")
"""Ink that is darker or lighter than its ground; "auto" finds out, and takes the border as ground."""

SIDE, FITTED = 28, 20
"""The side of MNIST's pictures, and of the box around their ink."""

_COARSE, _FINE = 1024, 128
"""The longest sides of the pictures in which the ink is searched for, and from which the strokes are taken."""


def read_as_mnist(path: str | Path, ink: str = "auto") -> UInt8[Array, "28 28"]:
    """:func:`as_mnist` of the image in a file; every error names the file."""
    pixels = read_image(path)
    try:
        with in_memory(path):
            return as_mnist(pixels, ink)
    except InputError as error:
        raise error.within(f"{path}:") from None


def as_mnist(pixels: UInt8[Array, "height width 4"], ink: str = "auto") -> UInt8[Array, "28 28"]:
    """A picture in the form of MNIST's: 28 x 28 pixels in [0, 255], light ink on black.

    Uneven light and noise are removed as far as the border shows them. :func:`funcnn.data.scale` turns the pixels into
    inputs.

    Args:
        pixels: Red, green, blue and opacity.
        ink: ``"dark"`` for ink that is darker than its ground, ``"light"`` for lighter, or ``"auto"``.

    Raises:
        InputError: ``ink`` or the pixels are something else, or the picture is blank.

    >>> paper = np.full((60, 40, 4), 255, np.uint8)
    >>> paper[10:50, 15:20, :3] = 0                                       # a black bar
    >>> places = np.argwhere(as_mnist(paper) > 127)
    >>> places.min(axis=0).tolist(), places.max(axis=0).tolist()
    ([4, 13], [23, 14])
    """
    require(is_one_of(ink, INKS), "as_mnist", f"an ink of {', '.join(INKS)}", repr(ink))
    check_array("as_mnist", "pixels", pixels)
    fits = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4 and pixels.size > 0
    require(fits, "as_mnist", "pixels (height, width, 4) uint8, at least one", f"{pixels.dtype} {pixels.shape}")
    return pipe(pixels, _grey, partial(_with_light_ink, ink=ink), _window, _strokes, _fitted, _centred)


def _grey(pixels: UInt8[Array, "height width 4"]) -> UInt8[Array, "height width"]:
    """The luminance on a white or black ground, whichever gives more contrast."""
    image = pillow().Image
    luminance, opacity = image.fromarray(pixels).convert("LA").split()
    grounds = (image.new("L", luminance.size, level) for level in (255, 0))
    return max((np.asarray(image.composite(luminance, ground, opacity)) for ground in grounds), key=np.ptp)


def _with_light_ink(grey: UInt8[Array, "height width"], ink: str) -> UInt8[Array, "height width"]:
    """The picture, or its negative if the ink is dark."""
    if ink == "auto":
        raised, _ = _raised(_reduced(grey, _COARSE))
        ink = "dark" if -raised.min() > raised.max() else "light"
    return 255 - grey if ink == "dark" else grey


def _window(grey: UInt8[Array, "height width"]) -> UInt8[Array, "window_height window_width"]:
    """The part of the picture that holds the ink, and a tenth more on every side."""
    rows, columns = _box(_strength(_reduced(grey, _COARSE)), 0.5)
    margin = 2 + max(rows.stop - rows.start, columns.stop - columns.start) // 10
    factor = _factor(grey.shape, _COARSE)
    window = (slice(max(0, side.start - margin) * factor, (side.stop + margin) * factor) for side in (rows, columns))
    return grey[tuple(window)]


def _strokes(window: UInt8[Array, "height width"]) -> Float32[Array, "box_height box_width"]:
    """The strength of the ink in its box."""
    strength = _strength(_reduced(window, _FINE))
    return strength[_box(strength, 0.2)]


def _fitted(strokes: Float32[Array, "height width"]) -> Float32[Array, "fitted_height fitted_width"]:
    """The strokes, scaled to a longer side of 20 pixels and a greatest strength of 1."""
    image, scale = pillow().Image, FITTED / max(strokes.shape)
    height, width = (max(1, round(scale * length)) for length in strokes.shape)
    fitted = np.clip(image.fromarray(strokes).resize((width, height), image.Resampling.BICUBIC), 0, None)
    return fitted / fitted.max()


def _centred(fitted: Float32[Array, "height width"]) -> UInt8[Array, "28 28"]:
    """The strokes on black, with their centre of mass as near to the middle as possible."""

    def place(mass: Float32[Array, " length"]) -> slice:
        centre = np.average(np.arange(len(mass)), weights=mass)
        start = int(np.clip(SIDE // 2 - int(centre + 0.5), 0, SIDE - len(mass)))
        return slice(start, start + len(mass))

    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[place(fitted.sum(axis=1)), place(fitted.sum(axis=0))] = np.round(255 * fitted)
    return pixels


def _box(strength: Float32[Array, "height width"], level: float) -> tuple[slice, slice]:
    """The rows and the columns of the ink that is stronger than ``level``.

    Two thousandths of the ink are cut off at each end, so a speck does not stretch the box.
    """

    def span(mass: Float32[Array, " length"]) -> slice:
        share = np.cumsum(mass) / mass.sum()
        return slice(int(np.searchsorted(share, 0.002, side="right")), int(np.searchsorted(share, 0.998)) + 1)

    ink = np.where(strength > level, strength, 0)
    return span(ink.sum(axis=1)), span(ink.sum(axis=0))


def _strength(grey: UInt8[Array, "height width"]) -> Float32[Array, "height width"]:
    """The amount of light ink in each pixel, from 0 to 1."""
    raised, noise = _raised(grey)
    most = raised.max()
    if most < 8 * max(noise, 1):
        hint = "draw it larger or darker, crop the picture, or say whether the ink is dark or light"
        raise InputError("as_mnist", "ink on a plain ground", "a picture with nothing but ground", hint)
    least = 3 * noise
    return np.clip((raised - least) / (most - least), 0, 1)


def _raised(grey: UInt8[Array, "height width"]) -> tuple[Float32[Array, "height width"], float]:
    """How many grey levels each pixel is lighter than its ground, and the roughness of the ground in grey levels.

    The ground is the quadratic surface with the least absolute deviations from the border, so ink that touches the
    border does not move it. A penalty on all terms but the constant keeps it level if half of the border is ink.
    """
    levels, border, width = grey.astype(np.float32), np.ones(grey.shape, bool), 1 + min(grey.shape) // 50
    border[width:-width, width:-width] = False
    y, x = np.meshgrid(*(np.linspace(-1, 1, length, dtype=np.float32) for length in grey.shape), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    ground = levels[border]
    penalty = 0.1 * len(ground) * np.eye(6, dtype=np.float32)[1:]
    design, target = np.concatenate([terms[border], penalty]), np.concatenate([ground, np.zeros(5, np.float32)])
    surface = np.array([np.median(ground), 0, 0, 0, 0, 0], np.float32)
    for _ in range(10):  # least squares, reweighted by their deviations, converge to least absolute deviations
        deviations = np.abs(target - design @ surface)
        weighted = design / np.maximum(deviations, 1)[:, None]
        surface = np.linalg.solve(weighted.T @ design, weighted.T @ target)
    roughness = np.quantile(deviations[: len(ground)], 0.25) / 0.47  # about the median, if no ink is on the border
    return levels - terms @ surface, float(roughness)


def _reduced(grey: UInt8[Array, "height width"], side: int) -> UInt8[Array, "small_height small_width"]:
    """The picture, shrunk by averaging squares of pixels until no side is longer than ``side``."""
    return np.asarray(pillow().Image.fromarray(grey).reduce(_factor(grey.shape, side)))


def _factor(shape: Shape, side: int) -> int:
    return -(-max(shape) // side)
