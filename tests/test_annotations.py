"""Shapes and dtypes in annotations are true: they are checked on one call of every part, and in all doctests."""

from pathlib import Path

from tests.scripts import ran

ROOT = Path(__file__).parent.parent
WITH_JAXTYPING = """
import sys, jaxtyping, pytest
sys.modules["funcnn.annotations"] = jaxtyping
raise SystemExit(pytest.main(sys.argv[1:]))
"""
OPTIONS = [
    *("-q", "-n0", "-p", "no:cacheprovider", "-o", "addopts=", "--doctest-modules", f"--rootdir={ROOT}"),
    "--jaxtyping-packages=funcnn,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
    "-Wignore::pytest.PytestAssertRewriteWarning",  # of jaxtyping, which is imported first
    "--ignore=funcnn/annotations.py",
    *(f"--ignore=funcnn/testing/{name}.py" for name in ("layers", "losses", "metrics", "optimizers")),  # see annotated
]
WRONG = "import numpy as np, funcnn.layers as l\n\ndef test_it():\n    l.dense_forward(None, np.ones(3), None)\n"


def test_annotations_hold_and_a_wrong_one_is_found(tmp_path):
    (tmp_path / "test_wrong.py").write_text(WRONG)
    paths = [str(tmp_path / "test_wrong.py"), "tests/annotated.py", "funcnn"]
    end = ran("-c", WITH_JAXTYPING, *OPTIONS, *paths, cwd=ROOT)
    failures = [line for line in end.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert len(failures) == 1, end.stdout
    assert "::test_it - jaxtyping.TypeCheckError" in failures[0]
