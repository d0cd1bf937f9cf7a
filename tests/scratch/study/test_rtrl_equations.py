"""Every numbered equation of rtrl.md, in NumPy as it stands there, gives the numbers of the code."""

import re
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch import nn, study
from scratch.nn.cell import Weights
from scratch.study import rtrl
from scratch.study.rtrl import own, walk
from scratch.study.trace import trace
from scratch.types import Array
from tests.scratch.study.test_rtrl import CELL_OF, H, after_step, linearized, random_step
from tests.scratch.textbook.equations import Page, complex_step, named

PAGE = Page(Path(study.__file__).parent / "rtrl.md")
T, I, P = 4, 3, 2  # noqa: E741


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def elman(a: Array, state_prev: Any) -> Any:
    """(1) of the textbook's rnn.md."""
    return (np.tanh(a),)


def lstm(a: Array, state_prev: Any) -> Any:
    """(1) to (6) of the textbook's lstm.md."""
    a_i, a_f, a_g, a_o = np.split(a, 4)
    c = sigmoid(a_f) * state_prev[1] + sigmoid(a_i) * np.tanh(a_g)
    return sigmoid(a_o) * np.tanh(c), c


def forward(module: Any, x: Array, weights: Any, state: Any) -> list[Any]:
    """The states of a sequence, the initial one first, that a module of complex numbers has with these weights."""
    module.load_state_dict(dict(zip(module.state_dict(), weights, strict=False)))
    found = trace(module, x.astype(complex), module._join(tuple(part.T.astype(complex) for part in state)))
    before = [tuple(part[:, 0] for part in step.state_prev) for step in found.steps[0]]
    return [*before, tuple(part[0] for part in module._split("state", found.state))]


@cache
def walked(name: str) -> Any:
    """A random walk over a sequence, with everything that has a name in `walk` at each step; all K columns."""
    rng = np.random.default_rng(5)
    kind, options = (nn.RNN, {}) if name == "RNN" else (nn.LSTM, {"proj_size": P})
    module, in_complex = (kind(I, H, dtype=dtype, **options) for dtype in (np.float64, np.complex128))
    weights = Weights(*(rng.standard_normal(parameter.shape) / 2 for parameter in module.parameters()))
    state = tuple(rng.standard_normal((size, 1)) for size in ((H,) if name == "RNN" else (P, H)))
    x = rng.standard_normal((T, I))
    x_dot = np.eye(x.size).reshape(*x.shape, x.size)
    _, found = named([walk], lambda: list(walk(module.cell, weights, x, x_dot, state, reverse=False)))
    steps = [SimpleNamespace(**each) for each in found[:T]]
    tensors = [x, *own(weights, state)]
    K = sum(tensor.size for tensor in tensors)
    for now in steps:
        now.x_dot = np.concatenate([x_dot[now.t], np.zeros((I, K - x.size))], axis=1)  # I, K
        now.a, now.a_dot = (now.from_input + now.from_state)[:, 0], now.a_dot.reshape(len(weights.W_ih), K)
        now.made, now.made_dot = now.state, now.state_dot
        if weights.W_hr is not None:
            now.made, now.made_dot = (now.m, *now.rest), (now.m_dot, *now.rest_dot)
    return SimpleNamespace(
        module=module, weights=weights, state=state, x=x, steps=steps, tensors=tensors, K=K,
        in_complex=in_complex, equations=elman if name == "RNN" else lstm,
    )  # fmt: skip


def both() -> list[Any]:
    return [walked("RNN"), walked("LSTM")]


def with_numbers(r: Any, p: Array) -> list[Any]:
    """The states when the K numbers, in the order of the columns, are p."""
    bounds = np.cumsum([tensor.size for tensor in r.tensors])[:-1]
    x, *rest = (part.reshape(tensor.shape) for part, tensor in zip(np.split(p, bounds), r.tensors, strict=True))
    count = sum(weight is not None for weight in r.weights)
    return forward(r.in_complex, x, rest[:count], rest[count:])


def numbers(r: Any) -> Array:
    return np.concatenate([tensor.ravel() for tensor in r.tensors])


