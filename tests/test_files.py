"""Files are whole or not there."""

import pytest

from funcnn.files import remove_leftovers, replacing


def test_a_whole_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        with replacing(path) as part:
            part.write_text(text)
            assert part.name == "a.txt"
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


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("whole")
        (tmp_path / "left").mkdir()
        part.parent.rename(tmp_path / f"{part.parent.name}-by-a-killed-one")
        part.parent.mkdir()
        part.write_text("whole")
    remove_leftovers(tmp_path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.txt", "left"]
