"""Saving a model with its architecture, or any tree, to one safetensors file, without pickle.

The arrays have their paths in the tree as names, such as ``0.weights``, so any safetensors reader can open them. One
JSON text in the header holds the rest: the model as plain data (see :mod:`funcnn.spec`) and what :class:`SavedModel`
lists, or the leaves of a tree that are not arrays; and the SHA-256 of it all. Loading calls registered constructors
only, and refuses a changed file. Arrays come back in C order and in the machine's byte order.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open
from toolz import unique

from funcnn import headers, tree
from funcnn.arrays import Array, Shapes
from funcnn.data.datasets import check_scaling
from funcnn.errors import InputError, is_real, require
from funcnn.files import replacing
from funcnn.keys import Key
from funcnn.layer import Layer, Params, shapes_of
from funcnn.reading import DAMAGED, check_readable
from funcnn.spec import from_plain, to_plain
from funcnn.version import __version__

__all__ = ["SavedModel", "load", "load_tree", "save", "save_tree"]

_HEADER, _DIGEST, _RESERVED = "funcnn", "sha256", "__metadata__"

_DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "complex64")
_DTYPES += ("float16", "bfloat16", "float32", "float64")
"""The dtypes that both safetensors and NumPy have."""


@attrs.frozen(eq=False)
class SavedModel:
    """The result of :func:`load`: the arguments of :func:`save`, and the versions of funcnn and NumPy that saved it."""

    model: Layer
    params: Params
    in_shape: Shapes
    scaling: str | None
    class_names: tuple[str, ...]
    versions: Mapping[str, str]


def save(
    path: str | Path,
    model: Layer,
    params: Params,
    in_shape: Shapes,
    *,
    scaling: str | None = None,
    class_names: Iterable[str] = (),
) -> None:
    """Write ``model`` and ``params`` to one file, which replaces an old one only when it is whole.

    Args:
        path: The file, by habit ``*.safetensors``.
        model: A layer made by described constructors only.
        params: Its params.
        in_shape: The shape of one input, as ``model.init`` takes it.
        scaling: The name of the scaling of the inputs (see :data:`funcnn.data.SCALINGS`), or ``None``.
        class_names: The name of each label; may be empty.

    Raises:
        InputError: A part of the model was made by hand, it has more than 10,000 parts, or its params do not fit it.
    """
    arrays, dtype, names = checked("save", model, params, in_shape, scaling, class_names)
    plain = to_plain(model)
    from_plain(plain)  # what cannot be loaded is not saved
    header = {
        "model": plain,
        "in_shape": tree.map(int, in_shape),
        "dtype": dtype,
        "scaling": scaling,
        "class_names": names,
        "versions": {"funcnn": __version__, "numpy": np.__version__},
    }
    _write(path, header, arrays)


def load(path: str | Path) -> SavedModel:
    """Read a file that :func:`save` wrote.

    A model with user-defined layers loads once the module that defines them is imported.

    Raises:
        InputError: The file is missing, damaged or not a funcnn model, names a constructor that is not registered,
            or its arrays do not fit its architecture; every mismatch is listed with its path. A refusal takes time
            and memory in proportion to the file, not to the model that it describes.
    """
    values, signed, arrays = _read(path)
    header = headers.header(str(path), headers.ModelHeader, values)
    dtypes = _dtypes(arrays)
    expected = f"that of its arrays, {', '.join(dtypes)}"
    require(header.dtype in dtypes, f"{path}: header dtype", expected, repr(header.dtype))
    try:
        model, in_shape = from_plain(header.model), from_plain(header.in_shape)
        params = _restored("params", _template(model, in_shape, header.dtype), arrays, {})
    except InputError as error:
        raise error.within(f"{path}:") from None
    except Exception as error:  # a constructor may raise anything for a changed header
        raise InputError(str(path), "a header as funcnn writes it", repr(error)) from error
    _check_digest(path, signed, values, arrays)
    versions = tree.frozendict(header.versions)
    return SavedModel(model, params, in_shape, header.scaling, tuple(header.class_names), versions)


def save_tree(path: str | Path, values: Any) -> None:
    """Write a tree of arrays, numbers, texts and keys, such as ``(params, state)``, to one file, as :func:`save` does.

    Raises:
        InputError: A leaf cannot be saved, or two leaves have the same path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tree(f"{folder}/a.safetensors", (3, np.ones(2)))
    ...     load_tree(f"{folder}/a.safetensors", (0, np.zeros(2)))
    (3, array([1., 1.]))
    """
    leaves = savable_leaves("save_tree", values)
    arrays = {name: _native(leaf) for name, leaf in leaves.items() if hasattr(leaf, "dtype")}
    others = {name: leaf for name, leaf in leaves.items() if name not in arrays}
    plain = {name: attrs.asdict(leaf) if isinstance(leaf, Key) else leaf for name, leaf in others.items()}
    _write(path, {"leaves": plain}, arrays)


def load_tree(path: str | Path, template: Any) -> Any:
    """Read a file that :func:`save_tree` wrote, as a tree like ``template``.

    Raises:
        InputError: The file is missing, damaged, or has other leaves, shapes or dtypes than the template.
    """
    values, signed, arrays = _read(path)
    _check_digest(path, signed, values, arrays)
    header = headers.header(str(path), headers.TreeHeader, values)
    return _restored(str(path), template, arrays, header.leaves)


def checked(
    where: str, model: Any, params: Params, in_shape: Shapes, scaling: str | None, class_names: Iterable[str]
) -> tuple[dict[str, Array], str, list[str]]:
    """The arrays of the params by path, their dtype, and the class names, once all of them fit the model."""
    check_scaling(where, scaling, or_none=True)
    require(not isinstance(class_names, str), where, "class_names one by one", repr(class_names), "such as ('0', '1')")
    arrays = {name: _native(leaf) for name, leaf in savable_leaves(where, params).items()}
    dtype = next(iter(_dtypes(arrays)))
    _check(where, _template(model, in_shape, dtype), arrays)
    return arrays, dtype, [str(name) for name in class_names]


def savable_leaves(where: str, values: Any) -> dict[str, Any]:
    """The leaves by path.

    Raises:
        InputError: Two leaves have the same path, or a leaf would not come back as it was.
    """
    leaves = dict(tree.leaves_with_paths(values))
    fits = len(leaves) == len(tree.leaves(values)) and _RESERVED not in leaves
    found = f"{_RESERVED!r}, which safetensors needs" if _RESERVED in leaves else "two the same"
    require(fits, where, "a path of its own for every array", found, "take the dots out of dict keys")
    for path, leaf in leaves.items():
        if hasattr(leaf, "dtype") and not isinstance(leaf, np.ma.MaskedArray):
            fits, found = leaf.dtype.name in _DTYPES, str(leaf.dtype)
        else:
            plain = type(leaf) in (bool, float, str) or (type(leaf) is int and is_real(leaf))
            fits = plain or isinstance(leaf, Key)  # an enum would come back as a text
            found = type(leaf).__name__
        expected = "an array of numbers, a number, a text or a Key, which can be saved"
        require(fits, f"{where} {path}".strip(), expected, found)
    return leaves


def _dtypes(arrays: Mapping[str, Array]) -> list[str]:
    """The distinct names of the arrays' dtypes; without arrays, the default of ``model.init``."""
    return list(unique(str(array.dtype) for array in arrays.values())) or ["float32"]


