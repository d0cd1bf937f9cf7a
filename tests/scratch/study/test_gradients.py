"""Vanishing and exploding gradients: the Jacobians, the bound, and what the study makes of them."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn
from scratch.nn.recurrent import Recurrent
from scratch.study import gradients
from scratch.study.models import MATRICES, Model
from scratch.types import Array


class Case(NamedTuple):
    """A module, a sequence and an initial state, h and c in a column."""

    module: Recurrent[Any]
    x: Array
    s_0: Array
    rng: np.random.Generator

    def state(self, column: Array) -> Any:
        """A column (S,) as the module takes it."""
        parts = tuple(column.reshape(-1, 1, self.module.hidden_size))
        return parts if len(parts) > 1 else parts[0]

    def column(self, state: Any) -> Array:
        """And back."""
        return np.concatenate([part.ravel() for part in (state if isinstance(state, tuple) else (state,))])


@st.composite
def cases(draw: st.DrawFn, cells: tuple[str, ...] = tuple(nn.RECURRENCES)) -> Case:
    cell, matrix = draw(st.sampled_from(cells)), draw(st.sampled_from(MATRICES))
    width, H, T = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    module = Model("", cell, None, draw(st.floats(0.1, 3)), matrix).build(width, H, rng)
    return Case(module, rng.standard_normal((T, width)), rng.standard_normal(H * len(module.cell.state)), rng)


def assert_same(case: Case, J: Array, ours: Array, theirs: Array, upstream: float = 1.0) -> None:
    """Within 1e-12 of the largest that the product of the Jacobians could have been.

    Not of what it is: the slope 1 − h² of a saturated unit is small, and known as exactly as 1 alone. The states, too,
    come by other roundings, which grow as the product does.
    """
    largest = np.maximum(1, np.linalg.norm(J, 2, axis=(-2, -1))).prod()
    size = upstream * largest * (1 + np.linalg.norm(case.module.weight_hh_l0.data, 2))
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert np.abs(ours - theirs).max() <= 1e-12 * size


def states_of(case: Case) -> Array:
    """s_0, …, s_T: (T + 1, S)."""
    found = [case.s_0]
    for x_t in case.x:
        found.append(case.column(case.module(x_t[None], case.state(found[-1]))[1]))
    return np.array(found)


@given(cases())
def test_products_of_jacobians_are_the_backward_pass(case: Case) -> None:
    """Of any upstream gradient, from any step to any before it."""
    module, x, s_0 = case.module, case.x, case.state(case.s_0)
    t = case.rng.integers(1, len(x) + 1)
    s = case.rng.integers(0, t)
    u = case.rng.standard_normal(case.s_0.shape)
    states, J = states_of(case), gradients.jacobians(module, x, s_0)
    _, last = module(x[s:t], case.state(states[s]))
    _, d_first = module.backward(None, case.state(u))
    norm = float(np.linalg.norm(u))
    assert_same(case, J, states[t], case.column(last))
    assert_same(case, J[s:t], gradients.pulled_back(J[s:t], u)[-1], case.column(d_first), norm)
    assert_same(case, J[s:t], gradients.products(J[s:t])[-1].T @ u, case.column(d_first), norm)
    assert_same(case, J, gradients.pulled_back(J, u), gradients.backward_gradients(module, x, u, s_0), norm)


@given(cases())
def test_jacobians_are_complex_step_derivatives(case: Case) -> None:
    module, x, small = case.module, case.x, 1e-100
    options = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    moving = type(module)(module.input_size, module.hidden_size, dtype=np.complex128, **options)
    moving.load_state_dict(module.state_dict())
    J = gradients.jacobians(module, x, case.state(case.s_0))
    j = case.rng.integers(len(case.s_0))
    moved = case.s_0 + 1j * small * np.eye(len(case.s_0))[j]
    for T in (1, len(x)):
        _, last = moving(x[:T].astype(np.complex128), case.state(moved))
        assert_same(case, J[:T], gradients.products(J[:T])[-1][:, j], case.column(last).imag / small)


@given(cases(cells=("RNN tanh", "RNN relu")))
def test_bound_is_never_exceeded(case: Case) -> None:
    """But by the roundings of a product, in which some S terms are added T times."""
    J = gradients.jacobians(case.module, case.x, case.state(case.s_0))
    W_hh = case.module.state_dict()["weight_hh_l0"]
    norms = np.linalg.norm(gradients.products(J), 2, axis=(-2, -1))
    assert (norms <= gradients.bound(W_hh, np.arange(1, len(J) + 1)) * (1 + 1e-13)).all()


@given(st.floats(0.1, 3), st.integers(1, 6), st.integers(1, 20), st.sampled_from(["RNN tanh", "RNN relu"]))
def test_bound_is_reached_where_the_paper_says(radius: float, H: int, T: int, cell: str) -> None:
    """With nothing saturated or off and W_hh a multiple of a rotation: tanh at rest, relu units that stay on."""
    module = Model("", cell).build(1, H, 0)
    weights = {name: np.zeros_like(value) for name, value in module.state_dict().items()}
    weights["weight_hh_l0"] = radius * np.eye(H)[::-1]
    module.load_state_dict(weights)
    h_0 = np.full((1, H), 0.0 if cell == "RNN tanh" else 1.0)
    norms = np.linalg.norm(gradients.products(gradients.jacobians(module, np.zeros((T, 1)), h_0)), 2, axis=(-2, -1))
    limit = gradients.bound(weights["weight_hh_l0"], np.arange(1, T + 1))
    assert_close({"norms": norms / limit}, {"norms": np.ones(T)})


@given(cases(cells=("LSTM",)))
def test_forget_path_is_the_product_of_the_forget_gates(case: Case) -> None:
    module, H = case.module, case.module.hidden_size
    h_prev = states_of(case)[:-1, :H]
    W_ih, W_hh, b_ih, b_hh = (p.data[H : 2 * H] for p in module.parameters())
    f = 1 / (1 + np.exp(-(case.x @ W_ih.T + h_prev @ W_hh.T + b_ih + b_hh)))
    found = gradients.forget_path(gradients.jacobians(module, case.x, case.state(case.s_0)))
    expected = np.array([f[len(f) - k :].prod(axis=0) for k in range(1, len(f) + 1)])
    assert_close({"path": found}, {"path": expected})


def test_bands_are_the_singular_values_as_far_as_they_are_known() -> None:
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((5, 5)))[0] for _ in range(2))
    known, lost = ((U * values) @ V for values in ([9, 5, 3, 2, 1e-3], [9, 5, 3, 2, 1e-17]))
    found = gradients.bands(np.array([known, lost, np.zeros((5, 5))]))
    assert np.allclose(found, [[9, 3, 1e-3], [9, 3, np.nan], [0, 0, 0]], equal_nan=True)


RNN = nn.RNN(2, 3, dtype=np.float64)


@pytest.mark.parametrize(
    ("error", "module", "x", "hx"),
    [
        (ValueError, nn.RNN(2, 3, num_layers=2, dtype=np.float64), np.zeros((4, 2)), None),
        (ValueError, nn.RNN(2, 3, bidirectional=True, dtype=np.float64), np.zeros((4, 2)), None),
        (ValueError, nn.LSTM(2, 3, proj_size=1, dtype=np.float64), np.zeros((4, 2)), None),
        (RuntimeError, RNN, np.zeros((4, 3)), None),
        (RuntimeError, RNN, np.zeros((0, 2)), None),
        (RuntimeError, RNN, np.zeros((4, 1, 2)), None),
        (RuntimeError, RNN, np.zeros((4, 2), np.float32), None),
        (RuntimeError, RNN, np.zeros((4, 2)), np.zeros((1, 2))),
        (RuntimeError, RNN, np.zeros((4, 2)), np.zeros((1, 1, 3))),
    ],
)
def test_what_does_not_fit_is_refused(error: type[Exception], module: Recurrent[Any], x: Array, hx: Any) -> None:
    with pytest.raises(error, match="expected"):
        gradients.jacobians(module, x, hx)


SMALL: dict[str, Any] = {"radii": (0.5, 2.0), "hidden_size": 6, "input_size": 2, "steps": 20, "draws": 2}


def test_study_finds_what_is_known() -> None:
    found = gradients.study(**SMALL)
    plain = len(nn.RECURRENCES)
    tanh, lstms = found.gradient[0, :, :, -1], found.gradient[plain : plain + 5, 0, :, -1]
    assert found.disagreement < 1e-12
    assert (tanh[0] < 1e-3).all() and (tanh[0] < tanh[1]).all()  # a larger radius leaves more
    assert (np.diff(np.log(lstms).mean(axis=-1)) > 0).all()  # so does a more open forget gate, until it is open
    assert np.allclose(found.gradient[..., 0], 1)
    assert (found.product[:2, ..., 0] <= found.bound[:2] * (1 + 1e-12)).all()
    with_c = ["c" in model.state for model in found.models]
    assert np.isnan(found.bound[2:]).all()
    assert (np.isfinite(found.forget).all(axis=(1, 2, 3)) == with_c).all()
    assert (np.isnan(found.forget).all(axis=(1, 2, 3)) != with_c).all()
    assert np.allclose(found.product[..., 0, 0], found.step[..., 0, 0])
    assert np.allclose(found.rate() ** 20, found.product[..., -1, 0])


def test_seed_draws_everything() -> None:
    models = gradients.MODELS[::3]
    one, again, other = (gradients.study(models, seed=seed, **SMALL) for seed in (0, 0, 1))
    assert np.array_equal(one.product, again.product, equal_nan=True)
    assert not np.isclose(one.gradient[..., 1:], other.gradient[..., 1:], rtol=1e-9, atol=0).any()


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(FloatingPointError, match=r"RNN relu.*radius 10000"):
        gradients.study(gradients.MODELS[1:2], [1e4], hidden_size=8, steps=100, draws=1)


def test_clipping_limits_the_length_and_changes_nothing_before() -> None:
    free, limited = gradients.clipping((np.inf, 0.5), trainings=2, updates=12)
    assert np.array_equal(free.length(), free.norm)
    assert np.array_equal(limited.length(), np.minimum(limited.norm, 0.5))
    assert np.array_equal(free.norm[:, 0], limited.norm[:, 0])
    for a, b in zip(free.norm, limited.norm, strict=True):
        first = np.argmax(b > 0.5)  # until then the trainings are one
        assert b[first] > 0.5 and np.array_equal(a[: first + 1], b[: first + 1])
        assert not np.isclose(a[first + 1 :], b[first + 1 :]).any()


def test_training_learns_to_latch() -> None:
    losses, norms = gradients.train_latch(1.0, steps=5, updates=150, rng=0)
    assert np.isfinite(norms).all()
    assert losses[:10].mean() > 0.3 and losses[-10:].mean() < 0.03
