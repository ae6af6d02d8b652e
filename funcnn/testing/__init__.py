"""The laws that layers, losses, optimizers, schedules and steps obey, as functions that a test calls.

A test of a layer of one's own is one call, ``check_layer(scaled_tanh(2.0), in_shape=(5,))``. It runs every law on
random cases and reports the first that is broken: its name, the smallest case found, and the leaf. The laws take
the extra ``test`` (Hypothesis; JAX only where it is the oracle).
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
