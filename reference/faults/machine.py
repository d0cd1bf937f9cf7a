"""`scratch` taken apart into single steps, with a tap at every value that goes from one place to another.

The steps themselves are those of `scratch`: each is a `bptt.forward` and a `bptt.backward` of one step. A `Fault` says
what is changed at which tap. So each fault can be computed on any problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from scratch import nn
from scratch.nn import bptt
from scratch.nn.cell import Cell, State, Weights
from scratch.nn.tape import Tape
from scratch.types import Array

from ..problems import CELLS, Configuration, Problem, draw
from ..runs import Masks, Run

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""PyTorch's names of the parameters, in the order of `Weights`."""

Tap = Callable[..., Any]
"""Takes a value and the machine, which says at which layer, direction and step it is; returns what goes on instead."""


Taps = dict[str, Tap]
"""Taps by the name of the place where they are; the names are those in `Machine`."""


@dataclass(frozen=True)
class Fault:
    """A known fault."""

    name: str
    """In a few words, as a headline."""
    explanation: str
    """What is wrong and where, as a teacher would tell it."""
    variants: tuple[Taps, ...] = field(repr=False, compare=False)
    """Ways in which people make it. They differ in side effects."""
    forward: bool = False
    """Whether the forward pass is wrong already."""
    leftover: bool = False
    """Whether it shows at the second call only."""
    common: bool = True
    """Whether it is tried together with others."""

    def __str__(self) -> str:
        return self.explanation


@cache
def cell_of(configuration: Configuration) -> Cell:
    """The cell of the configuration's recurrence."""
    options = {name: value for name, value in CELLS[configuration.cell].items() if name != "module"}
    cell: Cell = getattr(nn, configuration.module)(1, 1, **options).cell
    return cell


