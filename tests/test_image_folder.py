"""A folder of folders of images as a data set."""

import shutil

import numpy as np
import pytest

import funcnn as fn
from experiments.mnist import Config, experiment
from funcnn import InputError, Key, load_folder
from funcnn.data import as_mnist, scale, write_image
from funcnn.runs import main
from tests.canvases import digits

DIGITS, LABELS = digits(fn.load_dataset("mnist_5k"), 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Zeros, ones and twos, ten of each, light on black as in MNIST."""
    root = tmp_path_factory.mktemp("images")
    for label, name in enumerate(("zero", "one", "two")):
        for number, digit in enumerate(DIGITS[label == LABELS][:10]):
            write_image(root / name / f"{number}.png", digit)
    return root


def test_labels_are_the_sorted_names_of_folders(folder):
    data = load_folder(folder, Key(0))
    assert data.class_names == ("one", "two", "zero")
    assert (data.name, data.scaling) == (folder.name, "unit")
    for part, size in ((data.train, 24), (data.test, 6)):
        assert (part.inputs.shape, part.inputs.dtype) == ((size, 784), np.float32)
        assert (part.targets.shape, part.targets.dtype) == ((size,), np.int64)
    assert np.bincount(np.concatenate([data.train.targets, data.test.targets])).tolist() == [10, 10, 10]


def test_inputs_are_what_predict_sees(folder):
    data = load_folder(folder, Key(0), scaling="symmetric")
    parts = (data.train, data.test)
    labels = {row.tobytes(): label for part in parts for row, label in zip(part.inputs, part.targets, strict=True)}
    one = np.dstack([DIGITS[LABELS == 1][3]] * 3 + [np.full((28, 28), 255, np.uint8)])
    assert labels[scale(as_mnist(one)[None], "symmetric")[0].tobytes()] == 0
    assert len(labels) == 30


def test_the_split_depends_on_the_key_and_the_names_alone(folder, tmp_path):
    copied = tmp_path / "copy"
    for path in sorted(folder.rglob("*.png"), reverse=True):  # made in another order
        target = copied / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (copied / ".git").mkdir()
    (copied / "one" / ".DS_Store").touch()
    (copied / "README.txt").write_text("Digits.")
    first, again, other = (load_folder(path, Key(i)) for path, i in ((folder, 0), (copied, 0), (folder, 1)))
    assert fn.tree.equal(first.train, again.train)
    assert fn.tree.equal(first.test, again.test)
    assert not np.array_equal(first.test.inputs, other.test.inputs)


@pytest.mark.parametrize(("test", "held_out"), [(0.5, 5), (0.001, 1), (0.999, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_both_parts_have_images_of_every_label(folder, test, held_out, seed):
    data = load_folder(folder, Key(seed), test=test)
    assert np.bincount(data.test.targets).tolist() == [held_out] * 3
    assert np.bincount(data.train.targets).tolist() == [10 - held_out] * 3


def test_files_that_are_no_images_are_listed(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "one" / "notes.txt").write_text("thin pen")
    (tmp_path / "two" / "3.png").write_bytes(b"")
    write_image(tmp_path / "zero" / "blank.png", np.zeros((28, 28), np.uint8))
    with pytest.raises(InputError) as refusal:
        load_folder(tmp_path, Key(0))
    message = str(refusal.value)
    assert message.startswith(f"load_folder({str(tmp_path)!r}): expected files that are images with something on them")
    assert "got 3 of 32 that are not: " in message
    for name in ("one/notes.txt: ", "two/3.png: ", "zero/blank.png: "):
        assert name in message


TWO = ("one/a.png", "two/b.png")


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ((), {}, "a folder of images for each of two labels or more, got no folder"),
        (("one/a.png",), {}, r"a folder of images for each of two labels or more, got \['one'\]"),
        (("one/a.png", "two/.b.png"), {}, "two images or more for each label, .*, got 1 in 'one', 0 in 'two'"),
        (("one/a.png", "one/b.png", "two/a.png"), {}, "two images or more for each label, .*, got 1 in 'two'"),
        (TWO, {"test": 0}, r"a share of test images in \(0, 1\), got 0"),
        (TWO, {"test": 1.0}, r"a share of test images in \(0, 1\), got 1.0"),
        (TWO, {"scaling": "none"}, "a scaling of unit, symmetric, got 'none'"),
        (TWO, {"ink": "blue"}, "an ink of auto, dark, light, got 'blue'$"),
        (TWO, {"path": "/nowhere"}, "a folder, got none"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path, names, options, message):
    for name in names:
        write_image(tmp_path / name, DIGITS[0])
    with pytest.raises(InputError, match=rf"^load_folder\(.*\): expected {message}"):
        load_folder(**{"path": tmp_path, "key": Key(0), **options})


def test_the_main_job_learns_a_folder(folder, tmp_path, without_pictures):
    data = ["--dataset", "folder", "--data-dir", str(folder), "--scaling", "symmetric"]
    how = ["--epochs", "40", "--hidden", "32", "--batch-size", "8", "--out", str(tmp_path / "run")]
    assert main(experiment, Config, arguments=[*data, *how]) == 0
    saved = fn.load(tmp_path / "run" / "model.safetensors")
    assert (saved.class_names, saved.scaling) == (("one", "two", "zero"), "symmetric")
    held_out = load_folder(folder, Key(0).at("split"), scaling="symmetric").test
    metrics = {"accuracy": fn.accuracy}
    found = fn.evaluate(saved.model, fn.softmax_cross_entropy(), saved.params, held_out, metrics=metrics)
    assert found["accuracy"] > 0.6
