"""Every numbered equation of rnn.md, in NumPy as it stands there, gives the numbers of the code."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn.utils import clip_grad_norm_
from scratch.nn.utils.rnn import PackedSequence, pack_sequence
from tests.scratch.nn.equations import Page, assert_printed, complex_step, run

PAGE = Page(Path(nn.__file__).parent / "rnn.md")
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


@PAGE.equation("1.1", r"d_y = \frac{\partial \mathcal{L}}{\partial y}")
def gradient():
    for r in both():

        def loss(x=r.x, h_0=r.state, W_ih=r.weight_ih_l0, W_hh=r.weight_hh_l0, b=r.bias_ih_l0, r=r):
            h, total = h_0[0].T, 0
            for t in range(T):
                h = r.phi(W_ih @ x[t].T + column(b) + W_hh @ h + column(r.bias_hh_l0))
                total = total + (r.d_output[t].T * h).sum()
            return total + (r.d_state[0].T * h).sum()

        yield complex_step(lambda x: loss(x=x), r.x), r.d_x
        yield complex_step(lambda h_0: loss(h_0=h_0), r.state), r.d_initial
        yield complex_step(lambda W: loss(W_ih=W), r.weight_ih_l0), r.d_weight_ih_l0
        yield complex_step(lambda W: loss(W_hh=W), r.weight_hh_l0), r.d_weight_hh_l0
        yield complex_step(lambda b: loss(b=b), r.bias_ih_l0), r.d_bias_ih_l0


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


@PAGE.equation("3.1", r"d_z = d_y \odot \varphi'(z)")
def rule_a():
    for r in both():
        for step in r.of[0]:
            yield step.d_made[0] * (r.phi(step.a + 1e-100j).imag / 1e-100), step.d_a


def product() -> Any:
    """M, z, y = M z as the linear layer computes them, and an upstream gradient."""
    rng = np.random.default_rng(8)
    linear = nn.Linear(I, H, bias=False, dtype=np.float64, rng=rng)
    z, d_y = rng.standard_normal((I, B)), rng.standard_normal((H, B))
    linear(z.T)
    d_z = linear.backward(d_y.T).T
    return linear, z, d_y, d_z, rng


@PAGE.equation(
    "3.2",
    r"\delta \mathcal{L} = \mathrm{tr}(d_y^{\top} \delta M z) + \mathrm{tr}(d_y^{\top} M \delta z) = "
    r"\mathrm{tr}\big((d_y z^{\top})^{\top} \delta M\big) + \mathrm{tr}\big((M^{\top} d_y)^{\top} \delta z\big)",
)
def change_of_the_loss():
    linear, z, d_y, _, rng = product()
    M = linear.weight.data
    delta_M, delta_z = rng.standard_normal(M.shape), rng.standard_normal(z.shape)
    moved = nn.Linear(I, H, bias=False, dtype=np.complex128)
    moved.weight.data = M + 1e-100j * delta_M
    delta_loss = (d_y.T * moved((z + 1e-100j * delta_z).T)).sum().imag / 1e-100
    yield np.trace(d_y.T @ delta_M @ z) + np.trace(d_y.T @ M @ delta_z), delta_loss
    yield np.trace((d_y @ z.T).T @ delta_M) + np.trace((M.T @ d_y).T @ delta_z), delta_loss


@PAGE.equation("3.3", r"d_M = d_y z^{\top}, d_z = M^{\top} d_y")
def rule_b():
    linear, z, d_y, d_z, _ = product()
    yield d_y @ z.T, linear.weight.grad
    yield linear.weight.data.T @ d_y, d_z


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


@PAGE.equation("4.4", r"d_x = W_{\mathrm{ih}}^{\top} d_a, d_{h_{\mathrm{prev}}} = W_{\mathrm{hh}}^{\top} d_a")
def d_of_what_a_step_reads():
    for r in both():
        for t, step in enumerate(r.of[0]):
            yield r.weight_ih_l0.T @ step.d_a, r.d_x[t].T
    r = rnn(steps=1)
    yield r.weight_hh_l0.T @ r.of[0][0].d_a, r.d_initial[0].T


@PAGE.equation("4.5", r"d_{W_{\mathrm{ih}}} = d_a x^{\top}, d_{W_{\mathrm{hh}}} = d_a h_{\mathrm{prev}}^{\top}")
def d_weights_of_one_step():
    r = rnn(steps=1)
    yield r.of[0][0].d_a @ r.x[0], r.d_weight_ih_l0
    yield r.of[0][0].d_a @ r.of[0][0].prev[0].T, r.d_weight_hh_l0


@PAGE.equation("4.6", r"d_{b_{\mathrm{ih}}} = d_{b_{\mathrm{hh}}} = \text{the sum of the columns of } d_a")
def d_biases_of_one_step():
    r = rnn(steps=1)
    yield r.of[0][0].d_a.sum(axis=1), r.d_bias_ih_l0
    yield r.of[0][0].d_a.sum(axis=1), r.d_bias_hh_l0


@PAGE.equation(
    "5.1",
    r"d_{h_t} = d_{\mathrm{output},t} + W_{\mathrm{hh}}^{\top} d_{a_{t+1}} (t \lt T), d_{h_T} = "
    r"d_{\mathrm{output},T} + d_{h_n}",
)
def two_sources():
    for r in both():
        for t in range(T - 1):
            yield r.d_output[t].T + r.weight_hh_l0.T @ r.of[0][t + 1].d_a, r.of[0][t].d_made[0]
        yield r.d_output[-1].T + r.d_state[0].T, r.of[0][-1].d_made[0]


@PAGE.equation("5.2", r"d_{h_0} = W_{\mathrm{hh}}^{\top} d_{a_1}")
def d_initial_state():
    for r in both():
        yield r.weight_hh_l0.T @ r.of[0][0].d_a, r.d_initial[0].T


@PAGE.equation(
    "6.1",
    r"d_{W_{\mathrm{ih}}} = \sum_{t=1}^{T} d_{a_t} x_t^{\top}, d_{W_{\mathrm{hh}}} = \sum_{t=1}^{T} d_{a_t} "
    r"h_{t-1}^{\top}, d_{b_{\mathrm{ih}}} = d_{b_{\mathrm{hh}}} = \sum_{t=1}^{T} \text{columns of } d_{a_t}",
)
def sums_over_time():
    for r in both():
        h = [r.state[0].T, *(step.made[0] for step in r.of[0])]
        yield sum(r.of[0][t].d_a @ r.x[t] for t in range(T)), r.d_weight_ih_l0
        yield sum(r.of[0][t].d_a @ h[t].T for t in range(T)), r.d_weight_hh_l0
        d_b = sum(step.d_a.sum(axis=1) for step in r.of[0])
        yield d_b, r.d_bias_ih_l0
        yield d_b, r.d_bias_hh_l0


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


def by_hand() -> Any:
    module = nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=np.float64)
    module.weight_ih_l0.data, module.weight_hh_l0.data = np.array([[1.0]]), np.array([[2.0]])
    return run(module, np.ones((2, 1, 1)), None, np.ones((2, 1, 1)), None)


@PAGE.equation("7.1", r"h_1 = 1 \cdot 1 + 2 \cdot 0 = 1, h_2 = 1 \cdot 1 + 2 \cdot 1 = 3")
def example_forward():
    yield [1 * 1 + 2 * 0, 1 * 1 + 2 * 1], by_hand().output.ravel()
    yield [1, 3], by_hand().output.ravel()


@PAGE.equation("7.2", r"d_{h_2} = 1, d_{h_1} = 1 + 2 \cdot d_{a_2} = 3, d_{h_0} = 2 \cdot d_{a_1} = 6")
def example_d_h():
    r = by_hand()
    (d_a_1,), (d_a_2,) = (step.d_a[0] for step in r.of[0])
    (d_h_1,), (d_h_2,) = (step.d_made[0][0] for step in r.of[0])
    yield [1, 1 + 2 * d_a_2, 2 * d_a_1], [d_h_2, d_h_1, r.d_initial.item()]
    yield [1, 3, 6], [d_h_2, d_h_1, r.d_initial.item()]


@PAGE.equation("7.3", r"d_{x_2} = 1 \cdot d_{a_2} = 1, d_{x_1} = 1 \cdot d_{a_1} = 3")
def example_d_x():
    r = by_hand()
    yield [1 * step.d_a[0, 0] for step in r.of[0]], r.d_x.ravel()
    yield [3, 1], r.d_x.ravel()


@PAGE.equation(
    "7.4",
    r"d_{W_{\mathrm{ih}}} = d_{a_1} x_1 + d_{a_2} x_2 = 4, d_{W_{\mathrm{hh}}} = d_{a_1} h_0 + d_{a_2} h_1 = 1",
)
def example_d_weights():
    r = by_hand()
    d_a_1, d_a_2 = (step.d_a[0, 0] for step in r.of[0])
    d_weights = [r.d_weight_ih_l0.item(), r.d_weight_hh_l0.item()]
    yield [d_a_1 * 1 + d_a_2 * 1, d_a_1 * 0 + d_a_2 * 1], d_weights
    yield [4, 1], d_weights


@PAGE.equation(
    "7.5",
    r"\mathcal{L} = W_{\mathrm{ih}} x_1 + (W_{\mathrm{ih}} x_2 + W_{\mathrm{hh}} W_{\mathrm{ih}} x_1)",
)
def example_loss():
    yield 1 * 1 + (1 * 1 + 2 * 1 * 1), by_hand().output.sum()


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


@cache
def jacobian(nonlinearity: str, steps: int) -> Any:
    """A pass over equal sequences, of which each asks for the gradient of one unit: d_initial is ∂h_T / ∂h_0."""
    rng = np.random.default_rng(10)
    module = nn.RNN(I, H, nonlinearity=nonlinearity, dtype=np.float64, rng=rng)
    x, h_0 = rng.standard_normal((T, 1, I)), rng.standard_normal((1, 1, H))
    r = run(module, np.repeat(x[:steps], H, axis=1), np.repeat(h_0, H, axis=1), None, np.eye(H)[None])
    r.J = [np.diag(SLOPE[nonlinearity](step.a[:, 0])) @ r.weight_hh_l0 for step in r.of[0]]
    return r


@PAGE.equation(
    "10.1",
    r"J_t = \frac{\partial h_t}{\partial h_{t-1}} = \mathrm{diag}\big(\varphi'(a_t)\big) W_{\mathrm{hh}}, "
    r"\text{and} \frac{\partial h_T}{\partial h_t} = J_T J_{T-1} \cdots J_{t+1} = \prod_{s=t+1}^{T} "
    r"\mathrm{diag}\big(\varphi'(a_s)\big) W_{\mathrm{hh}}",
)
def jacobians():
    for nonlinearity in PHI:
        r = jacobian(nonlinearity, 1)
        yield r.J[0], r.d_initial[0]
        r = jacobian(nonlinearity, T)
        yield np.linalg.multi_dot(r.J[::-1]), r.d_initial[0]


@PAGE.equation(
    "10.2",
    r"d_{h_t} = \sum_{s=t}^{T} \big(J_s \cdots J_{t+1}\big)^{\top} d_{\mathrm{output},s} + \big(J_T \cdots "
    r"J_{t+1}\big)^{\top} d_{h_n}",
)
def sum_over_later_outputs():
    for r in both():
        for b in range(B):
            J = [np.diag(r.slope(step.a[:, b])) @ r.weight_hh_l0 for step in r.of[0]]
            for t in range(T):
                d_h, between = np.zeros(H), np.eye(H)
                for s in range(t, T):
                    between = J[s] @ between if s > t else between  # J_s … J_{t+1}
                    d_h = d_h + between.T @ r.d_output[s, b]
                yield d_h + between.T @ r.d_state[0, b], r.of[0][t].d_made[0][:, b]


@PAGE.equation(
    "10.3",
    r"\lVert J_t \rVert \le \gamma s_1 \Longrightarrow \Big\lVert \frac{\partial h_T}{\partial h_t} \Big\rVert \le "
    r"(\gamma s_1)^{T-t}",
)
def bound():
    for nonlinearity in PHI:
        for steps in range(1, T + 1):
            r = jacobian(nonlinearity, steps)
            s_1, norm = np.linalg.norm(r.weight_hh_l0, 2), np.linalg.norm(r.d_initial[0], 2)
            yield min(s_1**steps, norm), norm


def two_units(k: int) -> Any:
    """∂h_k / ∂h_0 of the page's two relu units that stay on."""
    module = nn.RNN(1, 2, nonlinearity="relu", bias=False, dtype=np.float64)
    module.weight_ih_l0.data, module.weight_hh_l0.data = np.zeros((2, 1)), np.array([[0.5, 2.0], [0.0, 0.5]])
    module(np.zeros((k, 2, 1)), np.ones((1, 2, 2)))
    return module.backward(None, np.eye(2)[None])[1][0]


