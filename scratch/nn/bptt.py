"""Backpropagation through time, for one layer in one direction, whatever the cell.

Forward, for each step t, with state = (h, …):

    a      = W_ih x + b_ih + W_hh h_prev + b_hh      (T1)   pre-activations of all G gates, (G·H, B)
    state  = step(a, state_prev)                     (T2)   the cell's own equations
    h      = W_hr m,  m the h of (T2)                (T3)   only with a projection; h is then (P, B)

Backward, from the last step to the first. d_h has two sources: the output of this step, and the step after it.

    d_m        = W_hrᵀ d_h                           (T3)
    d_a, …     = step_backward(d_state)              (T2)
    d_h_prev   = W_hhᵀ d_a                           (T1)   plus what the cell passes on directly

and, summed over all steps and sequences,

    d_x = W_ihᵀ d_a,  d_W_ih = Σ d_a xᵀ,  d_W_hh = Σ d_a h_prevᵀ,  d_b_ih = d_b_hh = Σ d_a      (T1)
    d_W_hr = Σ d_h mᵀ                                                                            (T3)

Only the products with W_hh and W_hr need the step before, so only they stand in the loop. Every other product is made
once, over all steps: a sum over t of outer products is one product of two matrices with N columns.

Layout. Sequences lie sorted by length, longest first, and step t works on the first batch_sizes[t] of them. All steps
together have N = Σ batch_sizes columns, one for each (step, sequence), step by step; without packing N = T·B. With
sequences a, b and c of 3, 2 and 1 steps, the columns and, below, batch_sizes:

    a₀ b₀ c₀ │ a₁ b₁ │ a₂
        3        2      1

Inside the loop a state is (features, B), as in the textbooks; x, output and their gradients are rows, (N, features).

A reverse direction takes the same steps in the opposite order. Where the batch grows on the way, columns enter with
their initial state; where it shrinks, columns leave with their final state. Backward the two change places: `resize`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..types import Array
from .sums import sum_of_outer_products, sum_of_rows

State = tuple[Array, ...]
"""The state between two steps: h and whatever else the cell carries. (P or H, B) and (H, B)."""


class Cell(NamedTuple):
    """What the loop over time needs to know of a cell: the elementwise mathematics of one step.

    `step(a, state_prev, state, kept)` overwrites `a` with whatever of it backward needs, and fills `state` and `kept`.
    `step_backward(d_state, a, state_prev, state, kept, d_a)` fills `d_a`, may overwrite `d_state`, and returns the
    gradient of the state before: of h_prev, without the path through W_hh (None for zero; a GRU, in which h_prev also
    acts directly, has one), and of the other parts.
    `step_tangent(a_dot, state_prev_dot, a, state_prev, state, kept)` is the derivative of the same step in the other
    direction, from what it reads to what it makes: the change of the state when `a` and the state before change by
    `a_dot` and `state_prev_dot`. The last four are what `step` left of one column, or of as many as there are changes:
    (H, 1) or (H, K) beside (H, K). It returns new arrays and writes to none. Time does not need it: real-time recurrent
    learning (study/rtrl.py) does.
    """

    gates: tuple[str, ...]
    """The names of the G blocks of H rows in the pre-activations, in PyTorch's order."""
    state: tuple[str, ...]
    """The names of the parts of the state; the first is "h", the only one that is projected and given out."""
    keeps_a: bool
    """Whether step_backward reads `a`. If not, all steps share one buffer for it."""
    kept: int
    """How many arrays of (H, B) `step` fills for `step_backward` besides."""
    step: Callable[[Array, State, State, State], None]
    step_backward: Callable[[State, Array, State, State, State, Array], tuple[Array | None, State]]
    step_tangent: Callable[[Array, State, Array, State, State, State], State]


class Weights(NamedTuple):
    """The parameters of one layer in one direction, or their gradients, in PyTorch's order."""

    W_ih: Array  # G·H, I
    W_hh: Array  # G·H, P or H
    b_ih: Array | None = None  # G·H
    b_hh: Array | None = None  # G·H
    W_hr: Array | None = None  # P, H


class Tape:
    """The memory of one pass through one layer in one direction, allocated at once.

    A tape fits one shape of input, and is used again for every pass of that shape. Lists have an entry for each step,
    in the order in which the steps are taken; what a step keeps lies in memory in one piece.
    """

    def __init__(self, cell: Cell, weights: Weights, batch_sizes: Sequence[int], reverse: bool = False) -> None:
        gate_rows, outputs = weights.W_hh.shape
        hidden = gate_rows // len(cell.gates)
        dtype = weights.W_hh.dtype
        ends = np.cumsum(batch_sizes).tolist()
        steps = [(slice(end - width, end), width) for end, width in zip(ends, batch_sizes, strict=True)]
        if reverse:
            steps.reverse()
        total, widest = ends[-1], batch_sizes[0]

        def for_each_step(rows: int) -> list[Array]:
            memory = np.empty(rows * total, dtype)
            return [memory[rows * at.start : rows * at.stop].reshape(rows, width) for at, width in steps]

        def shared_by_all_steps(rows: int) -> list[Array]:
            memory = np.empty(rows * widest, dtype)
            of_width = {width: memory[: rows * width].reshape(rows, width) for width in set(batch_sizes)}
            return [of_width[width] for _, width in steps]

        def all_columns(rows: int) -> Array:
            # A step reads and writes its own columns. One sequence alone: a single column, quick if it lies in one
            # piece. Several: a few numbers of each row, quick if a row lies in one piece, and so are the products.
            return np.empty((rows, total), dtype, order="F" if widest == 1 else "C")

        self.batch_sizes = batch_sizes
        self.steps = steps
        self.state_prev: list[State] = [()] * len(steps)  # filled on the way: mostly views of the states before
        self.a = for_each_step(gate_rows) if cell.keeps_a else shared_by_all_steps(gate_rows)
        # h and the rest of the state as the cell makes them. With a projection this h is m, and `self.h` is h.
        self.state: list[State] = list(zip(*(for_each_step(hidden) for _ in cell.state), strict=True))
        kept = [for_each_step(hidden) for _ in range(cell.kept)]
        self.kept: list[State] = list(zip(*kept, strict=True)) if kept else [()] * len(steps)
        self.a_columns = all_columns(gate_rows)  # W_ih x + b on the way forward, d_a on the way back
        self.d_a = shared_by_all_steps(gate_rows)
        self.d_h = shared_by_all_steps(outputs)
        self.h_prev_columns = all_columns(outputs)
        if weights.W_hr is not None:
            self.h = for_each_step(outputs)
            self.m_columns = all_columns(hidden)
            self.d_h_columns = all_columns(outputs)