class Machine:
    """A problem run step by step, with taps.

    Everything is laid out as (T, B, features) here, whatever the caller's layout; a step works on the sequences that
    are not over yet, as columns.
    """

    def __init__(self, problem: Problem, taps: Sequence[Taps] = (), masks: Masks | None = None) -> None:
        self.taps = taps
        self.problem = self.tap("problem", problem)
        self.c = c = self.problem.configuration
        self.cell: Cell = self.tap("cell", cell_of(c))
        self.T, self.B = max(c.lengths), len(c.lengths)
        self.D, self.L = 1 + c.bidirectional, c.num_layers
        self.lengths = np.array(self.tap("lengths", c.lengths))
        self.dtype = self.problem.input.dtype
        self.masks = masks or []
        if not self.masks and c.training and c.dropout == 1:
            width = self.D * (c.proj_size or c.hidden_size)
            self.masks = [self.in_layout(np.zeros((self.T, self.B, width), self.dtype))] * (self.L - 1)
        self.layer = self.direction = self.k = 0
        self.step = SimpleNamespace()

    def tap(self, place: str, value: Any) -> Any:
        """The value as the faults leave it."""
        for taps in self.taps:
            if place in taps:
                value = taps[place](value, self)
        return value

    def in_steps(self, value: Array) -> Array:
        """The caller's sequence as (T, B, features)."""
        if self.c.layout == "unbatched":
            return value[:, None]
        return value.swapaxes(0, 1) if self.c.batch_first and self.c.layout == "batched" else value

    def in_layout(self, value: Array) -> Array:
        """The inverse of `in_steps`."""
        if self.c.layout == "unbatched":
            return value[:, 0]
        return value.swapaxes(0, 1) if self.c.batch_first and self.c.layout == "batched" else value

    def states(self, values: dict[str, Array], pattern: str) -> list[State]:
        """The caller's state as columns, for each layer and direction; zeros where none is given."""
        parts = []
        for part in self.cell.state:
            features = self.c.proj_size or self.c.hidden_size if part == "h" else self.c.hidden_size
            value = values.get(pattern.format(part))
            if value is None:
                value = np.zeros((self.L * self.D, self.B, features), self.dtype)
            elif self.c.layout == "unbatched":
                value = value[:, None]
            parts.append([np.ascontiguousarray(columns.T) for columns in value])
        return list(zip(*parts, strict=True))

    def joined(self, states: list[State], pattern: str) -> Run:
        """The inverse of `states`."""
        run = {}
        for part, columns in zip(self.cell.state, zip(*states, strict=True), strict=True):
            value = np.stack([column.T for column in columns])
            run[pattern.format(part)] = value[:, 0] if self.c.layout == "unbatched" else value
        return run

    @cached_property
    def names(self) -> list[list[str | None]]:
        """The names of the parameters of each layer and direction, in the order of `Weights`."""
        suffixes = [f"_l{layer}" + direction for layer in range(self.L) for direction in ("", "_reverse")[: self.D]]
        given = self.problem.parameters
        return [[kind + suffix if kind + suffix in given else None for kind in KINDS] for suffix in suffixes]

    def weights(self, k: int) -> Weights:
        """The parameters of layer and direction k."""
        return Weights(*(None if name is None else self.problem.parameters[name] for name in self.names[k]))  # type: ignore[arg-type]

    def tapped_cell(self) -> Cell:
        """The cell with taps at its doors."""
        cell = self.cell

        def rows(of_gates: Array) -> Array:
            """(blocks, H, B) as the taps see it: (blocks·H, B)."""
            return of_gates.reshape(-1, of_gates.shape[2])

        def step(a: Array, state_prev: State, state: State, kept: State) -> None:
            rows(a)[...] = self.tap("a", rows(a))
            self.step.a = rows(a).copy()  # before the cell turns it into gates
            cell.step(a, state_prev, state, kept)

        def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
            self.step.prev, self.step.state = tuple(p[0] for p in state_prev), tuple(p[0] for p in state)
            cell.linearize(a, state_prev, state, kept, slopes)

        def step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[Array | None, State]:
            s = self.step
            s.d_state = d_state
            s.d_state = d_state = self.tap("d_state", d_state)
            s.d_h = d_state[0].copy()
            d_h_direct, d_rest = cell.step_backward(d_state, slopes, d_a)
            rows(d_a)[...] = self.tap("d_a", rows(d_a))
            s.d_a_x, s.d_a_h = (rows(half).copy() for half in cell.halves(d_a))
            return self.tap("d_h_direct", d_h_direct), self.tap("d_rest", d_rest)

        return cell._replace(step=step, linearize=linearize, step_backward=step_backward)

    def forward(self) -> Run:
        """Output and final state."""
        c, cell = self.c, self.tapped_cell()
        self.wrapped = cell
        self.x = np.array(self.in_steps(self.problem.input))
        self.alive = (np.arange(self.T)[:, None] < np.array(c.lengths))[..., None]
        self.x = np.where(self.alive, self.x, 0)
        value = self.x
        self.records: list[list[Any]] = []
        initials = self.tap("initials", self.states(self.problem.initial, "{}_0"))
        finals: list[State] = []
        self.outputs: list[Array] = []
        for layer in range(self.L):
            self.layer = layer
            if self.layer > 0 and self.masks:
                value = value * self.tap("mask", self.in_steps(self.masks[self.layer - 1]))
            value = self.tap("layer_input", value)
            halves = []
            for direction in range(self.D):
                self.direction = direction
                index = self.layer * self.D + self.direction
                weights = self.tap("weights_forward", self.tap("weights", self.weights(index)))
                state = tuple(np.array(part) for part in self.tap("initial", initials[index]))
                width = len(weights.W_hr) if weights.W_hr is not None else c.hidden_size
                output = np.zeros((self.T, self.B, width), self.dtype)
                records = []
                for k in range(self.T):
                    self.k = k
                    t = self.T - 1 - self.k if self.direction else self.k
                    on = np.flatnonzero(t < self.lengths)
                    if not len(on):
                        continue
                    here = np.full(len(on), t)
                    self.step = s = SimpleNamespace(t=t, k=self.k, on=on)
                    s.read, s.place = self.tap("read", here), self.tap("place", here)
                    s.x = np.ascontiguousarray(value[s.read, on])
                    s.before = tuple(np.ascontiguousarray(part[:, on]) for part in self.tap("state_prev", state))
                    s.tape = Tape(cell, weights, (len(on),))
                    rows = np.empty((len(on), width), self.dtype)
                    after = bptt.forward(cell, weights, s.x, s.before, s.tape, rows)
                    s.after = self.tap("state", after)
                    output[s.place, on] = rows
                    for part, new in zip(state, s.after, strict=True):
                        part[:, on] = new
                    records.append(s)
                self.records.append(records)
                finals.append(state)
                halves.append(output)
            halves = self.tap("halves", halves)
            value = np.concatenate(halves, axis=2)
            self.outputs.append(value)
        value = self.tap("output", np.where(self.alive, value, 0))
        run = {"output": self.in_layout(value)} | self.joined(self.tap("finals", finals), "{}_n")
        run = self.tap("forward_run", run)
        return run

    def backward(self) -> Run:
        """The gradients; after `forward`."""
        c, given = self.c, self.problem.upstream
        cell = self.wrapped
        d_value = np.zeros_like(self.outputs[-1])
        if "output" in given:
            d_value = np.where(self.alive, self.in_steps(given["output"]), 0)
        d_value = self.tap("d_output", d_value)
        d_finals = self.tap("d_finals", self.states(given, "{}_n"))
        d_initials: list[State] = [()] * len(d_finals)
        gradients: dict[str, Array] = {}
        for layer in reversed(range(self.L)):
            self.layer = layer
            d_inputs = []
            halves = self.tap("d_halves", np.split(d_value, self.D, axis=2))
            for direction in range(self.D):
                self.direction = direction
                index = self.layer * self.D + self.direction
                records, d_half = self.records[index], halves[self.direction]
                weights = self.tap("weights_backward", self.tap("weights", self.weights(index)))
                self.d_final = self.tap("d_final", d_finals[index])
                d_state = tuple(np.array(part) for part in self.d_final)
                d_input = np.zeros((self.T, self.B, weights.W_ih.shape[1]), self.dtype)
                wanted = [kind for kind, weight in zip(KINDS, weights, strict=True) if weight is not None]
                terms: list[Weights] = []
                for s in reversed(records):
                    self.step, self.k = s, s.k
                    carried = self.tap("carry", tuple(np.array(part) for part in d_state))
                    d_h, *d_rest = (np.ascontiguousarray(part[:, s.on]) for part in carried)
                    d_h = d_h + d_half[s.place, s.on].T
                    d_x = np.empty_like(s.x, order="C")
                    d_prev, of_step = bptt.backward(cell, weights, s.x, None, (d_h, *d_rest), s.tape, d_x, wanted)
                    d_input[s.read, s.on] += d_x
                    rest = (of_step.get(kind) for kind in KINDS[2:])
                    terms.append(self.tap("term", Weights(of_step["weight_ih"], of_step["weight_hh"], *rest)))
                    for part, new in zip(d_state, self.tap("d_prev", d_prev), strict=True):
                        part[:, s.on] = new
                terms = self.tap("terms", terms)
                sums = Weights(*(sum(each) if each[0] is not None else None for each in zip(*terms, strict=True)))  # type: ignore[arg-type]
                d_weights = self.tap("d_weights", sums)
                gradients |= {
                    f"d_{name}": value
                    for name, value in zip(self.names[index], d_weights, strict=True)
                    if name is not None and value is not None
                }
                d_initials[index] = self.tap("d_initial", d_state)
                d_inputs.append(self.tap("d_x", d_input))
            d_value = sum(d_inputs)
            if self.layer > 0:
                if self.masks:
                    d_value = d_value * self.tap("d_mask", self.tap("mask", self.in_steps(self.masks[self.layer - 1])))
                d_value = self.tap("d_below", d_value)
        run = {"d_input": self.in_layout(self.tap("d_input", np.where(self.alive, d_value, 0)))}
        if c.initial_state:
            run |= self.joined(self.tap("d_initials", d_initials), "d_{}_0")
        run = self.tap("backward_run", run | {f"d_{name}": gradients[f"d_{name}"] for name in self.problem.parameters})
        return run

    def gate(self, name: str) -> slice:
        """The rows of a gate in the pre-activations, or of a half of it: one of `cell.blocks`."""
        at = self.cell.blocks.index(name)
        return slice(at * self.c.hidden_size, (at + 1) * self.c.hidden_size)


def run_faulty(problem: Problem, taps: Sequence[Taps], masks: Masks | None = None, forward_only: bool = False) -> Run:
    """What an implementation with these faults computes on the problem."""
    with np.errstate(all="ignore"):
        machine = Machine(problem, taps, masks)
        run = machine.forward()
        return run if forward_only else run | machine.backward()


@lru_cache(maxsize=20000)
def drawn(configuration: Configuration) -> Problem:
    """The configuration's problem, drawn once."""
    return draw(configuration)
