"""Backpropagation through time over sequences too long to be kept: keep some states, compute the rest again.

The tape of bptt.py holds every step. Here the steps are cut into segments of k, and forward keeps nothing of a segment
but the state before it. Backward takes the segments from the last to the first. It runs each forward once more, this
time onto a tape, and then backward, handing the gradient of the state on to the segment before (Chen et al. 2016;
Gruslys et al. 2016):

    forward, segment by segment     state s → state s + 1                                keeps state s
    backward, from the last         state s → tape;  tape, d_state s + 1 → d_state s     d_W += …,  d_x of its steps

T steps need T/k states and a tape of k steps: least, and in proportion to √T, for k near √T. The price is one more
forward pass. Input and output are as long as ever, and so is, in a stack, what one layer hands to the next.

Everything that is particular to a cell, a direction or a packed batch is left to bptt.py. A segment of a packed batch
may be narrower than the state that goes in; the columns that take no part come out as they went in.
"""

from collections.abc import Sequence

import numpy as np

from ..types import Array
from . import bptt
from .cell import Cell, State, Weights
from .tape import Tape


class Checkpoints:
    """What is kept of one pass through one layer in one direction: the states between segments of `every` steps."""

    def __init__(
        self, cell: Cell, weights: Weights, batch_sizes: Sequence[int], reverse: bool = False, *, every: int
    ) -> None:
        self.batch_sizes = batch_sizes
        self.reverse = reverse
        starts = range(0, len(batch_sizes), every)
        ends = np.cumsum(batch_sizes).tolist()  # the row after each step
        self.segments: list[tuple[slice, Sequence[int]]] = []
        """The rows and the batch sizes of each segment, in the order in which they are taken."""
        for start in reversed(starts) if reverse else starts:
            sizes = batch_sizes[start : start + every]
            last = ends[start + len(sizes) - 1]
            self.segments.append((slice(last - sum(sizes), last), sizes))
        self.states: list[State] = []  # before each segment
        self.tape = Tape(cell, weights, self.segments[0][1], reverse)

    def tape_for(self, cell: Cell, weights: Weights, batch_sizes: Sequence[int]) -> Tape:
        """A tape for one segment: the one at hand if it fits. There is never more than one."""
        if self.tape.batch_sizes != batch_sizes:
            self.tape = Tape(cell, weights, batch_sizes, self.reverse)
        return self.tape


def forward(cell: Cell, weights: Weights, x: Array, initial: State, tape: Tape | Checkpoints, output: Array) -> State:
    """`bptt.forward`, onto a tape or with checkpoints."""
    if isinstance(tape, Tape):
        return bptt.forward(cell, weights, x, initial, tape, output)
    tape.states, state = [], initial
    for rows, batch_sizes in tape.segments:
        tape.states.append(state)
        segment = tape.tape_for(cell, weights, batch_sizes)
        state = bptt.forward(cell, weights, x[rows], state, segment, output[rows])
    return state


def backward(
    cell: Cell,
    weights: Weights,
    x: Array,
    d_output: Array | None,
    d_final: State,
    tape: Tape | Checkpoints,
    d_x: Array | None,
) -> tuple[State, Weights]:
    """`bptt.backward`, from a tape or from checkpoints."""
    if isinstance(tape, Tape):
        return bptt.backward(cell, weights, x, d_output, d_final, tape, d_x)
    d_state, d_weights = d_final, None
    for (rows, batch_sizes), state in zip(reversed(tape.segments), reversed(tape.states), strict=True):
        segment = tape.tape_for(cell, weights, batch_sizes)
        again = np.empty((rows.stop - rows.start, weights.W_hh.shape[1]), x.dtype)
        bptt.forward(cell, weights, x[rows], state, segment, again)
        d_state, term = bptt.backward(
            cell,
            weights,
            x[rows],
            None if d_output is None else d_output[rows],
            d_state,
            segment,
            None if d_x is None else d_x[rows],
        )
        d_weights = term if d_weights is None else sum_of(d_weights, term)
    assert d_weights is not None  # there is no sequence without a step
    return d_state, d_weights


def sum_of(one: Weights, other: Weights) -> Weights:
    """The sum of two gradients, in the memory of the first."""
    for total, term in zip(one, other, strict=True):
        if total is not None and term is not None:
            total += term
    return one
