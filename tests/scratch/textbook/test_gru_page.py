"""What the names in the equations of gru.md stand for, and what else the page says."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scratch.textbook import gru
from tests.scratch.textbook.equations import Page, Walk, complex_step, sigma
from tests.scratch.textbook.latex import Values

H = 6


@cache
def problem() -> Any:
    return Walk(gru, H=H)


def usual() -> Iterator[Values]:
    """With M of each step, as (5.1) defines it."""
    values, without_matrix = problem().values, problem().parameters | {"weight_hh": np.zeros((3 * H, H))}
    values |= dict(zip(("W_r", "W_z", "W_n"), np.split(values["W_hh"], 3), strict=True))
    for t, s in enumerate(values["steps"]):
        for x_or_h in "xh":
            s |= {f"{x_or_h}_{gate}": a for gate, a in zip("rzn", np.split(s[f"a_{x_or_h}"], 3), strict=True)}
        s["d_h_prev_direct"] = gru.step_backward(s["d_h"].T, s["kept"], without_matrix)[1].T
        ((s["∂h/∂h_prev"],),) = problem().jacobian(t, t + 1)
        s["M"] = (s["∂h/∂h_prev"] - np.diag(s["z"].ravel())) / (1 - s["z"])
    yield values | {"d_state": values.pop("d_h_n")}


PAGE = Page(Path(gru.__file__).with_suffix(".md"), usual)


@PAGE.given("4.4")
def whole() -> Iterator[Values]:
    yield problem().whole


@PAGE.given("5.3")
def paths_through_the_matrices_and_past_them() -> Iterator[Values]:
    """Every path from h_0 goes on in h or passes a matrix at each step; those that do are taken one by one."""
    past, through = np.eye(H), np.zeros((H, H))
    for s in problem().values["steps"]:
        through = s["z"] * through + (1 - s["z"]) * s["M"] @ (past + through)
        past = s["z"] * past
    yield {"∂h_T/∂h_t": problem().jacobian(0, len(problem().x))[0][0], "paths": through, "t": 0}


@PAGE.given("6.1")
def reset_before_the_product() -> Iterator[Values]:
    """Where U is diagonal and b reset, too, n is the textbook's."""
    U, b_n = np.diag(np.linspace(-2, 1, H)), problem().values["b_hh"][2 * H :]
    special = problem().parameters | {"weight_hh": np.concatenate([problem().parameters["weight_hh"][: 2 * H], U])}
    for t, s in enumerate(problem().values["steps"], 1):
        _, (*_, n) = gru.step(s["x"].T, s["h_prev"].T, special)
        yield {"n": n.T, "U": U, "b": s["r"] * b_n, "t": t}


@PAGE.given("6.2", "6.3", "6.4")
def of_cho() -> Iterator[Values]:
    """The gradients of the sum of d_h ⊙ h, by complex steps. A given r takes the place of (1)."""
    values = PAGE.usual()[0]
    U, b = values["W_n"], values["b_hh"][2 * H :]
    b_r, b_z, _ = np.split(values["b_hh"], 3)
    for t, s in enumerate(values["steps"], 1):

        def loss(h_prev: Any = s["h_prev"], U: Any = U, b: Any = b, r: Any = None, s: Any = s) -> Any:
            r = sigma(s["x_r"] + values["W_r"] @ h_prev + b_r) if r is None else r
            z = sigma(s["x_z"] + values["W_z"] @ h_prev + b_z)
            return np.sum(s["d_h"] * ((1 - z) * np.tanh(s["x_n"] + U @ (r * h_prev) + b) + z * h_prev))

        n = np.tanh(s["x_n"] + U @ (s["r"] * s["h_prev"]) + b)
        d_r = complex_step(lambda r, loss=loss: loss(r=r), s["r"])
        yield {
            "U": U,
            "d_x_n": s["d_h"] * (1 - s["z"]) * (1 - n * n),
            "d_r": d_r,
            "d_a_r": d_r * s["r"] * (1 - s["r"]),
            "d_a_z": s["d_h"] * (s["h_prev"] - n) * s["z"] * (1 - s["z"]),
            "d_h_prev": complex_step(lambda h_prev, loss=loss: loss(h_prev), s["h_prev"]),
            "d_U": complex_step(lambda U, loss=loss: loss(U=U), U),
            "d_b": complex_step(lambda b, loss=loss: loss(b=b), b),
            "t": t,
        }
