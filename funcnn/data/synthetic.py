"""Computed data: the small problems of *Neural Networks from Scratch in Python*."""

import math

import numpy as np

from funcnn.arrays import Array
from funcnn.errors import is_count, require
from funcnn.keys import Key, check_key
from funcnn.training import Batch

__all__ = ["sine", "spiral"]


def spiral(key: Key, samples: int, classes: int) -> Batch:
    """``classes`` arms of a spiral in the plane, ``samples`` points each, with noise in the angle.

    Point i of arm c is at radius r = i / (samples - 1) and angle 2.5 (4 c + 4 r + 0.2 n), n standard normal.

    Returns:
        Inputs (samples * classes, 2) float32, targets (samples * classes,) int64.

    Raises:
        InputError: ``samples`` or ``classes`` is not a positive whole number.

    >>> spiral(Key(0), 100, 3).inputs.shape
    (300, 2)
    """
    check_key("spiral", key)
    for name, count in (("samples", samples), ("classes", classes)):
        require(is_count(count), "spiral", f"{name} to be a positive whole number", repr(count))
    radius = np.linspace(0, 1, samples)
    arms = np.arange(classes)[:, None]
    angle = 2.5 * (4 * arms + 4 * radius + 0.2 * key.normal((classes, samples), np.float64))
    points: Array = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1)
    return Batch(points.reshape(-1, 2).astype(np.float32), np.repeat(np.arange(classes), samples))


def sine(samples: int) -> Batch:
    """One period of the sine: inputs x = i / samples and targets sin(2 pi x), both (samples, 1) float32.

    >>> sine(4).targets.ravel().round(3).tolist()
    [0.0, 1.0, 0.0, -1.0]
    """
    require(is_count(samples), "sine", "samples to be a positive whole number", repr(samples))
    x = np.arange(samples)[:, None] / samples
    return Batch(x.astype(np.float32), np.sin(2 * math.pi * x).astype(np.float32))
