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
from scratch.nn.cell import Cell, Weights
from scratch.study import rtrl
from scratch.study.equations import blocks, evaluate, sides
from scratch.study.rtrl import own, walk
from scratch.study.trace import trace
from scratch.types import Array
from tests.scratch.nn.test_new_cell import mgu
from tests.scratch.textbook.equations import Page, named
from tests.scratch.textbook.latex import Values

T, I, H, P = 4, 3, 5, 2
CELLS = {name: kind.cell for name, kind in nn.RECURRENCES.items()} | {"MGU": mgu.CELL}
STEP = 1e-100j


@cache
def walked(name: str) -> Any:
    """A random walk over a sequence. `values` are what the names stand for at each of its steps, in all K columns."""
    rng = np.random.default_rng(5)
    kind, options = (nn.RNN, {}) if name == "RNN" else (nn.LSTM, {"proj_size": P})
    module, in_complex = (kind(I, H, dtype=dtype, **options) for dtype in (np.float64, np.complex128))
    for parameter in module.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / 2
    weights = Weights(*(parameter.data for parameter in module.parameters()))
    W_ih, _, b_ih, b_hh, W_hr = weights
    state = tuple(rng.standard_normal((size, 1)) for size in ((H,) if name == "RNN" else (P, H)))
    x = rng.standard_normal((T, I))
    x_dot = np.eye(x.size).reshape(*x.shape, x.size)
    _, steps = named([walk], lambda: list(walk(module.cell, weights, x, x_dot, state, reverse=False)))
    tensors = [x, *own(weights, state)]
    places = np.cumsum([tensor.size for tensor in tensors])
    K = places[-1]
    for t, s in enumerate(steps[:T]):
        h_dot, *rest = s["made_dot"] = s["state_dot"]
        s |= {"x": x[t][:, None], "a": s["from_input"] + s["from_state"], "dot a": s["a_dot"].reshape(-1, K)}
        s |= {"dot x": np.pad(x_dot[t], [(0, 0), (0, K - x.size)]), "dot h_prev": s["h_prev_dot"]}
        s |= {"dot h": h_dot, "dot c": rest[0] if rest else np.zeros((1, K))}
        factors = s["x"], s["h_prev"], np.ones((1, 1)), np.ones((1, 1))  # (3.2)
        direct = [np.zeros((len(W_ih), x.size)), *(np.kron(np.eye(len(W_ih)), factor.T) for factor in factors)]
        s |= {"∂a/∂p": np.pad(np.hstack(direct), [(0, 0), (0, K - places[4])]), "∂h/∂p": np.zeros((len(h_dot), K))}
        if W_hr is not None:
            s |= {"dot m": s["m_dot"], "made_dot": (s["m_dot"], *rest)}
            s["∂h/∂p"][:, places[4] : places[5]] = np.kron(np.eye(P), s["m"].T)
    values = weights._asdict() | {"b_ih": b_ih[:, None], "b_hh": b_hh[:, None], "steps": steps[:T], "T": T}
    return SimpleNamespace(
        module=module, in_complex=in_complex, x=x, state=state, tensors=tensors, places=places, K=K, values=values
    )


def both() -> list[Any]:
    return [walked("RNN"), walked("LSTM")]


PAGE = Page(Path(study.__file__).parent / "rtrl.md", lambda: [r.values for r in both()])
PAGE.given("T3")(lambda: [walked("LSTM").values])


@cache
def by_complex_steps(name: str) -> list[list[Array]]:
    """For each step the derivatives by all numbers p of a and of the parts of the state after it: (rows, K) each."""
    r, columns = walked(name), []
    for one in np.eye(r.K):
        moved = np.split(np.concatenate([tensor.ravel() for tensor in r.tensors]) + STEP * one, r.places[:-1])
        x, *rest = (part.reshape(tensor.shape) for part, tensor in zip(moved, r.tensors, strict=True))
        count = len(r.in_complex.state_dict())
        r.in_complex.load_state_dict(dict(zip(r.in_complex.state_dict(), rest[:count], strict=True)))
        found = trace(r.in_complex, x, r.in_complex._join(tuple(part.T for part in rest[count:])))
        states = [*(step.state_prev for step in found.steps[0][1:])]
        states.append(tuple(part.T for part in r.in_complex._split("state", found.state)))
        columns.append(
            [(step.a.ravel(), *map(np.ravel, state)) for step, state in zip(found.steps[0], states, strict=True)]
        )
    return [
        [np.array(part).imag.T / STEP.imag for part in zip(*step, strict=True)] for step in zip(*columns, strict=True)
    ]


