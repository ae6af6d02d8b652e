"""How a command ends: its exit status, one line for what went wrong, and Ctrl-C, TERM and HUP handled alike."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import tyro

from funcnn.errors import InputError
from funcnn.runs.stream import ExperimentError
from funcnn.runs.text import reason, say

C = TypeVar("C")

ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""The signals of a user, a batch system and a closed terminal, as far as the platform has them."""


def guarded(run: Callable[[C], int], kind: type[C], prog: str, arguments: Sequence[str] | None = None) -> int:
    """The exit status of ``run(command)``, where ``command`` is a ``kind`` made from the command line."""
    return exit_status(lambda: run(tyro.cli(kind, prog=prog, args=arguments)))


def exit_status(run: Callable[[], int]) -> int:
    """The status that ``run`` returns, 1 after one line for an error, or 130 for Ctrl-C, TERM and HUP.

    What the terminal cannot show, such as a file name that is no text, is printed in escapes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with orderly():
            status = run()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ExperimentError, InputError, MemoryError, ModuleNotFoundError, OSError) as error:
        say(f"error: {reason(error)}", error=True)
        return 1
    except KeyboardInterrupt:
        say("interrupted", error=True)
        return 130
    return status


@contextmanager
def orderly() -> Iterator[None]:
    """Inside, TERM and HUP interrupt as Ctrl-C does, except those that are ignored, as by ``nohup``."""
    kept = [number for number in ENDINGS if signal.getsignal(number) is signal.SIG_DFL]
    with _handled(kept, signal.default_int_handler):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, the signals are ignored: a second one must not stop the saving that the first one started."""
    with _handled(ENDINGS, signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: list[signal.Signals], handler: Any) -> Iterator[None]:
    """Inside, these signals have that handler. In other threads nothing changes: signals reach the main thread only.

    A signal that arrives while handlers change leaves the old ones. A handler that C code installed stays, since Python
    could not put it back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with ExitStack() as stack:
        for number in numbers:
            if (old := signal.getsignal(number)) is not None:
                stack.callback(signal.signal, number, old)
                signal.signal(number, handler)
        yield
