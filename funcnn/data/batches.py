"""Batches: one shuffled pass over the samples, as a function of a key."""

from collections.abc import Iterator

from toolz import concat

from funcnn import tree
from funcnn.arrays import Array, namespace
from funcnn.errors import is_count, require
from funcnn.keys import Key, check_key
from funcnn.training import Batch, count_rows

__all__ = ["batches"]


def batches(key: Key, batch: Batch, batch_size: int) -> Iterator[Batch]:
    """The samples of ``batch`` in an order drawn from ``key``, ``batch_size`` at a time; the last batch may be smaller.

    Give every epoch its own key, such as ``key.at("epoch", epoch)``, to shuffle it anew.

    Raises:
        InputError: ``batch_size`` is not a positive whole number, or the arrays have no samples or different numbers.

    >>> import numpy as np
    >>> samples = Batch(np.zeros((5, 2)), np.arange(5))
    >>> [piece.targets.tolist() for piece in batches(Key(0), samples, 2)]
    [[2, 4], [3, 0], [1]]
    """
    check_key("batches", key)
    require(is_count(batch_size), "batches", "a batch_size that is a positive whole number", repr(batch_size))
    return (take_rows(batch, rows) for rows in concat(row_tables(key, count_rows("batches", batch), batch_size)))


def row_tables(key: Key, samples: int, batch_size: int) -> list[Array]:
    """The sample numbers of all :func:`batches`: a table (steps, batch), and one (1, rest) for a smaller last batch.

    >>> [table.tolist() for table in row_tables(Key(0), 5, 2)]
    [[[2, 4], [3, 0]], [[1]]]
    """
    order = key.permutation(samples)
    whole = samples // batch_size * batch_size
    return [table for table in (order[:whole].reshape(-1, batch_size), order[None, whole:]) if table.size]


def take_rows(batch: Batch, rows: Array) -> Batch:
    """The samples of ``batch`` with these numbers."""

    def take(array: Array) -> Array:
        xp = namespace(array)
        return xp.take(array, xp.asarray(rows), axis=0)

    taken: Batch = tree.map(take, batch)
    return taken
