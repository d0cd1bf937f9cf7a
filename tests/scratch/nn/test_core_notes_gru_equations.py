"""Every numbered equation of core_notes_gru.md, in NumPy as it stands there, gives the numbers of the code."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn.cell import Weights
from scratch.nn.tape import Tape
from scratch.nn.utils.rnn import pack_sequence
from tests.scratch.nn.equations import Page, complex_step, run

PAGE = Page(Path(nn.__file__).parent / "core_notes_gru.md")
T, B, I, H = 5, 3, 4, 6  # noqa: E741


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


@cache
def gru(steps: int = T) -> Any:
    """A random pass, and at each step the blocks of a, the gates, the slopes and the parts of d_a by name."""
    rng = np.random.default_rng(7)
    module = nn.GRU(I, H, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((steps, B, I)), rng.standard_normal((steps, B, H))
    h_0, d_h_n = rng.standard_normal((2, 1, B, H))
    r = run(module, x, h_0, d_output, d_h_n)
    r.steps = r.of[0]
    r.h_0, r.d_h_n, r.d_h_0 = h_0[0].T, d_h_n[0].T, r.d_initial[0].T
    for step in r.steps:
        name(step)
    return r


def name(step: Any) -> None:
    step.a_r, step.a_z, step.a_n_h, step.a_n_x = np.split(step.a, 4)
    step.r, step.z, _, step.n = step.gates
    step.d_a_r, step.d_a_z, step.d_a_n_h, step.d_a_n_x = np.split(step.d_a, 4)
    step.d_a_x = np.concatenate([step.d_a_r, step.d_a_z, step.d_a_n_x])
    step.d_a_h = np.concatenate([step.d_a_r, step.d_a_z, step.d_a_n_h])
    (step.h_prev,), (step.h,), (step.d_h,) = step.prev, step.made, step.d_made
    step.h_by_a_r, step.h_by_a_z, step.h_by_a_n_h, step.h_by_a_n_x, step.h_by_h_prev = step.slopes


def steps() -> list[Any]:
    return gru().steps


def column(vector: Any) -> Any:
    return vector[:, None]


def bold(*columns: Any) -> Any:
    """The columns of all steps side by side."""
    return np.concatenate(columns, axis=1)


def halves(t: int) -> tuple[Any, Any]:
    """(T1) at step t."""
    r = gru()
    a_x = r.weight_ih_l0 @ r.x[t].T + column(r.bias_ih_l0)
    return a_x, r.weight_hh_l0 @ r.steps[t].h_prev + column(r.bias_hh_l0)


@PAGE.equation(
    "T1",
    r"a^x = W_{\mathrm{ih}} x + b_{\mathrm{ih}}, a^h = W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}",
)
def two_halves():
    for t, step in enumerate(steps()):
        a_x, a_h = halves(t)
        yield a_x[2 * H :], step.a_n_x
        yield a_h[2 * H :], step.a_n_h
        yield step.gates[2], step.a_n_h  # as section 3 says, the cell leaves it


@PAGE.equation("2.1", r"a_r = a_r^x + a_r^h, a_z = a_z^x + a_z^h")
def sums_of_halves():
    for t, step in enumerate(steps()):
        (r_x, z_x, _), (r_h, z_h, _) = (np.split(half, 3) for half in halves(t))
        yield r_x + r_h, step.a_r
        yield z_x + z_h, step.a_z


@PAGE.equation("1", r"r = \sigma(a_r)")
def reset_gate():
    for step in steps():
        yield sigmoid(step.a_r), step.r


@PAGE.equation("2", r"z = \sigma(a_z)")
def update_gate():
    for step in steps():
        yield sigmoid(step.a_z), step.z


@PAGE.equation("3", r"n = \tanh(a_n^x + r \odot a_n^h)")
def candidate():
    for step in steps():
        yield np.tanh(step.a_n_x + step.r * step.a_n_h), step.n


@PAGE.equation("4", r"h = (1 - z) \odot n + z \odot h_{\mathrm{prev}}")
def hidden_state():
    for t, step in enumerate(steps()):
        h = (1 - step.z) * step.n + step.z * step.h_prev
        yield h, step.h
        yield h, gru().output[t].T


@PAGE.equation("2.2", r"h = n + z \odot (h_{\mathrm{prev}} - n)")
def hidden_state_with_one_product():
    for step in steps():
        yield step.n + step.z * (step.h_prev - step.n), step.h


@PAGE.equation(
    "4.1",
    r"\frac{\partial h}{\partial n} = 1 - z, \frac{\partial h}{\partial z} = h_{\mathrm{prev}} - n, "
    r"\frac{\partial h}{\partial h_{\mathrm{prev}}} = z",
)
def slopes_of_the_mean():
    """What is left of the code's slopes when those of tanh and σ are taken off."""
    for step in steps():
        yield 1 - step.z, step.h_by_a_n_x / (1 - step.n**2)
        yield step.h_prev - step.n, step.h_by_a_z / (step.z * (1 - step.z))
        yield step.z, step.h_by_h_prev


