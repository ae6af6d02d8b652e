"""Unless told to, nothing listens but on the loopback: a sweep and its workers do, and a run has no port at all.

That a coordinator does so too, tests/test_hosts.py sees.
"""

import socket
import time
from ipaddress import ip_address

import psutil
import pytest

from tests.scripts import begun, written

VERBS = {"train": [], "sweep": ["sweep", "--seeds", 0, 1, 2, "--workers", 2]}


def listening(pid):
    """The addresses at which a process or a child of it listens."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    connections = [each for process in family for each in process.net_connections("inet")]
    return [ip_address(each.laddr.ip.removeprefix("::ffff:")) for each in connections if each.status == "LISTEN"]


@pytest.mark.parametrize("verb", VERBS)
def test_what_listens_does_so_on_the_loopback(tmp_path, verb):
    out, found = tmp_path / "out", []
    with begun(written(tmp_path), *VERBS[verb], "--epochs", 100_000, "--out", out) as run:
        try:
            deadline = time.monotonic() + 120
            while not [*out.rglob("history.csv")] and time.monotonic() < deadline:
                assert run.poll() is None
                time.sleep(0.05)
            found = listening(run.pid)
        finally:
            children = psutil.Process(run.pid).children(recursive=True)
            for process in (*children, run):
                process.kill()
    assert all(address.is_loopback for address in found)
    assert (len(found) >= 4) == (verb == "sweep")  # a scheduler with its dashboard, and two workers


def test_what_listens_elsewhere_is_noticed():
    with socket.socket() as open_to_all:
        open_to_all.bind(("0.0.0.0", 0))
        open_to_all.listen()
        assert not all(address.is_loopback for address in listening(psutil.Process().pid))