@PAGE.equation("10.4", r"\lim_{k \to \infty} \lVert J^k \rVert^{1/k} = \rho(J) \le s_1(J)")
def spectral_radius():
    k = 1000
    yield 0.5, np.linalg.norm(two_units(k), 2) ** (1 / k), 0.01  # the norm is about 4k · 0.5^k, and 4000^(1/k) is 1.008
    yield min(0.5, np.linalg.norm(two_units(1), 2)), 0.5


@PAGE.equation(
    "10.5",
    r"W_{\mathrm{hh}} = \begin{pmatrix} 0.5 2 \\ 0 0.5 \end{pmatrix}, W_{\mathrm{hh}}^{k} = 0.5^k \begin{pmatrix} "
    r"1 4k \\ 0 1 \end{pmatrix}",
)
def powers():
    for k in 1, 2, 7:
        yield 0.5**k * np.array([[1, 4 * k], [0, 1]]), two_units(k)


@PAGE.equation("10.6", r"d \cdot \min\Big(1, \frac{\theta}{n + 10^{-6}}\Big)")
def clipping():
    rng = np.random.default_rng(11)
    for theta in 0.1, 100:
        linear = nn.Linear(I, H, dtype=np.float64)
        d_W, d_b = rng.standard_normal((H, I)), rng.standard_normal(H)
        linear.weight.grad, linear.bias.grad = d_W, d_b
        n = np.sqrt((d_W**2).sum() + (d_b**2).sum())
        yield n, clip_grad_norm_(linear.parameters(), theta)
        yield d_W * min(1, theta / (n + 1e-6)), linear.weight.grad
        yield d_b * min(1, theta / (n + 1e-6)), linear.bias.grad


