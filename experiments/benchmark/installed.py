"""What is installed: the versions of the peers, and what a tool takes on the disk with all that it requires."""

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import funcnn

DISTRIBUTIONS = ("jax", "jaxlib", "optax", "torch", "scikit-learn", "scipy", "keras")


def versions() -> dict[str, str | None]:
    """Of what the peers stand on beside funcnn; None for what is not installed."""
    return {name: _version(name) for name in DISTRIBUTIONS}


def installed_bytes(requirements: Iterable[str]) -> int | None:
    """The bytes of all installed files; None where one of the tools or what it requires is not installed."""
    try:
        return sum(map(_bytes, set().union(*map(closure, requirements))))
    except PackageNotFoundError:
        return None


def closure(requirement: str) -> set[str]:
    """The names of the distributions that installing ``requirement`` brings here, itself among them.

    >>> "numpy" in closure("funcnn"), "matplotlib" in closure("funcnn")
    (True, False)
    """
    found: set[tuple[str, frozenset[str]]] = set()
    left = {_asked(Requirement(requirement))}
    while left:
        found |= left
        left = {asked for name, extras in left for asked in _required(name, extras)} - found
    return {name for name, _ in found}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _asked(requirement: Requirement) -> tuple[str, frozenset[str]]:
    return canonicalize_name(requirement.name), frozenset(requirement.extras)


def _required(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for line in distribution(name).requires or ():
        requirement, marker = Requirement(line), Requirement(line).marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield _asked(requirement)


def _bytes(name: str) -> int:
    """Of funcnn, which may be a clone, the package's folder counts; compiled Python counts nowhere."""
    files: list[Path] = (
        list(Path(funcnn.__file__).parent.rglob("*.*"))
        if name == "funcnn"
        else [Path(str(file.locate())) for file in distribution(name).files or ()]
    )
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())
