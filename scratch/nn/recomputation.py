"""One pass through one layer in one direction, in segments: kept on a tape, or computed again on the way back.

A tape holds every step. Of a sequence too long for that, only the state before each segment of k steps is kept.
Backward takes the segments from the last to the first, runs each forward once more, this time onto a tape, and then
backward, handing the gradient of the state on to the segment before (Chen et al. 2016; Gruslys et al. 2016):

    forward, segment by segment     state s → state s + 1                                keeps state s
    backward, from the last         state s → tape;  tape, d_state s + 1 → d_state s     d_W += …,  d_x of its steps

T steps need T/k states and a tape of k steps: least, and in proportion to √T, for k near √T. The price is one more
forward pass. Input and output are as long as ever, and so is, in a stack, what one layer hands to the next.

Everything that is particular to a cell or a packed batch is left to bptt.py. A segment of a packed batch may be
narrower than the state that goes in; the columns that take no part come out as they went in.
"""

from collections.abc import Collection
from math import ceil
from typing import NamedTuple

import numpy as np

from ..types import Array
from . import bptt
from .cell import Cell, State, Weights
from .tape import SECTION, Tape


class Spent(list[Tape]):
    """Tapes that nobody will read any more, whose memory later passes use again. Threads may share it."""

    def take(self, cell: Cell, weights: Weights, batch_sizes: tuple[int, ...]) -> Tape:
        """A tape for such a pass, a spent one if it fits. If it does not, all spent ones are let go."""
        try:
            tape = self.pop()
        except IndexError:
            return Tape(cell, weights, batch_sizes)
        if tape.batch_sizes == batch_sizes and tape.cell is cell:
            return tape
        self.clear()
        del tape  # before the new one is there
        return Tape(cell, weights, batch_sizes)


class Segment(NamedTuple):
    """Some steps that follow each other: what is kept of them."""

    rows: slice
    batch_sizes: tuple[int, ...]
    initial: State
    """The state before them."""
    tape: Tape | None
    """None if it is to be made again."""

    @property
    def nbytes(self) -> int:
        """The bytes that it takes."""
        return sum(part.nbytes for part in self.initial) + (0 if self.tape is None else self.tape.nbytes)


def forward(
    cell: Cell,
    weights: Weights,
    x: Array,
    initial: State,
    batch_sizes: tuple[int, ...],
    output: Array,
    spent: Spent,
    *,
    every: int | None = None,
    keep: bool,
) -> tuple[State, list[Segment]]:
    """`bptt.forward` in segments of `every` steps, of which the states are kept; None is one segment with its tape.

    Without `keep` nothing is kept, and the segments are as short as they can be without losing speed. Returns the final
    state, and what `backward` needs.
    """
    T = len(batch_sizes)
    length = every or (T if keep else ceil(T / ceil(T * max(1, max(batch_sizes)) / SECTION)))
    segments: list[Segment] = []
    state, start = initial, 0
    for first in range(0, T, length):
        sizes = batch_sizes[first : first + length]
        rows = slice(start, start + sum(sizes))
        tape = spent.take(cell, weights, sizes)
        before, state = state, bptt.forward(cell, weights, x[rows], state, tape, output[rows])
        if keep:
            segments.append(Segment(rows, sizes, before, None if every else tape))
        if every or not keep:
            spent.append(tape)
        start = rows.stop
    return state, segments


def backward(
    cell: Cell,
    weights: Weights,
    x: Array,
    d_output: Array | None,
    d_final: State,
    segments: list[Segment],
    d_x: Array | None,
    wanted: Collection[str],
    spent: Spent,
) -> tuple[State, bptt.Gradients]:
    """`bptt.backward` through all segments, from the last to the first."""
    d_state, total = d_final, bptt.Gradients()
    for rows, batch_sizes, initial, kept in reversed(segments):
        tape = kept
        if tape is None:
            tape = spent.take(cell, weights, batch_sizes)
            again = np.empty((rows.stop - rows.start, weights.W_hh.shape[1]), x.dtype)
            bptt.forward(cell, weights, x[rows], initial, tape, again)
        d_rows, d_x_rows = (None if each is None else each[rows] for each in (d_output, d_x))
        d_state, terms = bptt.backward(cell, weights, x[rows], d_rows, d_state, tape, d_x_rows, wanted)
        bptt.add(total, terms)
        if kept is None:
            spent.append(tape)
    return d_state, total
