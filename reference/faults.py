"""The faults that people make when they write a recurrence by hand, each as a model that can be run.

A known fault is not guessed from symptoms. `Machine` is `scratch` taken apart into single steps, with a *tap* at every
value that goes from one place to another; a `Fault` says what is changed at which tap. So each fault can be computed on
any problem, and if what somebody's implementation gives is equal to that to rounding, in every tensor, the fault is
found for certain.

The steps themselves are those of `scratch`: each is a `bptt.forward` and a `bptt.backward` of one step. What is wrong
*inside* a cell is a change of its pre-activations on the way in, of its gradients on the way in or out, or, where the
equations themselves are others, a cell made of `Equations`, which are differentiated by complex steps.

Nothing here asks which cell it is, only what it has: `cell.gates`, `cell.state`. A fault that makes no difference on a
problem is no fault there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np

from scratch import nn
from scratch.nn import bptt
from scratch.nn.bptt import Cell, State, Tape, Weights
from scratch.types import Array

from .problems import CELLS, Configuration, Problem, draw
from .runs import Masks, Run

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
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        given = self.problem.parameters
        return [[kind + suffix if kind + suffix in given else None for kind in kinds] for suffix in suffixes]

    def weights(self, k: int) -> Weights:
        """The parameters of layer and direction k."""
        return Weights(*(None if name is None else self.problem.parameters[name] for name in self.names[k]))  # type: ignore[arg-type]

    def tapped_cell(self) -> Cell:
        """The cell with taps at its doors."""
        cell = self.cell

        def step(a: Array, state_prev: State, state: State, kept: State) -> None:
            a[...] = self.tap("a", a)
            self.step.a = a.copy()  # before the cell turns it into gates
            cell.step(a, state_prev, state, kept)

        def step_backward(
            d_state: State, a: Array, state_prev: State, state: State, kept: State, d_a: Array
        ) -> tuple[Array | None, State]:
            s = self.step
            s.d_state, s.prev, s.state = d_state, state_prev, state
            s.d_state = d_state = self.tap("d_state", d_state)
            s.d_h = d_state[0].copy()
            d_h_direct, d_rest = cell.step_backward(d_state, a, state_prev, state, kept, d_a)
            d_a[...] = self.tap("d_a", d_a)
            s.d_a = d_a.copy()
            return self.tap("d_h_direct", d_h_direct), self.tap("d_rest", d_rest)

        return cell._replace(step=step, step_backward=step_backward)

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
                terms: list[Weights] = []
                for s in reversed(records):
                    self.step, self.k = s, s.k
                    carried = self.tap("carry", tuple(np.array(part) for part in d_state))
                    d_h, *d_rest = (np.ascontiguousarray(part[:, s.on]) for part in carried)
                    d_h = d_h + d_half[s.place, s.on].T
                    d_x, d_prev, d_weights = bptt.backward(cell, weights, s.x, None, (d_h, *d_rest), s.tape)
                    d_input[s.read, s.on] += d_x
                    terms.append(self.tap("term", d_weights))
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
        """The rows of a gate in the pre-activations."""
        at = self.cell.gates.index(name)
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


# --- Pieces that the faults below are made of -----------------------------------------------------------------------


SIGMOID_GATES = ("i", "f", "o", "r", "z")
"""The field's names for gates that open and close, by σ. Any other pre-activation goes through tanh, or through the
cell's own nonlinearity if it is the only one."""


def sigmoid(a: Array) -> Array:
    """σ(a), also of complex numbers."""
    return 1 / (1 + np.exp(-a))


def sigmoid_gates(cell: Cell) -> list[str]:
    """The gates that go through σ."""
    return [name for name in cell.gates if name in SIGMOID_GATES and len(cell.gates) > 1]


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


# --- The catalogue ---------------------------------------------------------------------------------------------------


@cache
def catalogue(configuration: Configuration) -> tuple[Fault, ...]:
    """Every known fault that a recurrence of this configuration can have."""
    cell = cell_of(configuration)
    return tuple(fault for chapter in CHAPTERS for fault in chapter(cell, configuration))


