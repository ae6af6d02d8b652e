"""ONNX."""

from funcnn.onnx.graph import translates as translates
from funcnn.onnx.reading import load as load
from funcnn.onnx.writing import export as export
