"""Steps taken in chunks and sections: each step once and in order, and the same numbers, however they are divided."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from math import ceil
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.conditioning import assert_matches_pytorch
from reference.problems import CELLS, Configuration, can_project
from scratch import nn
from scratch.nn import tape
from scratch.nn.cell import Weights
from scratch.nn.tape import Tape
from scratch.types import Array
from tests.strategies import configurations

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


def tape_of(batch_sizes: tuple[int, ...], H: int, cell_name: str = "LSTM") -> Tape:
    cell = nn.RECURRENCES[cell_name].cell
    G = len(cell.gates)
    return Tape(cell, Weights(np.empty((G * H, 1)), np.empty((G * H, H))), batch_sizes)


@given(configurations(), few, few)
def test_chunks_and_sections_compute_what_pytorch_computes(
    configuration: Configuration, chunk: int, section: int
) -> None:
    """Every option."""
    with a_division(chunk, section):
        assert_matches_pytorch(configuration)


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_adds_up_what_its_sections_made(cell: str, proj_size: int) -> None:
    options = {"num_layers": 2, "bidirectional": True, "layout": "packed", "lengths": (9, 7, 2)}
    proj_size *= can_project(CELLS[cell]["module"])
    with a_division(8, 5):
        assert len(tape_of((3, 3, 2, 2, 2, 2, 2, 1, 1), 4, cell).sections) > 2
        assert_matches_pytorch(Configuration(cell, proj_size=proj_size, **options))


@pytest.mark.parametrize("kind", nn.RECURRENCES.values(), ids=nn.RECURRENCES)
def test_whether_steps_share_a_buffer_makes_no_difference(kind: nn.Kind) -> None:
    """A cell that keeps nothing in its pre-activations has one buffer for all steps, also for halves that are apart."""
    x, outputs = np.random.default_rng(0).standard_normal((9, 2, 3)), []
    for keeps_a in (True, False):
        module = kind.module(3, 4, **kind.options, dtype=np.float64, rng=0)
        module.cell = module.cell._replace(keeps_a=keeps_a)
        outputs.append(module(x)[0])
    assert np.array_equal(*outputs)


@given(batches, st.integers(1, 4), few, few)
def test_chunks_are_all_steps_in_order_and_as_long_as_is_asked_for(
    batch_sizes: tuple[int, ...], H: int, size: int, section: int
) -> None:
    with a_division(size, section):
        chunks = [chunk for _, chunks in tape_of(batch_sizes, H).sections for chunk in chunks]
    taken, done = [], 0
    for n, chunk in enumerate(chunks):
        S, B = len(chunk.steps.a), chunk.width
        assert (chunk.rows.start, chunk.rows.stop) == (done, done + S * B)
        done = chunk.rows.stop
        taken += [B] * S
        assert size >= S * H * B or S == 1, "it fits"
        goes_on = n + 1 < len(chunks) and chunks[n + 1].width == B
        assert size < (S + 1) * max(1, H * B) or not goes_on, "and is as long as it can be"
    assert tuple(taken) == batch_sizes


@given(batches, few, few)
def test_sections_are_all_columns_in_parts_of_about_one_length(
    batch_sizes: tuple[int, ...], chunk: int, section: int
) -> None:
    with a_division(chunk, section):
        sections = tape_of(batch_sizes, 1).sections
    N, done = sum(batch_sizes), 0
    for rows, chunks in sections:
        first = rows.start
        assert first == chunks[0].rows.start == done
        done = rows.stop
        assert done == chunks[-1].rows.stop
        without_the_last = chunks[-1].rows.start - first
        assert without_the_last < max(1, N / max(1, ceil(N / section))), "one chunk fewer would be too short"
    assert done == N
    assert len(sections) <= max(1, ceil(N / section))


@given(batches, st.integers(1, 3), few, few, st.sampled_from(list(CELLS)))
def test_steps_that_wait_for_their_way_back_share_no_memory(
    batch_sizes: tuple[int, ...], H: int, chunk: int, section: int, cell: str
) -> None:
    """What is kept of each step is filled with its number, and each has its own in the end."""
    with a_division(chunk, section):
        chunks = [chunk for _, chunks in tape_of(batch_sizes, H, cell).sections for chunk in chunks]

    def kept() -> Iterator[Array]:
        for each in chunks:
            a = each.steps.a if nn.RECURRENCES[cell].cell.keeps_a else []
            yield from (*a, *(array for parts in (each.steps.after, each.steps.kept) for array in chain(*parts)))

    for number, array in enumerate(kept()):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(kept()))
    for each in chunks:
        for before, after in zip(each.steps.before, each.steps.after, strict=True):
            assert np.array_equal(before[1:], after[:-1]), "the state before a step is the one after the step before"


@given(batches, few, few)
def test_a_chunk_has_its_own_columns_of_its_section(batch_sizes: tuple[int, ...], chunk: int, section: int) -> None:
    """What is written step by step stands side by side in the order of the rows."""
    with a_division(chunk, section):
        made = tape_of(batch_sizes, 2)
    for rows, chunks in made.sections:
        for each in chunks:
            of_rows = np.arange(sum(batch_sizes))[:, None]
            each.h_prev_columns[...] = each.of_rows(of_rows)
        assert np.array_equal(made.h_prev[0, : rows.stop - rows.start], np.arange(rows.start, rows.stop))


@pytest.mark.parametrize("cell", CELLS)
def test_the_bytes_are_counted(cell: str) -> None:
    """They bound the memory of a program that never calls backward (`tape_limit`)."""
    tape_of((1,), 1, cell)
    tracemalloc.start()
    made = tape_of((7, 7, 5, 5, 5, 2) * 20, 200, cell)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.nbytes <= after < 1.1 * made.nbytes  # objects of Python come on top
