"""Every numbered equation of core_notes_lstm.md, in NumPy as it stands there, gives the numbers of the code."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn import activations
from scratch.nn.utils.rnn import pack_sequence
from tests.scratch.nn.equations import Page, run

PAGE = Page(Path(nn.__file__).parent / "core_notes_lstm.md")
T, B, I, H, P = 5, 3, 4, 6, 2  # noqa: E741


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


@cache
def lstm(proj_size: int = 0, steps: int = T) -> Any:
    """A random pass, and at each step the gates by name, c, tanh(c), the slopes and the parts of d_a by name."""
    rng = np.random.default_rng(7)
    module = nn.LSTM(I, H, proj_size=proj_size, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((steps, B, I)), rng.standard_normal((steps, B, proj_size or H))
    state, d_state = ((rng.standard_normal((1, B, proj_size or H)), rng.standard_normal((1, B, H))) for _ in range(2))
    r = run(module, x, state, d_output, d_state)
    r.steps = r.of[0]
    r.h_0, r.c_0, r.d_h_n, r.d_c_n = (part[0].T for part in (*state, *d_state))
    r.d_h_0, r.d_c_0 = (part[0].T for part in r.d_initial)
    for step in r.steps:
        step.a_i, step.a_f, step.a_g, step.a_o = np.split(step.a, 4)
        step.d_a_i, step.d_a_f, step.d_a_g, step.d_a_o = np.split(step.d_a, 4)
        step.i, step.f, step.g, step.o = step.gates
        (step.h_prev, step.c_prev), (step.m, step.c), (step.tanh_c,) = step.prev, step.made, step.kept
        step.c_by_a_i, step.c_by_a_f, step.c_by_a_g, step.h_by_a_o, step.h_by_c, step.c_by_c_prev = step.slopes
        (step.d_m, step.d_c_after), (step.d_c_prev,) = step.d_made, step.d_prev
    return r


def both() -> list[Any]:
    return [lstm(), lstm(proj_size=P)]


def steps() -> list[Any]:
    return [step for r in both() for step in r.steps]


def column(vector: Any) -> Any:
    return vector[:, None]


def bold(*columns: Any) -> Any:
    """The columns of all steps side by side."""
    return np.concatenate(columns, axis=1)


@PAGE.equation("T1", r"a = W_{\mathrm{ih}} x + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}")
def pre_activation():
    for r in both():
        for t, step in enumerate(r.steps):
            a = r.weight_ih_l0 @ r.x[t].T + column(r.bias_ih_l0) + r.weight_hh_l0 @ step.h_prev + column(r.bias_hh_l0)
            yield a, step.a


@PAGE.equation("1", r"i = \sigma(a_i)")
def input_gate():
    for step in steps():
        yield sigmoid(step.a_i), step.i


@PAGE.equation("2", r"f = \sigma(a_f)")
def forget_gate():
    for step in steps():
        yield sigmoid(step.a_f), step.f


@PAGE.equation("3", r"g = \tanh(a_g)")
def candidate():
    for step in steps():
        yield np.tanh(step.a_g), step.g


@PAGE.equation("4", r"o = \sigma(a_o)")
def output_gate():
    for step in steps():
        yield sigmoid(step.a_o), step.o


@PAGE.equation("5", r"c = f \odot c_{\mathrm{prev}} + i \odot g")
def cell_state():
    for step in steps():
        yield step.f * step.c_prev + step.i * step.g, step.c


@PAGE.equation("6", r"h = o \odot \tanh(c)")
def hidden_state():
    for step in steps():
        yield step.o * np.tanh(step.c), step.m
    for t, step in enumerate(lstm().steps):
        yield step.o * np.tanh(step.c), lstm().output[t].T


@PAGE.equation("T3", r"h = W_{\mathrm{hr}} m")
def projection():
    r = lstm(proj_size=P)
    for t, step in enumerate(r.steps):
        yield r.weight_hr_l0 @ step.m, r.output[t].T


@PAGE.equation(
    "2.1",
    r"\sigma'(a) = \frac{e^{-a}}{(1 + e^{-a})^2} = \frac{1}{1 + e^{-a}} \cdot \frac{e^{-a}}{1 + e^{-a}} = "
    r"\sigma(a) (1 - \sigma(a))",
)
def slope_of_sigma():
    a = np.linspace(-6, 6, 49)
    slope = a + 1e-100j
    activations.sigmoid(slope)
    slope = slope.imag / 1e-100
    e = np.exp(-a)
    yield e / (1 + e) ** 2, slope, 1e-12  # the code's way with complex numbers cancels where σ is near 0
    yield 1 / (1 + e) * (e / (1 + e)), slope, 1e-12
    yield sigmoid(a) * (1 - sigmoid(a)), slope, 1e-12


@PAGE.equation("2.2", r"\frac{\partial c}{\partial a_i} = g \odot i \odot (1 - i)")
def slope_of_c_by_a_i():
    for step in steps():
        yield step.g * step.i * (1 - step.i), step.c_by_a_i


@PAGE.equation("2.3", r"\frac{\partial c}{\partial a_f} = c_{\mathrm{prev}} \odot f \odot (1 - f)")
def slope_of_c_by_a_f():
    for step in steps():
        yield step.c_prev * step.f * (1 - step.f), step.c_by_a_f


@PAGE.equation("2.4", r"\frac{\partial c}{\partial a_g} = i \odot (1 - g \odot g)")
def slope_of_c_by_a_g():
    for step in steps():
        yield step.i * (1 - step.g * step.g), step.c_by_a_g


@PAGE.equation("2.5", r"\frac{\partial h}{\partial a_o} = \tanh(c) \odot o \odot (1 - o)")
def slope_of_h_by_a_o():
    for step in steps():
        yield np.tanh(step.c) * step.o * (1 - step.o), step.h_by_a_o


@PAGE.equation("2.6", r"\frac{\partial h}{\partial c} = o \odot (1 - \tanh^2(c))")
def slope_of_h_by_c():
    for step in steps():
        yield step.o * (1 - np.tanh(step.c) ** 2), step.h_by_c


@PAGE.equation("2.7", r"\frac{\partial c}{\partial c_{\mathrm{prev}}} = f")
def slope_of_c_by_c_prev():
    for step in steps():
        yield step.f, step.c_by_c_prev


def whole_d_c(step: Any) -> Any:
    return step.d_c_after + step.d_m * step.o * (1 - np.tanh(step.c) ** 2)


@PAGE.equation("3.1", r"d_{a_o} = d_h \odot \frac{\partial h}{\partial a_o}")
def d_output_gate():
    for step in steps():
        yield step.d_m * step.h_by_a_o, step.d_a_o


@PAGE.equation("3.2", r"d_c = d_c^{\mathrm{after}} + d_h \odot \frac{\partial h}{\partial c}")
def d_cell_state():
    """The code goes on with the whole of d_c at once: f takes it to the step before."""
    for step in steps():
        yield step.d_c_after + step.d_m * step.h_by_c, step.d_c_prev / step.f


@PAGE.equation(
    "3.3",
    r"d_{a_i} = d_c \odot \frac{\partial c}{\partial a_i}, d_{a_f} = d_c \odot \frac{\partial c}{\partial a_f}, "
    r"d_{a_g} = d_c \odot \frac{\partial c}{\partial a_g}, d_{c_{\mathrm{prev}}} = d_c \odot \frac{\partial "
    r"c}{\partial c_{\mathrm{prev}}} = d_c \odot f",
)
def d_of_what_c_is_made_of():
    for step in steps():
        d_c = whole_d_c(step)
        yield d_c * step.c_by_a_i, step.d_a_i
        yield d_c * step.c_by_a_f, step.d_a_f
        yield d_c * step.c_by_a_g, step.d_a_g
        yield d_c * step.c_by_c_prev, step.d_c_prev
        yield d_c * step.f, step.d_c_prev


LENGTHS = (5, 3, 3, 1)


@cache
def packed() -> Any:
    """A bidirectional pass over sequences of these lengths: the steps of both directions by t."""
    rng = np.random.default_rng(9)
    module = nn.LSTM(I, H, bidirectional=True, dtype=np.float64, rng=rng)
    x, d_output = (pack_sequence([rng.standard_normal((n, width)) for n in LENGTHS]) for width in (I, 2 * H))
    state, d_state = rng.standard_normal((2, 2, 2, 4, H))
    r = run(module, x, tuple(state), d_output, tuple(d_state))
    for step in r.of[0] + r.of[1]:
        step.f, step.o, step.c = step.gates[1], step.gates[3], step.made[1]
        step.d_m, step.d_c_after = step.d_made
    r.by_t = r.of[0], r.of[1][::-1]
    return r


@PAGE.equation(
    "5.5",
    r"d_{c_t}^{\mathrm{after},k} = \begin{cases} d_{c_{t+1}}^{k} \odot f_{t+1}^{k} k \le B_{t+1} \\[2pt] "
    r"d_{c_n}^{k} \text{otherwise} \end{cases}, d_{c_0}^{k} = d_{c_1}^{k} \odot f_1^{k}",
)
def packed_forward_direction():
    r = packed()
    steps, d_c_n, d_c_0 = r.by_t[0], r.d_state[1][0], r.d_initial[1][0]
    for t, step in enumerate(steps):
        for k in range(step.a.shape[1]):
            goes_on = t + 1 < len(steps) and k < steps[t + 1].a.shape[1]
            after = (whole_d_c(steps[t + 1]) * steps[t + 1].f)[:, k] if goes_on else d_c_n[k]
            yield after, step.d_c_after[:, k]
    yield whole_d_c(steps[0]) * steps[0].f, d_c_0.T


@PAGE.equation(
    "5.6",
    r"d_{c_t}^{\mathrm{after},k} = \begin{cases} d_{c_{t-1}}^{k} \odot f_{t-1}^{k} t \gt 1 \\[2pt] d_{c_n}^{k} t = "
    r"1 \end{cases}, d_{c_0}^{k} = d_{c_{T_k}}^{k} \odot f_{T_k}^{k}",
)
def packed_reverse_direction():
    r = packed()
    steps, d_c_n, d_c_0 = r.by_t[1], r.d_state[1][1], r.d_initial[1][1]
    for t, step in enumerate(steps):
        for k in range(step.a.shape[1]):
            after = (whole_d_c(steps[t - 1]) * steps[t - 1].f)[:, k] if t > 0 else d_c_n[k]
            yield after, step.d_c_after[:, k]
    for k, T_k in enumerate(LENGTHS):
        yield (whole_d_c(steps[T_k - 1]) * steps[T_k - 1].f)[:, k], d_c_0[k]


def d_h(r: Any) -> list[Any]:
    """The whole gradient of h at every step, of both its sources."""
    return [r.d_output[t].T + (r.weight_hh_l0.T @ r.steps[t + 1].d_a if t < T - 1 else r.d_h_n) for t in range(T)]


@PAGE.equation(
    "6.1",
    r"d_m = W_{\mathrm{hr}}^{\top} d_h, d_{W_{\mathrm{hr}}} = \sum_{t=1}^{T} d_{h_t} m_t^{\top} = \mathbf{d_h} "
    r"\mathbf{m}^{\top}",
)
def d_projection():
    r = lstm(proj_size=P)
    for step, d_h_t in zip(r.steps, d_h(r), strict=True):
        yield r.weight_hr_l0.T @ d_h_t, step.d_m
    yield sum(d_h_t @ step.m.T for step, d_h_t in zip(r.steps, d_h(r), strict=True)), r.d_weight_hr_l0
    yield bold(*d_h(r)) @ bold(*(step.m for step in r.steps)).T, r.d_weight_hr_l0


@PAGE.equation("10.1", r"\text{forward: } 2N\big(4H(I + P) + PH\big), \text{backward: twice as much.}")
def operations():
    """Forward, an entry of a matrix is multiplied and added once for each column; backward, in two products."""
    r, N = lstm(proj_size=P), T * B
    entries = r.weight_ih_l0.size + r.weight_hh_l0.size + r.weight_hr_l0.size
    yield 2 * N * (4 * H * (I + P) + P * H), 2 * N * entries


def tangents(step: Any) -> Any:
    """Changes of a and c_prev, and what the cell makes of them."""
    rng = np.random.default_rng(12)
    a_dot, c_prev_dot = rng.standard_normal((4, H, B)), rng.standard_normal((H, B))
    h_dot, c_dot = nn.LSTM(I, H).cell.step_tangent(a_dot, (None, c_prev_dot), step.slopes)
    return a_dot, c_prev_dot, h_dot, c_dot


@PAGE.equation(
    "13.1",
    r"\dot c = \frac{\partial c}{\partial a_i} \odot \dot a_i + \frac{\partial c}{\partial a_f} \odot \dot a_f + "
    r"\frac{\partial c}{\partial a_g} \odot \dot a_g + \frac{\partial c}{\partial c_{\mathrm{prev}}} \odot \dot "
    r"c_{\mathrm{prev}}",
)
def tangent_of_c():
    for step in steps():
        (a_i_dot, a_f_dot, a_g_dot, _), c_prev_dot, _, c_dot = tangents(step)
        through_gates = step.c_by_a_i * a_i_dot + step.c_by_a_f * a_f_dot + step.c_by_a_g * a_g_dot
        yield through_gates + step.c_by_c_prev * c_prev_dot, c_dot


@PAGE.equation(
    "13.2",
    r"\dot h = \frac{\partial h}{\partial a_o} \odot \dot a_o + \frac{\partial h}{\partial c} \odot \dot c",
)
def tangent_of_h():
    for step in steps():
        (*_, a_o_dot), _, h_dot, c_dot = tangents(step)
        yield step.h_by_a_o * a_o_dot + step.h_by_c * c_dot, h_dot


@PAGE.equation(
    "13.3",
    r"\langle d_h, \dot h \rangle + \langle d_c^{\mathrm{after}}, \dot c \rangle = \langle d_a, \dot a \rangle + "
    r"\langle d_{c_{\mathrm{prev}}}, \dot c_{\mathrm{prev}} \rangle",
)
def transpose():
    before, after = [], []
    for step in steps():
        a_dot, c_prev_dot, h_dot, c_dot = tangents(step)
        before.append((step.d_a * a_dot.reshape(4 * H, B)).sum() + (step.d_c_prev * c_prev_dot).sum())
        after.append((step.d_m * h_dot).sum() + (step.d_c_after * c_dot).sum())
    yield after, before


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}
