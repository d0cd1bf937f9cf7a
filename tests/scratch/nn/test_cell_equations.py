"""The equations that a cell brings for people give, to the last digits, what its functions compute."""

import re
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from scratch import nn
from scratch.nn.cell import Cell, Equation, Equations
from scratch.study.equations import blocks, evaluate, sides
from scratch.types import Array

CELLS = {name: kind.cell for name, kind in nn.RECURRENCES.items()}
cells = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
H, B = 7, 5


def equations_of(cell: Cell) -> Equations:
    assert cell.equations is not None
    return cell.equations


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

    start = dict(zip(blocks(cell), a, strict=True)) | {"d_h": d_state[0]}
    start |= {f"{name}_prev": part for name, part in zip(cell.state, state_prev, strict=True)}
    start |= {f"d_{name}_after": part for name, part in zip(cell.state[1:], d_state[1:], strict=True)}
    results = dict(zip(cell.state, state, strict=True))
    results |= {f"d_{name}": part for name, part in zip(blocks(cell), d_a, strict=True)}
    results |= {f"d_{name}_prev": part for name, part in zip(cell.state[1:], d_rest, strict=True)}
    return start, results | ({} if direct is None else {"d_h_direct": direct})


def by_equations(equations: Equations, start: Mapping[str, Array]) -> dict[str, Array]:
    """All that the equations name, in their order."""
    values = dict(start)
    for name, right in map(sides, (*equations.forward, *equations.backward)):
        assert name not in values, "each name gets a value once"
        values[name] = evaluate(right, values)
    return values


def worst(equations: Equations, start: Mapping[str, Array], results: Mapping[str, Array]) -> float:
    """The largest difference between what the equations say and what the cell computed."""
    found = by_equations(equations, start)
    return max(float(np.abs(found[name] - result).max()) for name, result in results.items())


@cells
@pytest.mark.parametrize("seed", range(5))
def test_equations_give_what_the_cell_computes(cell: Cell, seed: int) -> None:
    """To 1e-14: a few products of numbers below 10, each rounded by 1e-16 of its size."""
    start, results = computed(cell, seed)
    assert worst(equations_of(cell), start, results) <= 1e-14


def wrong(equation: Equation) -> Iterator[Equation]:
    """The equation with one sign turned, one factor left out or one function taken for another."""
    text = equation.text
    for sign in re.finditer("[+−]", text):
        yield equation._replace(text=text[: sign.start()] + ("−" if sign[0] == "+" else "+") + text[sign.end() :])
    for factor in re.finditer(r"(?<= )[\w²]+(\([^()]*\))? ⊙ | ⊙ (\([^()]*\)|\[[^]]*\]|[\w²]+(\([^()]*\))?)", text):
        yield equation._replace(text=text[: factor.start()] + text[factor.end() :])
    for function in re.finditer("σ|tanh|relu", text):
        other = "tanh" if function[0] == "σ" else "σ"
        yield equation._replace(text=text[: function.start()] + other + text[function.end() :])


@cells
def test_a_wrong_equation_is_noticed(cell: Cell) -> None:
    start, results = computed(cell, seed=0)
    forward, backward = equations_of(cell)
    for n, equation in enumerate((*forward, *backward)):
        changed = list(wrong(equation))
        assert changed, equation
        for other in changed:
            lines = [*forward, *backward]
            lines[n] = other
            planted = Equations(tuple(lines[: len(forward)]), tuple(lines[len(forward) :]))
            assert worst(planted, start, results) > 1e-3, other


@cells
def test_equations_are_those_of_the_file(cell: Cell) -> None:
    """Forward they stand in its first lines under the same numbers, and what stands there is what they say."""
    forward, backward = equations_of(cell)
    docstring = sys.modules[cell.step.__module__].__doc__ or ""
    written = re.findall(r"^\((\d)\) +(.*?)(?:  .*)?$", docstring, flags=re.MULTILINE)
    with_phi = [text.replace("tanh(a)", "φ(a)").replace("relu(a)", "φ(a)") for _, text in forward]
    assert written == list(zip([number for number, _ in forward], with_phi, strict=True))
    for number, _ in backward:
        assert set(number.split(", ")) <= {number for number, _ in forward}
