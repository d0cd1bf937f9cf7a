"""Numbers beyond the dtype silently become infinite or no number, also where the caller has NumPy raise for them."""

from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.types import Array

HUGE = np.float32(3e38)


def full(*shape: int) -> Array:
    return np.full(shape, HUGE)


def state(kind: nn.Kind, *shape: int) -> Any:
    """A state of this shape."""
    parts = tuple(full(*shape) for _ in kind.cell.state)
    return parts if len(parts) > 1 else parts[0]


CALLS: list[tuple[nn.Module, tuple[Any, ...], Any]] = [
    *(
        (kind.module(2, 3, **kind.options, rng=0), (full(4, 1, 2), state(kind, 1, 1, 3)), full(4, 1, 3))
        for kind in nn.RECURRENCES.values()
    ),
    *(
        (kind.single(2, 3, **kind.options, rng=0), (full(1, 2), state(kind, 1, 3)), state(kind, 1, 3))
        for kind in nn.RECURRENCES.values()
    ),
    (nn.Linear(2, 3, rng=0), (full(4, 2),), full(4, 3)),
    (nn.Embedding(2, 3, rng=0), (np.array([0, 0]),), full(2, 3)),
    (nn.Dropout(rng=0), (full(9),), full(9)),
    (nn.CrossEntropyLoss(), (full(4, 3) * np.float32([1, -1, 0]), np.array([0, 1, 2, 0])), HUGE),
    (nn.MSELoss(), (full(4), -full(4)), HUGE),
]


@pytest.mark.parametrize(("module", "arguments", "upstream"), CALLS, ids=lambda value: type(value).__name__)
def test_no_module_warns(module: nn.Module, arguments: tuple[Any, ...], upstream: Any) -> None:
    for parameter in module.parameters():
        parameter.data = np.full_like(parameter.data, HUGE)
    with np.errstate(all="raise"):
        module(*arguments)
        module.backward(upstream)


def test_gradients_add_up_beyond_the_dtype() -> None:
    parameter = nn.Parameter(np.zeros(2, np.float32))
    with np.errstate(all="raise"):
        parameter.add_grad(full(2))
        parameter.add_grad(full(2))
    assert np.array_equal(parameter.grad, [np.inf, np.inf])
