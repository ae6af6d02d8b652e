"""Activations: layers without parameters that keep the shape."""

from typing import Any

import numpy as np
from jaxtyping import Float

from funcnn.arrays import Array, Shape, check_floating, namespace
from funcnn.keys import Key
from funcnn.layer import Layer, Mode
from funcnn.spec import described


@described
def relu() -> Layer:
    """y = max(x, 0); the derivative at 0 is 0.

    >>> import funcnn as fn
    >>> fn.predict(relu(), (), np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return Layer(init_same_shape, relu_forward, relu_vjp)


@described
def softmax() -> Layer:
    """y_i = exp(x_i) / sum_j exp(x_j) over the last axis.

    To train a classifier, leave it out and use :func:`funcnn.softmax_cross_entropy` on the logits: that is one
    pass less and exact where a probability underflows.

    >>> import funcnn as fn
    >>> fn.predict(softmax(), (), np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """
    return Layer(init_same_shape, softmax_forward, softmax_vjp)


def init_same_shape(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[tuple[()], Shape]:
    """No parameters, and the output shape is the input shape."""
    del key, dtype  # nothing is drawn
    return (), in_shape


def relu_forward(
    params: tuple[()], x: Float[Array, "*shape"], mode: Mode
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """y = max(x, 0); the residual is y, which the next layer keeps anyway."""
    del params, mode  # it has none, and is deterministic
    y = check_floating("relu()", x).maximum(x, 0)
    return y, y


def relu_vjp(
    params: tuple[()], residuals: Float[Array, "*shape"], dy: Float[Array, "*shape"], *, need_dx: bool = True
) -> tuple[tuple[()], Float[Array, "*shape"] | None]:
    """dx = dy where y > 0, else 0."""
    return params, dy * namespace(dy).astype(residuals > 0, dy.dtype) if need_dx else None


def softmax_forward(
    params: tuple[()], x: Float[Array, "*shape"], mode: Mode
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Stable for any finite inputs, since the largest is subtracted first; the residual is y."""
    del params, mode  # it has none, and is deterministic
    xp = check_floating("softmax()", x)
    y = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    y /= xp.sum(y, axis=-1, keepdims=True)
    return y, y


def softmax_vjp(
    params: tuple[()], residuals: Float[Array, "*shape"], dy: Float[Array, "*shape"], *, need_dx: bool = True
) -> tuple[tuple[()], Float[Array, "*shape"] | None]:
    """dx = y (dy - <dy, y>), the inner product over the last axis."""
    if not need_dx:
        return params, None
    y = residuals
    return params, y * (dy - namespace(dy).sum(dy * y, axis=-1, keepdims=True))
