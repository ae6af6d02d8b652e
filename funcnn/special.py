"""Functions that the array API does not have, as expressions in its terms."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import is_jax_array

from funcnn import tree
from funcnn.arrays import Array, in_float32, namespace

_ERFC = (
    *(-0.6513268598908547, 0.6419697923564902, 0.019476473204185836, -0.009561514786808632, -0.0009465953444820369),
    *(0.00036683949785276145, 4.252332480690777e-05, -2.0278578112534242e-05, -1.6242900046470256e-06),
    *(1.3036558355805232e-06, 1.5626441722066142e-08, -8.523809591492654e-08, 6.5290544390988515e-09),
    *(5.059343495551469e-09, -9.91364156493033e-10, -2.273651222931836e-10, 9.646791102015527e-11),
    *(2.3940380830391146e-12, -6.886027526497553e-12, 8.944879273090725e-13, 3.130921399342958e-13),
    *(-1.1270822361367252e-13, 3.810905255189233e-16, 7.106097613609237e-15, -1.5230282014571043e-15),
)
"""Chebyshev coefficients in 2t - 1 of log(erfc(z) exp(z^2) / t), t = 2 / (2 + z), for z from 0 to infinity."""


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow, and accurate where it is small.

    >>> bool(abs(sigmoid(np.float32(-20)) / math.exp(-20) - 1) < 1e-6)
    True
    """
    xp = namespace(x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    xp = namespace(x)
    return xp.logaddexp(x, xp.zeros_like(x))


def log_softmax(x: Array) -> Array:
    """x - log sum exp(x) over the last axis; accurate also where one x is far above the others and its result is small.

    >>> bool(abs(log_softmax(np.array([20.0, 0.0]))[0] / -math.exp(-20) - 1) < 1e-8)
    True
    """
    xp = namespace(x)
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    at_most = shifted == 0
    others = xp.sum(xp.where(at_most, xp.zeros_like(x), xp.exp(shifted)), axis=-1, keepdims=True)
    ties = xp.sum(xp.astype(at_most, x.dtype), axis=-1, keepdims=True) - 1
    return shifted - xp.log1p(others + ties)


FAR = 1e4
"""At larger magnitudes, a sigmoid and a normal tail are exactly 0 or 1."""


def within(x: Array) -> Array:
    """``x`` clipped to [-FAR, FAR], so that its product with a sigmoid or a normal tail is never infinity times 0."""
    return namespace(x).clip(x, -FAR, FAR)


def normal_cdf(x: Array) -> Array:
    """The probability that a standard normal variable is at most x, accurate where it is small.

    >>> bool(abs(normal_cdf(np.float64(-10)) / (0.5 * math.erfc(10 / math.sqrt(2))) - 1) < 1e-13)
    True
    """
    half = 0.5 * _tail(x / math.sqrt(2))
    return namespace(x).where(x < 0, half, 1 - half)


def normal_pdf(x: Array) -> Array:
    """The density of a standard normal variable at x."""
    x = within(x)
    return namespace(x).exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def norm(x: Array, axis: Any) -> Array:
    """sqrt(sum x^2) over the axes, which keep length 1; the squares of large x do not overflow.

    >>> norm(np.array([3e20, 4e20], np.float32), axis=0)
    array([5.e+20], dtype=float32)
    """
    with np.errstate(over="ignore"):
        plain = _root(x, axis)
    if isinstance(x, np.ndarray) and np.isfinite(plain).all():
        return plain
    unit = unit_of(x, axis)
    return unit * _root(x / unit, axis)


def unit_of(x: Array, axis: Any) -> Array:
    """The divisor that keeps a sum of squares over the axes finite: the largest magnitude if it is huge, else 1."""
    xp = namespace(x)
    largest = xp.max(xp.abs(x), axis=axis, keepdims=True)
    huge = (largest > float(xp.finfo(x.dtype).max) ** 0.4) & xp.isfinite(largest)
    return xp.where(huge, largest, xp.ones_like(largest))


def segment_sum(rows: Array, segments: Array, count: int) -> Array:
    """out[i] = the sum of the rows (n, ...) whose segment (n,) is i, for i from 0 to ``count`` - 1.

    >>> segment_sum(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0, 2]), 3)
    array([[2.],
           [0.],
           [4.]])
    """
    xp = namespace(rows, segments)
    if xp is np:
        sums = np.zeros((count, *rows.shape[1:]), dtype=rows.dtype)
        np.add.at(sums, segments, rows)
        return sums

    def summed(rows: Array) -> Array:
        sums = xp.zeros((count, *rows.shape[1:]), dtype=rows.dtype)
        if hasattr(rows, "at"):  # JAX
            return sums.at[segments].add(rows)
        of_segment = xp.astype(xp.arange(count)[:, None] == segments[None, :], rows.dtype)  # there is no scatter-add
        return xp.reshape(of_segment @ xp.reshape(rows, (rows.shape[0], -1)), sums.shape)

    return in_float32(summed, xp.asarray(rows))


def _root(x: Array, axis: Any) -> Array:
    xp = namespace(x)
    return xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True))


