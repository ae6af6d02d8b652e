"""Namespaces, read-only views and numbers."""

import ctypes
import sys

import array_api_strict
import jax.numpy as jnp
import numpy as np
import pytest

import funcnn as fn
from funcnn.arrays import check_floating, namespace, number, readonly, release_freed_memory
from tests.scripts import ran

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the call is glibc's")


@pytest.mark.parametrize(("xp", "dtype"), [(np, np.float32), (jnp, jnp.bfloat16), (array_api_strict, None)])
def test_floating_arrays_of_any_library_pass(xp, dtype):
    x = xp.ones(2, dtype=dtype)
    assert namespace(x) is check_floating("here", x) is xp


def test_readonly_is_a_view_that_leaves_the_original_alone():
    array = np.zeros(2)
    view = readonly(array)
    assert view.base is array
    assert readonly(view) is view
    assert array.flags.writeable
    assert readonly("text") == "text"


@pytest.mark.parametrize("x", [np.float64(0.5), np.float32(0.5), np.array(0.5), 0.5])
def test_number(x):
    assert (type(number(x)), number(x)) == (float, 0.5)


@pytest.mark.parametrize("x", [np.ones(1), jnp.ones(())])
def test_number_leaves_the_rest_alone(x):
    assert number(x) is x


@on_linux
def test_keep_freed_memory_is_told():
    assert fn.keep_freed_memory()


RELEASING = """
from pathlib import Path
from funcnn.arrays import release_freed_memory

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS:"))

pieces = [bytearray(10_000) for _ in range(10_000)]  # 100 MB
del pieces[:-1]                                        # the last lies above all that is free
kept = resident()
assert release_freed_memory()
print(kept - resident())
"""


@on_linux
def test_freed_memory_is_given_back():
    end = ran("-c", RELEASING, check=True)
    assert int(end.stdout) > 50_000  # of about 100,000 kB


def test_where_the_c_library_is_another_nothing_is_done(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not fn.keep_freed_memory()
    assert not release_freed_memory()
