"""Packing and padding only move numbers, so everything is compared exactly: with PyTorch, and with the way back."""

import doctest
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import rnn as torch_rnn

from scratch.nn.utils import rnn
from scratch.types import Array

DTYPES = [np.float32, np.float64, np.complex128, np.int64, np.uint8, np.bool_]

# Writes to an argument fail, as all are read-only; memory orders differ as those of callers do.
ORDERS: dict[str, Callable[[Array], Array]] = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "reversed": lambda array: array[::-1].copy()[::-1],
}


def numbered(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64, order: str = "C") -> Array:
    """A read-only array that holds 1, 2, 3, …: a number in a wrong place shows."""
    array = ORDERS[order](np.arange(1, np.prod(shape) + 1).reshape(shape).astype(dtype))
    array.flags.writeable = False
    return array


class Batch(NamedTuple):
    """A padded batch with numbers in the padding too, and the same as a list."""

    lengths: list[int]
    batch_first: bool
    padded: Array
    sequences: list[Array]


@st.composite
def batches(draw: st.DrawFn, dtypes: list[type[np.generic]] = DTYPES, least: int = 1) -> Batch:
    lengths = draw(st.lists(st.integers(least, 6), min_size=1, max_size=7))
    steps = max(lengths) + draw(st.integers(0, 2))
    batch_first = draw(st.booleans())
    trailing = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    leading = (len(lengths), steps) if batch_first else (steps, len(lengths))
    padded = numbered(leading + trailing, draw(st.sampled_from(dtypes)), draw(st.sampled_from(sorted(ORDERS))))
    rows = padded if batch_first else padded.swapaxes(0, 1)
    return Batch(lengths, batch_first, padded, [row[:length] for row, length in zip(rows, lengths, strict=True)])


