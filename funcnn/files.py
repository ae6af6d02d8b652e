"""Atomic writes: a file is written under a temporary name beside its target, then renamed."""

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
_POSIX = os.name == "posix"
"""Elsewhere, folders can be neither locked nor synced."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to. The written file replaces ``path`` when the block ends without an error.

    Parent folders are created. The file and its folder are synced to the disk. The mode of an old file is kept. If
    ``path`` is a link, its target is replaced.

    Raises:
        InputError: ``path`` is a folder, a pipe or a device, or is not a valid file name.
        OSError: The file cannot be written.

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
        try:  # not TemporaryDirectory: Python 3.11's recurses without end if its folder cannot be removed
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
    """Whether a killed writer left the file of this name."""
    return name.startswith(_PREFIX)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the files that killed writers left in ``folder``, unless another writer is active there."""
    with suppress(BlockingIOError), _opened(Path(folder), shared=False):
        for path in Path(folder).glob(f"{_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)


_remove_leftovers_once = cache(remove_leftovers)
"""Once per process and folder: listing a large folder before every write would be slow."""


@contextmanager
def _opened(folder: Path, *, shared: bool) -> Iterator[int | None]:
    """The descriptor of a locked folder: writers share the lock, the remover of leftovers holds it alone.

    The lock ends with its process, even if that is killed. Without such locks, nothing is removed.

    Raises:
        BlockingIOError: ``shared`` is false, and a writer is active or folders cannot be locked.
    """
    if not _POSIX:
        if not shared:
            raise BlockingIOError
        yield None
        return
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
    """Sync the names in a folder to the disk; file systems that cannot sync a folder are left alone."""
    try:
        if folder is not None:
            os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
