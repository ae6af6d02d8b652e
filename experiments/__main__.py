"""``python -m experiments`` lists the experiments and tools of this folder, each with the first line it begins with."""

import ast
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The modules that can be run, by name, with their source; nothing is imported."""
    for path in sorted({*FOLDER.glob("*.py"), *FOLDER.glob("*/__main__.py")} - {Path(__file__)}):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.If) and "__name__" in ast.dump(node.test) for node in tree.body):
            yield path.parent.name if path.stem == "__main__" else path.stem, tree


def is_experiment(tree: ast.Module) -> bool:
    """Whether the module defines a function ``experiment``, rather than being a tool."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "experiment" for node in tree.body)


def listing(columns: int) -> str:
    """The list for a terminal of so many columns."""
    found = dict(modules())
    width = max(map(len, found), default=0) + 4
    wrapped = textwrap.TextWrapper(columns, subsequent_indent=" " * width, break_on_hyphens=False)

    def lines(title: str, *, experiments: bool) -> Iterator[str]:
        yield title
        for name, tree in found.items():
            if is_experiment(tree) == experiments:
                first = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("``", "")
                wrapped.initial_indent = f"  {name:<{width - 2}}"
                yield wrapped.fill(first)

    options = "python -m experiments.NAME --help lists the options of one."
    return "\n".join([*lines("experiments:", experiments=True), "", *lines("tools:", experiments=False), "", options])


if __name__ == "__main__":
    print(listing(shutil.get_terminal_size().columns))
