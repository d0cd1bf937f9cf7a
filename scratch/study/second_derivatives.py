"""The second derivatives of the cells: how the slopes of a step and the step backward change along a direction.

A dot is the derivative along the direction. Every line applies the product rule to a line of the cell's `linearize` or
`step_backward` (nn/rnn.py, lstm.py, gru.py). The numbers at the end are those of the cell's equations. The derivation
is in second_order.md.

Each cell has two functions, and a line that enters them in `SECOND_DERIVATIVES`, where `hvp` (second_order.py) looks
them up. How to enter a cell of your own: nn/adding_a_cell.md.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..nn import gru, lstm, rnn
from ..nn.cell import State
from ..types import Array


class SecondDerivatives(NamedTuple):
    """The two functions of a cell. They write to no argument, and return new arrays.

    `linearize_tangent(a, a_dot, state_prev, state_prev_dot, state, state_dot, kept)` takes what `step` left, `a_dot`,
    and the changes of the states before and after it, and returns slopes_dot: (n, H, B).

    `step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)` takes what `step_backward` takes, each beside its
    tangent, and returns the tangents of what that makes: d_a_dot, then of h_prev without the path through W_hh (None
    for zero) and of the other parts of the state before.
    """

    linearize_tangent: Callable[[Array, Array, State, State, State, State, State], Array]
    step_backward_tangent: Callable[[State, State, Array, Array], tuple[Array, Array | None, State]]


SECOND_DERIVATIVES: dict[Callable[..., None], SecondDerivatives] = {}
"""The second derivatives of each cell, by its `linearize`, which `linearize_tangent` differentiates."""


# RNN with tanh


def tanh_linearize_tangent(
    a: Array, a_dot: Array, state_prev: State, state_prev_dot: State, state: State, state_dot: State, kept: State
) -> Array:
    """How the slope of tanh changes. Returns slopes_dot: (1, H, B)."""
    (h,), (h_dot,) = state, state_dot
    h_by_a_dot = -2 * h * h_dot  # (1)  of 1 − h²
    return np.stack([h_by_a_dot])


def tanh_step_backward_tangent(
    d_state: State, d_state_dot: State, slopes: Array, slopes_dot: Array
) -> tuple[Array, None, State]:
    """How the step backward changes. d_h, d_h_dot: (H, B). Returns d_a_dot: (1, H, B)."""
    (d_h,), (d_h_dot,), (h_by_a,), (h_by_a_dot,) = d_state, d_state_dot, slopes, slopes_dot
    d_a_dot = d_h_dot * h_by_a + d_h * h_by_a_dot  # (1)  of d_h ⊙ φ′
    return np.stack([d_a_dot]), None, ()


SECOND_DERIVATIVES[rnn.tanh_linearize] = SecondDerivatives(tanh_linearize_tangent, tanh_step_backward_tangent)


# RNN with relu


def relu_linearize_tangent(
    a: Array, a_dot: Array, state_prev: State, state_prev_dot: State, state: State, state_dot: State, kept: State
) -> Array:
    """How the slope of relu changes: not at all, also not at the kink. Returns slopes_dot: (1, H, B)."""
    (h,) = state
    h_by_a_dot = np.zeros_like(h)  # (1)  of [h > 0]
    return np.stack([h_by_a_dot])


def relu_step_backward_tangent(
    d_state: State, d_state_dot: State, slopes: Array, slopes_dot: Array
) -> tuple[Array, None, State]:
    """How the step backward changes. d_h_dot: (H, B). Returns d_a_dot: (1, H, B)."""
    (d_h_dot,), (h_by_a,) = d_state_dot, slopes
    d_a_dot = np.where(h_by_a == 0, 0, d_h_dot)  # (1)  of d_h ⊙ [h > 0]
    return np.stack([d_a_dot]), None, ()


SECOND_DERIVATIVES[rnn.relu_linearize] = SecondDerivatives(relu_linearize_tangent, relu_step_backward_tangent)


# LSTM


def lstm_linearize_tangent(
    a: Array, a_dot: Array, state_prev: State, state_prev_dot: State, state: State, state_dot: State, kept: State
) -> Array:
    """How the six slopes change. a: (4, H, B), the gates. Returns slopes_dot: (6, H, B)."""
    (i, f, g, o), (a_i_dot, a_f_dot, a_g_dot, a_o_dot) = a, a_dot
    (_, c_prev), (_, c_prev_dot), (_, c_dot), (tanh_c,) = state_prev, state_prev_dot, state_dot, kept
    i_by_a, f_by_a, g_by_a, o_by_a = i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)  # (1), (2), (3), (4)
    tanh_by_c = 1 - tanh_c * tanh_c  # (6)
    i_dot, f_dot, g_dot, o_dot = i_by_a * a_i_dot, f_by_a * a_f_dot, g_by_a * a_g_dot, o_by_a * a_o_dot
    tanh_c_dot = tanh_by_c * c_dot  # (6)
    c_by_a_i_dot = g_dot * i_by_a + g * (1 - 2 * i) * i_dot  # (5), (1)  of g ⊙ i(1 − i)
    c_by_a_f_dot = c_prev_dot * f_by_a + c_prev * (1 - 2 * f) * f_dot  # (5), (2)  of c_prev ⊙ f(1 − f)
    c_by_a_g_dot = i_dot * g_by_a - 2 * i * g * g_dot  # (5), (3)  of i ⊙ (1 − g²)
    h_by_a_o_dot = tanh_c_dot * o_by_a + tanh_c * (1 - 2 * o) * o_dot  # (6), (4)  of tanh(c) ⊙ o(1 − o)
    h_by_c_dot = o_dot * tanh_by_c - 2 * o * tanh_c * tanh_c_dot  # (6)  of o ⊙ (1 − tanh²(c))
    c_by_c_prev_dot = f_dot  # (5)  of f
    return np.stack([c_by_a_i_dot, c_by_a_f_dot, c_by_a_g_dot, h_by_a_o_dot, h_by_c_dot, c_by_c_prev_dot])


def lstm_step_backward_tangent(
    d_state: State, d_state_dot: State, slopes: Array, slopes_dot: Array
) -> tuple[Array, None, State]:
    """How the step backward changes. d_h, d_c and their tangents: (H, B).

    Returns d_a_dot: (4, H, B) and d_c_prev_dot: (H, B).
    """
    (d_h, d_c_after), (d_h_dot, d_c_after_dot) = d_state, d_state_dot
    h_by_a_o, h_by_c, c_by_c_prev = slopes[3:]
    h_by_a_o_dot, h_by_c_dot, c_by_c_prev_dot = slopes_dot[3:]
    d_a_o_dot = d_h_dot * h_by_a_o + d_h * h_by_a_o_dot  # (6), (4)
    d_c = d_c_after + d_h * h_by_c  # (6)
    d_c_dot = d_c_after_dot + d_h_dot * h_by_c + d_h * h_by_c_dot  # (6)
    d_a_ifg_dot = d_c_dot * slopes[:3] + d_c * slopes_dot[:3]  # (5), (1), (2), (3)  3, H, B
    d_c_prev_dot = d_c_dot * c_by_c_prev + d_c * c_by_c_prev_dot  # (5)
    return np.stack([*d_a_ifg_dot, d_a_o_dot]), None, (d_c_prev_dot,)


SECOND_DERIVATIVES[lstm.linearize] = SecondDerivatives(lstm_linearize_tangent, lstm_step_backward_tangent)


# GRU


def gru_linearize_tangent(
    a: Array, a_dot: Array, state_prev: State, state_prev_dot: State, state: State, state_dot: State, kept: State
) -> Array:
    """How the five slopes change. a: (4, H, B): r, z, a_n_h, n. Returns slopes_dot: (5, H, B)."""
    (h_prev,), (h_prev_dot,) = state_prev, state_prev_dot
    (r, z, a_n_h, n), (a_r_dot, a_z_dot, a_n_h_dot, a_n_x_dot) = a, a_dot
    r_by_a, z_by_a, n_by_a = r * (1 - r), z * (1 - z), 1 - n * n  # (1), (2), (3)
    r_dot, z_dot = r_by_a * a_r_dot, z_by_a * a_z_dot  # (1), (2)
    n_dot = n_by_a * (a_n_x_dot + r_dot * a_n_h + r * a_n_h_dot)  # (3)
    h_by_a_n_x = (1 - z) * n_by_a
    h_by_a_n_x_dot = -z_dot * n_by_a - 2 * (1 - z) * n * n_dot  # (4), (3)  of (1 − z) ⊙ (1 − n²)
    h_by_a_n_h_dot = h_by_a_n_x_dot * r + h_by_a_n_x * r_dot  # (3)  of h_by_a_n_x ⊙ r
    h_by_r_dot = h_by_a_n_x_dot * a_n_h + h_by_a_n_x * a_n_h_dot
    h_by_a_r_dot = h_by_r_dot * r_by_a + h_by_a_n_x * a_n_h * (1 - 2 * r) * r_dot  # (3), (1)  of … ⊙ r(1 − r)
    h_by_a_z_dot = (h_prev_dot - n_dot) * z_by_a + (h_prev - n) * (1 - 2 * z) * z_dot  # (4), (2)
    h_by_h_prev_dot = z_dot  # (4)  of z
    return np.stack([h_by_a_r_dot, h_by_a_z_dot, h_by_a_n_h_dot, h_by_a_n_x_dot, h_by_h_prev_dot])


def gru_step_backward_tangent(
    d_state: State, d_state_dot: State, slopes: Array, slopes_dot: Array
) -> tuple[Array, Array, State]:
    """How the step backward changes. d_h, d_h_dot: (H, B). Returns d_a_dot: (4, H, B), and of d_h ⊙ z: (H, B)."""
    (d_h,), (d_h_dot,) = d_state, d_state_dot
    tangents = d_h_dot * slopes + d_h * slopes_dot  # of d_h ⊙ each slope
    return tangents[:4], tangents[4], ()


SECOND_DERIVATIVES[gru.linearize] = SecondDerivatives(gru_linearize_tangent, gru_step_backward_tangent)
