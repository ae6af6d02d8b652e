"""A constructor remembers its call.

``@described`` registers a constructor, funcnn's or a user's, and stores each call on the layer, loss, optimizer or
schedule that it makes. The repr, the summary table, saving without pickle, and loading all follow from that.
"""

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, ParamSpec, TypeAlias, TypeVar

import attrs

from funcnn.arrays import number
from funcnn.errors import InputError, require

Plain: TypeAlias = Any
"""None, booleans, numbers, strings, lists of them, and described parts as ``{"name": ..., "arguments": ...}``."""

MOST_PARTS, DEEPEST = 10_000, 100
"""The most described parts that :func:`from_plain` builds, and the deepest nesting of its data."""

_signature = functools.cache(inspect.signature)


@attrs.frozen(eq=False)
class Spec:
    """A constructor and the arguments of one call by parameter name, defaults included.

    ``parts`` is the number of described parts, this one included, each counted as often as it is used.
    """

    constructor: Callable[..., "Described"]
    arguments: Mapping[str, Any]
    parts: int = 1

    @property
    def name(self) -> str:
        return self.constructor.__name__

    def build(self) -> "Described":
        """Call the constructor again."""
        signature = _signature(self.constructor)
        bound = inspect.BoundArguments(signature, dict(self.arguments))
        return self.constructor(*bound.args, **bound.kwargs)

    def __str__(self) -> str:
        """The call as source code: required arguments and the learning rate by position, others by name.

        Arguments that are equal to their defaults are left out, except the learning rate.
        """
        written: list[str] = []
        for name, parameter in _signature(self.constructor).parameters.items():
            value = self.arguments[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                written.extend(map(repr, value))
            elif parameter.default is parameter.empty or name == "learning_rate":
                written.append(repr(value))
            elif repr(value) != repr(parameter.default):
                written.append(f"{name}={value!r}")
        return f"{self.name}({', '.join(written)})"


@attrs.frozen(eq=False, repr=False)
class Described:
    """What a described constructor makes; ``spec`` is ``None`` if it was made or changed by hand.

    ``attrs.evolve`` drops the spec, since the call no longer makes that object. An object with a spec is pickled as its
    call, so its functions may be closures.
    """

    spec: Spec | None = attrs.field(default=None, init=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} without a spec>" if self.spec is None else str(self.spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return object.__reduce_ex__(self, protocol) if self.spec is None else (Spec.build, (self.spec,))


@attrs.frozen(eq=False, repr=False)
class DescribedFunction(Described):
    """A function that remembers how it was made."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _frozen(value: Any) -> Any:
    value = tuple(value.items()) if isinstance(value, dict) else value
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else number(value)


P = ParamSpec("P")
D = TypeVar("D", bound=Described)

_CONSTRUCTORS: dict[str, Callable[..., Described]] = {}


def described(constructor: Callable[P, D]) -> Callable[P, D]:
    """Make ``constructor`` remember its calls, and register it under its name for :func:`from_plain`.

    Among its arguments, NumPy scalars become Python numbers, which never promote an array, lists become tuples, and
    dicts become tuples of pairs.

    Raises:
        InputError: Another module has registered the name already. At a call: the constructor raises it, with the name
            in front of the place unless it begins with it.
        TypeError: At a call: the arguments do not fit, or the result is not a :class:`Described`.

    >>> @described
    ... def doubled(schedule, times=1):
    ...     return DescribedFunction(lambda step: 2 * times * step)
    >>> doubled(doubled(None), times=3)
    doubled(doubled(None), times=3)
    >>> to_plain(doubled(None))
    {'name': 'doubled', 'arguments': {'schedule': None, 'times': 1}}
    """
    name, module = constructor.__name__, constructor.__module__
    other = _CONSTRUCTORS.get(name, constructor).__module__
    twice = "__main__" in (other, module) and not other.startswith("funcnn.")  # a script that is imported, too
    fits = other == module or twice
    require(fits, f"@described {module}.{name}", "a new name", f"one that {other} registered", "rename it")

    @functools.wraps(constructor)
    def construct(*args: P.args, **kwargs: P.kwargs) -> D:
        try:
            bound = _signature(constructor).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}(): {error}") from None
        bound.apply_defaults()
        bound.arguments.update({parameter: _frozen(value) for parameter, value in bound.arguments.items()})
        try:
            made = constructor(*bound.args, **bound.kwargs)
        except InputError as error:  # perhaps of a constructor that this one calls
            raise error.named(name) from error.__cause__
        if not isinstance(made, Described):
            raise TypeError(f"{name}(): @described makes layers, losses and the like, not {made!r}")
        parts = 1 + max(count_parts(tuple(bound.arguments.values())), made.spec.parts if made.spec else 0)
        made = attrs.evolve(made)  # a copy: the constructor may have returned one of its arguments
        object.__setattr__(made, "spec", Spec(construct, dict(bound.arguments), parts))
        return made

    _CONSTRUCTORS[name] = construct
    return construct


def count_parts(value: Any) -> int:
    """The number of described parts in one or in a sequence of them; 0 in plain data.

    >>> count_parts("relu")
    0
    """
    match value:
        case Described(spec=Spec(parts=parts)):
            return parts
        case tuple() | list():
            return sum(map(count_parts, value))
        case _:
            return int(isinstance(value, Described))


def constructors() -> Mapping[str, Callable[..., Described]]:
    """All constructors that :func:`from_plain` may call, by name."""
    return MappingProxyType(_CONSTRUCTORS)


def map_parts(f: Callable[[Described], Described], made: D) -> D:
    """``made``, constructed again with ``f`` applied to its described arguments, in sequences too."""
    if made.spec is None:
        return made

    def mapped(value: Any) -> Any:
        match value:
            case Described():
                return f(value)
            case tuple() | list():
                return tuple(mapped(part) for part in value)
            case _:
                return value

    arguments = {name: mapped(value) for name, value in made.spec.arguments.items()}
    return attrs.evolve(made.spec, arguments=arguments).build()  # type: ignore[return-value]


def to_plain(value: Any) -> Plain:
    """``value`` as data that JSON can hold; the inverse of :func:`from_plain`.

    Raises:
        InputError: A part was made by hand, or an argument is not plain data, such as a function or an array.
    """
    match value:
        case Described(spec=Spec() as spec):
            return {"name": spec.name, "arguments": {name: to_plain(part) for name, part in spec.arguments.items()}}
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list():
            return [to_plain(part) for part in value]
        case _:
            hint = "make it with a constructor decorated by @described that takes plain data"
            raise InputError("to_plain", "described things and plain data", reprlib.repr(value), hint)


def from_plain(plain: Plain) -> Any:
    """The object that ``plain`` describes, built by registered constructors only; lists come back as tuples.

    Raises:
        InputError: Names or arguments are unknown (all are listed with their paths), a constructor refuses its
            arguments, or the data describe more than 10,000 parts or are nested more than 100 deep.

    >>> from_plain({"name": "elu9", "arguments": {}})
    Traceback (most recent call last):
    funcnn.errors.InputError: from_plain: expected registered constructors, got 'elu9' at the top; ...
    """
    faults = [*islice(_faults(plain, "", 0), MOST_PARTS + 1)]
    _check_parts(len(faults))
    unknown, hint = ", ".join(chain.from_iterable(faults)), "import the module that defines it"
    require(not unknown, "from_plain", "registered constructors", unknown, hint)
    parts = 0

    def build(plain: Plain) -> Any:
        nonlocal parts
        match plain:
            case {"name": name, "arguments": given}:
                arguments = {key: build(part) for key, part in given.items()}
                try:
                    made = Spec(_CONSTRUCTORS[name], arguments).build()
                except TypeError as error:
                    raise InputError("from_plain", f"the arguments of {name}", arguments, str(error)) from error
                parts += count_parts(made) - count_parts(tuple(arguments.values()))
                _check_parts(parts)
                return made
            case list():
                return tuple(map(build, plain))
            case _:
                return plain

    return build(plain)


def _faults(plain: Plain, path: str, depth: int) -> Iterator[list[str]]:
    """For each described part, the names and arguments that no registered constructor has, with their paths."""
    place = path.lstrip(".") or "the top"
    require(depth <= DEEPEST, "from_plain", f"data that are at most {DEEPEST} deep", "deeper ones")
    match plain:
        case {"name": str(name), "arguments": dict(arguments), **rest} if not rest:
            if name not in _CONSTRUCTORS:
                yield [f"{name!r} at {place}"]
            else:
                surplus = arguments.keys() - _signature(_CONSTRUCTORS[name]).parameters
                yield [f"argument {argument!r} of {name} at {place}" for argument in sorted(surplus)]
            for key, part in arguments.items():
                yield from _faults(part, f"{path}.{key}", depth + 1)
        case list():
            for i, part in enumerate(plain):
                yield from _faults(part, f"{path}[{i}]", depth + 1)
        case None | bool() | int() | float() | str():
            return
        case _:
            yield [f"{plain!r} at {place}"]


def _check_parts(parts: int) -> None:
    expected = f"at most {MOST_PARTS:,} layers and other parts"
    require(parts <= MOST_PARTS, "from_plain", expected, f"{parts:,} or more")
