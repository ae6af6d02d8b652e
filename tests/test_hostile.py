"""What others made is data: to load, predict, compare or reproduce it starts nothing, asks nobody, imports nothing."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import funcnn as fn
from tests.canvases import digits, photograph
from tests.scripts import ran
from tests.small_experiments import carried_out, edited, regression

ALONE = """
import sys
from pathlib import Path
import funcnn as fn
from experiments import predict
from funcnn.runs import main, read_run, reproduce
from funcnn.runs.compare import Comparison, compare
from tests.small_experiments import regression

seen = []
watched = ("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "socket", "import", "pickle")

def audit(event, args):
    if event.startswith(watched):
        seen.append((event, str(args[1] if event == "subprocess.Popen" else args[0])))

def all_of(folder):
    read_run(folder)
    compare(Comparison((folder,), folder.parent / "compare.png"))
    predict.main([*map(str, (folder, folder.parent / "images", "--out", folder.parent / "out"))])
    verdict = reproduce(regression(), folder, source=Path(fn.__file__))
    print(verdict.same, fn.load(folder / "model.safetensors").class_names)

friendly, hostile = map(Path, sys.argv[1:])
all_of(friendly)  # which imports what is needed
sys.addaudithook(audit)
all_of(hostile)
print(seen)
"""
WORDS = ["$(touch /tmp/pwned)", "__import__('os').system('true')", "\x1b]0;evil\x07", "../../etc/passwd", "!!python"]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def folder(path, names, config):
    """The folder of a run with a model that predict takes, and images beside it."""
    carried_out(regression(), path, config=config)
    model = fn.dense(10)
    params, _ = model.init(fn.Key(0), (784,))
    fn.save(path / "model.safetensors", model, params, (784,), scaling="unit", class_names=names)
    (path.parent / "images").mkdir()
    _, labels = found = digits(fn.load_dataset("mnist_5k"), 10)
    photograph(fn.Key(0), found[0][np.argmax(labels == labels[0])], "dark").save(path.parent / "images" / "a.jpg")
    return path


@pytest.mark.skipif(os.name != "posix", reason="names have control characters")
def test_a_hostile_folder_starts_nothing_and_reaches_nobody(tmp_path, without_pictures):
    friendly = folder(tmp_path / "friendly" / "run", [*map(str, range(10))], {"text": "plain"})
    hostile = folder(tmp_path / "hostile" / "run", [*WORDS, *"56789"], dict(enumerate(WORDS)))
    fields = {"platform": WORDS[2], "libraries": {WORDS[1]: WORDS[2]}, "resumed": [WORDS]}
    fields["git"] = {"commit": WORDS[0], "clean": True}
    edited(hostile / "environment.json", lambda recorded: {**recorded, **fields})
    images = hostile.parent / "images"
    for name in ("b.png", "c.eps", f"{WORDS[2]}.jpg", "d.ps"):
        (images / name).write_bytes(EPS)
    torn = io.BytesIO()
    Image.new("L", (99, 99)).save(torn, "tiff", compression="tiff_lzw")
    (images / "e.tif").write_bytes(torn.getvalue()[:8] + bytes(40) + torn.getvalue()[48:])
    run = ran("-c", ALONE, friendly, hostile, check=True, cwd=Path(__file__).parents[1])
    *printed, seen = run.stdout.splitlines()
    git = [event for event in eval(seen) if event[0] == "subprocess.Popen" and event[1].startswith("['git', '-c'")]
    assert [event for event in eval(seen) if event not in git] == []
    assert all(str(hostile) not in command for _, command in git)  # it asks for the commit of the code
    assert "\x1b" not in run.stdout + run.stderr.replace(os.linesep, "")
    assert len([line for line in run.stderr.splitlines() if line.startswith("error: ")]) == 5
    assert printed[-1].startswith("True")
