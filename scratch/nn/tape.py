"""The tape of a pass through time: what each step leaves for the way back, in memory that is laid out for it.

The steps of one width that follow each other are a run, and a run lies in one piece, so that the state before a step is
the state after the one before it. A *chunk* is some steps of a run, few enough for the cache: the slopes of a chunk are
made in one go. A *section* is some chunks, with columns enough for large products: what needs no other step is made for
a whole section at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, repeat
from typing import Literal, NamedTuple

import numpy as np

from ..types import Array
from .cell import Cell, State, Weights

CHUNK = 32_768
"""How many numbers an array of a chunk has, unless one step has more: a dozen such arrays fit into a core's cache."""
SECTION = 2_048
"""With so many columns a matrix product is as quick as with more."""


class Steps(NamedTuple):
    """What is kept of S steps of B columns each. Every array begins with the S steps, in the order of taking them."""

    a: Array  # S, G + apart, H, B   the pre-activations, and what the cell makes of them
    before: State  # S, P or H, B    the state before each step
    after: State  # S, P or H, B     and after it
    made: State  # S, H, B           the state as the cell makes it: `after`, unless its h is m, still to be projected
    kept: State  # S, H, B           what the cell keeps besides

    @classmethod
    def allocate(cls, memory: Callable[..., Array], cell: Cell, S: int, B: int, H: int, P: int | None) -> Steps:
        """Memory for S steps."""
        blocks = len(cell.blocks), H, B
        state = memory(S + 1, P or H, B), *(memory(S + 1, H, B) for _ in cell.state[1:])
        before, after = tuple(part[:-1] for part in state), tuple(part[1:] for part in state)
        a = memory(S, *blocks) if cell.keeps_a or cell.apart else the_same_for(S, memory(*blocks))
        made = (memory(S, H, B), *after[1:]) if P else after
        return cls(a, before, after, made, tuple(memory(S, H, B) for _ in range(cell.kept)))

    def some(self, steps: slice) -> Steps:
        """Some of the steps, in the same memory."""
        a, *states = self
        return Steps(a[steps], *(tuple(part[steps] for part in parts) for parts in states))

    def each(self) -> Iterator[tuple[Array, State, State, State]]:
        """Step by step: a, the state before, the state as the cell makes it, and what it keeps."""
        return zip(self.a, each(self.before), each(self.made), each(self.kept), strict=False)


class Chunk:
    """Some steps of one width: what is kept of them, and their part of what the section has for all its steps."""

    def __init__(self, tape: Tape, steps: Steps, rows: slice, columns: slice) -> None:
        S, blocks, H, B = steps.a.shape
        G = len(tape.cell.gates)
        self.steps, self.rows, self.width = steps, rows, B
        self.slopes = of_shape((tape.cell.slopes, S, H, B), tape.slopes)
        self.d_a = of_shape((S, blocks, H, B), tape.d_a)
        # By rows, for products: the gates' own blocks, and the input's halves of those that are apart.
        self.a_rows, self.a_apart = in_rows(steps.a[:, :G]), in_rows(steps.a[:, G:])
        self.d_a_rows, self.d_a_apart = in_rows(self.d_a[:, :G]), in_rows(self.d_a[:, G:])

        def by_step(wide: Array) -> Array:
            return wide[:, columns].reshape(len(wide), S, B).swapaxes(0, 1)  # a view: S, F, B

        self.a_columns, self.a_columns_apart = by_step(tape.a), by_step(tape.a[(G - tape.cell.apart) * H :])
        self.recurrent_columns, self.h_prev_columns = by_step(tape.a_recurrent), by_step(tape.h_prev)
        self.m_columns, self.d_h_columns = by_step(tape.m), by_step(tape.d_h)

    def of_rows(self, rows: Array) -> Array:
        """A view of the chunk's part of what is laid out in rows, step by step: (N, F) to (S, F, B)."""
        return rows[self.rows].reshape(len(self.a_rows), self.width, rows.shape[1]).swapaxes(1, 2)


class Tape:
    """The memory of one pass through one layer in one direction. Spent, it serves another pass of the same shape.

    batch_sizes: how many sequences take part in each step, in the order of taking the steps.
    """

    def __init__(self, cell: Cell, weights: Weights, batch_sizes: Sequence[int]) -> None:
        self.cell, self.batch_sizes, self.nbytes = cell, batch_sizes, 0
        dtype, (gate_rows, outputs) = weights.W_hh.dtype, weights.W_hh.shape
        H, P = gate_rows // len(cell.gates), None if weights.W_hr is None else outputs

        def memory(*shape: int, order: Literal["C", "F"] = "C") -> Array:
            array = np.ndarray(shape, dtype, order=order)
            self.nbytes += array.nbytes
            return array

        pieces: list[tuple[Steps, slice]] = []  # the chunks, with their rows among all N
        done = 0
        for B, run in groupby(batch_sizes):
            S, most = len(list(run)), max(1, CHUNK // max(1, H * B))
            steps = Steps.allocate(memory, cell, S, B, H, P)
            for first in range(0, S, most):
                rows = slice(done, done + min(most, S - first) * B)
                pieces.append((steps.some(slice(first, first + most)), rows))
                done = rows.stop
        enough = max(1, done / max(1, math.ceil(done / SECTION)))
        sections = [list(some) for _, some in groupby(pieces, key=lambda piece: piece[1].start // enough)]
        longest = max(some[-1][1].stop - some[0][1].start for some in sections)
        largest = max(steps.made[0].size for steps, _ in pieces)

        def wide(rows: int) -> Array:
            # A step reads and writes its own columns. One sequence alone: a single column, quick if it lies in one
            # piece. Several: a few numbers of each row, quick if a row lies in one piece, and so are the products.
            return memory(rows, longest, order="F" if max(batch_sizes) == 1 else "C")

        # The same memory for one section after the other, …
        self.a = wide(gate_rows)  # W_ih x + b on the way forward, its gradient on the way back
        self.a_recurrent = wide(gate_rows) if cell.apart else self.a  # the gradient of W_hh h_prev
        self.h_prev, self.m, self.d_h = wide(outputs), wide(H if P else 0), wide(P or 0)
        # … and for one chunk after the other.
        self.slopes, self.d_a = memory(cell.slopes * largest), memory(len(cell.blocks) * largest)
        self.sections: list[tuple[slice, list[Chunk]]] = []
        """Each with its rows among all N."""
        for some in sections:
            first = some[0][1].start
            chunks = [Chunk(self, *piece, slice(piece[1].start - first, piece[1].stop - first)) for piece in some]
            self.sections.append((slice(first, chunks[-1].rows.stop), chunks))


def each(parts: State) -> Iterator[State]:
    """The parts of each step."""
    return zip(*parts, strict=True) if parts else repeat(())


def the_same_for(steps: int, array: Array) -> Array:
    """The same memory for every step: (steps, …)."""
    return np.ndarray((steps, *array.shape), array.dtype, buffer=array, strides=(0, *array.strides))


def in_rows(blocks: Array) -> Array:
    """Blocks one above the other, in the same memory: (S, g, H, B) to (S, g·H, B)."""
    S, g, H, B = blocks.shape
    return blocks.reshape(S, g * H, B)


def of_shape(shape: tuple[int, ...], memory: Array) -> Array:
    """A view of the memory's beginning, of this shape."""
    return memory[: math.prod(shape)].reshape(shape)
