"""The two libraries behind one interface, and scenes: something of a library that has been at work.

A call that is written once, for a `Scene`, can be made in `scratch` and in PyTorch. `bad_calls.py` holds such calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

import scratch
from scratch.types import Array

from .problems import state_of
from .weights import torch_dtype


class NoCounterpart(Exception):
    """PyTorch has nothing that could be called."""


class NoSuchClass(Exception):
    """PyTorch does not have the class at all."""


@dataclass(frozen=True)
class Library:
    """Either library: its modules, and what differs in how they are called."""

    nn: Any
    optim: Any
    no_grad: Callable[[], AbstractContextManager[Any]]
    array: Callable[[Array], Any]
    """A NumPy array as this library has it."""
    foreign: Callable[[Array], Any]
    """The same as the other library has it."""
    leaf: Callable[[Array], Any]
    """The same as an input that gets a gradient."""
    dtype: Callable[[Any], Any]
    """A NumPy dtype as this library has it; what is no dtype stays as it is."""
    backward: Callable[..., Any]
    """Takes a module, its last results, their upstream gradients, and retain_graph if it is given."""
    seed: Mapping[str, Any]
    """The argument with which a module draws the same parameters every time."""


def scratch_backward(module: Any, results: Any, upstream: tuple[Any, ...], **options: Any) -> Any:
    """`backward` is a method of the module."""
    return module.backward(*upstream, **options)


def torch_backward(module: Any, results: Any, upstream: tuple[Any, ...], **options: Any) -> None:
    """`backward` starts at the results: at each of them that has an upstream gradient."""
    if results is None:
        raise NoCounterpart
    roots: list[Any] = []
    gradients: list[Any] = []
    for result, gradient in zip_longest(results, upstream):
        if gradient is None and len(results) > 1:
            continue
        if isinstance(result, torch.nn.utils.rnn.PackedSequence):
            roots.append(result.data)
            gradients.append(gradient.data if isinstance(gradient, type(result)) else gradient)
        elif isinstance(result, tuple):
            roots += result
            gradients += gradient if isinstance(gradient, tuple) else [gradient]
        else:
            roots.append(result)
            gradients.append(gradient)
    torch.autograd.backward(roots, gradients, **options)


def torch_leaf(value: Array) -> torch.Tensor:
    """A tensor, which gets a gradient if it can have one."""
    return torch.from_numpy(value).requires_grad_(value.dtype.kind in "fc")


SCRATCH = Library(
    nn=scratch.nn,
    optim=scratch.optim,
    no_grad=scratch.no_grad,
    array=lambda value: value,
    foreign=torch.from_numpy,
    leaf=lambda value: value,
    dtype=lambda value: value,
    backward=scratch_backward,
    seed={"rng": 0},
)
PYTORCH = Library(
    nn=torch.nn,
    optim=torch.optim,
    no_grad=torch.no_grad,
    array=torch.from_numpy,
    foreign=lambda value: value,
    leaf=torch_leaf,
    dtype=lambda value: torch_dtype(np.dtype(value)) if isinstance(value, type) else value,
    backward=torch_backward,
    seed={},
)


# The scenes: what a bad call is made on.

T, B, I, H = 4, 3, 5, 6  # noqa: E741  I is the letter for input features in all of this project
V, E, C = 7, 2, 8
"""Symbols and width of an embedding, classes: no two sizes are the same, so that none can be taken for another."""


class Scene:
    """One library, and in it a `subject` on which bad calls are made. `work` uses it as it is meant to be used."""

    def __init__(self, library: Library, name: str, options: Mapping[str, Any]) -> None:
        self.library = library
        self.name = name
        self.given: list[tuple[Array, Array]] = []
        """Every array that a call was given, and a copy of it."""
        self.options = {key: self.array(v) if isinstance(v, np.ndarray) else v for key, v in options.items()}
        self.result: Any = None
        """What the last forward pass has returned."""
        self.subject = self.made()

    def made(self) -> Any:
        """A new subject."""
        raise NotImplementedError

    def work(self) -> Any:
        """Use the subject for all it is there for. Returns everything that this computes."""
        raise NotImplementedError

    def from_tape(self) -> Any:
        """What `backward` makes of the tape that `work` has left, which is then gone; None where there is none."""
        return None

    @property
    def results(self) -> tuple[Any, ...] | None:
        """The parts of the last result that have an upstream gradient of their own; None if there is no result."""
        return None if self.result is None else (self.result,)

    def remember(self, value: Array) -> Array:
        """The same array, which nobody may change from now on."""
        self.given.append((value, value.copy()))
        return value

    def array(self, value: Any) -> Any:
        """An array of the library."""
        return self.library.array(self.remember(np.array(value)))

    def random(self, *shape: int, dtype: Any = np.float32) -> Array:
        """The same random numbers every time, as a NumPy array."""
        return np.asarray(3 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)

    def x(self, *shape: int, dtype: Any = np.float32) -> Any:
        """An array of random numbers of the library."""
        return self.array(self.random(*shape, dtype=dtype))

    def leaf(self, value: Array) -> Any:
        """An array of the library that gets a gradient."""
        return self.library.leaf(self.remember(value))

    def foreign(self, *shape: int) -> Any:
        """An array of the other library."""
        return self.library.foreign(self.random(*shape))

    def dtype(self, value: Any) -> Any:
        """A dtype of the library."""
        return self.library.dtype(value)

    @property
    def kind(self) -> Any:
        """The class, or the function, that the scene is about. Raises NoSuchClass where the library has none."""
        if not hasattr(self.library.nn, self.name):
            raise NoSuchClass
        return getattr(self.library.nn, self.name)

    @property
    def packing(self) -> Any:
        """The functions for packed sequences."""
        return self.library.nn.utils.rnn

    def pack(self, value: Any, lengths: Any, **options: Any) -> Any:
        """A PackedSequence; its arrays are the caller's, too."""
        packed = self.packing.pack_padded_sequence(value, lengths, **options)
        for part in packed:
            if isinstance(part, np.ndarray):
                self.remember(part)
        return packed

    def packed(self, data: Any, batch_sizes: Any, *indices: Any) -> Any:
        """A PackedSequence that the caller has put together."""
        return self.packing.PackedSequence(data, self.array(batch_sizes), *map(self.array, indices))

    def parameter(self, *shape: int, dtype: Any = np.float32) -> Any:
        """A parameter of nothing that is here."""
        return self.library.nn.Parameter(self.x(*shape, dtype=dtype))

    def backward(self, *upstream: Any, **options: Any) -> Any:
        """Run backward from the last result."""
        return self.library.backward(self.subject, self.results, upstream, **options)

    def renew(self) -> None:
        """Have a subject that has never been called."""
        self.subject, self.result = self.made(), None


