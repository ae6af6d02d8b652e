"""The convolutional network: its sizes, its laws, and a run from a command to a saved model."""

import pytest

import funcnn as fn
from experiments.lenet import Config, experiment
from funcnn.runs import main, read_run
from funcnn.testing import check_experiment


def test_it_has_the_sizes_of_the_paper():
    params, _ = experiment(Config(activation="tanh", pooling="average")).begin()
    convolutions = 6 * (25 + 1), 16 * (6 * 25 + 1)  # the paper's second one leaves some connections out
    dense = 400 * 120 + 120, 120 * 84 + 84, 84 * 10 + 10
    assert fn.tree.size(params) == sum((*convolutions, *dense))


def test_it_is_an_experiment():
    check_experiment(experiment(Config(activation="tanh", pooling="average", batch_size=10)))


def test_it_learns_and_its_model_takes_flat_images(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(experiment, Config, arguments=["--epochs", "2", "--out", str(out)]) == 0
    history = read_run(out).history
    assert history["test/accuracy"][-1] > 0.9
    saved, test = fn.load(out / "model.safetensors"), fn.load_dataset("mnist_5k").test
    assert (saved.in_shape, saved.scaling, len(saved.class_names)) == ((784,), "unit", 10)
    accuracy = fn.accuracy(fn.predict(saved.model, saved.params, test.inputs), test.targets)
    assert accuracy == pytest.approx(history["test/accuracy"][-1], abs=0.002)
    assert "Confusion matrix" in (out / "report.html").read_text()
    assert main(experiment, Config, arguments=["reproduce", str(out)]) == 0
    assert "identical, bit for bit: 80 steps, 2 epochs, and the params" in capsys.readouterr().out


def test_bad_arguments_end_with_2(capsys):
    with pytest.raises(SystemExit) as end:
        main(experiment, Config, arguments=["--batch-size", "0"])
    assert end.value.code == 2
    assert "--batch-size: expected a positive whole number, got 0" in capsys.readouterr().err
