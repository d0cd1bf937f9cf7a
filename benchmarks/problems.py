"""What is measured: sizes, the numbers to run them on, and the matrix products that none of them can do without.

Letters: T steps, B batch, I input features, H hidden features, P projected features (0 for none), L layers, D
directions, G gates. A training step costs, per layer and direction, with O = P or H,

    forward    2·G·T·B·H·(I + O)        W_ih x and W_hh h for every step
    backward   4·G·T·B·H·(I + O)        W_ihᵀ d_a, W_hhᵀ d_a, Σ d_a xᵀ, Σ d_a h_prevᵀ

operations, and with a projection 2·T·B·P·H forward and twice that backward. The elementwise work is not counted. Of
packed sequences T·B is the sum of the lengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from scratch import nn
from scratch.types import Array

GATES = {kind.module.__name__: len(kind.cell.gates) for kind in nn.RECURRENCES.values()}
"""G, by the name of the class in both libraries."""


class Product(NamedTuple):
    """A matrix product (rows, inner) × (inner, columns) of one layer in one direction, made so many `times`."""

    what: str
    kind: str
    """'weight': a weight matrix times columns; 'transposed': its transpose; 'gradient': columns times columnsᵀ."""
    backward: bool
    rows: int
    inner: int
    columns: int
    times: int
    """For a product that needs the step before, in how many steps it has so many columns; else 1: all steps at once."""

    @property
    def flops(self) -> int:
        """The operations of all of them."""
        return 2 * self.rows * self.inner * self.columns * self.times


@dataclass(frozen=True)
class Problem:
    """A recurrence and the size of its input."""

    group: str
    """Where the size comes from: 'toy', 'characters', 'DeepBench', 'FlashRNN', …"""
    module: str
    """The name of the class in both libraries."""
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    L: int = 1
    P: int = 0
    bidirectional: bool = False
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    """What the constructor takes besides the sizes."""
    gpu_only: bool = False
    """Whether it is left out unless a GPU takes part."""
    packed: bool = False
    """Whether the sequences have lengths of their own, from T down to a quarter of it."""
    text: str = ""
    """What a character model of this size learns, if it is one that is trained: see `learning`."""

    @property
    def name(self) -> str:
        """As it is shown, and as `--problems` finds it."""
        parts = [self.group, self.module, *map(str, self.options.values())]
        parts += [f"{letter}{getattr(self, letter)}" for letter in "TBIH"]
        parts += [f"L{self.L}"] * (self.L > 1) + [f"P{self.P}"] * (self.P > 0) + ["D2"] * self.bidirectional
        parts += ["packed"] * self.packed
        return " ".join(parts)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, the same for both libraries."""
        projection = {"proj_size": self.P} if self.P else {}
        sizes = {"input_size": self.I, "hidden_size": self.H, "num_layers": self.L}
        return sizes | {"bidirectional": self.bidirectional} | projection | self.options

    @property
    def G(self) -> int:
        """The gates."""
        return GATES[self.module]

    @property
    def D(self) -> int:
        """The directions."""
        return 1 + self.bidirectional

    @property
    def outputs(self) -> int:
        """The features of h: P with a projection, else H."""
        return self.P or self.H

    @property
    def lengths(self) -> list[int]:
        """Of the sequences, longest first."""
        shortest = -(-self.T // 4) if self.packed else self.T
        return [round(self.T - k * (self.T - shortest) / max(1, self.B - 1)) for k in range(self.B)]

    @property
    def columns(self) -> int:
        """T·B: how many states there are in all."""
        return sum(self.lengths)

    def input_sizes(self) -> Iterator[int]:
        """For each layer and direction, in the order of the parameters, how many features it reads."""
        for layer in range(self.L):
            yield from [self.outputs * self.D if layer else self.I] * self.D

    def flops(self, part: str) -> int:
        """The operations of a part by the formula: 'forward', 'backward' or 'step', the training step."""
        chosen = {"forward": (False,), "backward": (True,), "step": (False, True)}[part]
        return sum(product.flops for product in self.products() if product.backward in chosen)

    def numbers(self, part: str) -> int:
        """How many numbers a part has to read or write at least: each of those it is given and those it hands out once.

        forward: x, the parameters, the output. backward: these and d_output, d_x, the gradients of the parameters.
        """
        gates = self.G * self.H
        parameters = sum(gates * (inputs + self.outputs + 2) + self.P * self.H for inputs in self.input_sizes())
        forward = parameters + self.columns * (self.I + self.D * self.outputs)
        return {"forward": forward, "backward": 2 * forward, "step": 3 * forward}[part]

    def products(self) -> list[Product]:
        """The same operations as products, first those of the forward pass."""
        gates, at_once = self.G * self.H, {self.columns: 1}
        of_steps = Counter(sum(length > t for length in self.lengths) for t in range(self.T))
        forward, backward = [], []
        for inputs in self.input_sizes():
            weights = [
                ("W_ih", "x", "d_a", gates, inputs, at_once),
                ("W_hh", "h", "d_a", gates, self.outputs, of_steps),
            ]
            weights += [("W_hr", "m", "d_h", self.P, self.H, of_steps)] if self.P else []
            for W, v, d, rows, inner, calls in weights:
                for B, times in calls.items():
                    forward.append(Product(f"{W} {v}", "weight", False, rows, inner, B, times))
                    backward.append(Product(f"{W}ᵀ {d}", "transposed", True, inner, rows, B, times))
                backward.append(Product(f"{d} {v}ᵀ", "gradient", True, rows, self.columns, inner, 1))
        return forward + backward


class Numbers(NamedTuple):
    """What a problem is run on: the same in every library, for the same seed."""

    parameters: dict[str, Array]
    """By PyTorch's names, in PyTorch's order, drawn as PyTorch draws them: uniform in ±1/√H."""
    input: Array  # T, B, I
    d_output: Array  # T, B, D·O


def draw(problem: Problem, seed: int, dtype: Any = np.float32) -> Numbers:
    """The numbers that a seed stands for. They are drawn in float32, so that every dtype starts from the same."""
    rng = np.random.default_rng(seed)
    p, gates, bound = problem, problem.G * problem.H, 1 / np.sqrt(problem.H)

    def weight(*shape: int) -> Array:
        drawn = rng.random(shape, np.float32)
        drawn -= 0.5
        drawn *= 2 * bound
        return drawn.astype(dtype, copy=False)

    def sequence(width: int) -> Array:
        return rng.standard_normal((p.T, p.B, width), np.float32).astype(dtype, copy=False)

    parameters = {}
    for k, inputs in enumerate(p.input_sizes()):
        suffix = f"_l{k // p.D}" + ("_reverse" if k % p.D else "")
        parameters["weight_ih" + suffix] = weight(gates, inputs)
        parameters["weight_hh" + suffix] = weight(gates, p.outputs)
        parameters["bias_ih" + suffix] = weight(gates)
        parameters["bias_hh" + suffix] = weight(gates)
        if p.P:
            parameters["weight_hr" + suffix] = weight(p.P, p.H)
    return Numbers(parameters, sequence(p.I), sequence(p.D * p.outputs))


def sizes() -> list[Problem]:
    """Everything that is measured: toy examples, character models, Baidu's DeepBench (where I = H); on a GPU larger
    ones too, FlashRNN's size, two in both directions, and one packed.
    """
    tanh, relu = {"nonlinearity": "tanh"}, {"nonlinearity": "relu"}
    found = [
        Problem("toy", module, T, 1, I, H, options=options)
        for T, I, H in ((4, 4, 8), (10, 8, 50))  # noqa: E741
        for module, options in (("RNN", tanh), ("LSTM", {}))
    ]
    found += [
        Problem("characters", "LSTM", 50, 32, 65, 128),
        Problem("characters", "LSTM", 100, 64, 65, 512, L=2),
    ]
    widths = (16, 32, 64, 128)
    deep_bench = [("RNN", relu, 50, H, B) for H in (1760, 2560) for B in widths]
    deep_bench += [("LSTM", {}, 25, H, B) for H in (512, 1024, 2048) for B in widths]
    deep_bench += [("LSTM", {}, 50, 1536, B) for B in (8, 16, 32)]
    deep_bench += [("LSTM", {}, 150, 256, B) for B in (16, 32, 64)]
    deep_bench += [("GRU", {}, 187, H, 32) for H in (512, 1536)]
    found += [Problem("DeepBench", module, T, B, H, H, options=options) for module, options, T, H, B in deep_bench]
    found += [Problem("DeepBench", "LSTM", 25, B, 4096, 4096, gpu_only=True) for B in widths]
    found += [
        Problem("FlashRNN", "LSTM", 1024, 16, 768, 768, gpu_only=True),
        Problem("options", "LSTM", 50, 64, 512, 512, bidirectional=True, gpu_only=True),
        Problem("options", "LSTM", 25, 32, 1024, 1024, L=2, bidirectional=True, gpu_only=True),
        Problem("options", "LSTM", 100, 64, 512, 512, packed=True, gpu_only=True),
    ]
    return found


QUICK = ("toy", "characters * H128", "LSTM T25 B16 * H512")
"""The patterns of the sizes that `--quick` measures."""


def matching(problems: list[Problem], patterns: list[str]) -> list[Problem]:
    """The problems whose name has one of the patterns in it. A pattern may hold * and ?, and has no case.

    Where a pattern ends in a digit the number in the name ends there too: B1 is not in B16.
    """

    def fits(name: str, pattern: str) -> bool:
        ending = " " if pattern[-1:].isdigit() else ""
        return fnmatchcase(f"{name} ".lower(), f"*{pattern}{ending}*".lower())

    return [problem for problem in problems if any(fits(problem.name, pattern) for pattern in patterns)]