def to_torch(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def arrays(result: Any) -> list[Any]:
    """Whatever a function returned, flat."""
    return [part for item in result for part in arrays(item)] if isinstance(result, (tuple, list)) else [result]


def assert_same(ours: Any, theirs: Any) -> None:
    ours, theirs = arrays(ours), arrays(theirs)
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        if their is None:
            assert our is None
            continue
        their = np.asarray(their)
        assert type(our) is np.ndarray
        assert (our.shape, our.dtype) == (their.shape, their.dtype)
        np.testing.assert_array_equal(our, their)


def assert_same_packing(ours: rnn.PackedSequence, theirs: torch_rnn.PackedSequence) -> None:
    """Equal up to the order of equally long sequences, which PyTorch leaves open."""
    rnn.check_packed_sequence(ours)
    assert_same(ours.batch_sizes, theirs.batch_sizes)
    assert (ours.sorted_indices is None) == (theirs.sorted_indices is None)
    assert_same(rnn.unpack_sequence(ours), torch_rnn.unpack_sequence(theirs))
    if ours.sorted_indices is None:
        assert_same(ours, theirs)


# The same as PyTorch.

as_lengths = st.sampled_from([list, tuple, np.array, np.uint8])


@given(batches(), st.booleans(), as_lengths)
def test_packing_is_pytorchs(batch: Batch, sort: bool, as_lengths: Callable[[list[int]], Any]) -> None:
    """And equally long sequences keep their order."""
    lengths, sequences, padded = batch.lengths, batch.sequences, batch.padded
    first = {"batch_first": True} if batch.batch_first else {}
    if sort:
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        lengths, sequences = [lengths[i] for i in order], [sequences[i] for i in order]
        padded = np.take(padded, order, axis=0 if batch.batch_first else 1)
    for enforce_sorted in {sort, False}:
        ours = rnn.pack_padded_sequence(padded, as_lengths(lengths), **first, enforce_sorted=enforce_sorted)
        theirs = torch_rnn.pack_padded_sequence(to_torch(padded), lengths, batch.batch_first, enforce_sorted)
        assert_same_packing(ours, theirs)
        ours = rnn.pack_sequence(sequences, enforce_sorted)
        assert_same_packing(ours, torch_rnn.pack_sequence([to_torch(s) for s in sequences], enforce_sorted))
    assert ours.sorted_indices is None or ours.sorted_indices.tolist() == sorted(
        range(len(lengths)), key=lambda i: -lengths[i]
    )


@given(batches(least=0), st.data())
def test_padding_is_pytorchs(batch: Batch, data: st.DataObject) -> None:
    """With any value, and without what may be left out."""
    exact = batch.padded.dtype.kind in "biu"
    values = st.sampled_from([0, 1, 1.0, True] if exact else [0, True, -1.5, 1e-3, np.inf, -np.inf, np.nan])
    some = {"batch_first": st.booleans(), "padding_value": values}
    options = data.draw(st.fixed_dictionaries({}, optional=some))
    side = data.draw(st.fixed_dictionaries({}, optional={"padding_side": st.sampled_from(["left", "right"])}))
    sequences = [to_torch(sequence) for sequence in batch.sequences]
    ours = rnn.pad_sequence(batch.sequences, **options, **side)
    assert_same(ours, torch_rnn.pad_sequence(sequences, **options, **side))
    first = {"batch_first": True} if batch.batch_first else {}
    theirs = torch_rnn.unpad_sequence(to_torch(batch.padded), torch.tensor(batch.lengths), **first)
    assert_same(rnn.unpad_sequence(batch.padded, batch.lengths, **first), theirs)
    if min(batch.lengths) > 0:
        extra = data.draw(st.none() | st.integers(0, 3))
        options |= {} if extra is None else {"total_length": max(batch.lengths) + extra}
        packings = rnn.pack_sequence(batch.sequences, False), torch_rnn.pack_sequence(sequences, False)
        assert_same(
            rnn.pad_packed_sequence(packings[0], **options), torch_rnn.pad_packed_sequence(packings[1], **options)
        )


@given(st.integers(0, 9).flatmap(lambda size: st.permutations(range(size))))
def test_inverting_a_permutation_is_pytorchs(order: list[int]) -> None:
    permutation = np.array(order, dtype=np.int64)
    assert_same(rnn.invert_permutation(permutation), torch_rnn.invert_permutation(torch.from_numpy(permutation)))
    assert rnn.invert_permutation(None) is None


# There and back. Gradients: ⟨pack(x), y⟩ = ⟨x, pad(y)⟩; the numbers are small integers, so the sums are exact.


def dot(left: Any, right: Any) -> Any:
    return sum((a * b).sum() for a, b in zip(arrays(left), arrays(right), strict=True))


@given(batches(dtypes=[np.float64, np.longdouble]))
def test_packing_and_padding_undo_each_other_and_are_transposes(batch: Batch) -> None:
    sequences = [sequence / 3 for sequence in batch.sequences]  # longdouble keeps its precision
    padded, packed = rnn.pad_sequence(sequences), rnn.pack_sequence(sequences, enforce_sorted=False)
    assert_same(rnn.unpack_sequence(packed), sequences)
    assert_same(rnn.pack_padded_sequence(padded, batch.lengths, enforce_sorted=False), packed)
    assert_same(rnn.pad_packed_sequence(packed), (padded, np.array(batch.lengths)))
    y = numbered(padded.shape) ** 2
    assert dot(rnn.pad_sequence(batch.sequences), y) == dot(batch.sequences, rnn.unpad_sequence(y, batch.lengths))

    x, first = batch.padded, batch.batch_first
    packed = rnn.pack_padded_sequence(x, batch.lengths, first, enforce_sorted=False)
    y = packed._replace(data=numbered(packed.data.shape) ** 2)
    back, _ = rnn.pad_packed_sequence(y, first, total_length=x.shape[1 if first else 0])
    assert dot(packed.data, y.data) == dot(x, back) == dot(batch.sequences, rnn.unpack_sequence(y))


@given(batches(dtypes=[np.float64]))
def test_results_share_no_memory_with_the_arguments_nor_with_each_other(batch: Batch) -> None:
    """(Nothing is written to the arguments: they are read-only.)"""
    lengths, options = np.array(batch.lengths), {"batch_first": batch.batch_first}
    packed = rnn.pack_sequence(batch.sequences, enforce_sorted=False)
    arguments = [batch.padded, lengths, *arrays(packed)]
    for packing in (packed, packed._replace(sorted_indices=None, unsorted_indices=None)):
        for result in (
            rnn.pack_padded_sequence(batch.padded, lengths, enforce_sorted=False, **options),
            rnn.pack_sequence(batch.sequences, enforce_sorted=False),
            rnn.pad_packed_sequence(packing, **options),
            rnn.unpack_sequence(packing),
            rnn.pad_sequence(batch.sequences, **options),
            rnn.unpad_sequence(batch.padded, lengths, **options),
        ):
            others = list(arguments)
            for array in arrays(result):
                assert array.flags.writeable and not any(np.shares_memory(array, other) for other in others)
                others.append(array)


def test_equally_long_sequences_keep_their_order_also_if_there_are_many() -> None:
    """So many that a sort which is not stable mixes them up."""
    lengths = np.random.default_rng(0).integers(1, 4, 500)
    packed = rnn.pack_padded_sequence(np.zeros((3, 500, 1)), lengths, enforce_sorted=False)
    np.testing.assert_array_equal(packed.sorted_indices, sorted(range(500), key=lambda n: -lengths[n]))


def test_packing_needs_no_padded_array() -> None:
    sequences = [np.zeros(20_000), *[np.zeros(1)] * 500]  # padded: 20000 x 501, or 10 MB even as a mask
    tracemalloc.start()
    try:
        rnn.unpack_sequence(rnn.pack_sequence(sequences))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


# A packing as a value.


def packing(
    data: Any = (6,), batch_sizes: Any = (3, 2, 1), sorted_indices: Any = None, unsorted_indices: Any = None
) -> rnn.PackedSequence:
    """A packing built by hand from data of a shape, and from tuples of integers (anything else is taken as it is)."""
    indices = (np.array(v) if isinstance(v, tuple) else v for v in (batch_sizes, sorted_indices, unsorted_indices))
    sizes, ordered, unordered = indices
    return rnn.PackedSequence(numbered(data) if isinstance(data, tuple) else data, sizes, ordered, unordered)


def test_unsorted_indices_are_derived_and_copies_are_packings() -> None:
    assert packing().unsorted_indices is None
    packed = packing(sorted_indices=(2, 0, 1))
    assert_same(packed.unsorted_indices, np.array([1, 2, 0]))
    for copy in (packed._replace(data=packed.data), pickle.loads(pickle.dumps(packed))):
        assert type(copy) is rnn.PackedSequence
        assert_same(copy, packed)


NOT_INVERSE = RuntimeError, "unsorted_indices to be the inverse"
BAD = [
    (tuple(packing()), TypeError, "a PackedSequence of scratch.*, got .*tuple"),
    (torch_rnn.pack_sequence([torch.zeros(2)]), TypeError, "a PackedSequence of scratch.*, got .*torch"),
    (packing(data=[1.0]), TypeError, "data to be a NumPy array, got list"),
    (packing(data=()), RuntimeError, "data of at least 1 dimension, got 0"),
    (packing(data=(5,)), RuntimeError, "data of 6 rows .*, got 5"),
    (packing(batch_sizes=[3, 2, 1]), TypeError, "batch_sizes to be a NumPy array, got list"),
    (packing(batch_sizes=np.array([3.0, 2.0, 1.0])), RuntimeError, "batch_sizes .* int64, got 1-D, float64"),
    (packing(batch_sizes=np.array([3, 2, 1], np.uint8)), RuntimeError, "batch_sizes .* int64, got 1-D, uint8"),
    (packing(batch_sizes=((3, 2, 1),)), RuntimeError, "batch_sizes to be 1-D, .* got 2-D"),
    (packing((0,), np.array([], np.int64)), RuntimeError, r"batch_sizes that are positive .*, got \[\]"),
    (packing(batch_sizes=(3, 3, 0)), RuntimeError, r"batch_sizes that are positive .*, got \[3, 3, 0\]"),
    (packing(batch_sizes=(3, 4, -1)), RuntimeError, r"batch_sizes that are positive .*, got \[3, 4, -1\]"),
    (packing(batch_sizes=(2, 3, 1)), RuntimeError, r"batch_sizes that .* never grow, got \[2, 3, 1\]"),
    (packing(batch_sizes=(3, 1, 2)), RuntimeError, r"batch_sizes that .* never grow, got \[3, 1, 2\]"),
    (packing(sorted_indices=(1, 0)), RuntimeError, r"3 indices \(the batch\), got 2"),
    (packing(sorted_indices=(1, 0, 2), unsorted_indices=(1, 2, 0)), *NOT_INVERSE),
    (packing(sorted_indices=(1, 2, 0), unsorted_indices=(2, 0, 3)), *NOT_INVERSE),
    (packing(sorted_indices=(1, 1, 0), unsorted_indices=(1, 1, 0)), RuntimeError, "a permutation"),
    (packing(sorted_indices=(1, 0, -1), unsorted_indices=(1, 0, -1)), RuntimeError, "a permutation"),
    (packing(sorted_indices=(1, 0, 2), unsorted_indices=[1, 0, 2]), TypeError, "unsorted_indices .* got list"),
    (packing(sorted_indices=[1, 0, 2], unsorted_indices=(1, 0, 2)), TypeError, "permutation .* got list"),
    (packing(unsorted_indices=(1, 0, 2)), RuntimeError, "both sorted_indices .*, got one"),
    (packing(sorted_indices=(1, 0))._replace(unsorted_indices=None), RuntimeError, "both sorted_indices .*, got one"),
]


@pytest.mark.parametrize("door", [rnn.check_packed_sequence, rnn.pad_packed_sequence, rnn.unpack_sequence])
@pytest.mark.parametrize(("sequence", "error", "message"), BAD)
def test_packings_that_contradict_themselves_are_refused(
    door: Callable[[Any], Any], sequence: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^expected {message}"):
        door(sequence)


def test_the_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(rnn)
    assert results.attempted > 0 and results.failed == 0


def test_a_nan_does_not_fit_into_integers() -> None:
    with pytest.raises(RuntimeError, match="expected padding_value to be a value of dtype uint8"):
        rnn.pad_sequence([np.ones(3, np.uint8)], padding_value=np.float64("nan"))
