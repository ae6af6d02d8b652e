"""Arrays as values: their namespace, read-only views, and the checks that layers share.

Layers, losses and optimizers are array-API expressions in the namespace of their arguments, so the same code runs on
NumPy, on JAX under ``jit`` and on torch tensors. Every check raises ``InputError``.
"""

import ctypes
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

from funcnn.errors import InputError, is_count, require

Array: TypeAlias = Any
"""An array of any library that follows the array API: NumPy's, JAX's, torch's."""

Shape: TypeAlias = tuple[int, ...]

Shapes: TypeAlias = Any
"""A shape, or a tuple of shapes where a layer takes or gives several arrays."""

_OF_NUMPY = (np.generic, np.ndarray)


def namespace(x: Array, *others: Array) -> ModuleType:
    """The array-API namespace of the first array that is not NumPy's: JAX's functions take NumPy's arrays too.

    >>> namespace(np.ones(3)) is np
    True
    """
    if isinstance(x, np.ndarray):  # array_namespace would give np too, but takes as long as a small layer
        return namespace(*others) if others else np
    return array_api_compat.array_namespace(x)


def check_array(where: str, name: str, x: Any) -> None:
    """Raise unless ``x``, the argument ``name``, is an array: not a list, a data frame or a masked array, say."""
    if type(x) is np.ndarray:  # the usual case
        return
    if not array_api_compat.is_array_api_obj(x) or isinstance(x, np.ma.MaskedArray | np.matrix):
        hint = "give its inputs" if hasattr(x, "inputs") else "make it one: np.asarray(...)"
        raise InputError(where, f"{name} as an array", f"a {type(x).__name__}", hint)


def readonly(x: Any) -> Any:
    """A view of the NumPy array ``x`` that refuses writes; anything else is returned unchanged.

    >>> readonly(np.zeros(2))[0] = 1.0
    Traceback (most recent call last):
    ValueError: assignment destination is read-only
    """
    if isinstance(x, np.ndarray) and x.flags.writeable:
        x = x.view()
        x.setflags(False)  # write, by position: a keyword takes as long again, and a step makes thirty views
    return x


def number(x: Any) -> Any:
    """A NumPy scalar or 0-d array as a Python number; anything else, such as a traced scalar, is returned unchanged.

    Python numbers never promote a float32 array; NumPy's float64 scalars do.

    >>> number(np.float64(0.5))
    0.5
    """
    return x.item() if isinstance(x, _OF_NUMPY) and x.ndim == 0 else x


@functools.cache  # a step asks often, about few dtypes
def is_dtype(xp: ModuleType, dtype: Any, kind: str | tuple[str, ...]) -> bool:
    """``xp.isdtype``, which also takes bfloat16 as "real floating"."""
    return "real floating" in kind if str(dtype) == "bfloat16" else bool(xp.isdtype(dtype, kind))


def default_float(xp: ModuleType) -> Any:
    """The namespace's default floating dtype.

    >>> default_float(np)
    dtype('float64')
    """
    return xp.asarray(0.0).dtype


def check_real(where: str, name: str, x: Any) -> None:
    """Raise unless ``x`` is an array of real numbers, integers or booleans."""
    if type(x) is np.ndarray and x.dtype.kind in "fiub":  # the usual case
        return
    check_array(where, name, x)
    if not is_dtype(namespace(x), x.dtype, ("real floating", "integral", "bool")):
        raise InputError(where, f"{name} that are real numbers", x.dtype)


@functools.cache
def bits(xp: ModuleType, dtype: Any) -> int:
    """The bits of a floating dtype whose range is at least float32's; 0 for any other dtype.

    >>> bits(np, np.dtype("float32")), bits(np, np.dtype("float16")), bits(np, np.dtype("int32"))
    (32, 0, 0)
    """
    if str(dtype) == "bfloat16":
        return 16
    wide = is_dtype(xp, dtype, "real floating") and float(xp.finfo(dtype).max) > 1e38
    return int(xp.finfo(dtype).bits) if wide else 0


def check_floating(where: str, x: Array, name: str = "inputs") -> ModuleType:
    """The namespace of ``x``, once its dtype is known to be float32, float64 or, with JAX, bfloat16.

    Raises:
        InputError: It is not an array or has another dtype; the range of float16 is too small for sums of squares.
    """
    if type(x) is np.ndarray and x.dtype.char in "fd":  # the usual case
        return np
    check_array(where, name, x)
    xp = namespace(x)
    if not bits(xp, x.dtype):
        hint = "convert and scale them first, x.astype('float32') / 255"
        if is_dtype(xp, x.dtype, "real floating"):
            hint = "its range is too small, convert them: x.astype('float32')"
        raise InputError(where, f"floating {name}", x.dtype, hint)
    return xp


