"""Reading files that anyone may have written: no pipes or devices, and no more bytes than there is use for."""

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
"""What to do about a file that is not what its format says."""

EXPANSION = 1032
"""How many bytes a byte of a gzip file can stand for, at most: deflate has no shorter code."""


def check_name(path: str | Path) -> None:
    """Raise unless a file can have this name: a null character, or half of a pair of surrogates, is in none."""
    try:
        fits = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        fits = False
    require(fits, str(path), "the name of a file", "one with a character that no name has")


def check_readable(path: str | Path) -> None:
    """Raise for a pipe or a device, where a reader may wait forever, and for a name that no file can have.

    Folders, missing files and names that are too long pass: opening them fails at once.
    """
    check_name(path)
    is_file, is_folder, exists = (f(path) for f in (os.path.isfile, os.path.isdir, os.path.exists))
    require(is_file or is_folder or not exists, str(path), "a file that can be read", "a pipe or a device")


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BufferedIOBase, int]]:
    """The uncompressed bytes of a file, gzipped or plain, whatever its name; and how many there may be, at most.

    Raises:
        InputError: The file cannot be read, or inside: is no whole gzip file.
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
    """The bytes of a file, whatever they are.

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
        InputError: The file cannot be read, is no whole gzip file, or holds more than ``most`` bytes.
    """
    with opened(path) as (file, possible):
        content = file.read(min(most, possible) + 1)
    require(len(content) <= most, str(path), f"at most {most:,} bytes", "more of them, uncompressed")
    return content
