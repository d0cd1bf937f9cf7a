"""RNNCell and LSTMCell: one step at a time, and many of them against one call of the whole recurrence."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.space import SIZES
from scratch import nn, no_grad
from scratch.types import Array

KINDS = [("RNNCell", {"nonlinearity": "tanh"}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {})]
kinds = st.sampled_from(KINDS)
sizes = st.sampled_from(SIZES)
seeds = st.integers(0, 2**32 - 1)


def parts(state: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return state if isinstance(state, tuple) else (state,)


def joined(values: list[Array]) -> Array | tuple[Array, ...]:
    return values[0] if len(values) == 1 else tuple(values)


@given(kinds, sizes, sizes, st.booleans(), st.integers(0, 4) | st.none(), st.booleans(), seeds)
def test_step_matches_pytorch(
    kind: tuple[str, dict[str, str]],
    input_size: int,
    hidden_size: int,
    bias: bool,
    batch: int | None,
    given_state: bool,
    seed: int,
) -> None:
    """batch None is an unbatched step."""
    name, options = kind
    rng = np.random.default_rng(seed)
    ours = getattr(nn, name)(input_size, hidden_size, bias, **options, dtype=np.float64, rng=rng)
    theirs = getattr(torch.nn, name)(input_size, hidden_size, bias, **options, dtype=torch.float64)
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
    run = {"x": d_x} | {f"state {k}": value for k, value in enumerate(parts(state))}
    run |= {f"d_state {k}": value for k, value in enumerate(parts(d_state)) if given_state}
    run |= {key: parameter.grad for key, parameter in ours.named_parameters()}

    leaf = torch.tensor(x, requires_grad=True)
    leaves = [torch.tensor(value, requires_grad=True) for value in states]
    their_state = parts(theirs(leaf, joined(leaves) if given_state else None))
    loss = sum((value * torch.from_numpy(d)).sum() for value, d in zip(their_state, upstream, strict=True))
    loss.backward()
    expected = {"x": leaf.grad} | {f"state {k}": value.detach() for k, value in enumerate(their_state)}
    expected |= {f"d_state {k}": value.grad for k, value in enumerate(leaves) if given_state}
    expected |= {key: parameter.grad for key, parameter in theirs.named_parameters()}
    # 1e-10: a single element may be the small difference of large terms.
    assert_close(run, {key: value.numpy() for key, value in expected.items()}, 1e-10)


@given(kinds, sizes, sizes, st.integers(1, 6), st.integers(1, 3), seeds)
def test_single_steps_with_carried_gradients_equal_one_call(
    kind: tuple[str, dict[str, str]], input_size: int, hidden_size: int, steps: int, batch: int, seed: int
) -> None:
    name, options = kind
    rng = np.random.default_rng(seed)
    whole = getattr(nn, name.removesuffix("Cell"))(input_size, hidden_size, **options, dtype=np.float64, rng=rng)
    cell = getattr(nn, name)(input_size, hidden_size, **options, dtype=np.float64)
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
    assert_close(many, one, 1e-10)


@pytest.mark.parametrize("cell", [nn.RNNCell(3, 4, rng=0), nn.LSTMCell(3, 4, rng=0)], ids=["RNNCell", "LSTMCell"])
def test_each_backward_takes_back_one_call(cell: nn.RNNCell | nn.LSTMCell) -> None:
    x = np.ones((2, 3), np.float32)
    d_state = joined([np.ones((2, 4), np.float32)] * len(cell.cell.state))
    with no_grad():
        cell(x)
    with pytest.raises(RuntimeError, match="forward"):
        cell.backward(d_state)
    state = cell(x, cell(x))
    with pytest.raises(RuntimeError, match="shape"):
        cell.backward(joined([np.ones((2, 9), np.float32)] * len(parts(state))))
    cell.backward(d_state)
    cell.backward(d_state)
    with pytest.raises(RuntimeError, match="forward"):
        cell.backward(d_state)
    cell(x)
    cell.clear_tape()
    with pytest.raises(RuntimeError, match="forward"):
        cell.backward(d_state)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell"])
def test_the_callers_buffers_may_be_used_again(name: str) -> None:
    cell, x = getattr(nn, name)(3, 4, dtype=np.float64, rng=0), np.ones((2, 3))
    start = [np.full((2, 4), 0.5) for _ in cell.cell.state]
    d_state = joined([np.ones((2, 4))] * len(start))
    state = cell(x, joined(start))
    expected = cell.backward(d_state)[0], cell.weight_ih.grad, cell.weight_hh.grad
    cell.zero_grad()
    state = cell(x, joined(start))
    for array in (x, *start, *parts(state)):
        array[...] = np.nan
    again = cell.backward(d_state)[0], cell.weight_ih.grad, cell.weight_hh.grad
    assert all(np.array_equal(value, kept) for value, kept in zip(again, expected, strict=True))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell"])
def test_backward_wants_the_tape_of_unchanged_parameters(name: str) -> None:
    cell = getattr(nn, name)(3, 4, rng=0)
    cell(np.ones((2, 3), np.float32))
    cell.weight_hh.data = cell.weight_hh.data * 2
    with pytest.raises(RuntimeError, match="changed"):
        cell.backward()
    assert cell.weight_hh.grad is None


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


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_parameters_are_pytorchs(name: str, options: dict[str, str]) -> None:
    for bias in (True, False):
        ours, theirs = (getattr(library, name)(5, 6, bias, **options) for library in (nn, torch.nn))
        assert {key: value.shape for key, value in ours.state_dict().items()} == {
            key: tuple(value.shape) for key, value in theirs.state_dict().items()
        }
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.complex128])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_other_dtypes_compute_the_same(name: str, options: dict[str, str], dtype: type) -> None:
    def run(dtype: type) -> list[Array]:
        rng = np.random.default_rng(1)
        cell = getattr(nn, name)(3, 4, **options, dtype=dtype, rng=0)
        x, *start = (rng.standard_normal(shape).astype(dtype) for shape in [(2, 3)] + [(2, 4)] * len(cell.cell.state))
        state = parts(cell(x, joined(start)))
        d_x, d_start = cell.backward(joined(start))
        return [*state, d_x, *parts(d_start), *(parameter.grad for parameter in cell.parameters())]

    for value, expected in zip(run(dtype), run(np.float64), strict=True):
        assert value.dtype == dtype
        assert np.allclose(value, expected, rtol=1e-5, atol=1e-6)
