"""The page of a run: one HTML file that holds all it shows, and asks no network for anything."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import jinja2
import numpy as np
from jaxtyping import Float, Int

import funcnn as fn
from experiments import figures
from experiments.classifier import logits_of
from experiments.run import Row
from funcnn import metrics
from funcnn.arrays import Array, Shape
from funcnn.errors import require
from funcnn.files import replacing
from funcnn.layer import Params

_MISTAKES, _UNITS = 24, 64  # how many images there are at most

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@attrs.frozen
class Mistake:
    """A sample that was taken for another class; ``image`` is a URI, empty where the inputs are no images."""

    sample: int
    label: str
    prediction: str
    confidence: float
    image: str


@attrs.frozen
class Weights:
    """The weights from the pixels to some of the ``units``, as pairs of unit and URI; full colour is at ``limit``."""

    units: int
    limit: float
    images: Sequence[tuple[int, str]]


def write_page(
    path: Path,
    *,
    title: str,
    saved: fn.SavedModel,
    data: fn.Dataset,
    history: Sequence[Row],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> None:
    """Judge a classifier on the test samples, each of which counts the same, and show what there is to see.

    Args:
        path: The file, replaced by a whole new one; names that are no text stand there in escapes.
        title: The heading.
        saved: A model that gives logits or probabilities, (batch, classes).
        data: The samples. Inputs (height, width), with or without one channel, or flat and square are images.
        history: The epochs; may be empty.
        config: Plain data, nested as one likes.
        environment: The same.

    Raises:
        InputError: The model gives no outputs (batch, classes), or its classes are not those of the data.
    """
    labels = data.test.targets if data.test.targets.ndim == 1 else data.test.targets.argmax(axis=1)
    logits = logits_of(saved, data.test.inputs)
    probabilities = fn.predict(fn.softmax(), (), logits)
    samples, classes = logits.shape
    largest = int(labels.max())
    require(largest < classes, "write_page", f"labels below {classes}, as the model has outputs", largest)
    names = data.class_names if len(data.class_names) == classes else tuple(map(str, range(classes)))
    test = fn.evaluate(fn.identity(), fn.softmax_cross_entropy(), (), fn.Batch(logits, labels))
    matrix = metrics.confusion_matrix(logits, labels)
    reliability = metrics.reliability(probabilities, labels)
    quantities = ("loss", "accuracy", "learning_rate", "gradient_norm") if history else ()
    text = _TEMPLATES.get_template("page.html.jinja").render(
        title=title,
        dataset=data.name,
        samples=samples,
        model=repr(saved.model),
        accuracy=test["accuracy"],
        standard_error=math.sqrt(test["accuracy"] * (1 - test["accuracy"]) / samples),
        loss=test["loss"],
        calibration_error=metrics.calibration_error(reliability),
        parameters=fn.tree.size(saved.params),
        summary=fn.summary(saved.model, saved.in_shape),
        curves={name: figures.inline_svg(figures.curves(history, name), name) for name in quantities},
        names=names,
        counts=matrix.astype(int),
        strengths=_strengths(matrix),
        scores=np.stack([metrics.precision(matrix), metrics.recall(matrix), metrics.f1(matrix)], axis=1),
        mistakes=[*_mistakes(probabilities, labels, names, data.test.inputs)],
        weights=_weights(saved.params, saved.in_shape),
        reliability=figures.inline_svg(figures.reliability_diagram(reliability), "reliability"),
        config=config,
        environment=environment,
        blue=figures.BLUE,
        orange=figures.ORANGE,
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def image_shape(in_shape: Shape) -> tuple[int, int] | None:
    """Height and width of inputs that are grey images of at least 8 x 8 pixels; ``None`` for others.

    >>> image_shape((784,)), image_shape((28, 20, 1)), image_shape((13,)), image_shape((2, 300))
    ((28, 28), (28, 20), None, None)
    """
    match in_shape:
        case (pixels,) if math.isqrt(pixels) ** 2 == pixels:
            height = width = math.isqrt(pixels)
        case (height, width) | (height, width, 1):
            pass
        case _:
            return None
    return (height, width) if min(height, width) >= 8 else None


def _strengths(matrix: Float[Array, "classes classes"]) -> Float[Array, "classes classes"]:
    """How strong each colour is: the share of the class, of mistakes against the largest, as they are few."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(matrix), dtype=bool)
    return np.where(right, shares, shares / (shares[~right].max() or 1))


def _mistakes(
    probabilities: Float[Array, "samples classes"], labels: Int[Array, "samples"], names: Sequence[str], inputs: Array
) -> Iterator[Mistake]:
    """The most confident first; of equal ones, the first sample."""
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    shape = image_shape(inputs.shape[1:])
    low, high = inputs.min(), inputs.max()
    for sample in chosen:
        image = figures.data_uri(inputs[sample].reshape(shape), figures.INK, low, high) if shape else ""
        yield Mistake(int(sample), names[labels[sample]], names[predictions[sample]], confidence[sample], image)


def _weights(params: Params, in_shape: Shape) -> Weights | None:
    """Those of the units with the largest weights, if the first layer with params is dense on images."""
    shape, first = image_shape(in_shape), next(iter(fn.tree.leaves(params)), None)
    if shape is None or first is None or first.ndim != 2 or len(first) != math.prod(shape):
        return None
    units = np.argsort(-np.linalg.norm(first.astype(np.float64), axis=0), kind="stable")[:_UNITS]
    limit = float(np.quantile(np.abs(first[:, units]), 0.995)) or 1.0  # a few outliers do not fade the rest
    columns = ((int(unit), first[:, unit].reshape(shape)) for unit in units)
    return Weights(
        first.shape[1],
        limit,
        [(unit, figures.data_uri(column, figures.SIGNED, -limit, limit)) for unit, column in columns],
    )
