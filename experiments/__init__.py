"""Experiments: whole runs on funcnn's functions, each a command ``python -m experiments.NAME``."""

import sys
from types import TracebackType


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what ends a command: one line for Ctrl-C during its imports, as usual for anything else.

    Python then ends by that signal, which shells show as status 130. Before this package is imported, Ctrl-C still ends
    with a traceback.
    """
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # how a package knows that one of its modules is about to be started
    sys.excepthook = _hook
