"""idx files: a round trip, and every malformation refused."""

import contextlib
import gzip
import io

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from funcnn import InputError
from funcnn.data import read_idx, write_idx
from funcnn.data.idx import parse_idx

DTYPES = ["u1", "i1", "i2", "i4", "f4", "f8"]
IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
BYTES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(24)])
DAMAGE = {
    b"": "an idx file, which begins with two zero bytes and a type, got $",
    b"<!DOCTYPE html>": "an idx file.*two zero bytes and a type, got 3c 21 44 4f",
    BYTES[:2] + b"\x07" + BYTES[3:]: "an idx file.*and a type, got 00 00 07 03",
    BYTES[:9]: "a header of 16 bytes, got 9 bytes; the file is truncated",
    BYTES[:-1]: r"24 bytes of values for shape \(2, 3, 4\), got 23; the file is truncated",
    BYTES + b"\0": r"24 bytes of values for shape \(2, 3, 4\), got 25 or more; the file has trailing bytes",
    BYTES[:7]
    + b"\xff"
    + BYTES[8:]: r"3060 bytes of values for shape \(255, 3, 4\), got (24|40 at most); the file is truncated",
}
ZIPPED = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0x1F, 0x40]) + np.arange(1000).tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@given(st.data(), st.sampled_from(DTYPES), array_shapes(min_dims=0, min_side=0), st.sampled_from(["", ".gz"]))
def test_round_trip(folder, data, dtype, shape, suffix):
    array = data.draw(arrays(dtype, shape))
    path = folder / f"array{suffix}"
    write_idx(path, array)
    back = read_idx(path)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_the_bytes_are_those_of_the_format_and_gzip_is_reproducible(tmp_path):
    for name in ("a", "b.gz", "c.gz"):
        write_idx(tmp_path / name, IMAGES)
    assert (tmp_path / "a").read_bytes() == gzip.decompress((tmp_path / "b.gz").read_bytes()) == BYTES
    assert (tmp_path / "b.gz").read_bytes() == (tmp_path / "c.gz").read_bytes()


@pytest.mark.parametrize("content", DAMAGE)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_malformed_files_are_refused(tmp_path, content, compress):
    (tmp_path / "images").write_bytes(compress(content))
    with pytest.raises(InputError, match=f"images: expected {DAMAGE[content]}"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("content", [ZIPPED[:-5], ZIPPED[:40] + b"\xff\xff" + ZIPPED[42:], ZIPPED + b"junk"])
def test_damaged_gzip_is_refused(tmp_path, content):
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"images.gz: expected a whole gzip file, got .*; the file is damaged"):
        read_idx(tmp_path / "images.gz")


def test_what_cannot_be_read_or_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a file that can be read, got Is a directory"):
        read_idx(tmp_path)
    with pytest.raises(InputError, match="nowhere: expected a file that can be read, got No such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"write_idx: expected a dtype of uint8, .*, got int64"):
        write_idx(tmp_path / "a", np.arange(3))


@given(st.binary(max_size=40))
def test_any_bytes_are_an_array_or_refused(content):
    with contextlib.suppress(InputError):
        assert isinstance(parse_idx(io.BytesIO(content), "bytes", len(content)), np.ndarray)