def direct(r: Any, now: Any, t: int) -> tuple[Array, Array]:
    """∂a/∂p and ∂h/∂p, column by column, by (3.2) and what section 3 says of W_hr."""
    a, h = np.zeros((len(now.a), r.K)), np.zeros((len(now.state[0]), r.K))
    W_ih, W_hh, b_ih, _, W_hr = r.weights
    column = r.x.size
    for tensor, factors in (W_ih, r.x[t]), (W_hh, now.h_prev[:, 0]), (b_ih, [1]), (b_ih, [1]):
        for j in range(len(tensor)):
            for factor in factors:
                a[j, column] = factor
                column += 1
    for j in range(0 if W_hr is None else P):
        for factor in now.made[0][:, 0]:
            h[j, column] = factor
            column += 1
    return a, h


@PAGE.equation("1.1", r"\dot h = \frac{\partial h}{\partial p} , \dot a = \frac{\partial a}{\partial p} , \dots")
def tangents():
    for r in both():
        p = numbers(r)
        for k in range(r.K):
            moved = p.astype(complex)
            moved[k] += 1e-100j
            for now, state in zip(r.steps, with_numbers(r, moved)[1:], strict=True):
                for part, part_dot in zip(state, now.state_dot, strict=True):
                    if part_dot[:, k].any():
                        yield part.imag / 1e-100, part_dot[:, k], 1e-12
                    else:
                        assert not part.imag.any()


@cache
def cells() -> dict[str, Any]:
    """A random step of every cell: what it reads and gives, with the tangents, and its way back."""
    found = {}
    for name, cell in CELL_OF.items():
        a, a_dot, prev, prev_dot, d_state = random_step(cell, 9)
        slopes, d_a = linearized(cell, a, prev), np.empty_like(a)
        d_h_prev, d_rest = cell.step_backward(tuple(d.copy() for d in d_state), slopes.copy(), d_a)
        found[name] = SimpleNamespace(
            cell=cell, u=[*a, *prev], u_dot=[*a_dot, *prev_dot], d_s=d_state,
            s_dot=cell.step_tangent(a_dot, prev_dot, slopes),
            d_u=[*d_a, np.zeros_like(prev[0]) if d_h_prev is None else d_h_prev, *d_rest],
        )  # fmt: skip
    return found


@PAGE.equation("1.2", r"\dot s = \sum_k \frac{\partial s}{\partial u_k} \odot \dot u_k")
def tangents_of_a_cell():
    for r in cells().values():
        blocks, s_dot = len(r.cell.blocks), [np.zeros(part.shape) for part in r.s_dot]
        for k, u_k_dot in enumerate(r.u_dot):
            u = [part + 1e-100j * (j == k) for j, part in enumerate(r.u)]
            _, made, _ = after_step(r.cell, np.array(u[:blocks]), tuple(u[blocks:]))
            s_dot = [total + part.imag / 1e-100 * u_k_dot for total, part in zip(s_dot, made, strict=True)]
        yield s_dot, r.s_dot


@PAGE.equation("1.3", r"\dot h = \varphi'(a) \odot \dot a")
def tangent_of_the_rnn():
    for name, slope in ("RNN tanh", lambda a: 1 - np.tanh(a) ** 2), ("RNN relu", lambda a: np.where(a > 0, 1, 0)):
        r = cells()[name]
        yield slope(r.u[0]) * r.u_dot[0], r.s_dot[0]


@PAGE.equation("1.4", r"\sum_s \langle d_s, \dot s \rangle = \sum_k \langle d_{u_k}, \dot u_k \rangle ,")
def transposes():
    for r in cells().values():
        of_s, of_u = (
            sum(np.sum(d * dot) for d, dot in zip(*pair, strict=True)) for pair in ((r.d_s, r.s_dot), (r.d_u, r.u_dot))
        )
        yield of_s, of_u, 1e-12  # the sums may cancel


@PAGE.equation(
    "T1",
    r"\dot a = W_{\mathrm{ih}} \dot x + W_{\mathrm{hh}} \dot h_{\mathrm{prev}} + \frac{\partial a}{\partial p}",
)
def pre_activation():
    for r in both():
        for t, now in enumerate(r.steps):
            products = r.weights.W_ih @ now.x_dot + r.weights.W_hh @ now.h_prev_dot
            yield products + direct(r, now, t)[0], now.a_dot


