"""Groups of params, each with its own optimizer."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from funcnn import tree
from funcnn.errors import InputError, require
from funcnn.layer import Params
from funcnn.optimizers.base import Optimizer, Updates, require_optimizer
from funcnn.spec import described

__all__ = ["groups"]


@described
def groups(optimizers: Mapping[str, Optimizer] | Sequence[tuple[str, Optimizer]]) -> Optimizer:
    """An optimizer for each group of params: a leaf belongs to the first pattern that matches its path.

    The patterns are those of :func:`funcnn.freeze`; ``"*"`` at the end takes all other leaves. An optimizer sees only
    its group, so :func:`clip_by_global_norm` takes the norm of the group. The state is the tuple of their states.

    Args:
        optimizers: Optimizers by pattern, or pairs of pattern and optimizer.

    Raises:
        InputError: There is no optimizer, or a value is none. At ``init``: a pattern has no leaf, or a leaf no pattern.

    >>> import funcnn as fn
    >>> fine_tuning = groups({"0.*": fn.adam(1e-5), "*": fn.adam(1e-3)})
    """
    pairs = tuple(optimizers.items()) if isinstance(optimizers, Mapping) else optimizers
    several = isinstance(pairs, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)
    require(several and pairs != (), "groups", "optimizers by pattern", repr(optimizers), 'such as {"*": adam()}')
    for pattern, optimizer in pairs:
        require(isinstance(pattern, str), "groups", "patterns of paths", repr(pattern), 'such as "0.*"')
        require_optimizer(f"groups {pattern!r}", optimizer)

    def group_of(path: str) -> int:
        found = [i for i, (pattern, _) in enumerate(pairs) if fnmatchcase(path, pattern)]
        require(len(found) > 0, "groups", "a pattern for each leaf", f"none for {path!r}", 'put "*" at the end')
        return found[0]

    def init(params: Params) -> tuple[Any, ...]:
        numbers = [group_of(path) for path, _ in tree.leaves_with_paths(params)]
        for i, (pattern, _) in enumerate(pairs):
            if i not in numbers:
                tree.matching("groups", pattern, params)  # its error names the nearest paths
                raise InputError("groups", "a leaf for each pattern", f"none left for {pattern!r}", "put it first")
        return tuple(optimizer.init(_part(params, numbers, i)) for i, (_, optimizer) in enumerate(pairs))

    def update(grads: Updates, state: tuple[Any, ...], params: Params) -> tuple[Updates, tuple[Any, ...]]:
        numbers = [group_of(path) for path, _ in tree.leaves_with_paths(params)]
        done = [
            optimizer.update(_part(grads, numbers, i), own, _part(params, numbers, i))
            for i, ((_, optimizer), own) in enumerate(zip(pairs, state, strict=True))
        ]
        leaves: list[Iterator[Any]] = [iter(tree.leaves(updates)) for updates, _ in done]
        return tree.unflatten(params, [next(leaves[i]) for i in numbers]), tuple(own for _, own in done)

    return Optimizer(init, update)


def _part(values: Any, numbers: list[int], group: int) -> Any:
    """The tree with ``None``, an empty tree, in place of the leaves of other groups."""
    leaves = zip(tree.leaves(values), numbers, strict=True)
    return tree.unflatten(values, [leaf if number == group else None for leaf, number in leaves])
