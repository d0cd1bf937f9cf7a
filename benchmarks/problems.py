"""What is measured: sizes, the numbers to run them on, and the matrix products that none of them can do without.

Letters: T steps, B batch, I input features, H hidden features, L layers, D directions, G gates. A training step costs,
per layer and direction,

    forward    2·G·T·B·H·(I + H)        W_ih x and W_hh h for every step
    backward   4·G·T·B·H·(I + H)        W_ihᵀ d_a, W_hhᵀ d_a, Σ d_a xᵀ, Σ d_a h_prevᵀ

operations. The elementwise work is not counted. Of packed sequences T·B is the sum of the lengths.
"""

from collections import Counter
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
    I: int
    H: int
    L: int = 1
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
        parts += [f"L{self.L}"] * (self.L > 1) + ["D2"] * self.bidirectional + ["packed"] * self.packed
        return " ".join(parts)

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, the same for both libraries."""
        sizes = {"input_size": self.I, "hidden_size": self.H, "num_layers": self.L}
        return sizes | {"bidirectional": self.bidirectional} | self.options

    @property
    def D(self) -> int:
        """The directions."""
        return 1 + self.bidirectional

    @property
    def lengths(self) -> list[int]:
        """Of the sequences, longest first."""
        shortest = -(-self.T // 4) if self.packed else self.T
        return [round(self.T - k * (self.T - shortest) / max(1, self.B - 1)) for k in range(self.B)]

    def weights(self) -> dict[str, tuple[int, int]]:
        """The shapes of the weight matrices, by PyTorch's names in PyTorch's order."""
        shapes = {}
        for k in range(self.L * self.D):
            suffix, gates = f"_l{k // self.D}" + ("_reverse" if k % self.D else ""), GATES[self.module] * self.H
            shapes["weight_ih" + suffix] = gates, self.H * self.D if k >= self.D else self.I
            shapes["weight_hh" + suffix] = gates, self.H
        return shapes

    def flops(self, part: str) -> int:
        """The operations of a part by the formula: 'forward', 'backward' or 'step', the training step."""
        chosen = {"forward": (False,), "backward": (True,), "step": (False, True)}[part]
        return sum(product.flops for product in self.products() if product.backward in chosen)

    def numbers(self, part: str) -> int:
        """How many numbers a part has to read or write at least: each of those it is given and those it hands out once.

        forward: x, the parameters, the output. backward: these and d_output, d_x, the gradients of the parameters.
        """
        parameters = sum(gates * (inputs + 1) for gates, inputs in self.weights().values())
        forward = parameters + sum(self.lengths) * (self.I + self.D * self.H)
        return {"forward": forward, "backward": 2 * forward, "step": 3 * forward}[part]

    def products(self) -> list[Product]:
        """The same operations as products, first those of the forward pass."""
        columns, forward, backward = sum(self.lengths), [], []
        of_steps = Counter(sum(length > t for length in self.lengths) for t in range(self.T))
        for name, (rows, inner) in self.weights().items():
            W, v, calls = ("W_ih", "x", {columns: 1}) if "_ih" in name else ("W_hh", "h", of_steps)
            for B, times in calls.items():
                forward.append(Product(f"{W} {v}", "weight", False, rows, inner, B, times))
                backward.append(Product(f"{W}ᵀ d_a", "transposed", True, inner, rows, B, times))
            backward.append(Product(f"d_a {v}ᵀ", "gradient", True, rows, columns, inner, 1))
        return forward + backward


class Numbers(NamedTuple):
    """What a problem is run on: the same in every library, for the same seed."""

    parameters: dict[str, Array]
    """By PyTorch's names, drawn as PyTorch draws them: uniform in ±1/√H."""
    input: Array  # T, B, I
    d_output: Array  # T, B, D·H


def draw(problem: Problem, seed: int, dtype: Any = np.float32) -> Numbers:
    """The numbers that a seed stands for. They are drawn in float32, so that every dtype starts from the same."""
    rng, p = np.random.default_rng(seed), problem

    def weight(*shape: int) -> Array:
        drawn = rng.random(shape, np.float32)
        drawn -= 0.5
        drawn *= 2 / np.sqrt(p.H)
        return drawn.astype(dtype, copy=False)

    def sequence(width: int) -> Array:
        return rng.standard_normal((p.T, p.B, width), np.float32).astype(dtype, copy=False)

    weights = {name: weight(*shape) for name, shape in p.weights().items()}
    biases = {name.replace("weight", "bias"): weight(shape[0]) for name, shape in p.weights().items()}
    return Numbers(weights | biases, sequence(p.I), sequence(p.D * p.H))


def sizes() -> list[Problem]:
    """Everything that is measured: toy examples, character models, Baidu's DeepBench (where I = H); on a GPU larger
    ones too, FlashRNN's size, two in both directions, and one packed.
    """
    tanh, relu = {"nonlinearity": "tanh"}, {"nonlinearity": "relu"}
    found = [
        Problem("toy", module, T, 1, I, H, options=options)
        for T, I, H in ((4, 4, 8), (10, 8, 50))
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
