"""Files are whole or not there."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from funcnn import InputError, load, load_tree, save_tree
from funcnn.data import read_idx, read_image
from funcnn.data.images import write_image
from funcnn.files import remove_leftovers, replacing
from funcnn.reading import check_readable


def write(path, text="new"):
    with replacing(path) as part:
        part.write_text(text)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_whole_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        write(path, text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_or_writes_nothing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text(str(1 / 0 if part.write_text("half") else 0))
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_and_then_its_folder_are_synced(tmp_path, monkeypatch):
    calls, fsync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda file: calls.append(str(Path(f"/proc/self/fd/{file}").readlink())) or fsync(file)
    )
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("rename") or rename(*paths))
    write(tmp_path / "a.txt")
    part, *others = calls
    assert part.endswith("/a.txt")
    assert others == ["rename", str(tmp_path)]


def test_modes_are_kept_and_those_of_new_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new.txt")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new.txt") == 0o640
    for kept in (0o600, 0o444, 0o666):
        (tmp_path / "new.txt").chmod(kept)
        write(tmp_path / "new.txt")
        assert mode(tmp_path / "new.txt") == kept


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_names_is_replaced(tmp_path, there):
    link, target = tmp_path / "latest.txt", tmp_path / "deep" / "a.txt"
    target.parent.mkdir()
    target.write_text("old") if there else None
    link.symlink_to("deep/a.txt")
    with replacing(link) as part:
        part.write_text("new")
        assert part.name == "latest.txt"
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [*target.parent.iterdir()] == [target]


@pytest.mark.parametrize("name", ["a" * 251 + ".txt", "ä" * 127])
def test_every_name_that_the_file_system_takes_can_be_written(tmp_path, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_text() == "new"


READERS = (read_image, read_idx, load, lambda path: load_tree(path, ()))
WRITERS = (write, lambda path: write_image(path, np.zeros((2, 2), np.uint8)), lambda path: save_tree(path, ()))


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png"])
@pytest.mark.parametrize("use", [*READERS, check_readable, *WRITERS])
def test_a_name_that_no_file_has_is_refused(tmp_path, use, name):
    with pytest.raises(InputError, match="expected the name of a file, got one with a character that no name has"):
        use(f"{tmp_path}/{name}")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("read", READERS)
def test_a_name_that_is_too_long_is_refused_by_readers(tmp_path, read):
    with pytest.raises(InputError, match=r"name too long|no such file"):
        read(tmp_path / ("a" * 300))


def test_what_is_no_file_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        kind = stat.S_IFMT(path.stat().st_mode)
        with pytest.raises(InputError, match="expected the name of a file, got a folder, a pipe or a device"):
            write(path)
        assert stat.S_IFMT(path.stat().st_mode) == kind


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    write(tmp_path / "a.txt")
    (tmp_path / "left").mkdir()
    (tmp_path / ".writing-abc").mkdir()
    (tmp_path / ".writing-abc" / "a.txt").write_text("half")
    remove_leftovers(tmp_path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.txt", "left"]


WRITER = """
import sys
from funcnn.files import replacing
with replacing(sys.argv[1]) as part:
    part.write_text("other")
    print(part, flush=True)
    sys.stdin.read()
"""


def test_the_next_process_removes_what_a_killed_one_left_but_nothing_of_one_that_lives(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    words = [sys.executable, "-c", WRITER, tmp_path / "a.txt"]
    killed = subprocess.Popen(words, **pipes)
    left = Path(killed.stdout.readline().strip())
    remove_leftovers(tmp_path)
    assert left.read_text() == "other"  # it lives
    killed.kill()
    killed.communicate()
    assert left.exists()
    with subprocess.Popen(words, **pipes) as other:
        part = Path(other.stdout.readline().strip())
        assert (left.parent.exists(), part.exists()) == (False, True)
    assert [*tmp_path.iterdir()] == [tmp_path / "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "other"


def test_where_folders_cannot_be_synced_files_are_written_all_the_same(tmp_path, monkeypatch):
    fsync = os.fsync

    def refusing(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", refusing)
    write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "new"
