"""What a pass holds in memory: what backward needs and no more, and the same memory again for the same shape."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratch import nn, no_grad
from scratch.nn import recomputation, tape
from scratch.nn.cell import Cell

T, B, H, P = 50, 16, 64, 32
ONE = T * B * H * 8  # bytes of one number for each step, sequence and hidden feature, in float64

CHUNK = tape.CHUNK // (B * H) / T
"""The steps of a chunk, as a part of all."""
CASES = [*((kind, 0) for kind in nn.RECURRENCES.values()), (nn.RECURRENCES["LSTM"], P)]


def expected(cell: Cell, projection: int) -> float:
    """What is held for each step, in numbers for each hidden feature.

    For the steps: the state, the blocks of pre-activations (unless all steps share one buffer) and what the cell keeps.
    For the section, here all steps: h_prev, and W_ih x + b of each gate, later d_a; twice if halves are apart. For a
    chunk: d_a of each block, and the slopes. With a projection h and h_prev are narrower, and m and d_h come along,
    the first of them for the steps as well.
    """
    h, G, blocks = projection / H if projection else 1, len(cell.gates), len(cell.blocks)
    steps = h + len(cell.state) - 1 + (blocks if cell.keeps_a or cell.apart else 0) + cell.kept
    section = h + (2 * G if cell.apart else G)
    return steps + section + (cell.slopes + blocks) * CHUNK + (2 + h if projection else 0)


def memory(call: Callable[[], Any]) -> tuple[float, float]:
    """What is allocated after the call, with its result, and the most on the way, in units of ONE."""
    gc.collect()
    tracemalloc.start()
    result = call()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return after / ONE, peak / ONE


@pytest.mark.parametrize(
    ("kind", "projection"), CASES, ids=lambda value: value.module.__name__ if isinstance(value, nn.Kind) else str(value)
)
def test_a_pass_keeps_what_backward_needs_and_the_next_one_uses_the_same_memory(kind: nn.Kind, projection: int) -> None:
    options = {**kind.options} | ({"proj_size": projection} if projection else {})
    module, x = kind.module(1, H, **options, dtype=np.float64, rng=0), np.ones((T, B, 1))
    output, small = (projection or H) / H, 0.4  # x, views, and buffers that all steps share
    after, _ = memory(lambda: module(x))
    assert after - output == pytest.approx(expected(module.cell, projection), abs=small)
    again, _ = memory(lambda: module(x))
    assert again == pytest.approx(after, abs=small), "a tape of its own, as long as the first is not undone"
    for _ in range(2):
        module.backward(module(x)[0])
        _, peak = memory(lambda: module(x))
        assert peak < output + small, "the memory of the one that is"


@pytest.mark.parametrize("kind", nn.RECURRENCES.values(), ids=nn.RECURRENCES)
def test_passes_of_one_shape_share_one_tape(kind: nn.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tape.Tape] = []

    class Counted(tape.Tape):
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


@pytest.mark.parametrize("kind", nn.RECURRENCES.values(), ids=nn.RECURRENCES)
def test_inference_grows_with_the_sequence_by_input_and_output_alone(kind: nn.Kind) -> None:
    peaks, width, layers = [], 16, 5
    for sections in (4, 8):
        module = kind.module(width, width, layers, **kind.options, dtype=np.float64, rng=0)
        x = np.ones((sections * tape.SECTION // B, B, width))
        with no_grad():
            peaks.append(memory(lambda module=module, x=x: module(x))[1] * ONE)
    numbers = (peaks[1] - peaks[0]) / (4 * tape.SECTION * width * 8)
    assert numbers == pytest.approx(3, abs=0.1), "the rows of a layer, its output, and the output of the layer before"


def test_inference_keeps_no_masks() -> None:
    module = nn.LSTM(3, 4, 2, dropout=0.5, rng=0)
    x = np.ones((T, B, 3), np.float32)
    module(x)
    assert len(module.dropout_masks) == 1
    with no_grad():
        module(x)
    assert module.dropout_masks == []
