"""Every metric obeys every law, agrees with scikit-learn, and refuses what it cannot take."""

from functools import partial

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import funcnn as fn
from funcnn import InputError, Key, accuracy, metrics
from funcnn.metrics import weighted_mean
from funcnn.testing import check_metric
from tests.catalogue import EFFORT, METRICS, METRICS_OF_TABLES

OUTPUTS = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])

NAMED = {
    "accuracy": accuracy,
    "top_k_accuracy": metrics.top_k_accuracy(2),
    "negative_log_likelihood": metrics.negative_log_likelihood,
    "confusion_matrix": metrics.confusion_matrix,
    "reliability": metrics.reliability,
    "binary_accuracy": metrics.binary_accuracy,
    "exact_match": metrics.exact_match,
    "regression_accuracy": metrics.regression_accuracy(0.5),
}


@pytest.mark.parametrize(("metric", "draw", "unless"), [*((*row, []) for row in METRICS), *METRICS_OF_TABLES])
def test_laws(metric, draw, unless):
    check_metric(metric, draw, unless=unless, **EFFORT)


@pytest.mark.parametrize(("name", "metric"), NAMED.items(), ids=NAMED)
def test_every_metric_refuses_shapes_that_do_not_fit(name, metric):
    metric(OUTPUTS[:1], OUTPUTS[:1])
    for arguments, expected in (
        ((OUTPUTS, OUTPUTS[:2]), r"targets .*\(3, 2\), got \(2, 2\)"),
        ((OUTPUTS[:0], OUTPUTS[:0]), r"outputs of at least one sample, got \(0, 2\)"),
        ((OUTPUTS, OUTPUTS, np.ones(2)), r"weights \(3,\), got \(2,\)"),
        ((OUTPUTS, OUTPUTS, np.ones((3, 1))), r"weights \(3,\).*, got \(3, 1\)"),
    ):
        with pytest.raises(InputError, match=rf"^{name}: expected {expected}$"):
            metric(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.top_k_accuracy(0), "top_k_accuracy: expected k to be a positive whole number, got 0$"),
        (lambda: metrics.regression_accuracy(0.0), r"regression_accuracy: expected a precision above 0, got 0\.0$"),
        (lambda: metrics.reliability(OUTPUTS, OUTPUTS, bins=0), "reliability: expected bins to be a positive .*got 0$"),
        (lambda: metrics.binary_accuracy(OUTPUTS, np.zeros(3)), r"binary_accuracy: expected targets \(3, 2\), got \(3"),
        (lambda: metrics.confusion_matrix(OUTPUTS, np.zeros(2, int)), r"confusion_matrix: expected targets \(3,\) or"),
        (lambda: accuracy(OUTPUTS, np.array([[1], [1], [0]])), r"accuracy: expected targets .*, got \(3, 1\)$"),
        *(
            (
                lambda outputs=np.ones(shape): accuracy(outputs, outputs),
                r"accuracy: expected outputs \(batch, classes\) of two classes or more, got \(.*, 1\); "
                "for anything else choose other metrics: binary_accuracy, or none$",
            )
            for shape in ((3, 1), (3, 2, 2, 1))
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()


KEY = Key(3)
LOGITS, LABELS = 4 * KEY.normal((40, 5), np.float64), KEY.permutation(40) % 5
PROBABILITIES = fn.predict(fn.softmax(), (), LOGITS)
CHOSEN = PROBABILITIES.argmax(axis=1)
VALUES, TARGETS = KEY.at("a").normal((40, 3), np.float64), KEY.at("b").normal((40, 3), np.float64)
SHARES, HIT = 1 / (1 + np.exp(-VALUES)), (TARGETS > 0).astype(float)
WEIGHTS = KEY.at("weights").uniform((40,), np.float64) * (np.arange(40) % 3)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_scikit_learn_agrees(weights):
    def theirs(name, *arguments, **kwargs):
        return getattr(sklearn_metrics, name)(*arguments, **kwargs, sample_weight=weights)

    of_top = partial(theirs, "top_k_accuracy_score", LABELS, PROBABILITIES)
    rows = [
        (accuracy, PROBABILITIES, LABELS, theirs("accuracy_score", LABELS, CHOSEN)),
        *((metrics.top_k_accuracy(k), PROBABILITIES, LABELS, of_top(k=k)) for k in (1, 2, 3)),
        (metrics.negative_log_likelihood, PROBABILITIES, LABELS, theirs("log_loss", LABELS, PROBABILITIES)),
        (metrics.confusion_matrix, PROBABILITIES, LABELS, theirs("confusion_matrix", LABELS, CHOSEN)),
        (metrics.exact_match, SHARES, HIT, theirs("accuracy_score", HIT, VALUES > 0)),
        (metrics.binary_accuracy, SHARES, HIT, 1 - theirs("hamming_loss", HIT, VALUES > 0)),
        (fn.softmax_cross_entropy(), LOGITS, LABELS, theirs("log_loss", LABELS, PROBABILITIES)),
        (fn.mean_squared_error(), VALUES, TARGETS, theirs("mean_squared_error", TARGETS, VALUES)),
        (fn.mean_absolute_error(), VALUES, TARGETS, theirs("mean_absolute_error", TARGETS, VALUES)),
    ]
    for judge, outputs, targets, expected in rows:
        found = getattr(judge, "forward", judge)(outputs, targets, weights)
        assert (found[0] if isinstance(judge, fn.Loss) else found) == pytest.approx(expected, rel=1e-12), judge
    matrix = metrics.confusion_matrix(PROBABILITIES, LABELS, weights)
    table = theirs("precision_recall_fscore_support", LABELS, CHOSEN, zero_division=0)
    for metric, expected in zip((metrics.precision, metrics.recall, metrics.f1), table, strict=False):
        assert metric(matrix) == pytest.approx(expected, rel=1e-12)


NEAR = metrics.regression_accuracy(0.1)


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "expected"),
    [
        (accuracy, OUTPUTS, np.array([1, 1, 0]), 2 / 3),
        (accuracy, OUTPUTS, np.eye(2)[[1, 1, 0]], 2 / 3),
        (accuracy, OUTPUTS, OUTPUTS, 1.0),
        (lambda *pair: accuracy(*pair, np.array([1, 2, 1])), OUTPUTS, np.array([1, 1, 0]), 0.5),
        (metrics.binary_accuracy, [[0.5, 0.9]], [[0, 1]], 1.0),  # a threshold is not above itself
        (metrics.exact_match, [[0.5, 0.9]], [[0, 1]], 1.0),
        (lambda *pair: metrics.binary_accuracy(*pair, threshold=0.4), [[0.5, 0.9]], [[1, 0]], 0.5),
        (metrics.exact_match, [[[0.9, 0.2], [0.1, 0.1]], [[0.9, 0.9], [0.1, 0.1]]], [[[1, 0], [0, 0]]] * 2, 0.5),
        (metrics.regression_accuracy(0.5), [[0.5, 0.9]], [[0.0, 0.4]], 0.0),
        (NEAR, [[1.0, 2.0], [3.0, 4.0]], [[1.05, 2.2], [2.95, 4.05]], 0.75),
        (lambda *pair: NEAR(*pair, np.array([1, 3])), [[1.0, 2], [3, 4]], [[1.05, 2.2], [2.95, 4.05]], (0.5 + 3) / 4),
    ],
)
def test_known_values(metric, outputs, targets, expected):
    assert metric(np.array(outputs), np.array(targets)) == expected


