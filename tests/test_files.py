"""Files are whole or not there."""

import pytest

from funcnn.files import remove_leftovers, replacing


def test_a_whole_file_replaces_the_old_one_and_a_failed_write_leaves_it(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        with replacing(path) as part:
            part.write_text(text)
            assert part.name == "a.txt"
        assert path.read_text() == text
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text(str(1 / 0 if part.write_text("half") else 0))
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing is written
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as part:
        part.write_text("whole")
        (tmp_path / "left").mkdir()
        part.parent.rename(tmp_path / f"{part.parent.name}-by-a-killed-one")
        part.parent.mkdir()
        part.write_text("whole")
    remove_leftovers(tmp_path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.txt", "left"]
