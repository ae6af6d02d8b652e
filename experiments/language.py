"""A language model of characters: a transformer or a recurrent network learns to continue a text.

    python -m experiments.language --model gru --text my.txt --context 64

The model reads up to ``context`` characters: a transformer (Vaswani et al. 2017; blocks as in GPT-2) or a GRU (Cho et
al. 2014). It learns the texts of Python's own ``help()``, or a file of yours; the last tenth is held out.
"""

import math
from collections.abc import Iterator
from pydoc_data.topics import topics
from textwrap import fill
from typing import Literal

import attrs
import numpy as np

import funcnn as fn
from experiments.fields import LocalPath, absolute
from funcnn.arrays import Array
from funcnn.errors import require
from funcnn.layer import Params
from funcnn.runs import Experiment, Row, Section, main, supervised
from funcnn.runs.options import COUNT
from funcnn.runs.sections import text_section


@attrs.frozen
class Config:
    """A language model of characters learns the texts of Python's help().

    Attributes:
        text: A text file (UTF-8) to learn instead.
        characters: How many characters of the text to take, from its beginning.
        model: The network that reads the sequences.
        context: Characters in a sequence, the most that the model reads.
        features: The width of the embedding, and of all layers of the transformer.
        heads: Heads of attention in each layer of the transformer; they divide the features.
        layers: Layers of the transformer.
        hidden: The size of the recurrent network's state.
        learning_rate: The learning rate of Adam at the first step.
        decay: The rate of step t is learning_rate / (1 + decay t).
        batch_size: Sequences in each step.
        epochs: Passes over the text.
        seed: The seed of everything random.
    """

    text: LocalPath = attrs.field(default=None, converter=absolute)
    characters: int = attrs.field(default=500_000, validator=COUNT)
    model: Literal["transformer", "gru"] = "transformer"
    context: int = attrs.field(default=32, validator=COUNT)
    features: int = 64
    heads: int = 4
    layers: int = 2
    hidden: int = 128
    learning_rate: float = 4e-3
    decay: float = 1e-3
    batch_size: int = 16
    epochs: int = 5
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The model that ``config`` describes: a supervised experiment on all sequences of the text."""
    key = fn.Key(config.seed)
    text = help_texts() if config.text is None else config.text.read_text(encoding="utf-8")
    alphabet, codes = np.unique(list(text[: config.characters]), return_inverse=True)
    held_out = codes[len(codes) * 9 // 10 :]
    fits = len(held_out) > config.context
    require(fits, "--characters", "a text of which a tenth is longer than --context", len(codes))
    train, test = (sequences(part, config.context) for part in (codes[: -len(held_out)], held_out))
    blocks = fn.repeat(config.layers, transformer_block(config.features, config.heads))
    transformer = fn.serial(fn.positions(), blocks, fn.layer_norm())
    reader = transformer if config.model == "transformer" else fn.recurrent(fn.gru(), config.hidden)
    model = fn.serial(fn.embedding(len(alphabet), config.features), reader, fn.dense(len(alphabet)))
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


def transformer_block(features: int, heads: int) -> fn.Layer:
    """Attention to earlier places, then a perceptron at each place, both as residuals."""
    attention = fn.serial(fn.layer_norm(), fn.attention(heads, causal=True))
    perceptron = fn.serial(fn.layer_norm(), fn.dense(4 * features), fn.gelu(approximate=True), fn.dense(features))
    return fn.serial(fn.residual(attention), fn.residual(perceptron))


def help_texts() -> str:
    """The words that ``help()`` shows, without lines of symbols only."""
    lines = (line for topic in topics.values() for line in topic.splitlines() if any(map(str.isalnum, line)))
    return " ".join(" ".join(lines).split())


def sequences(codes: Array, context: int) -> fn.Batch:
    """The codes cut into consecutive sequences; the target of each code is the next one."""
    whole = (len(codes) - 1) // context * context
    return fn.Batch(*(codes[i : i + whole].astype(np.int32).reshape(-1, context) for i in (0, 1)))


def continued(model: fn.Layer, params: Params, begin: Array, drawn: Array, temperature: float) -> Array:
    """``begin`` and a new code for each number drawn from [0, 1); the model reads the latest ``len(begin)`` codes."""
    codes = list(begin)
    for draw in drawn:
        logits = fn.predict(model, params, np.array([codes[-len(begin) :]]))[:, -1]
        shares = np.cumsum(fn.predict(fn.softmax(), (), logits / temperature))
        codes.append(min(int(np.searchsorted(shares, draw)), len(shares) - 1))
    return np.array(codes)


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
