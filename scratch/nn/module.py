"""The base of all modules: their parameters, the tapes of their forward passes, and the switch that turns tapes off.

A module is called to compute forward, and its `backward` is called to compute gradients. There is no graph and no
autograd: a model made of several modules calls their `backward` methods in the opposite order. What a backward pass
needs of its forward pass is a *tape*, a value that belongs to that one pass. One rule for every module:

- A forward pass puts its tape on the module's pile; a backward pass takes the newest one off. So calls are undone in
  reverse order, as the chain rule needs it. `backward(…, retain_graph=True)` leaves the tape there. With no tape left,
  backward raises RuntimeError.
- A tape whose parameters have changed since is useless: backward refuses it, and the next forward pass drops it. A
  module without trainable parameters keeps at most 16 tapes from before the last change of any parameter.
- Inside `no_grad()` nothing is kept. A program that never calls backward keeps at most `tape_limit` bytes for each
  module: beyond that the oldest tapes are dropped, with a warning.
- Every thread has a pile of its own, and tasks of asyncio share it. A copy of a module, by `copy` or pickle, has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import indent
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..types import Array
from . import checks
from .parameter import Parameter, changes
from .pile import Kept, Pile, Versions, nbytes, numbers, tape_is_on


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(..., strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


NOT_HERE = {
    **dict.fromkeys(("cuda", "xpu", "ipu", "mps", "to_empty"), "scratch computes with NumPy, on the CPU alone"),
    **dict.fromkeys(("half", "bfloat16"), "scratch computes in float32, float64, longdouble and complex dtypes"),
    **dict.fromkeys(("compile", "share_memory", "type"), "scratch has nothing of the kind"),
    **dict.fromkeys(("register_buffer", "buffers", "named_buffers"), "scratch's modules have parameters, no buffers"),
}
"""Attributes of PyTorch's modules that these cannot have, and why."""