@pytest.mark.parametrize("table", [metrics.confusion_matrix, metrics.reliability])
def test_tables_count_exactly_whatever_the_outputs(table):
    outputs, weights = np.tile(np.float32([[0.0, 1.0]]), (1000, 1)), np.full(1000, np.float32(0.1))
    assert table(outputs, np.ones(1000, np.int8), weights).max() == pytest.approx(np.sum(weights, dtype=float), 1e-14)


def test_a_class_that_is_missing_scores_zero():
    matrix = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert metrics.precision(matrix).tolist() == [1.0, 0.5, 0.0]
    assert metrics.recall(matrix).tolist() == [0.75, 1.0, 0.0]
    assert metrics.f1(matrix) == pytest.approx([6 / 7, 2 / 3, 0.0])


def test_weighted_mean_is_the_mean_over_all():
    values, counts = KEY.normal((10,), np.float64), 1 + KEY.permutation(10)
    found = weighted_mean((count, {"loss": value}) for count, value in zip(counts, values, strict=True))
    assert found["loss"] == pytest.approx(np.mean(np.repeat(values, counts)))
    with pytest.raises(InputError, match=r"^weighted_mean: expected pairs of weight and metrics, got \[\(1,\)\]$"):
        weighted_mean([(1,)])
    with pytest.raises(InputError, match=r"weighted_mean: expected metrics of the same names, got \(.*\) and \(.*\)$"):
        weighted_mean([(1, {"loss": 1.0}), (1, {"accuracy": 1.0})])
    with pytest.raises(InputError, match="weighted_mean: expected weights with a sum above 0, got 0"):
        weighted_mean([(0, {"loss": 1.0})])


def test_calibration_error_is_the_gap_between_confidence_and_correctness():
    sure, certain = np.tile([0.9, 0.1], (10, 1)), np.tile([1.0, 0.0], (3, 1))
    table = metrics.reliability(sure, np.array([0] * 6 + [1] * 4), bins=5)
    assert table[:4].sum() == 0
    assert table[4] == pytest.approx([10, 9, 6])
    assert metrics.calibration_error(table) == pytest.approx(0.3)
    assert metrics.calibration_error(metrics.reliability(sure, np.array([0] * 9 + [1]))) == pytest.approx(0.0)
    assert metrics.calibration_error(metrics.reliability(certain, np.zeros(3, int))) == 0.0
    assert metrics.reliability(OUTPUTS, OUTPUTS).shape == (10, 3)


@pytest.mark.parametrize("bins", [3, 10])
def test_a_bin_holds_what_is_above_its_start_up_to_its_end(bins):
    confidence = np.array([0.0, 0.05, 1 / 3, 0.5, 0.7, 1.0, 1.0 + 1e-7])
    outputs, targets = np.stack([confidence, -confidence], axis=1), np.array([0, 1, 0, 1, 0, 1, 0])
    weights, expected = np.arange(1.0, 8.0), np.zeros((bins, 3))
    for p, target, weight in zip(confidence, targets, weights, strict=True):
        inside = [i for i in range(bins) if i / bins < p <= (i + 1) / bins]
        expected[inside[0] if inside else (0 if p == 0 else -1)] += weight * np.array([1, p, target == 0])
    assert metrics.reliability(outputs, targets, weights, bins=bins) == pytest.approx(expected)
