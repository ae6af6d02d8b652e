"""Fixtures that several test files share."""

import atexit
import os
import shutil
import tempfile

import hypothesis
import numpy as np
import pytest
import threadpoolctl
from matplotlib.figure import Figure

hypothesis.settings.register_profile(
    "funcnn",
    deadline=None,
    derandomize=True,  # the same cases on every machine
    max_examples=int(os.environ.get("FUNCNN_EXAMPLES", 100)),
)
hypothesis.settings.load_profile("funcnn")

np.dot(np.ones(2), np.ones(2))  # BLAS is there
threadpoolctl.threadpool_limits(1)  # tests run side by side, and must not wait for each other's threads

os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jax-")  # also of the processes that tests start
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def no_pictures(figure, file, **how):
    """Instead of ``Figure.savefig``, which takes most of the time of a small run."""
    file.write("<svg></svg>") if hasattr(file, "write") else file.write_bytes(b"")


@pytest.fixture(scope="module")
def without_pictures():
    """Runs of the module write empty pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", no_pictures)
        yield


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of ``whole``, the folder of a run, which a test may damage."""
    return shutil.copytree(whole, tmp_path / "run")
