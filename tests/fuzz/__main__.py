"""The command: inputs until the time is over, guided by coverage where atheris is installed, else by chance alone."""

import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import attrs
import tyro

from funcnn.errors import imported
from tests.fuzz.trial import CORPUS, Target, kept, tried


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
    out: Path = CORPUS


class Session:
    """What was tried so far, and what was found: it counts."""

    def __init__(self, targets: list[Target], out: Path, seconds: float) -> None:
        self.targets, self.out = targets, out
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.took: Counter[str] = Counter()
        self.began = time.perf_counter()
        self.ends = self.began + seconds

    @property
    def over(self) -> bool:
        return time.perf_counter() > self.ends

    def take(self, target: Target, content: bytes) -> None:
        """One input; the first of each fault is kept."""
        began = time.perf_counter()
        fault = tried(target, content)
        self.counts[target.name] += 1
        self.took[target.name] += time.perf_counter() - began  # type: ignore[assignment]
        if fault is not None:
            if fault not in self.faults:
                print(f"{fault}: {kept(self.out, target, content)}", flush=True)
            self.faults[fault] += 1

    def report(self) -> int:
        """Print the figures; gives the exit status."""
        seconds, total = time.perf_counter() - self.began, self.counts.total()
        for target in self.targets:
            faults = sum(times for fault, times in self.faults.items() if fault.startswith(f"{target.name}: "))
            inputs, took = self.counts[target.name], self.took[target.name]
            print(f"{target.name:24} {inputs:9,} inputs, {inputs / (took or 1):6,.0f} a second, {faults} faults")
        print(f"{'all':24} {total:9,} inputs, {total / seconds:6,.0f} a second, {self.faults.total()} faults")
        return 1 if self.faults else 0


def by_chance(session: Session, seed: int, most: int = sys.maxsize) -> None:
    """Change valid inputs until the time is over, or so many were tried."""
    random = Random(seed)
    for i in count():
        for target in (target for target in session.targets if i % target.every == 0):
            if session.counts.total() >= most or session.over:
                return
            session.take(target, changed(random, target, random.choice(target.seeds)))


def changed(random: Random, target: Target, content: bytes) -> bytes:
    """Another input, of an input that may be damaged already."""
    try:
        return target.mutate(random, content)
    except Exception:  # it is too damaged to be understood
        return target.mutate(random, random.choice(target.seeds))


def by_coverage(atheris: Any, session: Session, seed: int, folder: Path) -> None:
    """Let atheris choose which inputs to change: those that reached new code. It ends the process, with the figures."""
    for i, target in enumerate(session.targets):
        for j, content in enumerate(target.seeds):
            (folder / f"{i}-{j}").write_bytes(bytes([i]) + content)

    def take(data: bytes) -> None:
        if session.over:
            status = session.report()
            sys.stdout.flush()
            os._exit(status)
        if data:
            session.take(session.targets[data[0] % len(session.targets)], data[1:])

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        random = Random(seed)
        i = data[0] % len(session.targets) if data else random.randrange(len(session.targets))
        return (bytes([i]) + changed(random, session.targets[i], data[1:]))[:size]

    options = [sys.argv[0], str(folder), f"-seed={seed + 1}", "-max_len=65536", "-verbosity=0", "-timeout=60"]
    options += ["-rss_limit_mb=0", "-handle_int=0"]
    atheris.Setup(options, take, custom_mutator=mutate)
    atheris.Fuzz()


def fuzz(command: Command) -> int:
    """Try inputs, and print what was found and the figures; gives the exit status."""
    atheris = imported("pip install atheris, or --no-guided", "atheris") if command.guided else None
    with atheris.instrument_imports(include=["funcnn", "experiments"]) if atheris else nullcontext():
        from tests.fuzz.targets import targets  # what it imports is instrumented
    home = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        found = targets(Path(scratch))
        chosen = [target for target in found if not command.only or target.name in command.only]
        session = Session(chosen, command.out, command.seconds)
        if atheris:
            (folder := Path(scratch) / "seeds").mkdir()
            by_coverage(atheris, session, command.seed, folder)
        by_chance(session, command.seed)
        return session.report()


if __name__ == "__main__":
    sys.exit(fuzz(tyro.cli(Command, prog="python -m tests.fuzz")))
