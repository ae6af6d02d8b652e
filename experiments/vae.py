"""A variational autoencoder arranges digits or clothes on a plane.

    python -m experiments.vae --dataset mnist --epochs 20

Kingma and Welling 2014 (Auto-encoding variational Bayes): the encoder gives mean and log variance of a code z, the
decoder logits of the pixels, and the loss is the negative of their bound: -E[log p(x | z)] + KL(q(z | x) || N(0, 1)).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from statistics import NormalDist
from typing import Literal

import attrs
import numpy as np
from toolz import keymap

import funcnn as fn
from experiments.plane import cloud
from funcnn.arrays import Array, namespace, number
from funcnn.layer import Params
from funcnn.runs import Experiment, Row, Section, main
from funcnn.runs.sections import images_section

PIXELS = fn.sigmoid_binary_cross_entropy()
TERMS = ("loss", "reconstruction", "divergence")


@attrs.frozen
class Config:
    """A variational autoencoder arranges digits or clothes on a plane, and draws new ones.

    Attributes:
        dataset: The images to learn: mnist_5k comes with funcnn, the others are downloaded once.
        hidden: Units of the hidden layer of encoder and decoder.
        latent: Numbers in a code; if there are two, the report shows their plane.
        learning_rate: The learning rate of Adam.
        batch_size: Images in each step.
        epochs: Passes over the training images.
        seed: The seed of everything random.
    """

    dataset: Literal["mnist_5k", "mnist", "fashion_mnist"] = "mnist_5k"
    hidden: int = 400
    latent: int = 2
    learning_rate: float = 1e-3
    batch_size: int = 50
    epochs: int = 50
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The autoencoder that ``config`` describes."""
    key, data = fn.Key(config.seed), fn.load_dataset(config.dataset)
    test, pixels = data.test.inputs, data.test.inputs.shape[1]
    shapes = {"encoder": (pixels,), "decoder": (config.latent,)}
    outputs = {"encoder": 2 * config.latent, "decoder": pixels}
    parts = {name: fn.serial(fn.dense(config.hidden), fn.relu(), fn.dense(count)) for name, count in outputs.items()}
    painter = fn.serial(parts["decoder"], fn.sigmoid())
    optimizer, noise = fn.adam(config.learning_rate), key.at("test").normal((len(test), config.latent))

    def begin() -> tuple[Params, fn.State]:
        params = {name: part.init(key.at(name), shapes[name])[0] for name, part in parts.items()}
        unknown = fn.frozendict(dict.fromkeys(TERMS, math.nan))
        return params, fn.State(0, key.at("train"), optimizer.init(params), unknown)

    def step(params: Params, state: fn.State, batch: fn.Batch) -> tuple[Params, fn.State]:
        drawn = state.key.at(state.step).normal((batch.inputs.shape[0], config.latent))
        metrics, pull = bound(parts, params, batch.inputs, drawn)
        updates, after = optimizer.update(pull(), state.optimizer, params)
        return fn.apply_updates(params, updates), fn.State(state.step + 1, state.key, after, metrics)

    def sections(params: Params) -> Iterator[Section]:
        def images(codes: Array) -> Array:
            return fn.predict(painter, (params["decoder"], ()), codes).reshape(-1, 28, 28)

        drawn = images(key.at("samples").normal((30, config.latent)))
        yield images_section("Samples", drawn, "Codes drawn from the prior, decoded.")
        if config.latent == 2:
            side = np.array([NormalDist().inv_cdf((i + 0.5) / 20) for i in range(20)], np.float32)
            codes = np.stack(np.meshgrid(side, side[::-1]), axis=-1).reshape(-1, 2)
            plane = images(codes).reshape(20, 20, 28, 28).swapaxes(1, 2).reshape(20 * 28, 20 * 28)
            yield images_section("Plane", [plane], "The codes at quantiles of the prior, decoded.")
            means, labels = fn.predict(parts["encoder"], params["encoder"], test)[:, :2], data.test.targets
            groups = {name: means[labels == label] for label, name in enumerate(data.class_names)}
            yield cloud("Codes", groups, "The mean code of each test image; training does not know the classes.")

    return Experiment(
        begin=begin,
        step=step,
        batches=lambda epoch: fn.batches(key.at("epoch", epoch), data.train, config.batch_size),
        epochs=config.epochs,
        evaluate=lambda params: keymap("test/{}".format, bound(parts, params, test, noise)[0]),
        watch="train/loss",
        save=lambda path, params: fn.save(path, painter, (params["decoder"], ()), shapes["decoder"]),
        describe=lambda: "\n\n".join(f"{name}\n{fn.summary(part, shapes[name])}" for name, part in parts.items()),
        sections=sections,
        formats=dict.fromkeys(TERMS, ".2f"),
        data={"train": data.train, "test": data.test},
    )


def bound(parts: Mapping[str, fn.Layer], params: Params, x: Array, noise: Array) -> tuple[Row, Callable[[], Params]]:
    """The loss and its two terms in nats per image, at the codes mean + deviation * noise, and the loss's gradient."""
    xp, (rows, latent) = namespace(x), noise.shape
    statistics, pull_encoder = fn.pullback(parts["encoder"], params["encoder"], x)
    mean, log_variance = statistics[:, :latent], statistics[:, latent:]
    spread = noise * xp.exp(0.5 * log_variance)
    logits, pull_decoder = fn.pullback(parts["decoder"], params["decoder"], mean + spread)
    a_pixel, residuals = PIXELS.forward(logits, x)  # the mean over pixels and images
    reconstruction = x.shape[1] * a_pixel
    divergence = 0.5 * xp.sum(mean**2 + xp.exp(log_variance) - 1 - log_variance) / rows

    def pull() -> Params:
        ddecoder, dz = pull_decoder(x.shape[1] * PIXELS.vjp(residuals))
        dlog_variance = 0.5 * (dz * spread + (xp.exp(log_variance) - 1) / rows)
        dencoder, _ = pull_encoder(xp.concat([dz + mean / rows, dlog_variance], axis=1), need_dx=False)
        return {"encoder": dencoder, "decoder": ddecoder}

    terms = map(number, (reconstruction + divergence, reconstruction, divergence))
    return fn.frozendict(dict(zip(TERMS, terms, strict=True))), pull


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
