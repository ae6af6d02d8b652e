"""``python -m experiments`` lists the experiments and tools of this folder, each with its first line."""

import ast
import shutil
from pathlib import Path
from textwrap import fill

from toolz import concat

from funcnn.runs.endings import exit_status

FOLDER = Path(__file__).parent


def listing(columns: int) -> str:
    """The list for a terminal with ``columns`` columns; no experiment is imported."""
    texts: dict[str, dict[str, str]] = {"experiments:": {}, "tools:": {}}
    for path in sorted({*FOLDER.glob("*.py"), *FOLDER.glob("*/__main__.py")} - {Path(__file__)}):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.If) and "__name__" in ast.dump(node.test) for node in tree.body):
            is_experiment = any(isinstance(node, ast.FunctionDef) and node.name == "experiment" for node in tree.body)
            name = path.parent.name if path.stem == "__main__" else path.stem
            first = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("``", "")
            texts["experiments:" if is_experiment else "tools:"][name] = first
    width = max(map(len, concat(texts.values()))) + 4
    lines = []
    for title, firsts in texts.items():
        lines.append(title)
        for name, text in firsts.items():
            begin, below = f"  {name:<{width - 2}}", " " * width
            lines.append(fill(text, columns, initial_indent=begin, subsequent_indent=below, break_on_hyphens=False))
        lines.append("")
    return "\n".join([*lines, "python -m experiments.NAME --help lists the options of one."])


def show() -> int:
    """Print the list; returns the exit status."""
    print(listing(shutil.get_terminal_size().columns))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_status(show))
