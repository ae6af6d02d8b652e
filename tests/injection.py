"""System calls that fail when a test wants them to: those that change files below one folder, in this process.

Opening, renaming, making and removing, modes and locks are reached by an audit hook, which Python calls before each of
them, from whatever library; it cannot be removed, and does nothing unless a fault is on its way. What Python's own
``open`` opens for writing is a file whose writes fail half done; a file that is opened in another way is noted in
:attr:`Calls.missed`, so no write goes past. ``os.fsync`` is replaced, and syncs nothing, which takes no time.
"""

import builtins
import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import attrs

from funcnn.files import is_leftover

CALLS = ("open", "write", "fsync", "rename", "sync folder", "open folder", "make folder", "mode", "lock", "remove")
"""What can fail; ``fsync`` is that of a file, ``sync folder`` that of a folder."""

EVENTS = {"os.rename": "rename", "os.mkdir": "make folder", "os.chmod": "mode", "fcntl.flock": "lock"}
EVENTS |= {"os.rmdir": "remove", "os.remove": "remove"}


@attrs.define
class Calls:
    """The calls below ``folder``: how often each is made, and which one fails.

    Attributes:
        folder: All else is left alone.
        call: Which call fails, at the time ``number``, counted from 1, with the error of that ``code``.
        made: How often each was made.
        missed: Files that were opened for writing in a way whose writes are not seen.
    """

    folder: Path
    call: str = ""
    number: int = 1
    code: int = 0
    made: Counter[str] = attrs.field(factory=Counter)
    missed: list[str] = attrs.field(factory=list)

    def happens(self, call: str, path: object) -> None:
        """Count a call, and raise if it is the one."""
        if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(self.folder):
            self.made[call] += 1
            if (call, self.made[call]) == (self.call, self.number):
                raise OSError(self.code, os.strerror(self.code), str(path))


_current: Calls | None = None
_opening = False
_open = io.open


def _audit(event: str, args: tuple) -> None:
    """Have the calls that Python tells of happen."""
    if _current is None or not (event == "open" or event in EVENTS):
        return
    path = args[0] if event != "fcntl.flock" else _name(args[0])
    if event != "open":
        _current.happens(EVENTS[event], path)
    elif isinstance(path, str | os.PathLike) and args[2] & os.O_DIRECTORY == 0:
        if args[2] & (os.O_WRONLY | os.O_RDWR):
            _current.happens("open", path)
            if not _opening and Path(path).is_relative_to(_current.folder) and Path(path).name != ".lock":
                _current.missed.append(str(path))
        elif Path(path).is_dir():
            _current.happens("remove" if is_leftover(Path(path).name) else "open folder", path)  # to be emptied


class _File(io.FileIO):
    """A file of which a write that fails takes half of its bytes, and the next one raises, as on a full disk."""

    error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        try:
            if _current is not None:
                _current.happens("write", self.name)
        except InterruptedError:  # which says that nothing was written
            raise
        except OSError as error:
            self.error, data = error, memoryview(data)[: len(data) // 2]
        return super().write(data)


def _opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    """``open`` whose files are such where they are written."""
    global _opening
    fits = isinstance(file, str | os.PathLike) and opener is None and mode.strip("bt") != "r"
    if _current is None or not fits or not Path(file).is_relative_to(_current.folder):
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    _opening = True
    try:
        raw = _File(os.fspath(file), mode.replace("b", "").replace("t", ""))
    finally:
        _opening = False
    buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)


def _synced(file: int) -> None:
    if _current is not None:
        _current.happens("sync folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "fsync", _name(file))


def _name(file: int) -> str:
    return os.readlink(f"/proc/self/fd/{file}")  # noqa: PTH115


@cache
def _listen() -> None:
    sys.addaudithook(_audit)


@contextmanager
def faulty(calls: Calls) -> Iterator[Calls]:
    """Inside, the calls are counted, and one of them may fail."""
    global _current
    _listen()
    with (
        mock.patch.object(builtins, "open", _opened),
        mock.patch.object(io, "open", _opened),
        mock.patch.object(os, "fsync", _synced),
    ):
        _current = calls
        try:
            yield calls
        finally:
            _current = None
