"""What the names in the equations of rtrl.md stand for."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from scratch import nn, study
from scratch.nn.cell import Weights
from scratch.study import rtrl
from scratch.study.rtrl import own, walk
from scratch.study.trace import trace
from scratch.types import Array
from tests.scratch.study.test_rtrl import CELL_OF, H, after_step, linearized, random_step
from tests.scratch.textbook.equations import Page, complex_step, named
from tests.scratch.textbook.latex import Values

PAGE = Page(Path(study.__file__).parent / "rtrl.md")
T, I, P = 4, 3, 2


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
    """For each step of a module of complex numbers with these weights a, and the state after it."""
    module.load_state_dict(dict(zip(module.state_dict(), weights, strict=False)))
    found = trace(module, x.astype(complex), module._join(tuple(part.T.astype(complex) for part in state)))
    states = [tuple(part[:, 0] for part in step.state_prev) for step in found.steps[0][1:]]
    states.append(tuple(part[0] for part in module._split("state", found.state)))
    return [(step.a.ravel(), *state) for step, state in zip(found.steps[0], states, strict=True)]


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


def at_step(r: Any, now: Any) -> Values:
    """What the names stand for at a step of a walk. The state of an RNN has no c: its tangent is zero."""
    direct_a, direct_h = direct(r, now, now.t)
    c_dot = now.state_dot[1] if len(now.state_dot) > 1 else np.zeros((1, r.K))
    return {
        "W_ih": r.weights.W_ih, "W_hh": r.weights.W_hh, "W_hr": r.weights.W_hr, "∂a/∂p": direct_a, "∂h/∂p": direct_h,
        "dot a": now.a_dot, "dot x": now.x_dot, "dot h_prev": now.h_prev_dot, "dot m": now.made_dot[0],
        "dot h": now.state_dot[0], "dot c": c_dot, "t": now.t + 1,
    }  # fmt: skip


@PAGE.given("1.1", tolerance=1e-12)
def tangents() -> Iterator[Values]:
    """For every number p, and for h and any c, by complex steps."""
    for r in both():
        p = numbers(r)
        moved = [with_numbers(r, p + 1e-100j * one) for one in np.eye(r.K)]
        for t, now in enumerate(r.steps):
            a, *state = ([steps[t][part].imag / 1e-100 for steps in moved] for part in range(1 + len(now.state)))
            for by_p, part_dot in zip(state, now.state_dot, strict=True):
                yield {"dot h": part_dot, "∂h/∂p": np.array(by_p).T, "dot a": now.a_dot, "∂a/∂p": np.array(a).T, "t": t}


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


@PAGE.given("1.2")
def tangents_of_a_cell() -> Iterator[Values]:
    for r in cells().values():
        blocks, slopes = len(r.cell.blocks), []
        for k in range(len(r.u)):
            u = [part + 1e-100j * (j == k) for j, part in enumerate(r.u)]
            _, made, _ = after_step(r.cell, np.array(u[:blocks]), tuple(u[blocks:]))
            slopes.append(np.array(made).imag / 1e-100)
        yield {"dot s": np.array(r.s_dot), "∂s/∂u": slopes, "dot u": r.u_dot, "ranges": {"k": len(r.u)}, "t": 1}


@PAGE.given("1.3")
def tangent_of_the_rnn() -> Iterator[Values]:
    for name, slope in ("RNN tanh", lambda a: 1 - np.tanh(a) ** 2), ("RNN relu", lambda a: np.where(a > 0, 1, 0)):
        r = cells()[name]
        yield {"dot h": r.s_dot[0], "φ'": slope, "a": r.u[0], "dot a": r.u_dot[0], "t": 1}


@PAGE.given("1.4", tolerance=1e-12)  # the sums may cancel
def transposes() -> Iterator[Values]:
    """All parts of s are taken at once."""
    for r in cells().values():
        of_s = {"d_s": np.array(r.d_s), "dot s": np.array(r.s_dot)}
        yield of_s | {"d_u": r.d_u, "dot u": r.u_dot, "ranges": {"s": 1, "k": len(r.u)}, "t": 1}


@PAGE.given("T1")
def pre_activation() -> Iterator[Values]:
    for r in both():
        for now in r.steps:
            yield at_step(r, now)


@PAGE.given("T2")
def of_the_cell() -> Iterator[Values]:
    for r in both():
        for now in r.steps:

            def derivative(a_dot: Array, r: Any = r, now: Any = now) -> Array:
                columns, parts = [], list(zip(now.state_prev, now.state_prev_dot, strict=True))
                for k in range(r.K):
                    prev = [part[:, 0] + 1e-100j * dot[:, k] for part, dot in parts]
                    columns.append(np.concatenate(r.equations(now.a + 1e-100j * a_dot[:, k], prev)).imag / 1e-100)
                return np.array(columns).T

            names = {"dot h": now.made_dot[0], "…": np.concatenate([*now.made_dot[1:], np.empty((0, r.K))])}
            yield names | {"derivative": derivative, "dot a": now.a_dot, "t": now.t + 1}


@PAGE.given("T3")
def projection() -> Iterator[Values]:
    r = walked("LSTM")
    for now in r.steps:
        yield at_step(r, now)


@PAGE.given("3.1", tolerance=1e-12)  # a sum of numbers near 1 that may cancel
def row_of_a() -> Iterator[Values]:
    """With zeros, so that x and h_prev are of one length."""
    for r in both():
        W_ih, W_hh, b_ih, b_hh, _ = r.weights
        n = max(I, W_hh.shape[1])
        wide = {name: np.pad(W, [(0, 0), (0, n - W.shape[1])]) for name, W in (("W_ih", W_ih), ("W_hh", W_hh))}
        for now in r.steps:
            x, h_prev = (np.pad(u, (0, n - len(u)))[:, None] for u in (r.x[now.t], now.h_prev[:, 0]))
            names = {"a": now.a[:, None], "b_ih": b_ih[:, None], "b_hh": b_hh[:, None], "x": x, "h_prev": h_prev}
            for j in range(1, len(now.a) + 1):
                yield wide | names | {"ranges": {"i": n}, "j": j, "t": 1}


@PAGE.given("3.2")
def direct_effect() -> Iterator[Values]:
    """Every column of ∂a/∂p; j′ are all rows at once. The shorter of x and h_prev begins again."""
    for r in both():
        n, ends = max(I, r.weights.W_hh.shape[1]), np.cumsum([tensor.size for tensor in r.tensors])
        for now in r.steps:
            rest = now.a_dot - r.weights.W_ih @ now.x_dot - r.weights.W_hh @ now.h_prev_dot
            names = {"x": np.resize(r.x[now.t], (n, 1)), "h_prev": np.resize(now.h_prev, (n, 1)), "t": 1}
            names["j'"] = np.arange(len(rest))[:, None]
            parts = zip(("(W_ih)_ji", "(W_hh)_ji", "(b_ih)_j", "(b_hh)_j"), np.split(rest, ends, 1)[1:], strict=False)
            of_each = {p: by.reshape(len(rest), len(rest), -1) for p, by in parts}  # rows, rows, entries of a row
            for j, i in np.ndindex(len(rest), n):
                columns = {f"∂a_j'/∂{p}": by[:, j, [i % by.shape[2]]] for p, by in of_each.items()}
                yield names | columns | {"j": j, "i": i + 1}


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


@PAGE.given("R1")
def gradient_of_the_output() -> Iterator[Values]:
    for name in "RNN", "LSTM":
        r, d_output, _, d_p = gradients(name, "output")

        def loss(p: Array, r: Any = r, d_output: Array = d_output) -> Any:
            return np.sum(d_output * [h for _, h, *_ in with_numbers(r, p)])

        steps = [at_step(r, now) | {"d_output": d[:, None]} for now, d in zip(r.steps, d_output, strict=True)]
        yield {"steps": steps, "T": T, "d_p": d_p[None], "∂L/∂p": complex_step(loss, numbers(r))[None], "t": 1}


@PAGE.given("R2")
def gradient_of_the_final_state() -> Iterator[Values]:
    for name in "RNN", "LSTM":
        r, _, d_state, d_p = gradients(name, "state")
        d_h_n, d_c_n = (*(part.T for part in d_state), np.zeros((1, 1)))[:2]
        steps = [at_step(r, now) for now in r.steps]
        yield {"steps": steps, "T": T, "d_h_n": d_h_n, "d_c_n": d_c_n, "value": d_p[None], "t": 1}


@PAGE.given("7.1")
def dropout() -> Iterator[Values]:
    """What walks through the layer above is given."""
    rng = np.random.default_rng(7)
    module = nn.RNN(I, H, num_layers=2, dropout=0.4, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((T, I)), rng.standard_normal((T, H))
    module(x)
    (masks,) = module.dropout_masks
    assert len(np.unique(masks)) == 2
    _, found = named([walk], lambda: rtrl(module, x, None, d_output, None, [masks]))
    below, above = found[:T], found[T + 1 : 2 * T + 1]
    for t, (one, m) in enumerate(zip(below, masks, strict=True)):
        h, h_dot = one["state"][0], one["state_dot"][0]
        x_above, x_dot = above[t]["x"][t][:, None], above[t]["x_dot"][t]
        yield {"x_(l+1)": x_above, "dot x_(l+1)": x_dot, "m": m[:, None], "h_(l)": h, "dot h_(l)": h_dot, "t": t}


@PAGE.given("7.2")
def batch() -> Iterator[Values]:
    rng = np.random.default_rng(8)
    module = nn.RNN(I, H, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((T, 3, I)), rng.standard_normal((T, 3, H))
    of_each = [rtrl(module, x[:, k], None, d_output[:, k]).d_parameters for k in range(3)]
    for name, d_p in rtrl(module, x, None, d_output).d_parameters.items():
        yield {"d_p": d_p, "B": 3, "t": 1} | {f"d_p_{k}": each[name] for k, each in enumerate(of_each, 1)}


@PAGE.given("8.1", "8.2")
def products() -> Iterator[Values]:
    """J_t and D_t of an RNN, by section 8 of the textbook's rnn.md and (3.2); p is no number of the initial state."""
    r, d_output, _, d_p = gradients("RNN", "output")
    backward = trace(r.module, r.x, r.state[0].T, d_output).steps[0]
    steps = []
    for now, of_loss, d in zip(r.steps, backward, d_output, strict=True):
        slope = np.diag(1 - np.tanh(now.a) ** 2)
        D = slope @ (r.weights.W_ih @ now.x_dot + direct(r, now, now.t)[0])
        names = {"J": slope @ r.weights.W_hh, "D": D[:, :-H], "d_output": d[:, None], "d_h": of_loss.d_state[0]}
        steps.append(names | {"dot h": now.state_dot[0][:, :-H]})
    for t in range(1, T + 1):
        names = {"dot h_0": np.zeros((H, r.K - H)), "d_p": d_p[None, :-H], "ranges": {"s": T, "t": T}, "H": H, "t": t}
        yield {"steps": steps} | names


def test_the_numbers_of_the_code_are_numbers_of_the_page() -> None:
    numbers = set(re.findall(r"\(([TR]\d)\)", sys.modules[rtrl.__module__].__doc__ or ""))
    assert numbers
    assert numbers <= PAGE.numbered().keys()