def check_like(where: str, x: Array, param: Array) -> ModuleType:
    """The namespace of ``x``, once its dtype is known to be that of ``param``, so that nothing is promoted."""
    if x.dtype != param.dtype:
        check_floating(where, x)
        raise InputError(where, f"inputs of its params' dtype, {param.dtype}", x.dtype, "convert one of them")
    return namespace(x)


def widened(x: Array) -> Array:
    """``x``, in float32 if it is bfloat16, whose three digits are too few to compute with."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return x
    xp = namespace(x)
    return xp.astype(x, xp.float32) if bits(xp, x.dtype) == 16 else x


def as_dtype_of(like: Array, x: Array) -> Array:
    """``x`` in the dtype of ``like``."""
    return x if x.dtype == like.dtype else namespace(x).astype(x, like.dtype)


def written(memory: Array | None, f: Callable[..., Array], *args: Array) -> Array:
    """f(*args), which NumPy writes over ``memory``, if given: an array of that shape and dtype that nobody else has."""
    if isinstance(memory, np.ndarray) and isinstance(f, np.ufunc):
        return f(*args, out=memory)
    return f(*args)


def total(x: Array, axis: int, *, keepdims: bool = False) -> Array:
    """``xp.sum``; on NumPy without its wrapper, which takes as long again as the sum of a small array."""
    if isinstance(x, np.ndarray):
        return x.sum(axis=axis, keepdims=keepdims)
    return namespace(x).sum(x, axis=axis, keepdims=keepdims)


def largest(x: Array, axis: int, *, keepdims: bool = False) -> Array:
    """``xp.max``, as :func:`total` is ``xp.sum``."""
    if isinstance(x, np.ndarray):
        return x.max(axis=axis, keepdims=keepdims)
    return namespace(x).max(x, axis=axis, keepdims=keepdims)


def in_float32(f: Callable[..., Array], x: Array, *others: Array) -> Array:
    """f(x, *others) in the dtype of ``x``; for bfloat16 it is computed in float32."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":  # the usual case
        return f(x, *others)
    return as_dtype_of(x, f(widened(x), *map(widened, others)))


def as_rows(x: Array) -> Array:
    """``x`` as a matrix (rows, features): one product with it is faster than one for each sample."""
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


def check_in_shape(where: str, in_shape: Any) -> None:
    """Raise unless ``in_shape``, the shape of one sample, is a tuple of positive whole numbers."""
    if not isinstance(in_shape, tuple | list) or not all(map(is_count, in_shape)):
        raise InputError(where, "a shape of positive whole numbers, such as (784,)", repr(in_shape))


def check_dtype(where: str, dtype: Any) -> None:
    """Raise unless ``dtype``, a dtype for params, is float32, float64 or bfloat16."""
    names = ("float32", "float64", "bfloat16")
    try:
        fits = np.dtype(dtype).name in names
    except TypeError:
        fits = False
    require(fits, where, f"a dtype of {', '.join(names)}", repr(dtype))


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed pages for the next step; returns whether that worked.

    A pure step makes fresh arrays. By default, glibc returns large ones to the system when they are freed, and every
    step pays for page faults: on two cores an Adam update of 100,000 parameters took 512 us before this call and
    174 us after it. The call changes no result and holds for the whole process. Without glibc it does nothing.
    """
    mallopt, trim_threshold, mmap_threshold = _glibc("mallopt"), -1, -3  # M_TRIM_, M_MMAP_THRESHOLD of <malloc.h>
    largest = 1 << 25  # glibc refuses a greater mmap threshold, half of its HEAP_MAX_SIZE
    return bool(mallopt(mmap_threshold, largest)) and bool(mallopt(trim_threshold, 1 << 30))


def release_freed_memory() -> bool:
    """Tell glibc to return all freed pages to the system now; returns whether there were any.

    Freed pages lie between used ones, so glibc keeps most of the memory that a compiler took: ``funcnn.jax`` calls this
    before and after it compiles. Without glibc it does nothing.
    """
    return bool(_glibc("malloc_trim")(0))


def _glibc(name: str) -> Callable[..., int]:
    """A function of the GNU C library; without that library, a function that returns 0."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return lambda *arguments: 0
    return function
