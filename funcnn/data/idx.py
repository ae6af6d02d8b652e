"""The idx format of MNIST: two zero bytes, a type, the number of axes, big-endian sizes, big-endian values.

Files may be gzipped or plain. A file whose length does not match its header is refused.
"""

import gzip
import math
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from funcnn.arrays import Array, check_array
from funcnn.errors import InputError, require
from funcnn.files import replacing
from funcnn.reading import opened

__all__ = ["read_idx", "write_idx"]

_PIECE = 1 << 20  # bytes that are uncompressed at a time
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> Array:
    """The array in an idx file, gzipped or plain, in the machine's byte order.

    It never reads or uncompresses more bytes than the header says, and refuses a header that says more than the file
    can hold.

    Raises:
        InputError: The file is missing, is not an idx file, is truncated or has trailing bytes.
    """
    with opened(path) as (file, possible):
        return parse_idx(file, str(path), possible)


def write_idx(path: str | Path, array: Array) -> None:
    """Write ``array`` as an idx file, gzipped if the name ends in ``.gz``; the same array gives the same bytes.

    Raises:
        InputError: ``array`` is not an array, or its dtype has no idx type.
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


def parse_idx(file: BufferedIOBase, where: str, possible: int) -> Array:
    """The array in an idx file of ``possible`` bytes at most; ``where`` names it in errors."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise InputError(where, "an idx file, which begins with two zero bytes and a type", start.hex(" "))
    dtype, axes = np.dtype(_TYPES[start[2]]), start[3]
    sizes, truncated = file.read(4 * axes), "the file is truncated"
    require(len(sizes) == 4 * axes, where, f"a header of {4 + 4 * axes} bytes", f"{4 + len(sizes)} bytes", truncated)
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    expected = math.prod(shape) * dtype.itemsize
    whole = f"{expected} bytes of values for shape {shape}"
    require(expected <= possible, where, whole, f"{possible} at most", truncated)
    try:
        values = np.empty(shape, dtype)
    except (MemoryError, ValueError):  # ValueError: more axes or larger sizes than any array has
        raise InputError(where, "sizes that fit into memory", shape) from None
    found = _fill(values.reshape(-1).view(np.uint8), file)
    require(found == expected, where, whole, found, truncated)
    require(not file.read(1), where, whole, f"{expected + 1} or more", "the file has trailing bytes")
    return values.astype(dtype.newbyteorder("="), copy=False)


def _fill(values: Array, file: BufferedIOBase) -> int:
    """Read bytes into the array until it is full or the file ends; returns their number."""
    found = 0
    while piece := file.read(min(len(values) - found, _PIECE)):
        values[found : found + len(piece)] = np.frombuffer(piece, np.uint8)
        found += len(piece)
    return found
