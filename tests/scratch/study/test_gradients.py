"""Vanishing and exploding gradients: the Jacobians, the bound, and what the study makes of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.problems import Configuration, Problem, draw
from reference.runs import initial_state, make_scratch
from scratch import nn
from scratch.study import gradients, gradients_report
from scratch.study.models import Model
from scratch.study.trace import trace
from scratch.types import Array
from tests.strategies import configurations


def one(c: Configuration) -> Problem:
    """What has Jacobians here: one sequence through one layer in one direction, from any state."""
    fixed: dict[str, Any] = {"num_layers": 1, "bidirectional": False, "proj_size": 0, "bias_shift": 0.0}
    lengths = (max(c.lengths, default=3),)
    return draw(replace(c, **fixed, layout="unbatched", lengths=lengths, initial_state=True, weight_scale=2.0))


def cases(*cells: str) -> st.SearchStrategy[Problem]:
    return configurations(cells or tuple(nn.RECURRENCES), dropout=False).map(one)


def jacobians(problem: Problem) -> Array:
    return gradients.jacobians(make_scratch(problem), problem.input, initial_state(problem))


def column(module: Any, state: Any) -> Array:
    """A state of the module as a column: (S,)."""
    return np.concatenate(module._split("state", state), axis=None)


def state(module: Any, column: Array) -> Any:
    """And back."""
    return module._join(tuple(column.reshape(-1, 1, module.hidden_size)))


def assert_same(problem: Problem, J: Array, ours: Array, theirs: Array, upstream: float = 1.0) -> None:
    """Within 1e-12 of the largest that the product of the Jacobians could have been.

    Not of what it is: the slope 1 − h² of a saturated unit is small, and known as exactly as 1 alone. The states, too,
    come by other roundings, which grow as the product does.
    """
    largest = np.maximum(1, np.linalg.norm(J, 2, axis=(-2, -1))).prod()
    size = upstream * largest * (1 + np.linalg.norm(problem.parameters["weight_hh_l0"], 2))
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert np.abs(ours - theirs).max() <= 1e-12 * size


@given(cases(), st.data())
def test_products_of_jacobians_are_the_backward_pass(problem: Problem, data: st.DataObject) -> None:
    """Of any upstream gradient, from any step on, and complex-step derivatives of the forward pass up to there."""
    module, x, s_0, J = make_scratch(problem), problem.input, initial_state(problem), jacobians(problem)
    t, u = data.draw(st.integers(1, len(x))), np.random.default_rng(len(x)).standard_normal(J.shape[-1])
    module(x[:t], s_0)
    _, d_first = module.backward(None, state(module, u))
    norm, product = float(np.linalg.norm(u)), gradients.products(J[:t])[-1]
    assert_same(problem, J[:t], gradients.pulled_back(J[:t], u)[-1], column(module, d_first), norm)
    assert_same(problem, J[:t], product.T @ u, column(module, d_first), norm)
    assert_same(problem, J, gradients.pulled_back(J, u), gradients.backward_gradients(module, x, u, s_0), norm)
    moving, small = make_scratch(problem.astype(np.complex128)), 1e-100
    _, last = moving(x[:t].astype(complex), state(moving, column(moving, s_0) + 1j * small * u))
    assert_same(problem, J[:t], product @ u, column(moving, last).imag / small, norm)


@given(st.floats(0.1, 3), st.integers(1, 6), st.integers(1, 20), st.sampled_from(["RNN tanh", "RNN relu"]))
def test_bound_is_reached_where_the_paper_says(radius: float, H: int, T: int, cell: str) -> None:
    """With nothing saturated or off and W_hh a multiple of a rotation: tanh at rest, relu units that stay on."""
    module = Model("", cell).build(1, H, 0)
    weights = {name: np.zeros_like(value) for name, value in module.state_dict().items()}
    weights["weight_hh_l0"] = radius * np.eye(H)[::-1]
    module.load_state_dict(weights)
    h_0 = np.full((1, H), 0.0 if cell == "RNN tanh" else 1.0)
    norms = np.linalg.norm(gradients.products(gradients.jacobians(module, np.zeros((T, 1)), h_0)), 2, axis=(-2, -1))
    assert_close({"norms": norms / gradients.bound(radius, np.arange(1, T + 1))}, {"norms": np.ones(T)})


@given(cases("LSTM"))
def test_forget_path_is_the_product_of_the_forget_gates(problem: Problem) -> None:
    steps = trace(make_scratch(problem), problem.input, initial_state(problem)).steps[0]
    f = np.array([step.left[1, :, 0] for step in steps])
    expected = np.array([f[len(f) - k :].prod(axis=0) for k in range(1, len(f) + 1)])
    assert_close({"path": gradients.forget_path(jacobians(problem))}, {"path": expected})


def test_bands_are_the_singular_values_as_far_as_they_are_known() -> None:
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((5, 5)))[0] for _ in range(2))
    known, lost = ((U * values) @ V for values in ([9, 5, 3, 2, 1e-3], [9, 5, 3, 2, 1e-17]))
    found = gradients.bands(np.array([known, lost, np.zeros((5, 5))]))
    assert np.allclose(found, [[9, 3, 1e-3], [9, 3, np.nan], [0, 0, 0]], equal_nan=True)


@pytest.mark.parametrize(
    ("error", "options", "shape", "hx"),
    [
        (ValueError, {"num_layers": 2}, (4, 2), None),
        (ValueError, {"bidirectional": True}, (4, 2), None),
        (ValueError, {"proj_size": 1}, (4, 2), None),
        (ValueError, {}, (4, 1, 2), None),
        (RuntimeError, {}, (4, 1), None),
        (TypeError, {}, (4, 2), np.zeros((1, 3))),
    ],
)
def test_what_has_no_jacobians_is_refused(error: Any, options: Any, shape: Any, hx: Any) -> None:
    with pytest.raises(error, match="expected"):
        gradients.jacobians(nn.LSTM(2, 3, dtype=np.float64, **options), np.zeros(shape), hx)
    with pytest.raises(TypeError, match="expected input"):
        gradients.jacobians(nn.LSTM(2, 3), [[0.0, 0.0]], hx)


SMALL: dict[str, Any] = {"radii": (0.5, 2.0), "hidden_size": 6, "input_size": 2, "steps": 20, "draws": 2}


def test_study_finds_what_is_known_and_the_seed_draws_everything() -> None:
    found = gradients.study(**SMALL)
    plain = len(nn.RECURRENCES)
    tanh, lstms = found.gradient[0, :, :, -1], found.gradient[plain : plain + 5, 0, :, -1]
    assert found.difference.max() < 1e-12
    assert (tanh[0] < 1e-3).all() and (tanh[0] < tanh[1]).all()  # a larger radius leaves more
    assert (np.diff(np.log(lstms).mean(axis=-1)) > 0).all()  # so does a more open forget gate, until it is open
    assert np.allclose(found.gradient[..., 0], 1)
    limit = gradients.bound(found.stretch[:2, ..., None], np.arange(1, 21))
    assert (found.product[:2, ..., 0] <= limit * (1 + 1e-12)).all()
    with_c = ["c" in model.state for model in found.models]
    assert np.isnan(found.stretch[2:]).all()
    assert (np.isfinite(found.forget).all(axis=(1, 2, 3)) == with_c).all()
    assert (np.isnan(found.forget).all(axis=(1, 2, 3)) != with_c).all()
    assert np.allclose(found.product[..., 0, 0], found.step[..., 0, 0])
    assert np.allclose(found.rate**20, found.product[..., -1, 0])
    again, other = (gradients.study(gradients.MODELS[:1], seed=seed, **SMALL) for seed in (0, 1))
    assert np.array_equal(found.product[:1], again.product, equal_nan=True)
    assert not np.isclose(again.gradient[..., 1:], other.gradient[..., 1:], rtol=1e-9, atol=0).any()


def test_clipping_limits_the_length_and_changes_nothing_before() -> None:
    free, limited = gradients.clipping((np.inf, 0.5), trainings=2, updates=12)
    assert np.array_equal(free.length, free.norm)
    assert np.array_equal(limited.length, np.minimum(limited.norm, 0.5))
    assert np.array_equal(free.norm[:, 0], limited.norm[:, 0])
    for a, b in zip(free.norm, limited.norm, strict=True):
        first = np.argmax(b > 0.5)  # until then the trainings are one
        assert b[first] > 0.5 and np.array_equal(a[: first + 1], b[: first + 1])
        assert not np.isclose(a[first + 1 :], b[first + 1 :]).any()


def test_training_learns_to_latch() -> None:
    losses, norms = gradients.train_latch(1.0, 150, np.random.default_rng(0), steps=5)
    assert np.isfinite(norms).all()
    assert losses[:10].mean() > 0.3 and losses[-10:].mean() < 0.03


def test_the_row_of_the_lstms_forget_bias_has_no_other_cell_that_forgets() -> None:
    found = gradients.study(**SMALL | {"steps": 3, "draws": 1})
    other = found.models[-1]._replace(cell="GRU")  # stands for a new cell with a gate f and no c
    (rates,) = (
        panel
        for panel in gradients_report.picture(found._replace(models=(*found.models[:-1], other)), ()).axes
        if panel.get_title(loc="left").startswith("factor per step, over")
    )
    assert len(rates.get_yticks()) == len(gradients.FORGET_BIASES) - 1
