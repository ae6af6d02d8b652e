"""One input for one target: what it must not do, and the place where what it did is kept."""

import hashlib
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import attrs

from funcnn import InputError
from funcnn.arrays import release_freed_memory

SECONDS, BYTES, TIMES = 2.0, 1 << 26, 40
"""The law: no longer than this, of the processor's time, and at most 64 MB and so many bytes for each of the input."""


@attrs.frozen(eq=False)
class Target:
    """Something that reads bytes.

    Attributes:
        name: Its name.
        seeds: Valid inputs.
        mutate: ``mutate(random, content)``, another input.
        read: ``read(content)``: gives what it likes, or raises an :class:`funcnn.InputError`.
        times: How many bytes of memory each byte of an input may take.
        constant: How many bytes any input may take.
        every: In how many rounds it has its turn once, as it is slow.
    """

    name: str
    seeds: tuple[bytes, ...]
    mutate: Callable[..., bytes]
    read: Callable[[bytes], Any]
    times: int = TIMES
    constant: int = BYTES
    every: int = 1


class TooLongError(BaseException):
    """Raised where an input takes too long: by the clock, so that nothing catches it but what catches everything."""


def tried(target: Target, content: bytes) -> str | None:
    """What is wrong with how the target takes an input, if anything, in a line that is the same for the same fault."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise TooLongError

    before, found = _memory(reset=True), None
    if before > 2 * target.constant:  # what is free already would hide what this one takes
        release_freed_memory()
        before = _memory(reset=True)
    handler = signal.signal(signal.SIGPROF, stop)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target.read(content)
    except InputError:
        pass
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever is no InputError is a fault
        place = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
    if found is None and time.process_time() - began > SECONDS:
        found = "TooLongError"
    if found is None and _memory() - before > target.constant + target.times * len(content):
        found = "more memory than the law allows"
    return found and f"{target.name}: {found}"


def kept(folder: Path, target: Target, content: bytes) -> Path:
    """The file that keeps an input; its name begins with that of its target."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{hashlib.sha256(content).hexdigest()[:10]}"
    path.write_bytes(content)
    return path


def _memory(*, reset: bool = False) -> int:
    """The most memory that this process had since the last reset, in bytes, where Linux tells it; else 0."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
