"""What the names in the equations of lstm.md stand for, and what else the page says."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch.textbook import lstm
from tests.scratch.textbook.equations import Page, Walk, assert_printed, sigma, slope
from tests.scratch.textbook.latex import Values

H = 6


@cache
def problem() -> Any:
    return Walk(lstm, H=H)


def sigmoid(a: Any) -> Any:
    """The page's own."""
    return lstm.sigmoid(np.asarray(a), np)


def usual() -> Iterator[Values]:
    """With K, S and R of each step: K is ∂c/∂h_prev; what goes to c_prev passes c, and then f; R is what is left."""
    values = problem().values
    values |= dict(zip(("W_i", "W_f", "W_g", "W_o"), np.split(values["W_hh"], 4), strict=True))
    for t, s in enumerate(values["steps"]):
        s |= dict(zip(("a_i", "a_f", "a_g", "a_o"), np.split(s["a"], 4), strict=True))
        (h_by_h, h_by_c), (c_by_h, c_by_c) = problem().jacobian(t, t + 1)
        s |= {
            "K": c_by_h,
            "S": h_by_c / s["f"].T,
            "∂(c_h)/∂(c_prev_h_prev)": np.block([[c_by_c, c_by_h], [h_by_c, h_by_h]]),
        }
        s["R"] = h_by_h - s["S"] @ c_by_h
    yield values


PAGE = Page(Path(lstm.__file__).with_suffix(".md"), usual)


@PAGE.given("3.4")
def whole() -> Iterator[Values]:
    yield problem().whole


@PAGE.given("2.1")
def a_product() -> Iterator[Values]:
    d_y, u, v = np.random.default_rng(8).standard_normal((3, H, 1))
    yield {
        "d_y": d_y,
        "u": u,
        "v": v,
        "d_u": slope(lambda u: d_y * u * v)(u),
        "d_v": slope(lambda v: d_y * u * v)(v),
        "t": 1,
    }


@PAGE.given("2.5", "5.1")
def numbers() -> Iterator[Values]:
    for a in np.linspace(-6, 6, 49):
        yield {"a": a, "σ": sigmoid, "σ'": slope(sigmoid), "t": 1}


@PAGE.given("4.5")
def paths_within_the_cell_state_and_outside() -> Iterator[Values]:
    """Every path from c_0 leaves c or stays at each step; those that leave are taken one by one."""
    r = problem()
    within, outside, h_by_c_0 = np.eye(H), np.zeros((H, H)), np.zeros((H, H))
    for s in r.values["steps"]:
        f = np.diag(s["f"].ravel())
        outside = f @ outside + s["K"] @ h_by_c_0
        within = f @ within
        h_by_c_0 = s["S"] @ (within + outside) + s["R"] @ h_by_c_0
    yield {"∂c_T/∂c_t": r.jacobian(0, len(r.x))[1][1], "paths": outside, "t": 0}


def test_table_of_saturated_gates() -> None:
    """σ in float32, either way. By tanh it is a multiple of 2⁻²⁵, and which one depends on the machine's tanh."""
    rows = PAGE.tables()["$a$"]
    assert len(rows) == 5
    for a, exact, first, error_of_first, second, error_of_second in rows:
        a = float(a.strip("$"))
        gate, true = sigmoid(np.float32(a)).item(), sigma(a)
        assert_printed([exact, first], true, gate)
        assert abs(gate / true - 1) <= 2.5e-7
        assert float(error_of_first) <= 2.5e-7
        of_tanh = float(np.float32(0.5) * np.tanh(np.float32(a / 2)) + np.float32(0.5))
        assert abs(float(second) - of_tanh) <= 2**-25 + 5e-5 * true  # five digits are printed
        error = float(error_of_second.replace(" %", "e-2"))
        assert abs(error - abs(of_tanh / true - 1)) <= 2**-25 / true + 0.5 * error


@pytest.mark.parametrize(("a", "off"), [(10, 0.0005), (16, 0.06), (17, 1)])
def test_derivative_of_an_open_gate_in_float32_is_off(a: float, off: float) -> None:
    """By as much as the page says."""
    gate, true = sigmoid(np.float32(a)), sigma(-a) * sigma(a)
    assert abs(gate * (1 - gate) / true - 1) == pytest.approx(off, rel=0.1)
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.float32(-1000)) == 0 and sigmoid(np.float32(1000)) == 1  # nothing overflows