@PAGE.equation("4.2", r"\frac{\partial h}{\partial a_n^x} = (1 - z) \odot (1 - n \odot n)")
def slope_of_h_by_a_n_x():
    for step in steps():
        yield (1 - step.z) * (1 - step.n * step.n), step.h_by_a_n_x


@PAGE.equation("4.3", r"\frac{\partial h}{\partial a_n^h} = \frac{\partial h}{\partial a_n^x} \odot r")
def slope_of_h_by_a_n_h():
    for step in steps():
        yield step.h_by_a_n_x * step.r, step.h_by_a_n_h


@PAGE.equation(
    "4.4",
    r"\frac{\partial h}{\partial a_r} = \frac{\partial h}{\partial a_n^x} \odot a_n^h \odot r \odot (1 - r)",
)
def slope_of_h_by_a_r():
    for step in steps():
        yield step.h_by_a_n_x * step.a_n_h * step.r * (1 - step.r), step.h_by_a_r


@PAGE.equation("4.5", r"\frac{\partial h}{\partial a_z} = (h_{\mathrm{prev}} - n) \odot z \odot (1 - z)")
def slope_of_h_by_a_z():
    for step in steps():
        yield (step.h_prev - step.n) * step.z * (1 - step.z), step.h_by_a_z


@PAGE.equation("4.6", r"\frac{\partial h}{\partial h_{\mathrm{prev}}} = z")
def slope_of_h_by_h_prev():
    for step in steps():
        yield step.z, step.h_by_h_prev


@PAGE.equation(
    "5.1",
    r"d_{a_r} = d_h \odot \frac{\partial h}{\partial a_r}, d_{a_z} = d_h \odot \frac{\partial h}{\partial a_z}, "
    r"d_{a_n^h} = d_h \odot \frac{\partial h}{\partial a_n^h}, d_{a_n^x} = d_h \odot \frac{\partial h}{\partial a_n^x}",
)
def d_of_what_h_is_made_of():
    for step in steps():
        yield step.d_h * step.h_by_a_r, step.d_a_r
        yield step.d_h * step.h_by_a_z, step.d_a_z
        yield step.d_h * step.h_by_a_n_h, step.d_a_n_h
        yield step.d_h * step.h_by_a_n_x, step.d_a_n_x


@PAGE.equation(
    "5.2",
    r"d_{h_{\mathrm{prev}}}^{\mathrm{direct}} = d_h \odot \frac{\partial h}{\partial h_{\mathrm{prev}}} = d_h \odot z",
)
def d_past_all_products():
    for step in steps():
        yield step.d_h * step.h_by_h_prev, step.d_direct
        yield step.d_h * step.z, step.d_direct


@PAGE.equation("5.3", r"d_{a_n^h} = r \odot d_{a_n^x}")
def the_reset_gate_between_the_halves():
    for step in steps():
        yield step.r * step.d_a_n_x, step.d_a_n_h


