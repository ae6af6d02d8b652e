"""Recurrence: a cell, which is a layer of (x, state), runs along a sequence."""

import operator
from typing import Any, cast

import numpy as np

from funcnn import special, tree
from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, Shapes, check_dtype, check_floating, namespace, number
from funcnn.errors import is_count, require
from funcnn.initializers import Initializer, check_initializer, glorot_uniform
from funcnn.keys import Key, check_key
from funcnn.layer import INFERENCE, Layer, Mode, Params, check_init, check_layer, check_mode, check_params
from funcnn.layers.dense import DenseParams, dense, dense_forward, dense_vjp
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["GRUParams", "gru", "recurrent"]


@record
class GRUParams:
    """The params of :func:`gru`: affine maps of x and of the state, to reset gate, update gate and candidate."""

    inputs: DenseParams
    state: DenseParams


@described
def recurrent(cell: Layer, features: int) -> Layer:
    """y_t = cell(x_t, y_{t-1}) along axis 1, with y_{-1} = 0: from (batch, length, ...) to (batch, length, features).

    A cell is any layer from a tuple (x, state), (batch, ...) and (batch, features), to the next state: :func:`gru`, or
    ``serial(joined(), dense(features), tanh())`` for the plain one (Elman 1990). All positions share its params; at t
    it draws from ``mode.at(t)``. The VJP goes back through time (Werbos 1990). With JAX both passes are a ``lax.scan``,
    so a long sequence compiles as fast as a short one.

    Args:
        cell: The layer of (x, state).
        features: The size of the state.

    Raises:
        InputError: ``cell`` is not a layer or has batch statistics, or ``features`` is not a positive whole number;
            later, the cell's output has another shape than the state, inputs have no axis of positions, or the cell
            raises.

    >>> import funcnn as fn
    >>> recurrent(gru(), 64).init(Key(0), (20, 8))[1]
    (20, 64)
    """
    check_layer("recurrent", cell)
    require(cell.calibrate is None, "recurrent", "a cell without batch_norm", repr(cell), "layer_norm() does without")
    require(is_count(features), "recurrent", "features to be a positive whole number", repr(features))

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[Params, Shape]:
        check_init("recurrent", key, in_shape, dtype)
        require(len(in_shape) > 0, "recurrent", "inputs (batch, length, ...)", "(batch,)")
        params, out_shape = cell.init(key, (tuple(in_shape[1:]), (features,)), dtype=dtype)
        require(out_shape == (features,), "recurrent", f"a cell that gives a state ({features},)", out_shape)
        return params, (in_shape[0], features)

    def forward(params: Params, x: Array, mode: Mode) -> tuple[Float[Array, "batch length features"], Any]:
        """The residuals are the cell's at all positions, stacked."""
        check_mode("recurrent", mode)
        check_floating("recurrent", x)
        xp = namespace(x, *(leaf for leaf in tree.leaves(params) if hasattr(leaf, "shape")))
        require(x.ndim > 1, "recurrent", "inputs (batch, length, ...)", x.shape)

        def step(state: Array, at: tuple[Array, Any]) -> tuple[Array, Any]:
            state, kept = cell.forward(params, (at[0], state), mode.at(number(at[1])))
            return state, (state, kept)

        start = xp.zeros((x.shape[0], features), dtype=x.dtype)
        _, (states, kept) = special.scan(step, start, (_along(x), xp.arange(x.shape[1])))
        return _along(states), kept

    def vjp(params: Params, residuals: Any, dy: Float[Array, "batch length features"], *, need_dx: bool = True) -> Any:
        """From the last position to the first; the cotangent of a state comes from dy and from the next position."""

        def step(carry: tuple[Params, Array], at: tuple[Array, Any]) -> tuple[tuple[Params, Array], Array]:
            (dparams, dstate), (dy_t, kept) = carry, at
            of_cell, dinputs = cell.vjp(params, kept, dstate + dy_t)
            dx, dstate = cast(tuple[Array, Array], dinputs)  # since dx is needed
            return (tree.map(operator.add, dparams, of_cell), dstate), dx

        start = tree.map(lambda leaf: namespace(leaf).zeros_like(leaf), (params, dy[:, 0, ...]))
        (dparams, _), dx = special.scan(step, start, (_along(dy), residuals), reverse=True)
        return dparams, _along(dx) if need_dx else None

    return Layer(init, forward, vjp)


@described
def gru(weights: Initializer = glorot_uniform()) -> Layer:
    """A gated recurrent unit, a cell from (x, h) to the next h (Cho et al. 2014, in the form of cuDNN and PyTorch).

    r = sigmoid(W_r x + U_r h), z = sigmoid(W_z x + U_z h), n = tanh(W_n x + r U_n h), and the next h = (1 - z) n + z h,
    where W and U are affine maps. The size of h is that of the state in :func:`recurrent`.

    Args:
        weights: Initializer of both maps' weights, (in, 3 features) and (features, 3 features).

    Raises:
        InputError: Inputs are not a tuple (batch, in) and (batch, features), or have another dtype than the params.
    """
    check_initializer("gru weights", weights)

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[GRUParams, Shape]:
        check_key("gru()", key)
        check_dtype("gru()", dtype)
        fits = isinstance(in_shape, tuple | list) and [len(np.atleast_1d(part)) for part in in_shape] == [1, 1]
        require(fits, "gru()", "inputs (batch, in) and a state (batch, features)", repr(in_shape))
        x, h = in_shape
        inputs, _ = dense(3 * h[0], weights).init(key.at("inputs"), x, dtype=dtype)
        state, _ = dense(3 * h[0], weights).init(key.at("state"), h, dtype=dtype)
        return GRUParams(inputs, state), h

    def forward(params: GRUParams, x: tuple[Array, Array], mode: Mode) -> tuple[Float[Array, "batch features"], Any]:
        """The residuals are x, h, r, z, n and U_n h."""
        del mode  # deterministic
        check_params("gru()", params, GRUParams)
        require(isinstance(x, tuple | list) and len(x) == 2, "gru()", "a tuple of x and state", type(x).__name__)
        x, h = x
        of_x, _ = dense_forward(params.inputs, x, INFERENCE)
        of_h, _ = dense_forward(params.state, h, INFERENCE)
        features = h.shape[1]
        gates = special.sigmoid(of_x[:, : 2 * features] + of_h[:, : 2 * features])
        r, z, of_h = gates[:, :features], gates[:, features:], of_h[:, 2 * features :]
        n = namespace(r).tanh(of_x[:, 2 * features :] + r * of_h)
        return n + z * (h - n), (x, h, r, z, n, of_h)

    def vjp(params: GRUParams, residuals: Any, dy: Float[Array, "batch features"], *, need_dx: bool = True) -> Any:
        x, h, r, z, n, of_h = residuals
        dn = dy * (1 - z) * (1 - n * n)
        gates = [dn * of_h * r * (1 - r), dy * (h - n) * z * (1 - z)]
        concat = namespace(dn).concat
        dinputs, dx = dense_vjp(params.inputs, x, concat([*gates, dn], axis=1), need_dx=need_dx)
        dstate, dh = dense_vjp(params.state, h, concat([*gates, dn * r], axis=1), need_dx=need_dx)
        return GRUParams(dinputs, dstate), (dx, dh + dy * z) if need_dx else None

    return Layer(init, forward, vjp)


def _along(x: Array) -> Array:
    """Exchange the axes of batch and positions."""
    return namespace(x).moveaxis(x, 0, 1)
