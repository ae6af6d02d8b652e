"""How every command begins and ends: its arguments, then one line and an exit status, never a traceback for what a user
can mend.
"""

import io
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from funcnn.errors import InputError

C = TypeVar("C")


def run_command(name: str, kind: type[C], run: Callable[[C], int], arguments: Sequence[str] | None) -> int:
    """What ``run`` gives for the ``kind`` that the command line of ``experiments.NAME`` describes.

    It is 1 with a message where something is refused or fails, 130 for Ctrl-C. What the terminal cannot show, such as
    a file name that is no text, is printed in escapes.

    Raises:
        SystemExit: With 2, for bad arguments.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    command = tyro.cli(kind, prog=f"python -m experiments.{name}", args=arguments)
    try:
        return run(command)
    except (InputError, MemoryError, ModuleNotFoundError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