@PAGE.given("1.1", tolerance=1e-12)
def tangents() -> Iterator[Values]:
    """For h and any c."""
    for name in "RNN", "LSTM":
        for s, (a, *state) in zip(walked(name).values["steps"], by_complex_steps(name), strict=True):
            for by_p, part_dot in zip(state, s["state_dot"], strict=True):
                yield {"dot h": part_dot, "∂h/∂p": by_p, "dot a": s["dot a"], "∂a/∂p": a, "t": 1}


def step_of(cell: Cell, a: Array, prev: Array) -> tuple[Array, Array, Array]:
    """One step, of real or complex numbers: the state, and the slopes with what `step_backward` needs."""
    state, kept, slopes = (np.empty((n, *a.shape[1:]), a.dtype) for n in (len(cell.state), cell.kept, cell.slopes))
    left = a.copy()
    cell.step(left, tuple(prev), tuple(state), tuple(kept))
    cell.linearize(left if cell.keeps_a else np.full_like(a, np.nan), tuple(prev), tuple(state), tuple(kept), slopes)
    return state, slopes, left


@cache
def cells() -> dict[str, Any]:
    """A random step of every cell: what it reads and gives, with the tangents, and its way back."""
    found, rng = {}, np.random.default_rng(9)
    for name, cell in CELLS.items():
        (a, a_dot), (prev, prev_dot, d_state) = (rng.standard_normal((n, count, H, 4)) for n, count in (
            (2, len(cell.blocks)), (3, len(cell.state))))  # fmt: skip
        _, slopes, _ = step_of(cell, a, prev)
        s_dot, d_a = cell.step_tangent(a_dot, tuple(prev_dot), slopes), np.empty_like(a)
        d_h_prev, d_rest = cell.step_backward(tuple(d_state.copy()), slopes.copy(), d_a)
        d_u = [*d_a, np.zeros_like(prev[0]) if d_h_prev is None else d_h_prev, *d_rest]
        of_s = {"d_s": d_state, "s_dot": np.array(s_dot)}
        found[name] = SimpleNamespace(cell=cell, u=[*a, *prev], u_dot=[*a_dot, *prev_dot], d_u=d_u, **of_s)
    return found


@PAGE.given("1.2")
def tangents_of_a_cell() -> Iterator[Values]:
    for r in cells().values():
        count, slopes = len(r.cell.blocks), []
        for k in range(len(r.u)):
            u = [part + STEP * (j == k) for j, part in enumerate(r.u)]
            made, *_ = step_of(r.cell, np.array(u[:count]), np.array(u[count:]))
            slopes.append(made.imag / STEP.imag)
        yield {"dot s": r.s_dot, "∂s/∂u": slopes, "dot u": r.u_dot, "ranges": {"k": len(r.u)}, "t": 1}


@PAGE.given("1.3")
def tangent_of_the_rnn() -> Iterator[Values]:
    for name, slope in ("RNN tanh", lambda a: 1 - np.tanh(a) ** 2), ("RNN relu", lambda a: np.where(a > 0, 1, 0)):
        r = cells()[name]
        yield {"dot h": r.s_dot[0], "φ'": slope, "a": r.u[0], "dot a": r.u_dot[0], "t": 1}


@PAGE.given("1.4", tolerance=1e-12)  # the sums may cancel
def transposes() -> Iterator[Values]:
    """All parts of s are taken at once."""
    for r in cells().values():
        of_s = {"d_s": r.d_s, "dot s": r.s_dot}
        yield of_s | {"d_u": r.d_u, "dot u": r.u_dot, "ranges": {"s": 1, "k": len(r.u)}, "t": 1}


@PAGE.given("T2")
def of_the_cell() -> Iterator[Values]:
    """The equations are those that the cell brings."""
    for r in both():
        cell = r.module.cell
        for t, s in enumerate(r.values["steps"], 1):

            def derivative(a_dot: Array, cell: Cell = cell, s: Values = s) -> Array:
                values = dict(zip(blocks(cell), np.split(s["a"] + STEP * a_dot, len(cell.gates)), strict=True))
                for name, part, dot in zip(cell.state, s["state_prev"], s["state_prev_dot"], strict=True):
                    values[f"{name}_prev"] = part + STEP * dot
                for name, right in map(sides, cell.equations.forward):
                    values[name] = evaluate(right, values)
                return np.concatenate([values[name] for name in cell.state]).imag / STEP.imag

            made_dot, *rest = s["made_dot"]
            names = {"dot h": made_dot, "…": np.concatenate([*rest, np.empty((0, r.K))])}
            yield names | {"derivative": derivative, "dot a": s["dot a"], "t": t}


