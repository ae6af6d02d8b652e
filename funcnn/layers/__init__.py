"""The catalogue of layers, one topic a file. Each is a constructor beside its pure forward and VJP functions."""

from funcnn.layers.activations import relu, relu_forward, relu_vjp, softmax, softmax_forward, softmax_vjp
from funcnn.layers.combinators import identity, identity_forward, identity_vjp, serial, serial_forward, serial_vjp
from funcnn.layers.dense import DenseParams, dense, dense_forward, dense_init, dense_vjp
from funcnn.layers.shapes import flatten, flatten_forward, flatten_vjp

__all__ = [
    "DenseParams",
    "dense",
    "dense_forward",
    "dense_init",
    "dense_vjp",
    "flatten",
    "flatten_forward",
    "flatten_vjp",
    "identity",
    "identity_forward",
    "identity_vjp",
    "relu",
    "relu_forward",
    "relu_vjp",
    "serial",
    "serial_forward",
    "serial_vjp",
    "softmax",
    "softmax_forward",
    "softmax_vjp",
]