@PAGE.equation(
    "6.1",
    r"d_{a^x} = \begin{pmatrix} d_{a_r} \\ d_{a_z} \\ d_{a_n^x} \end{pmatrix}, "
    r"d_{a^h} = \begin{pmatrix} d_{a_r} \\ d_{a_z} \\ d_{a_n^h} \end{pmatrix}",
)
def two_gradients_of_a():
    """By complex steps of either half through (2.1) to (4)."""

    def h(a_x: Any, a_h: Any, h_prev: Any) -> Any:
        (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(a_x, 3), np.split(a_h, 3)
        z = sigmoid(z_x + z_h)
        return (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * h_prev

    for t, step in enumerate(steps()):
        a_x, a_h = halves(t)
        page_x = np.concatenate([step.d_a_r, step.d_a_z, step.d_a_n_x])
        page_h = np.concatenate([step.d_a_r, step.d_a_z, step.d_a_n_h])
        yield page_x, complex_step(lambda a_x, a_h=a_h, s=step: s.d_h * h(a_x, a_h, s.h_prev), a_x)
        yield page_h, complex_step(lambda a_h, a_x=a_x, s=step: s.d_h * h(a_x, a_h, s.h_prev), a_h)


@PAGE.equation("6.2", r"d_{h_{\mathrm{prev}}} = W_{\mathrm{hh}}^{\top} d_{a^h} + d_h \odot z")
def d_previous_state():
    r = gru(steps=1)
    (step,) = r.steps
    yield r.weight_hh_l0.T @ step.d_a_h + step.d_h * step.z, r.d_h_0


@PAGE.equation(
    "6.3",
    r"d_{h_t} = d_{\mathrm{output},t} + W_{\mathrm{hh}}^{\top} d_{a_{t+1}^h} + d_{h_{t+1}} \odot z_{t+1}, "
    r"d_{h_T} = d_{\mathrm{output},T} + d_{h_n}",
)
def three_sources_of_d_h():
    r = gru()
    for t, after in enumerate(r.steps[1:]):
        yield r.d_output[t].T + r.weight_hh_l0.T @ after.d_a_h + after.d_h * after.z, r.steps[t].d_h
    yield r.d_output[-1].T + r.d_h_n, r.steps[-1].d_h


@PAGE.equation("6.4", r"d_{h_0} = W_{\mathrm{hh}}^{\top} d_{a_1^h} + d_{h_1} \odot z_1")
def d_initial_state():
    r = gru()
    first = r.steps[0]
    yield r.weight_hh_l0.T @ first.d_a_h + first.d_h * first.z, r.d_h_0


LENGTHS = (5, 3, 3, 1)


@cache
def packed() -> Any:
    """A bidirectional pass over sequences of these lengths: the steps of both directions by t, and d_output of each."""
    rng = np.random.default_rng(9)
    module = nn.GRU(I, H, bidirectional=True, dtype=np.float64, rng=rng)
    x, d_output = (pack_sequence([rng.standard_normal((n, width)) for n in LENGTHS]) for width in (I, 2 * H))
    h_0, d_h_n = rng.standard_normal((2, 2, 4, H))
    r = run(module, x, h_0, d_output, d_h_n)
    for step in r.of[0] + r.of[1]:
        name(step)
    r.by_t = r.of[0], r.of[1][::-1]
    by_t = np.split(d_output.data, np.cumsum(d_output.batch_sizes)[:-1])
    r.d_outputs = [[rows[:, :H].T for rows in by_t], [rows[:, H:].T for rows in by_t]]
    return r


@PAGE.equation(
    "6.5",
    r"d_{h_t}^{k} = d_{\mathrm{output},t}^{k} + \begin{cases} W_{\mathrm{hh}}^{\top} d_{a_{t+1}^h}^{k} + "
    r"d_{h_{t+1}}^{k} \odot z_{t+1}^{k} k \le B_{t+1} \\[2pt] d_{h_n}^{k} \text{otherwise} \end{cases}, d_{h_0}^{k} = "
    r"W_{\mathrm{hh}}^{\top} d_{a_1^h}^{k} + d_{h_1}^{k} \odot z_1^{k}",
)
def packed_forward_direction():
    r = packed()
    steps, W_hh = r.by_t[0], r.weight_hh_l0
    handed_on = [W_hh.T @ step.d_a_h + step.d_h * step.z for step in steps]
    for t, step in enumerate(steps):
        for k in range(step.a.shape[1]):
            goes_on = t + 1 < len(steps) and k < steps[t + 1].a.shape[1]
            after = handed_on[t + 1][:, k] if goes_on else r.d_state[0][k]
            yield r.d_outputs[0][t][:, k] + after, step.d_h[:, k]
    yield handed_on[0], r.d_initial[0].T


@PAGE.equation(
    "6.6",
    r"d_{h_t}^{k} = d_{\mathrm{output},t}^{k} + \begin{cases} W_{\mathrm{hh}}^{\top} d_{a_{t-1}^h}^{k} + "
    r"d_{h_{t-1}}^{k} \odot z_{t-1}^{k} t \gt 1 \\[2pt] d_{h_n}^{k} t = 1 \end{cases}, d_{h_0}^{k} = "
    r"W_{\mathrm{hh}}^{\top} d_{a_{T_k}^h}^{k} + d_{h_{T_k}}^{k} \odot z_{T_k}^{k}",
)
def packed_reverse_direction():
    r = packed()
    steps, W_hh = r.by_t[1], r.weight_hh_l0_reverse
    handed_on = [W_hh.T @ step.d_a_h + step.d_h * step.z for step in steps]
    for t, step in enumerate(steps):
        for k in range(step.a.shape[1]):
            after = handed_on[t - 1][:, k] if t > 0 else r.d_state[1][k]
            yield r.d_outputs[1][t][:, k] + after, step.d_h[:, k]
    for k, T_k in enumerate(LENGTHS):
        yield handed_on[T_k - 1][:, k], r.d_initial[1][k]


@PAGE.equation(
    "7.1",
    r"\mathbf{d_x} = W_{\mathrm{ih}}^{\top} \mathbf{d_{a^x}}, d_{W_{\mathrm{ih}}} = \mathbf{d_{a^x}} "
    r"\mathbf{x}^{\top}, d_{b_{\mathrm{ih}}} = \mathbf{d_{a^x}} \mathbf{1}",
)
def gradients_by_the_inputs_half():
    r = gru()
    d_a_x = bold(*(step.d_a_x for step in r.steps))
    yield r.weight_ih_l0.T @ d_a_x, r.d_x.reshape(-1, I).T
    yield d_a_x @ r.x.reshape(-1, I), r.d_weight_ih_l0
    yield d_a_x @ np.ones(T * B), r.d_bias_ih_l0


@PAGE.equation(
    "7.2",
    r"d_{W_{\mathrm{hh}}} = \mathbf{d_{a^h}} \mathbf{h_{prev}}^{\top}, d_{b_{\mathrm{hh}}} = \mathbf{d_{a^h}} "
    r"\mathbf{1}",
)
def gradients_by_the_states_half():
    r = gru()
    d_a_h = bold(*(step.d_a_h for step in r.steps))
    yield d_a_h @ bold(*(step.h_prev for step in r.steps)).T, r.d_weight_hh_l0
    yield d_a_h @ np.ones(T * B), r.d_bias_hh_l0


@cache
def example() -> Any:
    """That of section 9."""
    module = nn.GRU(1, 1, dtype=np.float64)
    for parameter in module.parameters():
        parameter.data = np.zeros(parameter.shape)
    module.weight_ih_l0.data[2], module.weight_hh_l0.data[2] = 1, 2
    x, ones = np.array([-1, -0.5]).reshape(2, 1, 1), np.ones((2, 1, 1))
    r = run(module, x, np.ones((1, 1, 1)), ones, None)
    for step in r.of[0]:
        name(step)
    r.h_1, r.h_2 = r.output.ravel()
    return r


def numbers(*values: Any) -> Any:
    """As an array, with a 1, so that not all of it is zero."""
    return np.array([1.0, *(np.asarray(value).item() for value in values)])


@PAGE.equation(
    "9.1",
    r"a_{n,1}^h = 2 \cdot 1 = 2, n_1 = \tanh\big({-1} + \tfrac12 \cdot 2\big) = 0, h_1 = \tfrac12 \cdot 0 + \tfrac12 "
    r"\cdot 1 = \tfrac12",
)
def first_step_by_hand():
    first = example().of[0][0]
    code = numbers(first.a_n_h, first.n, example().h_1)
    yield numbers(2 * 1, np.tanh(-1 + 2 / 2), 0 / 2 + 1 / 2), code
    yield numbers(2, 0, 1 / 2), code


@PAGE.equation(
    "9.2",
    r"a_{n,2}^h = 2 \cdot \tfrac12 = 1, n_2 = \tanh\big({-\tfrac12} + \tfrac12 \cdot 1\big) = 0, h_2 = \tfrac12 \cdot "
    r"0 + \tfrac12 \cdot \tfrac12 = \tfrac14",
)
def second_step_by_hand():
    second = example().of[0][1]
    code = numbers(second.a_n_h, second.n, example().h_2)
    yield numbers(2 / 2, np.tanh(-1 / 2 + 1 / 2), 0 / 2 + 1 / 2 * 1 / 2), code
    yield numbers(1, 0, 1 / 4), code


@PAGE.equation(
    "9.3",
    r"d_{h_2} = 1, d_{h_1} = 1 + 2 \cdot \tfrac14 + 1 \cdot \tfrac12 = 2, d_{h_0} = 2 \cdot \tfrac12 + 2 \cdot "
    r"\tfrac12 = 2",
)
def states_backward_by_hand():
    first, second = example().of[0]
    code = numbers(second.d_h, first.d_h, example().d_initial)
    yield numbers(1, 1 + 2 / 4 + 1 / 2, 2 / 2 + 2 / 2), code
    yield numbers(1, 2, 2), code


@PAGE.equation(
    "9.4",
    r"d_{W_{\mathrm{ih}},n} = 1 \cdot (-1) + \tfrac12 \cdot \big({-\tfrac12}\big) = -\tfrac54, d_{b_{\mathrm{ih}},n} = "
    r"1 + \tfrac12 = \tfrac32",
)
def parameters_of_the_inputs_half_by_hand():
    code = numbers(example().d_weight_ih_l0[2], example().d_bias_ih_l0[2])
    yield numbers(1 * -1 + 1 / 2 * -1 / 2, 1 + 1 / 2), code
    yield numbers(-5 / 4, 3 / 2), code


@PAGE.equation(
    "9.5",
    r"d_{W_{\mathrm{hh}},n} = \tfrac12 \cdot 1 + \tfrac14 \cdot \tfrac12 = \tfrac58, d_{b_{\mathrm{hh}},n} = \tfrac12 "
    r"+ \tfrac14 = \tfrac34",
)
def parameters_of_the_states_half_by_hand():
    code = numbers(example().d_weight_hh_l0[2], example().d_bias_hh_l0[2])
    yield numbers(1 / 2 + 1 / 4 * 1 / 2, 1 / 2 + 1 / 4), code
    yield numbers(5 / 8, 3 / 4), code


@PAGE.equation(
    "9.6",
    r"\mathcal{L} = h_1 + h_2, h_t = \tfrac12 \tanh\big(w x_t + \tfrac12 u h_{t-1}\big) + \tfrac12 h_{t-1}",
)
def loss_written_out():
    def loss(w, u):
        h, total = 1, 0
        for x_t in (-1, -1 / 2):
            h = 1 / 2 * np.tanh(w * x_t + 1 / 2 * u * h) + 1 / 2 * h
            total = total + h
        return total

    yield loss(1, 2), example().h_1 + example().h_2
    yield complex_step(lambda w: loss(w, 2), np.array(1.0)), example().d_weight_ih_l0[2].reshape(())
    yield complex_step(lambda u: loss(1, u), np.array(2.0)), example().d_weight_hh_l0[2].reshape(())


@PAGE.equation("12.1", r"\text{forward: } 6NH(I + H), \text{backward: } 12NH(I + H)")
def operations():
    """Forward, an entry of a matrix is multiplied and added once for each column; backward, in two products."""
    r, N = gru(), T * B
    entries = r.weight_ih_l0.size + r.weight_hh_l0.size
    yield 6 * N * H * (I + H), 2 * N * entries
    yield 12 * N * H * (I + H), 2 * 2 * N * entries


def tangents(step: Any) -> Any:
    """Changes of a and h_prev, and what the cell makes of them."""
    rng = np.random.default_rng(12)
    a_dot, h_prev_dot = rng.standard_normal((4, H, B)), rng.standard_normal((H, B))
    (h_dot,) = nn.GRU(I, H).cell.step_tangent(a_dot, (h_prev_dot,), step.slopes)
    return a_dot, h_prev_dot, h_dot


@PAGE.equation(
    "15.1",
    r"\dot h = \frac{\partial h}{\partial a_z} \odot \dot a_z + \frac{\partial h}{\partial h_{\mathrm{prev}}} \odot "
    r"\dot h_{\mathrm{prev}} + \frac{\partial h}{\partial a_r} \odot \dot a_r + \frac{\partial h}{\partial a_n^h} "
    r"\odot \dot a_n^h + \frac{\partial h}{\partial a_n^x} \odot \dot a_n^x",
)
def tangent_of_h():
    for step in steps():
        (a_r_dot, a_z_dot, a_n_h_dot, a_n_x_dot), h_prev_dot, h_dot = tangents(step)
        through_n = step.h_by_a_r * a_r_dot + step.h_by_a_n_h * a_n_h_dot + step.h_by_a_n_x * a_n_x_dot
        yield step.h_by_a_z * a_z_dot + step.h_by_h_prev * h_prev_dot + through_n, h_dot


@PAGE.equation(
    "15.2",
    r"\langle d_h, \dot h \rangle = \langle d_a, \dot a \rangle + \langle d_h \odot z, \dot h_{\mathrm{prev}} \rangle",
)
def transpose():
    before, after = [], []
    for step in steps():
        a_dot, h_prev_dot, h_dot = tangents(step)
        before.append((step.d_a * a_dot.reshape(4 * H, B)).sum() + (step.d_h * step.z * h_prev_dot).sum())
        after.append((step.d_h * h_dot).sum())
    yield after, before


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_table_of_slopes_by_hand() -> None:
    rows = PAGE.tables()["$t$"]
    assert len(rows) == 2
    for step, (_, *printed) in zip(example().of[0], rows, strict=True):
        slopes = (step.h_by_a_r, step.h_by_a_z, step.h_by_a_n_h, step.h_by_a_n_x, step.h_by_h_prev)
        assert [float(text) for text in printed] == [slope.item() for slope in slopes]


def test_table_of_the_tape() -> None:
    """The floats of a column, and the example's sum."""
    rows = {name: (floats.strip("$"), columns) for name, floats, columns, _ in PAGE.tables()["array"]}
    of_a_letter = {"I": 65, "H": 512, "3H": 3 * 512, "4H": 4 * 512}
    (T, B), module = (100, 64), nn.GRU(65, 512)
    tape = Tape(module.cell, Weights(*(parameter.data for parameter in module.parameters())), (B,) * T)
    runs = {id(run): run for _, places in tape.sections for run, *_ in places}.values()
    columns = max(part.stop - part.start for part, _ in tape.sections)
    found = {
        "`x`": (65, "all"),
        "`a`": (sum(run.a.size for run in runs) / (T * B), "all"),
        "`before`, `after`": (sum(run.before[0].size for run in runs) / (T * B), "all"),
        "`a_columns`": (tape.a_columns.size / columns, "of a section"),
        "`recurrent_columns`": (tape.recurrent_columns.size / columns, "of a section"),
        "`h_prev_columns`": (tape.h_prev_columns.size / columns, "of a section"),
    }
    assert {name: (of_a_letter[floats], columns) for name, (floats, columns) in rows.items()} == found
    assert tape.m_columns.size == tape.d_h_columns.size == 0 and columns == 1600
    assert tape.recurrent_columns is not tape.a_columns
    assert tape.slopes == 5 and sum(d_a.size for d_a in tape.d_a) == 8 * 512 * tape.largest_chunk
    total = sum(floats * (T * B if where == "all" else columns) for floats, where in found.values())
    assert f"\\approx {total / 1e6:.1f}$ million floats, {total * 4 / 1e6:.0f} MB" in PAGE.path.read_text().replace(
        "\n", " "
    )