class Recurrence(Scene):
    """A recurrence over a whole batch."""

    input_shape: tuple[int, ...] = (T, B, I)

    def made(self) -> Any:
        """A recurrent module."""
        return self.kind(I, H, **self.options, **self.library.seed)

    def state(self, *shape: int, dtype: Any = np.float32, count: int | None = None) -> Any:
        """An array, or a tuple of as many as the recurrence (or `count`) has parts of its state."""
        parts = len(state_of(self.name.removesuffix("Cell"))) if count is None else count
        return self.x(*shape, dtype=dtype) if parts == 1 else tuple(self.x(*shape, dtype=dtype) for _ in range(parts))

    def input(self) -> Any:
        """A good input."""
        return self.leaf(self.random(*self.input_shape))

    def forward(self) -> Any:
        """A good forward pass."""
        self.result = self.subject(self.input())
        return self.result

    def upstream(self) -> tuple[Any, ...]:
        """Good upstream gradients."""
        output, final = self.result
        return (like(self, output), like(self, final))

    @property
    def results(self) -> tuple[Any, ...] | None:
        """Output and final state."""
        return None if self.result is None else tuple(self.result)

    def work(self) -> Any:
        """Forward, backward, and forward again."""
        return self.forward(), self.from_tape(), self.forward()

    def from_tape(self) -> Any:
        """The gradients of everything."""
        return self.backward(*self.upstream()), gradients(self.subject)


class Unbatched(Recurrence):
    """A recurrence over one sequence alone."""

    input_shape = (T, I)


class BatchFirst(Recurrence):
    """A recurrence with `batch_first`."""

    input_shape = (B, T, I)

    def made(self) -> Any:
        """A recurrent module."""
        return self.kind(I, H, batch_first=True, **self.options, **self.library.seed)


class Double(Recurrence):
    """A recurrence in float64."""

    def made(self) -> Any:
        """A recurrent module."""
        return self.kind(I, H, **self.options, **self.library.seed, dtype=self.dtype(np.float64))

    def input(self) -> Any:
        """A good input."""
        return self.leaf(self.random(*self.input_shape, dtype=np.float64))


class Packed(Recurrence):
    """A recurrence over packed sequences, which were not sorted."""

    def input(self) -> Any:
        """A good input."""
        return self.pack(self.leaf(self.random(T, B, I)), [2, 4, 3], enforce_sorted=False)


class Cell(Recurrence):
    """A recurrence that takes one step."""

    input_shape = (B, I)

    def upstream(self) -> tuple[Any, ...]:
        """Good upstream gradients."""
        return (like(self, self.result),)

    @property
    def results(self) -> tuple[Any, ...] | None:
        """The new state."""
        return None if self.result is None else (self.result,)


LAYERS: dict[str, tuple[tuple[Any, ...], Callable[[Scene], tuple[Array, ...]]]] = {
    "Linear": ((I, H), lambda s: (s.random(B, I),)),
    "Embedding": ((V, E), lambda s: (np.arange(B),)),
    "Dropout": ((0.5,), lambda s: (s.random(B, I),)),
    "CrossEntropyLoss": ((), lambda s: (s.random(B, C), np.array([2, 0, 3]))),
    "MSELoss": ((), lambda s: (s.random(B, C), -s.random(B, C))),
}
"""What they are made with, and a good input."""


