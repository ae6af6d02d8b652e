"""A process that grows is noticed, and one that trains, crashes and resumes is not taken for one."""

import threading

import numpy as np
import pytest

from tests.soak import cycle, soak, verdict

KEPT = []


def memory(number, folder):
    KEPT.append(np.ones(2**19))  # 4 MiB


def descriptors(number, folder):
    KEPT.append((folder / "a.txt").open("w"))


class Waiting:
    """A thread that waits until it is closed."""

    def __init__(self):
        self.enough = threading.Event()
        threading.Thread(target=self.enough.wait, daemon=True).start()

    def close(self):
        self.enough.set()


def threads(number, folder):
    KEPT.append(Waiting())


@pytest.mark.parametrize("leak", [memory, descriptors, threads])
def test_a_planted_leak_is_noticed(leak):
    try:
        flat, text = soak(range(15), leak)
    finally:
        while KEPT:
            getattr(KEPT.pop(), "close", lambda: None)()
    assert not flat
    assert f"{leak.__name__}: " in next(line for line in text.splitlines() if "GROWS" in line)


def test_what_does_not_grow_is_flat():
    assert soak(range(9), lambda number, folder: None)[0]
    row = {"memory": 1e8, "descriptors": 8, "threads": 3}
    assert verdict([{**row, "memory": 1e8 + 3e6 * (number < 10)} for number in range(30)])[0]
    assert not verdict([{**row, "memory": 1e8 + 6e5 * number} for number in range(30)])[0]
    assert not verdict([{**row, "threads": 3 + number // 10} for number in range(30)])[0]


def test_a_cycle_of_the_soak_ends_well(tmp_path, without_pictures):
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        cycle(number, tmp_path / str(number))
