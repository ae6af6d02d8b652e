"""Changes of valid files, drawn by a generator: of bytes, JSON and rows, and of saved trees, which it signs again."""

import gzip
import json
import math
from random import Random

import numpy as np
from toolz import assoc, dissoc

from tests.resigned import header_and_arrays, signed

ODD = [
    *[None, True, False, 0, 1, -1, 2, 255, 10**4, 10**7, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**400],
    *[0.5, -0.0, 1e308, math.inf, -math.inf, math.nan, "", "x", "0", "\ud800", "\x1b[31m", "a,b\n", "é" * 3, "a" * 300],
    *[[], {}, [[]], [None], ["x"], [3, 4], {"a": 1}, {"seed": 0, "path": []}, {"name": "relu", "arguments": {}}],
    *["serial", "dense", "repeat", "O", "float64", "bfloat16", "unit", ".2%", "d", "numpy", "jax", [1] * 70],
]
"""Values that JSON can have where others are expected."""

WORDS = [*b'nan inf -1 1e999 0 , " \0 \xff \x1f\x8b step'.split(b" "), b"\n", b"\r", b"9" * 30]
SIZES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1]
TYPES = ["float32", "float64", "float16", "int64", "uint8", "bool", "complex64"]


def of_bytes(random: Random, content: bytes) -> bytes:
    """A few bytes changed, cut out, repeated or put in, or the end cut off."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        place, length = random.randrange(len(data) + 1), random.choice((1, 2, 4, 8, random.randrange(64)))
        match random.randrange(7):
            case 0:
                data[place : place + 1] = bytes([random.randrange(256)])
            case 1:
                data[place : place + length] = random.randbytes(length)
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[random.randrange(len(data) + 1) :][:length]
            case 4:
                data[place:place] = random.choice(WORDS)
            case 5:
                size = random.choice((2, 4, 8))
                number = random.choice(SIZES) % 256**size
                data[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))
            case 6:
                del data[place:]
    return bytes(data)


def of_plain(random: Random, values: object) -> object:
    """Plain data with one part changed, at any depth."""
    match values:
        case dict() if values and random.random() < 0.85:
            name = random.choice([*values])
            match random.randrange(8):
                case 0:
                    return dissoc(values, name)
                case 1:
                    return assoc(values, random.choice(("colour", "name", "__class__", "", name * 2)), values[name])
                case 2:
                    return assoc(values, name, values[random.choice([*values])])
                case _:
                    return assoc(values, name, of_plain(random, values[name]))
        case list() if values and random.random() < 0.85:
            place = random.randrange(len(values))
            match random.randrange(6):
                case 0:
                    return values[:place] + values[place + 1 :]
                case 1:
                    return (values * random.choice((2, 3, 200)))[:1000]  # an input is small
                case _:
                    return [*values[:place], of_plain(random, values[place]), *values[place + 1 :]]
    match random.randrange(8):
        case 0:
            return [values]
        case 1:
            return nested(random, values)
        case 2 if type(values) is int or (type(values) is float and math.isfinite(values)):
            return random.choice((values + 1, -values, values % 97 * 1.0, hex(int(values)), values * 1000))
        case _:
            return random.choice(ODD)


def nested(random: Random, values: object) -> object:
    """Plain data deep inside of others."""
    for _ in range(random.choice((3, 90, 300))):
        values = {"name": "residual", "arguments": {"layer": values}} if random.random() < 0.5 else [values]
    return values


def of_json(random: Random, content: bytes) -> bytes:
    """JSON that says something else, or is none."""
    if random.random() < 0.15:
        return of_bytes(random, content)
    values = json.loads(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        values = of_plain(random, values)
    return json.dumps(values).encode()


def of_rows(random: Random, content: bytes) -> bytes:
    """Rows of which one is missing, twice or elsewhere, or has another cell."""
    if random.random() < 0.3:
        return of_bytes(random, content)
    lines = content.split(b"\n")
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[i]
        case 1:
            lines.insert(i, lines[j])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            cells = lines[i].split(b",")
            cells[random.randrange(len(cells))] = random.choice([*WORDS, *cells, str(random.choice(SIZES)).encode()])
            lines[i] = b",".join(cells)
    return b"\n".join(lines)


def of_saved(random: Random, content: bytes) -> bytes:
    """A saved model or tree with another header or other arrays, signed again; or one that is not signed."""
    if random.random() < 0.15:
        return of_bytes(random, content)
    header, arrays = header_and_arrays(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        if random.random() < 0.75 or not arrays:
            header = of_plain(random, header)
        else:
            arrays = of_arrays(random, arrays)
    return signed(header, arrays) if isinstance(header, dict) else of_bytes(random, content)


def of_arrays(random: Random, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    name = random.choice([*arrays])
    array = arrays[name]
    match random.randrange(6):
        case 0:
            return dissoc(arrays, name)
        case 1:
            return assoc(arrays, random.choice(("0", name + ".a", "")), array)
        case 2:
            return assoc(arrays, name, array.reshape(random.choice(((-1,), (1, *array.shape), (*array.shape, 1)))))
        case 3:
            with np.errstate(all="ignore"):
                return assoc(arrays, name, array.real.astype(random.choice(TYPES)))
        case 4:
            return assoc(arrays, name, np.ones(random.choice([(), (0,), (2, 3), (1,) * 9]), array.dtype))
        case _:
            return assoc(arrays, name, np.full_like(array, random.choice((0, 1))))


def of_zipped(random: Random, content: bytes) -> bytes:
    """A file that may be gzipped: changed inside, or as it is."""
    if content[:2] != b"\x1f\x8b" or random.random() < 0.5:
        return of_bytes(random, content)
    try:
        return gzip.compress(of_bytes(random, gzip.decompress(content)), 1)
    except Exception:  # it is damaged already
        return of_bytes(random, content)
