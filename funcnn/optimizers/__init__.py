"""Optimizers: gradients in, updates out, each a pair of pure functions that :func:`chain` composes.

``rules`` has the usual optimizers, made of the parts in ``scaling``; ``transforms`` clip, decay, freeze or watch;
``wrappers`` and ``groups`` take whole optimizers.
"""

from funcnn.optimizers.base import *
from funcnn.optimizers.groups import *
from funcnn.optimizers.rules import *
from funcnn.optimizers.scaling import *
from funcnn.optimizers.transforms import *
from funcnn.optimizers.wrappers import *
