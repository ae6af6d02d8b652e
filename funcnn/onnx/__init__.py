"""ONNX: a trained model for other programs, and models of PyTorch and scikit-learn to train further.

    export(path, model, params, in_shape)    write the model at inference to an ONNX file
    saved = load(path)                       read a model and its params from an ONNX file, to train further
    @translates(scaled_tanh)                 register the translation of your own layer

``export`` and ``load`` take the extra ``onnx``; ``translates`` does not.
"""

from funcnn.onnx.graph import translates as translates
from funcnn.onnx.reading import load as load
from funcnn.onnx.writing import export as export
