"""The equations that a cell brings for people give, to the last digits, what its functions compute."""

import re
import sys
from collections.abc import Iterable, Mapping

import numpy as np
import pytest

from scratch import nn
from scratch.nn.cell import Cell, Equations
from scratch.study.equations import blocks, evaluate, sides
from scratch.types import Array

CELLS = {name: kind.cell for name, kind in nn.RECURRENCES.items()}
cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
H, B = 7, 5


def computed(cell: Cell, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """A random step by the cell's functions: what the equations start from, and what they have to come to."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((len(cell.blocks), H, B))
    state_prev, d_state = (rng.standard_normal((len(cell.state), H, B)) for _ in range(2))
    left, d_a = a.copy(), np.empty_like(a)
    state, kept, slopes = (np.empty((count, H, B)) for count in (len(cell.state), cell.kept, cell.slopes))
    cell.step(left, tuple(state_prev), tuple(state), tuple(kept))
    cell.linearize(left, tuple(state_prev), tuple(state), tuple(kept), slopes)
    direct, d_rest = cell.step_backward(tuple(d_state.copy()), slopes, d_a)

    h, *rest = cell.state

    def named(pattern: str, names: Iterable[str], values: Iterable[Array]) -> dict[str, Array]:
        return {pattern.format(name): value for name, value in zip(names, values, strict=True)}

    start = named("{}", blocks(cell), a) | named("{}_prev", cell.state, state_prev)
    start |= {f"d_{h}": d_state[0]} | named("d_{}_after", rest, d_state[1:])
    results = named("{}", cell.state, state) | named("d_{}", blocks(cell), d_a) | named("d_{}_prev", rest, d_rest)
    return start, results | ({} if direct is None else {"d_h_direct": direct})


def worst(equations: Equations, start: Mapping[str, Array], results: Mapping[str, Array]) -> float:
    """The largest difference between what the equations say, taken in their order, and what the cell computed."""
    values = dict(start)
    for name, right in map(sides, (*equations.forward, *equations.backward)):
        assert name not in values, "each name gets a value once"
        values[name] = evaluate(right, values)
    return max(float(np.abs(values[name] - result).max()) for name, result in results.items())


@cells
def test_equations_give_what_the_cell_computes(cell: Cell) -> None:
    """To 1e-14: a few products of numbers below 10, each rounded by 1e-16 of its size."""
    for seed in range(5):
        assert worst(cell.equations, *computed(cell, seed)) <= 1e-14


@cells
def test_equations_are_those_of_the_file(cell: Cell) -> None:
    """Forward they stand in its first lines under the same numbers, and what stands there is what they say."""
    forward, backward = cell.equations
    docstring = sys.modules[cell.step.__module__].__doc__ or ""
    written = re.findall(r"^\((\d)\) +(.*?)(?:  .*)?$", docstring, flags=re.MULTILINE)
    assert written == [(number, re.sub(r"^h = (tanh|relu)\(a\)$", "h = φ(a)", text)) for number, text in forward]
    for number, _ in backward:
        assert set(number.split(", ")) <= {number for number, _ in forward}
