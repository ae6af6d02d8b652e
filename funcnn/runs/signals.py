"""How signals end a command: Ctrl-C, TERM and HUP alike, in order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What a user, a batch system and a terminal that is closed send, as far as the platform knows them."""


@contextmanager
def orderly() -> Iterator[None]:
    """Inside, TERM and HUP interrupt as Ctrl-C does, but for those that are ignored, as by ``nohup``."""
    kept = [number for number in ENDINGS if signal.getsignal(number) is signal.SIG_DFL]
    with _handled(kept, signal.default_int_handler):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """None of the signals does anything inside: a second one must not lose what the first one saves."""
    with _handled(ENDINGS, signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: list[signal.Signals], handler: Any) -> Iterator[None]:
    """Inside, these signals have that handler; they reach the main thread alone.

    One that arrives while handlers change leaves none changed. What C has installed cannot be put back, and stays.
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
