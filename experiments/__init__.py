"""Experiments: whole runs on funcnn's functions, each a command ``python -m experiments.NAME``."""

import sys

from funcnn.runs.signals import quiet_imports

if sys.argv[:1] == ["-m"]:  # how a package knows that one of its modules is about to be started
    quiet_imports()
