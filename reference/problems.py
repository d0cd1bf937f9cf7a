"""One recurrence with all its options, and the numbers to run it on, drawn at random from a seed.

A `Configuration` says which options; a `Problem` adds the numbers: parameters, input, initial state and the upstream
gradients of output and final state, all of them random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from scratch import nn
from scratch.types import Array

CELLS: dict[str, dict[str, Any]] = {
    name: {"module": kind.module.__name__, **kind.options} for name, kind in nn.RECURRENCES.items()
}
"""The recurrences, by the name of their class and what tells them apart besides."""


@cache
def state_of(module: str) -> tuple[str, ...]:
    """The names of the parts of a recurrence's state."""
    return tuple(getattr(nn, module)(1, 1).cell.state)


@cache
def can_project(module: str) -> bool:
    """Whether a recurrence takes a proj_size."""
    try:
        getattr(nn, module)(1, 2, proj_size=1)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Configuration:
    """Every option of a recurrence. Shows as the Python that makes it, with the options that differ from the defaults.

    Raises ValueError for a cell that there is none of, a layout that there is none of, and lengths that do not fit it.
    """

    cell: str  # one of the names in `CELLS`
    input_size: int = 3
    hidden_size: int = 4
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    lengths: tuple[int, ...] = (5, 5)
    """The length of each sequence; all the same unless packed. An empty tuple is an empty batch, of 3 steps."""
    layout: str = "batched"  # 'batched', 'unbatched' or 'packed'
    initial_state: bool = True
    training: bool = True  # whether dropout acts
    upstream: tuple[str, ...] = ("output", "h_n", "c_n")  # which upstream gradients are given; the others are left out
    weight_scale: float = 1.0  # 1: weights as PyTorch draws them, uniform in ±1/√hidden_size. More: gates saturate
    bias_shift: float = 0.0  # added to every input bias. Far below 0: gates close
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"expected a cell among {', '.join(map(repr, CELLS))}, got {self.cell!r}")
        if self.layout not in ("batched", "unbatched", "packed"):
            raise ValueError(f"expected layout 'batched', 'unbatched' or 'packed', got {self.layout!r}")
        if self.layout != "packed" and len(set(self.lengths)) > 1:
            raise ValueError(f"expected equal lengths unless layout is 'packed', got {self.lengths}")
        if self.layout == "unbatched" and len(self.lengths) != 1:
            raise ValueError(f"expected one length with layout 'unbatched', got {self.lengths}")
        if self.layout == "packed" and not self.lengths:
            raise ValueError("expected lengths with layout 'packed', got none")

    @property
    def module(self) -> str:
        """The name of the class in both libraries, 'LSTM' for one."""
        return str(CELLS[self.cell]["module"])

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the state: h, and c for an LSTM."""
        return state_of(self.module)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, the same for both libraries."""
        names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
        chosen = {name: getattr(self, name) for name in names}
        if self.proj_size:
            chosen["proj_size"] = self.proj_size
        return chosen | {name: value for name, value in CELLS[self.cell].items() if name != "module"}

    def changes(self) -> dict[str, Any]:
        """The options that differ from the defaults, without the cell."""
        return {f.name: getattr(self, f.name) for f in fields(self)[1:] if getattr(self, f.name) != f.default}

    def __str__(self) -> str:
        shown = ", ".join([repr(self.cell), *(f"{name}={value!r}" for name, value in self.changes().items())])
        return f"Configuration({shown})"


@dataclass(frozen=True)
class Problem:
    """A configuration and its numbers: arrays in the form in which the caller of a recurrence gives them."""

    configuration: Configuration
    parameters: dict[str, Array]
    input: Array  # packed problems hold the padded input, (T, B, I), here
    initial: dict[str, Array]
    upstream: dict[str, Array]  # packed problems hold the padded gradient of the output here
    rounded: str = ""
    """'bfloat16', if the numbers are rounded to that: NumPy does not have it, and holds them in float32."""

    @property
    def dtype(self) -> str:
        """The name of the dtype of its numbers."""
        return self.rounded or self.input.dtype.name

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number of that dtype."""
        return eps_of(self.dtype)

    @property
    def leaves(self) -> dict[str, Array]:
        """Everything that has a gradient: the input, the parts of the initial state, each parameter."""
        return {"input": self.input} | self.initial | self.parameters

    def map(self, function: Callable[[Array], Array]) -> Problem:
        """The same problem with `function` applied to each of its arrays."""
        groups = ("parameters", "initial", "upstream")
        mapped = {group: {name: function(value) for name, value in getattr(self, group).items()} for group in groups}
        return replace(self, input=function(self.input), **mapped)

    def astype(self, dtype: Any) -> Problem:
        """The same numbers, rounded to `dtype`, in arrays of their own; it may be 'bfloat16'."""
        if dtype == "bfloat16":
            return replace(self.map(to_bfloat16), rounded=dtype)
        return replace(self.map(lambda value: value.astype(dtype)), rounded="")


def eps_of(dtype: str) -> float:
    """The distance from 1 to the next number of a dtype, which may be 'bfloat16'."""
    return 2.0**-7 if dtype == "bfloat16" else float(np.finfo(dtype).eps)


def to_bfloat16(value: Array) -> Array:
    """The nearest numbers that have the upper half of float32's bits, of two the even one."""
    bits = value.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def draw(configuration: Configuration) -> Problem:
    """The problem that the configuration's seed stands for, in float64."""
    c = configuration
    rng = np.random.default_rng(c.seed)
    module = getattr(nn, c.module)(**c.arguments(), dtype=np.float64, rng=rng)
    directions, steps, batch = 1 + c.bidirectional, max(c.lengths, default=3), len(c.lengths)
    features = {"h": c.proj_size or c.hidden_size, "c": c.hidden_size}

    def array(rows: int, width: int, swapped: bool = False) -> Array:
        if c.layout == "unbatched":
            return rng.standard_normal((rows, width))
        return rng.standard_normal((batch, rows, width) if swapped else (rows, batch, width))

    def sequence(width: int) -> Array:
        return array(steps, width, c.batch_first and c.layout == "batched")

    def state(part: str) -> Array:
        return array(c.num_layers * directions, features[part])

    upstream = {"output": sequence(directions * features["h"])} | {f"{part}_n": state(part) for part in c.parts}
    return Problem(
        configuration=c,
        parameters={
            name: c.weight_scale * value + (c.bias_shift if name.startswith("bias_ih") else 0)
            for name, value in module.state_dict().items()
        },
        input=sequence(c.input_size),
        initial={f"{part}_0": state(part) for part in c.parts} if c.initial_state else {},
        upstream={name: value for name, value in upstream.items() if name in c.upstream},
    )
