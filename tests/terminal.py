"""A command as it looks on a terminal."""

import os
import pty
import subprocess
import termios
from collections.abc import Callable


def on_a_terminal(start: Callable[..., subprocess.Popen]) -> tuple[bytes, int]:
    """What ``start(stdout=..., stderr=...)`` shows on a terminal of 24 x 80, and its exit status."""
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    run = start(stdout=inside, stderr=inside)
    os.close(inside)
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # how Linux says that the other end is closed
        pass
    return shown, run.wait(timeout=60)
