"""The laws that layers, losses, optimizers, schedules, steps and experiments obey, as functions that a test calls.

A test of your own layer is one call, ``check_layer(scaled_tanh(2.0), in_shape=(5,))``. It tries every law on
``examples`` random cases, except the laws that ``unless`` names. At the first law that fails, every checker raises
``BrokenLaw``; the message names the law, the smallest case that fails, and the leaf or value that is wrong. The
checkers take the extra ``test`` (Hypothesis; JAX only where it is the oracle).
"""

from funcnn.testing.experiments import *
from funcnn.testing.gradients import *
from funcnn.testing.laws import *
from funcnn.testing.layers import *
from funcnn.testing.losses import *
from funcnn.testing.metrics import *
from funcnn.testing.optimizers import *
from funcnn.testing.purity import *
from funcnn.testing.randomness import *
from funcnn.testing.training import *
