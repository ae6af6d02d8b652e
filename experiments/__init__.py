"""Experiments: whole runs on funcnn's functions, each a command ``python -m experiments.NAME``."""
