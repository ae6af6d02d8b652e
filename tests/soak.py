"""Train, crash, resume, load and read for minutes in one process, and say whether it grows.

python -m tests.soak --minutes 10

After every cycle the resident memory, the descriptors and the threads of the process are measured. The first third of
the cycles fills caches. The process is flat if the median of each measure in the last third is no more than that in the
middle one, but for 4 MiB of memory.
"""

import errno
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path
from statistics import median

import attrs
import psutil
import tyro

import funcnn as fn
from funcnn.data import read_image, write_image
from funcnn.files import replacing
from funcnn.runs import Options, read_run, reproduce
from funcnn.runs.compare import read_runs, table
from tests.faults import ERRORS, sheets
from tests.injection import CALLS, Calls, faulty
from tests.small_experiments import TABLE, carried_out

GROWTH = {"memory": 4 * 2**20, "descriptors": 0, "threads": 0}
"""By how much each measure may grow from the middle third to the last; memory in bytes."""


@attrs.frozen
class Command:
    """Train, crash, resume and load in one process, and say whether it grows.

    Attributes:
        minutes: How long.
    """

    minutes: float = 10.0


def cycle(number: int, folder: Path) -> None:
    """An experiment crashes in one of three ways, is resumed, and all that it left is read."""
    key = fn.Key(number)
    name, call = (names[number % len(names)] for names in ([*TABLE], CALLS))
    how = {"options": Options(checkpoint_every=2)}
    failing = attrs.evolve(TABLE[name](), step=stopping(TABLE[name]().step, number))
    with suppress(KeyboardInterrupt, OSError, fn.InputError, RuntimeError):
        if number % 2:
            code = [*ERRORS.values()][number % len(ERRORS)]
            with faulty(Calls(folder.resolve(), call, 1 + number % 9, code)):
                carried_out(TABLE[name](), folder / "run", **how)
        else:
            carried_out(failing, folder / "run", **how)
    carried_out(TABLE[name](), folder / "run", **how)
    read_run(folder / "run")
    table(read_runs(folder))
    assert reproduce(TABLE[name](), folder / "run").same
    for path in (folder / "run").glob("*.safetensors"):
        with suppress(fn.InputError):  # a checkpoint is no model
            fn.load(path)
    write_image(folder / "a.png", (255 * key.uniform((28, 28))).astype("uint8"))
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:200])
    read_image(folder / "a.png")
    with suppress(fn.InputError):
        read_image(folder / "bad.png")
    sheets(folder / "answers.png", number % 2)
    with suppress(ZeroDivisionError), replacing(folder / "a.png") as part:
        part.write_text(str(1 / 0))


def stopping(step: Callable, number: int) -> Callable:
    """The step, which raises, or is interrupted, at one of its calls."""
    calls = iter(range(10**9))

    def stopped(*args: object) -> object:
        if next(calls) == number % 7:
            raise KeyboardInterrupt if number % 4 else OSError(errno.EIO, os.strerror(errno.EIO))
        return step(*args)

    return stopped


def until(seconds: float) -> Iterator[int]:
    """0, 1, 2, ... for so many seconds."""
    end = time.monotonic() + seconds
    return takewhile(lambda number: time.monotonic() < end, count())


def verdict(measures: Sequence[dict[str, float]]) -> tuple[bool, str]:
    """Whether a process is flat, by its measures, and a line for each of them."""
    third, lines, flat = len(measures) // 3, [], True
    for name, most in GROWTH.items():
        first, middle, last = (median(row[name] for row in measures[i * third : (i + 1) * third]) for i in range(3))
        grows = last > middle + most
        unit, of = (" MiB", 2**20) if name == "memory" else ("", 1)
        shown = " -> ".join(f"{value / of:.1f}" for value in (first, middle, last))
        lines.append(f"{name}: {shown}{unit}, {'GROWS' if grows else 'flat'}")
        flat = flat and not grows
    return flat, "\n".join([f"{len(measures)} cycles; medians of the three thirds:", *lines])


def soak(numbers: Iterable[int], work: Callable[[int, Path], None] = cycle) -> tuple[bool, str]:
    """Whether a process is flat that does ``work`` for each number, in a new folder; and its measures in words."""
    process, measures = psutil.Process(), []
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            work(number, Path(folder))
        gc.collect()
        row = {"memory": process.memory_info().rss, "descriptors": process.num_fds(), "threads": process.num_threads()}
        measures.append(row)
    return verdict(measures)


def main(command: Command) -> int:
    """Print the verdict; gives 0 for a flat process."""
    flat, text = soak(until(60 * command.minutes))
    print(text)
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Command, prog="python -m tests.soak")))
