"""Batches of sequences that differ in length: padded or packed.

A *padded* batch is one array (T, B, *), filled up to the longest sequence; * stands for any further dimensions. A
*packed* batch holds the same sequences without the filling, so that a recurrent network wastes no work on it.

Packing gathers numbers from places in the padded array and padding puts them back in the same places. Each is the
other's transpose, ⟨pack(x), y⟩ = ⟨x, pad(y)⟩, and therefore the other's backward pass (with zeros for padding):

>>> x = np.array([[1.0, 4.0], [2.0, 0.0], [3.0, 0.0]])           # T = 3, B = 2
>>> packed = pack_padded_sequence(x, lengths=[3, 1])
>>> packed.data
array([1., 4., 2., 3.])
>>> d_data = np.array([10.0, 40.0, 20.0, 30.0])                  # gradient with respect to packed.data
>>> d_x, lengths = pad_packed_sequence(packed._replace(data=d_data), total_length=3)
>>> d_x
array([[10., 40.],
       [20.,  0.],
       [30.,  0.]])
>>> pack_padded_sequence(d_x, lengths).data                      # and backward through the padding
array([10., 40., 20., 30.])

The interface is that of `torch.nn.utils.rnn`. Every function returns new arrays and leaves its arguments unchanged.
"""

from collections.abc import Iterable, Sequence
from numbers import Number, Real
from typing import Any, NamedTuple, Self, overload

import numpy as np

from ...types import Array
from .. import checks


class _Fields(NamedTuple):
    """The fields of a `PackedSequence`, which adds to them what a NamedTuple may not have: its own `__new__`."""

    data: Array
    batch_sizes: Array
    sorted_indices: Array | None
    unsorted_indices: Array | None


class PackedSequence(_Fields):
    """Sequences laid out step by step, longest first, without padding.

    Three sequences, a of 3 steps, b of 2 and c of 1::

        step              0          1       2
        data           a₀ b₀ c₀    a₁ b₁    a₂
        batch_sizes       3          2       1

    - `data` (N, *): every step of every sequence, N = Σ lengths = Σ batch_sizes rows
    - `batch_sizes` (T,), int64: how many sequences are still running at each step
    - `sorted_indices` (B,), int64: which of the caller's sequences comes first, second, …; None if they came sorted
    - `unsorted_indices` (B,), int64: the inverse permutation; derived where only `sorted_indices` is given

    Usually made by `pack_sequence` or `pack_padded_sequence`. One built by hand is taken as it is, except that its
    `sorted_indices` must be a permutation for the inverse to exist: raises TypeError or RuntimeError otherwise.
    `check_packed_sequence` looks at the rest.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Array,
        batch_sizes: Array,
        sorted_indices: Array | None = None,
        unsorted_indices: Array | None = None,
    ) -> Self:
        """Hold the fields, uncopied."""
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)


@overload
def invert_permutation(permutation: None) -> None: ...
@overload
def invert_permutation(permutation: Array) -> Array: ...
def invert_permutation(permutation: Array | None) -> Array | None:
    """The permutation that undoes `permutation` (B,), int64; None for None.

    Raises TypeError for anything but an array, RuntimeError for an array that is not a permutation of 0 to B-1.
    """
    if permutation is None:
        return None
    permutation = _int64_vector("permutation", permutation)
    inverse = np.argsort(permutation).astype(np.int64)
    if not np.array_equal(permutation[inverse], np.arange(len(permutation))):
        raise RuntimeError(f"expected a permutation of 0 to {len(permutation) - 1}, got {permutation.tolist()}")
    return inverse


def check_packed_sequence(sequence: PackedSequence) -> None:
    """Refuse a `PackedSequence` that contradicts itself; one built by hand may.

    Raises TypeError if it is not a `PackedSequence` or holds something else than arrays, and RuntimeError unless
    `batch_sizes` is a vector of positive int64 that never grows and sums to the rows of `data`, and the indices are
    both None or two int64 permutations of the batch, each the other's inverse.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"expected a PackedSequence of {__name__}, got {type(sequence)}")
    data = checks.array("data", sequence.data)
    if data.ndim == 0:
        raise RuntimeError("expected data of at least 1 dimension, got 0")

    batch_sizes = _int64_vector("batch_sizes", sequence.batch_sizes)
    if len(batch_sizes) == 0 or batch_sizes[-1] < 1 or (batch_sizes[1:] > batch_sizes[:-1]).any():
        raise RuntimeError(f"expected batch_sizes that are positive and never grow, got {batch_sizes.tolist()}")
    if batch_sizes.sum() != len(data):
        raise RuntimeError(f"expected data of {batch_sizes.sum()} rows (the sum of batch_sizes), got {len(data)}")

    if sequence.sorted_indices is None and sequence.unsorted_indices is None:
        return
    if sequence.sorted_indices is None or sequence.unsorted_indices is None:
        raise RuntimeError("expected both sorted_indices and unsorted_indices or neither, got one of them")
    unsorted_indices = _int64_vector("unsorted_indices", sequence.unsorted_indices)
    if len(unsorted_indices) != batch_sizes[0]:
        raise RuntimeError(f"expected {batch_sizes[0]} indices (the batch), got {len(unsorted_indices)}")
    if not np.array_equal(unsorted_indices, invert_permutation(sequence.sorted_indices)):
        raise RuntimeError(
            "expected unsorted_indices to be the inverse of sorted_indices, "
            f"got {unsorted_indices.tolist()} and {sequence.sorted_indices.tolist()}"
        )


