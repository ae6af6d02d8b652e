"""Models of other libraries as ONNX files, and what they give; see make.py."""