@PAGE.equation(
    "T2",
    r"(\dot h, \dots) = \text{the derivative of the cell's equations, in the direction } \dot a, (\dot "
    r"h_{\mathrm{prev}}, \dots)",
)
def cell():
    for r in both():
        for now in r.steps:
            for k in range(r.K):
                prev = [
                    part[:, 0] + 1e-100j * dot[:, k]
                    for part, dot in zip(now.state_prev, now.state_prev_dot, strict=True)
                ]
                made = r.equations(now.a + 1e-100j * now.a_dot[:, k], prev)
                if now.made_dot[0][:, k].any():
                    page = np.concatenate([part.imag / 1e-100 for part in made])
                    yield page, np.concatenate([part[:, k] for part in now.made_dot])


@PAGE.equation("T3", r"\dot h = W_{\mathrm{hr}} \dot m + \frac{\partial h}{\partial p}")
def projection():
    r = walked("LSTM")
    for t, now in enumerate(r.steps):
        yield r.weights.W_hr @ now.made_dot[0] + direct(r, now, t)[1], now.state_dot[0]


@PAGE.equation(
    "3.1",
    r"a_j = \sum_i (W_{\mathrm{ih}})_{ji} x_i + \sum_i (W_{\mathrm{hh}})_{ji} (h_{\mathrm{prev}})_i + "
    r"(b_{\mathrm{ih}})_j + (b_{\mathrm{hh}})_j",
)
def row_of_a():
    for r in both():
        W_ih, W_hh, b_ih, b_hh, _ = r.weights
        for t, now in enumerate(r.steps):
            for j in range(len(now.a)):
                of_x = sum(W_ih[j, i] * r.x[t, i] for i in range(I))
                of_h = sum(W_hh[j, i] * now.h_prev[i, 0] for i in range(W_hh.shape[1]))
                yield of_x + of_h + b_ih[j] + b_hh[j], now.a[j], 1e-12  # a sum of numbers near 1 that may cancel


@PAGE.equation(
    "3.2",
    r"\frac{\partial a_{j'}}{\partial (W_{\mathrm{ih}})_{ji}} = [j' = j] x_i , \frac{\partial a_{j'}}{\partial "
    r"(W_{\mathrm{hh}})_{ji}} = [j' = j] (h_{\mathrm{prev}})_i , \frac{\partial a_{j'}}{\partial "
    r"(b_{\mathrm{ih}})_j} = \frac{\partial a_{j'}}{\partial (b_{\mathrm{hh}})_j} = [j' = j]",
)
def direct_effect():
    for r in both():
        for t, now in enumerate(r.steps):
            code = now.a_dot - r.weights.W_ih @ now.x_dot - r.weights.W_hh @ now.h_prev_dot
            yield direct(r, now, t)[0], code


@cache
def gradients(name: str, upstream: str) -> Any:
    """What rtrl finds for the sequence of `walked`, with an upstream gradient on the output, or on the final state."""
    r, rng = walked(name), np.random.default_rng(6)
    for parameter, weight in zip(r.module.parameters(), r.weights, strict=False):
        parameter.data = weight
    d_output = rng.standard_normal((T, len(r.state[0])))
    d_state = tuple(rng.standard_normal((1, len(part))) for part in r.state)
    hx, d_final = ((each if name == "LSTM" else each[0]) for each in (tuple(part.T for part in r.state), d_state))
    found = rtrl(r.module, r.x, hx, *((d_output, None) if upstream == "output" else (None, d_final)))
    d_initial = found.d_initial if name == "LSTM" else (found.d_initial,)
    d_p = [found.d_input, *found.d_parameters.values(), *d_initial]
    return r, d_output, d_state, np.concatenate([gradient.ravel() for gradient in d_p])


@PAGE.equation(
    "R1",
    r"d_p = \frac{\partial \mathcal{L}}{\partial p} = \sum_{t=1}^{T} d_{\mathrm{output},t}^{\top} \dot h_t",
)
def gradient_of_the_output():
    for name in "RNN", "LSTM":
        r, d_output, _, d_p = gradients(name, "output")
        yield sum(d_output[t] @ now.state_dot[0] for t, now in enumerate(r.steps)), d_p

        def loss(p: Array, r: Any = r, d_output: Array = d_output) -> Any:
            return np.sum(d_output * [state[0] for state in with_numbers(r, p)[1:]])

        yield complex_step(loss, numbers(r)), d_p


