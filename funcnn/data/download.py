"""Downloads: the files of a data set, from the first mirror that serves them whole, once, into the user's cache."""

import sys
from pathlib import Path
from types import ModuleType

from funcnn.data.idx import read_bytes
from funcnn.data.sources import SOURCES, verified
from funcnn.errors import InputError
from funcnn.files import replacing

TIMEOUT = 30
"""Seconds without an answer after which the next mirror is tried."""


def downloaded(name: str, file: str) -> bytes:
    """The verified bytes of ``file`` from the cache folder; downloads it where it is not there or is damaged.

    Raises:
        InputError: No mirror serves it; the message lists what each one answered.
        ModuleNotFoundError: The extra ``experiments`` is not installed.
    """
    path = cache_folder() / name / f"{file}.gz"
    try:
        return verified(name, file, read_bytes(path), str(path))
    except InputError:
        _download(name, file, path)
        return read_bytes(path)


def cache_folder() -> Path:
    """Where downloads are kept, by the platform's convention."""
    return Path(_pooch().os_cache("funcnn"))


def _download(name: str, file: str, path: Path) -> None:
    fetch = _pooch().HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    failures = []
    for mirror in SOURCES[name].mirrors:
        url = f"{mirror}{file}.gz"
        try:
            with replacing(path) as part:
                fetch(url, str(part), None)
                verified(name, file, read_bytes(part), url)
        except (OSError, InputError) as error:  # what requests raises is an OSError too
            failures.append(f"{url}: {error}")
        else:
            return
    hint = "check the network, or give data_dir, a folder that holds the files"
    raise InputError(f"load_dataset({name!r})", f"a mirror that serves {file}.gz", "; ".join(failures), hint)


def _pooch() -> ModuleType:
    try:
        import pooch
    except ModuleNotFoundError as error:
        hint = "downloads take the extra `experiments`: pip install 'funcnn[experiments]', or give data_dir"
        raise ModuleNotFoundError(f"{error}; {hint}") from None
    module: ModuleType = pooch
    return module