class Module:
    """The base of all modules: finds the parameters in its attributes, and in the modules among its attributes.

    A subclass assigns `Parameter`s and `Module`s to attributes and defines `forward` (and `backward`). The order of
    assignment is the order of `parameters()`, as in PyTorch.
    """

    training: bool = True
    tape_limit: int = 4 * 2**30
    """The most bytes that the tapes of one module may take in one thread; may be set on a module or a class."""

    _changeable: ClassVar[Mapping[str, Callable[[str, Any], Any]]] = {
        "training": checks.flag,
        "tape_limit": checks.size,
    }
    """The attributes that may be assigned after construction, in a module of this library, and the check of each."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute.

        Raises TypeError if anything but its like or None is assigned over a Parameter or a Module. In a module of this
        library, raises AttributeError for an attribute that nothing reads, or that is read during construction only.
        """
        before = vars(self).get(name)
        if isinstance(before, (Parameter, Module)):
            kind = Parameter if isinstance(before, Parameter) else Module
            if not (value is None or isinstance(value, (Parameter, kind))):
                raise TypeError(f"expected {name} to be a {kind.__name__} or None, got {type(value).__name__}")
        elif "_sealed" in vars(self):
            if name not in self._changeable:
                free = ", ".join(self._changeable)
                raise AttributeError(f"expected an attribute that can change after construction ({free}), got {name!r}")
            value = self._changeable[name](name, value)
        super().__setattr__(name, value)

    def _seal(self) -> None:
        """End the construction of a module of this library. (A subclass of it may have attributes of its own.)"""
        if type(self).__module__.startswith(__package__):
            vars(self)["_sealed"] = True

    def __getattr__(self, name: str) -> Any:
        """Explain why an attribute is missing that PyTorch's modules have."""
        reason = NOT_HERE.get(name)
        if "hook" in name:
            reason = "scratch has no hooks: forward and backward are plain methods, to be called or overridden"
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}" + (f": {reason}" if reason else ""))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`. A call that raises leaves no tape, here or in a module inside that had done its part."""
        number = next(numbers)
        try:
            return self.forward(*args, **kwargs)
        except BaseException:
            for module in self.modules():
                module._pile.take(after=number)
            raise

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    # The tapes. A forward pass ends with _keep; a backward pass begins with _newest and ends with _undone.

    @property
    def _pile(self) -> Pile:
        """This module's; a copy has another one."""
        try:
            pile: Pile = vars(self)["_piles"]
        except KeyError:
            pile = vars(self).setdefault("_piles", Pile())
        return pile

    def _versions(self) -> Versions:
        """The module's own parameters as they are now."""
        return [(parameter, parameter.version) for _, parameter in self._own(Parameter)]

    def _keep(self, *tape: Any) -> None:
        """Put the tape of a forward pass on the pile, unless inside `no_grad()`; drop the useless ones."""
        pile, versions = self._pile, self._versions()
        pile.drop_useless(versions)
        if not tape_is_on():
            return
        pile.add(Kept(tape, versions, changes.count, nbytes(tape), next(numbers)))
        while pile.nbytes > self.tape_limit and len(pile.kept) > 1:
            pile.remove(0)
            if not pile.dropped:
                pile.dropped = True
                warnings.warn(
                    f"the tapes of this {type(self).__name__} for backward passes take more than {self.tape_limit} "
                    "bytes (tape_limit): the oldest are dropped. Where no backward pass follows, use no_grad()",
                    stacklevel=5,
                )

    def _newest(self, retain_graph: bool) -> Any:
        """The tape that a backward pass undoes.

        Raises RuntimeError if there is none, or its parameters have changed; TypeError if retain_graph is not a bool.
        """
        checks.flag("retain_graph", retain_graph)
        pile = self._pile
        if not pile.kept:
            dropped = "; the oldest were dropped, as they took more than tape_limit bytes" if pile.dropped else ""
            raise RuntimeError(
                f"expected a forward pass of this {type(self).__name__} that no backward pass has undone yet, made in "
                f"this thread and not inside no_grad(), got none{dropped} (retain_graph=True lets one be undone again)"
            )
        if pile.kept[-1].versions != self._versions():
            raise RuntimeError("expected the parameters of the forward pass, got some that have changed since")
        return pile.kept[-1].tape

    def _undone(self, retain_graph: bool) -> None:
        """Take the newest tape off, unless it is to be retained."""
        if not retain_graph:
            self._pile.remove(-1)

    @contextmanager
    def _undoing(self) -> Iterator[None]:
        """Around the backward calls of the modules inside: one that raises after others are undone clears all tapes."""
        piles = [module._pile.kept for module in self.modules()]
        before = [len(kept) for kept in piles]
        try:
            yield
        except BaseException:
            if [len(kept) for kept in piles] != before:
                self.clear_tape()
            raise

    def clear_tape(self) -> None:
        """Forget this thread's forward passes, in this module and all inside it, that backward has not undone."""
        for module in self.modules():
            module._pile.clear()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: everything but the tapes."""
        return {name: value for name, value in vars(self).items() if name not in ("_piles", "_spent")}

    # Parameters and modules.

    def _own(self, kind: type[Any]) -> list[tuple[str, Any]]:
        """The attributes of this kind, with their names. A list: a forward pass may add attributes during a loop."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, kind)]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, with their attribute names, each once."""
        seen: set[int] = set()
        for name, child in self._own(Module):
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one."""
        return (child for _, child in self.named_children())

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each once, with their dotted names; its own is `prefix`."""
        memo = set() if memo is None else memo
        if self not in memo:
            memo.add(self)
            yield prefix, self
            for name, child in self.named_children():
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call the function with every module inside, then with this one. Returns this module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name: this module's own first, then its children's."""
        seen: set[int] = set()
        for name, parameter in self._named_parameters(prefix + "." if prefix else ""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once, in the order of `named_parameters`."""
        return (parameter for _, parameter in self.named_parameters())

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of this dotted name. Raises AttributeError if there is none."""
        found = dict(self._named_parameters("")).get(target)
        if found is None:
            raise AttributeError(f"{type(self).__name__!r} has no parameter {target!r}")
        return found

    def _named_parameters(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        """As `named_parameters`, but a parameter with two names comes twice, as a state dict needs it."""
        for name, parameter in self._own(Parameter):
            yield prefix + name, parameter
        for name, module in self._own(Module):
            yield from module._named_parameters(f"{prefix}{name}.")

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters with False, unfreeze them with True. Returns this module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients: set them to None, or to zeros if `set_to_none` is False."""
        for parameter in self.parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else np.zeros_like(parameter.data)

    def to(self, dtype: npt.DTypeLike) -> Self:
        """Change the dtype of all parameters and gradients, in place. Returns this module.

        Raises TypeError for anything but a dtype, RuntimeError for a dtype without gradients.
        """
        dtype = checks.dtype(dtype)
        for module in self.modules():
            module._cast(dtype)
        return self

    def float(self) -> Self:
        """Compute in float32 from here on."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Compute in float64 from here on."""
        return self.to(np.float64)

    def _cast(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype of what is this module's own."""
        for _, parameter in self._own(Parameter):
            parameter.cast(dtype)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's data, by name, with PyTorch's names in PyTorch's order."""
        return {name: parameter.data.copy() for name, parameter in self._named_parameters("")}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy the arrays of `state_dict` into the parameters of the same names, cast to the parameters' dtype.

        Everything is checked first; after an error nothing has changed. With `strict=False` names that do not match
        are returned instead of refused; shapes must match all the same.

        Raises TypeError if `state_dict` is not a mapping, RuntimeError for missing or unexpected names, for a wrong
        shape, and for values that are not arrays of numbers.
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
            try:
                value = np.asarray(given)
            except Exception as error:  # whatever another library raises for what NumPy has not, as bfloat16
                problems.append(f"{name!r} that NumPy cannot read ({error})")
                continue
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
        """Set training mode, here and in all children. Raises ValueError if `mode` is not a bool."""
        if not isinstance(mode, bool):
            raise ValueError(f"expected mode to be a bool, got {mode!r}")
        for module in self.modules():
            vars(module)["training"] = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: dropout does nothing."""
        return self.train(False)

    def extra_repr(self) -> str:
        """The arguments shown by `repr`."""
        return ""

    def __repr__(self) -> str:
        modules = [f"({name}): {module!r}" for name, module in self._own(Module)]
        body = "\n".join(filter(None, (self.extra_repr(), *modules)))
        if modules or "\n" in body:
            body = f"\n{indent(body, '  ')}\n"
        return f"{type(self).__name__}({body})"
