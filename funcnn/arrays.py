"""Arrays as values: their namespace, read-only views, and the checks that layers share.

Everything above is written as array-API expressions in the namespace of the arrays it is given, so the same
code runs on NumPy, on JAX under ``jit`` and on torch tensors. On NumPy the namespace is NumPy itself.
"""

import ctypes
import functools
import math
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


def namespace(x: Array) -> ModuleType:
    """The array-API namespace of ``x``.

    >>> namespace(np.ones(3)) is np
    True
    """
    if isinstance(x, np.ndarray):  # NumPy 2 is its own array-API namespace, and asking costs as much as a small layer
        return np
    return array_api_compat.array_namespace(x)


def check_array(where: str, name: str, x: Any) -> None:
    """Raise unless ``x``, the argument ``name``, is an array of the array API: no list, data frame, or masked array."""
    if type(x) is np.ndarray:  # as nearly all are
        return
    if not array_api_compat.is_array_api_obj(x) or isinstance(x, np.ma.MaskedArray | np.matrix):
        hint = "give its inputs" if hasattr(x, "inputs") else "make it one: np.asarray(...)"
        raise InputError(where, f"{name} as an array", f"a {type(x).__name__}", hint)


def readonly(x: Any) -> Any:
    """A view of the NumPy array ``x`` that refuses writes; anything else comes back as it is.

    >>> readonly(np.zeros(2))[0] = 1.0
    Traceback (most recent call last):
    ValueError: assignment destination is read-only
    """
    if isinstance(x, np.ndarray) and x.flags.writeable:
        x = x.view()
        x.setflags(write=False)
    return x


def aligned_empty(shape: Shape, dtype: Any) -> Array:
    """A NumPy array of any values, which begins at a multiple of 64 bytes: ``jax.device_put`` need not copy it.

    >>> aligned_empty((3, 5), np.float32).ctypes.data % 64
    0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].view(dtype).reshape(shape)


def number(x: Any) -> Any:
    """A NumPy scalar as the Python number it holds; anything else, a traced scalar say, as it is.

    Python's numbers never promote a float32 array, NumPy's float64 scalars do.

    >>> number(np.float64(0.5))
    0.5
    """
    return x.item() if isinstance(x, _OF_NUMPY) and x.ndim == 0 else x


@functools.cache  # a step asks often, and about few
def is_dtype(xp: ModuleType, dtype: Any, kind: str | tuple[str, ...]) -> bool:
    """Whether ``dtype`` of the namespace ``xp`` is of that kind of the array API: "real floating", "integral" ..."""
    return "real floating" in kind if str(dtype) == "bfloat16" else bool(xp.isdtype(dtype, kind))


def default_float(xp: ModuleType) -> Any:
    """The namespace's own floating dtype.

    >>> default_float(np)
    dtype('float64')
    """
    return xp.asarray(0.0).dtype


def check_real(where: str, name: str, x: Any) -> None:
    """Raise unless ``x`` is an array of real numbers, whole ones and truth values among them."""
    check_array(where, name, x)
    if not is_dtype(namespace(x), x.dtype, ("real floating", "integral", "bool")):
        raise InputError(where, f"{name} that are real numbers", x.dtype)


@functools.cache
def bits(xp: ModuleType, dtype: Any) -> int:
    """How many bits a number of this dtype has if it is floating and has the range of float32 at least, else 0.

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
        InputError: It is no array, or holds integers, bytes, or float16, whose range is too small for sums of squares.
    """
    check_array(where, name, x)
    xp = namespace(x)
    if not bits(xp, x.dtype):
        hint = "convert and scale them first, x.astype('float32') / 255"
        if is_dtype(xp, x.dtype, "real floating"):
            hint = "its range is too small, convert them: x.astype('float32')"
        raise InputError(where, f"floating {name}", x.dtype, hint)
    return xp


def check_like(where: str, x: Array, param: Array) -> ModuleType:
    """The namespace of ``x``, once its dtype is known to be that of ``param``, so that nothing is promoted.

    Raises:
        InputError: It is another.
    """
    if x.dtype != param.dtype:
        check_floating(where, x)
        raise InputError(where, f"inputs of its params' dtype, {param.dtype}", x.dtype, "convert one of them")
    return namespace(x)


def widened(x: Array) -> Array:
    """``x``, or float32 numbers for those of 16 bits: bfloat16 has three digits, too few to compute with."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return x
    xp = namespace(x)
    return xp.astype(x, xp.float32) if bits(xp, x.dtype) == 16 else x


def as_dtype_of(like: Array, x: Array) -> Array:
    """``x`` in the dtype of ``like``."""
    return x if x.dtype == like.dtype else namespace(x).astype(x, like.dtype)


def in_float32(f: Callable[..., Array], x: Array, *others: Array) -> Array:
    """f(x, ...), computed in float32 where the numbers have 16 bits, and given back in the dtype of ``x``."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":  # as nearly all are
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
    """Raise unless ``dtype``, that of params, is float32, float64 or bfloat16."""
    names = ("float32", "float64", "bfloat16")
    try:
        fits = np.dtype(dtype).name in names
    except TypeError:
        fits = False
    require(fits, where, f"a dtype of {', '.join(names)}", repr(dtype))


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed pages for the next step; gives whether it could be told.

    A pure step makes fresh arrays. glibc hands large ones back to the system when they are freed, and then
    every step pays for page faults: on two cores an Adam update of 100,000 parameters took 512 us before this
    call and 174 us after it. It changes no result, holds for the whole process, and does nothing elsewhere.
    """
    mallopt, trim_threshold, mmap_threshold = _glibc("mallopt"), -1, -3  # M_TRIM_, M_MMAP_THRESHOLD of <malloc.h>
    largest = 1 << 25  # glibc refuses a greater mmap threshold, half of its HEAP_MAX_SIZE
    return bool(mallopt(mmap_threshold, largest)) and bool(mallopt(trim_threshold, 1 << 30))


def release_freed_memory() -> bool:
    """Give pages that were freed back to the system, now; gives whether there were any that could be.

    What is free lies between what is not, so glibc keeps much of what a large tree took while it was made, and most of
    what a compiler took: ``funcnn.jax`` calls it before it compiles and after. It does nothing elsewhere.
    """
    return bool(_glibc("malloc_trim")(0))


def _glibc(name: str) -> Callable[..., int]:
    """A function of the GNU C library, or where there is none, one that does nothing and gives 0."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return lambda *arguments: 0
    return function
