"""Own images: whatever the file and the picture are, the model sees what MNIST would have of it, or it is refused."""

import io
import os
import struct
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageOps

import funcnn as fn
from funcnn import InputError, Key
from funcnn.data import as_mnist, image_paths, read_as_mnist, read_image, write_image
from tests.canvases import digits, photograph, rgba
from tests.scripts import ran

DIGITS, LABELS = digits(fn.load_dataset("mnist_5k"), 1000)
SEVEN = DIGITS[list(LABELS).index(7)]


def drawn(digit=SEVEN, size=(300, 200), side=140, place=(90, 25), ink=30, ground=220):
    """A clean grey picture of a digit."""
    enlarged = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    picture = Image.new("L", size, ground)
    picture.paste(ink, place, enlarged)
    return picture


def distance(a, b):
    """The mean difference of two pictures, as a share of the ink."""
    return np.abs(a.astype(float) - b).sum() / b.sum()


SEEN = as_mnist(rgba(drawn()))


def test_the_form_is_that_of_mnist():
    for place, side in (((90, 25), 140), ((0, 0), 190), ((200, 120), 70)):
        seen = as_mnist(rgba(drawn(side=side, place=place)))
        assert (seen.shape, seen.dtype, seen.max()) == ((28, 28), np.uint8, 255)
        rows, columns = np.nonzero(seen)
        assert max(np.ptp(rows), np.ptp(columns)) == 19
        for axis in (0, 1):
            assert 13.4 <= np.average(np.arange(28), weights=seen.sum(axis=axis, dtype=float)) <= 14.6


def test_a_digit_of_mnist_stays_what_it_was():
    seen = np.array([as_mnist(rgba(Image.fromarray(digit))) for digit in DIGITS[::10]])
    distances = [distance(a, b) for a, b in zip(seen, DIGITS[::10], strict=True)]
    assert np.mean(np.less(distances, 0.01)) > 0.5
    assert np.mean(np.less(distances, 0.1)) > 0.95


def test_the_negative_gives_the_same_picture():
    for picture in (drawn(), photograph(Key(0), SEVEN, "dark"), photograph(Key(1), SEVEN, "light")):
        assert np.array_equal(as_mnist(rgba(ImageOps.invert(picture))), as_mnist(rgba(picture)))


COLOURED = ImageOps.colorize(drawn(ink=0, ground=255), (40, 0, 120), (250, 240, 180))
OPACITY = ImageOps.invert(drawn(ink=0, ground=255))
PICTURES = [
    *((drawn(place=place), 0.02) for place in ((0, 0), (160, 60), (13, 47))),
    *((drawn(side=side, place=(20, 5)), 0.2) for side in (42, 56, 100, 190)),
    (COLOURED, 0.02),
    *(  # black and white ink on nothing, whatever colour the nothing has
        (Image.merge("LA", (OPACITY.point([behind] + [ink] * 255), OPACITY)), 0.02)
        for ink, behind in ((0, 255), (255, 0), (0, 0), (255, 255))
    ),
]


@pytest.mark.parametrize(("picture", "most"), PICTURES)
def test_place_size_colours_and_what_is_transparent_do_not_count(picture, most):
    assert distance(as_mnist(rgba(picture)), SEEN) < most


def test_ink_can_be_said_where_something_else_stands_out_more():
    chalk = drawn(ink=220, ground=120)
    chalk.paste(0, (5, 5, 45, 45))
    assert distance(as_mnist(rgba(chalk)), SEEN) > 0.5
    assert distance(as_mnist(rgba(chalk), "light"), SEEN) < 0.02


@pytest.mark.parametrize("ink", ["dark", "light"])
def test_light_and_noise_do_not_count(ink):
    """The digits are hardly farther from themselves than another size would put them."""
    pictures = [as_mnist(rgba(photograph(Key(i), digit, ink))) for i, digit in enumerate(DIGITS[::100])]
    assert np.median([distance(a, b) for a, b in zip(pictures, DIGITS[::100], strict=True)]) < 0.25


