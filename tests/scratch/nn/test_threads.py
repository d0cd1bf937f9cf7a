"""A batch in parts, each in a thread, computes what it computes in one piece."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from scratch import nn
from scratch.nn import bptt, threads
from scratch.nn.threads import in_threads, slices
from scratch.types import Array


@pytest.fixture
def three_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def cut(batch_sizes: tuple[int, ...], multiplications: int) -> list[slice]:
        return [slice(0, 2), slice(2, 3), slice(3, None)]

    monkeypatch.setattr(bptt, "slices", cut)
    return


def results(module: nn.RNN | nn.LSTM) -> list[Array]:
    rng = np.random.default_rng(1)
    x, d_output = rng.standard_normal((6, 8, 3)), rng.standard_normal((6, 8, 2 * (module.proj_size or 5)))
    output, final = module(x)
    d_x, d_initial = module.backward(d_output, final)
    parts = [*final, *d_initial] if isinstance(final, tuple) else [final, d_initial]
    return [output, d_x, *parts, *(p.grad for p in module.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("kind", "options"), [(nn.RNN, {}), (nn.LSTM, {}), (nn.LSTM, {"proj_size": 2})])
def test_parts_compute_what_the_whole_does(kind: type, options: dict[str, int], request: pytest.FixtureRequest) -> None:
    options = {"num_layers": 2, "bidirectional": True, "dtype": np.float64, "rng": 0} | options
    whole = results(kind(3, 5, **options))
    request.getfixturevalue("three_parts")
    module = kind(3, 5, **options)
    for value, expected in zip(results(module), whole, strict=True):
        assert np.allclose(value, expected, rtol=1e-12, atol=1e-14)
    module.zero_grad()
    for again, value in zip(results(module), results(kind(3, 5, **options)), strict=True):
        assert np.array_equal(again, value), "the same on every run"


@pytest.mark.usefixtures("three_parts")
def test_nothing_warns_in_a_thread() -> None:
    lstm = nn.LSTM(1, 4, rng=0)
    x = np.full((3, 8, 1), 3e38, np.float32)
    with np.errstate(all="raise"):
        output, _ = lstm(x)
        lstm.backward(np.full_like(output, 3e38))


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_a_part_is_raised_when_all_have_ended(failing: int) -> None:
    ended: list[int] = []
    others = threading.Barrier(2)

    def run(part: int) -> None:
        if part == failing:
            raise RuntimeError("expected to fail")
        others.wait(timeout=10)  # the two others do run at the same time
        ended.append(part)

    with pytest.raises(RuntimeError, match="fail"):
        in_threads(run, [0, 1, 2])
    assert sorted([*ended, failing]) == [0, 1, 2]


def test_only_long_work_of_equally_long_sequences_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 4)
    whole = [slice(0, None)]
    assert slices((64,) * 50, 4 * 512 * 512) == [slice(0, 16), slice(16, 32), slice(32, 48), slice(48, None)]
    assert slices((64,) * 50, 4 * 8 * 8) == whole
    assert slices((64, 64, 3), 4 * 512 * 512) == whole
    assert slices((1,) * 500, 4 * 2048 * 2048) == whole
    monkeypatch.setattr(threads, "THREADS", 1)
    assert slices((64,) * 50, 4 * 512 * 512) == whole


def test_the_number_of_threads_is_that_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert threads.number_of_threads() == 3
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert threads.number_of_threads() == 2
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    assert threads.number_of_threads() >= 1