def resize(state: State, width: int, entering: State, leaving: State) -> State:
    """The state as a step of `width` columns takes it.

    Going forward in a packed batch, sequences that have ended leave with their final state (`leaving` is written to);
    in the reverse direction sequences that now begin enter with their initial state. On the way back final and initial
    gradients take these parts. (Columns cut off before they have begun are written to `leaving` as well; the closing
    call with width 0 writes their proper values over it.)
    """
    now = state[0].shape[1]
    if width < now:
        for part, out in zip(state, leaving, strict=True):
            out[:, width:now] = part[:, width:]
        return tuple(part[:, :width] for part in state)
    if width > now:
        return tuple(
            np.concatenate([part, new[:, now:width]], axis=1) for part, new in zip(state, entering, strict=True)
        )
    return state


def forward(cell: Cell, weights: Weights, x: Array, initial: State, tape: Tape, output: Array) -> State:
    """Run one layer in one direction over all steps.

    x: (N, I). initial: h (P or H, B) and the cell's other parts (H, B). Fills the tape, and output: (N, P or H).
    Returns the final state, like `initial`.
    """
    W_ih, W_hh, b_ih, b_hh, W_hr = weights
    input_part = np.matmul(W_ih, x.T, out=tape.a_columns)  # (T1)  G·H, N
    if b_ih is not None and b_hh is not None:
        input_part += (b_ih + b_hh)[:, None]  # (T1)
    final = tuple(np.empty_like(part) for part in initial)
    state = initial
    for k, (columns, width) in enumerate(tape.steps):
        state_prev = tape.state_prev[k] = resize(state, width, entering=initial, leaving=final)
        a, state = tape.a[k], tape.state[k]
        np.matmul(W_hh, state_prev[0], out=a)  # (T1)
        a += input_part[:, columns]  # (T1)  G·H, B
        cell.step(a, state_prev, state, tape.kept[k])  # (T2)
        if W_hr is not None:
            state = (np.matmul(W_hr, state[0], out=tape.h[k]), *state[1:])  # (T3)  P, B
        output[columns] = state[0].T
    resize(state, 0, entering=initial, leaving=final)
    return final


def backward(
    cell: Cell, weights: Weights, x: Array, d_output: Array | None, d_final: State, tape: Tape
) -> tuple[Array, State, Weights]:
    """The gradients of what `forward` computed, from the tape that it filled.

    d_output: (N, P or H), or None for zero. d_final: like the final state; it is overwritten. Returns d_x: (N, I),
    the gradient of the initial state and the gradients of the weights, in new arrays. The tape can be used again.
    """
    W_ih, W_hh, b_ih, _, W_hr = weights
    d_a_columns = tape.a_columns  # forward has done with it
    h_prev_columns = tape.h_prev_columns
    d_initial = tuple(np.empty_like(part) for part in d_final)
    d_state = d_final
    for k in reversed(range(len(tape.steps))):
        columns, width = tape.steps[k]
        d_h, *d_rest = resize(d_state, width, entering=d_final, leaving=d_initial)
        if d_output is not None:
            d_h += d_output[columns].T
        if W_hr is not None:
            tape.m_columns[:, columns] = tape.state[k][0]
            tape.d_h_columns[:, columns] = d_h
            d_h = W_hr.T @ d_h  # (T3)  H, B
        d_a, state_prev = tape.d_a[k], tape.state_prev[k]
        d_h_direct, d_rest_prev = cell.step_backward(
            (d_h, *d_rest), tape.a[k], state_prev, tape.state[k], tape.kept[k], d_a
        )  # (T2)
        h_prev_columns[:, columns] = state_prev[0]
        d_a_columns[:, columns] = d_a
        d_h_prev = np.matmul(W_hh.T, d_a, out=tape.d_h[k])  # (T1)  P, B
        if d_h_direct is not None:
            d_h_prev += d_h_direct
        d_state = (d_h_prev, *d_rest_prev)
    resize(d_state, 0, entering=d_final, leaving=d_initial)
    d_x = d_a_columns.T @ W_ih  # (T1)  N, I
    d_b = sum_of_rows(d_a_columns.T) if b_ih is not None else None  # (T1)
    d_weights = Weights(
        W_ih=sum_of_outer_products(d_a_columns, x),  # (T1)
        W_hh=sum_of_outer_products(d_a_columns, h_prev_columns.T),  # (T1)
        b_ih=d_b,
        b_hh=None if d_b is None else d_b.copy(),
        W_hr=None if W_hr is None else sum_of_outer_products(tape.d_h_columns, tape.m_columns.T),  # (T3)
    )
    return d_x, d_initial, d_weights
