"""Makes the files beside it: models that PyTorch and scikit-learn have trained, and what they give for some inputs.

    pip install torch==2.13.0 onnxscript skl2onnx==1.20.0 'funcnn[test]'
    python -m tests.onnx_files.make

A name is that of the model and, for PyTorch, of the exporter: TorchScript's, or the newer one of torch.export.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn

import funcnn as fn

HERE = Path(__file__).parent


class Doubled(nn.Module):
    """x + layer(x)."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return x + self.layer(x)


def lenet():
    return [
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 16), nn.ReLU(), nn.Linear(16, 10)),
    ]


def perceptron():
    return [nn.Flatten(), nn.Linear(784, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 10)]


def residual():
    """Other layers and orders of them."""
    return [
        *(nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.ConvTranspose2d(4, 6, 4, 2, padding=1)),
        *(Doubled(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.GELU())), nn.SiLU(), nn.Upsample(scale_factor=2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(6), nn.Linear(6, 10), nn.LogSoftmax(-1)),
    ]


def trained(layers, x, labels):
    """The layers after an epoch of Adam, at inference."""
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for batch in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), labels[batch]).backward()
        optimizer.step()
    return model.eval()


def without_places(path):
    """Take out where in the source each operator was called, with the paths of this machine."""
    proto = onnx.load(path)
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")
    onnx.save(proto, path)


def of_torch():
    data = fn.load_dataset("mnist_5k")
    x, labels = torch.tensor(np.array(data.train.inputs)).reshape(-1, 1, 28, 28), torch.tensor(data.train.targets)
    for build in (lenet, perceptron, residual):
        torch.manual_seed(0)
        model, few = trained(build(), x.clone(), labels.long()), x[:5].clone()
        for exporter in ("script", "export"):
            name, new = f"torch_{build.__name__}_{exporter}", exporter == "export"
            free = {"dynamic_shapes": ({0: "batch"},), "external_data": False}
            old = {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
            how = {"input_names": ["x"], "output_names": ["y"], "dynamo": new, **(free if new else old)}
            torch.onnx.export(model, (few,), HERE / f"{name}.onnx", **how)
            without_places(HERE / f"{name}.onnx")
            yield name, few.numpy(), model(few).detach().numpy()


def of_sklearn():
    x, labels = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    few = x[:5]
    classifier = MLPClassifier((16, 8), max_iter=15, random_state=0).fit(x, labels)
    sums = x.sum(axis=1) / 64
    regressor = MLPRegressor(hidden_layer_sizes=(8,), activation="logistic", max_iter=15, random_state=0).fit(x, sums)
    for name, model, options in (
        ("sklearn_classifier", classifier, {"zipmap": False}),
        ("sklearn_regressor", regressor, None),
    ):
        (HERE / f"{name}.onnx").write_bytes(to_onnx(model, few[:1], options=options).SerializeToString())
        yield name, few, model.predict_proba(few) if options else model.predict(few)[:, None]


if __name__ == "__main__":
    pairs = {
        f"{name}.{axis}": array
        for name, *both in (*of_torch(), *of_sklearn())
        for axis, array in zip("xy", both, strict=True)
    }
    np.savez_compressed(HERE / "pairs.npz", **{name: array.astype(np.float32) for name, array in pairs.items()})
