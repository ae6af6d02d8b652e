"""Many inputs for many targets: by chance, or chosen by the code that they reach."""

import os
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.trial import Target, kept, tried

LONGEST = 1 << 16
"""How many bytes an input has, at most."""


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
    """Another input, of one that may be damaged already."""
    try:
        found = target.mutate(random, content)
    except Exception:  # it is too damaged to be understood
        found = random.choice(target.seeds)
    return found if len(found) <= LONGEST else random.choice(target.seeds)


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
        i, content = data[0] % len(session.targets) if data else 0, data[1:]
        if random.random() < 0.3:  # or all the time would go to the target with the most code
            i = random.randrange(len(session.targets))
            content = random.choice(session.targets[i].seeds)
        return (bytes([i]) + changed(random, session.targets[i], content))[:size]

    options = [f"-seed={seed + 1}", f"-max_len={LONGEST + 1}", "-verbosity=0", "-timeout=3600", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], str(folder), *options, "-handle_int=0"], take, custom_mutator=mutate)
    atheris.Fuzz()