def _tail(x: Array) -> Array:
    """erfc(|x|), to 1e-15 of itself: Press et al., Numerical Recipes, section 6.2.2, with our own coefficients."""
    xp = namespace(x)
    z = xp.abs(within(x))
    t = 2 / (2 + z)
    u = 2 * t - 1
    after = last = xp.zeros_like(u)
    for coefficient in _ERFC[:0:-1]:  # Clenshaw's recurrence
        last, after = 2 * u * last - after + coefficient, last
    return t * xp.exp(u * last - after + _ERFC[0] - z * z)


def one_minus_power(base: float, n: Any) -> Any:
    """1 - base^n for 0 <= base < 1 and n >= 1; a traced n loses no digits of float32 by cancellation.

    >>> one_minus_power(0.999, 1) == 1 - 0.999
    True
    >>> bool(abs(one_minus_power(0.999, np.float32(1)) / 0.001 - 1) < 1e-6)
    True
    """
    if isinstance(n, int) or base == 0:
        return 1 - base**n
    return -namespace(n).expm1(n * math.log(base))


def scan(f: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` for each x along axis 0 of the tree ``xs``: the last carry, and all y stacked.

    With ``reverse`` it begins at the last x. Every step gets the same leaves that are not arrays. On JAX it is
    ``jax.lax.scan``, which traces ``f`` once, whatever the length.

    >>> scan(lambda total, x: (total + x, total), np.float64(0), np.array([1, 2, 3]))[1]
    array([0., 1., 3.])
    """
    arrays, rebuilt = _arrays(xs)
    if any(map(is_jax_array, (*arrays, *tree.leaves(carry)))):
        return _jax_scan(lambda carry, x: f(carry, rebuilt(x)), carry, arrays, reverse)
    ys: list[Any] = []
    order = range(arrays[0].shape[0])
    for i in reversed(order) if reverse else order:
        carry, y = f(carry, rebuilt([leaf[i, ...] for leaf in arrays]))
        ys.append(y)
    return carry, tree.map(_stacked, *(reversed(ys) if reverse else ys))


def _stacked(*leaves: Any) -> Any:
    """The leaves stacked along a new axis 0; of leaves that are not arrays, such as shapes, the first."""
    first = leaves[0]
    xp = np if isinstance(first, np.generic) else namespace(first) if hasattr(first, "shape") else None
    return xp.stack(leaves) if xp else first


def _jax_scan(step: Callable[..., tuple[Any, Any]], carry: Any, arrays: list[Any], reverse: bool) -> tuple[Any, Any]:
    """``lax.scan`` over lists of leaves, since JAX does not know records before ``funcnn.jax`` is imported."""
    from jax import lax

    rebuild_y: Callable[[list[Any]], Any]

    def flat(leaves: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        nonlocal rebuild_y  # the structure of y is known once ``step`` is traced
        after, y = step(tree.unflatten(carry, leaves), x)
        of_y, rebuild_y = _arrays(y)
        return tree.leaves(after), of_y

    last, ys = lax.scan(flat, tree.leaves(carry), arrays, reverse=reverse)
    return tree.unflatten(carry, last), rebuild_y(ys)


def _arrays(values: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The leaves of a tree that are arrays, and the function that puts others in their places."""
    leaves = tree.leaves(values)

    def rebuilt(arrays: list[Any]) -> Any:
        new = iter(arrays)
        return tree.unflatten(values, [next(new) if hasattr(leaf, "shape") else leaf for leaf in leaves])

    return [leaf for leaf in leaves if hasattr(leaf, "shape")], rebuilt
