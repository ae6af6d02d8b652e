"""Sections of a report on a classifier: how it does on test samples, and what it gets wrong."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from toolz import identity

import funcnn as fn
from funcnn import metrics
from funcnn.annotations import Float, Int
from funcnn.arrays import Array, Shape
from funcnn.errors import require
from funcnn.layer import Params
from funcnn.runs import figures
from funcnn.runs.experiment import Section
from funcnn.runs.sections import figure_section, rendered

_MISTAKES, _UNITS = 24, 64  # how many images there are at most
_PIECE = 1000  # so many samples are predicted at once, so that memory stays bounded

_html = partial(rendered, template="classifier.html.jinja")


def classifier_sections(
    model: fn.Layer, test: fn.Batch, class_names: Sequence[str] = (), *, as_saved: Callable[[Params], Params] = identity
) -> Callable[[Params], Iterable[Section]]:
    """The function from params to sections, for ``supervised(..., sections=classifier_sections(model, test))``.

    Args:
        model: Its outputs are logits or probabilities, (batch, classes).
        test: The samples to judge it on, each of which counts the same. Their inputs are shown as images where they are
            (height, width), with or without one channel, or flat and square.
        class_names: The name of each label, instead of its number.
        as_saved: The params that take the inputs of ``test``, for those of a run, as in :func:`supervised`.

    Raises:
        InputError: The model gives no outputs (batch, classes), or its classes are not those of the samples.
    """
    where = "classifier_sections"
    _, out_shape = model.init(fn.Key(0), test.inputs.shape[1:])
    fits = len(out_shape) == 1 and out_shape[0] > 1
    require(fits, where, "outputs (batch, classes)", ("batch", *out_shape), "this takes a classifier")
    labels = test.targets if test.targets.ndim == 1 else test.targets.argmax(axis=1)
    classes, largest = out_shape[0], int(labels.max())
    require(largest < classes, where, f"labels below {classes}, as the model has outputs", largest)
    names = tuple(class_names) or tuple(map(str, range(classes)))
    require(len(names) == classes, where, f"a name for each of {classes} classes", len(names))
    return partial(_sections, model, fn.Batch(test.inputs, labels), names, as_saved)


def logits_of(model: fn.Layer, params: Params, inputs: Array) -> Float[Array, "samples classes"]:
    """The outputs as logits, in float64, as sums over all samples follow; distributions give their logarithms.

    Raises:
        InputError: The outputs are not (batch, classes).
    """
    starts = range(0, len(inputs), _PIECE)
    pieces = [fn.predict(model, params, inputs[start : start + _PIECE]) for start in starts]
    outputs = np.concatenate(pieces).astype(np.float64)
    fits = outputs.ndim == 2 and outputs.shape[1] > 1
    require(fits, "model", "outputs (batch, classes)", outputs.shape, "this takes a classifier")
    given = outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-4)
    return np.log(np.maximum(outputs, np.finfo(np.float64).tiny)) if given else outputs


def image_shape(in_shape: Shape) -> Shape | None:
    """Height and width of inputs that are grey images of at least 8 x 8 pixels; ``None`` for others.

    >>> image_shape((784,)), image_shape((28, 20, 1)), image_shape((13,)), image_shape((2, 300))
    ((28, 28), (28, 20), None, None)
    """
    shape = in_shape[:2] if len(in_shape) == 3 and in_shape[2] == 1 else in_shape
    if len(shape) == 1 and math.isqrt(shape[0]) ** 2 == shape[0]:
        shape = (math.isqrt(shape[0]),) * 2
    return shape if len(shape) == 2 and min(shape) >= 8 else None


def _sections(
    model: fn.Layer, test: fn.Batch, names: Sequence[str], as_saved: Callable[[Params], Params], learned: Params
) -> Iterator[Section]:
    params, labels = as_saved(learned), test.targets
    logits = logits_of(model, params, test.inputs)
    probabilities = fn.predict(fn.softmax(), (), logits)
    loss = fn.evaluate(fn.identity(), fn.softmax_cross_entropy(), (), fn.Batch(logits, labels))["loss"]
    matrix, reliability = metrics.confusion_matrix(logits, labels), metrics.reliability(probabilities, labels)
    share, calibration = fn.accuracy(logits, labels), metrics.calibration_error(reliability)
    tiles = [
        ("test accuracy", f"{share:.2%}", f"± {math.sqrt(share * (1 - share) / len(labels)):.2%}"),
        ("test cross-entropy", f"{loss:.4f}", ""),
        ("calibration error", f"{calibration:.2%}", ""),
        ("parameters", f"{fn.tree.size(params):,}", ""),
    ]
    yield Section("Classifier", _html("judged", tiles, len(labels)))
    counts = matrix.astype(int)
    yield Section("Confusion matrix", _html("confusion", names, counts, _strengths(matrix)))
    scores = np.stack([metrics.precision(matrix), metrics.recall(matrix), metrics.f1(matrix)], axis=1)
    yield Section("Classes", _html("classes", names, scores, counts.sum(axis=1)))
    found = [*_mistakes(probabilities, labels, names, test.inputs)]
    yield Section("Most confident mistakes", _html("mistakes", found))
    yield from _weights(params, test.inputs.shape[1:])
    yield figure_section("Calibration", figures.reliability_diagram(reliability), _html("calibration", calibration))


def _strengths(matrix: Float[Array, "classes classes"]) -> Float[Array, "classes classes"]:
    """How strong each colour is: the share of the class, of mistakes against the largest, as they are few."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(matrix), dtype=bool)
    return np.where(right, shares, shares / (shares[~right].max() or 1))


def _mistakes(
    probabilities: Float[Array, "samples classes"], labels: Int[Array, " samples"], names: Sequence[str], inputs: Array
) -> Iterator[tuple[str, str, str, float, int]]:
    """Image (where the inputs are images), label, prediction, confidence and sample, the most confident first."""
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    shape, low, high = image_shape(inputs.shape[1:]), float(inputs.min()), float(inputs.max())
    for sample in chosen:
        image = figures.data_uri(inputs[sample].reshape(shape), low, high, figures.INK) if shape else ""
        yield image, names[labels[sample]], names[predictions[sample]], float(confidence[sample]), int(sample)


def _weights(params: Params, in_shape: Shape) -> Iterator[Section]:
    """Those of the units with the largest weights, if the first layer with params is dense on images."""
    shape, first = image_shape(in_shape), next(iter(fn.tree.leaves(params)), None)
    if shape is None or first is None or first.ndim != 2 or len(first) != math.prod(shape):
        return
    units = np.argsort(-np.linalg.norm(first.astype(np.float64), axis=0), kind="stable")[:_UNITS]
    limit = float(np.quantile(np.abs(first[:, units]), 0.995)) or 1.0  # a few outliers do not fade the rest
    columns = ((int(unit), first[:, unit].reshape(shape)) for unit in units)
    images = [(unit, figures.data_uri(column, -limit, limit, figures.SIGNED)) for unit, column in columns]
    yield Section("First-layer weights", _html("weights", first.shape[1], limit, images))
