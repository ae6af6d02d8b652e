"""No writer loses a file to a system call that fails, and one that did would be noticed."""

import os
import tempfile

import pytest

from tests.faults import WRITERS, Broken, row, whole_run, written
from tests.injection import CALLS

KEPT = []


@pytest.mark.parametrize("title", WRITERS)
def test_a_fault_leaves_the_old_file_or_the_new_one(title):
    left = dict(row(*WRITERS[title], every=3))
    expected = {"open", "write", "fsync"} if title == "append_rows" else {*CALLS}
    assert {*left} == expected
    assert left["open"] == "old"


def test_a_whole_run_is_resumed_after_any_fault():
    assert {call for call, _ in whole_run(places=2)} == {*CALLS}


def in_place(path, number):
    path.write_bytes(bytes([number]) * 9999)


def swallowing(path, number):
    if number == 0 or not path.exists():
        in_place(path, number)
        return
    try:
        with open(path.with_name(".part"), "wb") as file:  # noqa: PTH123
            file.write(bytes([number]) * 9999)
        path.with_name(".part").replace(path)
    except OSError:
        path.with_name(".part").unlink(missing_ok=True)


def littering(path, number):
    part = path.with_name(".part")
    part.write_bytes(bytes([number]) * 9999)
    part.replace(path)


def leaking(path, number):
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        file = open(f"{folder}/a", "wb")  # noqa: PTH123, SIM115
        KEPT.append(file)
        file.write(bytes([number]) * 9999)
        file.close()
        os.replace(file.name, path)  # noqa: PTH105
        KEPT.append(os.open(path, os.O_RDONLY))


def unseen(path, number):
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(file, bytes([number]))
    os.close(file)


@pytest.mark.parametrize(
    ("write", "fault"),
    [
        (in_place, "open 1 fails |write 1 fails .* and it leaves neither the old file nor the new one, but 4999 bytes"),
        (swallowing, "fails with ENOSPC, and it leaves the old file, and the error is None"),
        (littering, r"fails with ENOSPC, and it leaves names and descriptors .*\.part"),
        (leaking, "leaves names and descriptors"),
        (unseen, "opens files in a way that is not seen"),
    ],
)
def test_a_writer_that_loses_files_is_noticed(write, fault):
    with pytest.raises(Broken, match=fault):
        [*row("a.bin", write)]
    while KEPT:
        kept = KEPT.pop()
        os.close(kept) if isinstance(kept, int) else kept.close()
    assert written("a.bin", in_place)[0] == "new"  # as long as nothing fails