@PAGE.equation("12.1", r"\text{forward: } 2GNH(I + H), \text{backward: } 4GNH(I + H)")
def operations():
    """Forward, an entry of a matrix is multiplied and added once for each column; backward, in two products."""
    for module in nn.RNN(I, H), nn.LSTM(I, H):
        G, N = len(module.cell.gates), T * B
        entries = module.weight_ih_l0.data.size + module.weight_hh_l0.data.size
        yield 2 * G * N * H * (I + H), 2 * N * entries
        yield 4 * G * N * H * (I + H), 2 * 2 * N * entries


def tangents(r: Any, step: Any) -> tuple[Any, Any, Any]:
    """Changes of a, and what the cell makes of them, for each of B columns."""
    a_dot = np.random.default_rng(12).standard_normal((1, H, B))
    cell = nn.RNN(I, H, nonlinearity="tanh" if r.phi is np.tanh else "relu").cell
    (h_dot,) = cell.step_tangent(a_dot, (np.zeros((H, B)),), step.slopes)
    return a_dot[0], h_dot, r.slope(step.a)


@PAGE.equation("14.1", r"\dot h = \varphi'(a) \odot \dot a")
def tangent():
    for r in both():
        for step in r.of[0]:
            a_dot, h_dot, slope = tangents(r, step)
            yield slope * a_dot, h_dot


@PAGE.equation(
    "14.2",
    r"\langle d_h, \dot h \rangle = \langle d_a, \dot a \rangle + \langle d_{h_{\mathrm{prev}}}^{\mathrm{direct}}, "
    r"\dot h_{\mathrm{prev}} \rangle",
)
def transpose():
    for r in both():
        before, after = [], []
        for step in r.of[0]:
            a_dot, h_dot, _ = tangents(r, step)
            before.append((step.d_a * a_dot).sum())
            after.append((step.d_made[0] * h_dot).sum())
        yield after, before


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_table_of_saturation() -> None:
    """Each printed digit, from the module."""
    module = nn.RNN(1, 1, bias=False, dtype=np.float64)
    module.weight_hh_l0.data = np.array([[2.0]])
    rows = PAGE.tables()["$t$"]
    assert len(rows) == 7
    for t, *printed in rows:
        output, _ = module(np.zeros((int(t), 1)), np.array([[0.01]]))
        _, d_h_0 = module.backward(None, np.ones((1, 1)))
        assert_printed(printed, output[-1, 0], 2 * (1 - output[-1, 0] ** 2), d_h_0.item())
