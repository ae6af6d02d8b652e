"""The idx format of MNIST: two zero bytes, a type, the number of axes, big-endian sizes, big-endian values.

Files may be gzipped or plain. A file that is not exactly what its header says is refused.
"""

import gzip
import math
import sys
import zlib
from pathlib import Path

import numpy as np

from funcnn.arrays import Array, check_array
from funcnn.errors import InputError, require
from funcnn.files import replacing

__all__ = ["read_idx", "write_idx"]

MAX_AXES = 64
"""How many axes an array of NumPy's can have."""

_GZIP_MAGIC = b"\x1f\x8b"

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> Array:
    """The array in an idx file, gzipped or plain, in the machine's byte order.

    Raises:
        InputError: The file is missing, is no idx file, is truncated or has trailing bytes.
    """
    return parse_idx(read_bytes(path), str(path))


def write_idx(path: str | Path, array: Array) -> None:
    """Write ``array`` as an idx file, gzipped where the name ends in ``.gz``; the same array gives the same bytes.

    Raises:
        InputError: ``array`` is no array, or its dtype has no idx type.
    """
    check_array("write_idx", "array", array)
    codes = {np.dtype(dtype).newbyteorder("="): code for code, dtype in _TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        raise InputError("write_idx", f"a dtype of {', '.join(map(str, codes))}", array.dtype)
    header = bytes([0, 0, code, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    content = header + array.astype(_TYPES[code]).tobytes()
    with replacing(path) as part:
        part.write_bytes(gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)


def read_bytes(path: str | Path) -> bytes:
    """The uncompressed bytes of a file, gzipped or plain, whatever its name."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(str(path), "a file that can be read", error.strerror) from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(str(path), "a whole gzip file", str(error), "the file is damaged, get it again") from error


def parse_idx(content: bytes, where: str) -> Array:
    """The array in the bytes of an idx file; ``where`` names them in errors."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise InputError(where, "an idx file, which begins with two zero bytes and a type", content[:4].hex(" "))
    dtype, axes = np.dtype(_TYPES[content[2]]), content[3]
    start, damaged = 4 + 4 * axes, "the file is damaged, get it again"
    require(
        len(content) >= start, where, f"a header of {start} bytes", f"{len(content)} bytes", "the file is truncated"
    )
    require(axes <= MAX_AXES, where, f"at most {MAX_AXES} axes, as NumPy has them", axes, damaged)
    shape = tuple(np.frombuffer(content, ">u4", axes, offset=4).tolist())
    fits = math.prod(filter(None, shape)) * dtype.itemsize <= sys.maxsize  # though a size of 0 may make it empty
    require(fits, where, "sizes that fit into memory", shape, damaged)
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - start
    fault = "is truncated" if found < expected else "has trailing bytes"
    require(found == expected, where, f"{expected} bytes of values for shape {shape}", found, f"the file {fault}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
