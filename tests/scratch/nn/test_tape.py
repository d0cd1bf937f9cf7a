"""The memory of a pass: divided in chunks and sections as it may be, the numbers are the same; and how much it is."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from math import ceil
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.conditioning import assert_matches_pytorch
from reference.problems import Configuration
from scratch import nn, no_grad
from scratch.nn import recomputation, tape
from scratch.nn.cell import Weights
from scratch.nn.sums import sum_of_outer_products, sum_of_rows
from scratch.nn.tape import Tape
from scratch.nn.utils.rnn import pack_sequence
from scratch.types import Array
from tests.strategies import configurations

from .modules import EACH_KIND

few = st.integers(1, 40)
batches = st.lists(st.tuples(st.integers(1, 5), few), min_size=1, max_size=3).map(
    lambda runs: tuple(chain.from_iterable([width] * length for width, length in runs))
) | few.map(lambda steps: (0,) * steps)
"""How many sequences take part in each step, growing or shrinking; or an empty batch."""


@contextmanager
def a_division(chunk: int, section: int) -> Iterator[None]:
    """Chunks of so many numbers of a kind, sections of so many columns."""
    with mock.patch.multiple(tape, CHUNK=chunk, SECTION=section):
        yield


@given(configurations(), few, few)
def test_chunks_and_sections_compute_what_pytorch_computes(c: Configuration, chunk: int, section: int) -> None:
    """Every option."""
    with a_division(chunk, section):
        assert_matches_pytorch(c)


@given(st.sampled_from(list(nn.RECURRENCES)), batches, st.integers(1, 3), few, few)
def test_chunks_are_as_long_as_fit_and_sections_of_about_one_length(
    name: str, batch_sizes: tuple[int, ...], H: int, chunk: int, section: int
) -> None:
    cell, N = nn.RECURRENCES[name].cell, sum(batch_sizes)
    rows = len(cell.gates) * H
    with a_division(chunk, section):
        sections = Tape(cell, Weights(np.empty((rows, 1)), np.empty((rows, H))), batch_sizes).sections
    chunks = [each for _, some in sections for each in some]
    assert tuple(B for each in chunks for B in [each.width] * len(each.steps.a)) == batch_sizes
    for each, after in zip(chunks, [*chunks[1:], None], strict=True):
        S, B = len(each.steps.a), each.width
        assert chunk >= S * H * B or S == 1, "it fits"
        assert chunk < (S + 1) * max(1, H * B) or after is None or after.width != B, "and is as long as it can be"
    count = max(1, ceil(N / section))
    assert len(sections) <= count
    for of_section, some in sections:
        assert some[-1].rows.start - of_section.start < max(1, N / count), "one chunk fewer would be too short"


# How much it is.

T, B, H, P = 50, 16, 64, 32
ONE = T * B * H * 8  # bytes of one number for each step, sequence and hidden feature, in float64


def measured(call: Callable[[], Any]) -> tuple[int, int]:
    """The bytes allocated after the call, with its result, and the most on the way."""
    tracemalloc.start()
    result = call()
    found = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return found


@pytest.mark.parametrize(("name", "projection"), [*((name, 0) for name in nn.RECURRENCES), ("LSTM", P)])
def test_a_pass_keeps_its_tape_and_a_later_one_uses_the_same_memory(name: str, projection: int) -> None:
    """(How much a tape is: test_core_page.py. That its bytes are counted right: test_piles.py.)"""
    kind = nn.RECURRENCES[name]
    options = {**kind.options} | ({"proj_size": projection} if projection else {})
    module, x = kind.module(1, H, **options, dtype=np.float64, rng=0), np.ones((T, B, 1))
    output, small = (projection or H) / H, 0.4  # x, views, and buffers that all steps share
    after, _ = measured(lambda: module(x))
    assert after / ONE - output == pytest.approx(module._pile.nbytes / ONE, abs=small)
    again, _ = measured(lambda: module(x))
    assert again / ONE == pytest.approx(after / ONE, abs=small), "a tape of its own, while the first is not undone"
    module.backward(module(x)[0])
    _, peak = measured(lambda: module(x))
    assert peak / ONE < output + small, "the memory of the one that is"


@EACH_KIND
def test_passes_of_one_shape_share_one_tape(kind: nn.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tape] = []

    class Counted(Tape):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(recomputation, "Tape", Counted)
    for make, x in ((kind.module, np.ones((T, B, 3))), (kind.single, np.ones((B, 3)))):
        module = make(3, 4, **kind.options, dtype=np.float64, rng=0)
        made.clear()
        for _ in range(3):
            module(x)
            module.backward()
        with no_grad():
            for _ in range(3):
                module(x)
        assert len(made) == 1


@EACH_KIND
def test_inference_grows_with_the_sequence_by_input_and_output_alone(kind: nn.Kind) -> None:
    peaks, width, layers, B = [], 16, 5, 64
    for sections in (4, 6):
        module = kind.module(width, width, layers, **kind.options, dtype=np.float64, rng=0)
        x = np.ones((sections * tape.SECTION // B, B, width))
        with no_grad():
            peaks.append(measured(lambda module=module, x=x: module(x))[1])
    numbers = (peaks[1] - peaks[0]) / (2 * tape.SECTION * width * 8)
    assert numbers == pytest.approx(3, abs=0.1), "the rows of a layer, its output, and the output of the layer before"


def training_step(module: Any, x: Any, d_output: Any = None) -> int:
    """The most that it allocates, in bytes."""

    def step() -> None:
        output, _ = module(x)
        module.backward(output if d_output is None else d_output)

    return measured(step)[1]


def test_memory_grows_with_the_root_of_the_steps_where_they_are_computed_again() -> None:
    """But for what is handed in and out, and the rows of x, which are kept."""
    H, beyond = 32, {}
    for T in (256, 2048):
        x, d_output = np.ones((T, 1, 1)), np.ones((T, 1, H))
        for k in (None, round(T**0.5)):
            module = nn.LSTM(1, H, dtype=float, rng=0, checkpoint_every=k)
            beyond[T, k] = training_step(module, x, d_output) - d_output.nbytes - 2 * x.nbytes  # output, d_x, rows
    assert beyond[2048, None] > 3.2 * beyond[256, None], "a tape of all steps, and one section whatever T"
    assert beyond[2048, 45] < 3.2 * beyond[256, 16]  # the root of 8 is 2.8
    assert beyond[2048, 45] < beyond[2048, None] / 9


def test_packed_sequences_need_no_padded_array() -> None:
    """One long sequence among many short ones: memory goes with the steps there are, not with the longest."""
    packed = pack_sequence([np.ones((length, 2)) for length in [1000] + [1] * 1999])
    padded = 1000 * 2000 * 2 * 8
    assert training_step(nn.LSTM(2, 3, bidirectional=True, dtype=np.float64, rng=0), packed) < padded / 5


# Long sums keep their digits in float32, in every memory order.


@given(st.integers(0, 5000), st.integers(1, 9), st.integers(1, 9), st.sampled_from("CF"), st.integers(0, 2**32 - 1))
def test_sums_are_right(n: int, r: int, f: int, order: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, rows = np.asarray(rng.standard_normal((r, n)), order=order), rng.standard_normal((n, f))
    # One rounding for each of up to log N + 9 additions in a row, times the size of what is added.
    assert np.allclose(sum_of_rows(np.asarray(rows, order=order)), rows.sum(axis=0), rtol=0, atol=1e-14 * (n + 1))
    product = sum_of_outer_products(columns, rows)
    assert np.allclose(product, np.einsum("rn,nf->rf", columns, rows), rtol=0, atol=1e-14 * (n + 1))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", [300, 2_000, 100_000])
def test_sums_keep_their_digits(n: int, order: str) -> None:
    """Numbers of one sign, all added: in turn they would lose 1e-6 and more."""
    rng = np.random.default_rng(0)
    rows, columns = (np.asarray(rng.random(shape, np.float32), order=order) for shape in ((n, 16), (16, n)))

    def error(found: Array, exact: Array) -> float:
        assert found.dtype == np.float32
        return float(np.abs(found / exact - 1).max())

    assert error(sum_of_rows(rows), rows.sum(axis=0, dtype=np.float64)) < 1e-7
    exact = columns.astype(np.float64) @ rows.astype(np.float64)
    assert error(sum_of_outer_products(columns, rows), exact) < (1e-6 if n <= 2_000 else 2e-6)
