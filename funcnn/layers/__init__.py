"""The catalogue of layers, one topic a file. Each is a constructor beside its pure forward and VJP functions."""

from funcnn.layers.activations import *
from funcnn.layers.attention import *
from funcnn.layers.batch_norm import *
from funcnn.layers.branches import *
from funcnn.layers.combinators import *
from funcnn.layers.convolution import *
from funcnn.layers.dense import *
from funcnn.layers.dropout import *
from funcnn.layers.embedding import *
from funcnn.layers.normalization import *
from funcnn.layers.recurrent import *
from funcnn.layers.resampling import *
from funcnn.layers.shapes import *
