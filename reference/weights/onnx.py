"""Weights in the layout of ONNX' recurrent operators. The package onnx is not needed.

Source: the operators' specification, inputs W, R and B (https://onnx.ai/onnx/operators/onnx__LSTM.html and
onnx__RNN.html, the same since version 7).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratch import nn
from scratch.nn.cell import Weights
from scratch.nn.recurrent import Recurrent
from scratch.types import Array

from .layers import Orders, checked, read, write

ORDERS: Orders = {kind.module: kind.onnx for kind in nn.RECURRENCES.values()}
"""The order of the gates, by PyTorch's letters. ONNX' letters are i, o, f, c, and i for the only one of an RNN."""


def to_onnx(source: Recurrent[Any]) -> list[list[Array]]:
    """For each layer of a `scratch.nn.LSTM` or the like the inputs W, R and, with bias, B of the ONNX node.

    W: (D, G·H, I), R: (D, G·H, H), B: (D, 2·G·H), bias_ih before bias_hh. I of a later layer is D·H. The arrays are
    copies, of the module's dtype.

    A node is one layer, with hidden_size=H and, if D = 2, direction='bidirectional'; an RNN with relu needs
    activations=['Relu'] * D, a GRU linear_before_reset=1. Its Y is (T, D, B, H), which the next node wants as
    (T, B, D·H).

    Raises TypeError for another module, ValueError for a projection, which ONNX does not have.
    """
    return [list(arrays.values()) for arrays in _arrays(source)]


def from_onnx(source: Sequence[Sequence[Array]], target: Recurrent[Any]) -> None:
    """Read the inputs [W, R, B] of each layer's ONNX node, [W, R] without bias, into a module of the same form.

    Raises TypeError for another module and for what is no list of lists of arrays, ValueError for a projection,
    RuntimeError if the number, a shape or the dtype of the arrays differs; nothing is copied then.
    """
    layers = []
    for W, R, *B in checked(source, _arrays(target)):
        biases = [np.split(b, 2, axis=1) for b in B]
        layers.append([Weights(W[d], R[d], *(half[d] for b in biases for half in b)) for d in range(len(W))])
    write(layers, target, ORDERS)


def _arrays(module: Recurrent[Any]) -> list[dict[str, Array]]:
    """The arrays of each layer by name, in ONNX' order."""
    layers = []
    for layer in read(module, ORDERS):
        arrays = {
            "W": np.stack([weights.W_ih for weights in layer]),
            "R": np.stack([weights.W_hh for weights in layer]),
        }
        if module.bias:
            arrays["B"] = np.stack([np.concatenate([weights.b_ih, weights.b_hh]) for weights in layer])
        layers.append(arrays)
    return layers
