"""Files that are whole or not there: written under a temporary name beside the target, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from funcnn.errors import require
from funcnn.reading import check_name

_PREFIX = ".writing-"
_ELSEWHERE = os.name != "posix"
"""Where folders can neither be locked nor synced."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; ``path`` becomes that file if the block ends well, and stays as it was if not.

    Folders on the way to ``path`` are created. The file and its folder are on the disk when the block has ended. An old
    file's mode is kept; where ``path`` is a link, the file that it names is replaced.

    Raises:
        InputError: ``path`` is a folder, a pipe or a device, or no file can have its name.
        OSError: It cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "a.txt"
    ...     with replacing(target) as part:
    ...         _ = part.write_text("whole")
    ...     target.read_text(), os.listdir(folder)
    ('whole', ['a.txt'])
    """
    check_name(path)
    path, target = Path(path), Path(os.path.realpath(path))
    require(target.is_file() or not target.exists(), str(path), "the name of a file", "a folder, a pipe or a device")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers_once(target.parent)
    with _opened(target.parent, shared=True) as folder:
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=_PREFIX))
        try:
            part = temporary / path.name
            yield part
            with part.open("rb+") as file:
                if target.exists():
                    shutil.copymode(target, part)
                os.fsync(file.fileno())
            part.replace(target)
            _sync(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def is_leftover(name: str) -> bool:
    """Whether it is the name of a file that a killed writer left."""
    return name.startswith(_PREFIX)


def remove_leftovers(folder: str | Path) -> None:
    """Remove what writers that were killed have left in ``folder``, unless another one writes there now."""
    with suppress(BlockingIOError), _opened(Path(folder), shared=False):
        for path in Path(folder).glob(f"{_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)


@cache
def _remove_leftovers_once(folder: Path) -> None:
    """The same, once a process: to look at every file of a large folder for each that is written would take long."""
    remove_leftovers(folder)


@contextmanager
def _opened(folder: Path, *, shared: bool) -> Iterator[int | None]:
    """A folder's descriptor, locked: shared by all who write in it, or for whoever removes what they left.

    The lock ends with the process that holds it, however that ends. Where there are no such locks, nothing is removed.

    Raises:
        BlockingIOError: It was to be locked alone, and somebody writes.
    """
    if _ELSEWHERE:
        if shared:
            yield None
            return
        raise BlockingIOError
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not shared:
                raise BlockingIOError from error
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(folder: int | None) -> None:
    """Have the names in a folder on the disk; some file systems do that unasked, and refuse to be asked."""
    try:
        if folder is not None:
            os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
