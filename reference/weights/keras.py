"""Weights in the layout of Keras' recurrent layers. Keras itself is not needed.

Keras multiplies from the other side, x @ kernel, so its matrices lie on their side; and it has one bias where PyTorch,
for cuDNN's sake, has two, unless the two act in different places (`Cell.apart`).

Source: the weights of `keras.layers.LSTM` as its cell reads them, in blocks i, f, c, o of the columns, and
`keras.layers.Bidirectional`, whose `get_weights` gives the forward layer's arrays, then the backward layer's
(https://keras.io/api/layers/recurrent_layers/; keras/src/layers/rnn/lstm.py and bidirectional.py, Keras 3).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratch import nn
from scratch.nn.cell import Weights
from scratch.nn.recurrent import Recurrent
from scratch.types import Array

from .layers import Orders, checked, read, write

ORDERS: Orders = {kind.module: kind.keras for kind in nn.RECURRENCES.values()}
"""The order of the gates, by PyTorch's letters. Keras' letter for g is c."""


def to_keras(source: Recurrent[Any]) -> list[list[Array]]:
    """For each layer of a `scratch.nn.LSTM` or the like the list that `set_weights` of the Keras layer takes.

    kernel (I, G·H), recurrent_kernel (H, G·H) and, with bias, bias (G·H), the sum of the two; or (2, G·H), bias_ih
    before bias_hh, where they cannot be added up. If bidirectional, of the forward direction, then of the backward one.
    I of a later layer is D·H. The arrays are copies, of the module's dtype.

    The Keras layer is `LSTM(H, use_bias=bias, return_sequences=True)` or `SimpleRNN(H, activation=nonlinearity, …)`,
    within `Bidirectional` with its default merge_mode if there are two directions; it has to be built before.

    Raises TypeError for another module, ValueError for a projection, which Keras does not have.
    """
    return [list(arrays.values()) for arrays in _arrays(source)]


def from_keras(source: Sequence[Sequence[Array]], target: Recurrent[Any]) -> None:
    """Read what `get_weights` of each Keras layer gives into a `scratch.nn.LSTM` or the like of the same form.

    One bias becomes two: bias_ih is Keras' bias, bias_hh is zero. The module computes the same function, but training
    it takes other steps than Keras would, since both biases learn.

    Raises TypeError for another module and for what is no list of lists of arrays, ValueError for a projection,
    RuntimeError if the number, a shape or the dtype of the arrays differs; nothing is copied then.
    """
    layers = []
    for arrays in checked(source, _arrays(target)):
        each = 3 if target.bias else 2  # arrays of one direction
        layers.append([_weights(*arrays[at : at + each]) for at in range(0, len(arrays), each)])
    write(layers, target, ORDERS)


def _arrays(module: Recurrent[Any]) -> list[dict[str, Array]]:
    """The arrays of each layer by name, in Keras' order."""
    layers = []
    for layer in read(module, ORDERS):
        arrays = {}
        for direction, (W_ih, W_hh, b_ih, b_hh, _) in zip(("forward", "backward"), layer, strict=False):
            arrays[f"{direction} kernel"] = W_ih.T
            arrays[f"{direction} recurrent_kernel"] = W_hh.T
            if b_ih is not None and b_hh is not None:
                arrays[f"{direction} bias"] = np.stack([b_ih, b_hh]) if module.cell.apart else b_ih + b_hh
        layers.append(arrays)
    return layers


def _weights(kernel: Array, recurrent_kernel: Array, bias: Array | None = None) -> Weights:
    if bias is None or bias.ndim == 1:
        return Weights(kernel.T, recurrent_kernel.T, bias, None if bias is None else np.zeros_like(bias))
    return Weights(kernel.T, recurrent_kernel.T, *bias)
