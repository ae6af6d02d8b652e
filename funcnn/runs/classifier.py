"""Sections of a report on a classifier: its results on test samples, and its mistakes."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from toolz import identity

import funcnn as fn
from funcnn import metrics
from funcnn.annotations import Float
from funcnn.arrays import Array, Shape
from funcnn.data.datasets import check_scaling
from funcnn.errors import require
from funcnn.layer import Params, shapes_of
from funcnn.runs import figures
from funcnn.runs.drawing import drawing_section
from funcnn.runs.experiment import Section
from funcnn.runs.sections import figure_section, rendered

_MISTAKES, _UNITS = 24, 64  # the most images of each section
_PIECE = 1000  # samples to predict at once, so that memory stays bounded


def classifier_sections(
    model: fn.Layer,
    test: fn.Batch,
    class_names: Sequence[str] = (),
    *,
    scaling: str | None = None,
    as_saved: Callable[[Params], Params] = identity,
) -> Callable[[Params], Iterable[Section]]:
    """The function from params to sections, for ``supervised(..., sections=classifier_sections(model, test))``.

    Args:
        model: A classifier, with logits or probabilities (batch, classes) as outputs.
        test: The samples to evaluate it on, with equal weights. Inputs are shown as images if they are (height, width),
            with or without one channel, or flat and square.
        class_names: The name of each label, instead of its number.
        scaling: The name of the inputs' scaling, for a section to draw on. If :func:`drawing_section` refuses the
            model, the section says why.
        as_saved: Maps the params of a run to params for the inputs of ``test``, as in :func:`supervised`.

    Raises:
        InputError: The outputs are not (batch, classes), a label is not one of the classes, or no scaling has this
            name.
    """
    where = "classifier_sections"
    _, out_shape = shapes_of(model, test.inputs.shape[1:])
    fits = len(out_shape) == 1 and out_shape[0] > 1
    require(fits, where, "outputs (batch, classes)", ("batch", *out_shape), "this takes a classifier")
    labels = test.targets if test.targets.ndim == 1 else test.targets.argmax(axis=1)
    classes, largest = out_shape[0], int(labels.max())
    require(largest < classes, where, f"labels below {classes}, as the model has outputs", largest)
    names = tuple(class_names) or tuple(map(str, range(classes)))
    require(len(names) == classes, where, f"a name for each of {classes} classes", len(names))
    check_scaling(where, scaling, or_none=True)

    def sections(learned: Params) -> Iterator[Section]:
        params, shape = as_saved(learned), image_shape(test.inputs.shape[1:])
        if scaling is not None:
            try:
                yield drawing_section(model, params, test.inputs.shape[1:], scaling, names)
            except fn.InputError as error:
                yield Section("Draw", rendered("note", f"There is no canvas to draw on. {error}"))
        logits = logits_of(model, params, test.inputs)
        probabilities = fn.predict(fn.softmax(), (), logits)
        loss = fn.evaluate(fn.identity(), fn.softmax_cross_entropy(), (), fn.Batch(logits, labels))["loss"]
        matrix, reliability = metrics.confusion_matrix(logits, labels), metrics.reliability(probabilities, labels)
        accuracy, calibration = fn.accuracy(logits, labels), metrics.calibration_error(reliability)
        tiles = [
            ("test accuracy", f"{accuracy:.2%}", f"± {math.sqrt(accuracy * (1 - accuracy) / len(labels)):.2%}"),
            ("test cross-entropy", f"{loss:.4f}", ""),
            ("calibration error", f"{calibration:.2%}", ""),
            ("parameters", f"{fn.tree.size(params):,}", ""),
        ]
        yield Section("Classifier", rendered("judged", tiles, len(labels)))

        counts, right = matrix.astype(int), np.eye(classes, dtype=bool)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        strengths = np.where(right, shares, shares / (shares[~right].max() or 1))  # the few mistakes by their largest
        yield Section("Confusion matrix", rendered("confusion", names, counts, strengths))
        scores = np.stack([metrics.precision(matrix), metrics.recall(matrix), metrics.f1(matrix)], axis=1)
        yield Section("Classes", rendered("classes", names, scores, counts.sum(axis=1)))

        predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        wrong, mistakes = np.flatnonzero(predictions != labels), []
        low, high = float(test.inputs.min()), float(test.inputs.max())
        for i in wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]:
            image = figures.data_uri(test.inputs[i].reshape(shape), low, high, figures.INK) if shape else ""
            mistakes.append((image, names[labels[i]], names[predictions[i]], confidence[i], i))
        yield Section("Most confident mistakes", rendered("mistakes", mistakes))
        yield from _weights(params, shape)
        note = rendered("calibration", calibration)
        yield figure_section("Calibration", figures.reliability_diagram(reliability), note)

    return sections


def logits_of(model: fn.Layer, params: Params, inputs: Array) -> Float[Array, "samples classes"]:
    """The outputs as logits in float64, for sums over all samples; of probabilities, the logarithms.

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
    """Height and width, if inputs are grey images of at least 8 x 8 pixels; otherwise ``None``.

    >>> image_shape((784,)), image_shape((28, 20, 1)), image_shape((13,)), image_shape((2, 300))
    ((28, 28), (28, 20), None, None)
    """
    shape = in_shape[:2] if len(in_shape) == 3 and in_shape[2] == 1 else in_shape
    if len(shape) == 1 and math.isqrt(shape[0]) ** 2 == shape[0]:
        shape = (math.isqrt(shape[0]),) * 2
    return shape if len(shape) == 2 and min(shape) >= 8 else None


def _weights(params: Params, shape: Shape | None) -> Iterator[Section]:
    """The largest weights as images, if the first layer with params is dense on images of ``shape``."""
    first = next(iter(fn.tree.leaves(params)), None)
    if shape is None or first is None or first.ndim != 2 or len(first) != math.prod(shape):
        return
    units = np.argsort(-np.linalg.norm(first.astype(np.float64), axis=0), kind="stable")[:_UNITS]
    limit = float(np.quantile(np.abs(first[:, units]), 0.995)) or 1.0  # a few outliers do not fade the rest
    images = [(unit, figures.data_uri(first[:, unit].reshape(shape), -limit, limit, figures.SIGNED)) for unit in units]
    yield Section("First-layer weights", rendered("weights", first.shape[1], limit, images))
