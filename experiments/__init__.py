"""Experiments: whole runs on funcnn's functions, each a command ``python -m experiments.NAME``."""

import sys
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell of what ends a command; of Ctrl-C during its imports, on one line.

    Python then ends by that signal, which shells call status 130. What it does itself, before this package is imported,
    ends with a traceback still.
    """
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # how a package knows that one of its modules is about to be started
    sys.excepthook = _told
