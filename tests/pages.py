"""The pages of the documentation, tried as a reader tries them: what the fence of a block says is done with it.

    ```python                   is run, after the blocks above it on its page, in one namespace
    ```python title="wave.py"   is written to that file
    ```python title="PyTorch"   is compiled only: any title but a file's says whose code it is
    ```sh                       is run, in the folder of the page's files; the installation in front of `&&` is left out
    ```sh title="3 minutes"     takes too long to run: its options must be those of its command
    ```text                     behind a block that is run is what it prints, or the last line of the error it raises
    ```text title="of a log"    is compared with nothing

In a text, a line `...` stands for any lines, and numbers with a point may differ as :func:`compare` says.

python -m tests.pages docs/ideas.md     writes what is printed now into the page, where it shows something else
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import zip_longest
from pathlib import Path

import attrs
import pytest
from toolz import concat

from funcnn.runs import main
from funcnn.runs.command import VERBS

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^( *)```(\w+)(?: title=\"(.*?)\")?[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SNIPPET = re.compile(r'^--8<-- "(.*?)"$', re.MULTILINE)
_INSTALLATION = re.compile(r"pip install [^&\n]*(?:&& |$)", re.MULTILINE)
_NUMBER = r"-?\d+\.\d+(?:e[-+]\d+)?%?"
_VOLATILE = r"\d{8}-\d{6}|0x[0-9a-f]{6,}"  # dates, and addresses of objects


@attrs.frozen
class Block:
    """A fenced block: its language, title, text and the line of the page where it begins."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, with the files that they include."""
    for match in _FENCE.finditer(page):
        indent, language, title, text = match.groups()
        text = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
        text = _SNIPPET.sub(lambda found: (ROOT / found[1]).read_text(), text)
        yield Block(language, title or "", text, page.count("\n", 0, match.start()) + 1)


def check_page(page: str, folder: Path) -> None:
    """Try every block; files are written to ``folder``, which is the working folder.

    Raises:
        AssertionError: A text is not what is printed or is missing, or an option or a language is unknown.
        Exception: What a block raises, unless its text says so.
    """
    for shown, printed in outcomes(page, folder):
        compare(printed, shown.text, shown.line)


def outcomes(page: str, folder: Path) -> Iterator[tuple[Block, str]]:
    """Try every block, and give each text of a page with what is printed in its place."""
    names = {"__name__": "__main__"}
    found = [*blocks(page)]
    for block, following in zip_longest(found, found[1:]):
        shown = following if following and following.language == "text" and not following.title else None
        printed = None
        if block.language == "python" and block.title.endswith(".py"):
            (folder / block.title).write_text(block.text)
        elif block.language == "python":
            code = compile(block.text, f"line {block.line}", "exec")
            printed = None if block.title else _printed(code, names, shown.text if shown else "")
            assert shown or not printed, f"line {block.line}: nothing shows what is printed: {printed}"
        elif block.language == "sh" and block.title:
            check_options(block.text)
        elif block.language == "sh":
            printed = _ran(block.text, folder)
        else:
            assert block.language == "text", f"line {block.line}: {block.language}"
        if shown and printed is not None:
            yield shown, printed


def _printed(code: object, names: dict[str, object], shown: str) -> str:
    """What the code prints, with the last line of the error that it raises if that is shown."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            exec(code, names)
        except Exception as error:
            kind = type(error)
            line = f"{kind.__module__}.{kind.__name__}: {error}".removeprefix("builtins.")
            if f"{kind.__name__}: " not in shown:
                raise
            print(line)
    return out.getvalue()


def _ran(text: str, folder: Path) -> str:
    """What the commands print."""
    command = _INSTALLATION.sub("", text)
    done = subprocess.run(["bash", "-ec", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}{done.stdout}{done.stderr}"
    return done.stdout


def compare(printed: str, shown: str, line: int = 0) -> None:
    """Raise unless the text shows what is printed.

    The last digits depend on the BLAS kernel: numbers with a point may differ by 0.02, per cents by 2. Seconds, the
    last column of a table, dates and addresses may be any.
    """
    lines = ["(?:.*\n)*?" if text.strip() == "..." else _pattern(text) for text in shown.strip("\n").splitlines()]
    match = re.fullmatch("".join(lines), printed.strip("\n") + "\n")
    assert match, f"line {line}: the page shows\n{shown}\nand what is printed is\n{printed}"
    rows = [re.findall(_NUMBER, _without_volatile(text)) for text in shown.splitlines()]
    is_seconds = [i == len(row) and re.search(r"\bseconds\b", shown) for row in rows for i in range(1, len(row) + 1)]
    for found, expected, free in zip(match.groups(), [*concat(rows)], is_seconds, strict=True):
        if not free:
            tolerance = 2 if expected.endswith("%") else 0.02
            values = [float(number.rstrip("%")) for number in (found, expected)]
            assert values[0] == pytest.approx(values[1], abs=tolerance), f"line {line}: {found} is shown as {expected}"


def _without_volatile(text: str) -> str:
    return re.sub(_VOLATILE, "VOLATILE", text)


def _pattern(text: str) -> str:
    """A line as a regular expression: a group for each number with a point, and as many spaces as one likes."""
    words = re.split(f"({_NUMBER})", _without_volatile(text.rstrip()))
    parts = [f"({_NUMBER})" if i % 2 else re.escape(word) for i, word in enumerate(words)]
    return re.sub(r"(?:\\ )+", " +", "".join(parts)).replace("VOLATILE", f"(?:{_VOLATILE})") + " *\n"


def check_options(text: str) -> None:
    """Raise unless every option of ``python -m experiments.NAME`` stands in its help."""
    for command in text.replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        names = [word for word in words if word.startswith("experiments.")]
        if names:
            known = _help_of(names[0], next((word for word in words if word in VERBS), "train"))
            unknown = {word for word in words if re.match("--[a-z]", word)} - known
            assert not unknown, f"{command}: {unknown} are no options of {names[0]}"


def _help_of(name: str, verb: str) -> set[str]:
    """The options of a command, from its help."""
    module = import_module(name if name != "experiments.benchmark" else f"{name}.__main__")
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        if module.main is main:
            main(module.experiment, module.Config, arguments=[verb, "--help"])
        else:
            module.main(["--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]*", out.getvalue()))


def corrected(page: str, folder: Path) -> str:
    """The page with what is printed in place of each text that differs, but for texts with `...` in them."""
    for shown, printed in outcomes(page, folder):
        try:
            compare(printed, shown.text)
        except AssertionError:
            if "..." not in shown.text.splitlines():
                page = page.replace(f"```text\n{shown.text}", f"```text\n{printed.rstrip()}\n", 1)
    return page


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            sys.path.insert(0, folder)
            text = corrected((ROOT / path).read_text(), Path(folder))
        (ROOT / path).write_text(text)
