"""The command: inputs until the time is over, guided by coverage where atheris is installed, else by chance alone."""

import sys
import tempfile
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

import attrs
import tyro


@attrs.frozen
class Command:
    """Fuzz everything that reads bytes.

    Attributes:
        seconds: How long.
        guided: Whether coverage guides the inputs, by atheris; by default where it is installed.
        seed: Of the inputs; with coverage of what is not learned from it.
        only: The names of the targets, instead of all.
        out: The folder for inputs that were taken wrongly.
    """

    seconds: float = 60.0
    guided: bool = find_spec("atheris") is not None
    seed: int = 0
    only: tuple[str, ...] = ()
    out: Path = Path(__file__).parents[1] / "corpus"


def fuzz(command: Command) -> int:
    """Try inputs, and print what was found and the figures; gives the exit status."""
    if command.guided:
        import atheris
    with atheris.instrument_imports(include=["funcnn"]) if command.guided else nullcontext():
        from tests.fuzz.session import Session, by_chance, by_coverage  # what these import is instrumented
        from tests.fuzz.targets import targets
    home = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # files in memory
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        chosen = [target for target in targets(Path(scratch)) if not command.only or target.name in command.only]
        session = Session(chosen, command.out, command.seconds)
        if command.guided:
            (folder := Path(scratch) / "seeds").mkdir()
            by_coverage(atheris, session, command.seed, folder)
        with suppress(KeyboardInterrupt):  # which shows the figures
            by_chance(session, command.seed)
        return session.report()


if __name__ == "__main__":
    sys.exit(fuzz(tyro.cli(Command, prog="python -m tests.fuzz")))
