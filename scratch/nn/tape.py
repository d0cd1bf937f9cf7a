"""The tape of a pass through time: what each step leaves for the way back, in memory that is laid out for it.

The steps of one width that follow each other are a run, and a run lies in one piece, so that the state before a step is
the state after the one before it. A *chunk* is some steps of a run, few enough for the cache: the slopes of a chunk are
made in one go. A *section* is some chunks, with columns enough for large products: what needs no other step is made for
a whole section at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, repeat
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from ..types import Array
from .cell import Cell, State, Weights

CHUNK = 32_768
"""Numbers of a kind in a chunk, unless one step has more: a dozen such arrays fit into the cache of a core."""
SECTION = 2_048
"""Columns with which a matrix product is as quick as with any more."""


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
        a = memory(S, *blocks) if cell.keeps_a else the_same_for(S, memory(*blocks))
        made = (memory(S, H, B), *after[1:]) if P else after
        return cls(a, before, after, made, tuple(memory(S, H, B) for _ in range(cell.kept)))

    def some(self, steps: slice) -> Steps:
        """Some of the steps, in the same memory."""
        a, *states = self
        return Steps(a[steps], *(tuple(part[steps] for part in parts) for parts in states))

    def each(self) -> Iterator[tuple[Array, State, State, State]]:
        """Step by step: a, the state before, the state as the cell makes it, and what it keeps."""
        return zip(self.a, each(self.before), each(self.made), each(self.kept), strict=False)


class Chunk(NamedTuple):
    """Some steps of one width."""

    steps: Steps
    rows: slice
    """Theirs among all N of x and output."""
    columns: slice
    """Theirs among those of the section."""

    @property
    def width(self) -> int:
        """B, how many sequences take part."""
        width: int = self.steps.a.shape[-1]
        return width

    def by_step(self, columns: Array) -> Array:
        """A view of the chunk's columns, step by step: (F, S·B) to (S, F, B)."""
        return columns.reshape(len(columns), len(self.steps.a), self.width).swapaxes(0, 1)


class Tape:
    """The memory of one pass through one layer in one direction. Spent, it serves another pass of the same shape.

    batch_sizes: how many sequences take part in each step, in the order of taking the steps.
    """

    def __init__(self, cell: Cell, weights: Weights, batch_sizes: Sequence[int]) -> None:
        self.batch_sizes, self.nbytes = batch_sizes, 0
        dtype, (gate_rows, outputs) = weights.W_hh.dtype, weights.W_hh.shape
        H, P = gate_rows // len(cell.gates), None if weights.W_hr is None else outputs

        def memory(*shape: int, order: Literal["C", "F"] = "C") -> Array:
            array = np.ndarray(shape, dtype, order=order)
            self.nbytes += array.nbytes
            return array

        N, done = sum(batch_sizes), 0
        chunks: list[Chunk] = []
        for B, run in groupby(batch_sizes):
            S = len(list(run))
            steps, most = Steps.allocate(memory, cell, S, B, H, P), max(1, CHUNK // max(1, H * B))
            for first in range(0, S, most):
                rows = slice(done, done + min(most, S - first) * B)
                chunks.append(Chunk(steps.some(slice(first, first + most)), rows, rows))
                done = rows.stop
        self.sections: list[list[Chunk]] = []
        enough = max(1, N / max(1, ceil(N / SECTION)))
        for _, section in groupby(chunks, key=lambda chunk: chunk.rows.start // enough):
            self.sections.append(within_their_section(list(section)))
        longest = max(section[-1].columns.stop for section in self.sections)
        largest = max(H * (chunk.rows.stop - chunk.rows.start) for chunk in chunks)

        def wide(rows: int) -> Array:
            # A step reads and writes its own columns. One sequence alone: a single column, quick if it lies in one
            # piece. Several: a few numbers of each row, quick if a row lies in one piece, and so are the products.
            return memory(rows, longest, order="F" if max(batch_sizes) == 1 else "C")

        # The same memory for one section after the other, …
        self.a = wide(gate_rows)  # W_ih x + b on the way forward, its gradient on the way back
        self.a_recurrent = wide(gate_rows) if cell.apart else self.a  # the gradient of W_hh h_prev
        self.h_prev = wide(outputs)
        self.m, self.d_h = wide(H if P else 0), wide(P or 0)
        # … and for one chunk after the other.
        self.slopes, self.d_a = memory(cell.slopes * largest), memory(len(cell.blocks) * largest)


def within_their_section(chunks: list[Chunk]) -> list[Chunk]:
    """The chunks of a section, each with its place in it."""
    first = chunks[0].rows.start
    return [chunk._replace(columns=slice(chunk.rows.start - first, chunk.rows.stop - first)) for chunk in chunks]


def each(parts: State) -> Iterator[State]:
    """The parts of each step."""
    return zip(*parts, strict=True) if parts else repeat(())


def the_same_for(steps: int, array: Array) -> Array:
    """The same memory for so many steps: (steps, …)."""
    return np.ndarray((steps, *array.shape), array.dtype, buffer=array, strides=(0, *array.strides))
