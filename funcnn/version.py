"""The version of funcnn."""

__version__ = "0.1.0"