@PAGE.given("3.1", tolerance=1e-12)  # a sum of numbers near 1 that may cancel
def row_of_a() -> Iterator[Values]:
    """With zeros, so that x and h_prev are of one length."""
    for r in both():
        n = max(I, r.values["W_hh"].shape[1])
        wide = {
            name: np.pad(W, [(0, 0), (0, n - W.shape[1])]) for name, W in r.values.items() if name in ("W_ih", "W_hh")
        }
        for s in r.values["steps"]:
            long = {name: np.pad(s[name], [(0, n - len(s[name])), (0, 0)]) for name in ("x", "h_prev")}
            for j in range(1, len(s["a"]) + 1):
                yield r.values | wide | long | {"a": s["a"], "ranges": {"i": n}, "j": j, "t": 1}


@PAGE.given("3.2")
def direct_effect() -> Iterator[Values]:
    """Every column of ∂a/∂p; j′ are all rows at once. The shorter of x and h_prev begins again."""
    for r in both():
        n = max(I, r.values["W_hh"].shape[1])
        for s in r.values["steps"]:
            rest = s["dot a"] - r.values["W_ih"] @ s["dot x"] - r.values["W_hh"] @ s["dot h_prev"]
            names = {"x": np.resize(s["x"], (n, 1)), "h_prev": np.resize(s["h_prev"], (n, 1)), "t": 1}
            names["j'"] = np.arange(len(rest))[:, None]
            letters = "(W_ih)_ji", "(W_hh)_ji", "(b_ih)_j", "(b_hh)_j"
            parts = zip(letters, np.split(rest, r.places, 1)[1:], strict=False)
            of_each = {p: by.reshape(len(rest), len(rest), -1) for p, by in parts}  # rows, rows, entries of a row
            for j, i in np.ndindex(len(rest), n):
                columns = {f"∂a_j'/∂{p}": by[:, j, [i % by.shape[2]]] for p, by in of_each.items()}
                yield names | columns | {"j": j, "i": i + 1}


@cache
def gradients(name: str, upstream: str) -> tuple[Values, Array]:
    """What rtrl finds for the sequence of `walked`, with an upstream gradient on the output, or on the final state."""
    r, rng = walked(name), np.random.default_rng(6)
    d_output = rng.standard_normal((T, len(r.state[0])))
    d_state = tuple(rng.standard_normal((1, len(part))) for part in r.state)
    hx, d_final = map(r.module._join, (tuple(part.T for part in r.state), d_state))
    found = rtrl(r.module, r.x, hx, *((d_output, None) if upstream == "output" else (None, d_final)))
    d_p = [found.d_input, *found.d_parameters.values(), *r.module._split("d_initial", found.d_initial)]
    steps = [s | {"d_output": d[:, None]} for s, d in zip(r.values["steps"], d_output, strict=True)]
    d_n = dict(zip(("d_h_n", "d_c_n"), (*(part.T for part in d_state), np.zeros((1, 1))), strict=False))
    return r.values | {"steps": steps} | d_n, np.concatenate([gradient.ravel() for gradient in d_p])[None]


@PAGE.given("R1")
def gradient_of_the_output() -> Iterator[Values]:
    for name in "RNN", "LSTM":
        values, d_p = gradients(name, "output")
        terms = zip(values["steps"], by_complex_steps(name), strict=True)
        yield values | {"d_p": d_p, "∂L/∂p": sum(s["d_output"].T @ by[1] for s, by in terms), "t": 1}


@PAGE.given("R2")
def gradient_of_the_final_state() -> Iterator[Values]:
    for name in "RNN", "LSTM":
        values, d_p = gradients(name, "state")
        yield values | {"value": d_p, "t": 1}


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
    r, (values, d_p) = walked("RNN"), gradients("RNN", "output")
    d_output = np.concatenate([s["d_output"] for s in values["steps"]], axis=1).T
    steps = []
    for s, of_loss in zip(values["steps"], trace(r.module, r.x, r.state[0].T, d_output).steps[0], strict=True):
        slope = np.diag(1 - np.tanh(s["a"][:, 0]) ** 2)
        D = slope @ (values["W_ih"] @ s["dot x"] + s["∂a/∂p"])
        names = {"J": slope @ values["W_hh"], "D": D[:, :-H], "d_output": s["d_output"], "d_h": of_loss.d_state[0]}
        steps.append(names | {"dot h": s["dot h"][:, :-H]})
    for t in range(1, T + 1):
        names = {"dot h_0": np.zeros((H, r.K - H)), "d_p": d_p[:, :-H], "ranges": {"s": T, "t": T}, "H": H, "t": t}
        yield {"steps": steps} | names


def test_the_numbers_of_the_code_are_numbers_of_the_page() -> None:
    numbers = set(re.findall(r"\(([TR]\d)\)", sys.modules[rtrl.__module__].__doc__ or ""))
    assert numbers
    assert numbers <= PAGE.numbered().keys()