@pytest.mark.parametrize("width", [2, 6, 25, 50])
def test_thin_and_thick_pens_are_seen(width):
    picture = Image.new("L", (600, 800), 240)
    for y in range(100, 701 - width):
        picture.paste(20, (300, y, 300 + width, y + width))
    seen = as_mnist(rgba(picture)) > 100
    assert np.flatnonzero(seen.any(axis=1)).tolist() == list(range(4, 24))
    assert 1 <= seen.any(axis=0).sum() <= 3


@pytest.mark.parametrize("size", [(3, 3), (1, 7), (8, 8), (28, 28), (5, 40)])
def test_tiny_pictures_are_seen(size):
    pixels = np.full((*size[::-1], 4), 255, np.uint8)
    pixels[size[1] // 2, size[0] // 2, :3] = 0
    assert as_mnist(pixels).max() == 255


def test_a_large_picture_takes_no_second():
    pixels = rgba(drawn(size=(4000, 3000), side=1500, place=(2000, 700)))
    start = time.process_time()  # however busy the machine is
    assert distance(as_mnist(pixels), SEEN) < 0.1
    assert time.process_time() - start < 1


BLANK = {
    "white": np.full((50, 50, 4), 255, np.uint8),
    "transparent": np.zeros((50, 50, 4), np.uint8),
    "one pixel": np.zeros((1, 1, 4), np.uint8),
    "noise": rgba(Image.fromarray((200 + 10 * Key(0).normal((300, 400))).astype(np.uint8))),
    "a gradient": rgba(Image.linear_gradient("L")),
}


@pytest.mark.parametrize("name", BLANK)
def test_a_blank_picture_is_refused(tmp_path, name):
    match = "as_mnist: expected ink on a plain ground, got a picture with nothing but"
    with pytest.raises(InputError, match=match):
        as_mnist(BLANK[name])
    Image.fromarray(BLANK[name]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=f"a.png: {match}"):
        read_as_mnist(tmp_path / "a.png")


def test_an_unknown_ink_is_refused():
    with pytest.raises(InputError, match="as_mnist: expected an ink of auto, dark, light, got 'blue'"):
        as_mnist(rgba(drawn()), "blue")


FORMATS = {
    **dict.fromkeys(("grey.png", "grey.jpg", "grey.gif", "grey.webp", "no ending"), drawn()),
    "rgb.bmp": drawn().convert("RGB"),
    "cmyk.jpg": drawn().convert("CMYK"),
    "palette.png": drawn().convert("P"),
    "one bit.png": drawn().convert("1", dither=Image.Dither.NONE),
    "16 bits.png": Image.fromarray(np.asarray(drawn(), np.uint16) * 100),
    "32 bits.tif": Image.fromarray(np.asarray(drawn(), np.int32) * 100000),
    "float.tif": Image.fromarray(np.asarray(drawn(), np.float32) / 255),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_and_modes(tmp_path, name):
    path = tmp_path / name
    FORMATS[name].save(path, None if path.suffix else "png")
    assert distance(read_as_mnist(path), SEEN) < 0.2


def test_a_palette_with_a_transparent_colour(tmp_path):
    drawn().quantize(8).save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png")[..., 3].min() == 0


@pytest.mark.parametrize(("orientation", "way_back"), [(2, 0), (3, 3), (4, 1), (5, 5), (6, 2), (7, 6), (8, 4)])
def test_exif_orientations(tmp_path, orientation, way_back):
    """What a viewer shows counts, not how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn().transpose(Image.Transpose(way_back)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), rgba(drawn()))


def png(picture):
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


GIANT = b"GIF89a" + b"\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
BAD = [
    (b"", "an image, got an empty file"),
    (b"seven", "an image .PNG, .*, got a file of another kind, or a damaged one"),
    (png(drawn())[:1000], "a whole image, got image file is truncated"),
    (png(drawn())[:20], "a whole image, got Truncated File Read"),
    (png(drawn()).replace(b"IDAT", b"IDAX"), "a"),
    *((png(Image.new("1", (side, side))), "a whole image, got Image size .* bomb") for side in (10000, 20000)),
    (png(Image.new("1", (9400, 9400))), r"at most \d+ pixels, got 9400 x 9400; make it smaller"),
    (GIANT, "a whole image, got Image size .* bomb"),
    (GIANT.replace(b"\xff\xff\xff\xff", b"\0\x24\0\x24"), r"at most 167\d+ pixels, got 9216 x 9216; make it smaller"),
    (EPS, "an image .PNG, .*, got a file of another kind"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_files_are_refused_by_name(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=f"a.png: expected {message}"):
        read_as_mnist(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"none\.png: expected a file that can be read, got No such file"):
        read_image(tmp_path / "none.png")


def test_a_file_that_is_cut_anywhere_is_whole_or_refused(tmp_path):
    content, path = png(drawn()), tmp_path / "a.png"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        try:
            assert np.array_equal(read_as_mnist(path), SEEN)  # where only the end mark is cut
        except InputError as error:
            assert str(error).startswith(f"{path}: expected")  # noqa: PT017


ALONE = """
import resource, sys
from funcnn import InputError
from funcnn.data import read_image
from funcnn.data.images import pillow
pillow().Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(("subprocess", "os.", "socket")) else None)
for path in sys.argv[1:]:
    try:
        print(read_image(path).shape)
    except InputError as error:
        print("refused")
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sorted({*seen}), after - before < 30_000, file=sys.stdout)
"""


def test_no_image_starts_a_process_opens_a_socket_or_takes_memory_beyond_its_size(tmp_path):
    """Whatever its name and content say; nothing is written to stderr either."""
    content = io.BytesIO()
    drawn().save(content, "tiff", compression="tiff_lzw")
    torn = content.getvalue()[:8] + bytes(2000) + content.getvalue()[2008:]
    files = {"a.png": EPS, "a.eps": EPS, "a.jpg": EPS, "b.gif": GIANT, "c.png": png(Image.new("1", (9400, 9400)))}
    drawn().convert("RGB").save(coloured := io.BytesIO(), "tiff")
    three, nine = (struct.pack("<HHIH", 277, 3, 1, samples) for samples in (3, 9))  # samples per pixel
    files["nine.tif"] = coloured.getvalue().replace(three, nine)
    files |= {"torn.tif": torn, "whole.tif": content.getvalue(), "whole.png": png(drawn())}
    for name, bytes_ in files.items():
        (tmp_path / name).write_bytes(bytes_)
    run = ran("-c", ALONE, *(tmp_path / name for name in files), check=True)
    assert run.stdout.splitlines() == ["refused"] * 7 + ["(200, 300, 4)"] * 2 + ["[] True"]
    assert run.stderr == ""


def test_threads_that_read_images_leave_stderr_and_warnings_as_they_were(tmp_path):
    path, interval = tmp_path / "a.tif", sys.getswitchinterval()
    Image.new("L", (20, 20)).save(path)
    before = os.fstat(2), [*warnings.filters]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert {image.shape for image in pool.map(read_image, [path] * 400)} == {(20, 20, 4)}
        after = os.fstat(2), [*warnings.filters]
    finally:
        sys.setswitchinterval(interval)
    assert (os.path.samestat(before[0], after[0]), after[1]) == (True, before[1])


def test_what_is_no_file_is_refused_and_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, got in ((tmp_path / "pipe.png", "a pipe or a device"), (tmp_path, "Is a dir"), ("/dev/zero", "a pipe")):
        with pytest.raises(InputError, match=f"expected a file that can be read, got {got}"):
            read_image(path)


def test_an_image_that_does_not_fit_into_memory_is_refused_by_name(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(drawn()))
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: bytearray(2**62))
    with pytest.raises(InputError, match=r"a\.png: expected an image that fits into memory, got too many pixels"):
        read_image(tmp_path / "a.png")


def test_a_written_picture_is_read_again(tmp_path):
    write_image(tmp_path / "a.png", SEEN)
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], SEEN)


def test_the_images_of_a_folder_are_sorted_and_visible(tmp_path):
    for name in ("b.png", "a/c.png", "a/b/d.png", ".hidden.png", ".cache/e.png", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert image_paths(tmp_path) == [tmp_path / name for name in ("a/b/d.png", "a/c.png", "b.png")]


def test_without_pillow_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for call in (partial(read_image, tmp_path / "a.png"), partial(as_mnist, np.zeros((9, 9, 4), np.uint8))):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'funcnn\[experiments\]'"):
            call()
