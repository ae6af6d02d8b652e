"""Fixtures that several test files share."""

import os

import hypothesis
import jaxtyping
import numpy as np
import pytest
import threadpoolctl

hypothesis.settings.register_profile(
    "funcnn",
    deadline=None,
    derandomize=True,  # the same cases on every machine
    max_examples=int(os.environ.get("FUNCNN_EXAMPLES", 100)),
)
hypothesis.settings.load_profile("funcnn")

np.dot(np.ones(2), np.ones(2))  # BLAS is there
threadpoolctl.threadpool_limits(1)  # tests run side by side, and must not wait for each other's threads


@pytest.fixture
def unchecked_annotations():
    """Run as a user does, without the check of annotations that tests add: bad input must meet our own message."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
