"""The form in which somebody else has the parameters of one layer, declared in a few words instead of by an adapter.

    keras       kernel (I, G·H), recurrent_kernel (H, G·H) and bias (G·H), the gates in Keras' order; a GRU's bias
                (2, G·H), as with reset_after=True
    onnx        W (G·H, I), R (G·H, H) and B (2·G·H), the gates in ONNX' order; a GRU with linear_before_reset=1
    columns     weight_ih (I, G·H) and weight_hh (H, G·H), for x @ weight_ih
    one-bias    a single bias, bias_ih + bias_hh. (A GRU's n has two places for one: it is the input's, the other's 0.)
    order=ifog  the gates in another order, by PyTorch's letters: i, f, g, o of an LSTM, r, z, n of a GRU

The last three can be joined by commas: columns,one-bias. `d_parameters` has the same form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from scratch import nn
from scratch.nn.cell import Cell
from scratch.types import Array

from ..problems import Problem

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The parameters of one layer in one direction; no format has the projection."""


@dataclass(frozen=True)
class Form:
    """Names, the side that the matrices lie on, how many biases, and the order of the gates."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Where they differ from PyTorch's."""
    columns: bool = False
    bias: str = "two"
    """'two'; 'one', their sum; 'stacked', (2, G·H), where they cannot be added, else their sum; 'joined', (2·G·H)."""
    orders: Mapping[str, str] = field(default_factory=dict)
    """The order of the gates for each class, where it is known; else it is PyTorch's."""

    def adapted(self, problem: Problem) -> Problem:
        """The problem without a bias that one bias has no place for."""
        if self.bias != "one" or not cell_of(problem.configuration.module).apart or not problem.configuration.bias:
            return problem
        zeros = {name: 0 * value for name, value in problem.parameters.items() if name.startswith("bias_hh")}
        return replace(problem, parameters=problem.parameters | zeros)

    def turned(self, name: str, value: Array, module: str, back: bool) -> Array:
        """A parameter with its gates in the other order, and on the other side."""
        ours = "".join(cell_of(module).gates)
        theirs = self.orders.get(module, ours)
        here, there = (theirs, ours) if back else (ours, theirs)
        aside = self.columns and name.startswith("weight")
        value = value.T if back and aside else value
        if name != "weight_hr" and value.shape[0] % len(ours) == 0:
            value = np.concatenate([np.split(value, len(ours))[here.index(gate)] for gate in there])
        return np.ascontiguousarray(value.T if aside and not back else value)

    def give(self, parameters: Mapping[str, Array], module: str) -> dict[str, Array]:
        """The parameters by PyTorch's names in this form."""
        given = {name: self.turned(name, value, module, back=False) for name, value in parameters.items()}
        if self.bias != "two" and "bias_ih" in given:
            b_ih, b_hh = given.pop("bias_ih"), given.pop("bias_hh")
            given["bias"] = np.concatenate([b_ih, b_hh]) if self.bias == "joined" else b_ih + b_hh
            if self.bias == "stacked" and cell_of(module).apart:
                given["bias"] = np.stack([b_ih, b_hh])
        return {self.names.get(name, name): value for name, value in given.items()}

    def take(self, values: Mapping[str, Any], module: str, gradients: bool = True) -> dict[str, Any]:
        """The inverse. Where there is one bias, bias_hh has the same gradient; as a parameter it is zero."""
        own = {theirs: name for name, theirs in self.names.items()}
        found = {own.get(name, name): value for name, value in values.items()}
        bias, apart = found.pop("bias", None) if self.bias != "two" else None, cell_of(module).apart
        if bias is not None:
            both: Any = (bias, (None if apart else bias) if gradients else np.zeros_like(bias))
            if self.bias == "joined":
                both = np.split(bias, 2)
            elif self.bias == "stacked" and apart:
                both = bias
            found |= dict(zip(("bias_ih", "bias_hh"), both, strict=True))
        return {
            name: value if value is None or not value.ndim else self.turned(name, value, module, back=True)
            for name, value in found.items()
        }


PYTORCH = Form()
KERAS = Form(
    {"weight_ih": "kernel", "weight_hh": "recurrent_kernel"},
    columns=True,
    bias="stacked",
    orders={kind.module.__name__: kind.keras for kind in nn.RECURRENCES.values() if kind.keras},
)
ONNX = Form(
    {"weight_ih": "W", "weight_hh": "R", "bias": "B"},
    bias="joined",
    orders={kind.module.__name__: kind.onnx for kind in nn.RECURRENCES.values() if kind.onnx},
)


def form_of(words: str) -> Form:
    """The form that some words declare. Raises ValueError for others."""
    form = PYTORCH
    for word in words.split(","):
        order = word.removeprefix("order=")
        if word in ("keras", "onnx"):
            form = KERAS if word == "keras" else ONNX
        elif word == "columns":
            form = replace(form, columns=True)
        elif word == "one-bias":
            form = replace(form, bias="one")
        elif order != word:
            modules = {kind.module.__name__ for kind in nn.RECURRENCES.values()}
            fitting = [module for module in modules if sorted(cell_of(module).gates) == sorted(order)]
            if not fitting:
                raise ValueError(f"expected order= with each gate once, as ifgo or rzn, got {word!r}")
            form = replace(form, orders=dict.fromkeys(fitting, order))
        else:
            raise ValueError(f"expected weights as keras, onnx, columns, one-bias or order=…, got {word!r}")
    return form


def cell_of(module: str) -> Cell:
    """The equations of a recurrence, by the name of its class."""
    return cell_of_class(getattr(nn, module))


@cache
def cell_of_class(kind: type[Any]) -> Cell:
    """The equations of a recurrence, from a module of the least size."""
    cell: Cell = kind(1, 1).cell
    return cell
