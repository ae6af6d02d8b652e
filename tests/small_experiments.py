"""Small experiments of every kind, over which the laws of runs are tried, and what tests of runs share."""

import json
import math
from pathlib import Path

import numpy as np

import funcnn as fn
from funcnn.runs import Experiment, Section, folder as files, run, stream, supervised
from funcnn.runs.stream import beginning
from funcnn.tree import frozendict, record
from tests import scripts

KEY = fn.Key(0)
SQUARED = fn.mean_squared_error()
JUDGED = fn.sigmoid_binary_cross_entropy()
SUM = fn.Layer(
    lambda key, in_shape, *, dtype=np.float32: ((), in_shape[0]),
    lambda params, x, mode: (x[0] + x[1], ()),
    lambda params, residuals, dy, *, need_dx=True: ((), (dy, dy)),
)
"""Made by hand, so a model with it has no spec and is not saved."""


def drawn(name, count, features=2):
    return KEY.at(name).uniform((count, features), low=-1.0)


def regression(epochs=3, samples=22, **changes):
    """A sine; the last batch is smaller, and the learning rate falls."""
    x = drawn("x", samples)
    data = fn.Batch(x, np.sin(3 * x[:, :1]))
    model = fn.serial(fn.dense(4), fn.tanh(), fn.dense(1))
    optimizer = fn.sgd(fn.inverse_time_decay(0.1, decay=0.1), momentum=0.5)
    known = {"key": KEY, "batch_size": 5, "evaluate": {"test": data}}
    return supervised(model, SQUARED, optimizer, data, epochs=epochs, **{**known, **changes})


def classifier(epochs=3, **changes):
    """Three classes, with dropout, a penalty, and two sets to evaluate."""
    train, validation, test = (fn.Batch(drawn(i, n), KEY.at(i).permutation(n) % 3) for i, n in enumerate((26, 10, 12)))
    model = fn.serial(fn.dense(6), fn.relu(), fn.dropout(0.5), fn.dense(3))
    known = {"key": KEY, "batch_size": 8, "evaluate": {"validation": validation, "test": test}}
    known |= {"metrics": {"accuracy": fn.accuracy}, "penalty": fn.l2(1e-3), "formats": {"accuracy": ".2%"}}
    return supervised(model, fn.softmax_cross_entropy(), fn.adam(0.01), train, epochs=epochs, **{**known, **changes})


def two_inputs(epochs=3):
    """Two arrays go in; the model cannot be saved, and nothing is evaluated."""
    left, right = drawn("left", 16, 2), drawn("right", 16, 3)
    train = fn.Batch((left, right), left[:, :1] * right[:, :1])
    model = fn.serial(fn.parallel(fn.dense(4), fn.dense(4)), SUM, fn.tanh(), fn.dense(1))
    return supervised(model, SQUARED, fn.adam(0.01), train, key=KEY, batch_size=8, epochs=epochs)


def adversarial(epochs=3):
    """Two networks in a dict learn against each other from a stream of dicts; made by hand."""
    networks = {"generator": fn.dense(2), "discriminator": fn.serial(fn.dense(4), fn.tanh(), fn.dense(1))}
    optimizer = fn.adam(0.01)

    def begin():
        params = {name: network.init(KEY.at(name), (2,))[0] for name, network in networks.items()}
        states = {name: optimizer.init(part) for name, part in params.items()}
        names = ("discriminator_loss", "generator_loss")
        return params, fn.State(0, KEY.at("train"), states, frozendict(dict.fromkeys(names, math.nan)))

    def step(params, state, batch):
        judge, forger = networks["discriminator"], networks["generator"]
        noise = batch["noise"] + 0.1 * state.key.at(state.step).normal(batch["noise"].shape)
        forged, pull_forged = fn.pullback(forger, params["generator"], noise)
        both, labels = np.concatenate([batch["points"], forged]), np.repeat([[1], [0]], len(forged), axis=0)
        logits, pull = fn.pullback(judge, params["discriminator"], both)
        found, residuals = JUDGED.forward(logits, labels)
        grads = {"discriminator": pull(JUDGED.vjp(residuals))[0]}
        logits, pull = fn.pullback(judge, params["discriminator"], forged)
        fooled, residuals = JUDGED.forward(logits, np.ones_like(logits))
        grads["generator"] = pull_forged(pull(JUDGED.vjp(residuals))[1])[0]
        updated = {name: optimizer.update(grads[name], state.optimizer[name], params[name]) for name in params}
        params = {name: fn.apply_updates(params[name], updates) for name, (updates, _) in updated.items()}
        metrics = frozendict({"discriminator_loss": found, "generator_loss": fooled})
        return params, fn.State(state.step + 1, state.key, {name: new for name, (_, new) in updated.items()}, metrics)

    def batches(epoch):
        for i in range(4):
            key = KEY.at("epoch", epoch, i)
            yield {"noise": key.at("noise").normal((6, 2)), "points": 3 + key.at("points").normal((6, 2))}

    def distance(params):
        forged = fn.predict(networks["generator"], params["generator"], KEY.at("test").normal((20, 2)))
        return {"distance": np.linalg.norm(forged.mean(axis=0) - 3)}

    def save(path, params):
        fn.save(path, networks["generator"], params["generator"], (2,))

    known = {"evaluate": distance, "watch": "distance", "save": save, "describe": lambda: "Two networks."}
    known["sections"] = lambda params: [Section("Forged", "<p>points</p>")]
    return Experiment(begin, step, batches, epochs, **known)


