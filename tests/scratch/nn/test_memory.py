"""What a pass holds in memory: what backward needs and no more, and the same memory again for the same shape."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratch import nn

T, B, H, P = 50, 16, 64, 32
ONE = T * B * H * 8  # bytes of one number for each step, sequence and hidden feature, in float64

# Held for each step: h, c; tanh c, the four gates; h_prev; W_ih x + b of each gate, later d_a. With a projection h and
# h_prev are narrower, and m and d_h come along. An RNN needs no pre-activations: all its steps share one buffer. A GRU
# has four blocks of them for three gates, and two d_a of each gate. For a chunk of four steps: d_a of each block twice,
# and the slopes.
CHUNK = 4 / T
TAPES = [
    ("RNN", {}, 1 + 1 + 1 + (2 + 1) * CHUNK, 1),
    ("LSTM", {}, 2 + 5 + 1 + 4 + (8 + 6) * CHUNK, 1),
    ("GRU", {}, 1 + 4 + 1 + 6 + (8 + 5) * CHUNK, 1),
    ("LSTM", {"proj_size": P}, 2 + 5 + P / H + 4 + 1 + 2 * P / H + (8 + 6) * CHUNK, P / H),
]


def memory(call: Callable[[], Any]) -> tuple[float, float]:
    """What is allocated after the call, with its result, and the most on the way, in units of ONE."""
    gc.collect()
    tracemalloc.start()
    result = call()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return after / ONE, peak / ONE


@pytest.mark.parametrize(("name", "options", "tape", "output"), TAPES)
def test_a_pass_keeps_what_backward_needs_and_the_next_one_uses_the_same_memory(
    name: str, options: dict[str, Any], tape: float, output: float
) -> None:
    module, x = getattr(nn, name)(1, H, **options, dtype=np.float64, rng=0), np.ones((T, B, 1))
    small = 0.4  # x, views, and buffers that all steps share
    after, _ = memory(lambda: module(x))
    assert after < tape + output + small
    _, peak = memory(lambda: module(x))
    assert peak < output + small
