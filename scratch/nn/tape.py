"""What a pass through time keeps for the way back, in memory that is laid out for it.

The steps of one width that follow each other are a run. Each step of a run lies in one piece, in the order in which the
steps are taken, and before them the state that the first one takes: so the states before all steps are one array, and
the states after are another. A chunk is some steps of a run, as many as fit into the cache together. A section is some
chunks, with columns enough for large products: what needs no step before is made section by section.
"""

from collections.abc import Iterator, Sequence
from itertools import cycle, groupby, repeat
from math import ceil
from typing import Any

import numpy as np

from ..types import Array
from . import team
from .cell import Cell, State, Weights
from .team import Member

LARGEST_CHUNK = 32_768
"""Numbers of a kind in a chunk, if one step has not more: a dozen such arrays about fit into the cache of a core."""
SMALLEST_CHUNK = 4_096
"""So many are worth a call; of a long sequence a chunk may be a sixteenth, so that its buffers are small beside it."""
SECTION = 2_048
"""Columns with which a matrix product is as quick as with any more."""


class Tape:
    """The memory of one pass through one layer in one direction, allocated at once.

    A tape fits one shape of input, and is used again for every pass of that shape.
    """

    def __init__(self, cell: Cell, weights: Weights, batch_sizes: Sequence[int], reverse: bool = False) -> None:
        gate_rows, self.outputs = weights.W_hh.shape
        self.gates, self.blocks, self.apart = len(cell.gates), len(cell.blocks), cell.apart
        self.units = gate_rows // self.gates
        self.dtype = weights.W_hh.dtype
        self.projected = weights.W_hr is not None
        self.batch_sizes, self.reverse = batch_sizes, reverse
        self.widest = batch_sizes[0]
        in_order = reversed(batch_sizes) if reverse else batch_sizes
        runs = [Run(self, cell, width, len(list(steps))) for width, steps in groupby(in_order)]
        self.sections = sections_of(runs, sum(batch_sizes), reverse)
        longest = max(size_of(columns) for columns, _ in self.sections)

        def all_columns(rows: int) -> Array:
            # A step reads and writes its own columns. One sequence alone: a single column, quick if it lies in one
            # piece. Several: a few numbers of each row, quick if a row lies in one piece, and so are the products.
            return np.empty((rows, longest), self.dtype, order="F" if self.widest == 1 else "C")

        # Of one section after the other.
        self.a_columns = all_columns(gate_rows)  # W_ih x + b on the way forward, its gradient on the way back
        self.recurrent_columns = all_columns(gate_rows) if cell.apart else self.a_columns  # the gradient of W_hh h_prev
        self.h_prev_columns = all_columns(self.outputs)
        self.m_columns = all_columns(self.units if self.projected else 0)
        self.d_h_columns = all_columns(self.outputs if self.projected else 0)
        self.slopes = cell.slopes
        self.largest_chunk = max(run.steps_of_a_chunk * run.width for run in runs)
        # In turns: while one member of a team goes on to the next chunk, another may still read the last d_a of this.
        self.d_a = [np.empty(self.blocks * self.units * self.largest_chunk, self.dtype) for _ in range(2)]
        self.shares: list[Share] = []

    def divide(self) -> int:
        """Make a share for each member of the team that is worth having. Returns how many there are."""
        multiplications = self.gates * self.units * self.outputs * self.batch_sizes[0]
        size = min(self.outputs, team.size_for(multiplications, steps=len(self.batch_sizes)))
        if len(self.shares) != size:
            self.shares = [Share(self, Member(number, size)) for number in range(size)]
        return len(self.shares)