def gate_order(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The blocks of the gates, in another order than PyTorch's."""
    names = cell.gates
    right = ", ".join(names)
    for order in permutations(range(len(names))):
        if list(order) == sorted(order):
            continue
        theirs = ", ".join(names[n] for n in order)
        back = [order.index(n) for n in range(len(order))]  # where PyTorch's n-th gate lies in the candidate's order

        def permuted(value: Array, blocks: Sequence[int], cell: Cell = cell) -> Array:
            return in_blocks(cell, value)[list(blocks)].reshape(value.shape)

        def taken(value: Array, back: list[int] = back, permuted: Any = permuted) -> Array:
            return permuted(value, back)

        def given(value: Array, order: Sequence[int] = order, permuted: Any = permuted) -> Array:
            return permuted(value, order)

        rows = ("W_ih", "W_hh", "b_ih", "b_hh")
        weights = {"weights": on_weights(taken, rows)}
        yield Fault(
            f"the gates in the order {theirs}",
            f"The rows of the weights and biases are read as the gates in another order: your order is {theirs}; "
            f"PyTorch's is {right}.",
            (
                weights | {"d_weights": on_weights(given, rows)},
                {"weights_forward": on_weights(taken, rows)},  # backward in PyTorch's order
                weights,
            ),
            forward=True,
            common=False,
        )
        yield Fault(
            f"the gates' gradients put together in the order {theirs}",
            "Backward, the gradients of the gates are put together in another order than forward: your order is "
            f"{theirs}; the weights' is {right}. Everything that is multiplied with d_a is wrong with it.",
            ({"d_a": lambda d_a, m, given=given: given(d_a)},),
            common=False,
        )
        yield Fault(
            f"the weights' gradients in the order {theirs}",
            "The gradients of weights and biases have their row blocks in another order than the weights: your "
            f"order is {theirs}; PyTorch's is {right}.",
            ({"d_weights": on_weights(given, rows)},),
            common=False,
        )


def transposed_weights(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """A matrix on its side."""

    def turned(value: Array) -> Array:
        blocks = in_blocks(cell, value)
        if blocks.shape[1] != blocks.shape[2]:
            raise ValueError(f"a matrix of shape {value.shape} cannot be used on its side")
        return blocks.swapaxes(1, 2).reshape(value.shape)

    def reshaped(value: Array) -> Array:
        return np.ascontiguousarray(value.reshape(value.shape[::-1]).T)

    def reshaped_back(value: Array) -> Array:
        return np.ascontiguousarray(value.T).reshape(value.shape)

    for name in MATRICES:
        vector = {"W_ih": "x", "W_hh": "h_prev", "W_hr": "m"}[name]
        d_vector = {"W_ih": "d_x = W_ihᵀ d_a", "W_hh": "d_h_prev = W_hhᵀ d_a", "W_hr": "d_m = W_hrᵀ d_h"}[name]
        d_weight = {"W_ih": "d_a xᵀ", "W_hh": "d_a h_prevᵀ", "W_hr": "d_h mᵀ"}[name]
        one = (name,)
        if name != "W_hr":  # which is never square
            yield Fault(
                f"{name} transposed",
                f"The forward pass multiplies {vector} by {name}ᵀ where it should be by {name} (with rows as vectors: "
                f"by {name} where it should be by its transpose).",
                (
                    {"weights": on_weights(turned, one), "d_weights": on_weights(turned, one)},
                    {"weights_forward": on_weights(turned, one)},
                    {"weights": on_weights(turned, one)},
                ),
                forward=True,
            )
            yield Fault(
                f"{name} not transposed backward",
                f"The transpose is missing on {name} in the backward pass: forward multiplies by {name}, so backward "
                f"multiplies by its transpose, {d_vector}.",
                ({"weights_backward": on_weights(turned, one)},),
            )
            yield Fault(
                f"the gradient of {name} transposed",
                f"The gradient of {name} is transposed: it is {d_weight}, of the shape of {name}.",
                ({"d_weights": on_weights(turned, one)}, {"d_weights": on_weights(reshaped_back, one)}),
            )
        if name == "W_hh" and len(cell.gates) == 1:
            continue  # always square
        yield Fault(
            f"{name} reshaped",
            f"{name} is brought into the shape of its transpose by a reshape, which keeps the numbers in their "
            "order; a transpose (.T) is meant.",
            (
                {"weights": on_weights(reshaped, one), "d_weights": on_weights(reshaped_back, one)},
                {"weights_forward": on_weights(reshaped, one)},
                {"weights": on_weights(reshaped, one)},
            ),
            forward=True,
        )
        yield Fault(
            f"{name} reshaped backward",
            f"Backward {name} is reshaped where its transpose is meant: {d_vector}.",
            ({"weights_backward": on_weights(reshaped, one)},),
        )


def carries(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """What goes from a step to the step before."""
    groups: list[tuple[tuple[str, ...], str]] = [((part,), f"d_{part}") for part in cell.state]
    if len(cell.state) > 1:
        groups.append((cell.state, listed([f"d_{part}" for part in cell.state])))
    for parts, name in groups:
        at = [cell.state.index(part) for part in parts]
        are = "are" if len(parts) > 1 else "is"
        through = "; ".join(
            "h_prev acts on this step through W_hh, d_h_prev = W_hhᵀ d_a"
            if part == "h"
            else f"{part} also acts on the step after directly, through {part}_prev"
            for part in parts
        )

        def only_first(state: State, m: Machine, at: list[int] = at) -> State:
            last = m.step is m.records[m.layer * m.D + m.direction][-1]
            return tuple(np.zeros_like(v) if n in at and not last else v for n, v in enumerate(state))

        def never(state: State, m: Machine, at: list[int] = at) -> State:
            return tuple(np.zeros_like(v) if n in at else v for n, v in enumerate(state))

        def always_the_final(state: State, m: Machine, at: list[int] = at) -> State:
            return tuple(m.d_final[n] if n in at else v for n, v in enumerate(state))

        none = {"d_initial": never}
        yield Fault(
            f"{name} not carried",
            f"{name} {are} not carried from a step to the one before: {through}. So each step's gradient has two "
            "sources, this step and the step after, and the second is lost.",
            (
                {"carry": only_first},
                {"carry": only_first} | none,
                {"carry": always_the_final},
                {"carry": always_the_final, "d_initial": always_the_final},
            ),
        )
        yield Fault(
            f"{name} from the step after overwritten",
            f"{name} that comes from the step after (and, at the last step, from outside) {are} overwritten where "
            f"this step's own part should be added (= for +=), or never read: {through}.",
            ({"carry": never}, {"carry": never} | none),
        )
    for k in range(2, max(c.lengths, default=1)):

        def in_chunks(state: State, m: Machine, k: int = k) -> State:
            steps_taken = m.T - 1 - m.k
            return tuple(np.zeros_like(v) if steps_taken and steps_taken % k == 0 else v for v in state)

        def cut_off(state: State, m: Machine, k: int = k) -> State:
            return tuple(np.zeros_like(v) if m.T - 1 - m.k >= k else v for v in state)

        def cut_once(state: State, m: Machine, k: int = k) -> State:
            return tuple(np.zeros_like(v) if m.T - 1 - m.k == k else v for v in state)

        yield Fault(
            f"truncated after {k} steps",
            f"Backpropagation through time is truncated: what comes from later steps is dropped after {k} steps. The "
            "whole gradient goes back to the first step.",
            ({"carry": in_chunks}, {"carry": cut_off}, {"carry": cut_once}),
            common=False,
        )


def derivatives(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The derivatives of σ, tanh and relu."""
    sigmoids = sigmoid_gates(cell)
    if len(cell.gates) == 1:
        yield from derivatives_of_one(cell, c)
        return
    wrong_sigmoids: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        ("σ′ missing", "the factor σ′(a) = s(1 − s) is missing", lambda a, s: np.ones_like(s)),
        ("1 − s missing from σ′", "σ′(a) is s(1 − s), and only s is there", lambda a, s: s),
        ("s missing from σ′", "σ′(a) is s(1 − s), and only 1 − s is there", lambda a, s: 1 - s),
        (
            "σ′ taken of the pre-activation",
            "σ′(a) is s(1 − s) of the gate s = σ(a), and a(1 − a) is there",
            lambda a, s: a * (1 - a),
        ),
        (
            "σ′ taken at the gate",
            "σ′ is taken at s = σ(a), as if σ were applied twice, where it belongs at a: σ′(a) = s(1 − s)",
            lambda a, s: sigmoid(s) * (1 - sigmoid(s)),
        ),
        ("tanh′ for σ′", "1 − s², which is tanh′, is there for σ′(a) = s(1 − s)", lambda a, s: 1 - s * s),
    ]
    wrong_tanhs: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        ("tanh′ missing", "the factor tanh′(a) = 1 − y² is missing", lambda a, y: np.ones_like(y)),
        ("1 − y for tanh′", "tanh′(a) is 1 − y², and 1 − y is there (the square is missing)", lambda a, y: 1 - y),
        (
            "tanh′ taken of the pre-activation",
            "tanh′(a) is 1 − y² of the value y = tanh(a), and 1 − a² is there",
            lambda a, y: 1 - a * a,
        ),
        (
            "tanh′ taken at the value",
            "tanh′ is taken at y = tanh(a), as if tanh were applied twice, where it belongs at a: tanh′(a) = 1 − y²",
            lambda a, y: 1 - np.tanh(y) ** 2,
        ),
        ("σ′ for tanh′", "y(1 − y), which is σ′, is there for tanh′(a) = 1 − y²", lambda a, y: y * (1 - y)),
    ]

    def with_factor(wrong: Callable[[Array, Array], Array], is_sigmoid: bool) -> Callable[[Array, Machine], Array]:
        def change(d_a: Array, m: Machine) -> Array:
            a = m.step.a[m.step.rows]
            y = sigmoid(a) if is_sigmoid else np.tanh(a)
            return d_a / (y * (1 - y) if is_sigmoid else 1 - y * y) * wrong(a, y)

        return change

    for is_sigmoid, wrongs in ((True, wrong_sigmoids), (False, wrong_tanhs)):
        own = [gate for gate in cell.gates if (gate in sigmoids) == is_sigmoid]
        groups = [(gate,) for gate in own] + ([tuple(own)] if len(own) > 1 else [])
        for name, told, wrong in wrongs:
            for gates in groups:
                tap = on_rows(with_factor(wrong, is_sigmoid), gates)
                yield Fault(
                    f"{name} in {listed(gates)}",
                    f"In the gradient of the pre-activation of {listed(gates)}, {told}.",
                    ({"d_a": tap},),
                )
    missing = [on_rows(with_factor(lambda a, y: np.ones_like(y), gate in sigmoids), (gate,)) for gate in cell.gates]

    def all_missing(d_a: Array, m: Machine) -> Array:
        for tap in missing:
            d_a = tap(d_a, m)
        return d_a

    yield Fault(
        "all derivatives of the gates missing",
        "The derivatives of the nonlinearities, σ′ and tanh′, are missing in the gradients of all gates, "
        f"{listed(cell.gates)}.",
        ({"d_a": all_missing},),
    )


def derivatives_of_one(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The derivative of a cell's only nonlinearity, h = φ(a)."""
    wrongs: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        (
            "φ′ missing",
            "the factor φ′(a) is missing (for tanh: 1 − h², for relu: [a > 0])",
            lambda a, h: np.ones_like(h),
        ),
        ("1 − h for tanh′", "tanh′(a) is 1 − h², and 1 − h is there (the square is missing)", lambda a, h: 1 - h),
        (
            "tanh′ taken of the pre-activation",
            "tanh′(a) is 1 − h² of the value h = tanh(a), and 1 − a² is there",
            lambda a, h: 1 - a * a,
        ),
        (
            "tanh′ taken at the value",
            "tanh′ is taken at h, which is tanh(a) already, where it belongs at a: tanh′(a) = 1 − h²",
            lambda a, h: 1 - np.tanh(h) ** 2,
        ),
        ("σ′ for φ′", "h(1 − h), which is σ′, is there for φ′(a)", lambda a, h: h * (1 - h)),
        ("tanh′ for φ′", "1 − h², which is tanh′, is there for φ′(a)", lambda a, h: 1 - h * h),
        ("relu′ for φ′", "[a > 0], which is relu′, is there for φ′(a)", lambda a, h: np.where(a > 0, 1.0, 0.0)),
        ("h for relu′", "h itself is there for relu′(a), which is 1 where a > 0 and 0 elsewhere", lambda a, h: h),
        ("2h for φ′", "−2h or 2h, the derivative of h², is there for φ′(a)", lambda a, h: -2 * h),
    ]
    for name, told, wrong in wrongs:

        def tap(d_a: Array, m: Machine, wrong: Callable[[Array, Array], Array] = wrong) -> Array:
            return m.step.d_h * wrong(m.step.a, m.step.state[0])

        yield Fault(name, f"In the gradient of the pre-activation, {told}.", ({"d_a": tap},))


def inside_with_memory(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Backward through c = f ⊙ c_prev + i ⊙ g and h = o ⊙ tanh(c), for cells that have these."""
    if not ({"i", "f", "g", "o"} <= set(cell.gates) and "c" in cell.state):
        return
    memory = cell.state.index("c")
    wrongs: list[tuple[str, str, Callable[..., Array]]] = [
        (
            "tanh′(c) missing",
            "On the way from h = o ⊙ tanh(c) to c the factor tanh′(c) = 1 − tanh(c)² is missing: d_c += d_h ⊙ o ⊙ "
            "tanh′(c).",
            lambda o, c, y: o,
        ),
        (
            "the square missing in tanh′(c)",
            "On the way from h to c, tanh′(c) is 1 − tanh(c)², and 1 − tanh(c) is there.",
            lambda o, c, y: o * (1 - y),
        ),
        (
            "1 − c² for tanh′(c)",
            "On the way from h to c, tanh′(c) is 1 − tanh(c)², and 1 − c² is there.",
            lambda o, c, y: o * (1 - c * c),
        ),
        (
            "tanh′(c) taken at tanh(c)",
            "On the way from h to c, tanh′ is taken at tanh(c), as if tanh were applied twice: tanh′(c) = 1 − "
            "tanh(c)².",
            lambda o, c, y: o * (1 - np.tanh(y) ** 2),
        ),
        (
            "o missing on the way from h to c",
            "On the way from h = o ⊙ tanh(c) to c the factor o is missing: d_c += d_h ⊙ o ⊙ tanh′(c).",
            lambda o, c, y: 1 - y * y,
        ),
        (
            "c gets no gradient from h",
            "h = o ⊙ tanh(c) gives c a gradient at every step, d_c += d_h ⊙ o ⊙ tanh′(c), and it is lost.",
            lambda o, c, y: np.zeros_like(o),
        ),
    ]
    for name, told, wrong in wrongs:

        def from_h(d_state: State, m: Machine, wrong: Callable[..., Array] = wrong) -> State:
            o, c = sigmoid(m.step.a[m.gate("o")]), m.step.state[memory]
            y = np.tanh(c)
            extra = d_state[0] * (wrong(o, c, y) - o * (1 - y * y))
            return tuple(v + extra if n == memory else v for n, v in enumerate(d_state))

        yield Fault(name, told, ({"d_state": from_h},))

    def value(m: Machine, name: str) -> Array:
        if name in m.cell.gates:
            a = m.step.a[m.gate(name)]
            return sigmoid(a) if name in SIGMOID_GATES else np.tanh(a)
        c, c_prev = m.step.state[memory], m.step.prev[memory]
        return {"c": c, "c_prev": c_prev, "tanh(c)": np.tanh(c), "tanh(c_prev)": np.tanh(c_prev), "1": np.ones_like(c)}[
            name
        ]

    right = {"i": ("d_c", "g"), "f": ("d_c", "c_prev"), "g": ("d_c", "i"), "o": ("d_h", "tanh(c)")}
    for gate, others in {
        "i": ("i", "c_prev", "1", "o", "f"),
        "f": ("c", "f", "1", "tanh(c_prev)", "g"),
        "g": ("g", "f", "1", "o"),
        "o": ("c", "o", "1", "c_prev", "tanh(c_prev)"),
    }.items():
        source, factor = right[gate]
        for other in others:

            def tap(d: Array, m: Machine, factor: str = factor, other: str = other) -> Array:
                return d / value(m, factor) * value(m, other)

            there = "missing" if other == "1" else f"{other} is there instead"
            yield Fault(
                f"the factor of d_{gate}: {other} for {factor}",
                f"d_{gate} = {source} ⊙ {factor}, and {factor} is {there}.",
                ({"d_a": on_rows(tap, (gate,))},),
            )
    for other in ("1", "i", "o"):

        def rest(d_rest: State, m: Machine, other: str = other) -> State:
            return tuple(v / value(m, "f") * value(m, other) if n + 1 == memory else v for n, v in enumerate(d_rest))

        there = "f is missing" if other == "1" else f"{other} is there instead of f"
        yield Fault(
            f"the factor of d_c_prev: {other} for f",
            f"d_c_prev = d_c ⊙ f, because c = f ⊙ c_prev + i ⊙ g; {there}.",
            ({"d_rest": rest},),
        )

    def before_h(d_a: Array, m: Machine) -> Array:
        """d_i, d_f, d_g from the d_c of the step after alone."""
        o, c = sigmoid(m.step.a[m.gate("o")]), m.step.state[memory]
        whole = m.step.d_c_in + m.step.d_h * o * (1 - np.tanh(c) ** 2)
        return d_a * np.where(whole == 0, 0, m.step.d_c_in / whole)

    def note(d_state: State, m: Machine) -> State:
        m.step.d_c_in = d_state[memory].copy()
        return d_state

    def only_carried(d_rest: State, m: Machine) -> State:
        return tuple(m.step.d_c_in * value(m, "f") if n + 1 == memory else v for n, v in enumerate(d_rest))

    def only_own(d_a: Array, m: Machine) -> Array:
        o, c = sigmoid(m.step.a[m.gate("o")]), m.step.state[memory]
        own = m.step.d_h * o * (1 - np.tanh(c) ** 2)
        return d_a / (m.step.d_c_in + own) * own

    inner = ("i", "f", "g")
    yield Fault(
        "d_c_prev without what comes from h",
        "d_c_prev = d_c ⊙ f needs the whole d_c, this step's part d_h ⊙ o ⊙ tanh′(c) included; only what came from "
        "the step after is passed on.",
        ({"d_state": note, "d_rest": only_carried},),
    )
    yield Fault(
        "d_i, d_f and d_g without what comes from the step after",
        "d_i, d_f and d_g need the whole d_c; what came from the step after is left out there, though it is passed on.",
        ({"d_state": note, "d_a": on_rows(only_own, inner)},),
    )
    yield Fault(
        "d_i, d_f and d_g without what comes from h",
        "d_i, d_f and d_g need the whole d_c, this step's part d_h ⊙ o ⊙ tanh′(c) included; it is added too late.",
        ({"d_state": note, "d_a": on_rows(before_h, inner)},),
    )


def direct_paths(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """For cells in which h_prev also acts directly, not only through W_hh."""
    one = np.ones((1, 1))
    parts = tuple(one.copy() for _ in cell.state)
    kept = tuple(one.copy() for _ in range(cell.kept))
    a = np.ones((len(cell.gates), 1))
    cell.step(a, parts, parts, kept)
    if cell.step_backward(parts, a, parts, parts, kept, np.ones_like(a))[0] is None:
        return
    yield Fault(
        "the direct path from h to h_prev lost",
        "h_prev acts on h also directly, not only through W_hh, and that part of d_h_prev is lost.",
        ({"d_h_direct": lambda direct, m: None},),
    )
    yield Fault(
        "d_h_prev without the path through W_hh",
        "h_prev also acts through W_hh, d_h_prev = W_hhᵀ d_a + …, and that part is lost.",
        ({"weights_backward": lambda w, m: w._replace(W_hh=0 * w.W_hh)},),
    )


def biases(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Two biases, where one would do."""
    if not c.bias:
        return
    told = {"b_ih": "the first bias, b_ih,", "b_hh": "the second bias, b_hh,"}
    zero = {name: on_weights(lambda value: 0 * value, (name,)) for name in BIASES}
    both_zero = on_weights(lambda value: 0 * value, BIASES)
    double = on_weights(lambda value: 2 * value, BIASES)
    half = on_weights(lambda value: value / 2, BIASES)
    for name in BIASES:
        other = BIASES[1 - BIASES.index(name)]

        def other_twice(weights: Weights, m: Machine, name: str = name, other: str = other) -> Weights:
            return weights._replace(**{name: getattr(weights, other)})

        yield Fault(
            f"{name} forgotten",
            f"{told[name].capitalize()} is forgotten: a = W_ih x + b_ih + W_hh h_prev + b_hh.",
            ({"weights": zero[name]}, {"weights": zero[name], "d_weights": zero[name]}),
            forward=True,
        )
        yield Fault(
            f"{other} added twice",
            f"{told[other].capitalize()} is added twice, and {told[name]} not at all.",
            ({"weights": other_twice},),
            forward=True,
        )
        yield Fault(
            f"the gradient of {name} zero",
            f"The gradient of {told[name]} is left at zero, or forgotten. The two biases are added, so both have the "
            "gradient Σ d_a.",
            ({"d_weights": zero[name]},),
        )
        yield Fault(
            f"the gradient of {name} doubled",
            f"The gradient of {name} is counted twice. The two biases are added, so each has the gradient Σ d_a.",
            ({"d_weights": on_weights(lambda value: 2 * value, (name,))},),
        )
    yield Fault(
        "no bias added",
        "The biases are not added: a = W_ih x + b_ih + W_hh h_prev + b_hh.",
        ({"weights": both_zero}, {"weights": both_zero, "d_weights": both_zero}),
        forward=True,
    )
    yield Fault(
        "the gradients of both biases zero",
        "The gradients of both biases are left at zero; each is Σ d_a.",
        ({"d_weights": both_zero},),
    )
    yield Fault(
        "the gradients of the two biases shared out",
        "The gradient Σ d_a is shared out between the two biases, half to each. Each has all of it: both are added.",
        ({"d_weights": half},),
    )
    yield Fault(
        "the gradients of the two biases summed",
        "Each bias gets the sum of both gradients, twice Σ d_a; each has Σ d_a.",
        ({"d_weights": double},),
    )


def upstreams(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The gradients that come in and those that go out at the two ends."""
    groups = [(part,) for part in cell.state] + ([cell.state] if len(cell.state) > 1 else [])
    for parts in groups:
        at = [cell.state.index(part) for part in parts]

        def dropped(state: State, m: Machine, at: list[int] = at) -> State:
            return tuple(np.zeros_like(v) if n in at else v for n, v in enumerate(state))

        def dropped_below(state: State, m: Machine, dropped: Any = dropped) -> State:
            return state if m.layer == m.L - 1 else dropped(state, m)

        finals = listed([f"{part}_n" for part in parts])
        initials = listed([f"{part}_0" for part in parts])
        yield Fault(
            f"the gradient of {finals} ignored",
            f"The gradient that comes in from the final state, d_{' and d_'.join(f'{p}_n' for p in parts)}, is "
            "ignored: it is where the way back begins, before the last step.",
            ({"d_final": dropped},),
        )
        yield Fault(
            f"the gradient of {finals} ignored below the last layer",
            f"The gradient of {finals} is taken in at the last layer only; each layer has a final state.",
            ({"d_final": dropped_below},),
        )
        yield Fault(
            f"the gradient of {initials} lost",
            f"The gradient of the initial state is left at zero for {initials}: it is what is left after the first "
            "step on the way back.",
            ({"d_initial": dropped},),
        )
        yield Fault(
            f"{initials} ignored",
            f"The initial state is ignored: the first step begins with zeros where {initials} should be.",
            ({"initial": dropped}, {"initial": dropped, "d_initial": dropped}),
            forward=True,
        )

        def twice(state: State, m: Machine, at: list[int] = at) -> State:
            first = m.step is m.records[m.layer * m.D + m.direction][-1]
            return tuple(v + m.d_final[n] if n in at and not first else v for n, v in enumerate(state))

        yield Fault(
            f"the gradient of {finals} added at every step",
            f"The gradient of the final state {finals} is added at every step; it belongs to the last step alone.",
            ({"carry": twice},),
        )

    def only_last(d_output: Array, m: Machine) -> Array:
        kept = np.zeros_like(d_output)
        last = m.lengths - 1, np.arange(m.B)
        kept[last] = d_output[last]
        return kept

    def only_first(d_output: Array, m: Machine) -> Array:
        kept = np.zeros_like(d_output)
        kept[0] = d_output[0]
        return kept

    def but_last(d_output: Array, m: Machine) -> Array:
        return d_output - only_last(d_output, m)

    yield Fault(
        "the gradient of the output ignored",
        "The gradient that comes in from the output is ignored: it enters at every step.",
        ({"d_output": zeros},),
    )
    yield Fault(
        "only the last step's gradient of the output used",
        "Of the gradient of the output only the last step is used: it enters at every step.",
        ({"d_output": only_last},),
    )
    yield Fault(
        "the gradient of the output ignored at the last step",
        "The gradient of the output is ignored at the last step (overwritten by that of the final state): both are "
        "added.",
        ({"d_output": but_last},),
    )
    yield Fault(
        "only the first step's gradient of the output used",
        "Of the gradient of the output only the first step is used: it enters at every step.",
        ({"d_output": only_first},),
    )
    yield Fault(
        "the gradient of the output taken in the wrong order of time",
        "The gradient of the output is taken in the opposite order of time: step t's belongs to step t.",
        ({"d_output": lambda d, m: d[::-1]},),
    )
    yield Fault(
        "the gradient of the input lost",
        "The gradient of the input is left at zero: it is W_ihᵀ d_a.",
        ({"d_input": zeros},),
    )
    yield Fault(
        "the gradient of the input in the wrong order of time",
        "The steps of d_input are in the opposite order of time (collected on the way back and not turned around).",
        ({"d_input": lambda d, m: d[::-1]},),
    )
    if len(cell.state) > 1:
        exchange: Tap = lambda states, m: [each[::-1] for each in states]  # noqa: E731
        exchanged_initials, exchanged_finals = {"initials": exchange}, {"finals": exchange}
        for name, told, variants in (
            (
                "the state",
                "the state",
                (
                    exchanged_initials | exchanged_finals | {"d_initials": exchange, "d_finals": exchange},
                    exchanged_initials | exchanged_finals,
                ),
            ),
            (
                "the initial state",
                "the initial state that is given",
                (exchanged_initials | {"d_initials": exchange}, exchanged_initials),
            ),
            ("the final state", "the final state", (exchanged_finals | {"d_finals": exchange}, exchanged_finals)),
        ):
            yield Fault(
                f"the parts of {name} exchanged",
                f"The parts of {told} are exchanged: the state is the tuple ({', '.join(cell.state)}), in this order.",
                variants if not c.proj_size else (),
                forward=True,
            )
        yield Fault(
            "the parts of the initial state's gradient exchanged",
            "The parts of the gradient of the initial state are exchanged: "
            f"({', '.join(f'd_{p}_0' for p in cell.state)}).",
            ({"d_initials": exchange},) if not c.proj_size else (),
        )
        yield Fault(
            "the parts of the final state's gradient exchanged",
            "The parts of the gradient of the final state are exchanged: "
            f"({', '.join(f'd_{p}_n' for p in cell.state)}).",
            ({"d_finals": exchange},) if not c.proj_size else (),
        )
    elsewhere = "The final state is that of the last step, after it"

    def of_step(index: int) -> Tap:
        return lambda finals, m: [records[index].after for records in m.records]

    if len(set(c.lengths)) == 1 and max(c.lengths) > 1:
        yield Fault(
            "the final state taken one step too early",
            f"{elsewhere}; here it is the state before the last step.",
            ({"finals": of_step(-2)},),
            forward=True,
        )
        yield Fault(
            "the first step's state for the final state",
            f"{elsewhere}; here it is the state after the first step.",
            ({"finals": of_step(0)},),
            forward=True,
        )


def leftovers(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """What one call leaves for the next."""
    groups = [(part,) for part in cell.state] + ([cell.state] if len(cell.state) > 1 else [])
    for parts in groups if not c.initial_state else ():
        at = [cell.state.index(part) for part in parts]

        def of_last_call(initials: list[State], m: Machine, at: list[int] = at) -> list[State]:
            first = Machine(m.problem, [{k: v for k, v in taps.items() if k != "initials"} for taps in m.taps], m.masks)
            final = first.states(first.forward(), "{}_n")
            return [
                tuple(new if n in at else old for n, (old, new) in enumerate(zip(before, after, strict=True)))
                for before, after in zip(initials, final, strict=True)
            ]

        yield Fault(
            f"{listed(parts)} not reset between calls",
            "The state is not reset: without an initial state every call begins with zeros, and here "
            f"{listed(parts)} of the second call goes on where the first ended.",
            ({"initials": of_last_call},),
            forward=True,
            leftover=True,
        )

    def doubled(names: Callable[[str], bool]) -> Tap:
        def tap(run: Run, m: Machine) -> Run:
            return {
                name: 2 * value if name.removeprefix("d_") in m.problem.parameters and names(name) else value
                for name, value in run.items()
            }

        return tap

    yield Fault(
        "gradients not reset between calls",
        "The gradients of the parameters are not reset: the second call adds to what the first left.",
        ({"backward_run": doubled(lambda name: True)},),
        leftover=True,
    )
    for kind in ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh", "bias"):
        yield Fault(
            f"the gradient of {'both biases' if kind == 'bias' else kind} not reset between calls",
            f"The gradient of {'both biases' if kind == 'bias' else kind} is not reset: the second call adds to what "
            "the first left.",
            ({"backward_run": doubled(lambda name, kind=kind: kind in name)},),
            leftover=True,
        )
    for parts in groups:
        at = [cell.state.index(part) for part in parts]

        def of_last_way_back(d_finals: list[State], m: Machine, at: list[int] = at) -> list[State]:
            taps = [{k: v for k, v in taps.items() if k != "d_finals"} for taps in m.taps]
            problem = m.problem
            if not m.c.initial_state:  # so that the gradient of the initial state is given
                problem = replace(problem, configuration=replace(problem.configuration, initial_state=True))
            first = Machine(problem, taps, m.masks)
            first.forward()
            left = first.states(first.backward(), "d_{}_0")
            return [
                tuple(d + new if n in at else d for n, (d, new) in enumerate(zip(given, more, strict=True)))
                for given, more in zip(d_finals, left, strict=True)
            ]

        yield Fault(
            f"{listed([f'd_{part}' for part in parts])} not reset between calls",
            f"What is carried back through time, {listed([f'd_{part}' for part in parts])}, is not reset: the way "
            "back of the second call begins with what the first left.",
            ({"d_finals": of_last_way_back},),
            leftover=True,
        )


def sums_over_time(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The gradients of the weights are sums over all steps and sequences."""
    given = [
        name for name in ALL_WEIGHTS if not (name in BIASES and not c.bias) and not (name == "W_hr" and not c.proj_size)
    ]
    groups: dict[str, tuple[str, ...]] = {"all weights": ALL_WEIGHTS}
    groups |= {name: (name,) for name in given}
    if c.bias:
        groups |= {"both biases": BIASES, "the weight matrices": MATRICES}
    for name, chosen in groups.items():
        are = "are" if len(chosen) > 1 else "is"
        gradients = "gradients" if len(chosen) > 1 else "gradient"

        def only(index: int, chosen: tuple[str, ...] = chosen) -> Tap:
            def tap(terms: list[Weights], m: Machine) -> list[Weights]:
                drop = on_weights(lambda value: 0 * value, chosen)
                kept = index % len(terms)
                return [term if n == kept else drop(term, m) for n, term in enumerate(terms)]

            return tap

        def but(index: int, chosen: tuple[str, ...] = chosen) -> Tap:
            def tap(terms: list[Weights], m: Machine) -> list[Weights]:
                drop = on_weights(lambda value: 0 * value, chosen)
                return [drop(term, m) if n == index % len(terms) else term for n, term in enumerate(terms)]

            return tap

        def over(count: Callable[[Machine], int], chosen: tuple[str, ...] = chosen) -> Tap:
            return lambda d, m: on_weights(lambda value: value / count(m), chosen)(d, m)

        yield Fault(
            f"{gradients} of {name} of one step only (the first)",
            f"The {gradients} of {name} {are} that of the first step only: each step on the way back overwrites it "
            "(=) where it should add (+=).",
            ({"terms": only(-1)},),
        )
        yield Fault(
            f"{gradients} of {name} of one step only (the last)",
            f"The {gradients} of {name} {are} that of the last step only: it is a sum over all steps.",
            ({"terms": only(0)},),
        )
        if name != "W_hh":  # for W_hh it is the same as leaving out the initial state
            yield Fault(
                f"{gradients} of {name} without the first step",
                f"In the {gradients} of {name}, a sum over all steps, the first step is left out.",
                ({"terms": but(-1)},),
                common=False,
            )
        yield Fault(
            f"{gradients} of {name} without the last step",
            f"In the {gradients} of {name}, a sum over all steps, the last step is left out.",
            ({"terms": but(0)},),
            common=False,
        )
        counts: dict[str, Callable[[Machine], int]] = {
            "batch": lambda m: m.B,
            "steps": lambda m: m.T,
            "steps and batch": lambda m: m.B * m.T,
        }
        for what, count in counts.items():
            yield Fault(
                f"{gradients} of {name} averaged over the {what}",
                f"The {gradients} of {name} {are} averaged over the {what}; what is meant is the sum. (An average "
                "belongs into the loss, and comes in with the loss's gradient.)",
                ({"d_weights": over(count)},),
            )

    def with_h(which: Callable[[Any, Machine], Array]) -> Tap:
        def tap(term: Weights, m: Machine) -> Weights:
            return term._replace(W_hh=m.step.d_a @ which(m.step, m).T)

        return tap

    def previous(step: Any, m: Machine) -> Array:
        return np.zeros_like(step.before[0]) if step.k == 0 else step.before[0]

    yield Fault(
        "the gradient of W_hh formed with h for h_prev",
        "The gradient of W_hh is formed with h of the same step where it should be with h of the step before: Σ d_a "
        "h_prevᵀ.",
        ({"term": with_h(lambda step, m: step.after[0])},),
    )
    yield Fault(
        "the gradient of W_hh without the initial state",
        "In the gradient of W_hh, Σ d_a h_prevᵀ, the first step's h_prev is the initial state h_0; zero is there, "
        "or the first step is left out.",
        ({"term": with_h(previous)},),
    )


def directions(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Two directions, and the order of things in the state."""
    D, L = 1 + c.bidirectional, c.num_layers

    def reordered(order: list[int]) -> tuple[Taps, ...]:
        back = [order.index(n) for n in range(len(order))]
        put: Tap = lambda states, m: [states[n] for n in order]  # noqa: E731
        take: Tap = lambda states, m: [states[n] for n in back]  # noqa: E731
        finals, initials = {"finals": put, "d_finals": take}, {"initials": take, "d_initials": put}
        return (finals | initials, finals, initials, {"finals": put}, {"finals": put, "initials": take})

    if L > 1 and c.bidirectional:
        yield Fault(
            "the states ordered by direction, then layer",
            "The states of layers and directions are in the wrong order: layer 0 forward, layer 0 reverse, layer 1 "
            "forward, and so on; here first all forward, then all reverse.",
            reordered([layer * D + direction for direction in range(D) for layer in range(L)]),
            forward=True,
        )
    if L > 1:
        yield Fault(
            "the states of the layers in the opposite order",
            "The states of the layers are in the opposite order: the first layer's comes first.",
            reordered([(L - 1 - layer) * D + direction for layer in range(L) for direction in range(D)]),
            forward=True,
        )
        yield Fault(
            "the final state of the last layer for every layer",
            "Every layer has a final state of its own; the last layer's is given for all.",
            ({"finals": lambda f, m: [f[(m.L - 1) * m.D + k % m.D] for k in range(len(f))]},),
            forward=True,
        )
        first_for_all: Tap = lambda s, m: [s[k % m.D] for k in range(len(s))]  # noqa: E731
        yield Fault(
            "the initial state of layer 0 in every layer",
            "Every layer has an initial state of its own; all layers begin with that of layer 0.",
            ({"initials": first_for_all},),
            forward=True,
        )
    if not c.bidirectional:
        return

    def own_count(here: Array, m: Machine) -> Array:
        return m.lengths[m.step.on] - 1 - here if m.direction else here

    def turned(d_x: Array, m: Machine) -> Array:
        if not m.direction:
            return d_x
        d_x = d_x.copy()
        for b, length in enumerate(m.lengths):
            d_x[:length, b] = d_x[:length, b][::-1].copy()
        return d_x

    def reversed_half(halves: Sequence[Array], m: Machine) -> list[Array]:
        half = halves[1].copy()
        for b, length in enumerate(m.lengths):
            half[:length, b] = half[:length, b][::-1].copy()
        return [halves[0], half]

    def swap(halves: Sequence[Array], m: Machine) -> list[Array]:
        return list(halves)[::-1]

    def last_output(finals: list[State], m: Machine) -> list[State]:
        width = m.outputs[0].shape[2] // 2
        last = m.lengths - 1, np.arange(m.B)
        return [
            (np.ascontiguousarray(m.outputs[k // 2][last][:, width:].T), *final[1:]) if k % 2 else final
            for k, final in enumerate(finals)
        ]

    yield Fault(
        "the states of the two directions exchanged",
        "In the states each layer's forward direction comes first, then its reverse; they are exchanged.",
        reordered([k ^ 1 for k in range(L * D)]),
        forward=True,
    )
    yield Fault(
        "the reverse direction not turned back",
        "The output of the reverse direction is not turned back: its results are put out in the order in which it "
        "makes them, but what it computed at step t belongs to step t of the output.",
        ({"place": own_count}, {"place": own_count, "d_halves": reversed_half}),
        forward=True,
    )
    yield Fault(
        "the reverse direction not reversed",
        "The reverse direction reads the sequence from the first step on, as the forward direction does.",
        ({"read": own_count, "place": own_count},),
        forward=True,
    )
    yield Fault(
        "the reverse input not turned around",
        "The reverse direction reads the sequence from the first step on, and its output is turned around all the "
        "same.",
        ({"read": own_count}, {"read": own_count, "d_x": turned}),
        forward=True,
    )
    yield Fault(
        "the two directions exchanged in the output",
        "The two halves of the output are exchanged: the forward direction comes first, then the reverse.",
        ({"halves": swap, "d_halves": swap}, {"halves": swap}),
        forward=True,
    )
    yield Fault(
        "the last step of the reverse output for its final state",
        "The reverse direction ends at step 0, and its final state is that of step 0; here it is the last step of "
        "its output, where it has seen a single step.",
        ({"finals": last_output},),
        forward=True,
    )
    forward_for_both: Tap = lambda s, m: [s[k - k % 2] for k in range(len(s))]  # noqa: E731
    yield Fault(
        "the initial state of the forward direction for both",
        "The reverse direction has an initial state of its own; it begins with that of the forward direction.",
        ({"initials": forward_for_both},),
        forward=True,
    )

    def forward_weights(weights: Weights, m: Machine) -> Weights:
        return m.weights(m.layer * m.D)

    yield Fault(
        "the weights of the forward direction for both",
        "The reverse direction has weights of its own; it uses those of the forward direction.",
        ({"weights": forward_weights},),
        forward=True,
    )

    yield Fault(
        "the reverse direction's gradient of the input not turned back",
        "The reverse direction's part of the gradient of its input is in the order in which the reverse direction "
        "reads: it has to be turned back before the two directions' parts are added.",
        ({"d_x": turned},),
    )
    yield Fault(
        "the reverse direction's gradient of the input lost",
        "Both directions read the same input, so its gradient is the sum of both parts; the reverse part is lost.",
        ({"d_x": lambda d, m: 0 * d if m.direction else d},),
    )
    yield Fault(
        "the forward direction's gradient of the input lost",
        "Both directions read the same input, so its gradient is the sum of both parts; the forward part is lost.",
        ({"d_x": lambda d, m: d if m.direction else 0 * d},),
    )
    yield Fault(
        "the two directions exchanged in the output's gradient",
        "The two halves of the output's gradient are exchanged: the forward direction's comes first.",
        ({"d_halves": swap},),
    )

    yield Fault(
        "the reverse direction's gradient of the output not turned around",
        "The reverse direction runs from the last step to the first, and the gradient of its output has to be "
        "turned around with it.",
        ({"d_halves": reversed_half},),
    )


def layouts(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """batch_first, padding and sorting."""
    if c.batch_first and c.layout == "batched":

        def as_steps(problem: Problem, m: Machine) -> Problem:
            steps, batch = len(c.lengths), max(c.lengths)
            return replace(problem, configuration=replace(c, batch_first=False, lengths=(steps,) * batch))

        def exchanged(run: Run, m: Machine) -> Run:
            return {name: value.swapaxes(0, 1) if name != "output" else value for name, value in run.items()}

        yield Fault(
            "batch_first ignored",
            "batch_first is ignored: the first axis of the input, the batch, is taken for time.",
            ({"problem": as_steps},),
            forward=True,
            common=False,
        )
        yield Fault(
            "the state batch-first too",
            "batch_first is for input and output only; h_n (and the rest of the state) stays (layers, batch, "
            "features).",
            ({"forward_run": exchanged},),
            forward=True,
            common=False,
        )
        yield Fault(
            "the output not batch-first",
            "With batch_first the output is (batch, steps, features) too; it is given as (steps, batch, features).",
            ({"forward_run": lambda run, m: run | {"output": run["output"].swapaxes(0, 1)}},),
            forward=True,
            common=False,
        )
        yield Fault(
            "the gradient of the input not batch-first",
            "With batch_first the gradient of the input is (batch, steps, features) too.",
            ({"backward_run": lambda run, m: run | {"d_input": run["d_input"].swapaxes(0, 1)}},),
            common=False,
        )
    if len(set(c.lengths)) > 1:
        order = np.argsort(-np.array(c.lengths), kind="stable")

        def sorted_states(states: list[State], m: Machine) -> list[State]:
            return [tuple(part[:, order] for part in state) for state in states]

        back = np.argsort(order)

        def unsorted_states(states: list[State], m: Machine) -> list[State]:
            return [tuple(part[:, back] for part in state) for state in states]

        finals = {"finals": sorted_states, "d_finals": unsorted_states}
        initials = {"initials": unsorted_states, "d_initials": sorted_states}
        masked: Tap = lambda halves, m: [np.where(m.alive, half, 0) for half in halves]  # noqa: E731
        everywhere = {"lengths": lambda lengths, m: (max(lengths),) * len(lengths)}

        yield Fault(
            "padding not masked",
            "The padding is taken for part of the sequence: the steps after a sequence's own end change its state "
            "(and in the reverse direction, the steps before its beginning). A sequence that has ended keeps its "
            "state.",
            (everywhere, everywhere | {"halves": masked, "d_halves": masked}),
            forward=True,
        )
        yield Fault(
            "the state of packed sequences in sorted order",
            "The sequences of a packed batch are sorted by length inside; the state comes in and goes out in the "
            "order in which they were given, and here it is not put back (sorted_indices, unsorted_indices).",
            (finals | initials, finals, initials, {"finals": sorted_states}),
            forward=True,
        )

        def last_of_longest(finals: list[State], m: Machine) -> list[State]:
            ended = m.lengths < m.T
            return [
                tuple(np.where(ended, 0, part) if n == 0 else part for n, part in enumerate(state)) for state in finals
            ]

        yield Fault(
            "the last padded step for the final state",
            "The final state h_n is read from the last step of the padded output, which is zero for the sequences "
            "that have ended before; each has its own last step.",
            ({"finals": last_of_longest},),
            forward=True,
        )


def dropouts(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Dropout between the layers."""
    if not c.dropout or c.num_layers < 2:
        return
    if c.training:
        unscaled: Tap = lambda mask, m: (mask != 0).astype(mask.dtype)  # noqa: E731
        yield Fault(
            "dropout not scaled",
            "What dropout keeps is to be scaled by 1/(1 − p), so that evaluation needs no scaling; it is not.",
            ({"mask": unscaled},),
            forward=True,
        )
        yield Fault(
            "the dropout mask not applied backward",
            "The mask of dropout is not applied on the way back: what was dropped forward gets no gradient, and "
            "what was kept is scaled.",
            ({"d_mask": lambda mask, m: np.ones_like(mask)},),
        )
        yield Fault(
            "the dropout mask not scaled backward",
            "On the way back the mask of dropout is applied without its scale, 1/(1 − p).",
            ({"d_mask": unscaled},),
        )
        yield Fault(
            "no dropout in training",
            "In training mode dropout between the layers does nothing.",
            ({"mask": lambda mask, m: np.ones_like(mask)},),
            forward=True,
        )
        if c.dropout == 1:
            gone: Tap = lambda output, m: 0 * output  # noqa: E731
            yield Fault(
                "dropout on the last layer's output too",
                "Dropout acts on what goes from one layer to the next; the last layer's output is not dropped.",
                ({"output": gone, "d_output": gone},),
                forward=True,
            )
            yield Fault(
                "dropout on the input too",
                "Dropout acts on what goes from one layer to the next; the input of the first layer is not dropped.",
                ({"layer_input": lambda x, m: 0 * x, "d_input": gone},),
                forward=True,
            )
    else:

        def training(problem: Problem, m: Machine) -> Problem:
            return replace(problem, configuration=replace(problem.configuration, training=True, dropout=1.0))

        yield Fault(
            "dropout after eval()",
            "After eval() dropout does nothing; here it still drops.",
            ({"problem": training},) if c.dropout == 1 else (),
            forward=True,
        )


def layers(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """What goes from layer to layer."""
    if c.num_layers < 2:
        return
    outputs, D = c.proj_size or c.hidden_size, 1 + c.bidirectional
    yield Fault(
        "the gradient not passed to the layer below",
        "The gradient of a layer's input is the gradient of the output of the layer below, and it is not passed on.",
        ({"d_below": zeros}, {"d_below": zeros, "d_input": zeros}),
    )
    yield Fault(
        "each layer given the output's gradient",
        "The gradient of the output enters at the last layer; the layers below get the gradient of the input of the "
        "layer above them, and here they get that of the output itself.",
        ({"d_below": lambda d, m: m.in_steps(m.problem.upstream["output"])},)
        if "output" in c.upstream and len(set(c.lengths)) == 1
        else (),
    )

    def zeroth(weights: Weights, m: Machine) -> Weights:
        first = m.weights(m.direction)
        return first if first.W_ih.shape == weights.W_ih.shape else first._replace(W_ih=weights.W_ih)

    def zeroth_of(name: str) -> Tap:
        def tap(weights: Weights, m: Machine) -> Weights:
            value = getattr(m.weights(m.direction), name)
            right = getattr(weights, name)
            return weights if value is None or value.shape != right.shape else weights._replace(**{name: value})

        return tap

    def shared(run: Run, m: Machine) -> Run:
        run = dict(run)
        for name in list(run):
            stem, _, layer = name.removesuffix("_reverse").rpartition("_l")
            if stem and layer.isdigit() and int(layer) > 0:
                first = name.replace(f"_l{layer}", "_l0")
                run[first] = run[first] + run[name]
                run[name] = 0 * run[name]
        return run

    if c.input_size == D * outputs:
        yield Fault(
            "the layers above read the input",
            "Each layer reads the output of the layer below; here every layer reads the input x itself.",
            ({"layer_input": lambda value, m: m.x, "d_below": zeros}, {"layer_input": lambda value, m: m.x}),
            forward=True,
        )
        yield Fault(
            "the weights of layer 0 in every layer",
            "Every layer has weights of its own; here every layer uses those of layer 0.",
            ({"weights": zeroth, "backward_run": shared}, {"weights": zeroth}, {"weights_forward": zeroth}),
            forward=True,
        )
    else:
        yield Fault(
            "W_hh and biases of layer 0 in every layer",
            "Every layer has weights of its own; here every layer uses W_hh and the biases of layer 0.",
            ({"weights": zeroth}, {"weights_forward": zeroth}),
            forward=True,
        )
    for name in ALL_WEIGHTS:
        yield Fault(
            f"{name} of layer 0 in every layer",
            f"Every layer has weights of its own; here every layer uses {name} of layer 0.",
            ({"weights": zeroth_of(name)}, {"weights_forward": zeroth_of(name)}),
            forward=True,
        )
        yield Fault(
            f"{name} of layer 0 in every layer backward",
            f"Backward every layer uses {name} of layer 0; forward each uses its own.",
            ({"weights_backward": zeroth_of(name)},),
        )

    def with_x(d_weights: Weights, m: Machine) -> Weights:
        if m.layer == 0 or m.x.shape[2] != d_weights.W_ih.shape[1]:
            return d_weights
        records = m.records[m.layer * m.D + m.direction]
        return d_weights._replace(W_ih=sum(s.d_a @ m.x[s.read, s.on] for s in records))

    yield Fault(
        "the gradient of W_ih formed with the input in every layer",
        "The gradient of W_ih is Σ d_a xᵀ with x the layer's own input: the output of the layer below, not the "
        "input of the whole stack.",
        ({"d_weights": with_x},),
    )


def equations_of_gates(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Other equations: gates and nonlinearities that are not what they should be."""
    sigmoids = sigmoid_gates(cell)

    def through(change: Callable[[Array], Array], chain: float, gates: Sequence[str]) -> tuple[Taps, ...]:
        tap: Taps = {"a": on_rows(lambda a, m: change(a), gates)}
        consistent: Taps = {"d_a": on_rows(lambda d, m: chain * d, gates)}
        return tap | consistent, tap

    groups = [(gate,) for gate in sigmoids] + ([tuple(sigmoids)] if len(sigmoids) > 1 else [])
    for gates in groups:
        are = listed(gates)
        yield Fault(
            f"σ(2a) for σ(a) in {are}",
            f"{are}: σ(2a) for σ(a), the slope of the sigmoid is twice what it should be.",
            through(lambda a: 2 * a, 2, gates),
            forward=True,
        )
        yield Fault(
            f"σ(a/2) for σ(a) in {are}",
            f"{are}: σ(a/2) for σ(a), the slope of the sigmoid is half what it should be.",
            through(lambda a: a / 2, 0.5, gates),
            forward=True,
        )
        yield Fault(
            f"1 − σ(a) for σ(a) in {are}",
            f"{are}: 1 − σ(a), that is σ(−a), is there for σ(a): the gate opens where it should close.",
            through(lambda a: -a, -1, gates),
            forward=True,
        )
    for gate in sigmoids:
        yield Fault(
            f"the gate {gate} missing",
            f"The gate {gate} is missing: the other equations are computed as if it were 1 everywhere.",
            through(lambda a: np.full_like(a, np.inf), 0, (gate,)),
            forward=True,
        )
    if "f" in sigmoids:
        yield Fault(
            "1 added to the bias of the forget gate",
            "1 is added to the pre-activation of the forget gate f at every step. (A forget bias is something to "
            "begin with: it belongs into the bias parameter.)",
            ({"a": on_rows(lambda a, m: a + 1, ("f",))},),
            forward=True,
        )
    yield Fault(
        "the input product missing",
        "W_ih x is missing in a = W_ih x + b_ih + W_hh h_prev + b_hh.",
        (
            {"weights": on_weights(lambda w: 0 * w, ("W_ih",))},
            {"weights_forward": on_weights(lambda w: 0 * w, ("W_ih",))},
        ),
        forward=True,
    )
    yield Fault(
        "the recurrent product missing",
        "W_hh h_prev is missing in a = W_ih x + b_ih + W_hh h_prev + b_hh: no step knows of the one before.",
        (
            {"weights": on_weights(lambda w: 0 * w, ("W_hh",))},
            {"weights_forward": on_weights(lambda w: 0 * w, ("W_hh",))},
        ),
        forward=True,
    )
    for name, told, equations in others(cell):
        yield Fault(name, told, ({"cell": lambda old, m, equations=equations: made_of(old, equations)},), forward=True)


Equations = Callable[[dict[str, Array], dict[str, Array]], dict[str, Array]]
"""One step, from the pre-activations by gate and the state before by part, to the state by part."""


def others(cell: Cell) -> Iterator[tuple[str, str, Equations]]:
    """Equations that people have written for those of the cell: a name, an explanation, the equations."""
    if len(cell.gates) == 1 and cell.state == ("h",):
        (gate,) = cell.gates
        instead: dict[str, Callable[[Array], Array]] = {
            "σ": sigmoid,
            "tanh": np.tanh,
            "relu": lambda a: np.where(a.real > 0, a, 0),
            "leaky relu (0.01)": lambda a: np.where(a.real > 0, a, 0.01 * a),
            "tanh, applied twice": lambda a: np.tanh(np.tanh(a)),
            "no nonlinearity": lambda a: a,
            "tanh of twice the pre-activation": lambda a: np.tanh(2 * a),
        }
        for name, function in instead.items():
            yield (
                f"{name} for the nonlinearity",
                f"h = φ(a): here φ is another one than it should be, {name}.",
                lambda a, prev, function=function: {"h": function(a[gate])},
            )
    if not ({"i", "f", "g", "o"} <= set(cell.gates) and set(cell.state) == {"h", "c"}):
        return

    def lstm(
        i: Callable[[Array], Array] = sigmoid,
        f: Callable[[Array], Array] = sigmoid,
        g: Callable[[Array], Array] = np.tanh,
        o: Callable[[Array], Array] = sigmoid,
        memory: Callable[..., Array] = lambda i, f, g, c_prev: f * c_prev + i * g,
        show: Callable[..., Array] = lambda o, c, c_prev: o * np.tanh(c),
    ) -> Equations:
        def equations(a: dict[str, Array], prev: dict[str, Array]) -> dict[str, Array]:
            c = memory(i(a["i"]), f(a["f"]), g(a["g"]), prev["c"])
            return {"h": show(o(a["o"]), c, prev["c"]), "c": c}

        return equations

    def identity(a: Array) -> Array:
        return a

    memory = {
        "1 − f for i": ("c = f ⊙ c_prev + (1 − f) ⊙ g", "1 − f is there for i", lambda i, f, g, c: f * c + (1 - f) * g),
        "1 − i for f": ("c = (1 − i) ⊙ c_prev + i ⊙ g", "1 − i is there for f", lambda i, f, g, c: (1 - i) * c + i * g),
        "c not remembered": ("c = i ⊙ g", "f ⊙ c_prev is missing", lambda i, f, g, c: i * g),
        "i ⊙ g missing": ("c = f ⊙ c_prev", "i ⊙ g is missing", lambda i, f, g, c: f * c),
        "i ⊙ g subtracted": ("c = f ⊙ c_prev − i ⊙ g", "the sign is wrong", lambda i, f, g, c: f * c - i * g),
        "i + g for i ⊙ g": ("c = f ⊙ c_prev + i + g", "i and g are added", lambda i, f, g, c: f * c + i + g),
    }
    for name, (equation, told, remember) in memory.items():
        yield name, f"{equation} is computed where it should be c = f ⊙ c_prev + i ⊙ g: {told}.", lstm(memory=remember)
    shows = {
        "tanh(c) missing": ("o ⊙ c", lambda o, c, c_prev: o * c),
        "tanh(o ⊙ c) for o ⊙ tanh(c)": ("tanh(o ⊙ c)", lambda o, c, c_prev: np.tanh(o * c)),
        "σ(c) for tanh(c)": ("o ⊙ σ(c)", lambda o, c, c_prev: o * sigmoid(c)),
        "c_prev shown for c": ("o ⊙ tanh(c_prev)", lambda o, c, c_prev: o * np.tanh(c_prev)),
        "relu(c) for tanh(c)": ("o ⊙ relu(c)", lambda o, c, c_prev: o * np.where(c.real > 0, c, 0)),
    }
    for name, (equation, shown) in shows.items():
        yield name, f"h = {equation} is computed where it should be h = o ⊙ tanh(c).", lstm(show=shown)
    for gate in ("i", "f", "o"):
        functions: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "no nonlinearity": identity}
        functions |= {"σ, applied twice": lambda a: sigmoid(sigmoid(a))}
        for name, function in functions.items():
            yield (
                f"{name} for σ in {gate}",
                f"{gate} = σ(a_{gate}): here {name} is in the place of σ.",
                lstm(**{gate: function}),
            )
    candidates: dict[str, Callable[[Array], Array]] = {
        "σ": sigmoid,
        "no nonlinearity": identity,
        "relu": lambda a: np.where(a.real > 0, a, 0),
        "tanh, applied twice": lambda a: np.tanh(np.tanh(a)),
    }
    for name, function in candidates.items():
        yield f"{name} for tanh in g", f"g = tanh(a_g): here {name} is in the place of tanh.", lstm(g=function)


def made_of(cell: Cell, equations: Equations) -> Cell:
    """A cell of these equations. Its backward is exact for them: they act elementwise, so that one complex step
    (Squire and Trapp 1998) for each pre-activation and each part of the state gives all derivatives.
    """
    tiny = 1e-100

    def inputs(a: Array, state_prev: State) -> tuple[dict[str, Array], dict[str, Array]]:
        rows = len(a) // len(cell.gates)
        blocks = {gate: a[n * rows : (n + 1) * rows] for n, gate in enumerate(cell.gates)}
        return blocks, dict(zip(cell.state, state_prev, strict=True))

    def step(a: Array, state_prev: State, state: State, kept: State) -> None:
        made = equations(*inputs(a, state_prev))
        for part, value in zip(cell.state, state, strict=True):
            value[...] = made[part]

    def step_backward(
        d_state: State, a: Array, state_prev: State, state: State, kept: State, d_a: Array
    ) -> tuple[Array | None, State]:
        blocks, prev = inputs(a, state_prev)
        d_parts = dict(zip(cell.state, d_state, strict=True))

        def along(group: dict[str, Array], name: str) -> Array:
            moved = group | {name: group[name] + 1j * tiny}
            made = equations(moved, prev) if group is blocks else equations(blocks, moved)
            return np.sum([d * made[part].imag / tiny for part, d in d_parts.items()], axis=0)

        d_prev = tuple(along(prev, part) for part in cell.state[1:])
        for n, gate in enumerate(cell.gates):
            rows = len(a) // len(cell.gates)
            d_a[n * rows : (n + 1) * rows] = along(blocks, gate)
        return None, d_prev

    return cell._replace(keeps_a=True, kept=0, step=step, step_backward=step_backward)


CHAPTERS: tuple[Callable[[Cell, Configuration], Iterator[Fault]], ...] = (
    gate_order,
    equations_of_gates,
    transposed_weights,
    biases,
    upstreams,
    carries,
    derivatives,
    inside_with_memory,
    direct_paths,
    sums_over_time,
    leftovers,
    layers,
    directions,
    layouts,
    dropouts,
)
