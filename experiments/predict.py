"""Classify your own images by a saved model.

A contact sheet shows what the model saw of each image: look there when an answer is wrong.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
import numpy as np
import tyro
from toolz import concat

import funcnn as fn
from experiments.contact_sheet import Answer, thumbnail, write_sheets
from funcnn.annotations import Float, UInt8
from funcnn.arrays import Array
from funcnn.data import SCALINGS, image_paths, read_as_mnist, read_image, scale
from funcnn.data.pieces import count_pieces
from funcnn.errors import require
from funcnn.layer import shapes_of
from funcnn.runs.classifier import logits_of
from funcnn.runs.drawing import SHAPES
from funcnn.runs.endings import guarded
from funcnn.runs.folder import check_new, create
from funcnn.runs.text import one_line, reason, say


@attrs.frozen
class Command:
    """Classify images, with the probability of every class; a contact sheet shows what the model saw.

    Attributes:
        model: A model.safetensors, or the folder of a run that has one.
        images: Image files, and folders of them.
        ink: Whether the ink is darker or lighter than its ground; auto decides by the border of each image.
        evaluate: Print the accuracy too; each image must be in a folder with the name of its label.
        out: The folder for the contact sheet, new or empty, instead of runs/predict-DATE-TIME.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    images: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...", help_behavior_hint="(required)")
    ]
    ink: Literal["auto", "dark", "light"] = "auto"
    evaluate: bool = False
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None

    def __attrs_post_init__(self) -> None:
        require(bool(self.images), "IMAGE", "an image or more, or a folder of them", "none")


def predict(command: Command) -> int:
    """Print the answer for every image; returns the exit status, 1 if an image could not be read."""
    saved = load_classifier(command.model)
    folders = {path for path in command.images if os.path.isdir(path)}  # noqa: PTH112 a Path's raises for odd names
    paths = list(concat(image_paths(path) if path in folders else [path] for path in command.images))
    require(bool(paths), "IMAGE", "at least one image", "folders without any")
    labels = {path: path.absolute().parent.name for path in paths}
    if command.evaluate:
        strays = ", ".join(str(path) for path in paths if labels[path] not in saved.class_names)
        require(not strays, "--evaluate", f"images in folders of the names {', '.join(saved.class_names)}", strays)
    if command.out is not None:
        check_new(command.out)
    answers = []
    for path in paths:
        try:
            answers.append(answer := answer_of(saved, path, command.ink))
        except fn.InputError as error:
            say(f"error: {one_line(error)}", error=True)
        except (MemoryError, OSError) as error:  # the others are answered
            say(f"error: {one_line(path)}: {reason(error)}", error=True)
        else:
            say(f"{one_line(path)}: {answer.text}\n{bars(answer.names, answer.probabilities)}\n")
    if not answers:
        return 1
    if command.evaluate:
        right = sum(answer.name == labels[answer.path] for answer in answers)
        say(f"accuracy {right / len(answers):.2%} of {len(answers)} images")
    for path in write_sheets(create(command.out, "predict"), answers):
        say(f"wrote what the model saw to {path}")
    return 0 if len(answers) == len(paths) else 1


def answer_of(saved: fn.SavedModel, path: Path, ink: str) -> Answer:
    """The model's answer for an image."""
    seen = read_as_mnist(path, ink)
    pieces = count_pieces(seen)
    remark = f"{pieces} pieces of ink: one digit an image?" if pieces > 1 else ""
    return Answer(path, thumbnail(read_image(path)), seen, saved.class_names, probabilities(saved, seen), remark)


def load_classifier(path: Path) -> fn.SavedModel:
    """A saved model, or that of a run's folder; it must take MNIST's pictures and name each of its outputs."""
    path = path / "model.safetensors" if path.is_dir() else path
    saved = fn.load(path)
    expected = f"a model of images 28x28, with inputs {', '.join(map(str, SHAPES))}"
    require(saved.in_shape in SHAPES, str(path), expected, saved.in_shape)
    expected, hint = f"a scaling of {', '.join(SCALINGS)}", "save it with the scaling of its inputs"
    require(saved.scaling in SCALINGS, str(path), expected, repr(saved.scaling), hint)
    _, out_shape = shapes_of(saved.model, saved.in_shape)
    names, hint = len(saved.class_names), "save it with its class_names"
    require(names > 0 and out_shape == (names,), str(path), f"an output for each of {names} classes", out_shape, hint)
    return saved


def probabilities(saved: fn.SavedModel, seen: UInt8[Array, "28 28"]) -> Float[Array, " classes"]:
    """The probability of every class; NaN is refused."""
    x = scale(seen[None], str(saved.scaling)).reshape(1, *saved.in_shape)
    p = fn.predict(fn.softmax(), (), logits_of(saved.model, saved.params, x))[0]
    hint = "it diverged; train it with a smaller learning rate"
    require(bool(np.isfinite(p).all()), "the model", "outputs that are numbers", "NaN", hint)
    return p


def bars(names: Sequence[str], p: Float[Array, " classes"]) -> str:
    """The probabilities as bars, one line for each class."""
    shown = [*map(one_line, names)]
    width = max(map(len, shown))
    shares = zip(shown, p.tolist(), strict=True)
    return "\n".join(f"  {name:<{width}} {'#' * round(40 * share):<40} {share:>7.2%}" for name, share in shares)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all images are answered, 1 if not, 2 for bad arguments, 130 for Ctrl-C."""
    return guarded(predict, Command, "python -m experiments.predict", arguments)


if __name__ == "__main__":
    sys.exit(main())