class Layer(Scene):
    """A layer without time, or a loss."""

    @property
    def is_loss(self) -> bool:
        """Whether it returns a number."""
        return self.name.endswith("Loss")

    def made(self) -> Any:
        """A module."""
        return self.kind(*LAYERS[self.name][0], **self.options, **({} if self.is_loss else self.library.seed))

    def forward(self) -> Any:
        """A good forward pass."""
        first, *others = LAYERS[self.name][1](self)
        self.result = self.subject(self.leaf(first), *map(self.array, others))
        return self.result

    def work(self) -> Any:
        """Forward, backward, and forward again."""
        return self.forward(), self.from_tape(), self.forward()

    def upstream(self) -> tuple[Any, ...]:
        """A good upstream gradient."""
        return (like(self, self.result),)

    def from_tape(self) -> Any:
        """The gradients of everything."""
        return self.backward(*self.upstream()), gradients(self.subject)


class Training(Scene):
    """An optimizer, and a linear layer that it trains."""

    usual: Mapping[str, Any] = {
        "SGD": {"momentum": 0.9},
        "RMSprop": {"momentum": 0.9, "centered": True},
        "Adam": {"amsgrad": True},
    }
    """Options with which an optimizer has more to remember."""

    @property
    def kind(self) -> Any:
        """The optimizer's class."""
        return getattr(self.library.optim, self.name)

    def made(self) -> Any:
        """An optimizer."""
        self.layer = self.library.nn.Linear(I, H, **self.library.seed)
        return self.kind(self.parameters, **{"lr": 0.1, **self.usual.get(self.name, {}), **self.options})

    @property
    def parameters(self) -> list[Any]:
        """What it trains: a weight and a bias."""
        return list(self.layer.parameters())

    def group(self, **changes: Any) -> dict[str, Any]:
        """A further group of parameters."""
        return {"params": [self.parameter(2, 2)], **changes}

    def saved(self, **changes: Any) -> dict[str, Any]:
        """The optimizer's state dict, changed."""
        return {**self.subject.state_dict(), **changes}

    def work(self) -> Any:
        """One training step. The gradients stay."""
        self.layer.zero_grad()
        self.result = self.layer(self.leaf(self.random(B, I)))
        self.library.backward(self.layer, (self.result,), (like(self, self.result),))
        self.subject.step()
        return self.subject.state_dict(), values(self.layer), gradients(self.layer)


class Clipping(Training):
    """A function that clips gradients, and a linear layer that has some."""

    @property
    def kind(self) -> Any:
        """The function."""
        return getattr(self.library.nn.utils, self.name)

    def made(self) -> Any:
        """The function."""
        self.layer = self.library.nn.Linear(I, H, **self.library.seed)
        return self.kind

    def work(self) -> Any:
        """Clip. The gradients stay."""
        self.layer.zero_grad()
        self.result = self.layer(self.leaf(self.random(B, I)))
        self.library.backward(self.layer, (self.result,), (like(self, self.result),))
        return self.subject(self.parameters, 0.5), gradients(self.layer)


class Packing(Scene):
    """A function for packed sequences. None of them remembers anything."""

    @property
    def kind(self) -> Any:
        """The function."""
        return getattr(self.packing, self.name)

    def made(self) -> Any:
        """The function."""
        return self.kind

    def work(self) -> Any:
        """Pack and pad."""
        packed = self.pack(self.x(T, B, I), [2, 4, 3], enforce_sorted=False)
        return packed, self.packing.pad_packed_sequence(packed), self.packing.pad_sequence([self.x(T, I)])

    def some(self, *shape: int, dtype: Any = np.float32) -> Any:
        """A packed sequence of its own."""
        return self.packing.pack_sequence([self.x(*(shape or (T, I)), dtype=dtype)])


class Single(Scene):
    """One parameter, which has a gradient."""

    def made(self) -> Any:
        """A parameter."""
        return self.parameter(H)

    def work(self) -> Any:
        """Set data and gradient."""
        self.subject.data = self.x(H)
        self.subject.grad = self.x(H)
        return self.subject.data, self.subject.grad


def like(scene: Scene, result: Any) -> Any:
    """A good upstream gradient of a result: of the same form."""
    if isinstance(result, scene.packing.PackedSequence):
        return result._replace(data=like(scene, result.data))
    if isinstance(result, tuple):
        return tuple(like(scene, part) for part in result)
    return scene.x(*result.shape, dtype=np.dtype(str(result.dtype).removeprefix("torch.")))


def values(module: Any) -> list[Any]:
    """The data of every parameter."""
    return [parameter.data for parameter in module.parameters()]


def gradients(module: Any) -> list[Any]:
    """The gradient of every parameter."""
    return [parameter.grad for parameter in module.parameters()]
