"""Activations: layers without parameters that keep the shape.

All but the softmaxes are elementwise: :func:`elementwise` makes them, and your own, of a function f and its
derivative df.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

from toolz import identity

from funcnn import special
from funcnn.annotations import Float
from funcnn.arrays import Array, check_floating, in_float32, largest, namespace, total
from funcnn.errors import is_one_of, is_real, require
from funcnn.layer import Layer, parameterless
from funcnn.spec import described

__all__ = ["elementwise", "elu", "gelu", "leaky_relu", "log_softmax", "relu", "relu_forward", "relu_vjp", "selu"]
__all__ += ["sigmoid", "silu", "softmax", "softmax_forward", "softmax_vjp", "softplus", "tanh"]

Same: TypeAlias = Float[Array, "*shape"]
"""An array in the shape of the inputs."""


def elementwise(
    f: Callable[[Array], Array],
    df: Callable[[Array], Array],
    *,
    of: Literal["x", "y"] = "x",
    name: str = "elementwise()",
) -> Layer:
    """y = f(x), dx = dy df(x), element by element.

    With ``of="y"``, ``df`` takes the output. The residual is then y, which the next layer often keeps anyway. Messages
    begin with ``name``. The layer has no spec, since it holds functions; a constructor decorated by ``described`` that
    returns it gives it one.

    >>> import numpy as np, funcnn as fn
    >>> square = elementwise(lambda x: x * x, lambda x: 2 * x)
    >>> y, pull = fn.pullback(square, (), np.array([3.0]))
    >>> y, pull(np.array([1.0]))
    (array([9.]), ((), array([6.])))
    """
    require(is_one_of(of, ("x", "y")), "elementwise", "of to be 'x' or 'y'", repr(of))
    require(isinstance(name, str), "elementwise", "a name that is a string", repr(name))
    return _activation(name, f, partial(_times_slope, df), of)


@described
def relu() -> Layer:
    """y = max(x, 0); the derivative at 0 is 0 (Nair and Hinton 2010).

    >>> import numpy as np, funcnn as fn
    >>> fn.predict(relu(), (), np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return elementwise(_relu, _relu_slope, of="y", name="relu()")


@described
def leaky_relu(slope: float = 0.01) -> Layer:
    """y = x where x > 0, else slope x (Maas et al. 2013); 0 <= slope < 1."""
    require(is_real(slope, low=0, below=1), "leaky_relu", "a slope in [0, 1)", repr(slope))
    if slope == 0:  # 0 times infinity is not a number
        return relu()
    return elementwise(
        lambda x: namespace(x).maximum(x, slope * x),
        lambda x: slope + (1 - slope) * _relu_slope(x),
        name="leaky_relu()",
    )


@described
def elu(alpha: float = 1.0) -> Layer:
    """y = x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016)."""
    require(is_real(alpha) and alpha > 0, "elu", "an alpha above 0", repr(alpha))
    return _scaled_elu("elu()", alpha, 1.0)


@described
def selu() -> Layer:
    """y = scale elu(x, alpha) with the constants that keep mean and variance (Klambauer et al. 2017)."""
    return _scaled_elu("selu()", alpha=1.6732632423543772, scale=1.0507009873554805)


@described
def gelu(approximate: bool = False) -> Layer:
    """y = x P(X <= x) for a standard normal X (Hendrycks and Gimpel 2016).

    With ``approximate``, P is (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as in GPT-2, which is much faster. The
    default is exact, as in PyTorch; ``jax.nn.gelu`` approximates unless told otherwise.
    """
    require(isinstance(approximate, bool), "gelu", "True or False for approximate", repr(approximate))
    if not approximate:
        return elementwise(
            lambda x: _times_tail(x, special.normal_cdf(x)),
            lambda x: special.normal_cdf(x) + special.within(x) * special.normal_pdf(x),
            name="gelu()",
        )
    scale, cube = math.sqrt(2 / math.pi), 0.044715

    def tail(u: Array) -> Array:
        return special.sigmoid(2 * scale * (u + cube * u * u * u))

    def df(x: Array) -> Array:
        u = special.within(x)
        s = tail(u)
        return s + u * s * (1 - s) * 2 * scale * (1 + 3 * cube * u * u)

    return elementwise(lambda x: _times_tail(x, tail(special.within(x))), df, name="gelu()")


@described
def silu() -> Layer:
    """y = x sigmoid(x), also called swish (Elfwing et al. 2018)."""

    def df(x: Array) -> Array:
        s = special.sigmoid(x)
        return s + special.within(x) * s * (1 - s)

    return elementwise(lambda x: _times_tail(x, special.sigmoid(x)), df, name="silu()")


@described
def softplus() -> Layer:
    """y = log(1 + exp(x)), a smooth ReLU (Dugas et al. 2001)."""
    return elementwise(special.softplus, special.sigmoid, name="softplus()")


@described
def sigmoid() -> Layer:
    """y = 1 / (1 + exp(-x)).

    To train a binary classifier, leave it out and use a loss on the logits.
    """
    return elementwise(special.sigmoid, lambda y: y * (1 - y), of="y", name="sigmoid()")


@described
def tanh() -> Layer:
    """y = tanh(x)."""
    return elementwise(lambda x: namespace(x).tanh(x), lambda y: 1 - y * y, of="y", name="tanh()")


@described
def softmax() -> Layer:
    """y_i = exp(x_i) / sum_j exp(x_j) over the last axis (Bridle 1990).

    To train a classifier, leave it out and use :func:`funcnn.softmax_cross_entropy` on the logits: it is faster, and
    exact where a probability underflows.

    >>> import numpy as np, funcnn as fn
    >>> fn.predict(softmax(), (), np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """
    return _activation("softmax()", _softmax, _softmax_vjp, "y")


@described
def log_softmax() -> Layer:
    """y_i = x_i - log sum_j exp(x_j) over the last axis: log probabilities that do not underflow."""
    return _activation("log_softmax()", special.log_softmax, _log_softmax_vjp, "y")


def _activation(
    where: str, f: Callable[[Array], Array], vjp: Callable[[Array, Array], Array], of: Literal["x", "y"]
) -> Layer:
    """y = f(x), dx = vjp(residual, dy); the residual is x or y."""
    return parameterless(where, identity, partial(_activated, where, f, of), vjp)


def _activated(where: str, f: Callable[[Array], Array], of: Literal["x", "y"], x: Same) -> tuple[Same, Same]:
    check_floating(where, x)
    y = in_float32(f, x)
    return y, y if of == "y" else x


def _times_slope(df: Callable[[Array], Array], residual: Same, dy: Same) -> Same:
    return dy * in_float32(df, residual)


def _softmax(x: Array) -> Array:
    y = namespace(x).exp(x - largest(x, -1, keepdims=True))  # no exponent is above 0, so none overflows
    y /= total(y, -1, keepdims=True)
    return y


def _softmax_vjp(y: Same, dy: Same) -> Same:
    """dx = y (dy - <dy, y>), the inner product over the last axis."""
    return in_float32(lambda dy, y: y * (dy - namespace(y).sum(dy * y, axis=-1, keepdims=True)), dy, y)


def _log_softmax_vjp(y: Same, dy: Same) -> Same:
    """dx = dy - exp(y) sum(dy), the sum over the last axis."""
    xp = namespace(y)
    return in_float32(lambda dy, y: dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True), dy, y)


