"""All modules in one list, each with what it is called with."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from scratch import nn
from scratch.nn.utils.rnn import pack_sequence

T, B, I, H, C = 5, 3, 4, 2, 6
DRAWN = np.random.Generator


class Case(NamedTuple):
    """A module and what it is called with."""

    name: str
    """Of its class, the same in both libraries."""
    arguments: tuple[Any, ...]
    """Of the constructors."""
    draw: Callable[[DRAWN], tuple[Any, ...]]
    """Random arguments of `forward`, always of the same shapes, in float64."""
    options: Mapping[str, Any] = {}
    own: Mapping[str, Any] = {"rng": 0}
    """Arguments of our constructor that PyTorch's has not."""

    def make(self, library: Any = nn) -> Any:
        """A new module in float64, with the same weights each time, of `scratch.nn` or `torch.nn`."""
        arguments = [each.make(library) if isinstance(each, Case) else each for each in self.arguments]
        options = {**self.options, **self.own}
        if library is torch.nn:
            options = {n: torch.tensor(v) if isinstance(v, np.ndarray) else v for n, v in self.options.items()}
        with warnings.catch_warnings(action="ignore"):  # PyTorch warns of a layer that has no features
            return getattr(library, self.name)(*arguments, **options).double()


def normal(*shapes: tuple[int, ...]) -> Callable[[DRAWN], tuple[Any, ...]]:
    return lambda rng: tuple(np.asarray(rng.standard_normal(shape)) for shape in shapes)


def packed(rng: DRAWN) -> tuple[Any, ...]:
    return (pack_sequence([rng.standard_normal((length, I)) for length in (2, T, 1, 4)], enforce_sorted=False),)


def with_state(kind: nn.Kind, *shapes: tuple[int, ...]) -> Callable[[DRAWN], tuple[Any, ...]]:
    """The input of a recurrence, and its state."""
    all_shapes = shapes[0], *shapes[1:] * len(kind.cell.state)

    def draw(rng: DRAWN) -> tuple[Any, ...]:
        x, *state = normal(*all_shapes)(rng)
        return x, (state[0] if len(state) == 1 else tuple(state))

    return draw


def single(kind: nn.Kind, I: int = I, H: int = H, batch: tuple[int, ...] = (B,), **options: Any) -> Case:
    """The single step of a recurrence."""
    return Case(kind.single.__name__, (I, H), with_state(kind, (*batch, I), (*batch, H)), kind.options | options)


def recurrences() -> dict[str, Case]:
    """Every recurrence in three forms, and its single step."""
    found = {}
    for name, kind in nn.RECURRENCES.items():
        plain = Case(kind.module.__name__, (I, H), with_state(kind, (T, B, I), (1, B, H)), kind.options)
        deep = plain.options | {"num_layers": 2, "bidirectional": True, "dropout": 0.5}
        found[name] = plain
        found[f"{name}, deep and packed"] = plain._replace(options=deep, draw=packed)
        found[f"{name}, recomputed"] = plain._replace(own={"rng": 0, "checkpoint_every": 2})
        found[f"{name}, a step"] = single(kind)
    return found


def chain(*names: str) -> Case:
    """Modules called one after the other."""
    members = [Case(name, (I, I) if name == "Linear" else (), normal(), own={}) for name in names]
    seeded = [case._replace(own={"rng": n}) if case.arguments else case for n, case in enumerate(members)]
    return Case("Sequential", tuple(seeded), normal((T, B, I)), own={})


CASES = {
    **recurrences(),
    "LSTM, projected": Case("LSTM", (I, H), normal((T, B, I)), {"proj_size": 1}),
    "Linear": Case("Linear", (I, H), normal((T, B, I))),
    "Linear, no bias": Case("Linear", (I, H), normal((T, B, I)), {"bias": False}),
    "Embedding": Case("Embedding", (C, I), lambda rng: (rng.integers(C, size=(T, B)),)),
    "Dropout": Case("Dropout", (), normal((T, B))),
    "CrossEntropyLoss": Case(
        "CrossEntropyLoss", (), lambda rng: (rng.standard_normal((B, C)), rng.integers(C, size=B)), own={}
    ),
    "MSELoss": Case("MSELoss", (), normal((T, B), (T, B)), own={}),
    **{name: Case(name, (), normal((T, B)), own={}) for name in ("Tanh", "Sigmoid", "ReLU")},
    "Sequential": chain("Linear", "Linear"),
}
EACH_CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EACH_KIND = pytest.mark.parametrize("kind", nn.RECURRENCES.values(), ids=nn.RECURRENCES)
