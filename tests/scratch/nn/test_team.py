"""A layer divided among threads: the same numbers, whatever the division, and nothing left behind."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController

from reference.conditioning import assert_matches_pytorch
from reference.problems import Configuration
from scratch import nn
from scratch.nn import products, team
from scratch.nn.products import Product, TransposedProduct, rows_of_a_block
from scratch.nn.team import Member
from scratch.nn.utils.rnn import pack_sequence
from tests.scratch.nn.test_new_cell import test_a_new_cell_has_right_gradients as check_new_cell
from tests.strategies import MODULES, configurations

BLAS = ThreadpoolController().select(user_api="blas")


def blas_threads() -> int:
    return BLAS.info()[0]["num_threads"]


@contextmanager
def a_team_of(size: int, block: int = products.BLOCK) -> Iterator[None]:
    """Whatever the work is, and with products in blocks of so many multiplications."""
    with (
        mock.patch.object(team, "size_for", return_value=size),
        mock.patch.object(team, "has_small_products", return_value=True),
        mock.patch.object(products, "BLOCK", block),
        mock.patch.object(products, "WORTH_TRANSPOSING", 2),
    ):
        yield


@given(configurations(), st.integers(1, 4), st.sampled_from([20, 200, 10**6]))
def test_a_team_computes_what_pytorch_computes(configuration: Configuration, size: int, block: int) -> None:
    """Every option; H is often less than the team."""
    configuration = replace(configuration, hidden_size=configuration.hidden_size + size % 3)
    with a_team_of(size, block):
        assert_matches_pytorch(configuration)


@pytest.mark.parametrize("size", [2, 3])
def test_a_team_serves_a_cell_in_which_h_prev_acts_directly(size: int) -> None:
    with a_team_of(size):
        check_new_cell()


@pytest.mark.parametrize("recurrence", [getattr(nn, name) for name in MODULES])
def test_the_numbers_do_not_depend_on_how_the_threads_run(recurrence: type) -> None:
    x = np.random.default_rng(0).standard_normal((40, 3, 5)).astype(np.float32)
    runs = []
    for _ in range(5):
        module = recurrence(5, 30, num_layers=2, rng=0)
        with a_team_of(3):
            output, _ = module(x)
            d_x, _ = module.backward(output)
        runs.append([output, d_x, *(parameter.grad for parameter in module.parameters())])
    for run in runs[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(runs[0], run, strict=True))


def test_only_what_is_large_has_a_team_and_it_has_the_threads_of_the_blas() -> None:
    with BLAS.limit(limits=2):
        assert team.size_for(2 * team.TO_MEET, steps=100) == 2
        assert team.size_for(2 * team.TO_MEET - 1, steps=100) == 1
        assert team.size_for(team.TO_START // 2 - 1, steps=2) == 1
        assert team.size_for(team.TO_START, steps=1) == 2
        assert team.size_for(team.TO_START - 1, steps=1) == 1
    with BLAS.limit(limits=1):
        assert team.size_for(10**12, steps=100) == 1
    with mock.patch.object(team, "_blas", return_value=None):
        assert team.size_for(10**12, steps=100) == 1


def test_a_layer_is_as_large_as_its_widest_step() -> None:
    packed = pack_sequence([np.ones((length, 2), np.float32) for length in (5, 3, 1)])
    with mock.patch.object(team, "size_for", return_value=1) as size_for:
        nn.LSTM(2, 8, proj_size=4)(packed)
    size_for.assert_called_once_with(4 * 8 * 4 * 3, steps=5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernels", [*team.SMALL, "Haswell"])
def test_small_products_are_for_one_core_with_avx_512(kernels: str, threads: int) -> None:
    blas = mock.Mock(kernels=kernels, get_num_threads=lambda: threads)
    with mock.patch.object(team, "_blas", return_value=blas):
        assert team.has_small_products() == (threads == 1 and kernels != "Haswell")
    with mock.patch.object(team, "_blas", return_value=None):
        assert not team.has_small_products()


def test_the_blas_has_one_thread_during_the_work_and_its_own_number_afterwards() -> None:
    seen = []

    def work(member: Member) -> None:
        if member.number == 0:
            team.together(2, lambda other: seen.append((other.number, blas_threads())))  # another team meanwhile
        member.meet()
        seen.append((member.number, blas_threads()))

    with BLAS.limit(limits=3), BLAS.limit(limits=2):  # fewer than it could have
        team.together(3, work)
        assert blas_threads() == 2
        assert sorted(seen) == [(0, 1), (0, 1), (1, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("who", [0, 1])
def test_what_one_member_raises_comes_out_and_nobody_waits_for_it(who: int) -> None:
    def work(member: Member) -> None:
        if member.number == who:
            raise MemoryError("of one")
        member.meet()

    with BLAS.limit(limits=2):
        with pytest.raises(MemoryError, match="of one"):
            team.together(3, work)
        assert blas_threads() == 2
    assert threading.active_count() == 1


def test_an_interrupted_team_has_ended_when_the_interrupt_comes_out() -> None:
    """It would go on writing to a tape that the next call uses."""

    def work(member: Member) -> None:
        while True:
            member.meet()

    with BLAS.limit(limits=2):
        with mock.patch.object(team, "wait", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            team.together(3, work)
        assert blas_threads() == 2
    assert threading.active_count() == 1


def test_members_are_as_silent_as_the_caller() -> None:
    module = nn.LSTM(2, 6, rng=0)
    with a_team_of(3), warnings.catch_warnings():
        warnings.simplefilter("error")
        module.weight_ih_l0.data = np.full((24, 2), 1e30, np.float32)
        output, _ = module(np.full((3, 2, 2), -1e20, np.float32))  # the exponential overflows
        module.backward(output)


@given(st.integers(0, 200), st.integers(1, 7), st.integers(1, 7))
def test_shares_are_all_and_do_not_overlap(length: int, size: int, of: int) -> None:
    shares = [Member(number, size).share(length) for number in range(size)]
    assert [row for share in shares for row in range(length)[share]] == list(range(length))
    assert max(s.stop - s.start for s in shares) - min(s.stop - s.start for s in shares) <= 1


@given(st.integers(1, 64), st.integers(1, 12), st.integers(1, 4))
def test_a_block_is_the_largest_part_of_the_rows_that_may_be_one(rows: int, inner: int, columns: int) -> None:
    with a_team_of(2, block=100):
        size = rows_of_a_block(rows, inner, columns)
    parts = [part for part in range(products.FEWEST_ROWS, rows + 1) if rows % part == 0]
    fitting = [part for part in parts if part * inner * columns <= 100]
    assert size == (rows if columns == 1 else max(fitting, default=rows))


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_products_are_products(gates: int, H: int, P: int, B: int, seed: int, transposed: bool) -> None:
    rng = np.random.default_rng(seed)
    W, v, d_a = rng.standard_normal((gates * H, P)), rng.standard_normal((P, B)), rng.standard_normal((gates, H, B))
    rows = slice(P // 3, P)
    a, d_h = np.empty((gates, H, B)), np.empty((P - P // 3, B))
    with a_team_of(2, block=60):
        product = TransposedProduct(W, gates, rows, times=products.WORTH_TRANSPOSING - (not transposed))
        assert (product.of_gates is not None) == transposed
        assert Product(W.reshape(gates, H, P)).for_columns(B)(v, a) is a
        assert product.for_columns(B)(d_a, d_h) is d_h
    assert np.allclose(a.reshape(gates * H, B), W @ v, rtol=0, atol=1e-12)
    assert np.allclose(d_h, W.T[rows] @ d_a.reshape(gates * H, B), rtol=0, atol=1e-12)
