"""What a cell is, and the shapes that it lives in: the words that cells, time and stack have in common.

How to add one: adding_a_cell.md.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..types import Array

State = tuple[Array, ...]
"""The state between two steps: h and whatever else the cell carries. (P or H, B) and (H, B)."""


class Equation(NamedTuple):
    """One line of a cell's mathematics."""

    number: str
    """What the cell's file calls it: "5", or "6, 4" if it follows from both."""
    text: str
    """In the notation of the files: "c = f ⊙ c_prev + i ⊙ g"."""


class Equations(NamedTuple):
    """What a cell computes, for people, in the order of computation. Each line acts entry by entry.

    A line may use σ, tanh, relu, ², ⊙, +, −, [… > …] and the names defined so far. Forward, these are h_prev
    and the other parts of the state before, and the blocks of `a`: a_i and so on, after the gates, or a if there is but
    one. (A gate n that is `apart` has two, a_n_h and a_n_x.) Backward, they are all of forward, the whole d_h, and for
    each other part of the state what comes from the step after: d_c_after and so on.

    Forward gives every part of the state a value. Backward gives one to the gradient of each block of `a`, d_a_i and so
    on, and to what step_backward returns: d_c_prev and so on, and d_h_direct for the gradient of h_prev, if there is
    one. Where another part of the state acts within the step, its whole gradient d_c is more than d_c_after and is
    given a value as well.
    """

    forward: tuple[Equation, ...]
    backward: tuple[Equation, ...]


class Cell(NamedTuple):
    """What the loop over time needs to know of a cell: the elementwise mathematics of one step, in three parts.

    `a`, `d_a` and `a_dot` are (G, H, B), a block for each gate, or (G + apart, H, B); the parts of the state, `kept`
    and each of the n slopes are (H, B). The mathematics is elementwise, so H may be a part of the hidden
    units, and B may be any shape.

    `step(a, state_prev, state, kept)` overwrites `a` with whatever of it is needed later, and fills `state` and `kept`.

    `linearize(a, state_prev, state, kept, slopes)` takes what `step` left and fills `slopes`, (n, H, B), with the
    derivatives of what it computed. They depend on no other step, so they can be made for many steps at once.

    With the slopes the chain rule takes a few products, in either direction. `step_backward(d_state, slopes, d_a)`
    fills `d_a`, may overwrite the other two, and returns the gradient of the state before: of h_prev, without the path
    through W_hh (None for zero, if h_prev does not also act directly), and of the other parts. `step_tangent(a_dot,
    state_prev_dot, slopes)` goes from causes to effects: it returns the change of the state when `a` and the state
    before change by `a_dot` and `state_prev_dot`, in new arrays. There the slopes may be of one column, (n, H, 1), and
    the changes many, (H, K). Time does not need it: real-time recurrent learning (study/rtrl.py) does.
    """

    gates: tuple[str, ...]
    """The names of the G blocks of the pre-activations, in PyTorch's order."""
    state: tuple[str, ...]
    """The names of the parts of the state; the first is "h", the only one that is projected and given out."""
    keeps_a: bool
    """Whether linearize reads `a`. If not, all steps share one buffer for it."""
    kept: int
    """How many arrays of (H, B) `step` fills for `linearize` besides."""
    slopes: int
    """How many arrays of (H, B) `linearize` fills."""
    step: Callable[[Array, State, State, State], None]
    linearize: Callable[[Array, State, State, State, Array], None]
    step_backward: Callable[[State, Array, Array], tuple[Array | None, State]]
    step_tangent: Callable[[Array, State, Array], State]
    apart: int = 0
    """For how many gates, the last ones, the cell gets W_ih x + b_ih and W_hh h_prev + b_hh apart instead of their sum.

    `a` and `d_a` have so many blocks more, (G + apart, H, B): the gates' own blocks hold the state's halves then, and
    those at the end the input's. `a` is kept then in any case."""
    equations: Equations | None = None
    """For people: what the explorable page (study/explore_page.py) shows. A test evaluates every one of them against
    `step` and `step_backward`."""

    @property
    def summed(self) -> tuple[str, ...]:
        """The gates whose halves are added up."""
        return self.gates[: len(self.gates) - self.apart]

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks of `a`. Of a gate n that is apart, n_h is the state's half and n_x the input's."""
        apart = self.gates[len(self.summed) :]
        return (*self.summed, *(f"{gate}_h" for gate in apart), *(f"{gate}_x" for gate in apart))

    def joined(self, from_input: Array, from_state: Array) -> Array:
        """`a`, (G + apart, …), of its halves W_ih x + b_ih and W_hh h_prev + b_hh, (G, …) each."""
        if not self.apart:
            return from_input + from_state
        summed = len(self.summed)
        sums = from_input[:summed] + from_state[:summed]
        return np.concatenate([sums, from_state[summed:], from_input[summed:]])

    def halves(self, d_a: Array) -> tuple[Array, Array]:
        """`joined`, backward: the gradients of the input's half and of the state's, (G, …) each, of d_a."""
        if not self.apart:
            return d_a, d_a
        gates, summed = len(self.gates), len(self.summed)
        return np.concatenate([d_a[:summed], d_a[gates:]]), d_a[:gates]


class Weights(NamedTuple):
    """The parameters of one layer in one direction, or their gradients, in PyTorch's order."""

    W_ih: Array  # G·H, I
    W_hh: Array  # G·H, P or H
    b_ih: Array | None = None  # G·H
    b_hh: Array | None = None  # G·H
    W_hr: Array | None = None  # P, H
