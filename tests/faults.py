"""The table of faults: what every writer leaves behind when a system call fails. ``tests.injection`` lists the calls.

python -m tests.faults

Each call fails at each of its uses by the writer, with each error. After that, the file is the whole old one or the
whole new one, no other file is beside it, and no descriptor is open. The writer raises the error unless the file is the
new one. Called again, it writes the new file.
"""

import atexit
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from unittest import mock

import attrs
import numpy as np
from matplotlib.figure import Figure

import funcnn as fn
from experiments.contact_sheet import Answer, thumbnail, write_sheets
from funcnn.data import sources, write_idx, write_image
from funcnn.files import remove_leftovers
from funcnn.runs import Options, folder as files
from funcnn.runs.compare import Comparison, compare
from funcnn.runs.figures import write_png
from funcnn.runs.plan import Plan, read_plan, write_json
from funcnn.runs.report import write_report
from funcnn.runs.rows import append_rows, write_rows
from funcnn.runs.text import columns
from tests.conftest import no_pictures
from tests.injection import CALLS, Calls, faulty
from tests.small_experiments import assert_same, carried_out, regression

ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EINTR")}
HARMLESS = ("lock", "remove")
"""Calls without which a file is written all the same; what cannot be removed stays until the next process writes."""

Write = Callable[[Path, int], None]
"""``write(path, number)`` writes the old file, 0, or the new one, 1."""


@cache
def finished() -> tuple[Path, Plan, object]:
    """The folder of a run, its plan and its last progress."""
    parent = Path(tempfile.mkdtemp(prefix="faults-"))
    atexit.register(shutil.rmtree, parent)
    with mock.patch.object(Figure, "savefig", no_pictures):
        outcome = carried_out(regression(), parent / "run")
    return outcome.folder, read_plan(outcome.folder), outcome.progress


def save(path: Path, number: int) -> None:
    model = fn.dense(2)
    fn.save(path, model, model.init(fn.Key(number), (3,))[0], (3,))


def report(path: Path, number: int) -> None:
    _, plan, progress = finished()
    with mock.patch.object(Figure, "savefig", no_pictures):
        write_report(path, regression(), plan, progress, {"number": number})


def picture(path: Path, number: int) -> None:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, number])
    write_png(path, figure)


def sheets(path: Path, number: int) -> None:
    pixels, seen = np.zeros((4, 4, 4), np.uint8), np.full((28, 28), number, np.uint8)
    answer = Answer(Path("a.png"), thumbnail(pixels), seen, ("0", "1"), np.array([0.5, 0.5]), "")
    write_sheets(path.parent, [answer])


def compared(path: Path, number: int) -> None:
    """Its figure is as good as any other, and takes no time."""

    def savefig(figure: Figure, part: Path, **how: object) -> None:
        part.write_bytes(bytes([number]) * 9999)

    with mock.patch("funcnn.runs.compare.say"), mock.patch.object(Figure, "savefig", savefig):
        compare(Comparison((finished()[0],), path))


def downloaded(path: Path, number: int) -> None:
    """The old file of a cache is damaged; a mirror has the new one."""
    content = b"new" * 999
    if number == 0:
        path.write_bytes(b"damaged")
        return

    class Downloader:
        def __init__(self, **how: object) -> None:
            pass

        def __call__(self, url: str, to: str, pooch: None) -> None:
            with open(to, "wb") as file:  # noqa: PTH123 as pooch does
                file.write(content)

    source = sources.Source((), (hashlib.md5(content).hexdigest(),) * 4, ("http://mirror/",))
    with (
        mock.patch.object(sources, "SOURCES", {"toy": source}),
        mock.patch.object(sources, "cache_folder", return_value=path.parents[1]),
        mock.patch.object(sources, "_pooch", return_value=mock.Mock(HTTPDownloader=Downloader)),
    ):
        sources.downloaded("toy", sources.FILES[0])


def rows(number: int) -> list[dict[str, float]]:
    return [{"step": step, "loss": 1 / step} for step in range(1, 400 * number + 3)]


def appended(path: Path, number: int) -> None:
    append_rows(path, rows(1)[2:] if number else rows(0))


WRITERS: Mapping[str, tuple[str, Write]] = {
    "save": ("a.safetensors", save),
    "save_tree": ("a.safetensors", lambda path, number: fn.save_tree(path, {"a": np.full(9, number)})),
    "write_idx": ("a.idx", lambda path, number: write_idx(path, np.full((9, 9), number, np.uint8))),
    "write_idx, gzipped": ("a.idx.gz", lambda path, number: write_idx(path, np.full((9, 9), number, np.uint8))),
    "write_image": ("a.png", lambda path, number: write_image(path, np.full((9, 9), number, np.uint8))),
    "write_json": ("config.json", lambda path, number: write_json(path, {"a": [number] * 9999})),
    "write_rows": ("history.csv", lambda path, number: write_rows(path, rows(number))),
    "append_rows": ("steps.csv", appended),
    "write_digest": ("digest.txt", lambda path, number: files.write_digest(path.parent, progress_of(number))),
    "the report": ("report.html", report),
    "a figure's png": ("history.png", picture),
    "compare": ("compare.png", compared),
    "predict's sheet": ("answers.png", sheets),
    "a download": (f"toy/{sources.FILES[0]}.gz", downloaded),
}


