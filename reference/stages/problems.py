"""Random problems on which each function of a candidate is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from scratch.types import Array

from .equations import Cell, follow
from .expressions import Values, names_in

PARAMETERS = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "W_hr": "weight_hr"}
"""PyTorch's names for what the equations call so."""

SIZES = ((4, 2, 5, 3, True), (3, 4, 2, 5, True), (4, 3, 5, 2, False), (1, 1, 1, 1, True))
"""T, B, I, H and whether there are biases. The first two tell mistakes apart, the others are special cases."""


@dataclass(eq=False)
class Problem:
    """Random numbers for one cell: x, h_0 (and c_0), W_ih, W_hh, b_ih, b_hh, d_output, d_h_n (and d_c_n)."""

    cell: Cell
    sizes: dict[str, int]
    numbers: dict[str, Array]

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters that there are, by the names of the equations."""
        return {name: self.numbers[name] for name in PARAMETERS if name in self.numbers}

    def state(self, pattern: str = "{}_0") -> tuple[Array, ...]:
        """The first state, or what else has one for each of its parts."""
        return tuple(self.numbers[name] for name in names(self.cell, pattern))

    def shape(self, name: str, function: str) -> tuple[str, tuple[int, ...]]:
        """The shape of a function's result, in letters and in numbers."""
        G = len(self.cell.gates)
        rows = "H" if G == 1 else f"{G}H"
        letters = {"output": "T B H", "d_x": "B I" if function == "step_backward" else "T B I"}
        letters |= {"d_W_ih": f"{rows} I", "d_W_hh": f"{rows} H", "d_b_ih": rows, "d_b_hh": rows}
        shape = letters.get(name, "B H").split()
        sizes = self.sizes | {rows: G * self.sizes["H"]}
        return f"({', '.join(shape)}{',' * (len(shape) == 1)})", tuple(sizes[letter] for letter in shape)

    @property
    def weights(self) -> Values:
        """What every step is given, by name: the parameters, zeros for biases that there are not, and the sizes."""
        no_biases = dict.fromkeys(("b_ih", "b_hh"), np.zeros(len(self.numbers["W_ih"])))
        return no_biases | self.parameters | self.sizes

    def changed(self, **numbers: Array) -> Problem:
        """The same problem with some other numbers."""
        return replace(self, numbers=self.numbers | numbers)

    def scaled(self, scale: float) -> Problem:
        """The same problem with gradients that are so many times larger."""
        return self.changed(**{name: scale * self.numbers[name] for name in self.numbers if name.startswith("d_")})

    @property
    def remark(self) -> str:
        """What is special about it, to put before a sentence."""
        if "b_ih" not in self.numbers:
            return "without biases, which `parameters` then does not have, "
        return "with one step, one sequence and one feature, " if self.sizes["T"] == 1 else ""


def names(cell: Cell, pattern: str) -> list[str]:
    """A state's names: of "d_{}_0", d_h_0 (and d_c_0)."""
    return [pattern.format(part) for part in cell.parts]


@cache
def problems(cell: Cell, seed: int = 0) -> tuple[Problem, ...]:
    """The problems on which a candidate is taken: random numbers in each of the sizes."""
    projects = any("W_hr" in names_in(right) for _, right, _ in cell.step)
    made = []
    for T, B, features, H, bias in SIZES:
        rng = np.random.default_rng([seed, T, B, features, H])
        rows = len(cell.gates) * H
        shapes: dict[str, tuple[int, ...]] = {"W_ih": (rows, features), "W_hh": (rows, H)}
        shapes |= {"b_ih": (rows,), "b_hh": (rows,)} if bias else {}
        shapes |= {"W_hr": (H, H)} if projects else {}
        numbers = {name: 0.8 * rng.standard_normal(shape) for name, shape in shapes.items()}
        states = {"x": (T, B, features), **dict.fromkeys(names(cell, "{}_0"), (B, H)), "d_output": (T, B, H)}
        states |= dict.fromkeys(names(cell, "d_{}_n"), (B, H))
        numbers |= {name: rng.standard_normal(shape) for name, shape in states.items()}
        made.append(Problem(cell, {"T": T, "B": B, "I": features, "H": H}, numbers))
    return tuple(made)


@lru_cache(64)
def values(problem: Problem, function: str) -> Values:
    """Everything that `step` or `step_backward` computes, from its equations."""
    cell = problem.cell
    if function == "step":
        state = dict(zip(names(cell, "{}_prev"), problem.state(), strict=True))
        return follow(cell, function, problem.weights | {"x": problem.numbers["x"][0]} | state)
    d_state = zip(("d_h", "d_c_after"), problem.state("d_{}_n"), strict=False)
    return follow(cell, function, values(problem, "step") | dict(d_state))


def packed(parts: Iterable[Array]) -> Any:
    """A state as the functions take it: h, or (h, c)."""
    values = tuple(parts)
    return values if len(values) > 1 else values[0]
