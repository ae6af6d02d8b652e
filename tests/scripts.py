"""Scripts of a researcher's own, and how a test starts them: as a user does, in their folder."""

import runpy
import signal
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


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def python(*words: object, **options: object) -> subprocess.Popen[str]:
    """``python WORDS``, begun; it ignores no signal, where a background job or ``nohup`` would hand that on."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    try:
        return subprocess.Popen([sys.executable, *map(str, words)], **options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ran(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """``python WORDS``, ended, with what it printed."""
    return subprocess.run([sys.executable, *map(str, words)], **{**PIPES, "timeout": 600, **options})


def begun(script: Path, *words: object, **options: object) -> subprocess.Popen[str]:
    """``python SCRIPT WORDS``, begun in the script's folder."""
    return python(script.name, *words, **{"cwd": script.parent, **options})


def ended(script: Path, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """``python SCRIPT WORDS``, ended, with what it printed."""
    return ran(script.name, *words, cwd=script.parent, **options)


def called(script: Path, *words: object) -> int:
    """The exit status of the script's command with ``words``, in this process."""
    made = runpy.run_path(str(script), run_name=script.stem)
    return made["main"](made["experiment"], made["Config"], arguments=[*map(str, words)])
