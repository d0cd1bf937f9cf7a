"""Single steps of every recurrence: against PyTorch's, and many of them against one call of the whole recurrence."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.space import SIZES
from scratch import nn, no_grad
from scratch.nn import Kind
from scratch.types import Array

KINDS = list(nn.RECURRENCES.values())
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=nn.RECURRENCES)
IN_PYTORCH = [kind for kind in KINDS if hasattr(torch.nn, kind.single.__name__)]
kinds = st.sampled_from(KINDS)
sizes = st.sampled_from(SIZES)
seeds = st.integers(0, 2**32 - 1)


def parts(state: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return state if isinstance(state, tuple) else (state,)


def joined(values: list[Array]) -> Array | tuple[Array, ...]:
    return values[0] if len(values) == 1 else tuple(values)


def make(kind: Kind, *sizes: int, **options: Any) -> Any:
    """A cell of this kind."""
    return kind.single(*sizes, **{"dtype": np.float64, "rng": 0, **kind.options, **options})


def assert_agrees(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """To 1e-12 of the size of the terms, which is 1 or more: an entry may be the small difference of some."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), name
        error = np.abs(found[name] - value).max(initial=0)
        assert error <= 1e-12 * max(1, np.abs(value).max(initial=0)), f"{name}: {error}"


@given(st.sampled_from(IN_PYTORCH), sizes, sizes, st.booleans(), st.integers(0, 4) | st.none(), st.booleans(), seeds)
def test_step_matches_pytorch(
    kind: Kind,
    input_size: int,
    hidden_size: int,
    bias: bool,
    batch: int | None,
    given_state: bool,
    seed: int,
) -> None:
    """batch None is an unbatched step."""
    rng = np.random.default_rng(seed)
    ours = make(kind, input_size, hidden_size, bias=bias, rng=rng)
    their_class = getattr(torch.nn, kind.single.__name__)
    theirs = their_class(input_size, hidden_size, bias, **kind.options, dtype=torch.float64)
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in ours.state_dict().items()})
    count = len(ours.cell.state)

    def draw(features: int) -> Array:
        return rng.standard_normal((features,) if batch is None else (batch, features))

    x, states, upstream = (
        draw(input_size),
        [draw(hidden_size) for _ in range(count)],
        [draw(hidden_size) for _ in range(count)],
    )
    state = ours(x, joined(states) if given_state else None)
    d_x, d_state = ours.backward(joined(upstream))
    run = {"d_x": d_x} | {f"state {k}": value for k, value in enumerate(parts(state))}
    run |= {f"d_state {k}": value for k, value in enumerate(parts(d_state)) if given_state}
    run |= {key: parameter.grad for key, parameter in ours.named_parameters()}

    leaf = torch.tensor(x, requires_grad=True)
    leaves = [torch.tensor(value, requires_grad=True) for value in states]
    their_state = parts(theirs(leaf, joined(leaves) if given_state else None))
    loss = sum((value * torch.from_numpy(d)).sum() for value, d in zip(their_state, upstream, strict=True))
    loss.backward()
    expected = {"d_x": leaf.grad} | {f"state {k}": value.detach() for k, value in enumerate(their_state)}
    expected |= {f"d_state {k}": value.grad for k, value in enumerate(leaves) if given_state}
    expected |= {key: parameter.grad for key, parameter in theirs.named_parameters()}
    assert_agrees(run, {key: value.numpy() for key, value in expected.items()})


@given(kinds, sizes, sizes, st.integers(1, 6), st.integers(1, 3), seeds)
def test_single_steps_with_carried_gradients_equal_one_call(
    kind: Kind, input_size: int, hidden_size: int, steps: int, batch: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole = kind.module(input_size, hidden_size, **kind.options, dtype=np.float64, rng=rng)
    cell = make(kind, input_size, hidden_size)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in whole.state_dict().items()})
    count = len(cell.cell.state)
    x, d_output = rng.standard_normal((steps, batch, input_size)), rng.standard_normal((steps, batch, hidden_size))
    first, d_final = (list(rng.standard_normal((count, 1, batch, hidden_size))) for _ in range(2))

    output, final = whole(x, joined(first))
    d_x, d_initial = whole.backward(d_output, joined(d_final))

    state = joined([value[0] for value in first])
    outputs = []
    for t in range(steps):
        state = cell(x[t], state)
        outputs.append(parts(state)[0])
    d_state, d_xs = joined([value[0] for value in d_final]), []
    final_by_steps = state
    for t in reversed(range(steps)):
        d_h, *rest = parts(d_state)
        d_x_t, d_state = cell.backward(joined([d_h + d_output[t], *rest]))
        d_xs.append(d_x_t)

    one = {"output": output, "d_x": d_x} | {f"final {k}": value[0] for k, value in enumerate(parts(final))}
    one |= {f"d_initial {k}": value[0] for k, value in enumerate(parts(d_initial))}
    one |= {key.removesuffix("_l0"): parameter.grad for key, parameter in whole.named_parameters()}
    many = {"output": np.stack(outputs), "d_x": np.stack(d_xs[::-1])}
    many |= {f"final {k}": value for k, value in enumerate(parts(final_by_steps))}
    many |= {f"d_initial {k}": value for k, value in enumerate(parts(d_state))}
    many |= {key: parameter.grad for key, parameter in cell.named_parameters()}
    assert_agrees(many, one)


def test_no_grad_leaves_earlier_calls_alone() -> None:
    cell, x = nn.RNNCell(3, 4, rng=0), np.ones((2, 3), np.float32)
    cell(x)
    with no_grad():
        with no_grad():
            cell(x)
        cell(x)
    cell.backward()
    with pytest.raises(RuntimeError, match="forward"):
        cell.backward()
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    cell(x)
    cell.backward()


def test_upstream_may_be_left_out() -> None:
    cell, x = nn.LSTMCell(3, 4, dtype=np.float64, rng=0), np.ones((2, 3))
    d_c = np.random.default_rng(0).standard_normal((2, 4))
    results = []
    for d_state in [(None, d_c), (np.zeros((2, 4)), d_c), None]:
        cell(x)
        results.append(cell.backward(d_state)[0])
    assert np.array_equal(results[0], results[1])
    assert results[0].any() and not results[2].any()


@pytest.mark.parametrize("kind", IN_PYTORCH, ids=lambda kind: str(kind.options or kind.single.__name__))
def test_parameters_are_pytorchs(kind: Kind) -> None:
    for bias in (True, False):
        name = kind.single.__name__
        ours, theirs = (getattr(library, name)(5, 6, bias, **kind.options) for library in (nn, torch.nn))
        assert {key: value.shape for key, value in ours.state_dict().items()} == {
            key: tuple(value.shape) for key, value in theirs.state_dict().items()
        }
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.complex128])
@EACH_KIND
def test_other_dtypes_compute_the_same(kind: Kind, dtype: type) -> None:
    def run(dtype: type) -> list[Array]:
        rng = np.random.default_rng(1)
        cell = make(kind, 3, 4, dtype=dtype)
        x, *start = (rng.standard_normal(shape).astype(dtype) for shape in [(2, 3)] + [(2, 4)] * len(cell.cell.state))
        state = parts(cell(x, joined(start)))
        d_x, d_start = cell.backward(joined(start))
        return [*state, d_x, *parts(d_start), *(parameter.grad for parameter in cell.parameters())]

    for value, expected in zip(run(dtype), run(np.float64), strict=True):
        assert value.dtype == dtype
        assert np.allclose(value, expected, rtol=1e-5, atol=1e-6)
