"""A language model of characters: a perceptron reads the last ones.

    python -m experiments.language --text my.txt --context 24

Bengio et al. 2003 (A neural probabilistic language model), with characters for words: the network says how likely each
next one is. It learns the texts that Python's own ``help()`` shows, or a file of yours; the last tenth is held out.
"""

import math
from collections.abc import Iterator
from pydoc_data.topics import topics
from textwrap import fill

import attrs
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import funcnn as fn
from experiments.fields import LocalPath, absolute
from funcnn.arrays import Array
from funcnn.errors import require
from funcnn.layer import Params
from funcnn.runs import Experiment, Row, Section, main, supervised
from funcnn.runs.sections import text_section


@attrs.frozen
class Config:
    """A language model of characters learns the texts of Python's help().

    Attributes:
        text: A text file (UTF-8) to learn instead.
        characters: How many characters of the text to take, from its beginning.
        context: Characters that the model reads.
        features: Numbers that a character is embedded as.
        hidden: Units of the hidden layer.
        learning_rate: Of Adam, at the first step.
        decay: The rate of step t is that of the first over 1 + decay t.
        batch_size: Characters a step.
        epochs: Passes over the text.
        seed: The seed of everything random.
    """

    text: LocalPath = attrs.field(default=None, converter=absolute)
    characters: int = 500_000
    context: int = 16
    features: int = 16
    hidden: int = 256
    learning_rate: float = 4e-3
    decay: float = 1e-3
    batch_size: int = 256
    epochs: int = 5
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The model that ``config`` describes: a supervised experiment on all places of the text."""
    key = fn.Key(config.seed)
    text = help_texts() if config.text is None else config.text.read_text(encoding="utf-8")
    alphabet, codes = np.unique(list(text[: config.characters]), return_inverse=True)
    held_out = codes[len(codes) * 9 // 10 :]
    fits = len(held_out) > config.context
    require(fits, "--characters", "a text of which a tenth is longer than --context", len(codes))
    train, test = (windows(part, config.context) for part in (codes[: -len(held_out)], held_out))
    embedded = fn.embedding(len(alphabet), config.features), fn.flatten()
    model = fn.serial(*embedded, fn.dense(config.hidden), fn.relu(), fn.dense(len(alphabet)))
    learned = supervised(
        model,
        fn.softmax_cross_entropy(),
        fn.adam(fn.inverse_time_decay(config.learning_rate, config.decay)),
        train,
        key=key,
        batch_size=config.batch_size,
        epochs=config.epochs,
        evaluate={"test": test},
    )

    def evaluate(params: Params) -> Row:
        row = learned.evaluate(params)
        return {**row, "test/bits": row["test/loss"] / math.log(2)}

    def sections(params: Params) -> Iterator[Section]:
        begin, drawn = held_out[: config.context], key.at("samples").uniform((600,))
        for temperature in (0.5, 1.0):
            text = "".join(alphabet[continued(model, params, begin, drawn, temperature)])
            yield text_section(f"At temperature {temperature}", fill(text, 100))

    return attrs.evolve(learned, evaluate=evaluate, sections=sections)


def help_texts() -> str:
    """The words that ``help()`` shows, without the lines that only draw."""
    lines = (line for topic in topics.values() for line in topic.splitlines() if any(map(str.isalnum, line)))
    return " ".join(" ".join(lines).split())


def windows(codes: Array, context: int) -> fn.Batch:
    """Every character as a target, with the ``context`` before it as inputs."""
    views = sliding_window_view(codes.astype(np.int32), context + 1)
    return fn.Batch(views[:, :-1], views[:, -1])


def continued(model: fn.Layer, params: Params, begin: Array, drawn: Array, temperature: float) -> Array:
    """The codes ``begin``, and one for each number drawn from [0, 1); a low temperature prefers the likely ones."""
    codes = list(begin)
    for draw in drawn:
        logits = fn.predict(model, params, np.array([codes[-len(begin) :]]))
        shares = np.cumsum(fn.predict(fn.softmax(), (), logits / temperature))
        codes.append(min(int(np.searchsorted(shares, draw)), len(shares) - 1))
    return np.array(codes)


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
