"""The laws of a layer."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import attrs
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
    Law,
    as_dtype,
    batch_of,
    check_spec,
    hold,
    normal_inputs,
    randomized,
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
        inputs: Draws the inputs, for a layer that does not take any floating numbers.
        jax: Whether ``jax.vjp`` is a second oracle, for a layer written in its input's own namespace.
        unless: The names of laws that it breaks on purpose.
        examples: On how many cases each law is tried.

    Raises:
        InputError: The layer takes no such inputs.
        BrokenLaw: At the first that fails; it names the law, the smallest case and the leaf.

    >>> import funcnn as fn
    >>> check_layer(fn.serial(fn.dense(3), fn.relu()), (4,))
    """
    laws = layer_laws(layer, in_shape, inputs=inputs, jax=jax)
    if _draws(layer, in_shape, inputs):
        laws = {**laws, **noise_laws(layer, in_shape)}
    hold(layer, laws, examples, unless=unless)


def layer_laws(
    layer: Layer, in_shape: Shapes, *, inputs: Inputs = normal_inputs, jax: bool = False
) -> Mapping[str, Law]:
    """The laws by name; one that has no meaning for this layer is left out."""
    laws: dict[str, Callable[[_Subject, Case], None]] = {
        "init is pure and keeps the dtype": _init,
        "forward keeps shape and dtype": _forward,
        "forward and vjp are pure": _purity,
        "cotangents are like what they are named after": _cotangents,
        "the vjp is that of central differences": _differences,
        "the vjp is linear in dy": _linearity,
        "need_dx changes no bit of dparams": _need_dx,
        "rows do not depend on each other": _rows,
        "forward and vjp are pure at inference": _inference,
    }
    if jax:
        laws["the vjp is that of JAX"] = _jax
    if layer.spec is not None:
        laws["the spec builds the same layer again"] = _spec
    return {name: partial(law, _Subject(layer, in_shape, inputs)) for name, law in laws.items()}


@attrs.frozen
class _Subject:
    """What the laws are about."""

    layer: Layer
    in_shape: Shapes
    inputs: Inputs

    def drawn(self, case: Case, dtype: type = np.float64) -> tuple[Params, Any, Mode]:
        """Random params, inputs and a training mode."""
        params, _ = self.layer.init(case.key.at("init"), self.in_shape, dtype=dtype)
        x = as_dtype(batch_of(self.in_shape, case.key.at("x"), case.batch, self.inputs), dtype)
        return randomized(params, case.key.at("params")), x, Training(case.key.at("mode"))

    def pulled(self, case: Case, dtype: type = np.float64) -> tuple[Any, Callable[..., Any]]:
        """A random dy, and the pullback that takes it."""
        params, x, mode = self.drawn(case, dtype)
        y, pull = pullback(self.layer, params, x, mode)
        return randomized(y, case.key.at("dy")), pull


def _draws(layer: Layer, in_shape: Shapes, inputs: Inputs) -> bool:
    """Whether the layer, of one array and without params, has other outputs with another key."""
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
        return False  # what is wrong with it, a law says
    return hasattr(x, "dtype") and not tree.leaves(params) and not tree.equal(*outputs)


def _init(subject: _Subject, case: Case) -> None:
    init, in_shape = subject.layer.init, subject.in_shape
    for dtype in (np.float32, np.float64):
        assert_pure(init, case.key, in_shape, dtype=dtype)
        params, _ = init(case.key, in_shape, dtype=dtype)
        for path, leaf in tree.leaves_with_paths(params):
            ensure(leaf.dtype == dtype, f"{path} is {leaf.dtype}, asked for {np.dtype(dtype)}")


def _forward(subject: _Subject, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        params, x, mode = subject.drawn(case, dtype)
        _, out_shape = subject.layer.init(case.key, subject.in_shape, dtype=dtype)
        y, _ = subject.layer.forward(params, x, mode)
        expected = as_dtype(batch_of(out_shape, case.key, case.batch, normal_inputs), dtype)
        assert_trees_alike({"y": y}, {"y": expected})


def _purity(subject: _Subject, case: Case) -> None:
    params, x, mode = subject.drawn(case)
    _assert_pure(subject.layer, params, x, mode, case)


def _inference(subject: _Subject, case: Case) -> None:
    params, x, _ = subject.drawn(case)
    _assert_pure(subject.layer, params, x, INFERENCE, case)


def _assert_pure(layer: Layer, params: Params, x: Any, mode: Mode, case: Case) -> None:
    assert_pure(layer.forward, params, x, mode)
    y, residuals = layer.forward(params, x, mode)
    assert_pure(layer.vjp, params, residuals, randomized(y, case.key.at("dy")))


def _cotangents(subject: _Subject, case: Case) -> None:
    for dtype in (np.float32, np.float64):
        params, x, _ = subject.drawn(case, dtype)
        dy, pull = subject.pulled(case, dtype)
        dparams, dx = pull(dy)
        assert_trees_alike({"params": dparams, "x": dx}, {"params": params, "x": x if is_differentiable(x) else None})


def _differences(subject: _Subject, case: Case) -> None:
    params, x, mode = subject.drawn(case)
    check_vjp(subject.layer, params, x, case.key.at("vjp"), mode=mode)


def _jax(subject: _Subject, case: Case) -> None:
    params, x, _ = subject.drawn(case.for_jax())
    check_vjp(subject.layer, params, x, case.key.at("vjp"), oracle="jax")


def _linearity(subject: _Subject, case: Case) -> None:
    a, pull = subject.pulled(case)
    b = randomized(a, case.key.at("b"))

    def combined(left: Any, right: Any) -> Any:
        return tree.map(lambda of_a, of_b: 2 * of_a - 3 * of_b, left, right)

    assert_trees_close(pull(combined(a, b)), combined(pull(a), pull(b)), rtol=1e-9, atol=1e-9)


def _need_dx(subject: _Subject, case: Case) -> None:
    dy, pull = subject.pulled(case)
    dparams, dx = pull(dy, need_dx=False)
    ensure(dx is None, "dx is computed where it is not needed")
    ensure(tree.equal(dparams, pull(dy)[0]), "dparams differ with need_dx=False")


def _rows(subject: _Subject, case: Case) -> None:
    params, x, _ = subject.drawn(case)
    rows = [tree.map(lambda leaf, i=i: leaf[i : i + 1], x) for i in range(case.batch)]
    singles = [predict(subject.layer, params, row) for row in rows]
    together = tree.map(lambda *leaves: np.concatenate(leaves), *singles)
    assert_trees_close(predict(subject.layer, params, x), together, rtol=1e-9, atol=1e-9)


def _spec(subject: _Subject, case: Case) -> None:
    params, x, mode = subject.drawn(case)
    check_spec(subject.layer, lambda layer: layer.forward(params, x, mode)[0])
