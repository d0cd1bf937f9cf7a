"""Steps taken in chunks and sections: each step once and in order, and the same numbers, however they are divided."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch.nn.team import Member

from reference.conditioning import assert_matches_pytorch
from reference.problems import CELLS, Configuration
from scratch import nn
from scratch.nn import tape
from scratch.nn.cell import Weights
from scratch.nn.lstm import CELL
from scratch.nn.tape import Share, Tape, size_of
from tests.scratch.nn.test_team import a_team_of
from tests.strategies import configurations

few = st.integers(1, 40)
batches = st.lists(st.tuples(st.integers(1, 5), few), min_size=1, max_size=3).map(
    lambda runs: tuple(chain.from_iterable([width] * length for width, length in sorted(runs, reverse=True)))
)


@contextmanager
def a_division(smallest: int, largest: int, section: int) -> Iterator[None]:
    """Chunks of so many numbers at least and at most, sections of so many columns."""
    sizes = {"SMALLEST_CHUNK": smallest, "LARGEST_CHUNK": largest, "SECTION": section}
    with mock.patch.multiple(tape, **sizes):
        yield


def tape_of(batch_sizes: tuple[int, ...], H: int, reverse: bool) -> Tape:
    return Tape(CELL, Weights(np.empty((4 * H, 1)), np.empty((4 * H, H))), batch_sizes, reverse)


@given(configurations(), st.integers(1, 3), few, few)
def test_chunks_and_sections_compute_what_pytorch_computes(
    configuration: Configuration, size: int, chunk: int, section: int
) -> None:
    """Every option, and a team or none."""
    with a_team_of(size), a_division(chunk, chunk, section):
        assert_matches_pytorch(configuration)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(("cell", "proj_size"), [*((cell, 0) for cell in CELLS), ("LSTM", 2)])
def test_every_cell_adds_up_what_its_sections_made(cell: str, proj_size: int, size: int) -> None:
    options = {"num_layers": 2, "bidirectional": True, "layout": "packed", "lengths": (9, 7, 2)}
    with a_team_of(size), a_division(2, 8, 5):
        assert_matches_pytorch(Configuration(cell, proj_size=proj_size, **options))


def test_halves_that_are_apart_stay_of_each_step_whatever_the_cell_keeps() -> None:
    x, outputs = np.random.default_rng(0).standard_normal((9, 2, 3)), []
    for keeps_a in (True, False):
        module = nn.GRU(3, 4, dtype=np.float64, rng=0)
        module.cell = module.cell._replace(keeps_a=keeps_a)
        outputs.append(module(x)[0])
    assert np.array_equal(*outputs)


@given(batches, st.integers(1, 4), st.booleans(), few, few, few)
def test_chunks_are_all_steps_in_order_and_of_the_size_that_was_asked_for(
    batch_sizes: tuple[int, ...], H: int, reverse: bool, smallest: int, more: int, section: int
) -> None:
    with a_division(smallest, smallest + more, section):
        sections = tape_of(batch_sizes, H, reverse).sections
    taken = []
    for run, steps, columns in chain.from_iterable(chunks for _, chunks in sections):
        starts = range(columns.start, columns.stop, run.width)
        assert len(starts) == size_of(steps)
        taken += [(start, run.width) for start in (reversed(starts) if reverse else starts)]
        one_step, whole = H * run.width, H * run.width * run.length
        most = min(smallest + more, max(smallest, whole // 16))
        assert size_of(steps) * one_step <= max(most, one_step), "it fits"
        assert (size_of(steps) + 1) * one_step > most or steps.stop == run.length, "and is as long as it can be"
    in_order = list(zip(np.cumsum((0, *batch_sizes)), batch_sizes, strict=False))
    assert taken == (in_order[::-1] if reverse else in_order)


@given(batches, st.booleans(), few, few)
def test_sections_are_all_columns_in_parts_of_about_one_length(
    batch_sizes: tuple[int, ...], reverse: bool, chunk: int, section: int
) -> None:
    with a_division(chunk, chunk, section):
        sections = tape_of(batch_sizes, 1, reverse).sections
    N = sum(batch_sizes)
    for columns, chunks in sections:
        assert columns.start == min(part.start for *_, part in chunks)
        assert columns.stop == max(part.stop for *_, part in chunks)
        assert size_of(columns) == sum(size_of(part) for *_, part in chunks)
        *_, last = chunks[-1]
        assert (size_of(columns) - size_of(last)) * -(-N // section) < N, "one chunk fewer would be too short"
    for columns, _ in sections[:-1]:
        assert size_of(columns) * -(-N // section) >= N, "long enough"


@given(batches, st.booleans(), few, few, st.integers(1, 3))
def test_while_one_chunk_is_read_the_next_can_be_written(
    batch_sizes: tuple[int, ...], reverse: bool, chunk: int, section: int, size: int
) -> None:
    """The members of a team do not wait for each other between two chunks."""
    with a_division(chunk, chunk, section):
        share = Share(tape_of(batch_sizes, 3, reverse), Member(0, size))
    in_order = [chunk.d_a for _, chunks in share.sections for chunk in chunks]
    assert not any(np.shares_memory(one, other) for one, other in pairwise(in_order))
