"""The peers. A peer is a row here and a file beside this one, which has what its row needs of

    place(array)            puts the samples where the peer wants them, before anything is measured; optional
    training(task, mode)    a Ready that trains; without ``mode`` if the row has none
    inference(task)         a Ready that predicts the task's pieces

A tool with the workload "start-up" also has a script in :mod:`experiments.benchmark.first_steps`.
"""

from collections.abc import Mapping

import attrs

TRAINING = ("dense", "lenet")
TOOL = ("inference", "start-up")


@attrs.frozen
class Peer:
    """A tool, and how it is used.

    Attributes:
        module: The file.
        mode: The way in which the file trains, if it has several.
        does: The kinds of workloads.
        installs: The requirements whose installed size counts.
        own_batches: Whether it shuffles for itself, so that its loss is only close to the others'.
    """

    module: str
    mode: str = ""
    does: tuple[str, ...] = TRAINING
    installs: tuple[str, ...] = ()
    own_batches: bool = False


PEERS: Mapping[str, Peer] = {
    "funcnn": Peer("funcnn_numpy", does=TRAINING + TOOL, installs=("funcnn",)),
    "funcnn-jax-step": Peer("funcnn_jax", "step", ("dense",)),
    "funcnn-jax-epoch": Peer("funcnn_jax", "epoch"),
    "funcnn-jax": Peer("funcnn_jax", does=TOOL, installs=("funcnn[jax]",)),
    "jax-optax-step": Peer("jax_optax", "step"),
    "jax-optax-scan": Peer("jax_optax", "scan"),
    "jax-optax": Peer("jax_optax", does=TOOL),
    "torch-eager": Peer("pytorch", "eager"),
    "torch-foreach": Peer("pytorch", "foreach"),
    "torch-fused": Peer("pytorch", "fused"),
    "torch-compile": Peer("pytorch", "compile"),
    "torch": Peer("pytorch", does=TOOL, installs=("torch",)),
    "scikit-learn": Peer("scikit_learn", does=("dense", *TOOL), installs=("scikit-learn",), own_batches=True),
    "keras": Peer("keras_fit", does=("dense", *TOOL), installs=("keras", "jax"), own_batches=True),
    "numpy-loop": Peer("numpy_loop", does=("dense", "inference")),
    "floor": Peer("floor", does=("dense", "inference")),
}
