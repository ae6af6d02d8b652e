"""Photographs of digits that were never taken: MNIST's digits drawn large on paper or board, in uneven light."""

import numpy as np
from PIL import Image

from funcnn.data.datasets import SCALINGS


def digits(data, count):
    """The first ``count`` test images of a data set as they were before scaling, and their labels."""
    offset, divisor = SCALINGS[data.scaling]
    pixels = np.round(data.test.inputs[:count] * divisor + offset).astype(np.uint8)
    return pixels.reshape(-1, 28, 28), data.test.targets[:count]


def photograph(key, digit, ink):
    """``digit`` anywhere on a canvas, 1.5 to 12 times as large, in a light that falls off, with noise.

    Args:
        key: Draws the sizes, the place, the colours, the light and the noise.
        digit: Pixels (28, 28), light on black.
        ink: ``"dark"`` on light paper, or ``"light"`` on a dark board.
    """
    unit = iter(key.at("numbers").uniform((16,), np.float64).tolist())

    def uniform(low, high):
        return low + (high - low) * next(unit)

    side = round(28 * 1.5 * 8 ** next(unit))
    width, height = (round(uniform(max(side, least), 1000)) for least in (320, 240))
    left, top = (round(uniform(0, length - side)) for length in (width, height))
    cover = np.zeros((height, width, 1))
    enlarged = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    cover[top : top + side, left : left + side, 0] = np.asarray(enlarged) / 255
    dark, light = (np.array([uniform(*tone) for _ in range(3)]) for tone in ((5, 70), (170, 240)))
    ground, drawn = (light, dark) if ink == "dark" else (dark, light)
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    shade = 1 - uniform(0, 0.3) * x - uniform(0, 0.2) * y * y
    noise = uniform(0, 10) * key.at("noise").normal((height, width, 1))
    colours = (ground + (drawn - ground) * cover) * shade[..., None] + noise
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def rgba(image):
    """The pixels that ``read_image`` gives of an image."""
    return np.asarray(image.convert("RGBA"))
