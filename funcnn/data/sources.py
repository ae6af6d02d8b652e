"""Where data sets come from, and the fingerprints that tell one from another."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from funcnn.errors import InputError

DATA_DIR_VARIABLE = "FUNCNN_DATA_DIR"
"""The environment variable that names a local folder of data sets."""

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_DIGITS = tuple(map(str, range(10)))
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@attrs.frozen
class Source:
    """Where a data set comes from; without mirrors it comes with funcnn.

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


def verified(name: str, file: str, content: bytes, where: str) -> bytes:
    """``content``, once its MD5 is that of ``file`` in the data set ``name``.

    Raises:
        InputError: It is another; the message says whose bytes they are where that is known.
    """
    expected = SOURCES[name].md5s[FILES.index(file)]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        owner, hint = _owner(found), "get the file again"
        if owner is None:
            raise InputError(where, f"the bytes of {name}'s {file}", f"{len(content)} other bytes (MD5 {found})", hint)
        raise InputError(where, f"the bytes of {name}'s {file}", f"those of {owner}", "the files are swapped; " + hint)
    return content


def _owner(found: str) -> str | None:
    """Whose file has this MD5, where that is known."""
    owners = {
        md5: f"{name}'s {file}"
        for name, source in SOURCES.items()
        for file, md5 in zip(FILES, source.md5s, strict=True)
    }
    return owners.get(found)
