"""A generative adversarial network draws Gaussians on a ring.

    python -m experiments.gan sweep --vary pack 1 2

Goodfellow et al. 2014 (Generative adversarial nets), with the generator's loss that does not saturate, on the ring of
Metz et al. 2017 (Unrolled generative adversarial networks). A step updates both players at once. The discriminator
judges several points at a time (Lin et al. 2018, PacGAN): with one at a time, the generator can leave modes out.
"""

import math
from collections.abc import Iterator, Mapping

import attrs
import numpy as np

import funcnn as fn
from experiments.plane import cloud
from funcnn.arrays import Array, namespace, number
from funcnn.errors import require
from funcnn.layer import Params
from funcnn.runs import Experiment, Row, main
from funcnn.runs.options import COUNT

JUDGED = fn.sigmoid_binary_cross_entropy()
MODES = np.stack([(np.cos(angle), np.sin(angle)) for angle in np.arange(8) * math.pi / 4]).astype(np.float32)
DEVIATION = 0.05


@attrs.frozen
class Config:
    """A generative adversarial network learns to draw points of eight Gaussians on a ring.

    Attributes:
        hidden: Units of each of the two hidden layers of generator and discriminator.
        latent: Numbers of noise for each point of the generator.
        pack: Points that the discriminator judges at once; a divisor of batch_size.
        learning_rate: The learning rate of Adam at the first step, for both players.
        decay: The rate of step t is learning_rate / (1 + decay t).
        batch_size: Points of the data in each step, and as many forgeries.
        steps: Steps in each epoch.
        epochs: How often the generator is evaluated.
        seed: The seed of everything random.
    """

    hidden: int = 128
    latent: int = 8
    pack: int = attrs.field(default=2, validator=COUNT)
    learning_rate: float = 1e-3
    decay: float = 5e-4
    batch_size: int = 256
    steps: int = 500
    epochs: int = 16
    seed: int = 0


def experiment(config: Config) -> Experiment:
    """The game that ``config`` describes."""
    require(config.batch_size % config.pack == 0, "--batch-size", f"a multiple of {config.pack}", config.batch_size)
    key = fn.Key(config.seed)
    hidden = [fn.dense(config.hidden), fn.relu(), fn.dense(config.hidden), fn.relu()]
    players = {"generator": fn.serial(*hidden, fn.dense(2)), "discriminator": fn.serial(*hidden, fn.dense(1))}
    shapes = {"generator": (config.latent,), "discriminator": (2 * config.pack,)}
    optimizer = fn.adam(fn.inverse_time_decay(config.learning_rate, config.decay), beta1=0.5)

    def begin() -> tuple[Params, fn.State]:
        params = {name: player.init(key.at(name), shapes[name])[0] for name, player in players.items()}
        unknown = fn.frozendict({"generator_loss": math.nan, "discriminator_loss": math.nan})
        return params, fn.State(0, key, optimizer.init(params), unknown)

    def step(params: Params, state: fn.State, batch: fn.Batch) -> tuple[Params, fn.State]:
        metrics, grads = played(players, params, batch, config.pack)
        updates, after = optimizer.update(grads, state.optimizer, params)
        return fn.apply_updates(params, updates), fn.State(state.step + 1, state.key, after, metrics)

    def batches(epoch: int) -> Iterator[fn.Batch]:
        for step in range(config.steps):
            drawn = key.at("epoch", epoch, step)
            noise = drawn.at("noise").normal((config.batch_size, config.latent))
            yield fn.Batch(noise, ring(drawn.at("data"), config.batch_size))

    def samples(params: Params) -> Array:
        return fn.predict(players["generator"], params["generator"], key.at("test").normal((2000, config.latent)))

    return Experiment(
        begin=begin,
        step=step,
        batches=batches,
        epochs=config.epochs,
        evaluate=lambda params: judged(samples(params)),
        save=lambda path, params: fn.save(path, players["generator"], params["generator"], shapes["generator"]),
        describe=lambda: "\n\n".join(f"{name}\n{fn.summary(player, shapes[name])}" for name, player in players.items()),
        sections=lambda params: [cloud("Samples", {"data": ring(key.at("shown"), 2000), "generated": samples(params)})],
        formats={"near": ".1%", "modes": "d"},
    )


def ring(key: fn.Key, count: int) -> Array:
    """Points (count, 2) of the eight Gaussians."""
    return MODES[(8 * key.at("mode").uniform((count,))).astype(int)] + DEVIATION * key.at("noise").normal((count, 2))


def judged(points: Array) -> Row:
    """The share of points within three deviations of a mode, and how many modes have a quarter of their share there."""
    distances = np.linalg.norm(points[:, None] - MODES, axis=2)
    near = distances.min(axis=1) < 3 * DEVIATION
    counts = np.bincount(distances[near].argmin(axis=1), minlength=8)
    return {"test/near": float(near.mean()), "test/modes": int((counts > len(points) / 32).sum())}


def played(players: Mapping[str, fn.Layer], params: Params, batch: fn.Batch, pack: int) -> tuple[Row, Params]:
    """The loss of each player on noise (inputs) and data (targets), and its gradient in the params of that player."""
    xp = namespace(batch.inputs)
    forged, pull_generator = fn.pullback(players["generator"], params["generator"], batch.inputs)
    packs = xp.reshape(xp.concat([batch.targets, forged]), (-1, 2 * pack))  # half of data, half forged
    logits, pull_discriminator = fn.pullback(players["discriminator"], params["discriminator"], packs)
    half = logits.shape[0] // 2
    ones, zeros = xp.ones_like(logits[:half]), xp.zeros_like(logits[half:])
    detection, residuals = JUDGED.forward(logits, xp.concat([ones, zeros]))
    ddiscriminator, _ = pull_discriminator(JUDGED.vjp(residuals), need_dx=False)
    forgery, residuals = JUDGED.forward(logits[half:], ones)
    _, dpacks = pull_discriminator(xp.concat([zeros, JUDGED.vjp(residuals)]))
    dgenerator, _ = pull_generator(xp.reshape(dpacks, (-1, 2))[len(batch.inputs) :], need_dx=False)
    losses = {"generator_loss": number(forgery), "discriminator_loss": number(detection)}
    return fn.frozendict(losses), {"generator": dgenerator, "discriminator": ddiscriminator}


if __name__ == "__main__":
    raise SystemExit(main(experiment, Config))
