"""Pieces that faults are made of: taps that change some weights, some gates, a part of the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scratch.nn.cell import Cell, State, Weights
from scratch.types import Array

from .machine import Machine, Tap


def sigmoid(a: Array) -> Array:
    """σ(a), also of complex numbers."""
    return 1 / (1 + np.exp(-a))


def sigmoid_gates(cell: Cell) -> list[str]:
    """The gates that go through σ, by the equations that the cell brings; any other goes through tanh, or through the
    cell's own nonlinearity if it is the only one.
    """
    texts = [] if cell.equations is None else [equation.text for equation in cell.equations.forward]
    return [gate for gate in cell.gates if f"{gate} = σ(a_{gate})" in texts]


def in_blocks(cell: Cell, value: Array) -> Array:
    """A matrix or a bias with the gates apart: (G, H, …)."""
    return value.reshape(len(cell.gates), -1, *value.shape[1:])


def on_weights(function: Callable[[Array], Array], names: Iterable[str]) -> Tap:
    """A tap that changes some of the `Weights`."""
    chosen = tuple(names)

    def tap(weights: Weights, machine: Machine) -> Weights:
        changed = {n: function(getattr(weights, n)) for n in chosen if getattr(weights, n) is not None}
        return weights._replace(**changed)

    return tap


def on_rows(function: Callable[[Array, Machine], Array], gates: Iterable[str]) -> Tap:
    """A tap that changes the rows of some gates; the others stay."""
    chosen = tuple(gates)

    def tap(value: Array, machine: Machine) -> Array:
        value = value.copy()
        for name in chosen:
            rows = machine.gate(name)
            machine.step.rows = rows
            value[rows] = function(value[rows], machine)
        return value

    return tap


def on_part(part: int, function: Callable[[Array, Machine], Array]) -> Tap:
    """A tap that changes one part of a state."""

    def tap(state: State, machine: Machine) -> State:
        return tuple(function(value, machine) if n == part else value for n, value in enumerate(state))

    return tap


def zeros(value: Array, machine: Machine) -> Array:
    """Nothing."""
    return np.zeros_like(value)


ALL_WEIGHTS = Weights._fields


MATRICES = ("W_ih", "W_hh", "W_hr")


BIASES = ("b_ih", "b_hh")


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
