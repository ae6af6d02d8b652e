"""What a type checker says of a script before it runs."""

import re

from tests.scripts import ran

MISTAKES = """\
import numpy as np
import funcnn as fn
fn.Key("seed")  # arg-type
fn.Key(0.5)  # arg-type
fn.Key(np.int64(3)).at(None)  # arg-type
fn.load_dataset("cifar")  # arg-type
fn.load_dataset("mnist", scaling="none")  # arg-type
fn.dense("128")  # arg-type
fn.dense(128, weights=fn.initializers.he_normal)  # arg-type
fn.serial(fn.dense(3), fn.relu)  # arg-type
fn.conv2d(3, padding="full")  # arg-type
fn.elementwise(abs, abs, of="z")  # arg-type
fn.train_step(fn.dense(3), fn.softmax_cross_entropy, fn.adam())  # arg-type
fn.train_step(fn.dense(3), fn.softmax_cross_entropy(), fn.adam(), penalty=fn.adam())  # arg-type
fn.evaluate(fn.dense(3), fn.softmax_cross_entropy(), (), fn.load_dataset("mnist_5k"))  # arg-type
fn.chain(fn.sgd)  # arg-type
fn.sgd("fast")  # arg-type
fn.softmax()(3)  # operator
params, state = fn.dense(3).init  # misc
fn.Batch(np.ones(3), np.ones(3)).inputs = np.ones(2)  # misc
fn.dense(3).frobnicate  # attr-defined
"""


def test_a_type_checker_finds_mistakes_and_nothing_else(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MISTAKES + "fn.predict(fn.dense(3), fn.dense(3).init(fn.Key(0), (2,))[0], np.ones((1, 2)))\n")
    end = ran("-m", "mypy", "--config-file=", "--cache-dir", tmp_path / "cache", script)
    found = {int(line): kind for line, kind in re.findall(r"script\.py:(\d+): error: .*\[([\w-]+)\]", end.stdout)}
    expected = {i: line.rpartition("# ")[2] for i, line in enumerate(MISTAKES.splitlines(), 1) if "# " in line}
    assert found == expected, end.stdout
