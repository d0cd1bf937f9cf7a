"""Weights in the layouts of Keras' layers and ONNX' operators. Neither package is needed.

Keras multiplies from the other side, x @ kernel, so its matrices lie on their side; and it has one bias where PyTorch,
for cuDNN's sake, has two, unless the two act in different places (`Cell.apart`).

Sources: the weights of `keras.layers.LSTM` as its cell reads them, in blocks i, f, c, o of the columns, and
`keras.layers.Bidirectional`, whose `get_weights` gives the forward layer's arrays, then the backward layer's
(https://keras.io/api/layers/recurrent_layers/; keras/src/layers/rnn/lstm.py and bidirectional.py, Keras 3). The
inputs W, R and B of ONNX' operators (https://onnx.ai/onnx/operators/onnx__LSTM.html and onnx__RNN.html, the same since
version 7).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scratch.nn import checks
from scratch.nn.recurrent import Recurrent
from scratch.types import Array

from .forms import KERAS, NAMES, ONNX, Form


def to_keras(source: Recurrent[Any]) -> list[list[Array]]:
    """For each layer of a `scratch.nn.LSTM` or the like the list that `set_weights` of the Keras layer takes.

    kernel (I, G·H), recurrent_kernel (H, G·H) and, with bias, bias (G·H), the sum of the two; or (2, G·H), bias_ih
    before bias_hh, where they cannot be added up. If bidirectional, of the forward direction, then of the backward one.
    I of a later layer is D·H. The arrays are copies, of the module's dtype.

    The Keras layer is `LSTM(H, use_bias=bias, return_sequences=True)` or `SimpleRNN(H, activation=nonlinearity, …)`,
    within `Bidirectional` with its default merge_mode if there are two directions; it has to be built before.

    Raises TypeError for another module, ValueError for a projection, which Keras does not have.
    """
    return [list(arrays.values()) for arrays in _keras(source)]


def from_keras(source: Sequence[Sequence[Array]], target: Recurrent[Any]) -> None:
    """Read what `get_weights` of each Keras layer gives into a `scratch.nn.LSTM` or the like of the same form.

    One bias becomes two: bias_ih is Keras' bias, bias_hh is zero. The module computes the same function, but training
    it takes other steps than Keras would, since both biases learn.

    Raises TypeError for another module and for what is no list of lists of arrays, ValueError for a projection,
    RuntimeError if the number, a shape or the dtype of the arrays differs; nothing is copied then.
    """
    each = 3 if getattr(target, "bias", True) else 2  # arrays of one direction
    layers = _checked(source, _keras(target))
    _write([layer[at : at + each] for layer in layers for at in range(0, len(layer), each)], target, KERAS)


def to_onnx(source: Recurrent[Any]) -> list[list[Array]]:
    """For each layer of a `scratch.nn.LSTM` or the like the inputs W, R and, with bias, B of the ONNX node.

    W: (D, G·H, I), R: (D, G·H, H), B: (D, 2·G·H), bias_ih before bias_hh. I of a later layer is D·H. The arrays are
    copies, of the module's dtype.

    A node is one layer, with hidden_size=H and, if D = 2, direction='bidirectional'; an RNN with relu needs
    activations=['Relu'] * D, a GRU linear_before_reset=1. Its Y is (T, D, B, H), which the next node wants as
    (T, B, D·H).

    Raises TypeError for another module, ValueError for a projection, which ONNX does not have.
    """
    return [list(arrays.values()) for arrays in _onnx(source)]


def from_onnx(source: Sequence[Sequence[Array]], target: Recurrent[Any]) -> None:
    """Read the inputs [W, R, B] of each layer's ONNX node, [W, R] without bias, into a module of the same form.

    Raises TypeError for another module and for what is no list of lists of arrays, ValueError for a projection,
    RuntimeError if the number, a shape or the dtype of the arrays differs; nothing is copied then.
    """
    layers = _checked(source, _onnx(target))
    _write([list(arrays) for layer in layers for arrays in zip(*layer, strict=True)], target, ONNX)


def _keras(module: Recurrent[Any]) -> list[dict[str, Array]]:
    """The arrays of each layer by name, in Keras' order."""
    directions = ("forward", "backward")
    return [
        {f"{way} {name}": array for way, given in zip(directions, layer, strict=False) for name, array in given.items()}
        for layer in _given(module, KERAS)
    ]


def _onnx(module: Recurrent[Any]) -> list[dict[str, Array]]:
    """The arrays of each layer by name, in ONNX' order."""
    return [{name: np.stack([given[name] for given in layer]) for name in layer[0]} for layer in _given(module, ONNX)]


def _given(module: Any, form: Form) -> list[list[dict[str, Array]]]:
    """For each layer, for each direction, copies of the parameters in the form. Raises TypeError or ValueError."""
    name = _class(module, form)
    if module.proj_size > 0:
        raise ValueError(f"expected proj_size 0 (the format has no projection), got {module.proj_size}")
    values, each, D = list(module.state_dict().values()), 4 if module.bias else 2, 1 + module.bidirectional
    given = [
        form.give(dict(zip(NAMES, values[at : at + each], strict=False)), name) for at in range(0, len(values), each)
    ]
    return [given[at : at + D] for at in range(0, len(given), D)]


def _class(module: Any, form: Form) -> str:
    """The recurrence that a module is, by name. Raises TypeError for one that the format does not have."""
    for kind in type(module).__mro__:
        if kind.__name__ in form.orders and isinstance(module, Recurrent):
            return kind.__name__
    raise TypeError(f"expected a scratch.nn.{' or '.join(form.orders)}, got {type(module).__name__}")


def _write(given: Sequence[Sequence[Array]], target: Recurrent[Any], form: Form) -> None:
    """Copy the arrays of each layer and direction, which fit, into the module."""
    names = [form.names.get(name, name) for name in ("weight_ih", "weight_hh", "bias")]
    taken = [
        form.take(dict(zip(names, arrays, strict=False)), _class(target, form), gradients=False) for arrays in given
    ]
    values = (value for parameters in taken for value in parameters.values())
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))


def _checked(source: Any, fitting: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    """The arrays of each layer, if their number, shapes and dtypes are those of `fitting`. Raises as `from_keras`."""
    layers = [checks.members(f"layer {k}", layer) for k, layer in enumerate(checks.members("source", source))]
    if len(layers) != len(fitting):
        raise RuntimeError(f"expected a list of arrays for each layer ({len(fitting)}), got {len(layers)}")
    for k, (layer, like) in enumerate(zip(layers, fitting, strict=True)):
        if len(layer) != len(like):
            raise RuntimeError(f"expected layer {k} to be {len(like)} arrays ({', '.join(like)}), got {len(layer)}")
        for value, (name, array) in zip(layer, like.items(), strict=True):
            checks.floats(f"layer {k}'s {name}", value, array.dtype, array.shape)
    return layers
