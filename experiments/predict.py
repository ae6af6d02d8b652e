"""Say what is drawn in images of one's own, by a saved model.

What the model saw of each image is written to a folder: look there when an answer is wrong.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
import tyro
from jaxtyping import Float, UInt8
from toolz import concat

import funcnn as fn
from experiments.classifier import logits_of
from experiments.command import run_command
from experiments.folder import create as create_folder
from funcnn.arrays import Array
from funcnn.data import SCALINGS, image_paths, read_as_mnist, scale, write_image
from funcnn.errors import require

IN_SHAPES = ((784,), (28, 28), (28, 28, 1))


@attrs.frozen
class Command:
    """Say what is drawn in images, with the probability of every class, and write what the model saw.

    Attributes:
        model: The model.safetensors of a run of experiments.mnist.
        images: Image files, and folders of them.
        ink: Whether the ink is darker or lighter than its ground; auto tells by the border of each image.
        evaluate: Print the accuracy too; each image must lie in a folder that is named by its label.
        out: The folder for what the model saw, new or empty, instead of runs/predict-DATE-TIME.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    ink: Literal["auto", "dark", "light"] = "auto"
    evaluate: bool = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    def __attrs_post_init__(self) -> None:
        require(bool(self.images), "IMAGE", "an image or more, or a folder of them", "none")


def predict(command: Command) -> int:
    """Answer for every image; gives the exit status, 1 where an image could not be read."""
    saved = load_classifier(command.model)
    paths = list(concat(image_paths(path) if path.is_dir() else [path] for path in command.images))
    require(bool(paths), "IMAGE", "at least one image", "folders without any")
    if command.evaluate:
        strays = [str(path) for path in paths if _label(path) not in saved.class_names]
        expected = f"images in folders of the names {', '.join(saved.class_names)}"
        require(not strays, "--evaluate", expected, ", ".join(strays))
    folder = create_folder(command.out, "predict")
    answers = [
        _answer(saved, path, command.ink, folder / f"{number}-{path.stem}.png")
        for number, path in enumerate(paths, start=1)
    ]
    read = [answer is not None for answer in answers]
    if command.evaluate and any(read):
        right = [answer == _label(path) for answer, path in zip(answers, paths, strict=True)]
        print(f"accuracy {sum(right) / sum(read):.2%} of {sum(read)} images")
    print(f"wrote what the model saw to {folder}")
    return 0 if all(read) else 1


def _label(path: Path) -> str:
    return path.absolute().parent.name


def _answer(saved: fn.SavedModel, path: Path, ink: str, out: Path) -> str | None:
    """Print and give the name of the likeliest class, or the error and ``None``."""
    try:
        seen = read_as_mnist(path, ink)
    except fn.InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    p = probabilities(saved, seen)
    answer = saved.class_names[int(p.argmax())]
    print(f"{path}: {answer}\n{bars(saved.class_names, p)}\n", flush=True)
    write_image(out, seen)
    return answer


def load_classifier(path: Path) -> fn.SavedModel:
    """A saved model that takes MNIST's pictures, with a name for each of its outputs.

    Raises:
        InputError: It takes something else, has no scaling, or other outputs than names.
    """
    saved = fn.load(path)
    shapes = ", ".join(map(str, IN_SHAPES))
    require(saved.in_shape in IN_SHAPES, str(path), f"a model of images 28x28, with inputs {shapes}", saved.in_shape)
    hint = "save it with the scaling of its inputs"
    require(saved.scaling in SCALINGS, str(path), f"a scaling of {', '.join(SCALINGS)}", repr(saved.scaling), hint)
    _, out_shape = saved.model.init(fn.Key(0), saved.in_shape)
    names = len(saved.class_names)
    hint = "save it with its class_names"
    require(names > 0 and out_shape == (names,), str(path), f"an output for each of {names} classes", out_shape, hint)
    return saved


def probabilities(saved: fn.SavedModel, seen: UInt8[Array, "28 28"]) -> Float[Array, " classes"]:
    """The probability of every class."""
    x = scale(seen[None], str(saved.scaling)).reshape(1, *saved.in_shape)
    return fn.predict(fn.softmax(), (), logits_of(saved, x))[0]


def bars(names: Sequence[str], p: Float[Array, " classes"]) -> str:
    """A line for every class."""
    width = max(map(len, names))
    return "\n".join(
        f"  {name:<{width}} {'#' * round(40 * share):<40} {share:>7.2%}"
        for name, share in zip(names, p.tolist(), strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for answers, 1 if there is an image without, 2 for bad arguments, 130 for Ctrl-C."""
    return run_command("predict", Command, predict, arguments)


if __name__ == "__main__":
    sys.exit(main())
