"""Reading what others wrote starts no process, opens no socket, and imports nothing: the interpreter's audit tells."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, tempfile
from pathlib import Path
from funcnn.runs import compare, reproduce
from tests.fuzz.session import Session, by_chance
from tests.fuzz.targets import targets
from tests.fuzz.trial import tried
from tests.small_experiments import regression

def read_all(seed):
    session = Session([*known.values()], scratch / "found", seconds=1e9)
    by_chance(session, seed, most=300)
    for path in sorted(Path("tests/corpus").iterdir()):
        tried(known[path.name.rpartition("-")[0]], path.read_bytes())
    compare.compare(compare.Comparison((scratch / "run",), scratch / "compare.png"))
    reproduce(regression(), scratch / "run", source=scratch)

def hook(event, arguments):
    if event.startswith(KINDS):
        events.append((event, *map(str, arguments[:2])))

KINDS = ("import", "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.")
events = []
with tempfile.TemporaryDirectory() as name:
    scratch = Path(name)
    known = {target.name: target for target in targets(scratch)}
    read_all(seed=1)  # imports what reading and refusing take
    sys.addaudithook(hook)
    read_all(seed=2)
    print("seen:", events)
    PLANTED
    print("planted:", events)
"""


PLANTED = [
    ("import this", "('import', 'this', "),
    ("import os; os.system('true')", "('os.system', "),
    ("import socket; socket.create_server(('127.0.0.1', 0)).close()", "('socket.bind', "),
]


def test_reading_starts_and_imports_nothing_and_the_audit_would_see_it():
    script = SCRIPT.replace("PLANTED", "; ".join(code for code, _ in PLANTED))
    end = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert end.returncode == 0, end.stderr
    *_, told, planted = [line for line in end.stdout.splitlines() if line.startswith(("seen:", "planted:"))]
    assert told == "seen: []"
    assert [event for _, event in PLANTED if event not in planted] == []
