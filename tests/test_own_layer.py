"""A layer of one's own, defined outside the package: it obeys the laws, trains, is saved and loaded."""

import runpy

import funcnn as fn
from funcnn.testing import check_layer

SCRIPT = """
import numpy as np, funcnn as fn
@fn.described
def scaled_tanh(scale):
    return fn.Layer(lambda key, shape, dtype=None: ((), shape), lambda params, x, mode: (y := scale * np.tanh(x), y),
        lambda params, y, dy, need_dx=True: (params, dy * (scale - y * y / scale) if need_dx else None))
data, key, loss, optimizer = fn.load_dataset("mnist_5k"), fn.Key(0), fn.softmax_cross_entropy(), fn.adam()
model = fn.serial(fn.dense(32), scaled_tanh(1.7), fn.dense(10))
params, _ = model.init(key.at("init"), (784,))
step, batches = fn.train_step(model, loss, optimizer), fn.batches(key.at("epoch", 0), data.train, 32)
*_, (params, state) = fn.trajectory(step, params, step.init(params, key.at("train")), batches)
fn.save("own.safetensors", model, params, (784,))
saved = fn.load("own.safetensors")
"""


def test_a_short_script_trains_saves_and_loads_a_layer_that_obeys_the_laws(tmp_path, monkeypatch):
    assert len(SCRIPT.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    script = runpy.run_path("script.py")
    saved, data = script["saved"], script["data"]
    assert repr(saved.model) == "serial(dense(32), scaled_tanh(1.7), dense(10))"
    assert fn.tree.equal(saved.params, script["params"])
    found = fn.evaluate(saved.model, script["loss"], saved.params, data.test, metrics={"accuracy": fn.accuracy})
    assert found["accuracy"] > 0.8
    check_layer(script["scaled_tanh"](1.7), in_shape=(5,))