def progress_of(number: int) -> object:
    return attrs.evolve(finished()[2], history=finished()[2].history[: 1 + number])


class Broken(AssertionError):
    """What a writer left that it must not."""


def state(folder: Path) -> tuple[list[str], int]:
    """The names below a folder, and how many descriptors this process has."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")), len([*Path("/proc/self/fd").iterdir()])


def written(name: str, write: Write, call: str = "", number: int = 1, code: int = 0) -> tuple[str, Calls]:
    """What is there after a fault, and after a second attempt without one; raises unless both is as it must be."""
    appends = name == "steps.csv"  # rows alone are appended in place; those beyond a checkpoint are cut off when read
    with without_waiting(), tempfile.TemporaryDirectory(prefix="faults-") as parent:
        folder = Path(parent).resolve() / "a folder"
        path = folder / name
        path.parent.mkdir(parents=True)
        write(path, 0)
        old, before, error = path.read_bytes(), state(folder), None
        try:
            with faulty(Calls(folder, call, number, code)) as calls:
                write(path, 1)
        except (OSError, fn.InputError) as caught:
            error = f"{caught}"
        require(not calls.missed, f"opens files in a way that is not seen: {calls.missed}")
        if call in HARMLESS:
            remove_leftovers(path.parent)
        found, after = path.read_bytes(), state(folder)
        if appends:
            path.write_bytes(old)
        write(path, 1)
        new = path.read_bytes()
    part = appends and found.startswith(old) and new.startswith(found)
    whole = {old: "old", new: "new"}.get(found, "part" if part else "")
    require(bool(whole), f"leaves neither the old file nor the new one, but {len(found)} bytes; the error is {error}")
    require(after == before, f"leaves names and descriptors {after}, not {before}; the error is {error}")
    late = whole == "new" and (call == "sync folder" or appends)  # which tell of an error though all is there
    require((error is None) == (whole == "new") or late, f"leaves the {whole} file, and the error is {error}")
    return whole, calls


def without_waiting() -> AbstractContextManager[object]:
    """Inside, no attempt waits for the disk."""
    return mock.patch.object(os, "fsync")


def require(fits: bool, fault: str) -> None:
    if not fits:
        raise Broken(fault)


def row(name: str, write: Write, every: int = 1) -> Iterator[tuple[str, str]]:
    """Each call that a writer makes, and what is left when it fails; only every so many faults are tried."""
    _, calls = written(name, write)
    times = [(call, number) for call in CALLS for number in range(1, calls.made[call] + 1)]
    for call, number, code in [(*time, code) for time in times for code in ERRORS.values()][::every]:
        try:
            yield call, written(name, write, call, number, code)[0]
        except Broken as error:
            raise Broken(f"{call} {number} fails with {errno.errorcode[code]}, and it {error}") from None


def whole_run(places: int = 8) -> Iterator[tuple[str, str]]:
    """The same of a whole run, in which each call fails at so many times, from the first to the last."""
    begin, codes = partial(carried_out, regression(), options=Options(checkpoint_every=2)), cycle(ERRORS.values())
    with (
        without_waiting(),
        mock.patch.object(Figure, "savefig", no_pictures),
        tempfile.TemporaryDirectory(prefix="faults-") as parent,
    ):
        whole = begin(Path(parent).resolve() / "whole").folder
        with faulty(Calls(Path(parent).resolve() / "counted")) as calls:
            begin(calls.folder)
        for call in CALLS:
            for number in np.linspace(1, calls.made[call], places).astype(int).tolist():
                folder, code = Path(parent).resolve() / f"{call} {number}", next(codes)
                with suppress(OSError, fn.InputError), faulty(Calls(folder, call, number, code)):
                    begin(folder)
                begin(folder)
                remove_leftovers(folder)  # of a run that was finished all the same
                assert_same(folder, whole)
                yield call, "resumed"


def table() -> str:
    """A line a writer: what it leaves after each call's faults."""
    rows = {title: [*row(*writer)] for title, writer in WRITERS.items()}
    rows["a whole run"] = [*whole_run()]
    lines = [["writer", *CALLS]]
    for title, cells in rows.items():
        found = [sorted({left for made, left in cells if made == call}) for call in CALLS]
        lines.append([title, *(" or ".join(cell) or "not made" for cell in found)])
    return f"{columns(lines)}\n\n{sum(map(len, rows.values()))} faults: {', '.join(ERRORS)} at each time of each call"


if __name__ == "__main__":
    print(table())
