"""Backpropagation through time, for one layer in one direction, whatever the cell.

Forward, for each step t, with state = (h, …):

    a      = W_ih x + b_ih + W_hh h_prev + b_hh      (T1)   pre-activations of all G gates, (G·H, B)
    state  = step(a, state_prev)                     (T2)   the cell's own equations
    h      = W_hr m,  m the h of (T2)                (T3)   only with a projection; h is then (P, B)

For some gates a cell may want the two halves of (T1), the input's and the state's, separately; each then has its own
d_a.

Backward, from the last step to the first. d_h has two sources: the output of this step, and the step after it.

    d_m        = W_hrᵀ d_h                           (T3)
    d_a, …     = step_backward(d_state)              (T2)   by the slopes that linearize made of step
    d_h_prev   = W_hhᵀ d_a                           (T1)   plus what the cell passes on directly

and, summed over all steps and sequences,

    d_x = W_ihᵀ d_a,  d_W_ih = Σ d_a xᵀ,  d_W_hh = Σ d_a h_prevᵀ,  d_b_ih = d_b_hh = Σ d_a      (T1)
    d_W_hr = Σ d_h mᵀ                                                                            (T3)

Only the products with W_hh and W_hr need the step before, so only they are made in each step. Every other product is
made for many steps at once: a sum over t of outer products is one product of two matrices with many columns.

Layout. Inside the loop a state is (features, B), as in the textbooks; x, output and their gradients are rows, (N, F),
one for each (step, sequence), step by step: N = Σ batch_sizes, and without packing N = T·B. In a packed batch the
sequences lie sorted by length, longest first, and step t works on the first batch_sizes[t] of them. With sequences a, b
and c of 3, 2 and 1 steps, the rows and, below, batch_sizes:

    a₀ b₀ c₀ │ a₁ b₁ │ a₂
        3        2      1

Time runs one way here: a reverse direction is given its steps in the opposite order (recurrent.py). Then the batch
grows on the way: columns enter with their initial state, and leave with their final state (`resize`).
"""

from collections.abc import Callable, Collection

import numpy as np

from ..types import Array
from .cell import Cell, State, Weights
from .sums import sum_of_outer_products, sum_of_rows
from .tape import Tape

Gradients = dict[str, Array]
"""The gradients of the weights by PyTorch's names, weight_ih and so on."""


def resize(state: State, width: int, entering: State, leaving: State) -> State:
    """The state as a step of `width` columns takes it.

    Columns that are cut off have ended: they are written to `leaving`. Columns that are added have not begun: they come
    from `entering`. Before the first step the state has no columns, and none after the last.
    """
    now = state[0].shape[1]
    if width < now:
        for part, out in zip(state, leaving, strict=True):
            out[:, width:now] = part[:, width:]
        return tuple(part[:, :width] for part in state)
    if now == 0:
        return tuple(part[:, :width] for part in entering)
    if width > now:
        added = (part[:, now:width] for part in entering)
        return tuple(np.concatenate(parts, axis=1) for parts in zip(state, added, strict=True))
    return state


def forward(cell: Cell, weights: Weights, x: Array, initial: State, tape: Tape, output: Array) -> State:
    """Run one layer in one direction over all steps.

    x: (N, I). initial: h (P or H, B) and the cell's other parts (H, B). Fills the tape, and output: (N, P or H).
    Returns the final state, like `initial`; of sequences that take part in no step it is the initial one.
    """
    W_ih, W_hh, b_ih, b_hh, W_hr = weights
    b, b_apart = joined(cell, b_ih, b_hh)
    state, final = tuple(part[:, :0] for part in initial), tuple(part.copy() for part in initial)
    for rows, chunks in tape.sections:
        a_columns = np.matmul(W_ih, x[rows].T, out=tape.a[:, : rows.stop - rows.start])  # (T1)
        if b is not None:
            a_columns += b  # (T1)
        for chunk in chunks:
            state = resize(state, chunk.width, entering=initial, leaving=final)
            for part, before in zip(state, chunk.steps.before, strict=True):
                before[0] = part
            if cell.apart:
                chunk.a_apart[...] = chunk.a_columns_apart  # (T1)  the input's half, in its own place, …
                chunk.a_columns_apart[...] = b_apart  # (T1)  … and b_hh for the state's half
            every = zip(chunk.a_rows, chunk.a_columns, chunk.steps.after[0], chunk.steps.each(), strict=True)
            for a_rows, input_part, h, (a, state_prev, made, kept) in every:
                np.matmul(W_hh, state_prev[0], out=a_rows)  # (T1)
                a_rows += input_part  # (T1)
                cell.step(a, state_prev, made, kept)  # (T2)
                if W_hr is not None:
                    np.matmul(W_hr, made[0], out=h)  # (T3)
            chunk.of_rows(output)[...] = chunk.steps.after[0]
            state = tuple(part[-1] for part in chunk.steps.after)
    resize(state, 0, entering=initial, leaving=final)
    return final


