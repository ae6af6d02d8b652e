"""Reading untrusted files: pipes and devices are refused, and the number of bytes is bounded."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from funcnn.errors import InputError, require

_GZIP_MAGIC = b"\x1f\x8b"

DAMAGED = "the file is damaged, get it again"
"""The hint for a file that breaks its format."""

EXPANSION = 1032
"""The most bytes that one byte of a gzip file can expand to: the limit of deflate's codes."""


def check_name(path: str | Path) -> None:
    """Raise unless the name is valid: without null characters and lone surrogates."""
    try:
        fits = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        fits = False
    require(fits, str(path), "the name of a file", "one with a character that no name has")


def check_readable(path: str | Path) -> None:
    """Raise for an invalid name, and for a pipe or a device, where a reader may wait forever.

    Folders, missing files and names that are too long pass: opening them fails at once.
    """
    check_name(path)
    fits = os.path.isfile(path) or os.path.isdir(path) or not os.path.exists(path)  # noqa: PTH110, PTH112, PTH113
    require(fits, str(path), "a file that can be read", "a pipe or a device")


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BufferedIOBase, int]]:
    """The uncompressed bytes of a file, gzipped or plain, and an upper bound of their number.

    Raises:
        InputError: The file cannot be read or, while the block reads it, is not a whole gzip file.
    """
    check_readable(path)
    try:
        with Path(path).open("rb") as file:
            size, zipped = os.fstat(file.fileno()).st_size, file.read(2) == _GZIP_MAGIC
            file.seek(0)
            yield (gzip.GzipFile(fileobj=file), EXPANSION * size) if zipped else (file, size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(str(path), "a whole gzip file", str(error), DAMAGED) from error
    except OSError as error:
        raise InputError(str(path), "a file that can be read", error.strerror) from error


def read_as_is(path: str | Path) -> bytes:
    """The bytes of a file, without uncompressing them.

    Raises:
        InputError: The file cannot be read.
    """
    check_readable(path)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(str(path), "a file that can be read", error.strerror) from error


def read_bytes(path: str | Path, most: int = 1 << 28) -> bytes:
    """The uncompressed bytes of a file, gzipped or plain.

    Raises:
        InputError: The file cannot be read, is not a whole gzip file, or holds more than ``most`` bytes.
    """
    with opened(path) as (file, possible):
        content = file.read(min(most, possible) + 1)
    require(len(content) <= most, str(path), f"at most {most:,} bytes", "more of them, uncompressed")
    return content
