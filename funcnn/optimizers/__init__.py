"""Optimizers: gradients in, updates out, each a pair of pure functions that :func:`chain` composes.

The rules, with their learning rate, stand in ``rules``; what clips, decays, freezes or watches in ``transforms``.
"""

from funcnn.optimizers.base import *
from funcnn.optimizers.groups import *
from funcnn.optimizers.rules import *
from funcnn.optimizers.transforms import *
