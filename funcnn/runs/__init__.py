"""Runs: any experiment gets a folder, resume, reproduce, sweep, compare and a report.

An :class:`Experiment` is all that a training depends on; :func:`supervised` makes the usual one. :func:`main` is its
command, :func:`run` the same from a script or notebook, :func:`stream` the bare fold. What is refused raises an
:class:`funcnn.errors.InputError`. ``Experiment``, ``supervised`` and ``stream`` need the core alone, the rest needs the
extra ``experiments``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from funcnn.runs.experiment import Experiment, Row, Section, Table, supervised
from funcnn.runs.stream import ExperimentError, Progress, stream

if TYPE_CHECKING:
    from funcnn.runs.command import main
    from funcnn.runs.folder import Run, read_run
    from funcnn.runs.launch import Outcome, run
    from funcnn.runs.options import Devices, Options
    from funcnn.runs.replay import Verdict, reproduce

__all__ = ["Devices", "Experiment", "ExperimentError", "Options", "Outcome", "Progress", "Row", "Run", "Section"]
__all__ += ["Table", "Verdict", "main", "read_run", "reproduce", "run", "stream", "supervised"]

_LATER = {"Devices": "options", "Options": "options", "Outcome": "launch", "Run": "folder", "Verdict": "replay"}
_LATER |= {"main": "command", "read_run": "folder", "reproduce": "replay", "run": "launch"}
"""What takes the extra, with its room: imported when it is asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'funcnn.runs' has no attribute {name!r}")
    try:
        return getattr(import_module(f"funcnn.runs.{_LATER[name]}"), name)
    except ModuleNotFoundError as error:
        text = f"{error}; funcnn.runs.{name} takes the extra `experiments`: pip install 'funcnn[experiments]'"
        raise ModuleNotFoundError(text) from None