def _native(leaf: Array) -> Array:
    """The array in C order and in the machine's byte order, as the file holds it."""
    return _in_native_order(np.asarray(leaf, order="C"))


def _in_native_order(array: Array) -> Array:
    """The array in the machine's byte order; it is copied only if it has another: some arrays take no memory."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _write(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write the header, the arrays and the digest of both."""
    signed = {**header, _DIGEST: _digest(header, arrays)}
    with replacing(path) as part:
        part.write_bytes(safetensors.numpy.save(dict(arrays), {_HEADER: json.dumps(signed, sort_keys=True)}))


def _check_digest(path: str | Path, signed: Any, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Raise unless ``signed`` is the digest of header and arrays."""
    require(signed == _digest(header, arrays), str(path), "the bytes that were saved", "others", DAMAGED)


def _read(path: str | Path) -> tuple[dict[str, Any], Any, dict[str, Array]]:
    """The header, its digest and the arrays of a file."""
    check_readable(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
    except FileNotFoundError:
        raise InputError(str(path), "a saved model", "no such file") from None
    except (SafetensorError, OSError, AttributeError, TypeError, ValueError) as error:  # or NumPy lacks the dtype
        raise InputError(str(path), "a whole safetensors file", str(error), DAMAGED) from error
    try:
        header = json.loads(metadata[_HEADER])
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(str(path), "a model that funcnn saved", f"a header without one ({error!r})") from error
    require(isinstance(header, dict), str(path), "a header as funcnn writes it", type(header).__name__)
    return header, header.pop(_DIGEST, None), arrays


def _template(model: Any, in_shape: Shapes, dtype: str) -> Params:
    """Params like those of ``model`` in tree, shapes and dtype; they take no memory."""
    require(isinstance(model, Layer), "model", "a Layer", repr(model))
    return shapes_of(model, in_shape, dtype=np.dtype(dtype))[0]


def _check(where: str, template: Any, arrays: Mapping[str, Array]) -> None:
    """Raise one error that lists every array that is missing, extra, or of another shape or dtype."""
    wrong = []
    for name, expected, found in sorted(tree.unlike(template, arrays)):
        instead = "" if found == "missing" else f" instead of {expected}"
        wrong.append(f"{name} is extra" if expected == "missing" else f"{name} is {found}{instead}")
    require(not wrong, where, "the arrays of its architecture", "; ".join(wrong))


def _restored(where: str, template: Any, arrays: Mapping[str, Array], others: Mapping[str, Any]) -> Any:
    """A tree like ``template``, from the arrays and the other leaves by path."""
    leaves = {
        name: _in_native_order(leaf) if isinstance(leaf, np.ndarray) else leaf
        for name, leaf in tree.leaves_with_paths(template)
    }
    _check(where, {name: leaf for name, leaf in leaves.items() if hasattr(leaf, "dtype")}, arrays)
    expected = leaves.keys() - arrays.keys()
    require(others.keys() == expected, where, f"the leaves {sorted(expected)}", sorted(others))
    read = {name: headers.leaf(f"{where}: {name}".rstrip(": "), value, leaves[name]) for name, value in others.items()}
    return tree.unflatten(template, [arrays[name] if name in arrays else read[name] for name in leaves])


def _digest(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """The SHA-256 of the header and of every array, in the order of their names."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()
