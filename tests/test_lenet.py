"""The convolutional network: its sizes, and a run from a command to a saved model."""

import pytest

import funcnn as fn
from experiments.lenet import Config, experiment
from funcnn.runs import main, read_run


def test_it_has_the_sizes_of_the_paper():
    params, _ = experiment(Config(activation="tanh", pooling="average")).begin()
    convolutions = 6 * (25 + 1), 16 * (6 * 25 + 1)  # the paper's second one leaves some connections out
    dense = 400 * 120 + 120, 120 * 84 + 84, 84 * 10 + 10
    assert fn.tree.size(params) == sum((*convolutions, *dense))


@pytest.mark.parametrize("words", [[], ["--batch-norm"]])
def test_it_learns_and_its_model_takes_flat_images(words, tmp_path, without_pictures):
    assert main(experiment, Config, arguments=[*words, "--epochs", "2", "--out", str(tmp_path)]) == 0
    accuracies = read_run(tmp_path).history["test/accuracy"]
    assert accuracies[-1] > 0.9
    saved, test = fn.load(tmp_path / "model.safetensors"), fn.load_dataset("mnist_5k").test
    assert (saved.in_shape, saved.scaling, len(saved.class_names)) == ((784,), "unit", 10)
    accuracy = fn.accuracy(fn.predict(saved.model, saved.params, test.inputs), test.targets)
    assert accuracy == pytest.approx(accuracies[-1], abs=0.002)