def _relu(x: Array) -> Array:
    return namespace(x).maximum(x, 0)


def _relu_slope(y: Array) -> Array:
    return namespace(y).asarray(y > 0, dtype=y.dtype)


def _scaled_elu(name: str, alpha: float, scale: float) -> Layer:
    def f(x: Array) -> Array:
        xp = namespace(x)
        return scale * (xp.maximum(x, 0) + alpha * xp.expm1(xp.minimum(x, 0)))

    def df(y: Array) -> Array:
        """scale where y > 0; below, the derivative scale alpha exp(x) is y + scale alpha."""
        positive = _relu_slope(y)
        return scale * positive + (1 - positive) * (namespace(y).minimum(y, 0) + scale * alpha)

    return elementwise(f, df, of="y", name=name)


def _times_tail(x: Array, tail: Array) -> Array:
    """x times a tail that is exactly 0 for very negative x, minus infinity included."""
    return namespace(x).maximum(x, -special.FAR) * tail


relu_forward, relu_vjp = relu().forward, relu().vjp
"""y = max(x, 0) with y as residual, and dx = dy where y > 0, else 0."""

softmax_forward, softmax_vjp = softmax().forward, softmax().vjp
"""y = softmax(x) with y as residual, and dx = y (dy - <dy, y>)."""
