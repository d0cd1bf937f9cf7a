"""The page on which faults are planted is right without one, and so are its forms of the cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import space
from reference.check import check
from reference.diagnosis import diagnose
from reference.equivalence import TOLERANCE, relative_error
from reference.faults import Setting, catalogue, held_to, right_run
from reference.problems import CELLS, Configuration, draw
from reference.runs import run_scratch

from .planted import subject

GRID = [configuration for configuration in space.grid() if configuration.lengths]


@given(st.sampled_from(GRID))
def test_the_page_without_a_fault_is_scratch(configuration: Configuration) -> None:
    problem = draw(configuration)
    truth, masks = run_scratch(problem)
    run = right_run(problem, masks)
    assert list(run) == list(truth)
    for name, right in truth.items():
        assert run[name].shape == right.shape
        assert relative_error(run[name], right) < TOLERANCE, name


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"layout": "packed", "lengths": (4, 2)}]
)
def test_the_gradients_of_a_gru_that_resets_before_the_product(options: dict) -> None:
    """By complex step (Squire and Trapp 1998): the derivative in a random direction of all that has a gradient."""
    problem, form, rng = draw(Configuration("GRU", **options)), "reset before", np.random.default_rng(0)
    run = right_run(problem, form=form)
    for name, value in problem.leaves.items():
        direction = rng.standard_normal(value.shape)
        nudged = problem.map(lambda v, at=value, d=direction: v + (1e-100j * d if v is at else 0j))
        ahead = next(Setting(nudged, form=form).runs((), forward_only=True))
        slope = sum((ahead[n] * d).sum().imag for n, d in problem.upstream.items()) / 1e-100
        assert slope == pytest.approx((run[f"d_{name}"] * direction).sum(), rel=1e-10), name


W_N = 'parameters["weight_hh"][2 * H :]'
RESET_BEFORE = (  # a GRU as most people write it by hand (Cho et al. 2014)
    (
        "    n = xp.tanh(a_x[:, 2 * H :] + r * a_n_h)",
        f"    h_n = (r * h_prev) @ {W_N}.T + parameters.get('bias_hh', xp.zeros(3 * H, dtype=x.dtype))[2 * H :]\n"
        "    n = xp.tanh(a_x[:, 2 * H :] + h_n)",
    ),
    ("d_a_n_h = d_a_n_x * r", f"H = h_prev.shape[1]; d_u = d_a_n_x @ {W_N}"),
    ("d_r = d_a_n_x * a_n_h", "d_r = d_u * h_prev"),
    ("[d_a_r, d_a_z, d_a_n_h]", "[d_a_r, d_a_z, d_a_n_x]"),
    ('d_a_h @ parameters["weight_hh"]', 'd_u * r + d_a_h[:, : 2 * H] @ parameters["weight_hh"][: 2 * H]'),
    ("d_a_h.T @ h_prev", "xp.concat([d_a_h[:, : 2 * H].T @ h_prev, d_a_n_x.T @ (r * h_prev)])"),
)


def test_a_gru_may_be_held_to_the_reset_before_the_product() -> None:
    gru = subject("GRU", "functions", *RESET_BEFORE)
    told = str(diagnose(gru, Configuration("GRU")))
    assert "r acts before the product with W_hh" in told
    assert "gradients are none of those" not in told  # they are those of this form
    configurations = [Configuration("GRU"), Configuration("GRU", bias=False), Configuration("GRU", lengths=(7,))]
    found = check(configurations, held_to(gru, "reset before"), ("float64",))
    assert len(found.configurations) == len(configurations) and not found.failures


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        (("d_a_n_x = d_n * (1 - n * n)", "d_a_n_x = d_n"), "d_a_n is d_n ⊙ (1 − n²) (3); yours is exactly d_n"),
        (("d_r = d_u * h_prev", "d_r = d_u"), "d_r is d_u ⊙ h_prev (3); yours is exactly d_u: a factor is missing"),
        (("d_u * r + ", ""), "yours is exactly d_h ⊙ z + d_a_r"),
        (("d_a_n_x.T @ (r * h_prev)", "d_a_n_x.T @ h_prev"), "the rows of n are formed with h_prev"),
    ],
)
def test_the_faults_of_that_form_are_named(slip: tuple[str, str], told: str) -> None:
    wrong = held_to(subject("GRU", "functions", *RESET_BEFORE, slip), "reset before")
    assert told in str(diagnose(wrong, Configuration("GRU")))


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "RNN relu"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}])
def test_the_catalogue_has_no_fault_twice(cell: str, options: dict) -> None:
    faults = catalogue(Configuration(cell, **options))
    assert len(faults) > 250
    assert len({fault.edits for fault in faults}) == len(faults)
    assert [fault.rank for fault in faults] == sorted(fault.rank for fault in faults)
    words = ["NAME", "MATRIX", "SLOT", "INNER", "PLACE", "STATES", "WHERE", "GROUP", "SUM", "CUT", "ORDER", "RATE"]
    assert all(fault.explanation[-1] == "." for fault in faults)
    assert not [fault for fault in faults if any(word in f"{fault.explanation}{fault.edits}" for word in words)]
