"""Attention and positions: layers for sequences (batch, length, features)."""

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from funcnn.annotations import Float
from funcnn.arrays import Array, Shape, Shapes, as_dtype_of, check_array, check_floating, check_like, namespace
from funcnn.errors import InputError, is_count, is_one_of, require
from funcnn.initializers import Initializer, check_initializer, glorot_uniform, normal
from funcnn.keys import Key
from funcnn.layer import INFERENCE, Layer, Mode, check_init, check_params
from funcnn.layers.activations import softmax_forward, softmax_vjp
from funcnn.layers.dense import DenseParams, dense, dense_forward, dense_vjp
from funcnn.spec import described
from funcnn.tree import record

__all__ = ["AttentionParams", "PositionsParams", "attention", "positions"]


Sequences: TypeAlias = Float[Array, "batch length features"]


@record
class AttentionParams:
    """The params of :func:`attention`: the map to queries, keys and values side by side, and the map to outputs."""

    inputs: DenseParams
    outputs: DenseParams


@record
class PositionsParams:
    """The params of learned :func:`positions`."""

    table: Float[Array, "length features"]


@described
def attention(heads: int, causal: bool = False, weights: Initializer = glorot_uniform()) -> Layer:
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2), with biases as in GPT-2.

    Queries q, keys k and values v are affine maps of x (batch, length, features), split among the heads. Each head
    computes softmax(q k^T / sqrt(d)) v, with d = features / heads. y, in the shape of x, is an affine map of the
    outputs of all heads. Inputs are x, or a tuple of x and weights (batch, length): no position reads one of weight 0.

    Args:
        heads: The number of heads, a divisor of the features.
        causal: Whether a position reads only itself and earlier ones.
        weights: Initializer of the two maps' weights, (features, 3 features) and (features, features).

    Raises:
        InputError: ``heads`` is not a positive whole number, or ``causal`` not a truth value; later, inputs of another
            shape or dtype, or features that the heads do not divide.

    >>> params, out_shape = attention(2).init(Key(0), (7, 4))
    >>> params.inputs.weights.shape, params.outputs.weights.shape, out_shape
    ((4, 12), (4, 4), (7, 4))
    """
    require(is_count(heads), "attention", "heads to be a positive whole number", repr(heads))
    require(isinstance(causal, bool), "attention", "True or False for causal", repr(causal))
    check_initializer("attention weights", weights)
    where = f"attention({heads})"

    def init(key: Key, in_shape: Shapes, *, dtype: Any = np.float32) -> tuple[AttentionParams, Shape]:
        several = isinstance(in_shape, tuple) and [type(part) for part in in_shape] == [tuple, tuple]
        shape, of_weights = in_shape if several else (in_shape, None)
        check_init(where, key, shape, dtype)
        if len(shape) != 2 or shape[1] % heads:
            raise InputError(where, f"inputs (batch, length, features), {heads} heads dividing the features", shape)
        if of_weights not in (None, shape[:1]):
            raise InputError(where, f"weights (batch, {shape[0]})", of_weights)
        inputs, _ = dense(3 * shape[1], weights).init(key.at("inputs"), shape, dtype=dtype)
        outputs, _ = dense(shape[1], weights).init(key.at("outputs"), shape, dtype=dtype)
        return AttentionParams(inputs, outputs), shape

    def forward(params: AttentionParams, x: Any, mode: Mode) -> tuple[Sequences, Any]:
        """The residuals are the inputs, (q, k, v), the softmax, and the outputs of the heads."""
        del mode  # deterministic
        check_params(where, params, AttentionParams)
        x, of_positions = x if isinstance(x, tuple) and len(x) == 2 else (x, None)
        check_array(where, "inputs", x)
        features = params.inputs.weights.shape[0]
        if x.ndim != 3 or x.shape[2] != features or (of_positions is not None and of_positions.shape != x.shape[:2]):
            expected = f"inputs (batch, length, {features}), or a tuple of them and weights (batch, length)"
            raise InputError(where, expected, (x.shape, getattr(of_positions, "shape", None)))
        check_like(where, x, params.inputs.weights)
        readable = _readable(x, of_positions, causal)
        projected, _ = dense_forward(params.inputs, x, INFERENCE)
        queries, keys, values = _split_heads(projected, 3 * heads, 3)
        scores = queries @ _transposed(keys) * (1 / math.sqrt(keys.shape[-1]))
        shares, _ = softmax_forward((), _where(readable, scores, -1e30), INFERENCE)
        read = _joined_heads(shares @ values)
        y, _ = dense_forward(params.outputs, read, INFERENCE)
        return y, (x, of_positions, (queries, keys, values), shares, read)

    def vjp(params: AttentionParams, residuals: Any, dy: Sequences, *, need_dx: bool = True) -> tuple[Any, Any]:
        """dx is as x: with weights a tuple, whose second array is 0."""
        x, of_positions, (queries, keys, values), shares, read = residuals
        doutputs, dread = dense_vjp(params.outputs, read, dy)
        (dheads,) = _split_heads(dread, heads, 1)
        _, dscores = softmax_vjp((), shares, dheads @ _transposed(values))
        dscores = _where(_readable(x, of_positions, causal), dscores, 0.0) * (1 / math.sqrt(keys.shape[-1]))
        parts = (dscores @ keys, _transposed(dscores) @ queries, _transposed(shares) @ dheads)
        dprojected = _joined_heads(namespace(*parts).concat(parts, axis=1))
        dinputs, dx = dense_vjp(params.inputs, x, dprojected, need_dx=need_dx)
        if of_positions is not None and need_dx:
            dx = (dx, namespace(dx).zeros_like(of_positions))
        return AttentionParams(dinputs, doutputs), dx

    return Layer(init, forward, vjp)


@described
def positions(kind: Literal["learned", "sinusoidal"] = "learned", table: Initializer = normal(0.02)) -> Layer:
    """y = x + p, with a vector p[t] for each position t of a sequence (batch, length, features).

    Without it attention does not know the order. ``"sinusoidal"`` is p[t, 2i] = sin(t / 10000^(2i / features)), and
    the cosine at p[t, 2i + 1] (Vaswani et al. 2017, section 3.5). ``"learned"`` has params (length, features); a
    shorter sequence takes the first rows.

    Args:
        kind: ``"learned"`` or ``"sinusoidal"``.
        table: Initializer of the learned params, (length, features).

    Raises:
        InputError: ``kind`` is another word; later, inputs are not floating, have other features than the table, or are
            longer.

    >>> import funcnn as fn
    >>> fn.predict(positions("sinusoidal"), (), np.zeros((1, 2, 2))).round(3).tolist()
    [[[0.0, 1.0], [0.841, 0.54]]]
    """
    require(is_one_of(kind, ("learned", "sinusoidal")), "positions", "'learned' or 'sinusoidal'", repr(kind))
    check_initializer("positions table", table)
    learned = kind == "learned"

    def init(key: Key, in_shape: Shape, *, dtype: Any = np.float32) -> tuple[PositionsParams | tuple[()], Shape]:
        check_init("positions", key, in_shape, dtype)
        require(len(in_shape) == 2, "positions", "inputs (batch, length, features)", repr(in_shape))
        return PositionsParams(table(key.at("table"), in_shape, dtype)) if learned else (), in_shape

    def forward(params: Any, x: Sequences, mode: Mode) -> tuple[Sequences, int]:
        """The residual is the length."""
        del mode  # deterministic
        check_params("positions", params, PositionsParams if learned else tuple)
        check_floating("positions", x)
        longest, features = params.table.shape if learned else (math.inf, "features")
        if x.ndim != 3 or x.shape[1] > longest or (learned and x.shape[2] != features):
            length = f"length up to {longest}" if learned else "length"
            raise InputError("positions", f"inputs (batch, {length}, {features})", x.shape)
        return x + (params.table[: x.shape[1], :] if learned else _waves(x)), x.shape[1]

    def vjp(params: Any, residuals: int, dy: Sequences, *, need_dx: bool = True) -> tuple[Any, Sequences | None]:
        """dtable is the sum of dy over the batch, and dx = dy."""
        if learned:
            xp, rest = namespace(dy, params.table), params.table[residuals:, :]
            params = PositionsParams(xp.concat([xp.sum(dy, axis=0), xp.zeros_like(rest)], axis=0))
        return params, dy if need_dx else None

    return Layer(init, forward, vjp)


def _waves(x: Array) -> Array:
    """The sinusoidal positions (length, features)."""
    xp, features = namespace(x), np.arange(x.shape[2])
    angles = np.arange(x.shape[1])[:, None] / 10000.0 ** (features // 2 * 2 / x.shape[2])
    return as_dtype_of(x, xp.asarray(np.where(features % 2, np.cos(angles), np.sin(angles))))


def _readable(x: Array, weights: Array | None, causal: bool) -> Array | None:
    """A mask of (reader, read position), to broadcast to (batch, heads, length, length); ``None`` if all are read."""
    xp, length = namespace(x), x.shape[1]
    before = xp.tril(xp.ones((length, length), dtype=xp.bool)) if causal else None
    if weights is None:
        return before
    present = (weights > 0)[:, None, None, :]
    return present if before is None else present & before


def _where(condition: Array | None, x: Array, otherwise: float) -> Array:
    return x if condition is None else namespace(x, condition).where(condition, x, otherwise)


def _split_heads(x: Array, heads: int, parts: int) -> list[Array]:
    """Features (batch, length, heads * d) as ``parts`` arrays (batch, heads / parts, length, d)."""
    xp, (batch, length, features) = namespace(x), x.shape
    split = xp.permute_dims(xp.reshape(x, (batch, length, heads, features // heads)), (0, 2, 1, 3))
    each = heads // parts
    return [split[:, i * each : (i + 1) * each, ...] for i in range(parts)]


def _joined_heads(x: Array) -> Array:
    """Heads (batch, heads, length, d) as features (batch, length, heads * d)."""
    xp, (batch, heads, length, size) = namespace(x), x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (batch, length, heads * size))


def _transposed(x: Array) -> Array:
    return namespace(x).matrix_transpose(x)
