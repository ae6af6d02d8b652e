"""ONNX: a trained model for other programs, and models of PyTorch and scikit-learn to train further.

    export(path, model, params, in_shape)    the model at inference, as an ONNX file
    saved = load(path)                       a model of an ONNX file, with params that a step takes
    @translates(scaled_tanh)                 how a layer of one's own is written, beside its constructor

Export and load take the extra ``onnx``; a module that registers translations does not need it.
"""

from funcnn.onnx.graph import translates as translates
from funcnn.onnx.reading import load as load
from funcnn.onnx.writing import export as export
