"""The nodes of trees: classes of records and :class:`frozendict`, registered once for every library that walks trees.

:mod:`funcnn.tree` listens on behalf of optree, and :mod:`funcnn.jax` on behalf of JAX.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import attrs

from funcnn.arrays import readonly

Flatten = Callable[[Any], tuple[tuple[Any, ...], Any, tuple[str, ...]]]
"""From a node to its children, the data that :data:`Unflatten` needs beside them, and the children's names."""

Unflatten = Callable[[Any, Any], Any]
"""From the other data and the children to the node."""

Listener = Callable[[type, Flatten, Unflatten], None]

_NODES: list[tuple[type, Flatten, Unflatten]] = []
_LISTENERS: list[Listener] = []


def on_node(listener: Listener) -> Listener:
    """A decorator: call ``listener(class, flatten, unflatten)`` for each class, now and whenever one is registered."""
    for node in _NODES:
        listener(*node)
    _LISTENERS.append(listener)
    return listener


def register(frozen: Any) -> None:
    """Register the class of a record, unless it is known: one that was pickled by value is new where it arrives."""
    if any(known is frozen for known, _, _ in _NODES):
        return
    names = tuple(field.name for field in attrs.fields(frozen))
    several = len(names) > 1  # for which attrgetter gives a tuple
    children: Any = attrgetter(*names) if several else lambda node: tuple(getattr(node, name) for name in names)
    frozen.__reduce__ = lambda node: (frozen, children(node))  # a copy is made by the call, which protects its arrays
    _register(frozen, lambda node: (children(node), None, names), lambda _, values: frozen(*values))


def records(module: str) -> list[type]:
    """The classes of records that a module defines."""
    return [cls for cls, _, _ in _NODES if cls.__module__ == module]


def _register(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    for listener in _LISTENERS:
        listener(cls, flatten, unflatten)
    _NODES.append((cls, flatten, unflatten))


class frozendict(Mapping[str, Any]):  # noqa: N801 as the builtin of Python 3.15
    """A mapping that cannot be written to; as a tree it has the values as children, in the order they were given.

    >>> metrics = frozendict({"loss": 0.5, "accuracy": 0.75})
    >>> metrics
    {'loss': 0.5, 'accuracy': 0.75}
    >>> metrics["loss"] = 0.0
    Traceback (most recent call last):
    TypeError: 'frozendict' object does not support item assignment
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: readonly(value) for name, value in values.items()}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return frozendict, (self._values,)


_register(
    frozendict,
    lambda node: (tuple(node.values()), tuple(node), tuple(node)),
    lambda names, values: frozendict(dict(zip(names, values, strict=True))),
)