def pack_padded_sequence(
    input: Array, lengths: Sequence[int] | Array, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    input: (T, B, *), or (B, T, *) if `batch_first`, of any dtype. lengths: B integers from 1 to T. Steps beyond the
    longest length are left out, as in PyTorch. With `enforce_sorted` the lengths must not increase; without it the
    sequences are sorted, longest first, and equally long ones keep their order.

    Backward: the gradient with respect to `input` is `pad_packed_sequence` of the gradient with respect to `data`,
    with `total_length=T`.

    Raises TypeError for an input that is not an array, lengths that are not integers and flags that are not bools;
    IndexError for an input of fewer than 2 dimensions; RuntimeError for an input without elements, and for lengths
    that are out of range, not sorted, or not B.
    """
    input = checks.array("input", input)
    batch_first = checks.flag("batch_first", batch_first)
    if input.ndim < 2:
        raise IndexError(f"expected input of at least 2 dimensions, got {input.ndim}")
    if input.size == 0:
        raise RuntimeError(f"expected input with at least one element, got shape {input.shape}")
    batch, steps = input.shape[:2] if batch_first else input.shape[1::-1]
    lengths = _lengths(lengths, batch, least=1, most=steps, error=RuntimeError)
    lengths, sorted_indices = _longest_first(lengths, enforce_sorted)
    batch_sizes = _transpose_sizes(lengths)
    return PackedSequence(input[_places(batch_sizes, sorted_indices, batch_first)], batch_sizes, sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: complex = 0.0, total_length: int | None = None
) -> tuple[Array, Array]:
    """Undo `pack_padded_sequence`: the padded batch, in the caller's order, and its lengths (B,), int64.

    The batch is (T, B, *), or (B, T, *) if `batch_first`, where T is `total_length` or else the longest length.

    Backward: the gradient with respect to `data` is `pack_padded_sequence` of the gradient with respect to the padded
    batch, with the same lengths (and `enforce_sorted=False` if the packing was sorted).

    Raises TypeError or RuntimeError for a bad packing (see `check_packed_sequence`); TypeError for a flag that is no
    bool, a `total_length` that is not an int and a `padding_value` that is not a number; RuntimeError for a
    `padding_value` that the dtype cannot hold; ValueError for a `total_length` below the longest length.
    """
    check_packed_sequence(sequence)
    batch_first = checks.flag("batch_first", batch_first)
    data, batch_sizes, sorted_indices, unsorted_indices = sequence
    steps, batch = len(batch_sizes), int(batch_sizes[0])
    if total_length is not None:
        steps = checks.integer("total_length", total_length, least=steps)
    padded = _filled(batch, steps, data, batch_first, padding_value)
    padded[_places(batch_sizes, sorted_indices, batch_first)] = data
    lengths = _transpose_sizes(batch_sizes)
    return padded, lengths if unsorted_indices is None else lengths[unsorted_indices]


def pack_sequence(sequences: Iterable[Array], enforce_sorted: bool = True) -> PackedSequence:
    """Pack B arrays of shapes (length, *), without a padded array between.

    enforce_sorted: as in `pack_padded_sequence`. Backward: `unpack_sequence` of the gradient.

    Raises TypeError for anything but an array, IndexError for a 0-dimensional one, RuntimeError for no sequences,
    sequences without elements, of different dtypes or trailing dimensions, or not sorted.
    """
    sequences = _sequences(sequences, scalar_error=IndexError)
    for sequence in sequences:
        if sequence.size == 0:
            raise RuntimeError(f"expected sequences with at least one element, got shape {sequence.shape}")
    lengths, sorted_indices = _longest_first(np.array([len(sequence) for sequence in sequences]), enforce_sorted)
    batch_sizes = _transpose_sizes(lengths)
    first = _first_rows(batch_sizes)
    data = np.empty((batch_sizes.sum(), *sequences[0].shape[1:]), sequences[0].dtype)
    for rank, length in enumerate(lengths):
        data[first[:length] + rank] = sequences[rank if sorted_indices is None else sorted_indices[rank]]
    return PackedSequence(data, batch_sizes, sorted_indices)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Array]:
    """Undo `pack_sequence`: B arrays of shapes (length, *), in the caller's order. Backward: `pack_sequence`.

    Raises TypeError or RuntimeError for a bad packing: see `check_packed_sequence`.
    """
    check_packed_sequence(packed_sequences)
    data, batch_sizes, _, unsorted_indices = packed_sequences
    lengths, first = _transpose_sizes(batch_sizes), _first_rows(batch_sizes)
    ranks = np.arange(len(lengths)) if unsorted_indices is None else unsorted_indices
    return [data[first[: lengths[rank]] + rank] for rank in ranks]


def pad_sequence(
    sequences: Iterable[Array], batch_first: bool = False, padding_value: complex = 0.0, padding_side: str = "right"
) -> Array:
    """Fill B arrays of shapes (length, *) up to the longest: (T, B, *), or (B, T, *) if `batch_first`.

    The filling goes after each sequence, or before it if `padding_side` is 'left'. Backward: `unpad_sequence` of the
    gradient (for 'right').

    Raises TypeError for anything but an array, a flag that is not a bool, a side that is not a string and a
    `padding_value` that is not a number; RuntimeError for no sequences, 0-dimensional ones, different dtypes or
    trailing dimensions, an unknown `padding_side` and a `padding_value` that the dtype cannot hold.
    """
    sequences = _sequences(sequences, scalar_error=RuntimeError)
    batch_first = checks.flag("batch_first", batch_first)
    if not isinstance(padding_side, str):
        raise TypeError(f"expected padding_side to be a string, got {type(padding_side).__name__}")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"expected padding_side 'left' or 'right', got {padding_side!r}")
    steps = max(len(sequence) for sequence in sequences)
    padded = _filled(len(sequences), steps, sequences[0], batch_first, padding_value)
    rows = padded if batch_first else padded.swapaxes(0, 1)  # views: B, T, *
    for row, sequence in zip(rows, sequences, strict=True):
        start = steps - len(sequence) if padding_side == "left" else 0
        row[start : start + len(sequence)] = sequence
    return padded


def unpad_sequence(padded_sequences: Array, lengths: Sequence[int] | Array, batch_first: bool = False) -> list[Array]:
    """Undo `pad_sequence` (of padding side 'right'): B arrays of shapes (length, *).

    padded_sequences: (T, B, *), or (B, T, *) if `batch_first`. lengths: B integers from 0 to T. Backward:
    `pad_sequence` of the gradients, filled with zeros up to T.

    Raises TypeError for an input that is not an array, lengths that are not integers and a flag that is not a bool;
    IndexError for an input of fewer than 2 dimensions; ValueError for lengths that are out of range or not B.
    """
    padded_sequences = checks.array("padded_sequences", padded_sequences)
    batch_first = checks.flag("batch_first", batch_first)
    if padded_sequences.ndim < 2:
        raise IndexError(f"expected padded_sequences of at least 2 dimensions, got {padded_sequences.ndim}")
    rows = padded_sequences if batch_first else padded_sequences.swapaxes(0, 1)  # a view: B, T, *
    lengths = _lengths(lengths, rows.shape[0], least=0, most=rows.shape[1], error=ValueError)
    return [row[:length].copy() for row, length in zip(rows, lengths, strict=True)]


def _transpose_sizes(sizes: Array) -> Array:
    """How many of `sizes`, longest first, exceed 0, 1, 2, …: turns sorted lengths into batch sizes, and those back.

    Draw every sequence as a row of dots: lengths are the dots in each row, batch sizes those in each column.
    """
    return (len(sizes) - np.searchsorted(sizes[::-1], np.arange(sizes[0]), side="right")).astype(np.int64)


def _first_rows(batch_sizes: Array) -> Array:
    """The row of `data` where each step starts (T,). The sequence of rank r has its step t in row first[t] + r."""
    return np.cumsum(batch_sizes) - batch_sizes


def _places(batch_sizes: Array, sorted_indices: Array | None, batch_first: bool) -> tuple[Array, Array]:
    """The place of every row of `data` in the padded array, as the two index arrays (N,) of its first dimensions."""
    steps = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    ranks = np.arange(len(steps)) - _first_rows(batch_sizes)[steps]
    sequences = ranks if sorted_indices is None else sorted_indices[ranks]
    return (sequences, steps) if batch_first else (steps, sequences)


def _longest_first(lengths: Array, enforce_sorted: bool) -> tuple[Array, Array | None]:
    """The lengths sorted, and the order that sorts them; or, with `enforce_sorted`, unchanged and None."""
    if not checks.flag("enforce_sorted", enforce_sorted):
        order = np.argsort(-lengths, kind="stable").astype(np.int64)
        return lengths[order], order
    if (lengths[1:] > lengths[:-1]).any():
        raise RuntimeError(f"expected lengths sorted, longest first, or enforce_sorted=False, got {lengths.tolist()}")
    return lengths, None


def _filled(batch: int, steps: int, like: Array, batch_first: bool, padding_value: complex) -> Array:
    """A padded batch with nothing in it but padding, of the dtype and the trailing dimensions of `like`."""
    kind = like.dtype.kind
    if not isinstance(padding_value, Number if kind == "c" else Real):
        raise TypeError(f"expected padding_value to be a number for dtype {like.dtype}, got {padding_value!r}")
    try:
        with np.errstate(over="raise", invalid="raise"):
            value = np.full((), padding_value, like.dtype)
        fits = kind not in "biu" or value == padding_value  # NumPy cuts 0.5 to 0: not the padding that was asked for
    except (ArithmeticError, TypeError, ValueError):
        fits = False
    if not fits:
        raise RuntimeError(f"expected padding_value to be a value of dtype {like.dtype}, got {padding_value}")
    shape = (batch, steps) if batch_first else (steps, batch)
    return np.full(shape + like.shape[1:], value)


def _int64_vector(name: str, value: Any) -> Array:
    """A 1-D array of int64. Raises TypeError or RuntimeError."""
    vector = checks.array(name, value)
    if vector.ndim != 1 or vector.dtype != np.int64:
        raise RuntimeError(f"expected {name} to be 1-D, of dtype int64, got {vector.ndim}-D, {vector.dtype}")
    return vector


def _lengths(lengths: Sequence[int] | Array, batch: int, *, least: int, most: int, error: type[Exception]) -> Array:
    """Lengths as an int64 array (B,). Raises TypeError, RuntimeError if they are not 1-D, and `error`."""
    values: Array = np.asarray(lengths)
    some_bool = isinstance(lengths, Sequence) and any(isinstance(length, (bool, np.bool_)) for length in lengths)
    if some_bool or (values.size > 0 and values.dtype.kind not in "iu"):
        raise TypeError(f"expected lengths to be integers, got {values.tolist()}")
    if values.ndim != 1:
        raise RuntimeError(f"expected lengths to be 1-D, got {values.ndim}-D")
    if len(values) != batch:
        raise error(f"expected {batch} lengths, one for each sequence, got {len(values)}")
    if ((values < least) | (values > most)).any():
        raise error(f"expected lengths from {least} to {most} (the steps in the data), got {values.tolist()}")
    return values.astype(np.int64)


def _sequences(sequences: Iterable[Array], *, scalar_error: type[Exception]) -> tuple[Array, ...]:
    """Arrays that have all but their first dimension, and their dtype, in common."""
    if not isinstance(sequences, Iterable):
        raise TypeError(f"expected a list of arrays, got {type(sequences).__name__}")
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("expected at least one sequence, got an empty list")
    for sequence in sequences:
        if checks.array("every sequence", sequence).ndim == 0:
            raise scalar_error("expected sequences of at least 1 dimension, got a 0-dimensional one")
        if sequence.shape[1:] != sequences[0].shape[1:] or sequence.dtype != sequences[0].dtype:
            raise RuntimeError(
                f"expected every sequence of shape (length, *{sequences[0].shape[1:]}) and dtype "
                f"{sequences[0].dtype}, got {sequence.shape} and {sequence.dtype}"
            )
    return sequences
