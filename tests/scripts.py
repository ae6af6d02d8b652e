"""Scripts of a researcher's own, and how a test starts them: as a user does, in their folder."""

import runpy
import subprocess
import sys
from pathlib import Path

from tests.pages import ROOT, blocks

WAVE = next(block.text for block in blocks((ROOT / "README.md").read_text()) if block.title == "wave.py")
"""The example of the documentation, as it stands there."""


def written(folder: Path, text: str = WAVE, name: str = "wave.py") -> Path:
    """The script as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def begun(script: Path, *words: object, **options: object) -> subprocess.Popen:
    """``python SCRIPT WORDS``, begun."""
    return subprocess.Popen([sys.executable, script.name, *map(str, words)], cwd=script.parent, **options)


def ended(script: Path, *words: object, **options: object) -> subprocess.CompletedProcess:
    """``python SCRIPT WORDS``, ended, with what it printed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with begun(script, *words, **{**pipes, **options}) as process:
        try:
            told = process.communicate(timeout=180)
        finally:
            process.kill()  # nothing, if it has ended
    return subprocess.CompletedProcess(process.args, process.returncode, *told)


def called(script: Path, *words: object) -> int:
    """The exit status of the script's command with ``words``, in this process."""
    made = runpy.run_path(str(script), run_name=script.stem)
    return made["main"](made["experiment"], made["Config"], arguments=[*map(str, words)])
