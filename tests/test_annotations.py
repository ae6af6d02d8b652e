"""Shapes and dtypes in annotations are true: they are checked on one call of every part, and in all doctests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKED = "--jaxtyping-packages=funcnn,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
UNWARNED = "-Wignore::pytest.PytestAssertRewriteWarning"  # of jaxtyping, which is imported first

WITH_JAXTYPING = """
import sys, jaxtyping, pytest
sys.modules["funcnn.annotations"] = jaxtyping
raise SystemExit(pytest.main(sys.argv[1:]))
"""


def checked(*paths, cwd=ROOT):
    """How pytest ends where every call is checked."""
    options = ["-q", "-n0", "-p", "no:cacheprovider", "-o", "addopts=", "--doctest-modules"]
    options += ["--ignore=funcnn/annotations.py", CHECKED, UNWARNED]
    command = [sys.executable, "-c", WITH_JAXTYPING, *options, *map(str, paths)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_annotations_hold():
    end = checked("tests/annotated.py", "funcnn")
    assert end.returncode == 0, end.stdout


def test_a_wrong_annotation_is_found(tmp_path):
    wrong = "import numpy as np, funcnn.layers as l\n\ndef test_it():\n    l.dense_forward(None, np.ones(3), None)\n"
    (tmp_path / "test_wrong.py").write_text(wrong)
    end = checked(tmp_path / "test_wrong.py", cwd=tmp_path)
    assert end.returncode == 1
    assert "TypeCheckError" in end.stdout
