"""Gradient clipping beside PyTorch's."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch.nn import Linear, Parameter
from scratch.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_
from scratch.types import Array

INFINITY = float("inf")

orders = st.sampled_from([1, 2, 2.0, 3.5, 0.5, 0, -1, -2.5, INFINITY, -INFINITY, "inf"])
limits = st.just(0) | st.floats(1e-3, 1e3) | st.just(INFINITY)
gradients = st.lists(st.none() | st.sampled_from([(), (1,), (7,), (2, 3), (0, 2)]), max_size=4)


def parameters_with(values: list[Array | None]) -> tuple[list[Parameter], list[torch.nn.Parameter]]:
    """Parameters of ours and of PyTorch with these gradients."""
    ours, theirs = [], []
    for value in values:
        data = np.zeros(3) if value is None else np.zeros_like(value)
        ours.append(Parameter(data))
        theirs.append(torch.nn.Parameter(torch.from_numpy(data)))
        if value is not None:
            ours[-1].grad, theirs[-1].grad = value, torch.from_numpy(value.copy())
    return ours, theirs


def draw_gradients(shapes: list[tuple[int, ...] | None], seed: int, dtype: str = "float64") -> list[Array | None]:
    """Random read-only gradients, a fifth of their elements zero, of very different scales."""
    rng = np.random.default_rng(seed)

    def drawn(shape: tuple[int, ...]) -> Array:
        value = rng.standard_normal(shape) * (rng.random(shape) < 0.8) * 10 ** rng.uniform(-3, 3)
        return np.broadcast_to(np.asarray(value, dtype), shape)

    return [None if shape is None else drawn(shape) for shape in shapes]


def named(parameters: Any) -> dict[str, Array]:
    return {str(index): np.asarray(each.grad) for index, each in enumerate(parameters) if each.grad is not None}


@given(shapes=gradients, seed=st.integers(0, 2**32 - 1), max_norm=limits, order=orders)
def test_clipping_by_norm_matches_pytorch(shapes: Any, seed: int, max_norm: float, order: Any) -> None:
    values = draw_gradients(shapes, seed)
    ours, theirs = parameters_with(values)
    norm = clip_grad_norm_((each for each in ours), max_norm, order) if ours else clip_grad_norm_([], max_norm, order)
    # PyTorch refuses empty gradients for some orders; they have no part in a norm.
    their_norm = torch.nn.utils.clip_grad_norm_([each for each in theirs if each.numel()], max_norm, order)
    assert_close({"norm": np.asarray(norm), **named(ours)}, {"norm": their_norm.numpy(), **named(theirs)})
    assert isinstance(norm, np.floating)


@given(shapes=gradients, seed=st.integers(0, 2**32 - 1), clip_value=limits)
def test_clipping_by_value_matches_pytorch(shapes: Any, seed: int, clip_value: float) -> None:
    ours, theirs = parameters_with(draw_gradients(shapes, seed, "float32"))
    clip_grad_value_(iter(ours) if ours else [], clip_value)
    if named(theirs):  # PyTorch fails where there is nothing to clip
        torch.nn.utils.clip_grad_value_(theirs, clip_value)
    np.testing.assert_equal(named(ours), named(theirs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("order", [0.5, 1, 2, 3, -2])
def test_large_and_small_gradients_have_a_norm(dtype: Any, order: float) -> None:
    for scale in (np.sqrt(np.finfo(dtype).max), np.sqrt(np.finfo(dtype).tiny)):
        values = [np.array([3, 4], dtype), np.array([12], dtype)]
        small = [Parameter(value) for value in values]
        scaled = [Parameter(value) for value in values]
        for one, other, value in zip(small, scaled, values, strict=True):
            one.grad, other.grad = value, value * dtype(scale)
        norm = clip_grad_norm_(scaled, INFINITY, order)
        assert norm.dtype == dtype
        np.testing.assert_allclose(norm / dtype(scale), clip_grad_norm_(small, INFINITY, order), rtol=1e-6)
    huge, tiny = np.finfo(dtype).max / 4, np.finfo(dtype).tiny
    if order > 0:  # a tiny element beside a huge one
        parameter = Parameter(np.zeros(2, dtype))
        parameter.grad = np.array([huge, tiny], dtype)
        np.testing.assert_allclose(clip_grad_norm_(parameter, INFINITY, order), huge, rtol=1e-6)


def clipped(*values: Array | None) -> list[Parameter]:
    return parameters_with(list(values))[0]


def test_one_parameter_stands_for_a_list_of_one() -> None:
    (parameter,) = clipped(np.array([3.0, 4.0]))
    assert clip_grad_norm_(parameter, 9.9) == clip_grad_norm_(parameter, 5.1) == clip_grad_norm_(parameter, 1) == 5
    clip_grad_value_(parameter, 0.7)
    np.testing.assert_allclose(np.asarray(parameter.grad), [0.6, 0.7], rtol=1e-6)


def test_a_limit_beyond_the_dtype_is_none() -> None:
    (parameter,) = clipped(np.array([3e38, -1], np.float32))
    clip_grad_value_(parameter, 1e300)
    np.testing.assert_array_equal(np.asarray(parameter.grad), np.array([3e38, -1], np.float32))


def test_gradients_read_before_keep_their_values() -> None:
    # Two biases whose gradients are equal may hold one array: scaled in its memory, it would be scaled twice.
    shared = np.array([3.0, 4.0])
    both = clipped(shared, shared)
    clip_grad_norm_(both, np.sqrt(2))
    clip_grad_value_(both, 0.7)
    np.testing.assert_array_equal(shared, [3, 4])
    for parameter in both:
        np.testing.assert_allclose(np.asarray(parameter.grad), [0.6, 0.7], rtol=1e-6)


@pytest.mark.parametrize("value", [INFINITY, float("nan"), 3e38])
def test_a_norm_that_is_not_finite(value: float) -> None:
    ours, theirs = parameters_with([np.array([value, value, 1], np.float32), np.ones(2, np.float32)])
    with pytest.raises(RuntimeError, match=r"^expected gradients of a finite norm, got "):
        clip_grad_norm_(ours, 1, error_if_nonfinite=True)
    np.testing.assert_equal(named(ours), named(theirs))
    norm = clip_grad_norm_(ours, 1)
    np.testing.assert_equal(norm, torch.nn.utils.clip_grad_norm_(theirs, 1).numpy())
    np.testing.assert_equal(named(ours), named(theirs))


def test_dtypes_may_be_mixed_and_nothing_has_the_norm_zero() -> None:
    ours, theirs = parameters_with([np.array([3.0]), np.array([4.0], np.float32)])
    assert clip_grad_norm_(ours, 1) == torch.nn.utils.clip_grad_norm_(theirs, 1)
    np.testing.assert_allclose(np.array([each.grad for each in ours]), [[0.6], [0.8]], rtol=1e-6)
    for parameters in ([], clipped(None)):
        norm = clip_grad_norm_(parameters, 1)
        assert norm == 0 and norm.dtype == np.float32
        clip_grad_value_(parameters, 1)


def test_an_exhausted_generator_is_warned_of() -> None:
    parameters = Linear(2, 3).parameters()
    clip_grad_value_(parameters, 1)
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.warns(UserWarning, match=r"^expected parameters to clip, got an iterator without any$"):
            clip(parameters, 1)
