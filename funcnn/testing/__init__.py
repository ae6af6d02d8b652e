"""The laws that layers, losses, optimizers, schedules and steps obey, as functions that a test calls.

A test of a layer of one's own is one call, ``check_layer(scaled_tanh(2.0), in_shape=(5,))``. It runs every law on
random cases and reports the first that is broken: its name, the smallest case found, and the leaf. The laws take
the extra ``test`` (Hypothesis; JAX only where it is the oracle).
"""

from funcnn.testing.experiments import check_experiment
from funcnn.testing.gradients import check_vjp
from funcnn.testing.laws import BrokenLaw
from funcnn.testing.layers import check_layer
from funcnn.testing.losses import check_loss
from funcnn.testing.metrics import check_metric
from funcnn.testing.optimizers import check_optimizer, check_schedule
from funcnn.testing.purity import assert_pure, assert_trees_alike, assert_trees_close
from funcnn.testing.randomness import check_combinator, check_noise
from funcnn.testing.training import check_step

__all__ = [
    "BrokenLaw",
    "assert_pure",
    "assert_trees_alike",
    "assert_trees_close",
    "check_combinator",
    "check_experiment",
    "check_layer",
    "check_loss",
    "check_metric",
    "check_noise",
    "check_optimizer",
    "check_schedule",
    "check_step",
    "check_vjp",
]
