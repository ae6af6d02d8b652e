"""Fields of a config: validators whose errors name the option, and paths."""

from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from funcnn.errors import is_count, is_real
from funcnn.runs.options import checked

LocalPath: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


def absolute(path: Path | None) -> Path | None:
    """An absolute path, which means the same in any working folder."""
    return path and path.absolute()


COUNTS = checked("positive whole numbers", lambda values: all(map(is_count, values)))
ABOVE_0 = checked("a number above 0", lambda value: is_real(value, low=0) and value > 0)
SHARE = checked("a number in [0, 1)", partial(is_real, low=0, below=1))
SEED = checked("a whole number in [0, 2**64)", lambda value: 0 <= value < 2**64)
