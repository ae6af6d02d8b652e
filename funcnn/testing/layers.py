"""The laws of a layer."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from funcnn import tree
from funcnn.arrays import Array, Shape
from funcnn.layer import INFERENCE, Layer, Mode, Params, Training, predict, pullback
from funcnn.testing.gradients import check_vjp
from funcnn.testing.laws import Case, Law, check_spec, hold, randomized
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close, ensure


def check_layer(layer: Layer, in_shape: Shape, *, jax: bool = False, examples: int = 20) -> None:
    """Try every law of a layer on random params and inputs (batch, *in_shape).

    With ``jax``, which takes a layer written in its input's own namespace, ``jax.vjp`` is a second oracle.

    Raises:
        BrokenLaw: At the first that fails; it names the law, the smallest case and the leaf.

    >>> import funcnn as fn
    >>> check_layer(fn.serial(fn.dense(3), fn.relu()), (4,))
    """
    hold(layer, layer_laws(layer, in_shape, jax=jax), examples)


def layer_laws(layer: Layer, in_shape: Shape, *, jax: bool = False) -> Mapping[str, Law]:
    """The laws by name; one that has no meaning for this layer is left out."""
    laws: dict[str, Callable[[Layer, Shape, Case], None]] = {
        "init is pure and keeps the dtype": _init,
        "forward keeps shape and dtype": _forward,
        "forward and vjp are pure": _purity,
        "cotangents are like what they are named after": _cotangents,
        "the vjp is that of central differences": partial(_vjp, oracle="differences"),
        "the vjp is linear in dy": _linearity,
        "need_dx changes no bit of dparams": _need_dx,
        "rows do not depend on each other": _rows,
        "forward and vjp are pure at inference": _inference,
    }
    if jax:
        laws["the vjp is that of JAX"] = partial(_vjp, oracle="jax")
    if layer.spec is not None:
        laws["the spec builds the same layer again"] = _spec
    return {name: partial(law, layer, in_shape) for name, law in laws.items()}


def _drawn(layer: Layer, in_shape: Shape, case: Case, dtype: type = np.float64) -> tuple[Params, Array, Mode]:
    """Random params, inputs and a training mode."""
    params, _ = layer.init(case.key.at("init"), in_shape, dtype=dtype)
    x = case.array("x", (case.batch, *in_shape), dtype)
    return randomized(params, case.key.at("params")), x, Training(case.key.at("mode"))


def _init(layer: Layer, in_shape: Shape, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        assert_pure(layer.init, case.key, in_shape, dtype=dtype)
        params, _ = layer.init(case.key, in_shape, dtype=dtype)
        for path, leaf in tree.leaves_with_paths(params):
            ensure(leaf.dtype == dtype, f"{path} is {leaf.dtype}, asked for {np.dtype(dtype)}")


def _forward(layer: Layer, in_shape: Shape, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        params, x, mode = _drawn(layer, in_shape, case, dtype)
        _, out_shape = layer.init(case.key, in_shape, dtype=dtype)
        y, _ = layer.forward(params, x, mode)
        expected = np.dtype(dtype), (case.batch, *out_shape)
        ensure((y.dtype, y.shape) == expected, f"y is {(y.dtype, y.shape)}, expected {expected}")


def _purity(layer: Layer, in_shape: Shape, case: Case) -> None:
    params, x, mode = _drawn(layer, in_shape, case)
    assert_pure(layer.forward, params, x, mode)
    y, residuals = layer.forward(params, x, mode)
    assert_pure(layer.vjp, params, residuals, case.array("dy", y.shape))


def _cotangents(layer: Layer, in_shape: Shape, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        params, x, mode = _drawn(layer, in_shape, case, dtype)
        y, pull = pullback(layer, params, x, mode)
        dparams, dx = pull(case.array("dy", y.shape, dtype))
        assert_trees_alike({"params": dparams, "x": dx}, {"params": params, "x": x})


def _vjp(layer: Layer, in_shape: Shape, case: Case, oracle: str) -> None:
    params, x, mode = _drawn(layer, in_shape, case)
    check_vjp(layer, params, x, case.key.at("vjp"), mode=mode if oracle == "differences" else INFERENCE, oracle=oracle)


def _linearity(layer: Layer, in_shape: Shape, case: Case) -> None:
    params, x, mode = _drawn(layer, in_shape, case)
    y, pull = pullback(layer, params, x, mode)
    a, b = (case.array(label, y.shape) for label in ("a", "b"))
    combined = tree.map(lambda of_a, of_b: 2 * of_a - 3 * of_b, pull(a), pull(b))
    assert_trees_close(pull(2 * a - 3 * b), combined, rtol=1e-9, atol=1e-9)


def _need_dx(layer: Layer, in_shape: Shape, case: Case) -> None:
    params, x, mode = _drawn(layer, in_shape, case)
    y, pull = pullback(layer, params, x, mode)
    dy = case.array("dy", y.shape)
    dparams, dx = pull(dy, need_dx=False)
    ensure(dx is None, "dx is computed where it is not needed")
    ensure(tree.equal(dparams, pull(dy)[0]), "dparams differ with need_dx=False")


def _rows(layer: Layer, in_shape: Shape, case: Case) -> None:
    params, x, _ = _drawn(layer, in_shape, case)
    rows = [predict(layer, params, x[i : i + 1]) for i in range(case.batch)]
    assert_trees_close(predict(layer, params, x), np.concatenate(rows), rtol=1e-9, atol=1e-9)


def _inference(layer: Layer, in_shape: Shape, case: Case) -> None:
    params, x, _ = _drawn(layer, in_shape, case)
    y, residuals = layer.forward(params, x, INFERENCE)
    assert_pure(layer.forward, params, x, INFERENCE)
    assert_pure(layer.vjp, params, residuals, case.array("dy", y.shape))


def _spec(layer: Layer, in_shape: Shape, case: Case) -> None:
    params, x, mode = _drawn(layer, in_shape, case)
    check_spec(layer, lambda layer: layer.forward(params, x, mode)[0])
