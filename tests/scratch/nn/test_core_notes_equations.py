"""Every numbered equation of core_notes_rnn.md, in NumPy as it stands there, gives the numbers of the code."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn.utils.rnn import PackedSequence, pack_sequence
from tests.scratch.nn.equations import Page, run

PAGE = Page(Path(nn.__file__).parent / "core_notes_rnn.md")
T, B, I, H = 5, 3, 4, 6  # noqa: E741

PHI = {"tanh": np.tanh, "relu": lambda a: np.where(a.real > 0, a, 0)}
SLOPE = {"tanh": lambda a: 1 - np.tanh(a) ** 2, "relu": lambda a: np.where(a > 0, 1, 0)}


@cache
def rnn(nonlinearity: str = "tanh", steps: int = T, **options: Any) -> Any:
    """A random pass; the layers' and directions' initial and final states differ, and so do the two biases."""
    rng = np.random.default_rng(7)
    module = nn.RNN(I, H, nonlinearity=nonlinearity, dtype=np.float64, rng=rng, **options)
    layers, directions = module.num_layers, 1 + module.bidirectional
    x, d_output = rng.standard_normal((steps, B, I)), rng.standard_normal((steps, B, H * directions))
    h_0, d_h_n = rng.standard_normal((2, layers * directions, B, H))
    result = run(module, x, h_0, d_output, d_h_n)
    result.masks, result.phi, result.slope = module.dropout_masks, PHI[nonlinearity], SLOPE[nonlinearity]
    return result


def both() -> list[Any]:
    return [rnn("tanh"), rnn("relu")]


def column(vector: Any) -> Any:
    return vector[:, None]


@PAGE.equation("T1", r"a = W_{\mathrm{ih}} x + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}")
def pre_activation():
    for r in both():
        for t, step in enumerate(r.of[0]):
            a = r.weight_ih_l0 @ r.x[t].T + column(r.bias_ih_l0) + r.weight_hh_l0 @ step.prev[0] + column(r.bias_hh_l0)
            yield a, step.a


@PAGE.equation("1", r"h = \varphi(a)")
def step():
    for r in both():
        for step in r.of[0]:
            yield r.phi(step.a), step.made[0]


@PAGE.equation("4.1", r"d_a = d_h \odot \varphi'(a)")
def d_pre_activation():
    for r in both():
        for step in r.of[0]:
            yield step.d_made[0] * r.slope(step.a), step.d_a


@PAGE.equation("4.2", r"\tanh'(a) = 1 - \tanh^2(a) = 1 - h \odot h")
def slope_of_tanh():
    for step in rnn("tanh").of[0]:
        yield 1 - np.tanh(step.a) ** 2, step.slopes[0]
        yield 1 - step.made[0] * step.made[0], step.slopes[0]


@PAGE.equation("4.3", r"\mathrm{relu}'(a) = [h \gt 0]")
def slope_of_relu():
    for step in rnn("relu").of[0]:
        yield np.where(step.made[0] > 0, 1, 0), step.slopes[0]


@PAGE.equation("6.2", r"\sum_{n=1}^{N} d_{a,n} x_n^{\top} = \mathbf{d_a} \mathbf{x}^{\top}")
def sum_of_outer_products():
    r = rnn()
    d_a, x = np.concatenate([step.d_a for step in r.of[0]], axis=1), r.x.reshape(-1, I).T  # G·H, N and I, N
    yield sum(np.outer(d_a[:, n], x[:, n]) for n in range(T * B)), r.d_weight_ih_l0
    yield d_a @ x.T, r.d_weight_ih_l0


@PAGE.equation(
    "6.3",
    r"\mathbf{d_x} = W_{\mathrm{ih}}^{\top} \mathbf{d_a}, d_{W_{\mathrm{ih}}} = \mathbf{d_a} \mathbf{x}^{\top}, "
    r"d_{W_{\mathrm{hh}}} = \mathbf{d_a} \mathbf{h_{prev}}^{\top}, d_b = \mathbf{d_a} \mathbf{1}",
)
def products_of_all_columns():
    for r in both():
        d_a = np.concatenate([step.d_a for step in r.of[0]], axis=1)
        h_prev = np.concatenate([step.prev[0] for step in r.of[0]], axis=1)
        yield r.weight_ih_l0.T @ d_a, r.d_x.reshape(-1, I).T
        yield d_a @ r.x.reshape(-1, I), r.d_weight_ih_l0
        yield d_a @ h_prev.T, r.d_weight_hh_l0
        yield d_a @ np.ones(T * B), r.d_bias_ih_l0


@PAGE.equation("8.1", r"x_t^{(l+1)} = \mathrm{output}_t^{(l)}, d_{\mathrm{output},t}^{(l)} = d_{x,t}^{(l+1)}")
def layers():
    r = rnn(num_layers=2)
    below, above = r.of
    for t in range(T):
        x = below[t].made[0]
        a = r.weight_ih_l1 @ x + column(r.bias_ih_l1) + r.weight_hh_l1 @ above[t].prev[0] + column(r.bias_hh_l1)
        yield a, above[t].a
        d_output = r.weight_ih_l1.T @ above[t].d_a
        after = r.weight_hh_l0.T @ below[t + 1].d_a if t < T - 1 else r.d_state[0].T
        yield d_output + after, below[t].d_made[0]


def reverse() -> tuple[Any, list[Any]]:
    """A bidirectional pass, and the steps of its reverse direction by t."""
    r = rnn(bidirectional=True)
    return r, r.of[1][::-1]


@PAGE.equation(
    "8.2",
    r"a_t = W_{\mathrm{ih}} x_t + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{t+1} + b_{\mathrm{hh}}, h_{T+1} = h_0",
)
def reverse_forward():
    r, steps = reverse()
    h = [*(step.made[0] for step in steps), r.state[1].T]
    W_ih, W_hh = r.weight_ih_l0_reverse, r.weight_hh_l0_reverse
    for t in range(T):
        a = W_ih @ r.x[t].T + column(r.bias_ih_l0_reverse) + W_hh @ h[t + 1] + column(r.bias_hh_l0_reverse)
        yield a, steps[t].a
    yield h[0], r.final[1].T


@PAGE.equation(
    "8.3",
    r"d_{h_t} = d_{\mathrm{output},t} + W_{\mathrm{hh}}^{\top} d_{a_{t-1}} (t \gt 1), d_{h_1} = "
    r"d_{\mathrm{output},1} + d_{h_n}",
)
def reverse_two_sources():
    r, steps = reverse()
    for t in range(1, T):
        yield r.d_output[t, :, H:].T + r.weight_hh_l0_reverse.T @ steps[t - 1].d_a, steps[t].d_made[0]
    yield r.d_output[0, :, H:].T + r.d_state[1].T, steps[0].d_made[0]


@PAGE.equation("8.4", r"d_{h_0} = W_{\mathrm{hh}}^{\top} d_{a_T}")
def reverse_d_initial_state():
    r, steps = reverse()
    yield r.weight_hh_l0_reverse.T @ steps[-1].d_a, r.d_initial[1].T


@PAGE.equation(
    "8.5",
    r"\mathrm{output}_t = \begin{pmatrix} \overrightarrow{h_t} \\ \overleftarrow{h_t} \end{pmatrix}, d_{x_t} = "
    r"\overrightarrow{W}_{\mathrm{ih}}^{\top} \overrightarrow{d_{a_t}} + \overleftarrow{W}_{\mathrm{ih}}^{\top} "
    r"\overleftarrow{d_{a_t}}",
)
def directions():
    r, steps = reverse()
    for t in range(T):
        yield np.concatenate([r.of[0][t].made[0], steps[t].made[0]]), r.output[t].T
        yield r.weight_ih_l0.T @ r.of[0][t].d_a + r.weight_ih_l0_reverse.T @ steps[t].d_a, r.d_x[t].T


@PAGE.equation("8.6", r"x^{(l+1)} = m \odot \mathrm{output}^{(l)}, d_{\mathrm{output}}^{(l)} = m \odot d_x^{(l+1)}")
def dropout():
    r = rnn(num_layers=2, dropout=0.4)
    below, above = r.of
    (masks,) = r.masks
    assert len(np.unique(masks)) == 2
    for t in range(T):
        m = masks[t].T
        x = m * below[t].made[0]
        a = r.weight_ih_l1 @ x + column(r.bias_ih_l1) + r.weight_hh_l1 @ above[t].prev[0] + column(r.bias_hh_l1)
        yield a, above[t].a
        d_output = m * (r.weight_ih_l1.T @ above[t].d_a)
        after = r.weight_hh_l0.T @ below[t + 1].d_a if t < T - 1 else r.d_state[0].T
        yield d_output + after, below[t].d_made[0]


LENGTHS = (5, 3, 3, 1)


@cache
def packed() -> Any:
    """A bidirectional pass over sequences of these lengths, with the rows of each step in `output` and its gradient."""
    rng = np.random.default_rng(9)
    module = nn.RNN(I, H, bidirectional=True, dtype=np.float64, rng=rng)
    x, d_output = (pack_sequence([rng.standard_normal((n, width)) for n in LENGTHS]) for width in (I, 2 * H))
    r = run(module, x, rng.standard_normal((2, 4, H)), d_output, rng.standard_normal((2, 4, H)))
    assert isinstance(r.output, PackedSequence)
    r.rows = np.split(d_output.data, np.cumsum(x.batch_sizes)[:-1])  # for each t: B_t, 2H
    return r


@PAGE.equation("9.1", r"N = B_1 + \dots + B_T")
def columns():
    r = packed()
    widths = [step.a.shape[1] for step in r.of[0]]
    assert widths == r.x.batch_sizes.tolist()
    yield sum(widths), len(r.output.data)


@PAGE.equation(
    "9.2",
    r"d_{h_t}^{k} = d_{\mathrm{output},t}^{k} + \begin{cases} W_{\mathrm{hh}}^{\top} d_{a_{t+1}}^{k} k \le B_{t+1} "
    r"\\[2pt] d_{h_n}^{k} \text{otherwise} \end{cases}, d_{h_0}^{k} = W_{\mathrm{hh}}^{\top} d_{a_1}^{k}",
)
def packed_forward_direction():
    r = packed()
    steps = r.of[0]
    for t, step in enumerate(steps):
        for k in range(step.a.shape[1]):
            goes_on = t + 1 < len(steps) and k < steps[t + 1].a.shape[1]
            after = r.weight_hh_l0.T @ steps[t + 1].d_a[:, k] if goes_on else r.d_state[0, k]
            yield r.rows[t][k, :H] + after, step.d_made[0][:, k]
    for k in range(4):
        yield r.weight_hh_l0.T @ steps[0].d_a[:, k], r.d_initial[0, k]


@PAGE.equation(
    "9.3",
    r"d_{h_t}^{k} = d_{\mathrm{output},t}^{k} + \begin{cases} W_{\mathrm{hh}}^{\top} d_{a_{t-1}}^{k} t \gt 1 "
    r"\\[2pt] d_{h_n}^{k} t = 1 \end{cases}, d_{h_0}^{k} = W_{\mathrm{hh}}^{\top} d_{a_{T_k}}^{k}",
)
def packed_reverse_direction():
    r = packed()
    steps = r.of[1][::-1]
    for t, step in enumerate(steps):
        for k in range(step.a.shape[1]):
            after = r.weight_hh_l0_reverse.T @ steps[t - 1].d_a[:, k] if t > 0 else r.d_state[1, k]
            yield r.rows[t][k, H:] + after, step.d_made[0][:, k]
    for k, T_k in enumerate(LENGTHS):
        yield r.weight_hh_l0_reverse.T @ steps[T_k - 1].d_a[:, k], r.d_initial[1, k]


@PAGE.equation("12.1", r"\text{forward: } 2GNH(I + H), \text{backward: } 4GNH(I + H)")
def operations():
    """Forward, an entry of a matrix is multiplied and added once for each column; backward, in two products."""
    for module in nn.RNN(I, H), nn.LSTM(I, H):
        G, N = len(module.cell.gates), T * B
        entries = module.weight_ih_l0.data.size + module.weight_hh_l0.data.size
        yield 2 * G * N * H * (I + H), 2 * N * entries
        yield 4 * G * N * H * (I + H), 2 * 2 * N * entries


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}
