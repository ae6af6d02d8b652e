"""Image files: pixels out of whatever Pillow reads, and grey pixels into a file. Pillow is imported here alone."""

import io
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np

from funcnn.annotations import UInt8
from funcnn.arrays import Array
from funcnn.errors import InputError, imported, require
from funcnn.files import replacing
from funcnn.reading import read_bytes

__all__ = ["image_paths", "read_image", "write_image"]


def read_image(path: str | Path) -> UInt8[Array, "height width 4"]:
    """The red, green, blue and opacity of an image's pixels, turned as its EXIF orientation says.

    Pixels of more than 8 bits are stretched from their least to their greatest value.

    Raises:
        InputError: The file is missing, empty, no image, damaged, or has more pixels than Pillow takes for harmless.
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    pil, content = pillow(), read_bytes(path)
    require(bool(content), str(path), "an image", "an empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd but can read is none of the user's business
            warnings.simplefilter("error", pil.Image.DecompressionBombWarning)
            image = pil.ImageOps.exif_transpose(pil.Image.open(io.BytesIO(content)))
            if image.mode.startswith(("I", "F")):
                values = np.asarray(image, np.float32)
                lowest, highest = values.min(), values.max()
                levels = 255 * (values - lowest) / max(highest - lowest, 1e-9)
                image = pil.Image.fromarray(levels.round().astype(np.uint8))
            return np.asarray(image.convert("RGBA"))
    except pil.UnidentifiedImageError as error:
        raise InputError(str(path), "an image", "a file of another kind, or a damaged one") from error
    except Exception as error:  # what Pillow raises for damaged files is of many types
        raise InputError(str(path), "a whole image", str(error) or repr(error)) from error


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
    return imported(hint, "PIL", "PIL.Image", "PIL.ImageOps")
