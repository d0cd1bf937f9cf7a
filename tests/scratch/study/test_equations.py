"""A cell's equations are read as they are written."""

from collections.abc import Callable

import numpy as np
import pytest

from scratch.nn.cell import Equation
from scratch.study.equations import blocks, evaluate, of_names, outermost, sides
from scratch.types import Array
from tests.scratch.nn.test_new_cell import mgu

VALUES = dict(zip(("a", "b", "c", "h_prev"), np.random.default_rng(0).standard_normal((4, 3, 2)), strict=True))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a", lambda a, b, c, h: a),
        ("−a²", lambda a, b, c, h: -(a**2)),
        ("−−a", lambda a, b, c, h: a),
        ("h_prev − b − c", lambda a, b, c, h: h - b - c),
        ("a − (b − c)", lambda a, b, c, h: a - (b - c)),
        ("a + b ⊙ c − h_prev", lambda a, b, c, h: a + b * c - h),
        ("(a+b)⊙−c", lambda a, b, c, h: (a + b) * -c),
        ("a ⊙ (0.25 − b²)", lambda a, b, c, h: a * (0.25 - b * b)),
        ("(a − b)²", lambda a, b, c, h: (a - b) ** 2),
        ("tanh(a + b) ⊙ tanh²(c)", lambda a, b, c, h: np.tanh(a + b) * np.tanh(c) ** 2),
        ("1 − σ(a ⊙ σ(b))", lambda a, b, c, h: 1 - 1 / (1 + np.exp(-a / (1 + np.exp(-b))))),
        ("relu(−a) + [b > 0]", lambda a, b, c, h: np.maximum(-a, 0) + (b > 0)),
        ("a ⊙ [b ⊙ c > a] + [a > a]", lambda a, b, c, h: a * (b * c > a)),
    ],
)
def test_an_equation_means_what_it_says(text: str, meaning: Callable[..., Array]) -> None:
    before = {name: value.copy() for name, value in VALUES.items()}
    assert evaluate(text, VALUES) == pytest.approx(meaning(*VALUES.values()), rel=1e-14, abs=1e-15)
    assert all(np.array_equal(value, before[name]) for name, value in VALUES.items())


@pytest.mark.parametrize(
    "text",
    ["", "a +", "a b", "⊙ a", "(a", "a)", "[a]", "[a > b", "tanh a", "tanh(a", "d", "W_hhᵀ a", "a * b", "a.T", "a³"],
)
def test_what_is_no_equation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected .* in .*, got"):
        evaluate(text, VALUES)


def test_the_dtype_stays() -> None:
    values = {name: value.astype(np.float32) for name, value in VALUES.items()}
    assert evaluate("(0.5 − a²) ⊙ [b > 0] + σ(c) ⊙ relu(h_prev)", values).dtype == np.float32


def test_the_parts_of_an_equation() -> None:
    assert sides(Equation("5", "c = f ⊙ c_prev + i ⊙ g")) == ("c", "f ⊙ c_prev + i ⊙ g")
    one = {"tanh(a)": "tanh", "σ(a + (b − 1) ⊙ c)": "σ", "relu((a))": "relu"}
    none = dict.fromkeys(("tanh(a) ⊙ (1 − b)", "a ⊙ tanh(b)", "tanh²(a)", "(a)", "a"))
    assert {text: outermost(text) for text in one | none} == one | none
    assert of_names("d ⊙ σ(a_i) ⊙ (1 − tanh²(c)) ⊙ tanh(a + b)") == (
        "d ⊙ σ_a_i ⊙ (1 − tanh_c²) ⊙ tanh(a + b)",
        {"σ_a_i": "σ(a_i)", "tanh_c": "tanh(c)"},
    )
    for gates, apart, names in (
        ("h", 0, ("a",)),
        ("zu", 0, ("a_z", "a_u")),
        ("rzn", 1, ("a_r", "a_z", "a_n_h", "a_n_x")),
        ("zu", 2, ("a_z_h", "a_u_h", "a_z_x", "a_u_x")),
    ):
        assert blocks(mgu.CELL._replace(gates=tuple(gates), apart=apart)) == names
