"""The tutorial: every cell of the notebook is run, and gives what the notebook shows.

``jupyter nbconvert --to notebook --execute --inplace docs/tutorial.ipynb`` runs it anew, with its pictures.
"""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.pages import compare

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any]) -> str:
    """The text that stands below a cell: what it prints, and its last value; pictures have none."""
    outputs = (output.get("text") or output["data"].get("text/plain", "") for output in cell["outputs"])
    return "\n".join("".join(text).rstrip("\n") for text in outputs if not "".join(text).startswith("<Figure"))


def printed(code: str, names: dict[str, Any]) -> str:
    """What a cell prints, and the last value of it."""
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(tree, "cell", "exec"), names)
        value = eval(compile(last, "cell", "eval"), names) if last else None
    return out.getvalue() + ("" if value is None else repr(value))


def test_every_cell_gives_what_the_notebook_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(CELLS):
        text = printed("".join(cell["source"]), names)
        if text or shown(cell):
            compare(text, shown(cell), number)


def test_another_value_is_noticed():
    with pytest.raises(AssertionError, match="is shown as"):
        compare(printed("a = 2\na + 0.5", {}), "3.5")
