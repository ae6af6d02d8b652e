"""Two oracles of a VJP: central differences along a random direction, and JAX."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.keys import Key
from funcnn.layer import INFERENCE, Layer, Mode, Params, pullback
from funcnn.testing.laws import extra, randomized
from funcnn.testing.purity import assert_trees_close, ensure

__all__ = ["check_vjp"]

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
"""Steps of the central differences: a large step may cross a kink, a small step rounds more."""


def check_vjp(
    layer: Layer, params: Params, x: Any, key: Key, *, mode: Mode = INFERENCE, oracle: str = "differences"
) -> None:
    """Compare the VJP at ``params`` and ``x`` with an oracle, for a random ``dy``.

    ``"differences"`` compares <dy, f'(u)> with <vjp(dy), u> for a random direction u in params and x together, with
    f' by central differences. ``"jax"`` compares every leaf with that of ``jax.vjp``.

    Args:
        layer: The layer.
        params: Its params in float64; random ones, since zero biases sit on the kink of a ReLU.
        x: Inputs (batch, *in_shape) in float64, or integers, which stay fixed.
        key: Draws ``dy`` and the direction.
        mode: The mode of all calls; its key draws the same numbers at every point.
        oracle: ``"differences"`` or ``"jax"``.

    Raises:
        AssertionError: The VJP is wrong; the message names the wrong leaves of ``params`` and ``x``.
        ModuleNotFoundError: JAX is the oracle, and is not installed.
    """
    y, pull = pullback(layer, params, x, mode)
    dy = randomized(y, key.at("dy"))
    found = dict(zip(("params", "x"), pull(dy), strict=True))
    point = {"params": params, "x": x}
    if not is_differentiable(x):
        del point["x"]
        ensure(found.pop("x") is None, "dx is given for inputs that are integers")

    def f(at: dict[str, Any]) -> Any:
        return layer.forward(at["params"], at["x"], mode)[0]

    def slope(direction: Any, step: float) -> Any:
        """The derivative of f along ``direction`` by a central difference."""
        at = (tree.map(lambda a, u, h=h: a + h * u, point, direction) for h in (step, -step))
        ahead, behind = (f({"x": x, **each}) for each in at)
        return tree.map(lambda a, b: (a - b) / (2 * step), ahead, behind)

    def agrees(direction: Any) -> bool:
        """Whether <dy, f'(direction)> is <found, direction> within the error of the differences."""
        slopes = [slope(direction, step) for step in STEPS]
        tolerance = 1e-6 * (1 + math.sqrt(_dot(dy, dy) * _dot(slopes[0], slopes[0])))
        return any(abs(_dot(dy, each) - _dot(found, direction)) <= tolerance for each in slopes)

    match oracle:
        case "jax":
            with extra("jax").enable_x64(True):
                expected = _by_jax(layer, mode)(point, {"x": x}, dy)
            assert_trees_close(found, expected, rtol=1e-7, atol=1e-7)
        case "differences":
            direction = randomized(point, key.at("direction"))
            if not agrees(direction):
                paths = [path for path, _ in tree.leaves_with_paths(direction)]
                faulty = [path for path in paths if not agrees(_only(path, direction))]
                message = f"the VJP differs from central differences in {', '.join(faulty) or 'the sum of leaves'}"
                raise AssertionError(message)
        case _:
            raise ValueError(f"oracle is {oracle!r}, expected 'differences' or 'jax'")


@functools.lru_cache(maxsize=1)  # for all cases of a law, which follow one another
def _by_jax(layer: Layer, mode: Mode) -> Callable[..., Any]:
    """The compiled ``jax.vjp``: the cotangents of a point, from the point, what is fixed beside it, and dy."""
    jax, _ = extra("jax"), extra("funcnn.jax")  # for which records are trees

    def cotangents(point: dict[str, Any], fixed: dict[str, Any], dy: Any) -> Any:
        def f(at: dict[str, Any]) -> Any:
            at = {**fixed, **at}
            return layer.forward(at["params"], at["x"], mode)[0]

        return jax.vjp(f, point)[1](dy)[0]

    compiled: Callable[..., Any] = jax.jit(cotangents)
    return compiled


def is_differentiable(x: Any) -> bool:
    """Whether all arrays of a tree are floating: integers have no cotangent."""
    return all(leaf.dtype.kind == "f" for leaf in tree.leaves(x))


def _only(path: str, direction: Any) -> Any:
    """The direction with 0 in all leaves except the one at ``path``."""
    return tree.map_with_paths(lambda other, leaf: leaf if other == path else 0 * leaf, direction)


def _dot(left: Any, right: Any) -> float:
    return float(sum(np.sum(a * b) for a, b in zip(tree.leaves(left), tree.leaves(right), strict=True)))
