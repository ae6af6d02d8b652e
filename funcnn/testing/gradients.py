"""Two oracles of a VJP: central differences along a random direction, and JAX."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import Array
from funcnn.keys import Key
from funcnn.layer import INFERENCE, Layer, Mode, Params, pullback
from funcnn.testing.laws import randomized
from funcnn.testing.purity import assert_trees_close

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
"""Steps of the central differences; a small one does not reach a kink that a large one crosses, but rounds more."""


def check_vjp(
    layer: Layer, params: Params, x: Array, key: Key, *, mode: Mode = INFERENCE, oracle: str = "differences"
) -> None:
    """The VJP at ``params`` and ``x``, for a random ``dy``, against an oracle.

    With ``"differences"`` it is <dy, f'(u)> = <vjp(dy), u> for a random direction u in params and x together, with
    f' by central differences. With ``"jax"`` it is every leaf of ``jax.vjp``.

    Args:
        layer: The layer.
        params: Its params in float64; random ones, since zero biases sit on the kink of a ReLU.
        x: Inputs (batch, *in_shape) in float64.
        key: For ``dy`` and the direction.
        mode: With a key, the same randomness is drawn at every point.
        oracle: ``"differences"`` or ``"jax"``.

    Raises:
        AssertionError: The VJP is wrong; the message names the leaves, ``x`` among them.
        ModuleNotFoundError: JAX is the oracle and not installed.
    """
    y, pull = pullback(layer, params, x, mode)
    dy = key.at("dy").normal(y.shape, y.dtype)
    found = {"params": (pulled := pull(dy))[0], "x": pulled[1]}
    point = {"params": params, "x": x}

    def f(at: dict[str, Any]) -> Array:
        return layer.forward(at["params"], at["x"], mode)[0]

    match oracle:
        case "jax":
            assert_trees_close(found, _jax_vjp(f, point, dy), rtol=1e-7, atol=1e-7)
        case "differences":
            _check_differences(f, point, found, dy, key.at("direction"))
        case _:
            raise ValueError(f"oracle is {oracle!r}, expected 'differences' or 'jax'")


def _check_differences(f: Callable[[Any], Array], point: Any, found: Any, dy: Array, key: Key) -> None:
    direction = randomized(point, key)
    if not _agrees(f, point, found, dy, direction):
        faulty = (path for path, part in _leaf_directions(direction) if not _agrees(f, point, found, dy, part))
        raise AssertionError(f"the VJP differs from central differences in {', '.join(faulty) or 'the sum of leaves'}")


def _agrees(f: Callable[[Any], Array], point: Any, found: Any, dy: Array, direction: Any) -> bool:
    """Whether <dy, f'(direction)> is <found, direction> within the error of the differences."""
    slopes = [_slope(f, point, direction, step) for step in STEPS]
    tolerance = 1e-6 * (1 + float(np.linalg.norm(dy)) * float(np.linalg.norm(slopes[0])))
    analytic = _dot(found, direction)
    return any(abs(float(np.sum(dy * slope)) - analytic) <= tolerance for slope in slopes)


def _slope(f: Callable[[Any], Array], point: Any, direction: Any, step: float) -> Array:
    """The derivative of f along ``direction`` by a central difference."""
    ahead, behind = (f(tree.map(lambda a, u, h=h: a + h * u, point, direction)) for h in (step, -step))
    return (ahead - behind) / (2 * step)


def _dot(left: Any, right: Any) -> float:
    return float(sum(np.sum(a * b) for a, b in zip(tree.leaves(left), tree.leaves(right), strict=True)))


def _leaf_directions(direction: Any) -> Iterator[tuple[str, Any]]:
    """For each leaf, its path and the direction that is zero elsewhere."""
    leaves = tree.leaves(direction)
    for i, (path, _) in enumerate(tree.leaves_with_paths(direction)):
        yield path, tree.unflatten(direction, [leaf if j == i else 0 * leaf for j, leaf in enumerate(leaves)])


def _jax_vjp(f: Callable[[Any], Array], point: Any, dy: Array) -> Any:
    """The pullback of ``dy`` at ``point`` by JAX, as NumPy arrays in the tree of ``point``."""
    try:
        import jax
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; oracle='jax' takes the extra `test`: pip install 'funcnn[test]'") from None
    with jax.enable_x64(True):
        leaves = [jax.numpy.asarray(leaf) for leaf in tree.leaves(point)]
        _, pull = jax.vjp(lambda *values: f(tree.unflatten(point, list(values))), *leaves)
        return tree.unflatten(point, [np.asarray(leaf) for leaf in pull(jax.numpy.asarray(dy))])
