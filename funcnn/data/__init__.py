"""Data: idx files, images, the data sets that are read from them, computed ones, and shuffled batches."""

from funcnn.data.batches import *
from funcnn.data.datasets import *
from funcnn.data.folder import *
from funcnn.data.idx import *
from funcnn.data.images import *
from funcnn.data.normalize import *
from funcnn.data.synthetic import *
