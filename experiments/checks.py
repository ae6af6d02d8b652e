"""Checks of a config's fields, as attrs validators; what is refused is told by the name of its option."""

from functools import partial

from funcnn.errors import is_count, is_real
from funcnn.runs.options import AT_LEAST_0, COUNT, checked

__all__ = ["ABOVE_0", "AT_LEAST_0", "COUNT", "COUNTS", "SEED", "SHARE"]

COUNTS = checked("positive whole numbers", lambda values: all(map(is_count, values)))
ABOVE_0 = checked("a number above 0", lambda value: is_real(value, low=0) and value > 0)
SHARE = checked("a number in [0, 1)", partial(is_real, low=0, below=1))
SEED = checked("a whole number in [0, 2**64)", lambda value: 0 <= value < 2**64)
