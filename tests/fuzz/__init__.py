"""Damaged and hostile bytes for everything that reads bytes: ``python -m tests.fuzz --seconds 600``.

``targets`` are what reads, and valid files to begin with; ``mutations`` change those, and sign again what is signed;
``trial`` tries one input and judges it: an :class:`funcnn.InputError` or a value, soon, in memory of the order of the
file. What was found stands in ``tests/corpus``, and is tried again by the tests.
"""
