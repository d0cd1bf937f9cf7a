"""Backpropagation through time, for one layer in one direction, whatever the cell.

Forward, for each step t, with state = (h, …):

    a      = W_ih x + b_ih + W_hh h_prev + b_hh      (T1)   pre-activations of all G gates, (G·H, B)
    state  = step(a, state_prev)                     (T2)   the cell's own equations
    h      = W_hr m,  m the h of (T2)                (T3)   only with a projection; h is then (P, B)

Of some gates a cell may want the two halves of (T1), the input's and the state's, apart; each has its own d_a then.

Backward, from the last step to the first. d_h has two sources: the output of this step, and the step after it.

    d_m        = W_hrᵀ d_h                           (T3)
    d_a, …     = step_backward(d_state)              (T2)   by the slopes that linearize made of step
    d_h_prev   = W_hhᵀ d_a                           (T1)   plus what the cell passes on directly

and, summed over all steps and sequences,

    d_x = W_ihᵀ d_a,  d_W_ih = Σ d_a xᵀ,  d_W_hh = Σ d_a h_prevᵀ,  d_b_ih = d_b_hh = Σ d_a      (T1)
    d_W_hr = Σ d_h mᵀ                                                                            (T3)

Only the products with W_hh and W_hr need the step before, so only they are made in each step. Every other product is
made for many steps at once: a sum over t of outer products is one product of two matrices with many columns.

Layout. Sequences lie sorted by length, longest first, and step t works on the first batch_sizes[t] of them. All steps
together have N = Σ batch_sizes columns, one for each (step, sequence), step by step; without packing N = T·B. With
sequences a, b and c of 3, 2 and 1 steps, the columns and, below, batch_sizes:

    a₀ b₀ c₀ │ a₁ b₁ │ a₂
        3        2      1

Inside the loop a state is (features, B), as in the textbooks; x, output and their gradients are rows, (N, features).

A reverse direction takes the same steps in the opposite order. Where the batch grows on the way, columns enter with
their initial state; where it shrinks, columns leave with their final state. Backward the two change places: `resize`.

The steps are taken in sections, for the large products, and these in chunks, for the slopes of several steps (tape.py).
A large layer is divided among the members of a team (team.py): each has a share of the hidden units and of the rows of
h, and they meet where the next line reads all of what they have made. Where there is only one member, its share is all.
"""

import numpy as np

from ..types import Array
from .cell import Cell, State, Weights
from .products import Product, TransposedProduct
from .sums import sum_of_outer_products, sum_of_rows
from .tape import Tape
from .team import Member, together


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
    final = tuple(np.empty_like(part) for part in initial)
    b = None
    if b_ih is not None and b_hh is not None:
        b = b_ih + b_hh
        apart = slice(len(b) - cell.apart * tape.units, None)
        b[apart] = b_ih[apart]

    def work(member: Member) -> None:
        share = tape.shares[member.number]
        rows = share.gate_rows
        recurrent_product = Product(share.of_gates(W_hh))
        projection = None if W_hr is None else Product(W_hr[share.outputs])
        state = initial
        for columns, chunks in share.sections:
            x_columns = x[columns].T
            a_columns = np.matmul(W_ih[rows], x_columns, out=tape.a_columns[rows, : x_columns.shape[1]])  # (T1)
            if b is not None:
                a_columns += b[rows][:, None]  # (T1)
            member.meet()  # now all of W_ih x + b is there
            for chunk in chunks:
                if chunk.is_first:  # of a run; every member writes all of it, and so need not wait for the others
                    state = resize(state, chunk.width, entering=initial, leaving=final)
                    for part, before in zip(state, chunk.whole_before, strict=True):
                        before[0] = part
                if cell.apart:
                    chunk.a_apart[...] = chunk.apart_columns  # (T1)  the input's half, in its own place
                    chunk.apart_columns[...] = 0 if b_hh is None else share.apart_of(b_hh)  # for the state's half
                multiply = recurrent_product.for_columns(chunk.width)
                project = None if projection is None else projection.for_columns(chunk.width)
                for h_prev, input_part, a_rows, a, state_prev, made, kept, m, h in chunk.forward():
                    multiply(h_prev, a_rows)  # (T1)
                    a_rows += input_part  # (T1)
                    cell.step(a, state_prev, made, kept)  # (T2)
                    member.meet()  # now all of h is there, or with a projection all of m
                    if project is not None:
                        project(m, h)  # (T3)
                        member.meet()  # now all of h is there
                chunk.in_rows(output)[...] = chunk.after[0]
                state = tuple(part[-1] for part in chunk.whole_after)
        resize(state, 0, entering=initial, leaving=final)

    together(tape.divide(), work)
    return final