class Run:
    """What is kept of S steps of B columns each."""

    def __init__(self, tape: Tape, cell: Cell, B: int, S: int) -> None:
        H, P = tape.units, tape.outputs

        def memory(*shape: int) -> Array:
            return np.empty(shape, tape.dtype)

        self.width, self.length = B, S
        numbers = min(LARGEST_CHUNK, max(SMALLEST_CHUNK, S * H * B // 16))
        self.steps_of_a_chunk = min(S, max(1, numbers // max(1, H * B)))
        keeps_a = cell.keeps_a or cell.apart > 0  # the input's halves are put there for all steps of a chunk at once
        self.a = memory(S, tape.blocks, H, B) if keeps_a else for_every_step(memory(tape.blocks, H, B), S)
        state = memory(S + 1, P, B), *(memory(S + 1, H, B) for _ in cell.state[1:])
        self.before: State = tuple(part[:-1] for part in state)
        self.after: State = tuple(part[1:] for part in state)
        self.made: State = (memory(S, H, B), *self.after[1:]) if tape.projected else self.after
        """As the cell makes it. With a projection its h is m, and h is made of that."""
        self.kept: State = tuple(memory(S, H, B) for _ in range(cell.kept))


Place = tuple[Run, slice, slice]
"""A chunk: its run, its steps of the run, and its columns of all N."""


def sections_of(runs: Sequence[Run], total: int, reverse: bool) -> list[tuple[slice, list[Place]]]:
    """Divide all steps into chunks, and these into sections of about one length: of each its columns and chunks."""
    enough = total / max(1, ceil(total / SECTION))
    sections: list[tuple[slice, list[Place]]] = []
    done = 0
    for run in runs:
        for start in range(0, run.length, run.steps_of_a_chunk):
            steps = slice(start, min(start + run.steps_of_a_chunk, run.length))
            before, done = done, done + size_of(steps) * run.width
            columns = slice(total - done, total - before) if reverse else slice(before, done)
            if not sections or size_of(sections[-1][0]) >= enough:
                sections.append((columns, []))
            so_far, chunks = sections[-1]
            chunks.append((run, steps, columns))
            sections[-1] = slice(min(so_far.start, columns.start), max(so_far.stop, columns.stop)), chunks
    return sections


class Share:
    """What of a tape one member of a team fills: U of the H hidden units in every gate, and R of the P rows of h.

    Of what is made for a whole section the member makes some rows of the G·H, or some of the columns.
    """

    def __init__(self, tape: Tape, member: Member) -> None:
        self.gates, self.apart = tape.gates, tape.apart
        self.is_all = member.size == 1
        self.units, self.outputs = member.share(tape.units), member.share(tape.outputs)
        self.gate_rows = member.share(len(tape.a_columns))
        self.a_columns, self.recurrent_columns = self.of_gates(tape.a_columns), self.of_gates(tape.recurrent_columns)
        self.h_prev_columns = tape.h_prev_columns[self.outputs]
        self.m_columns, self.d_h_columns = tape.m_columns[self.units], tape.d_h_columns[self.outputs]
        # The same memory for one chunk after the other.
        self.slopes = np.empty(tape.slopes * size_of(self.units) * tape.largest_chunk, tape.dtype)
        self.d_h = np.empty(size_of(self.outputs) * tape.widest, tape.dtype)
        turns = cycle((0, 1))
        self.sections = [
            (columns, [Chunk(tape, self, *place, columns.start, next(turns)) for place in places])
            for columns, places in tape.sections
        ]

    def of_gates(self, matrix: Array) -> Array:
        """The rows of a (G·H, N) matrix that are of these units: (G, U, N), or if that is all, the matrix itself."""
        return matrix if self.is_all else matrix.reshape(self.gates, len(matrix) // self.gates, -1)[:, self.units]

    def apart_of(self, b: Array) -> Array:
        """The entries of a (G·H) vector that are of these units and of the gates that are apart: (apart, U, 1)."""
        return b.reshape(self.gates, -1, 1)[self.gates - self.apart :, self.units]

    def of_state(self, state: State) -> State:
        """The rows of a state: of h these outputs, of the rest these units."""
        return state[0][self.outputs], *(part[self.units] for part in state[1:])


class Chunk:
    """What of S steps of B columns each one member of a team works on, and the wholes that it reads."""

    def __init__(
        self, tape: Tape, share: Share, run: Run, steps: slice, columns: slice, section: int, turn: int
    ) -> None:
        S, B, G, H = size_of(steps), run.width, tape.gates, tape.units
        units, outputs = share.units, share.outputs
        self.width, self.reverse = B, tape.reverse
        self.columns, self.outputs = columns, outputs
        self.is_first = steps.start == 0
        """Of its run."""
        self.whole_before: State = tuple(part[steps] for part in run.before)  # S, P or H, B
        self.whole_after: State = tuple(part[steps] for part in run.after)  # S, P or H, B
        self.whole_m = run.made[0][steps]  # S, H, B
        whole_d_a = tape.d_a[turn][: S * tape.blocks * H * B].reshape(S, tape.blocks, H, B)
        self.whole_d_a = whole_d_a[:, :G]  # of the recurrent product
        self.a, self.d_a = run.a[steps, :, units], whole_d_a[:, :, units]  # S, G + apart, U, B
        self.a_apart, self.d_a_apart = self.a[:, G:], self.d_a[:, G:]  # the input's halves
        self.a_rows, self.d_a_rows = self.a[:, :G], self.d_a[:, :G]  # in products; S, G·H, B if that is all
        if share.is_all:
            self.a_rows, self.d_a_rows = (rows.reshape(S, G * H, B) for rows in (self.a_rows, self.d_a_rows))
        self.before, self.after = (
            (state[0][:, outputs], *(part[:, units] for part in state[1:]))
            for state in (self.whole_before, self.whole_after)
        )  # S, R or U, B
        self.made: State = tuple(part[steps, units] for part in run.made)  # S, U, B
        self.kept: State = tuple(part[steps, units] for part in run.kept)  # S, U, B
        self.slopes = share.slopes[: tape.slopes * S * size_of(units) * B].reshape(tape.slopes, S, size_of(units), B)
        self.d_h = share.d_h[: size_of(outputs) * B].reshape(size_of(outputs), B)  # the same of every step
        here = slice(columns.start - section, columns.stop - section)
        (
            self.a_columns,
            self.recurrent_columns,
            self.apart_columns,  # of a_columns the gates that are apart: S, apart, U, B
            self.h_prev_columns,
            self.m_columns,
            self.d_h_columns,
            self.whole_d_h_columns,
        ) = (
            self.steps_of(matrix[..., here])
            for matrix in (
                share.a_columns,
                share.recurrent_columns,
                tape.a_columns.reshape(G, H, tape.a_columns.shape[1])[G - share.apart :, units],
                share.h_prev_columns,
                share.m_columns,
                share.d_h_columns,
                tape.d_h_columns,
            )
        )

    def forward(self) -> Iterator[tuple[Any, ...]]:
        """Step by step: h_prev, the input's part of a, a in rows and by gates, the state before, the state as made by
        the cell, what it keeps, m and h. h_prev and m are whole.
        """
        return zip(
            self.whole_before[0],
            self.a_columns,
            self.a_rows,
            self.a,
            each(self.before),
            each(self.made),
            each(self.kept),
            self.whole_m,
            self.after[0],
            strict=False,
        )

    def backward(self, d_output: Array | None) -> Iterator[tuple[Any, ...]]:
        """Step by step, the last one first: what of d_h comes from d_output, the slopes, d_a, and where it is whole;
        the place of d_h among all columns, and where that is whole.
        """
        return zip(
            repeat(None) if d_output is None else self.in_rows(d_output)[::-1],
            self.slopes.swapaxes(0, 1)[::-1],
            self.d_a[::-1],
            self.whole_d_a[::-1],
            self.d_h_columns[::-1],
            self.whole_d_h_columns[::-1],
            strict=False,
        )

    def in_rows(self, output: Array) -> Array:
        """These rows of h for these steps in output: (N, P) to (S, R, B)."""
        return self.steps_of(output[self.columns, self.outputs].T)

    def steps_of(self, matrix: Array) -> Array:
        """These columns, (…, S·B), step by step: (S, …, B), in the order in which they are taken."""
        *of, _ = matrix.shape
        steps = matrix.reshape(*of, len(self.a), self.width)
        in_order = steps[..., ::-1, :] if self.reverse else steps
        return in_order.transpose(len(of), *range(len(of)), len(of) + 1)


def size_of(part: slice) -> int:
    """How many."""
    size: int = part.stop - part.start
    return size


def each(parts: State) -> Iterator[State]:
    """The state of each step."""
    return zip(*parts, strict=True) if parts else repeat(())


def for_every_step(array: Array, steps: int) -> Array:
    """The same memory for so many steps: (steps, …)."""
    # Not as_strided, which would not check that no step lies outside of the memory.
    return np.ndarray((steps, *array.shape), array.dtype, buffer=array, strides=(0, *array.strides))
