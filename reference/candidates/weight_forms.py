"""The form in which a pair of functions has its parameters, declared in a few words instead of by an adapter.

    keras       kernel (I, G·H), recurrent_kernel (H, G·H) and bias (G·H), the gates in Keras' order; a GRU's bias
                (2, G·H), as with reset_after=True
    onnx        W (G·H, I), R (G·H, H) and B (2·G·H), the gates in ONNX' order; a GRU with linear_before_reset=1
    columns     weight_ih (I, G·H) and weight_hh (H, G·H), for x @ weight_ih
    one-bias    a single bias, bias_ih + bias_hh. (A GRU's n has two places for one: it is the input's, the other's 0.)
    order=ifog  the gates in another order, by PyTorch's letters: i, f, g, o of an LSTM, r, z, n of a GRU

The last three can be joined by commas: columns,one-bias. `d_parameters` has the same form.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scratch import nn
from scratch.types import Array

from ..problems import Problem
from ..weights.keras import ORDERS as KERAS
from ..weights.onnx import ORDERS as ONNX


@dataclass(frozen=True)
class Form:
    """Names, the side that the matrices lie on, how many biases, and the order of the gates."""

    names: dict[str, str] = field(default_factory=dict)
    """Where they differ from PyTorch's."""
    columns: bool = False
    bias: str = "two"
    """'two'; 'one', their sum; 'stacked', (2, G·H), where they cannot be added, else their sum; 'joined', (2·G·H)."""
    orders: dict[str, str] = field(default_factory=dict)
    """The order of the gates for each class, where it differs from PyTorch's."""

    def adapted(self, problem: Problem) -> Problem:
        """The problem without a bias that one bias has no place for."""
        if self.bias != "one" or not apart(problem.configuration.module) or not problem.configuration.bias:
            return problem
        zeros = {name: 0 * value for name, value in problem.parameters.items() if name.startswith("bias_hh")}
        return replace(problem, parameters=problem.parameters | zeros)

    def turned(self, name: str, value: Array, module: str, back: bool) -> Array:
        """A parameter with its gates in the other order, and on the other side."""
        matrix = name.startswith("weight")
        value = value.T if back and self.columns and matrix else value
        ours = gates(module)
        theirs = self.orders.get(module, ours)
        if name != "weight_hr" and theirs != ours and value.shape[0] % len(ours) == 0:
            here, there = (theirs, ours) if back else (ours, theirs)
            blocks = np.split(value, len(ours))
            value = np.concatenate([blocks[here.index(letter)] for letter in there])
        return np.ascontiguousarray(value.T if not back and self.columns and matrix else value)

    def give(self, parameters: dict[str, Array], module: str) -> dict[str, Array]:
        """The parameters by PyTorch's names in this form."""
        given = {name: self.turned(name, value, module, back=False) for name, value in parameters.items()}
        if self.bias != "two" and "bias_ih" in given:
            b_ih, b_hh = given.pop("bias_ih"), given.pop("bias_hh")
            given["bias"] = np.concatenate([b_ih, b_hh]) if self.bias == "joined" else b_ih + b_hh
            if self.bias == "stacked" and apart(module):
                given["bias"] = np.stack([b_ih, b_hh])
        return {self.names.get(name, name): value for name, value in given.items()}

    def take(self, gradients: dict[str, Any], module: str) -> dict[str, Any]:
        """The gradients in this form by PyTorch's names. Each of two biases has the gradient of their sum."""
        own = {theirs: name for name, theirs in self.names.items()}
        found = {own.get(name, name): value for name, value in gradients.items()}
        bias = found.pop("bias", None) if self.bias != "two" else None
        if bias is not None:
            both: Any = (bias, None if apart(module) else bias)
            if self.bias == "joined":
                both = np.split(bias, 2)
            elif self.bias == "stacked" and apart(module):
                both = bias
            found |= dict(zip(("bias_ih", "bias_hh"), both, strict=True))
        return {
            name: value if value is None or not value.ndim else self.turned(name, value, module, back=True)
            for name, value in found.items()
        }


PYTORCH = Form()


def form_of(words: str) -> Form:
    """The form that some words declare. Raises ValueError for others."""
    form = PYTORCH
    for word in words.split(","):
        if word == "keras":
            names = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel"}
            form = Form(names, True, "stacked", {kind.__name__: str(order) for kind, order in KERAS.items() if order})
        elif word == "onnx":
            names = {"weight_ih": "W", "weight_hh": "R", "bias": "B"}
            form = Form(names, False, "joined", {kind.__name__: str(order) for kind, order in ONNX.items() if order})
        elif word == "columns":
            form = replace(form, columns=True)
        elif word == "one-bias":
            form = replace(form, bias="one")
        elif word.startswith("order="):
            order = word.removeprefix("order=")
            fitting = {kind.module.__name__ for kind in nn.RECURRENCES.values()}
            fitting = {module for module in fitting if sorted(gates(module)) == sorted(order)}
            if not fitting:
                raise ValueError(f"expected order= with each gate once, as ifgo or rzn, got {word!r}")
            form = replace(form, orders=dict.fromkeys(fitting, order))
        else:
            raise ValueError(f"expected weights as keras, onnx, columns, one-bias or order=…, got {word!r}")
    return form


def gates(module: str) -> str:
    """The letters of a recurrence's gates in PyTorch's order."""
    return "".join(getattr(nn, module)(1, 1).cell.gates)


def apart(module: str) -> bool:
    """Whether the two biases of some gate act in different places."""
    return bool(getattr(nn, module)(1, 1).cell.apart)
