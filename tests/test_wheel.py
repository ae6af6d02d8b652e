"""The wheel: it holds what a run needs, and a script in another folder does with it all that the documentation says."""

import os
import re
import time
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.scripts import WAVE, begun, ended, ran, written

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built as ``pip install`` does."""
    folder = tmp_path_factory.mktemp("wheel")
    here = ["--no-build-isolation"] if find_spec("hatchling") else []
    end = ran("-m", "pip", "wheel", ROOT, "--no-deps", "--wheel-dir", folder, *here)
    if end.returncode and re.search("No matching distribution found for hatchling|No module named pip", end.stderr):
        pytest.skip("neither hatchling nor an index that has it, to build a wheel")
    assert end.returncode == 0, end.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment whose only funcnn is the wheel's."""
    target = tmp_path_factory.mktemp("installed")
    ran("-m", "pip", "install", wheel, "--no-deps", "--no-index", "--target", target, check=True)
    return {**os.environ, "PYTHONPATH": str(target)}


@pytest.fixture(scope="module")
def wave(installed, tmp_path_factory):
    """The script of the documentation, alone in a folder, and a run of it that nothing disturbed."""
    script = written(tmp_path_factory.mktemp("researcher"))
    end = ended(script, "--width", 32, "--epochs", 80, "--out", "runs/a", env=installed)
    assert (end.returncode, end.stderr) == (0, "")
    return script


def test_it_holds_the_packages_with_every_file_of_runs_and_no_experiments(wheel):
    names = ZipFile(wheel).namelist()
    tops = sorted({name.partition("/")[0] for name in names})
    assert [re.sub(r"-.*\.", "-", top) for top in tops] == ["funcnn", "funcnn-dist-info"]
    shipped = {Path(name).name for name in names if name.startswith("funcnn/runs/")}
    assert shipped == {path.name for path in (ROOT / "funcnn" / "runs").iterdir() if path.is_file()}
    assert {".py", ".jinja", ".css", ".js"} == {Path(name).suffix for name in shipped}


def test_a_script_runs_on_the_wheel_alone(wave, installed):
    words = ["-c", "import funcnn.runs; print(funcnn.__file__, funcnn.runs.__file__)"]
    end = ran(*words, cwd=wave.parent, env=installed)
    assert all(path.startswith(installed["PYTHONPATH"]) for path in end.stdout.split())
    assert str(ROOT) not in end.stdout


def test_a_killed_run_is_resumed_to_the_same_digest(wave, installed):
    history = wave.parent / "runs" / "killed" / "history.csv"
    with begun(wave, "--width", 32, "--epochs", 80, "--out", "runs/killed", env=installed) as process:
        while not history.exists() or history.read_text().count("\n") < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert not (history.parent / "digest.txt").exists()
    end = ended(wave, "resume", "runs/killed", env=installed)
    assert (end.returncode, end.stderr) == (0, "")
    killed, whole = (wave.parent / "runs" / name / "digest.txt" for name in ("killed", "a"))
    assert killed.read_text() == whole.read_text()


def test_a_run_is_reproduced(wave, installed):
    end = ended(wave, "reproduce", "runs/a", env=installed)
    assert end.returncode == 0
    assert end.stdout.endswith("\nidentical, bit for bit: 1600 steps, 80 epochs, and the params\n")


def test_a_grid_is_swept_and_compared(wave, installed):
    words = ["--vary", "width", 16, 32, "--seeds", 0, 1, "--epochs", 2, "--workers", 1]
    end = ended(wave, "sweep", *words, "--out", "runs/s", env=installed)
    assert end.returncode == 0, end.stderr
    end = ended(wave, "compare", "runs/a", "runs/s", env=installed)
    assert (end.returncode, end.stderr) == (0, "")
    assert [line.split()[0] for line in end.stdout.splitlines()[1:3]] == ["runs/a", "runs/s/width=16,seed=0"]
    assert (wave.parent / "runs" / "compare.png").exists()


EXTRA = ("tyro", "tqdm", "matplotlib", "jinja2", "filelock", "cattrs", "threadpoolctl", "distributed", "dask", "PIL")


def without_the_extra(code):
    """``code`` in an interpreter of its own that has the core alone."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({(*EXTRA, 'pooch', 'jax')}))\n"
    return ran("-W", "error", "-c", hidden + code)


def test_an_experiment_is_made_and_followed_by_the_core_alone():
    code = WAVE.partition("if __name__")[0].replace("import main, supervised", "import Experiment, stream, supervised")
    end = without_the_extra(f"{code}\nprint(len([*stream(experiment(Config(epochs=2)))]), Experiment.__name__)")
    assert (end.stdout, end.stderr) == ("42 Experiment\n", "")


@pytest.mark.parametrize("name", ["main", "run", "Options"])
def test_what_takes_the_extra_says_so_in_one_line(name):
    end = without_the_extra(f"from funcnn.runs import {name}")
    told = rf"ModuleNotFoundError: .*; funcnn\.runs\.{name} takes the extra `experiments`: pip install .funcnn\[exp.*"
    assert end.returncode == 1
    assert re.fullmatch(told, end.stderr.strip().splitlines()[-1])
