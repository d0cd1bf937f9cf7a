"""The two libraries behind one interface, and scenes: something of a library that has been at work.

A scene is a namespace in which a line of `bad_calls.md` runs, in `scratch` or in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from types import CodeType
from typing import Any

import numpy as np
import torch

import scratch
from scratch.types import Array

from .bad_calls import OPTIMIZERS, RECURRENCES, Subject
from .problems import state_of


class NoCounterpart(Exception):
    """PyTorch has nothing that could be called."""


class NoSuchClass(Exception):
    """PyTorch does not have the class at all."""


@dataclass(frozen=True, eq=False)
class Library:
    """Either library: its modules, and what differs in how they are called."""

    nn: Any
    optim: Any
    no_grad: Callable[[], AbstractContextManager[Any]]
    has_tensors: bool
    """Whether its arrays are PyTorch's and not NumPy's."""

    def dtype(self, name: str) -> Any:
        """A dtype of this library by its name."""
        return getattr(torch, name) if self.has_tensors else np.dtype(name)

    def array(self, value: Array, foreign: bool = False) -> Any:
        """A NumPy array as this library has it, or as the other one has it."""
        return torch.from_numpy(value) if self.has_tensors != foreign else value

    def leaf(self, value: Array) -> Any:
        """The same as an input that gets a gradient."""
        return torch.from_numpy(value).requires_grad_(value.dtype.kind in "fc") if self.has_tensors else value

    def backward(self, module: Any, results: tuple[Any, ...], upstream: tuple[Any, ...], **options: Any) -> Any:
        """Backward from the last results of a module. In PyTorch it starts at each that has an upstream gradient."""
        if not self.has_tensors:
            return module.backward(*upstream, **options)
        if not results:
            raise NoCounterpart
        roots: list[Any] = []
        gradients: list[Any] = []
        for result, gradient in zip_longest(results, upstream):
            if gradient is None and len(results) > 1:
                continue
            if isinstance(result, torch.nn.utils.rnn.PackedSequence):
                roots.append(result.data)
                gradients.append(gradient.data if isinstance(gradient, type(result)) else gradient)
            else:
                several = isinstance(result, tuple)
                roots += result if several else [result]
                gradients += gradient if several and isinstance(gradient, tuple) else [gradient]
        return torch.autograd.backward(roots, gradients, **options)


SCRATCH = Library(scratch.nn, scratch.optim, scratch.no_grad, has_tensors=False)
PYTORCH = Library(torch.nn, torch.optim, torch.no_grad, has_tensors=True)

SIZES = {"T": 4, "B": 3, "I": 5, "H": 6, "V": 7, "E": 2, "C": 8}
"""Time, batch, input, hidden; symbols and width of an embedding, classes: no two are the same."""

MODULES = {
    **dict.fromkeys(RECURRENCES, ("I, H", "x(T, B, I)")),
    **dict.fromkeys([f"{name}Cell" for name in RECURRENCES], ("I, H", "x(B, I)")),
    "Linear": ("I, H", "x(B, I)"),
    "Embedding": ("V, E", "array([0, 1, 2])"),
    "Dropout": ("0.5", "x(B, I)"),
    "CrossEntropyLoss": ("", "x(B, C), array([2, 0, 3])"),
    "MSELoss": ("", "x(B, C), -x(B, C)"),
}
"""What modules are made with, and a good input."""

TRAINED = "module = Linear(I, H, SEED); parameters = list(module.parameters())"
USE = "module.zero_grad(); result = module(x(B, I)); backward(*upstream())"
OPTIONS = {"SGD": ", momentum=0.9", "RMSprop": ", momentum=0.9, centered=True", "Adam": ", amsgrad=True"}
"""With these an optimizer has more to remember."""
OTHERS = {
    **{
        name: (
            f"{TRAINED}; optimizer = {name}(parameters, lr=0.1{OPTIONS.get(name, '')})",
            f"{USE}; optimizer.step()",
            "(optimizer.state_dict(), data(), gradients())",
        )
        for name in OPTIMIZERS
    },
    **{
        name: (TRAINED, f"{USE}; norm = {name}(parameters, 0.5)", "(norm, gradients())")
        for name in ("clip_grad_norm_", "clip_grad_value_")
    },
    "Parameter": (
        "parameter = Parameter(x(H))",
        "parameter.data = x(H); parameter.grad = x(H)",
        "(parameter.data, parameter.grad)",
    ),
}
"""Of what is no module: how it is made, how it is used, and what is to be seen of it then."""
PACKING = (
    "packed = pack(x(T, B, I), [2, 4, 3], enforce_sorted=False)",
    "padded = pad_packed_sequence(packed), pad_sequence([x(T, I)])",
    "padded",
)
"""The same for the functions that pack and pad."""
FUNCTIONS = ("pack_padded_sequence", "pad_packed_sequence", "pack_sequence", "pad_sequence", "PackedSequence")


@cache
def compiled(line: str) -> CodeType:
    """A line of Python, ready to be run."""
    return compile(line, "bad_calls.md", "exec")


class Scene:
    """One library, and in it what bad calls are made on; `do` runs a line, `work` uses everything as it should be used.

    Its methods are the functions that a line may call. Raises NoSuchClass where the library has no class of this name.
    """

    def __init__(self, library: Library, name: str, subject: Subject) -> None:
        self.library = library
        self.name = name
        self.subject = subject
        self.given: list[tuple[Array, Array]] = []
        """Every array that a call was given, and a copy of it."""
        self.spoilt: list[tuple[Any, str, Any]] = []
        places = (library.nn, library.optim, library.nn.utils, library.nn.utils.rnn)
        kinds = [getattr(place, name) for place in places if hasattr(place, name)]
        if not kinds:
            raise NoSuchClass
        self.namespace: dict[str, Any] = {
            **{"numpy": np, "nan": np.nan, "inf": np.inf},
            **SIZES,
            **{dtype: library.dtype(dtype) for dtype in ("float16", "float64", "int64")},
            **{each: getattr(library.nn, each) for each in ("Linear", "Parameter")},
            **{each: getattr(library.nn.utils.rnn, each) for each in FUNCTIONS},
            **{each: getattr(self, each) for each, method in vars(Scene).items() if callable(method)},
            **dict.fromkeys(("Recurrence", "Cell", "Loss", "Optimizer", name), kinds[0]),
        }
        self.common = {*self.namespace, "__builtins__"}
        if name in MODULES:
            sizes, usual = MODULES[name]
            arguments = [sizes, subject.options, "" if name.endswith("Loss") else "SEED"]
            making = f"module = {name}({', '.join(filter(None, arguments))})"
            self.making, self.use, self.seen = making, f"result = module({subject.input or usual})", "result"
        else:
            self.making, self.use, self.seen = OTHERS.get(name, PACKING)
        self.do(self.making)

    def do(self, line: str) -> None:
        """Run a line of Python."""
        exec(compiled(line.replace("SEED", "" if self.library.has_tensors else "rng=0")), self.namespace)

    @property
    def held(self) -> dict[str, Any]:
        """What the caller holds of the library: everything that was assigned."""
        return {name: value for name, value in self.namespace.items() if name not in self.common}

    def work(self) -> Any:
        """Use everything as it is meant, a module forward, backward and forward. Returns what is to be seen of it."""
        while self.spoilt:
            put(*self.spoilt.pop())
        self.do(self.use)
        first = None
        if self.name in MODULES:
            first = self.namespace["result"], self.from_tape()
            self.do(self.use)
        return first, eval(self.seen, self.namespace)

    def from_tape(self) -> Any:
        """The gradients that `backward` makes of the tape that `work` has left, which is then gone."""
        return (self.backward(*self.upstream()), self.gradients()) if self.name in MODULES else None

    # What a line may call.

    def x(self, *shape: int, dtype: str = "float32") -> Any:
        """An array of random numbers of the library, the same every time."""
        numbers = 3 * np.random.default_rng(0).standard_normal(shape)
        return self.library.leaf(self.remember(np.asarray(numbers).astype(dtype)))

    def array(self, values: Any, dtype: str | None = None) -> Any:
        """An array of the library."""
        return self.library.array(self.remember(np.array(values, dtype)))

    def ones(self, *shape: int, dtype: str) -> Any:
        """An array of ones."""
        return self.array(np.ones(shape), dtype)

    def classes(self, *shape: int) -> Any:
        """Good targets of any shape."""
        return self.ones(*shape, dtype="int64")

    def foreign(self, *shape: int) -> Any:
        """An array of the other library."""
        return self.library.array(np.ones(shape, np.float32), foreign=True)

    def state(self, *shape: int, dtype: str = "float32") -> Any:
        """An array, or a tuple of as many as the state of the recurrence has parts."""
        parts = tuple(self.x(*shape, dtype=dtype) for _ in state_of(self.name.removesuffix("Cell")))
        return parts if len(parts) > 1 else parts[0]

    def pack(self, value: Any, lengths: Any, **options: Any) -> Any:
        """A PackedSequence; its arrays are the caller's, too."""
        packed = self.library.nn.utils.rnn.pack_padded_sequence(value, lengths, **options)
        for part in packed:
            if isinstance(part, np.ndarray):
                self.remember(part)
        return packed

    def like(self, result: Any) -> Any:
        """A good upstream gradient of a result: of the same form."""
        if isinstance(result, self.library.nn.utils.rnn.PackedSequence):
            return result._replace(data=self.like(result.data))
        if isinstance(result, tuple):
            return tuple(self.like(part) for part in result)
        return self.x(*result.shape, dtype=str(result.dtype).removeprefix("torch."))

    def results(self) -> tuple[Any, ...]:
        """The parts of the last result that have an upstream gradient of their own; none if there is no result."""
        result = self.namespace.get("result")
        return () if result is None else tuple(result) if self.name in RECURRENCES else (result,)

    def upstream(self) -> tuple[Any, ...]:
        """Good upstream gradients."""
        return tuple(self.like(result) for result in self.results())

    def backward(self, *upstream: Any, **options: Any) -> Any:
        """Run backward from the last result."""
        return self.library.backward(self.namespace["module"], self.results(), upstream, **options)

    def data(self) -> list[Any]:
        """The data of every parameter."""
        return [parameter.data for parameter in self.namespace["module"].parameters()]

    def gradients(self) -> list[Any]:
        """The gradient of every parameter."""
        return [parameter.grad for parameter in self.namespace["module"].parameters()]

    def renew(self) -> None:
        """Have a module that has never been called."""
        del self.namespace["result"]
        self.do(self.making)

    def renew_without_tape(self) -> None:
        """Have a module whose only forward pass has kept nothing."""
        self.renew()
        with self.library.no_grad():
            self.do(self.use)

    def later_state(self) -> dict[str, Any]:
        """The state dict of another optimizer, which has been at work for longer and has another learning rate."""
        other = Scene(self.library, self.name, self.subject)
        for _ in range(3):
            other.work()
        saved = other.namespace["optimizer"].state_dict()
        saved["param_groups"][0]["lr"] = 0.5
        return dict(saved)

    def train(self) -> None:
        """Change every parameter, as training does."""
        self.library.optim.SGD(self.namespace["module"].parameters(), lr=0.1).step()

    def spoil(self, holder: Any, name: str, value: Any) -> None:
        """Set an attribute or a key until `work` is next called."""
        self.spoilt.append((holder, name, holder[name] if isinstance(holder, dict) else getattr(holder, name)))
        put(holder, name, value)

    def resize(self, gradient: Any) -> None:
        """Give a gradient another shape behind the parameter's back."""
        gradient.resize(2, refcheck=False) if isinstance(gradient, np.ndarray) else gradient.resize_(2)

    def remember(self, value: Array) -> Array:
        """The same array, which nobody may change from now on."""
        self.given.append((value, value.copy()))
        return value


def put(holder: Any, name: str, value: Any) -> None:
    """Set an attribute or a key."""
    if isinstance(holder, dict):
        holder[name] = value
    else:
        setattr(holder, name, value)
