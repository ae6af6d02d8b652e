"""The size of an installed tool with all its requirements."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import funcnn


def installed_bytes(requirements: Iterable[str]) -> int | None:
    """The bytes of all installed files; None if a tool or a requirement is not installed.

    For funcnn, which may be a clone, only the package's folder counts. Compiled Python does not count.
    """
    files: list[Path] = []
    try:
        for name in set().union(*map(closure, requirements)):
            clone = Path(funcnn.__file__).parent.rglob("*.*")
            listed = (Path(str(file.locate())) for file in distribution(name).files or ())
            files += clone if name == "funcnn" else listed
    except PackageNotFoundError:
        return None
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())


def closure(requirement: str) -> set[str]:
    """The names of the distributions that installing ``requirement`` brings, with its own.

    >>> "numpy" in closure("funcnn"), "matplotlib" in closure("funcnn")
    (True, False)
    """
    found: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(requirement)]
    while left:
        asked = left.pop()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        if (name, extras) not in found:
            found.add((name, extras))
            required = [Requirement(line) for line in distribution(name).requires or ()]
            brings = ({"extra": extra} for extra in (*extras, ""))
            left += [one for extra in brings for one in required if one.marker is None or one.marker.evaluate(extra)]
    return {name for name, _ in found}