@PAGE.equation("R2", r"+ d_{h_n}^{\top} \dot h_T + d_{c_n}^{\top} \dot c_T")
def gradient_of_the_final_state():
    for name in "RNN", "LSTM":
        r, _, d_state, d_p = gradients(name, "state")
        yield sum(d_part[0] @ part_dot for d_part, part_dot in zip(d_state, r.steps[-1].state_dot, strict=True)), d_p


@PAGE.equation("7.1", r"x^{(l+1)} = m \odot h^{(l)}, \dot x^{(l+1)} = m \odot \dot h^{(l)}")
def dropout():
    rng = np.random.default_rng(7)
    module = nn.RNN(I, H, num_layers=2, dropout=0.4, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((T, I)), rng.standard_normal((T, H))
    module(x)
    (m,) = module.dropout_masks
    found = rtrl(module, x, None, d_output, None, [m])
    below, above = (
        Weights(*(getattr(module, f"{name}_l{k}").data for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
        for k in range(2)
    )
    zero = (np.zeros((H, 1)),)
    of_x, of_h = (nn.RNN(size, H, dtype=np.complex128) for size in (I, H))

    def loss(W_ih: Array) -> Any:
        h = np.array([state[0] for state in forward(of_x, x, below._replace(W_ih=W_ih), zero)[1:]])
        return sum(
            (d * state[0]).sum() for d, state in zip(d_output, forward(of_h, m * h, above, zero)[1:], strict=True)
        )

    assert len(np.unique(m)) == 2
    yield complex_step(loss, below.W_ih), found.d_parameters["weight_ih_l0"]


@PAGE.equation("7.2", r"d_p = \sum_{k=1}^{B} d_p^{k}")
def batch():
    rng = np.random.default_rng(8)
    module = nn.RNN(I, H, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((T, 3, I)), rng.standard_normal((T, 3, H))
    of_all = rtrl(module, x, None, d_output).d_parameters
    of_each = [rtrl(module, x[:, k], None, d_output[:, k]).d_parameters for k in range(3)]
    for name, d_p in of_all.items():
        yield sum(each[name] for each in of_each), d_p


@cache
def products() -> Any:
    """J_t and D_t at each step of an RNN, by section 8 of the textbook's rnn.md and (3.2)."""
    r, d_output, _, d_p = gradients("RNN", "output")
    slopes = [np.diag(1 - np.tanh(now.a) ** 2) for now in r.steps]
    J = [slope @ r.weights.W_hh for slope in slopes]
    D = [
        slope @ (r.weights.W_ih @ now.x_dot + direct(r, now, t)[0])
        for t, (slope, now) in enumerate(zip(slopes, r.steps, strict=True))
    ]
    return r, d_output, d_p, J, D


@PAGE.equation(
    "8.1",
    r"\dot h_t = J_t \dot h_{t-1} + D_t , d_{h_t} = d_{\mathrm{output},t} + J_{t+1}^{\top} d_{h_{t+1}}",
)
def recursions():
    r, d_output, _, J, D = products()
    for t, now in enumerate(r.steps):
        yield J[t] @ now.h_prev_dot + D[t], now.state_dot[0]
    backward = trace(r.module, r.x, r.state[0].T, d_output).steps[0]
    for t in range(T - 1):
        yield d_output[t] + J[t + 1].T @ backward[t + 1].d_state[0][:, 0], backward[t].d_state[0][:, 0]


@PAGE.equation("8.2", r"d_p = \sum_{s \le t} d_{\mathrm{output},t}^{\top} J_t J_{t-1} \cdots J_{s+1} D_s")
def sum_over_pairs():
    """For all p but the initial state, which acts before the first step."""
    r, d_output, d_p, J, D = products()
    page = np.zeros(r.K)
    for t in range(T):
        for s in range(t + 1):
            row = d_output[t]
            for between in range(t, s, -1):
                row = row @ J[between]
            page += row @ D[s]
    yield page[:-H], d_p[:-H]


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_the_numbers_of_the_code_are_numbers_of_the_page() -> None:
    numbers = set(re.findall(r"\(([TR]\d)\)", sys.modules[rtrl.__module__].__doc__ or ""))
    assert numbers
    assert numbers <= PAGE.tested.keys()
