"""The caller's layout and the core's, turned once on the way in and once on the way out.

The caller hands over a batch (T, B, I), or (B, T, I) with batch_first, or one sequence (T, I), or a PackedSequence. The
core wants rows (N, I), one for each (step, sequence), step by step, and states as columns (features, B) for each layer
and direction. Every array that leaves here is new, so that neither side ever holds the other's memory; except for rows
that are read during the call alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..types import Array
from . import checks
from .utils.rnn import PackedSequence, check_packed_sequence


class Order(NamedTuple):
    """How the sequences of a PackedSequence are ordered: its fields without the data."""

    batch_sizes: Array
    sorted_indices: Array | None
    unsorted_indices: Array | None

    @classmethod
    def of(cls, sequence: PackedSequence) -> Order:
        """The order of a PackedSequence, in arrays of its own."""
        return cls(*sequence[1:]).copy()

    def copy(self) -> Order:
        """The same order in other arrays."""
        batch_sizes, *indices = self
        return Order(batch_sizes.copy(), *(None if i is None else i.copy() for i in indices))

    def agrees_with(self, other: Order) -> bool:
        """Whether data in the two orders can be compared row by row."""
        if not np.array_equal(self.batch_sizes, other.batch_sizes):
            return False
        as_given = np.arange(self.batch_sizes[0])
        mine, others = (as_given if o.sorted_indices is None else o.sorted_indices for o in (self, other))
        return np.array_equal(mine, others)


@dataclass(frozen=True, eq=False)
class Layout:
    """How the caller's arrays are laid out, whatever the number of features."""

    batch_sizes: tuple[int, ...]
    """How many sequences take part in each step; the same number T times without packing."""
    batched: bool = True
    batch_first: bool = False
    order: Order | None = None
    """Given for a PackedSequence."""

    @property
    def batch(self) -> int:
        """B, the number of sequences."""
        return self.batch_sizes[0]

    @cached_property
    def opposite(self) -> Array:
        """The numbers of the rows, the steps in the opposite order: what a reverse direction reads."""
        step_of_row = np.repeat(np.arange(len(self.batch_sizes)), self.batch_sizes)
        return np.argsort(-step_of_row, kind="stable")

    @classmethod
    def of(cls, input: Any, batch_first: bool) -> Layout:
        """The layout of a recurrent module's input.

        Raises TypeError if it is neither an array nor a PackedSequence, ValueError if it is neither 2-D nor 3-D,
        RuntimeError if it has no step or is inconsistently packed.
        """
        if isinstance(input, PackedSequence):
            check_packed_sequence(input)
            if input.data.ndim != 2:
                raise RuntimeError(f"expected packed data of shape (N, input_size), got {input.data.shape}")
            return cls(tuple(input.batch_sizes.tolist()), order=Order.of(input))
        if not isinstance(input, np.ndarray):
            raise TypeError(f"expected input to be a NumPy array or a PackedSequence, got {type(input)}")
        if input.ndim not in (2, 3):
            raise ValueError(f"expected a 2-D or 3-D input, got {input.ndim}-D of shape {input.shape}")
        if input.ndim == 2:
            steps, batch = len(input), 1
        else:
            steps, batch = (input.shape[1], input.shape[0]) if batch_first else input.shape[:2]
        if steps == 0:
            raise RuntimeError(f"expected a sequence length larger than 0, got input of shape {input.shape}")
        return cls((batch,) * steps, batched=input.ndim == 3, batch_first=batch_first)

    def check_sequence(self, name: str, value: Any, features: int, dtype: np.dtype[Any]) -> None:
        """Refuse what is not laid out like the input. Raises TypeError for another kind, else RuntimeError."""
        if self.order is None:
            steps = len(self.batch_sizes)
            batched = (self.batch, steps) if self.batch_first else (steps, self.batch)
            checks.floats(name, value, dtype, (*(batched if self.batched else (steps,)), features))
            return
        if not isinstance(value, PackedSequence):
            raise TypeError(f"expected {name} to be a PackedSequence, as the input was, got {type(value)}")
        check_packed_sequence(value)
        if not self.order.agrees_with(Order.of(value)):
            raise RuntimeError(f"expected {name} packed in the order of the input, got other batch_sizes or indices")
        checks.floats(f"{name}.data", value.data, dtype, (sum(self.batch_sizes), features))

    def state_shape(self, layers: int, features: int) -> tuple[int, ...]:
        """The shape of a state: (L·D, B, features), or (L·D, features) for an unbatched input."""
        return (layers, self.batch, features) if self.batched else (layers, features)

    def rows(self, value: Array | PackedSequence, copy: bool) -> Array:
        """The caller's array as rows: (N, features). Without `copy` they may lie in the caller's memory: read only."""
        if isinstance(value, PackedSequence):
            value = value.data
        elif self.batched and self.batch_first:
            value = value.swapaxes(0, 1)
        rows = np.array(value, order="C") if copy else np.ascontiguousarray(value)
        return rows.reshape(sum(self.batch_sizes), value.shape[-1])

    def sequence(self, rows: Array) -> Array | PackedSequence:
        """Rows (N, features), which are given away, in the caller's layout."""
        if self.order is not None:
            return PackedSequence(rows, *self.order.copy())
        if not self.batched:
            return rows
        steps = len(self.batch_sizes)
        value = rows.reshape(steps, self.batch, rows.shape[-1])
        return value.swapaxes(0, 1) if self.batch_first else value

    def state_columns(self, state: Array) -> list[Array]:
        """The caller's state (L·D, B, features) as columns (features, B) for each layer and direction."""
        if not self.batched:
            state = state[:, None]
        elif self.order is not None and self.order.sorted_indices is not None:
            state = state[:, self.order.sorted_indices]
        return list(np.array(state.swapaxes(1, 2), order="C"))  # `list` splits the first axis

    def state(self, columns: Sequence[Array]) -> Array:
        """The inverse of `state_columns`, with the sequences in the caller's order."""
        state = np.array([part.T for part in columns], order="C")
        if not self.batched:
            return state[:, 0]
        if self.order is not None and self.order.unsorted_indices is not None:
            return state[:, self.order.unsorted_indices]
        return state
