"""The sources of data sets: fingerprints of their files, and downloads into the user's cache."""

import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, ModuleType

import attrs

from funcnn.errors import InputError, imported
from funcnn.files import replacing
from funcnn.reading import read_bytes

DATA_DIR_VARIABLE = "FUNCNN_DATA_DIR"
"""The environment variable that names a local folder of data sets."""

TIMEOUT = 30
"""Seconds to wait for an answer before the next mirror is tried."""

MOST_BYTES = 1 << 26
"""The bound of uncompressed files; the largest has 47 MB."""

FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)

_DIGITS = tuple(map(str, range(10)))
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@attrs.frozen
class Source:
    """Where a data set comes from. One without mirrors is part of funcnn.

    Attributes:
        class_names: The name of each label.
        md5s: The MD5 of each file's uncompressed bytes, in the order of :data:`FILES`.
        mirrors: URLs of folders that hold the four files gzipped, in the order to try them.
    """

    class_names: tuple[str, ...]
    md5s: tuple[str, ...]
    mirrors: tuple[str, ...] = ()


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "mnist_5k": Source(
            _DIGITS,
            (
                "140db0e9de07d4ae2de3558bed503b25",
                "cb3e569fca5376ad60e2ee8513fb3078",
                "7bf0bc34a5b6411186192b91fe371fb6",
                "dbd83ab5e75c2e60372f34b2a48d6725",
            ),
        ),
        "mnist": Source(
            _DIGITS,
            (
                "6bbc9ace898e44ae57da46a324031adb",
                "a25bea736e30d166cdddb491f175f624",
                "2646ac647ad5339dbf082846283269ea",
                "27ae3e4e09519cfbb04c329615203637",
            ),
            (
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
            ),
        ),
        "fashion_mnist": Source(
            _CLOTHES,
            (
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "9018921c3c673c538a1fc5bad174d6f9",
                "8181f5470baa50b63fa0f6fddb340f0a",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            ),
        ),
    }
)


def downloaded(name: str, file: str) -> bytes:
    """The verified bytes of ``file`` from the cache folder, downloaded first if it is missing or damaged.

    Raises:
        InputError: No mirror serves it; the message lists every answer.
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    path = cache_folder() / name / f"{file}.gz"
    with suppress(InputError):
        return verified(name, file, read_bytes(path, MOST_BYTES), str(path))
    where, failures = f"load_dataset({name!r})", []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(where, "a cache folder that can be written", f"{path.parent}: {error.strerror}") from error
    fetch = _pooch().HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    for mirror in SOURCES[name].mirrors:
        url = f"{mirror}{file}.gz"
        try:
            with replacing(path) as part:
                fetch(url, str(part), None)
                return verified(name, file, read_bytes(part, MOST_BYTES), url)
        except (OSError, InputError) as error:  # the errors of requests are OSErrors
            answered = isinstance(error, InputError) or getattr(error, "response", None) is not None
            failures.append(str(error) if answered else f"{url}: {type(error).__name__}")  # its text would fill a page
    hint = f"check the network, or put the files in a folder and name it by data_dir or {DATA_DIR_VARIABLE}"
    raise InputError(where, f"a mirror that serves {file}.gz", "; ".join(failures), hint)


def cache_folder() -> Path:
    """The folder of downloads, by the platform's convention."""
    return Path(_pooch().os_cache("funcnn"))


def verified(name: str, file: str, content: bytes, where: str) -> bytes:
    """``content``, once its MD5 is that of ``file`` in the data set ``name``.

    Raises:
        InputError: The MD5 differs; if it is another known file's, the message names that file.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found == SOURCES[name].md5s[FILES.index(file)]:
        return content
    got, hint = f"{len(content)} other bytes (MD5 {found})", "get the file again"
    for owner, source in SOURCES.items():
        if found in source.md5s:
            got, hint = f"those of {owner}'s {FILES[source.md5s.index(found)]}", f"the files are swapped; {hint}"
    raise InputError(where, f"the bytes of {name}'s {file}", got, hint)


def _pooch() -> ModuleType:
    hint = "downloads take the extra `experiments`: pip install 'funcnn[experiments]', or give data_dir"
    return imported(hint, "pooch")
