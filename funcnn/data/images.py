"""Image files: pixels out of six formats by Pillow, and grey pixels into a file. Pillow is imported here alone."""

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
"""What is read, and by which module of Pillow. Of the others that it has, EPS starts a program, whatever the name."""

PIXELS, PIXELS_A_BYTE = 2**24, 16
"""An image has at most so many pixels, and so many more for each byte of its file: 50 megapixels in 2 MB, not in 200
bytes. Pillow's own bound, of 89 megapixels, holds too.
"""

_ALONE = threading.Lock()
"""Held while an image is decoded: warnings and stderr belong to the whole process, and each thread puts them back."""


def read_image(path: str | Path) -> UInt8[Array, "height width 4"]:
    """The red, green, blue and opacity of an image's pixels, turned as its EXIF orientation says.

    Pixels of more than 8 bits are stretched from their least to their greatest value. PNG, JPEG, BMP, GIF, WebP and
    TIFF are read, of several images in a file the first.

    Raises:
        InputError: The file is missing, empty, none of these, damaged, or has more pixels than :data:`PIXELS` and
            :data:`PIXELS_A_BYTE` allow, which its header says before any memory is taken; or too many for this machine.
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    fits = os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 a Path's raise for odd names
    require(fits, str(path), "an image", "a folder, a pipe or a device")
    pil, content = pillow(), read_bytes(path)
    require(bool(content), str(path), "an image", "an empty file")
    try:
        with _ALONE, warnings.catch_warnings(), in_memory(path):
            warnings.simplefilter("ignore")  # what Pillow finds odd but can read is none of the user's business
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
    except Exception as error:  # what Pillow raises for damaged files is of many types
        raise InputError(str(path), "a whole image", str(error) or repr(error)) from error


@contextmanager
def in_memory(path: str | Path) -> Iterator[None]:
    """Inside, an image's file is named where memory ends.

    Raises:
        InputError: It does.
    """
    try:
        yield
    except MemoryError as error:
        raise InputError(str(path), "an image that fits into memory", "too many pixels", "make it smaller") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """What libtiff writes to stderr, past Python, is not seen; nor is what other threads write there meanwhile."""
    try:
        stderr = os.dup(2)
    except OSError:  # there is none
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
    """Write grey pixels to a file, in the format that its name ends with."""
    with replacing(path) as part:
        pillow().Image.fromarray(pixels).save(part)


def image_paths(folder: str | Path) -> list[Path]:
    """All files in a folder and in the folders within, but hidden ones, sorted by name."""
    names = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
    visible = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return [folder / name for name in sorted(visible, key=Path.as_posix)]


def pillow() -> ModuleType:
    """Pillow, with the modules that are used.

    Raises:
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    hint = "images take the extra `experiments`: pip install 'funcnn[experiments]'"
    plugins = (f"PIL.{name}ImagePlugin" for name in PLUGINS.values())  # or else an image may have all others imported
    return imported(hint, "PIL", "PIL.Image", "PIL.ImageOps", *plugins)
