"""Metrics."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sklearn_metrics

from funcnn import InputError, Key, accuracy, metrics
from funcnn.metrics import weighted_mean
from funcnn.testing import check_metric
from tests.catalogue import METRICS, METRICS_OF_TABLES

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


@pytest.mark.parametrize(("metric", "draw"), METRICS)
def test_laws(metric, draw):
    check_metric(metric, draw, jax=True)


@pytest.mark.parametrize(("metric", "draw", "unless"), METRICS_OF_TABLES)
def test_laws_of_what_is_no_mean(metric, draw, unless):
    check_metric(metric, draw, jax=True, unless=unless)


def test_accuracy():
    assert accuracy(OUTPUTS, np.array([1, 1, 0])) == 2 / 3
    assert accuracy(OUTPUTS, np.eye(2)[[1, 1, 0]]) == 2 / 3
    assert accuracy(OUTPUTS, OUTPUTS) == 1.0
    assert accuracy(OUTPUTS, np.array([1, 1, 0]), np.array([1, 2, 1])) == 0.5


def test_targets_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"accuracy: expected targets \(3,\) or \(3, 2\), got \(3, 1\)"):
        accuracy(OUTPUTS, np.array([[1], [1], [0]]))


@pytest.mark.parametrize("outputs", [np.ones((3, 1)), np.ones((3, 2, 2, 1))])
def test_one_output_is_no_choice_among_classes(outputs):
    with pytest.raises(InputError) as refusal:
        accuracy(outputs, outputs)
    expected = f"accuracy: expected outputs (batch, classes) of two classes or more, got {outputs.shape}; "
    assert str(refusal.value) == f"{expected}for anything else choose other metrics: binary_accuracy, or none"


def test_a_network_that_diverged_is_never_right():
    assert metrics.top_k_accuracy(1)(np.full((2, 3), np.nan), np.array([0, 2])) == 0.0


def test_weights_do_not_broadcast():
    with pytest.raises(InputError, match=r"accuracy: expected weights \(3,\), got \(3, 1\)"):
        accuracy(OUTPUTS, np.array([1, 1, 0]), np.ones((3, 1)))


@pytest.mark.parametrize(("name", "metric"), NAMED.items(), ids=NAMED)
def test_every_metric_refuses_shapes_that_do_not_fit(name, metric):
    metric(OUTPUTS[:1], OUTPUTS[:1])
    with pytest.raises(InputError, match=rf"^{name}: expected targets .*\(3, 2\), got \(2, 2\)$"):
        metric(OUTPUTS, OUTPUTS[:2])
    with pytest.raises(InputError, match=rf"^{name}: expected outputs of at least one sample, got \(0, 2\)$"):
        metric(OUTPUTS[:0], OUTPUTS[:0])
    with pytest.raises(InputError, match=rf"^{name}: expected weights \(3,\), got \(2,\)$"):
        metric(OUTPUTS, OUTPUTS, np.ones(2))


@pytest.mark.parametrize("metric", NAMED.values(), ids=NAMED)
def test_jax_gives_the_same(metric):
    outputs = np.float32(OUTPUTS)
    for weights in (None, np.float32([1, 2, 3])):
        found = metric(*(None if array is None else jnp.asarray(array) for array in (outputs, outputs, weights)))
        assert np.asarray(found) == pytest.approx(np.asarray(metric(outputs, outputs, weights)), rel=1e-6)


@pytest.mark.parametrize("table", [metrics.confusion_matrix, metrics.reliability])
def test_tables_count_exactly_whatever_the_outputs(table):
    outputs, weights = np.tile(np.float32([[0.0, 1.0]]), (1000, 1)), np.full(1000, np.float32(0.1))
    assert table(outputs, np.ones(1000, np.int8), weights).max() == pytest.approx(np.sum(weights, dtype=float), 1e-14)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(-10, 10)), min_size=1, max_size=10))
def test_weighted_mean_is_the_mean_over_all(parts):
    found = weighted_mean((weight, {"loss": value}) for weight, value in parts)
    expected = np.mean(np.repeat([value for _, value in parts], [weight for weight, _ in parts]))
    assert found["loss"] == pytest.approx(expected, abs=1e-9)


@pytest.fixture(params=[None, 1], ids=["unweighted", "weighted"])
def case(request):
    """Probabilities of four classes, labels, and sample weights or none."""
    key = Key(0)
    outputs = np.exp(2 * key.at("logits").normal((200, 4), np.float64))
    targets = key.at("targets").permutation(200) % 4
    weights = None if request.param is None else key.at("weights").uniform((200,), np.float64, low=0.1)
    return outputs / outputs.sum(axis=1, keepdims=True), targets, weights


def test_classification_is_that_of_scikit_learn(case):
    outputs, targets, weights = case
    predicted = outputs.argmax(axis=1)
    assert accuracy(*case) == pytest.approx(sklearn_metrics.accuracy_score(targets, predicted, sample_weight=weights))
    for k in (1, 2, 3):
        expected = sklearn_metrics.top_k_accuracy_score(targets, outputs, k=k, sample_weight=weights)
        assert metrics.top_k_accuracy(k)(*case) == pytest.approx(expected)
    expected = sklearn_metrics.log_loss(targets, outputs, sample_weight=weights)
    assert metrics.negative_log_likelihood(*case) == pytest.approx(expected)
    matrix = metrics.confusion_matrix(*case)
    assert matrix == pytest.approx(sklearn_metrics.confusion_matrix(targets, predicted, sample_weight=weights))
    expected = sklearn_metrics.precision_recall_fscore_support(targets, predicted, sample_weight=weights)
    for found, right in zip((metrics.precision, metrics.recall, metrics.f1), expected[:3], strict=True):
        assert found(matrix) == pytest.approx(right)


def test_several_labels_are_those_of_scikit_learn(case):
    outputs, _, weights = case
    targets = (Key(1).uniform((200, 4), np.float64) > 0.5).astype(int)
    predicted = (outputs > 0.5).astype(int)
    expected = sklearn_metrics.accuracy_score(targets, predicted, sample_weight=weights)
    assert metrics.exact_match(outputs, targets, weights) == pytest.approx(expected)
    expected = 1 - sklearn_metrics.hamming_loss(targets, predicted, sample_weight=weights)
    assert metrics.binary_accuracy(outputs, targets, weights) == pytest.approx(expected)
    assert metrics.binary_accuracy(outputs, targets) <= 1.0  # the book's is a sum, and reports 3.0


def test_calibration_error_is_the_gap_between_confidence_and_correctness():
    sure = np.tile([0.9, 0.1], (10, 1))
    targets = np.array([0] * 6 + [1] * 4)
    table = metrics.reliability(sure, targets, bins=5)
    assert table[:4].sum() == 0
    assert table[4] == pytest.approx([10, 9, 6])
    assert metrics.calibration_error(table) == pytest.approx(0.3)
    calibrated = metrics.reliability(sure, np.array([0] * 9 + [1]))
    assert metrics.calibration_error(calibrated) == pytest.approx(0.0)
    certain = np.tile([1.0, 0.0], (3, 1))
    assert metrics.calibration_error(metrics.reliability(certain, np.zeros(3, int))) == 0.0


@pytest.mark.parametrize("bins", [3, 10])
def test_a_bin_holds_what_is_above_its_start_up_to_its_end(bins):
    confidence = np.array([0.0, 0.05, 1 / 3, 0.5, 0.7, 1.0, 1.0 + 1e-7])
    outputs, targets = np.stack([confidence, -confidence], axis=1), np.array([0, 1, 0, 1, 0, 1, 0])
    weights, expected = np.arange(1.0, 8.0), np.zeros((bins, 3))
    for p, target, weight in zip(confidence, targets, weights, strict=True):
        inside = [i for i in range(bins) if i / bins < p <= (i + 1) / bins]
        expected[inside[0] if inside else (0 if p == 0 else -1)] += weight * np.array([1, p, target == 0])
    assert metrics.reliability(outputs, targets, weights, bins=bins) == pytest.approx(expected)


def test_there_are_ten_bins():
    assert metrics.reliability(OUTPUTS, OUTPUTS).shape == (10, 3)


def test_a_class_that_is_missing_scores_zero():
    matrix = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert metrics.precision(matrix).tolist() == [1.0, 0.5, 0.0]
    assert metrics.recall(matrix).tolist() == [0.75, 1.0, 0.0]
    assert metrics.f1(matrix) == pytest.approx([6 / 7, 2 / 3, 0.0])


def test_a_threshold_is_not_above_itself():
    half = np.array([[0.5, 0.9]])
    assert metrics.binary_accuracy(half, np.array([[0, 1]])) == 1.0
    assert metrics.exact_match(half, np.array([[0, 1]])) == 1.0
    assert metrics.binary_accuracy(half, np.array([[1, 0]]), threshold=0.4) == 0.5
    assert metrics.regression_accuracy(0.5)(half, half - 0.5) == 0.0


def test_an_exact_match_is_one_of_the_whole_sample():
    outputs = np.array([[[0.9, 0.2], [0.1, 0.1]], [[0.9, 0.9], [0.1, 0.1]]])
    assert metrics.exact_match(outputs, np.array([[[1, 0], [0, 0]], [[1, 0], [0, 0]]])) == 0.5


def test_metrics_of_different_names_have_no_mean():
    with pytest.raises(ValueError, match="shorter"):
        weighted_mean([(1, {"loss": 1.0}), (1, {"accuracy": 1.0})])


def test_regression_accuracy_counts_close_outputs():
    outputs = np.array([[1.0, 2.0], [3.0, 4.0]])
    targets = outputs + np.array([[0.05, 0.2], [-0.05, 0.05]])
    assert metrics.regression_accuracy(0.1)(outputs, targets) == 0.75
    assert metrics.regression_accuracy(0.1)(outputs, targets, np.array([1.0, 3.0])) == (0.5 + 3) / 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.top_k_accuracy(0), "top_k_accuracy: expected k to be a positive whole number, got 0"),
        (lambda: metrics.regression_accuracy(0.0), r"regression_accuracy: expected a precision above 0, got 0\.0$"),
        (
            lambda: metrics.reliability(OUTPUTS, np.zeros(3, int), bins=0),
            "reliability: expected bins to be a positive whole number, got 0$",
        ),
        (lambda: metrics.binary_accuracy(OUTPUTS, np.zeros(3)), r"binary_accuracy: expected targets \(3, 2\)"),
        (lambda: metrics.confusion_matrix(OUTPUTS, np.zeros(2, int)), r"confusion_matrix: expected targets \(3,\)"),
        (
            lambda: metrics.exact_match(OUTPUTS, OUTPUTS, np.ones(2)),
            r"exact_match: expected weights \(3,\), got \(2,\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
