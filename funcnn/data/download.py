"""Downloads: the files of a data set, from the first mirror that serves them whole, once, into the user's cache."""

import sys
from pathlib import Path
from types import ModuleType

from funcnn.data.idx import read_bytes
from funcnn.data.sources import DATA_DIR_VARIABLE, SOURCES, verified
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
        return _download(name, file, path)


def cache_folder() -> Path:
    """Where downloads are kept, by the platform's convention."""
    return Path(_pooch().os_cache("funcnn"))


def _download(name: str, file: str, path: Path) -> bytes:
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
                return verified(name, file, read_bytes(part), url)
        except (OSError, InputError) as error:  # what requests raises is an OSError too
            failures.append(_reason(url, error))
    hint = f"check the network, or put the files in a folder and name it by data_dir or {DATA_DIR_VARIABLE}"
    raise InputError(where, f"a mirror that serves {file}.gz", "; ".join(failures), hint)


def _reason(url: str, error: Exception) -> str:
    """A mirror's answer in a few words; what requests says of a lost connection fills a page."""
    answered = isinstance(error, InputError) or getattr(error, "response", None) is not None
    return str(error) if answered else f"{url}: {type(error).__name__}"


def _pooch() -> ModuleType:
    try:
        import pooch
    except ModuleNotFoundError as error:
        hint = "downloads take the extra `experiments`: pip install 'funcnn[experiments]', or give data_dir"
        raise ModuleNotFoundError(f"{error}; {hint}") from None
    module: ModuleType = pooch
    return module
