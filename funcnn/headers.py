"""The headers of saved files: one record for each kind of file, which validates the JSON that was read."""

from functools import partial
from typing import Any, TypeVar

import attrs

from funcnn.data.datasets import SCALINGS
from funcnn.errors import InputError, is_count, is_one_of, is_real, require, validator
from funcnn.keys import Key
from funcnn.spec import Plain

H = TypeVar("H")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_shape(value: object) -> bool:
    """Whether it is a shape, or a list of shapes."""
    return isinstance(value, list) and (all(map(is_count, value)) or all(map(_is_shape, value)))


def _is_scaling(value: object) -> bool:
    return value is None or is_one_of(value, SCALINGS)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_versions(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


_checked = partial(validator, "header {}")


@attrs.frozen(eq=False)
class ModelHeader:
    """The header of a saved model; :class:`funcnn.SavedModel` explains the fields."""

    model: Plain
    in_shape: list[Any] = attrs.field(validator=_checked("a shape, or a list of shapes", _is_shape))
    dtype: str = attrs.field(validator=_checked("the name of a dtype", _is_text))
    scaling: str | None = attrs.field(validator=_checked("the name of a scaling, or null", _is_scaling))
    class_names: list[str] = attrs.field(validator=_checked("a list of names", _are_texts))
    versions: dict[str, str] = attrs.field(validator=_checked("versions by name", _are_versions))


@attrs.frozen(eq=False)
class TreeHeader:
    """The header of a saved tree: its leaves that are not arrays, by path; a key is an object."""

    leaves: dict[str, Any] = attrs.field(validator=_checked("leaves by path", lambda value: isinstance(value, dict)))


def header(where: str, kind: type[H], values: Any) -> H:
    """The record of ``kind`` from the JSON ``values``.

    Raises:
        InputError: A field is missing, extra or invalid.
    """
    fields = [field.name for field in attrs.fields(kind)]  # type: ignore[arg-type]
    found = sorted(values) if isinstance(values, dict) else type(values).__name__
    require(found == sorted(fields), where, f"a header with the fields {', '.join(fields)}", found)
    try:
        return kind(**values)
    except InputError as error:
        raise error.within(f"{where}:") from None
    except RecursionError:
        raise InputError(where, "a header as funcnn writes it", "one that is nested too deep") from None


def leaf(where: str, value: Any, like: Any) -> Any:
    """The leaf that the JSON ``value`` stands for, once it has the type of ``like``."""
    if isinstance(like, Key):
        fits = isinstance(value, dict) and value.keys() == {"seed", "path"} and isinstance(value["path"], list)
        require(fits, where, "the seed and the path of a key", repr(value))
        try:
            return Key(**value)
        except InputError as error:
            raise error.within(f"{where}:") from None
    if type(like) is float and type(value) is int and is_real(value):
        return float(value)  # other writers of JSON have 1 for 1.0
    require(type(value) is type(like), where, f"a leaf that is {type(like).__name__}", repr(value))
    return value
