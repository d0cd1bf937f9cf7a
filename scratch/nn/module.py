"""Parameters, the modules that own them, and the switch that turns the tape off.

A module is called to compute forward, and its `backward` is called to compute gradients. Between the two it keeps a
*tape*: the values of the last forward pass that backward needs. There is no graph and no autograd; a model made of
several modules calls their `backward` methods in the opposite order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

import numpy as np

from ..types import Array
from . import checks

without_warnings = np.errstate(all="ignore")
"""Decorates forward and backward: as in PyTorch, numbers beyond the dtype silently become infinite, NaN or zero."""

_tape_is_on: ContextVar[bool] = ContextVar("tape_is_on", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """While this is entered, forward passes keep nothing for a backward pass, as with `torch.no_grad`.

    For inference, above all with the cells (`LSTMCell` and so on), which otherwise keep a tape of every call.
    """
    token = _tape_is_on.set(False)
    try:
        yield
    finally:
        _tape_is_on.reset(token)


def tape_is_on() -> bool:
    """Whether a forward pass made now shall keep what its backward pass needs."""
    return _tape_is_on.get()


class Parameter:
    """A trainable array, `data`, and the gradient of the loss with respect to it, `grad` (None until a backward pass).

    data is copied. Raises TypeError for what is no array, RuntimeError for a dtype without gradients.

    Optimizers change `data` in place. `grad` is replaced when gradients are added, never written over, so an array
    once read from it stays as it is.
    """

    def __init__(self, data: Array) -> None:
        checks.dtype(checks.array("data", data).dtype)
        self._data = np.array(data, order="C")
        self._grad: Array | None = None
        self.version = 0
        """Counts the assignments to `data`. A tape remembers it, so that backward can refuse changed parameters."""

    @property
    def data(self) -> Array:
        """The values. Assigning copies, and needs the same shape and dtype: raises TypeError or RuntimeError."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        self._data = np.array(checks.floats("data", value, self._data.dtype, self._data.shape), order="C")
        self.version += 1

    @property
    def grad(self) -> Array | None:
        """The gradient, of the shape and dtype of `data`, or None. Assigning raises TypeError or RuntimeError."""
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is not None:
            checks.floats("grad", value, self._data.dtype, self._data.shape)
        self._grad = value

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `data`."""
        return self._data.shape

    @without_warnings
    def add_grad(self, gradient: Array) -> None:
        """Add to `grad`, by a new array."""
        self.grad = gradient if self._grad is None else self._grad + gradient

    def __repr__(self) -> str:
        return f"Parameter({self._data!r})"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(..., strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The base of all modules: finds the parameters in its attributes, and in the modules among its attributes.

    A subclass assigns `Parameter`s and `Module`s to attributes and defines `forward` (and `backward`). The order of
    assignment is the order of `parameters()`, as in PyTorch.
    """

    training: bool = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Where a parameter is, nothing but another or None can be assigned. Raises TypeError for anything else."""
        if isinstance(vars(self).get(name), Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(f"expected {name} to be a Parameter or None, got {type(value).__name__}")
        super().__setattr__(name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`."""
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, with their attribute names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name: this module's own first, then its children's."""
        seen: set[int] = set()
        for name, parameter in self._named_parameters(prefix + "." if prefix else ""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once, in the order of `named_parameters`."""
        for _, parameter in self.named_parameters():
            yield parameter

    def _named_parameters(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        """As `named_parameters`, but a parameter that has two names comes twice: so a state dict wants it."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._named_parameters(f"{prefix}{name}.")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients: set them to None, or to zeros if `set_to_none` is False."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else np.zeros_like(parameter.data)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's data, by name, with PyTorch's names in PyTorch's order."""
        return {name: parameter.data.copy() for name, parameter in self._named_parameters("")}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy the arrays of `state_dict` into the parameters of the same names, cast to the parameters' dtype.

        Everything is checked first; after an error nothing has changed. With `strict=False` names that do not match
        are returned instead of refused; shapes must match all the same.

        Raises TypeError if `state_dict` is no mapping, RuntimeError for missing or unexpected names, for a wrong
        shape, and for values that are no arrays of numbers.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"expected state_dict to be a mapping, got {type(state_dict).__name__}")
        own = dict(self._named_parameters(""))
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = [f"no {name!r}" for name in missing] if strict else []
        problems += [f"an unknown {name!r}" for name in unexpected] if strict else []
        values: dict[str, Array] = {}
        for name in (name for name in own if name in state_dict):
            data, given = own[name].data, state_dict[name]
            if not hasattr(given, "__array__"):
                problems.append(f"{name!r} of type {type(given).__name__} for an array")
                continue
            value = np.asarray(given)
            if value.dtype.kind not in "biuf" + data.dtype.kind:
                problems.append(f"{name!r} of dtype {value.dtype} for {data.dtype}")
            elif value.shape != data.shape:
                problems.append(f"{name!r} of shape {value.shape} for {data.shape}")
            else:
                with np.errstate(over="ignore"):
                    values[name] = value.astype(data.dtype)
        if problems:
            raise RuntimeError(f"expected a state_dict that fits {type(self).__name__}, got {'; '.join(problems)}")
        for name, value in values.items():
            own[name].data = value
        return IncompatibleKeys(missing, unexpected)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, here and in all children. Raises ValueError if `mode` is no bool."""
        if not isinstance(mode, bool):
            raise ValueError(f"expected mode to be a bool, got {mode!r}")
        self.training = mode
        for _, child in self.named_children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: dropout does nothing."""
        return self.train(False)

    def extra_repr(self) -> str:
        """The arguments shown by `repr`."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        body = self.extra_repr() + "".join(f"\n  {child}" for child in children) + ("\n" if children else "")
        return f"{type(self).__name__}({body})"
