"""The package as a whole: what it imports, what it shows, and the first example."""

import subprocess
import sys

import funcnn as fn

HEAVY = ("matplotlib", "tyro", "jax", "torch", "hypothesis", "pooch", "tqdm")

TEN_LINES = """
import funcnn as fn
from toolz import reduce

data      = fn.load_dataset("mnist_5k")                                   # embedded, no network
model     = fn.serial(fn.dense(128), fn.relu(), fn.dense(64), fn.relu(), fn.dense(10))
optimizer = fn.adam(fn.inverse_time_decay(1e-3, decay=1e-5))
step      = fn.train_step(model, fn.softmax_cross_entropy(), optimizer)   # pure

key       = fn.Key(0)
params, _ = model.init(key.at("init"), data.train.inputs.shape[1:])
state     = fn.initial_state(optimizer, params, key.at("train"))
for batch in fn.batches(key.at("epoch", 0), data.train, batch_size=128):
    params, state = step(params, state, batch)                            # new params, new state
print(state.metrics, fn.evaluate(model, fn.softmax_cross_entropy(), params, data.test))
"""


def fresh(code):
    """What ``code`` prints in a fresh interpreter, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_ten_lines_run():
    step, evaluation = fresh(TEN_LINES).strip().split("} {")
    assert "loss" in step
    assert float(evaluation.split("'accuracy': ")[1].rstrip("}")) > 0.75


def test_importing_pulls_in_nothing_heavy():
    loaded = fresh(f"import sys, funcnn; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_all_is_there_and_documented():
    assert fn.__all__ == sorted(fn.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    undocumented = [name for name in fn.__all__ if callable(getattr(fn, name)) and not getattr(fn, name).__doc__]
    assert not undocumented


def test_the_first_page_shows_where_to_look():
    for name in ("layers", "losses", "optimizers", "training", "data", "checkpoint", "testing", "keys", "tree", "spec"):
        assert f"\n    {name} " in fn.__doc__
