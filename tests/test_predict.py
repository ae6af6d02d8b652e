"""Own images answered by a saved model: right ones, bad files, and models that take something else."""

import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

import experiments.predict
import funcnn as fn
from experiments.contact_sheet import HEIGHT, PAGE, SIDE, WIDTH, Answer, contact_sheet, thumbnail, write_sheets
from experiments.predict import bars, load_classifier, main, probabilities
from funcnn import InputError, Key
from funcnn.data import as_mnist, read_image, scale, write_image
from funcnn.data.pieces import count_pieces
from funcnn.data.sources import DATA_DIR_VARIABLE
from funcnn.runs import run, supervised
from tests.canvases import digits, photograph, rgba

FULL = bool(os.environ.get(DATA_DIR_VARIABLE))
DATA = fn.load_dataset("mnist" if FULL else "mnist_5k")
DIGITS, LABELS = digits(DATA, 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run of a perceptron on full MNIST where ``FUNCNN_DATA_DIR`` names it, else on the embedded set."""
    network = fn.serial(fn.dense(128), fn.relu(), fn.dense(64), fn.relu(), fn.dense(10))
    how = {"batch_size": 128, "epochs": 6 if FULL else 20, "scaling": DATA.scaling, "class_names": DATA.class_names}
    experiment = supervised(network, fn.softmax_cross_entropy(), fn.adam(1e-3), DATA.train, key=Key(0), **how)
    return run(experiment, tmp_path_factory.mktemp("model") / "run", show=None).folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def predict(folder, out, capsys):
    """The command with the model: its exit status, what it prints, and its errors."""

    def predict(*words, model=folder / "model.safetensors", out=out):
        status = main([*map(str, (model, *words, "--out", out))])
        return status, *capsys.readouterr()

    return predict


@pytest.fixture
def images(tmp_path):
    """A folder with a 7 on paper and a 0 on a board."""
    folder = tmp_path / "images"
    for label, ink in ((7, "dark"), (0, "light")):
        path = folder / f"{label}" / f"{ink}.jpg"
        path.parent.mkdir(parents=True)
        photograph(Key(label), DIGITS[label == LABELS][0], ink).save(path)
    return folder


@pytest.mark.parametrize("ink", ["dark", "light"])
def test_photographs_of_digits_are_known(predict, tmp_path, ink):
    """At least 90 % after full MNIST; after the embedded set, 94.5 % of the digits themselves are known."""
    chosen = range(0, 1000, 20)  # the embedded digits are sorted
    for number in chosen:
        path = tmp_path / "photographs" / f"{LABELS[number]}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(Key(number).at(ink), DIGITS[number], ink).save(path)
    status, printed, _ = predict(tmp_path / "photographs", "--evaluate")
    assert status == 0
    accuracy, count = re.search(r"\naccuracy (.*)% of (\d+) images\n", printed).groups()
    assert int(count) == len(chosen)
    assert float(accuracy) >= (90 if FULL else 86)


def test_each_image_gets_its_label_bars_and_a_place_on_the_sheet(predict, folder, images, out):
    seven, zero = images / "7" / "dark.jpg", images / "0" / "light.jpg"
    status, printed, error = predict(seven, images, model=folder)  # the folder of a run is a model
    assert (status, error) == (0, "")
    blocks = printed.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[:3]] == [f"{seven}: 7", f"{zero}: 0", f"{seven}: 7"]
    assert blocks[0] == blocks[2]
    assert blocks[3] == f"wrote what the model saw to {out / 'answers.png'}\n"
    assert re.fullmatch(r"  7 #{30,40} +\d+\.\d\d%", blocks[0].splitlines()[8])
    assert [path.name for path in out.iterdir()] == ["answers.png"]
    sheet = read_image(out / "answers.png")
    assert sheet.shape == (3 * HEIGHT, WIDTH, 4)
    assert np.array_equal(sheet[:HEIGHT], sheet[2 * HEIGHT :])
    assert not np.array_equal(sheet[:HEIGHT], sheet[HEIGHT : 2 * HEIGHT])
    assert holds(sheet[:HEIGHT], as_mnist(read_image(seven)))


def holds(sheet, seen):
    """Whether what the model saw is somewhere on the sheet, enlarged."""
    enlarged = np.repeat(np.repeat(seen, SIDE // 28, axis=0), SIDE // 28, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], enlarged.shape)
    return any(np.array_equal(window, enlarged) for row in windows for window in row)


def answer(path, *, seen=DIGITS[0], names=tuple("0123456789"), remark=""):
    p = np.linspace(1, 2, len(names))
    return Answer(path, thumbnail(np.zeros((9, 400, 4), np.uint8)), seen, names, p / p.sum(), remark)


def test_many_answers_have_several_sheets(tmp_path):
    answers = [answer(tmp_path / f"{number}.png") for number in range(PAGE + 1)]
    assert [path.name for path in write_sheets(tmp_path, answers)] == ["answers-1.png", "answers-2.png"]
    assert read_image(tmp_path / "answers-1.png").shape == (PAGE // 3 * HEIGHT, 3 * WIDTH, 4)
    assert read_image(tmp_path / "answers-2.png").shape == (HEIGHT, WIDTH, 4)


@pytest.mark.parametrize("classes", [2, 26, 1000])
def test_models_of_any_number_of_classes_have_sheets(tmp_path, classes):
    names = [f"a class of number {number}" for number in range(classes)]
    sheet = contact_sheet([answer(tmp_path / ("long" * 50 + "\n.png"), names=names, remark="a remark")])
    assert sheet.size == (WIDTH, HEIGHT)
    assert holds(np.asarray(sheet), DIGITS[0])


def test_what_is_transparent_is_white_on_the_sheet():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[0, 0, 3] = 255
    assert np.asarray(thumbnail(pixels)).sum(axis=2).tolist() == [[0, 765, 765, 765], *[[765] * 4] * 3]


def side_by_side(left, right, gap):
    """Two digits on one paper, with some columns between their ink."""
    parts = [digit[:, digit.any(axis=0)] for digit in (left, right)]
    row = np.hstack([parts[0], np.zeros((28, gap), np.uint8), parts[1]])
    return Image.fromarray(255 - np.pad(row, 12)).resize((4 * (row.shape[1] + 24), 4 * 52), Image.Resampling.BICUBIC)


def test_two_digits_in_an_image_are_noticed(predict, tmp_path):
    path = tmp_path / "two.png"
    side_by_side(DIGITS[LABELS == 3][0], DIGITS[LABELS == 7][0], 6).save(path)
    _, printed, _ = predict(path)
    remark = r": \d \(2 pieces of ink: one digit an image\?\)"
    assert re.fullmatch(re.escape(str(path)) + remark, printed.splitlines()[0])


def test_pieces_of_ink_are_counted():
    pairs = [as_mnist(rgba(side_by_side(DIGITS[i], DIGITS[-1 - i], 5))) for i in range(0, 500, 25)]
    assert np.mean([count_pieces(pair) == 2 for pair in pairs]) >= 0.9
    singles = [count_pieces(as_mnist(rgba(Image.fromarray(digit)))) for digit in DIGITS[::5]]
    assert np.mean(np.equal(singles, 1)) > 0.99


@pytest.mark.parametrize(
    ("strokes", "count"),
    [
        *(([], 0), ([np.s_[4:24, 4:7]], 1), ([np.s_[4:24, 4:24]], 1), ([np.s_[4:24, 0:3], np.s_[4:24, 25:28]], 2)),
        ([np.s_[4:24, 4:7], np.s_[4:24, 12:15], np.s_[4:24, 20:23]], 3),
        ([np.s_[4:24, 4:7], np.s_[4:14, 20:23]], 2),
        ([np.s_[4:24, 4:7], np.s_[4:13, 20:23]], 1),  # less than half as high
        ([np.s_[2:13, 4:24], np.s_[15:26, 4:24]], 1),  # one above the other
        ([np.s_[8:26, 6:14], np.s_[3:6, 16:26]], 1),  # the bar of a 5
    ],
)
def test_strokes_count_that_stand_side_by_side(strokes, count):
    pixels = np.zeros((28, 28), np.uint8)
    for stroke in strokes:
        pixels[stroke] = 255
    assert count_pieces(pixels) == count


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_a_name_that_is_no_text_is_printed_in_escapes(predict, images):
    image = (images / "7" / "dark.jpg").rename(images / os.fsdecode(b"\xe9.jpg"))
    assert predict(image)[1].startswith(rf"{images}/\udce9.jpg: 7")


def test_bars_are_as_long_as_probable():
    expected = f"  cat {'#' * 10:<40}  25.00%\n  ox  {'#' * 30:<40}  75.00%"
    assert bars(("cat", "ox"), np.array([0.25, 0.75])) == expected


def test_bad_files_do_not_stop_the_rest(predict, images, out):
    (images / "7" / "notes.txt").write_text("thin pen")
    (images / "7" / "empty.png").touch()
    status, printed, error = predict(images, images / "7" / "none.png", "--evaluate")
    assert status == 1
    names = ("empty.png: expected an image, got an", "notes.txt: expected an image", "none.png: expected a file that")
    for line, name in zip(error.splitlines(), names, strict=True):
        assert line.startswith("error: ")
        assert name in line
    assert "accuracy 100.00% of 2 images" in printed
    assert read_image(out / "answers.png").shape == (2 * HEIGHT, WIDTH, 4)


def test_no_image_ends_the_others_whatever_it_is(predict, images, tmp_path, monkeypatch):
    seven = images / "7" / "dark.jpg"
    odd = [images / ("a" * 245 + ".jpg"), images / "evil\x1b[2J\n.jpg", images / "huge.jpg", images / "pipe.jpg"]
    for path in odd[:3]:
        path.write_bytes(seven.read_bytes())
    os.mkfifo(odd[3])
    read = experiments.predict.read_as_mnist

    def limited(path, ink):
        return bytearray(2**62) if path.name == "huge.jpg" else read(path, ink)

    monkeypatch.setattr(experiments.predict, "read_as_mnist", limited)
    words = [*odd, "/dev/zero", images / ("a" * 300), "missing\x1b[2J.jpg", seven]
    status, printed, error = predict(*words)
    assert status == 1
    answered = [line.partition(": ")[0] for line in printed.splitlines() if line.endswith(": 7")]
    assert answered == [str(odd[0]), rf"{images}/evil\x1b[2J .jpg", str(seven)]
    huge, pipe, device, long, missing = error.splitlines()
    assert huge == f"error: {odd[2]}: out of memory"
    assert "expected a file that can be read, got a pipe or a device" in pipe
    assert device.startswith("error: /dev/zero: expected a file that can be read, got")
    assert long.endswith("expected a file that can be read, got File name too long")
    assert missing.startswith(r"error: missing\x1b[2J.jpg: expected a file")
    assert "\x1b" not in printed + error


def test_class_names_are_shown_without_control_characters(tmp_path, out, capsys, images):
    names = [f"\x1b]0;{i}\x07" for i in range(10)]
    path = saved_model(tmp_path / "a.safetensors", fn.dense(10), class_names=names)
    assert main([*map(str, (path, images, "--out", out))]) == 0
    printed = capsys.readouterr().out
    assert r"\x1b]0;3\x07 " in printed
    assert "\x1b" not in printed


def test_without_an_answer_there_is_no_folder(predict, images, tmp_path, out):
    (images / "7" / "empty.jpg").touch()
    assert predict(images / "7" / "empty.jpg")[:2] == (1, "")
    diverged = saved_model(tmp_path / "diverged.safetensors", fn.dense(10), factor=np.nan)
    status, printed, error = predict(images / "0", images / "7" / "dark.jpg", model=diverged)
    assert (status, printed) == (1, "")
    assert error.count("error: the model: expected outputs that are numbers, got NaN; it diverged") == 2
    assert not out.exists()


def test_the_ink_can_be_said(predict, images, out):
    image = images / "7" / "dark.jpg"
    _, printed, _ = predict(image, "--ink", "dark")
    assert printed.startswith(f"{image}: 7\n")
    _, _, error = predict(image, "--ink", "light", out=f"{out}-2")
    sheets = [read_image(path / "answers.png") for path in (out, out.with_name("out-2")) if path.exists()]
    assert "nothing but ground" in error or not np.array_equal(*sheets)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("/nowhere.safetensors IMAGES", "/nowhere.safetensors: expected a saved model, got no such file"),
        ("IMAGES IMAGES", "images/model.safetensors: expected a saved model, got no such file"),
        ("IMAGES/7/dark.jpg IMAGES", "expected a whole safetensors file"),
        ("MODEL IMAGES/hidden", "IMAGE: expected at least one image, got folders without any"),
        ("MODEL IMAGES --evaluate", f"images in folders of the names {', '.join('0123456789')}, got "),
        ("MODEL IMAGES --out IMAGES", "expected a folder that is new or empty"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(folder, images, out, capsys, words, message):
    (images / "hidden").mkdir()
    (images / "hidden" / ".DS_Store").touch()
    write_image(images / "seven" / "a.png", DIGITS[0])
    words = words.replace("IMAGES", str(images)).replace("MODEL", str(folder)).split()
    assert main(words if "--out" in words else [*words, "--out", str(out)]) == 1
    printed, error = capsys.readouterr()
    assert (printed, error.startswith("error: "), len(error.splitlines())) == ("", True, 1)
    assert message in error
    assert not out.exists()


@pytest.mark.parametrize(("words", "message"), [("", "IMAGE: expected an image or more"), ("a.png --ink red", "red")])
def test_bad_arguments_end_with_2(capsys, words, message):
    with pytest.raises(SystemExit) as end:
        main(["model.safetensors", *words.split()])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def saved_model(path, model, in_shape=(784,), factor=1, **options):
    params = fn.tree.map(lambda leaf: factor * leaf, model.init(Key(0), in_shape)[0])
    fn.save(path, model, params, in_shape, **{"scaling": "unit", "class_names": map(str, range(10)), **options})
    return path


@pytest.mark.parametrize(
    ("model", "in_shape"),
    [
        *((fn.dense(10), (784,)), (fn.serial(fn.flatten(), fn.dense(10)), (28, 28))),
        (fn.serial(fn.conv2d(2, 5), fn.relu(), fn.flatten(), fn.dense(10), fn.softmax()), (28, 28, 1)),
    ],
)
def test_models_of_each_input_shape_and_output(tmp_path, model, in_shape):
    saved = load_classifier(saved_model(tmp_path / "a.safetensors", model, in_shape))
    p = probabilities(saved, DIGITS[0])
    x = scale(DIGITS[:1], "unit").reshape(1, *in_shape)
    outputs = fn.predict(saved.model, saved.params, x)[0]
    assert p == pytest.approx(outputs if in_shape == (28, 28, 1) else np.exp(outputs) / np.exp(outputs).sum(), rel=1e-5)
    assert p.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("model", "in_shape", "options", "message"),
    [
        (fn.dense(10), (2,), {}, r"a model of images 28x28, with inputs \(784,\)"),
        (fn.dense(10), (784,), {"scaling": None}, "a scaling of unit, symmetric"),
        (fn.dense(10), (784,), {"class_names": ()}, r"an output for each of 0 classes, got \(10,\)"),
        (fn.dense(9), (784,), {}, r"an output for each of 10 classes, got \(9,\)"),
        (fn.identity(), (28, 28), {}, r"an output for each of 10 classes, got \(28, 28\)"),
    ],
)
def test_models_of_something_else_are_refused(tmp_path, model, in_shape, options, message):
    path = saved_model(tmp_path / "a.safetensors", model, in_shape, **options)
    with pytest.raises(InputError, match=message):
        load_classifier(path)