def backward(
    cell: Cell,
    weights: Weights,
    x: Array,
    d_output: Array | None,
    d_final: State,
    tape: Tape,
    d_x: Array | None,
    wanted: Collection[str],
) -> tuple[State, Gradients]:
    """The gradients of what `forward` computed, from the tape that it filled.

    d_output: (N, P or H), or None for zero. d_final: like the final state; it is overwritten. Fills d_x: (N, I), unless
    it is None. wanted: the names of the weights whose gradients are wanted. Returns the gradient of the initial state
    and those. What the tape holds of the steps stays as it is.
    """
    W_hh, W_hr = weights.W_hh, weights.W_hr
    d_state, d_initial = tuple(part[:, :0] for part in d_final), tuple(part.copy() for part in d_final)
    total: Gradients = {}
    for rows, chunks in reversed(tape.sections):
        for chunk in reversed(chunks):
            steps, slopes, d_a = chunk.steps, chunk.slopes, chunk.d_a
            d_h_outside = None if d_output is None else chunk.of_rows(d_output)
            cell.linearize(steps.a.swapaxes(0, 1), steps.before, steps.made, steps.kept, slopes)  # (T2)
            d_state = resize(d_state, chunk.width, entering=d_final, leaving=d_initial)
            for t in reversed(range(len(d_a))):
                d_h, *d_rest = d_state
                if d_h_outside is not None:
                    d_h += d_h_outside[t]
                if W_hr is not None:
                    chunk.d_h_columns[t] = d_h
                    d_h = W_hr.T @ d_h  # (T3)  H, B
                d_h_direct, d_rest_prev = cell.step_backward((d_h, *d_rest), slopes[:, t], d_a[t])  # (T2)
                d_h_prev = W_hh.T @ chunk.d_a_rows[t]  # (T1)  P, B
                if d_h_direct is not None:
                    d_h_prev += d_h_direct
                d_state = (d_h_prev, *d_rest_prev)
            chunk.recurrent_columns[...] = chunk.d_a_rows
            if cell.apart:
                chunk.a_columns[...] = chunk.d_a_rows
                chunk.a_columns_apart[...] = chunk.d_a_apart
            chunk.h_prev_columns[...] = steps.before[0]
            if W_hr is not None:
                chunk.m_columns[...] = steps.made[0]
        if d_x is not None:
            np.matmul(tape.a[:, : rows.stop - rows.start].T, weights.W_ih, out=d_x[rows])  # (T1)  N, I
        add(total, sums_over_time(tape, x[rows], wanted))
    resize(d_state, 0, entering=d_final, leaving=d_initial)
    return d_initial, total


def sums_over_time(tape: Tape, x: Array, wanted: Collection[str]) -> Gradients:
    """What the steps of a section add to the gradients of the weights. x: (N, I), the rows of the section."""
    here = slice(len(x))
    sums: dict[str, Callable[[], Array]] = {
        "weight_ih": lambda: sum_of_outer_products(tape.a[:, here], x),  # (T1)
        "weight_hh": lambda: sum_of_outer_products(tape.a_recurrent[:, here], tape.h_prev[:, here].T),  # (T1)
        "bias_ih": lambda: sum_of_rows(tape.a[:, here].T),  # (T1)
        "bias_hh": lambda: sum_of_rows(tape.a_recurrent[:, here].T),  # (T1)
        "weight_hr": lambda: sum_of_outer_products(tape.d_h[:, here], tape.m[:, here].T),  # (T3)
    }
    return {name: sums[name]() for name in wanted}


def add(total: Gradients, terms: Gradients) -> None:
    """Add gradients to what is there, in its memory."""
    for name, term in terms.items():
        if name in total:
            total[name] += term
        else:
            total[name] = term


def joined(cell: Cell, b_ih: Array | None, b_hh: Array | None) -> tuple[Array | None, Array | float]:
    """The biases as columns: the sum that goes with W_ih x, and what goes with W_hh h_prev of gates that are apart."""
    if b_ih is None or b_hh is None:
        return None, 0.0
    apart = slice(len(b_ih) - len(b_ih) // len(cell.gates) * cell.apart, None)
    b = b_ih + b_hh
    if cell.apart:
        b[apart] = b_ih[apart]
    return b[:, None], b_hh[apart, None]
