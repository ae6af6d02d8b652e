"""Image files: pixels from six formats, and grey pixels to a file. Only this module imports Pillow."""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

import numpy as np

from funcnn.annotations import UInt8
from funcnn.arrays import Array
from funcnn.errors import InputError, imported, require
from funcnn.files import replacing
from funcnn.reading import read_bytes

__all__ = ["image_paths", "read_image", "write_image"]

PLUGINS = {"PNG": "Png", "JPEG": "Jpeg", "BMP": "Bmp", "GIF": "Gif", "WEBP": "WebP", "TIFF": "Tiff"}
"""The formats that are read, and their modules in Pillow. No others: Pillow's EPS reader starts a program."""

PIXELS, PIXELS_A_BYTE = 2**24, 16
"""The most pixels of an image, and how many more for each byte of its file: 50 megapixels take 2 MB, not 200 bytes.

Pillow's own bound of 89 megapixels holds too.
"""

_ALONE = threading.Lock()
"""Held while an image is decoded, since that changes the warnings and stderr of the whole process for a moment."""


def read_image(path: str | Path) -> UInt8[Array, "height width 4"]:
    """The red, green, blue and opacity of an image's pixels, turned as its EXIF orientation says.

    Reads the first image of a PNG, JPEG, BMP, GIF, WebP or TIFF file. Pixels of more than 8 bits are stretched from
    their least to their greatest value.

    Raises:
        InputError: The file cannot be read, is empty, damaged or of another format, or has more pixels than
            :data:`PIXELS` and :data:`PIXELS_A_BYTE` or the memory allow; the header is checked before memory is taken.
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    pil, content = pillow(), read_bytes(path)
    require(bool(content), str(path), "an image", "an empty file")
    try:
        with _ALONE, warnings.catch_warnings(), in_memory(path):
            warnings.simplefilter("ignore")  # of oddities that Pillow can read
            warnings.simplefilter("error", pil.Image.DecompressionBombWarning)
            image, most = pil.Image.open(io.BytesIO(content), formats=[*PLUGINS]), PIXELS + PIXELS_A_BYTE * len(content)
            size = f"{image.width} x {image.height}"
            require(image.width * image.height <= most, str(path), f"at most {most} pixels", size, "make it smaller")
            with _quiet() if image.format == "TIFF" else nullcontext():
                image = pil.ImageOps.exif_transpose(image)
            if image.mode.startswith(("I", "F")):
                values = np.asarray(image, np.float32)
                lowest, highest = values.min(), values.max()
                levels = 255 * (values - lowest) / max(highest - lowest, 1e-9)
                image = pil.Image.fromarray(levels.round().astype(np.uint8))
            return np.asarray(image.convert("RGBA"))
    except InputError:
        raise
    except pil.UnidentifiedImageError as error:
        got = "a file of another kind, or a damaged one"
        raise InputError(str(path), f"an image ({', '.join(PLUGINS)})", got) from error
    except Exception as error:  # Pillow raises many types for damaged files
        raise InputError(str(path), "a whole image", str(error) or repr(error)) from error


@contextmanager
def in_memory(path: str | Path) -> Iterator[None]:
    """Turn a ``MemoryError`` of the block into an ``InputError`` that names the image."""
    try:
        yield
    except MemoryError as error:
        raise InputError(str(path), "an image that fits into memory", "too many pixels", "make it smaller") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard what libtiff, or any other thread, writes to stderr during the block."""
    try:
        stderr = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def write_image(path: str | Path, pixels: UInt8[Array, "height width"]) -> None:
    """Write grey pixels to a file, in the format of its suffix."""
    with replacing(path) as part:
        pillow().Image.fromarray(pixels).save(part)


def image_paths(folder: str | Path) -> list[Path]:
    """All files in a folder and its subfolders, without hidden ones, sorted by path."""
    names = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
    visible = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return [folder / name for name in sorted(visible, key=Path.as_posix)]


def pillow() -> ModuleType:
    """Pillow with the modules that are used.

    Raises:
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    from logging import NullHandler, getLogger  # which import funcnn does without

    hint = "images take the extra `experiments`: pip install 'funcnn[experiments]'"
    plugins = (f"PIL.{name}ImagePlugin" for name in PLUGINS.values())  # else Pillow may import all that it has
    module = imported(hint, "PIL", "PIL.Image", "PIL.ImageOps", *plugins)
    if not (logger := getLogger("PIL")).handlers:  # else what Pillow logs of damaged files goes to stderr
        logger.addHandler(NullHandler())
    return module
