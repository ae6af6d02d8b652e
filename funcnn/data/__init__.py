"""Data: idx files, images, data sets read from them, computed data sets, and shuffled batches."""

from funcnn.data.batches import *
from funcnn.data.datasets import *
from funcnn.data.folder import *
from funcnn.data.idx import *
from funcnn.data.images import *
from funcnn.data.normalize import *
from funcnn.data.synthetic import *
