"""Implementations that can be held against the truth: `scratch` itself, and whatever somebody else wrote.

Three forms are understood.

**A class with `scratch.nn`'s interface**: constructed with `input_size`, `hidden_size` and the options it has (by
PyTorch's names); `named_parameters()` with PyTorch's names and shapes, each with `.data` and `.grad`;
`output, state = module(input, state)`; `d_input, d_state = module.backward(d_output, d_state)`, which leaves each
parameter's gradient in `.grad`. States are h, or the tuple (h, c). A state that is not given is not passed, nor is its
gradient; one that is not returned is not offered.

**A pair of functions** for one layer and one direction,

    forward(x, state, parameters) → output, state, tape
    backward(d_output, d_state, tape) → d_x, d_state, d_parameters

with x (T, B, I), the state h or (h, c) of (B, H), output (T, B, H), and `parameters` a dict of arrays by the names
weight_ih, weight_hh, bias_ih, bias_hh (and weight_hr, if it projects), as `d_parameters` is; in the form of Keras or
ONNX, or with one bias, if that is declared (weights/forms.py). An RNN's `forward` that takes the keyword `nonlinearity`
is checked with "tanh" and with "relu"; one that does not take it has to compute tanh, unless the cell is given.

**A `torch.nn.Module`** with `torch.nn.LSTM`'s interface: same constructor, parameters' names, call.

What they give may be arrays of any library that NumPy can read. A model that is many to one gives None in place of the
output, and takes None in place of its gradient. Where there is no backward, or it raises NotImplementedError or gives
None, forward alone is checked, and backward is to do.

What a candidate does not have is not an error: `NotOffered` says so. It does not have an option that its constructor
does not name, or a kind of input or of upstream gradient that it refuses (refusals.py) where the simplest case works.
An option that it accepts has to work.

Each problem is run on a new object, and on one that was called before, with other numbers, parameters included: what is
left over from one call must not change the next. Nothing that is handed over may be written to.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from scratch import nn

from ..devices import device_name
from ..problems import CELLS
from ..weights.forms import form_of
from .base import Implementation, Scratch
from .functions import FunctionsCandidate
from .modules import ModuleCandidate
from .needs import DTYPES, HALVES, NotOffered, Raised, Unfit, needs, requirements
from .refusals import ERRORS
from .torch_modules import TorchCandidate, there_is

__all__ = [
    "DTYPES",
    "HALVES",
    "FunctionsCandidate",
    "Implementation",
    "NotOffered",
    "Raised",
    "Scratch",
    "TorchCandidate",
    "Unfit",
    "candidate",
    "needs",
    "requirements",
]

ONLY = ("forward", "final")
"""What can be checked alone: forward; or the gradients of the final state, as of a model that is many to one."""


def candidate(
    target: Any,
    name: str | None = None,
    cell: str | Sequence[str] | None = None,
    *,
    only: str | None = None,
    weights: str | None = None,
    device: str = "cpu",
    tolerance: float | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Implementation:
    """The implementation that a class, a module, or a pair of functions is.

    target: a class or another callable that constructs the recurrence; or a pair (forward, backward), or a function
    named forward alone; or anything with the functions as attributes `forward` and `backward`. cell: which of `CELLS`,
    if the name does not tell. only: one of `ONLY`. weights: the form of a pair's parameters (weights/forms.py). device:
    where a torch Module is to compute. tolerance, sizes: see `Implementation`.

    Raises TypeError if it is nothing of the kind, ValueError if its cell cannot be told, or for another argument that
    is none of what it can be.
    """
    cells = (cell,) if isinstance(cell, str) else tuple(cell or ())
    for value, what, known in [*((each, "a cell among", CELLS) for each in cells), (only, "only", ONLY)]:
        if value is not None and value not in known:
            raise ValueError(f"expected {what} {', '.join(map(repr, known))}, got {value!r}")
    kind, parts, own_name = recognized(target)
    found = kind(parts, name or own_name, cells, only)
    if weights is not None:
        if not isinstance(found, FunctionsCandidate):
            raise TypeError("expected a pair of functions with a form of weights: a module's parameters are PyTorch's")
        found.form, found.declared = form_of(weights), weights
    if device != "cpu":
        if not isinstance(found, TorchCandidate):
            raise TypeError(f"expected a torch Module with device {device!r}: the others get NumPy's arrays")
        if not there_is(device):
            raise ValueError(
                f"expected the device cpu, or a CUDA device that there is, got {device!r}: {device_name()}"
            )
        found.device = device
    found.tolerance, found.sizes = tolerance, sizes or {}
    return found


def recognized(target: Any) -> tuple[type[Implementation], Any, str]:
    """The form of a candidate, what it consists of in that form, and its name."""
    if isinstance(target, tuple) and len(target) == 2 and all(map(callable, target)):
        names = ",".join(str(getattr(function, "__qualname__", "?")) for function in target)
        return FunctionsCandidate, target, f"{target[0].__module__}:{names}"
    if inspect.isfunction(target) and target.__name__.endswith("forward"):
        return FunctionsCandidate, (target, None), f"{target.__module__}:{target.__qualname__}"
    name, is_object = (
        str(getattr(target, "__name__", type(target).__name__)),
        isinstance(target, (torch.nn.Module, nn.Module)),
    )
    functions = getattr(target, "forward", None), getattr(target, "backward", None)
    kinds = [type(inspect.getattr_static(target, each, None)) for each in ("forward", "backward")]
    if (kinds == [staticmethod] * 2 or not isinstance(target, type)) and not is_object and callable(functions[0]):
        return FunctionsCandidate, functions, name
    if is_object or not callable(target):
        raise TypeError(
            f"expected a class, a function that constructs, or a pair of functions, got a {type(target).__name__}"
        )
    if isinstance(target, type):
        of_torch = issubclass(target, torch.nn.Module)
    else:
        try:
            of_torch = isinstance(target(2, 3), torch.nn.Module)
        except ERRORS:
            of_torch = False
    return TorchCandidate if of_torch else ModuleCandidate, target, name
