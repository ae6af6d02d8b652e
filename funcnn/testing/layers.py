"""The laws of a layer."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.arrays import Shapes
from funcnn.errors import InputError
from funcnn.keys import Key
from funcnn.layer import INFERENCE, Layer, Mode, Params, Training, predict, pullback
from funcnn.testing.gradients import check_vjp, is_differentiable
from funcnn.testing.laws import (
    Case,
    Inputs,
    Laws,
    as_dtype,
    batch_of,
    hold,
    normal_inputs,
    randomized,
    spec_law,
)
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close, ensure
from funcnn.testing.randomness import noise_laws

__all__ = ["check_layer"]


def check_layer(
    layer: Layer,
    in_shape: Shapes,
    *,
    inputs: Inputs = normal_inputs,
    jax: bool = False,
    unless: Collection[str] = (),
    examples: int = 20,
) -> None:
    """Try every law of a layer on random params and inputs (batch, *in_shape).

    A layer without params that draws in training must obey the laws of :func:`check_noise` too.

    Args:
        layer: The layer.
        in_shape: The shape of one input, or a tuple of shapes for a layer that takes a tuple of arrays.
        inputs: Draws the inputs, for a layer that takes only some numbers.
        jax: Whether ``jax.vjp`` is a second oracle, for a layer written in its input's own namespace.
        unless: The names of laws that the layer breaks on purpose.
        examples: The number of cases for each law.

    Raises:
        InputError: The layer takes integers, and ``inputs`` draws others.

    >>> import funcnn as fn
    >>> check_layer(fn.serial(fn.dense(3), fn.relu()), (4,))
    """
    laws = layer_laws(layer, in_shape, inputs=inputs, jax=jax)
    if _draws(layer, in_shape, inputs):
        laws = {**laws, **noise_laws(layer, in_shape)}
    hold(repr(layer), laws, examples, unless=unless)


def layer_laws(layer: Layer, in_shape: Shapes, *, inputs: Inputs = normal_inputs, jax: bool = False) -> Laws:
    """The laws by name, without those that have no meaning for this layer."""

    def drawn(case: Case, dtype: type = np.float64) -> tuple[Params, Any, Mode]:
        """Random params, inputs and a training mode."""
        params, _ = layer.init(case.key.at("init"), in_shape, dtype=dtype)
        x = as_dtype(batch_of(in_shape, case.key.at("x"), case.batch, inputs), dtype)
        return randomized(params, case.key.at("params")), x, Training(case.key.at("mode"))

    def pulled(case: Case, dtype: type = np.float64) -> tuple[Any, Callable[..., Any]]:
        """A random dy, and the pullback that takes it."""
        y, pull = pullback(layer, *drawn(case, dtype))
        return randomized(y, case.key.at("dy")), pull

    def init(case: Case) -> None:
        for dtype in (np.float32, np.float64):
            assert_pure(layer.init, case.key, in_shape, dtype=dtype)
            params, _ = layer.init(case.key, in_shape, dtype=dtype)
            for path, leaf in tree.leaves_with_paths(params):
                ensure(leaf.dtype == dtype, f"{path} is {leaf.dtype}, asked for {np.dtype(dtype)}")

    def forward(case: Case) -> None:
        for dtype in (np.float32, np.float64):
            _, out_shape = layer.init(case.key, in_shape, dtype=dtype)
            y, _ = layer.forward(*drawn(case, dtype))
            expected = as_dtype(batch_of(out_shape, case.key, case.batch, normal_inputs), dtype)
            assert_trees_alike({"y": y}, {"y": expected})

    def pure(case: Case, mode: Mode | None = None) -> None:
        params, x, training = drawn(case)
        assert_pure(layer.forward, params, x, mode or training)
        y, residuals = layer.forward(params, x, mode or training)
        assert_pure(layer.vjp, params, residuals, randomized(y, case.key.at("dy")))

    def cotangents(case: Case) -> None:
        for dtype in (np.float32, np.float64):
            params, x, _ = drawn(case, dtype)
            dy, pull = pulled(case, dtype)
            found = dict(zip(("params", "x"), pull(dy), strict=True))
            assert_trees_alike(found, {"params": params, "x": x if is_differentiable(x) else None})

    def differences(case: Case) -> None:
        params, x, mode = drawn(case)
        check_vjp(layer, params, x, case.key.at("vjp"), mode=mode)

    def same_as_jax(case: Case) -> None:
        params, x, _ = drawn(case.for_jax())
        check_vjp(layer, params, x, case.key.at("vjp"), oracle="jax")

    def linear(case: Case) -> None:
        a, pull = pulled(case)
        b = randomized(a, case.key.at("b"))

        def combined(left: Any, right: Any) -> Any:
            return tree.map(lambda of_a, of_b: 2 * of_a - 3 * of_b, left, right)

        assert_trees_close(pull(combined(a, b)), combined(pull(a), pull(b)), rtol=1e-9, atol=1e-9)

    def need_dx(case: Case) -> None:
        dy, pull = pulled(case)
        dparams, dx = pull(dy, need_dx=False)
        ensure(dx is None, "dx is computed where it is not needed")
        ensure(tree.equal(dparams, pull(dy)[0]), "dparams differ with need_dx=False")

    def rows(case: Case) -> None:
        params, x, _ = drawn(case)
        singles = [predict(layer, params, row) for row in tree.pieces(x, case.batch, 1)]
        together = tree.map(lambda *leaves: np.concatenate(leaves), *singles)
        assert_trees_close(predict(layer, params, x), together, rtol=1e-9, atol=1e-9)

    return {
        "init is pure and keeps the dtype": init,
        "forward keeps shape and dtype": forward,
        "forward and vjp are pure": pure,
        "cotangents have the shapes and dtypes of params and x": cotangents,
        "the vjp equals central differences": differences,
        "the vjp is linear in dy": linear,
        "need_dx does not change dparams": need_dx,
        "rows do not depend on each other": rows,
        "forward and vjp are pure at inference": lambda case: pure(case, INFERENCE),
        **({"the vjp equals that of JAX": same_as_jax} if jax else {}),
        **spec_law("the spec builds the same layer again", layer, lambda made, case: made.forward(*drawn(case))[0]),
    }


def _draws(layer: Layer, in_shape: Shapes, inputs: Inputs) -> bool:
    """Whether a layer of one array, without params, gives other outputs with another key."""
    try:
        params, _ = layer.init(Key(0), in_shape, dtype=np.float64)
        x = batch_of(in_shape, Key(0), 9, inputs)
        outputs = [layer.forward(params, x, Training(Key(seed)))[0] for seed in (0, 1)]
    except InputError as error:
        if "expected integers" not in str(error):
            return False
        hint = "give inputs=, a function (key, shape) -> array"
        raise InputError("check_layer", "a layer that takes the inputs it is tried on", str(error), hint) from error
    except Exception:
        return False  # a law will say what is wrong
    return hasattr(x, "dtype") and not tree.leaves(params) and not tree.equal(*outputs)