@record
class Seen:
    """A state of one's own: how many batches it has seen, and what they told."""

    count: int
    metrics: frozendict


def tables(epochs=3):
    """A batch is a table of rows, each of them a step on so many samples; nothing is evaluated or saved."""
    x = drawn("samples", 30)

    def step(params, state, table):
        losses = []
        for rows in table:
            error = params["mean"] - x[rows].mean(axis=0)
            losses.append(float(error @ error))
            params = {"mean": params["mean"] - 0.1 * error}
        metrics = frozendict({"loss": np.array(losses), "batches": np.full(len(table), state.count + 1.0)})
        return params, Seen(state.count + 1, metrics)

    def batches(epoch):
        order = KEY.at("epoch", epoch).permutation(30)
        return [order[:20].reshape(4, 5), order[20 : 28 + epoch][None]]

    def begin():
        return {"mean": np.ones(2, np.float32)}, Seen(0, frozendict({"loss": math.nan, "batches": math.nan}))

    return Experiment(begin, step, batches, epochs, sizes=lambda table: [table.shape[1]] * len(table))


TABLE = {each.__name__: each for each in (regression, classifier, two_inputs, adversarial, tables)}
"""Functions from a number of epochs to an experiment, by name."""


WAVE = scripts.WAVE.replace("(1000, 1)", "(100, 1)").replace("batch_size=50", "batch_size=20")
WAVE = WAVE.replace("epochs: int = 20", "epochs: int = 2")
"""All of a researcher's own script, as the documentation has it, but smaller."""


def by_hand(metrics=lambda state: {"loss": 1 / (state.count + 1)}, batches=lambda epoch: range(4), **changes):
    """An experiment of one number; ``metrics`` of the state before a step is what it measures."""

    def begin():
        names = metrics(Seen(0, frozendict({})))
        return np.zeros(2), Seen(0, frozendict(dict.fromkeys(names, math.nan)))

    def step(params, state, batch):
        return params + 1, Seen(state.count + 1, frozendict(metrics(state)))

    return Experiment(**{"begin": begin, "step": step, "batches": batches, "epochs": 3, **changes})


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def recorded(folder, experiment, every=1):
    """Go on with the run in ``folder`` to its end, recorded after every so many steps; gives where it ends."""
    folder.mkdir(exist_ok=True)
    start, record = files.recorder(folder, experiment, beginning(experiment))
    progress = start
    for progress in stream(experiment, start):
        if progress.step % every == 0 or not progress.within_epoch:
            record(progress)
    return progress


def stopped(folder, experiment, after):
    """Take all from the folder of a finished run that one would not have had after so many steps."""
    for path in folder.iterdir():
        if path.name not in (".lock", "config.json", "environment.json"):
            path.unlink()
    _, record = files.recorder(folder, experiment, beginning(experiment))
    for progress in stream(experiment):
        if progress.step > after:
            return
        record(progress)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edited(path, change):
    """Change the plain data in a JSON file."""
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def carried_out(experiment, folder, **how):
    """The run of an experiment, without a word, and as if its code were in no repository."""
    return run(experiment, folder, **{"show": None, "source": Path(folder or "").parent, **how})


SAME = ("steps.csv", "digest.txt", "checkpoint.safetensors", "model.safetensors", "best.safetensors")
"""The files of a run that must not depend on how often it was stopped; nor must the history, but for its seconds."""


def assert_same(folder, whole):
    """Both runs left the same files, and the same bytes in them."""
    names = {path.name for path in whole.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    assert not [name for name in names & {*SAME} if (folder / name).read_bytes() != (whole / name).read_bytes()]
    left, right = (without_seconds(files.read_history(run)) for run in (folder, whole))
    assert repr(left) == repr(right)
