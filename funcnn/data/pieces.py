"""Pieces of ink: a gap between two pieces means two digits."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from funcnn.annotations import UInt8
from funcnn.arrays import Array

_INK = 63  # stronger pixels are ink; the joint of two strokes is often weak


def count_pieces(pixels: UInt8[Array, "height width"]) -> int:
    """The number of pieces of light ink that are side by side, with empty columns between them.

    A piece counts if it covers at least half of the rows of the highest piece. So the separate strokes of one digit
    count as one piece, if they are small or above each other.

    >>> pixels = np.zeros((28, 28), np.uint8)
    >>> pixels[4:24, 5:8] = pixels[6:20, 18:22] = 255                     # two bars
    >>> pixels[2, 18:27] = pixels[26, 12] = 255                           # a stroke above one, a speck
    >>> count_pieces(pixels)
    2
    """
    ink = pixels > _INK
    labels, grown = np.zeros(ink.shape, int), np.where(ink, np.arange(1, ink.size + 1).reshape(ink.shape), 0)
    while not np.array_equal(labels, grown):  # pixels that touch, by sides or corners, get one label
        labels, around = grown, sliding_window_view(np.pad(grown, 1), (3, 3))
        grown = np.where(ink, around.max(axis=(2, 3)), 0)
    pieces = [labels == label for label in np.unique(labels[ink])]
    if not pieces:
        return 0
    rows = [piece.any(axis=1) for piece in pieces]
    highest = max(rows, key=np.count_nonzero)
    beside = [piece for piece, own in zip(pieces, rows, strict=True) if 2 * (own & highest).sum() >= highest.sum()]
    columns = np.any(beside, axis=(0, 1))
    return int(columns[0]) + int(np.count_nonzero(columns[1:] & ~columns[:-1]))