def backward(
    cell: Cell, weights: Weights, x: Array, d_output: Array | None, d_final: State, tape: Tape, d_x: Array | None
) -> tuple[State, Weights]:
    """The gradients of what `forward` computed, from the tape that it filled.

    d_output: (N, P or H), or None for zero. d_final: like the final state; it is overwritten. Fills d_x: (N, I), unless
    it is None. Returns the gradient of the initial state and the gradients of the weights, in new arrays. The tape can
    be used again.
    """
    W_ih, W_hh, _, _, W_hr = weights
    d_initial = tuple(np.empty_like(part) for part in d_final)
    d_weights = weights.map(lambda weight: np.empty_like(weight, order="C"))

    def work(member: Member) -> None:
        share = tape.shares[member.number]
        rows, outputs = share.gate_rows, share.outputs
        transposed_product = TransposedProduct(W_hh, tape.gates, outputs, times=len(tape.batch_sizes))
        d_entering, d_leaving = share.of_state(d_final), share.of_state(d_initial)
        d_state = d_entering
        for columns, chunks in reversed(share.sections):
            for chunk in reversed(chunks):
                cell.linearize(chunk.a.swapaxes(0, 1), chunk.before, chunk.made, chunk.kept, chunk.slopes)  # (T2)
                d_state = resize(d_state, chunk.width, d_entering, d_leaving)
                multiply = transposed_product.for_columns(chunk.width)
                for d_h_outside, slopes, d_a, all_d_a, d_h_column, all_d_h in chunk.backward(d_output):
                    d_h, *d_rest = d_state
                    if d_h_outside is not None:
                        d_h += d_h_outside
                    if W_hr is not None:
                        d_h_column[...] = d_h
                        member.meet()  # now all of d_h is there
                        d_h = W_hr[:, share.units].T @ all_d_h  # (T3)  H, B
                    d_h_direct, d_rest_prev = cell.step_backward((d_h, *d_rest), slopes, d_a)  # (T2)
                    member.meet()  # now all of d_a is there
                    d_h_prev = multiply(all_d_a, chunk.d_h)  # (T1)  P, B
                    if d_h_direct is not None:
                        d_h_prev += d_h_direct
                    d_state = (d_h_prev, *d_rest_prev)
                chunk.recurrent_columns[...] = chunk.d_a_rows
                if cell.apart:
                    chunk.a_columns[...] = chunk.d_a_rows
                    chunk.apart_columns[...] = chunk.d_a_apart
                chunk.h_prev_columns[...] = chunk.before[0]
                if W_hr is not None:
                    chunk.m_columns[...] = chunk.made[0]
            member.meet()  # now all columns of the section are there

            more = columns is not share.sections[-1][0]  # than what the sections after it made
            here = slice(columns.stop - columns.start)
            if d_x is not None:
                some = member.share(here.stop)
                np.matmul(tape.a_columns[:, some].T, W_ih, out=d_x[columns][some])  # (T1)  N, I
            d_a_columns, h_prev = tape.a_columns[rows, here], tape.h_prev_columns[:, here]
            d_recurrent_columns = tape.recurrent_columns[rows, here]  # the same, unless some gate is apart
            sum_of_outer_products(d_a_columns, x[columns], d_weights.W_ih[rows], more)  # (T1)
            sum_of_outer_products(d_recurrent_columns, h_prev.T, d_weights.W_hh[rows], more)  # (T1)
            if d_weights.b_ih is not None and d_weights.b_hh is not None:
                d_b_ih, d_b_hh = d_weights.b_ih[rows], d_weights.b_hh[rows]
                d_b_ih[...] = sum_of_rows(d_a_columns.T) + (d_b_ih if more else 0)  # (T1)
                if cell.apart:
                    d_b_hh[...] = sum_of_rows(d_recurrent_columns.T) + (d_b_hh if more else 0)  # (T1)
                else:
                    d_b_hh[...] = d_b_ih
            if d_weights.W_hr is not None:
                m = tape.m_columns[:, here]
                sum_of_outer_products(share.d_h_columns[:, here], m.T, d_weights.W_hr[outputs], more)  # (T3)
            member.meet()  # now the columns may be written over
        resize(d_state, 0, d_entering, d_leaving)

    together(len(tape.shares), work)
    return d_initial, d_weights
