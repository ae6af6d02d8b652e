"""Fields of a config: checks of values as attrs validators, and paths. An option that is refused is named."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import tyro

from funcnn.errors import is_count, is_real, require

LocalPath: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


def absolute(path: Path | None) -> Path | None:
    """A path that means the same from any working folder."""
    return path and path.absolute()


def checked(expected: str, fits: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    """The validator of a field whose values must fit.

    >>> import attrs
    >>> @attrs.frozen
    ... class Config:
    ...     batch_size: int = attrs.field(default=32, validator=COUNT)
    >>> Config(batch_size=0)
    Traceback (most recent call last):
    funcnn.errors.InputError: --batch-size: expected a positive whole number, got 0
    """

    def check(config: Any, attribute: Any, value: Any) -> None:
        found = list(value) if isinstance(value, tuple) else value
        require(fits(value), f"--{attribute.name.replace('_', '-')}", expected, found)

    return check


COUNT = checked("a positive whole number", is_count)
COUNTS = checked("positive whole numbers", lambda values: all(map(is_count, values)))
AT_LEAST_0 = checked("a number of at least 0", partial(is_real, low=0))
ABOVE_0 = checked("a number above 0", lambda value: is_real(value, low=0) and value > 0)
SHARE = checked("a number in [0, 1)", partial(is_real, low=0, below=1))
SEED = checked("a whole number in [0, 2**64)", lambda value: 0 <= value < 2**64)
