"""Files that are whole or not there: written under a temporary name beside the target, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".writing-"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; ``path`` becomes that file if the block ends well, and stays as it was if not.

    Folders on the way to ``path`` are created.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "a.txt"
    ...     with replacing(target) as part:
    ...         _ = part.write_text("whole")
    ...     target.read_text(), os.listdir(folder)
    ('whole', ['a.txt'])
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{_PREFIX}{path.name}.") as folder:
        part = Path(folder) / path.name
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)


def is_leftover(name: str) -> bool:
    """Whether it is the name of what a writer that was killed has left."""
    return name.startswith(_PREFIX)


def remove_leftovers(folder: str | Path) -> None:
    """Remove what writers that were killed have left in ``folder``."""
    for path in Path(folder).glob(f"{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
