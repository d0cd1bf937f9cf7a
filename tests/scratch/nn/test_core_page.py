"""Every numbered equation of from_textbook_to_core.md, in NumPy as it stands there, gives the numbers of the code."""

import inspect
import re
from collections.abc import Callable
from functools import cache
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn import bptt, lstm
from scratch.nn.cell import Weights
from scratch.nn.tape import Tape
from scratch.nn.utils.rnn import pack_sequence
from scratch.study.equations import blocks
from scratch.study.trace import trace
from scratch.textbook import gru as gru_page
from scratch.textbook import lstm as lstm_page
from scratch.textbook import rnn as rnn_page
from tests.scratch.textbook.equations import Page

PAGE = Page(Path(nn.__file__).parent / "from_textbook_to_core.md")
T, B, I, H, P = 5, 3, 4, 6, 2  # noqa: E741
LENGTHS = (5, 3, 3, 1)

CELLS = {"RNN tanh": rnn_page, "RNN relu": rnn_page, "LSTM": lstm_page, "GRU": gru_page}
GATES = {"LSTM": "i f g o", "GRU": "r z a_n_h n"}
"""What `step` leaves in the blocks of a."""
SLOPES = {
    "LSTM": "c_by_a_i c_by_a_f c_by_a_g h_by_a_o h_by_c c_by_c_prev",
    "GRU": "h_by_a_r h_by_a_z h_by_a_n_h h_by_a_n_x h_by_h_prev",
}


@cache
def run(name: str, packed: bool = False, **options: Any) -> Any:
    """A random pass, with what it was given and gave, and the parameters and their gradients by name.

    `of[k]` are the steps of layer and direction k, in the order of time, each with its numbers by name, as columns:
    gates, slopes, a_i and d_a_i and so on; of h and any c h_prev, h (what the cell makes), d_h, d_h_prev, where d_c is
    what comes from the step after; `d_h_outside`, the output's part in d_h.
    """
    rng, kind = np.random.default_rng(7), nn.RECURRENCES[name]
    module = kind.module(I, H, dtype=np.float64, rng=rng, **kind.options, **options)
    D, L, width = 1 + module.bidirectional, module.num_layers, module.proj_size or H
    if packed:
        x, d_output = (pack_sequence([rng.standard_normal((n, w)) for n in LENGTHS]) for w in (I, D * width))
        by_t = np.split(d_output.data, np.cumsum(x.batch_sizes)[:-1])
    else:
        x, d_output = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, D * width))
        by_t = list(d_output)
    batch = len(LENGTHS) if packed else B
    widths = [width, *(H for _ in module.cell.state[1:])]
    state, d_state = ([rng.standard_normal((L * D, batch, w)) for w in widths] for _ in range(2))
    given, d_given = ((tuple(s) if len(s) > 1 else s[0]) for s in (state, d_state))
    found = trace(module, x, given, d_output, d_given)
    final, d_initial = (s if isinstance(s, tuple) else (s,) for s in (found.state, found.d_initial))
    r = SimpleNamespace(
        cell=module.cell, x=x, state=state, d_state=d_state, output=found.output, final=final, d_x=found.d_input,
        d_initial=d_initial, masks=found.dropout_masks, **module.state_dict(),
        **{f"d_{key}": gradient for key, gradient in found.d_parameters.items()},
    )  # fmt: skip
    suffixes = [f"_l{layer}" + reverse for layer in range(L) for reverse in ("", "_reverse")[:D]]
    r.of = [[named(name, step, getattr(r, f"weight_hh{suffixes[k]}")) for step in steps[:: 1 - 2 * (k % D)]]
            for k, steps in enumerate(found.steps)]  # fmt: skip
    for k, steps in enumerate(r.of):
        for step, rows in zip(steps, by_t, strict=True):
            step.d_h_outside = np.split(rows, D, axis=1)[k % D].T
    return r


def named(name: str, step: Any, W_hh: Any) -> Any:
    cell, G = nn.RECURRENCES[name].cell, len(W_hh) // H
    of = dict(zip(GATES.get(name, "").split(), step.left, strict=False))
    of |= dict(zip(SLOPES.get(name, "").split(), step.slopes, strict=False))
    for block, a, d_a in zip(blocks(cell), step.a, step.d_a, strict=True):
        of |= {block: a, f"d_{block}": d_a}
    for part, before, made, d_made in zip(cell.state, step.state_prev, step.state, step.d_state, strict=True):
        of |= {f"{part}_prev": before, part: made, f"d_{part}": d_made}
    of |= {f"d_{part}_prev": d_prev for part, d_prev in zip(cell.state[1:], step.d_rest, strict=True)}
    of |= {f"{kind}_h": value[:G].reshape(G * H, -1) for kind, value in (("all_a", step.a), ("d_a", step.d_a))}
    of["d_a_x"] = of["d_a_h"] if not cell.apart else np.concatenate([of["d_a_r"], of["d_a_z"], of["d_a_n_x"]])
    of["d_h_prev"] = W_hh.T @ of["d_a_h"] + (0 if step.d_h_direct is None else step.d_h_direct)
    return SimpleNamespace(**of)


def all_passes() -> list[Any]:
    return [*map(run, CELLS), run("LSTM", proj_size=P)]


def bold(steps: Any, name: str) -> Any:
    """The columns of all steps side by side."""
    return np.concatenate([getattr(step, name) for step in steps], axis=1)


@PAGE.equation("T1", r"a = W_{\mathrm{ih}} x + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}")
def pre_activation():
    for r in all_passes():
        for t, step in enumerate(r.of[0]):
            from_input = r.weight_ih_l0 @ r.x[t].T + r.bias_ih_l0[:, None]
            from_state = r.weight_hh_l0 @ step.h_prev + r.bias_hh_l0[:, None]
            if not r.cell.apart:
                yield from_input + from_state, step.all_a_h
            else:
                yield (from_input + from_state)[: 2 * H], step.all_a_h[: 2 * H]
                yield from_state[2 * H :], step.a_n_h
                yield from_input[2 * H :], step.a_n_x


@PAGE.equation("T2", r"(h, \dots) = \mathrm{step}(a, h_{\mathrm{prev}}, \dots)")
def cell():
    """The textbook's equations of a step."""
    for name, page in CELLS.items():
        r = run(name)
        parameters = {key: getattr(r, f"{key}_l0") for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        options = {"nonlinearity": name[4:]} if page is rnn_page else {}
        for t, step in enumerate(r.of[0]):
            parts = r.cell.state
            before = tuple(getattr(step, f"{part}_prev").T for part in parts)
            after, _ = page.step(r.x[t], before if len(parts) > 1 else before[0], parameters, **options)
            yield after, [getattr(step, part).T for part in parts] if len(parts) > 1 else step.h.T


@PAGE.equation("T3", r"h = W_{\mathrm{hr}} m")
def projection():
    r = run("LSTM", proj_size=P)
    for t, step in enumerate(r.of[0]):
        yield r.weight_hr_l0 @ step.h, r.output[t].T


@PAGE.equation(
    "3.1",
    r"\mathbf{p} = W_{\mathrm{ih}} \mathbf{x} + (b_{\mathrm{ih}} + b_{\mathrm{hh}}) \mathbf{1}^{\top}, "
    r"a_t = W_{\mathrm{hh}} h_{t-1} + p_t",
)
def before_the_loop():
    for r in all_passes():
        if not r.cell.apart:
            p = r.weight_ih_l0 @ r.x.reshape(-1, I).T + np.outer(r.bias_ih_l0 + r.bias_hh_l0, np.ones(T * B))
            for t, step in enumerate(r.of[0]):
                yield r.weight_hh_l0 @ step.h_prev + p[:, t * B : (t + 1) * B], step.all_a_h


@PAGE.equation(
    "3.2",
    r"\mathbf{d_x} = W_{\mathrm{ih}}^{\top} \mathbf{d_a}, d_{W_{\mathrm{ih}}} = \mathbf{d_a} \mathbf{x}^{\top}, "
    r"d_{W_{\mathrm{hh}}} = \mathbf{d_a} \mathbf{h_{prev}}^{\top}, d_{b_{\mathrm{ih}}} = d_{b_{\mathrm{hh}}} = "
    r"\mathbf{d_a} \mathbf{1}",
)
def after_the_loop():
    """Of the GRU, (5.7): its d_a are two."""
    for r in all_passes():
        if not r.cell.apart:
            yield from products(r)


def products(r: Any) -> Any:
    d_a_x, d_a_h = bold(r.of[0], "d_a_x"), bold(r.of[0], "d_a_h")
    yield r.weight_ih_l0.T @ d_a_x, r.d_x.reshape(-1, I).T
    yield d_a_x @ r.x.reshape(-1, I), r.d_weight_ih_l0
    yield d_a_h @ bold(r.of[0], "h_prev").T, r.d_weight_hh_l0
    yield d_a_x @ np.ones(T * B), r.d_bias_ih_l0
    yield d_a_h @ np.ones(T * B), r.d_bias_hh_l0


def steps_of(name: str) -> list[Any]:
    passes = (run(name), run(name, proj_size=P)) if name == "LSTM" else (run(name),)
    return [step for r in passes for step in r.of[0]]


LETTERS = {name: name.replace("_prev", r"_{\mathrm{prev}}") for name in ("c_prev", "h_prev")}
LETTERS |= {"a_n_x": "a_n^x", "a_n_h": "a_n^h"}


def slope(number: str, of: str, by: str, latex: str, page: Callable[[Any], Any]) -> None:
    """The equation of a slope, and what it says of a step."""

    @PAGE.equation(number, rf"\frac{{\partial {of}}}{{\partial {LETTERS.get(by, by)}}} = {latex}")
    def check():
        for step in steps_of("LSTM" if number < "5" else "GRU"):
            yield page(step), getattr(step, f"{of}_by_{by}")


BY_N = r"\frac{\partial h}{\partial a_n^x}"
slope("4.1", "c", "a_i", r"g \odot i \odot (1 - i)", lambda s: s.g * s.i * (1 - s.i))
slope("4.2", "c", "a_f", r"c_{\mathrm{prev}} \odot f \odot (1 - f)", lambda s: s.c_prev * s.f * (1 - s.f))
slope("4.3", "c", "a_g", r"i \odot (1 - g \odot g)", lambda s: s.i * (1 - s.g * s.g))
slope("4.4", "h", "a_o", r"\tanh(c) \odot o \odot (1 - o)", lambda s: np.tanh(s.c) * s.o * (1 - s.o))
slope("4.5", "h", "c", r"o \odot (1 - \tanh^2(c))", lambda s: s.o * (1 - np.tanh(s.c) ** 2))
slope("4.6", "c", "c_prev", "f", lambda s: s.f)
slope("5.1", "h", "a_n_x", r"(1 - z) \odot (1 - n \odot n)", lambda s: (1 - s.z) * (1 - s.n * s.n))
slope("5.2", "h", "a_n_h", rf"{BY_N} \odot r", lambda s: s.h_by_a_n_x * s.r)
slope(
    "5.3", "h", "a_r", rf"{BY_N} \odot a_n^h \odot r \odot (1 - r)", lambda s: s.h_by_a_n_x * s.a_n_h * s.r * (1 - s.r)
)
slope("5.4", "h", "a_z", r"(h_{\mathrm{prev}} - n) \odot z \odot (1 - z)", lambda s: (s.h_prev - s.n) * s.z * (1 - s.z))
slope("5.5", "h", "h_prev", "z", lambda s: s.z)


@PAGE.equation("4.7", r"d_{a_o} = d_h \odot \frac{\partial h}{\partial a_o}")
def d_output_gate():
    for step in steps_of("LSTM"):
        yield step.d_h * step.h_by_a_o, step.d_a_o


def whole_d_c(step: Any) -> Any:
    return step.d_c + step.d_h * step.h_by_c


@PAGE.equation("4.8", r"d_c = d_c^{\mathrm{after}} + d_h \odot \frac{\partial h}{\partial c}")
def d_cell_state():
    """The code goes on with the whole of d_c at once: f takes it to the step before."""
    for step in steps_of("LSTM"):
        yield whole_d_c(step), step.d_c_prev / step.f


@PAGE.equation(
    "4.9",
    r"d_u = d_c \odot \frac{\partial c}{\partial u} \text{for } u = a_i, a_f, a_g, c_{\mathrm{prev}}",
)
def d_of_what_c_is_made_of():
    for step in steps_of("LSTM"):
        for u in "a_i", "a_f", "a_g", "c_prev":
            yield whole_d_c(step) * getattr(step, f"c_by_{u}"), getattr(step, f"d_{u}")


@PAGE.equation(
    "5.6",
    r"d_{a_u} = d_h \odot \frac{\partial h}{\partial a_u}, d_{h_{\mathrm{prev}}} = W_{\mathrm{hh}}^{\top} d_{a^h} + "
    r"d_h \odot \frac{\partial h}{\partial h_{\mathrm{prev}}}",
)
def gru_backward():
    r = run("GRU")
    for t, step in enumerate(r.of[0]):
        for block in blocks(r.cell):
            yield step.d_h * getattr(step, f"h_by_{block}"), getattr(step, f"d_{block}")
        d_h_prev = r.weight_hh_l0.T @ step.d_a_h + step.d_h * step.h_by_h_prev
        yield d_h_prev, r.of[0][t - 1].d_h - r.of[0][t - 1].d_h_outside if t else r.d_initial[0][0].T


@PAGE.equation(
    "5.7",
    r"\mathbf{d_x} = W_{\mathrm{ih}}^{\top} \mathbf{d_{a^x}}, d_{W_{\mathrm{ih}}} = \mathbf{d_{a^x}} "
    r"\mathbf{x}^{\top}, d_{W_{\mathrm{hh}}} = \mathbf{d_{a^h}} \mathbf{h_{prev}}^{\top}, d_{b_{\mathrm{ih}}} = "
    r"\mathbf{d_{a^x}} \mathbf{1}, d_{b_{\mathrm{hh}}} = \mathbf{d_{a^h}} \mathbf{1}",
)
def gru_after_the_loop():
    return products(run("GRU"))


@PAGE.equation(
    "6.1",
    r"d_m = W_{\mathrm{hr}}^{\top} d_h, d_{W_{\mathrm{hr}}} = \sum_{t=1}^{T} d_{h_t} m_t^{\top} = \mathbf{d_h} "
    r"\mathbf{m}^{\top}",
)
def d_projection():
    r = run("LSTM", proj_size=P)
    steps, after = r.of[0], [*(step.d_h_prev for step in r.of[0][1:]), r.d_state[0][0].T]
    d_h = [step.d_h_outside + d for step, d in zip(steps, after, strict=True)]
    for step, d_h_t in zip(steps, d_h, strict=True):
        yield r.weight_hr_l0.T @ d_h_t, step.d_h  # of what the cell calls h
    yield sum(d_h_t @ step.h.T for step, d_h_t in zip(steps, d_h, strict=True)), r.d_weight_hr_l0
    yield np.concatenate(d_h, axis=1) @ bold(steps, "h").T, r.d_weight_hr_l0


@PAGE.equation("7.1", r"x^{(l+1)} = m \odot \mathrm{output}^{(l)}, d_{\mathrm{output}}^{(l)} = m \odot d_x^{(l+1)}")
def layers():
    for dropout in 0.0, 0.4:
        r = run("RNN tanh", num_layers=2, dropout=dropout)
        below, above = r.of
        masks = r.masks[0] if dropout else np.ones((T, B, H))
        assert len(np.unique(masks)) == (2 if dropout else 1)
        for t in range(T):
            x = masks[t].T * below[t].h
            a = r.weight_ih_l1 @ x + r.bias_ih_l1[:, None] + r.weight_hh_l1 @ above[t].h_prev + r.bias_hh_l1[:, None]
            yield a, above[t].all_a_h
            d_output = masks[t].T * (r.weight_ih_l1.T @ above[t].d_a_x)
            yield d_output + (below[t + 1].d_h_prev if t < T - 1 else r.d_state[0][0].T), below[t].d_h


@PAGE.equation(
    "7.2",
    r"a_t = W_{\mathrm{ih}} x_t + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{t+1} + b_{\mathrm{hh}}, h_{T+1} = h_0",
)
def reverse_direction():
    r = run("RNN tanh", bidirectional=True)
    h = [*(step.h for step in r.of[1]), r.state[0][1].T]
    W_ih, W_hh = r.weight_ih_l0_reverse, r.weight_hh_l0_reverse
    for t, step in enumerate(r.of[1]):
        a = W_ih @ r.x[t].T + r.bias_ih_l0_reverse[:, None] + W_hh @ h[t + 1] + r.bias_hh_l0_reverse[:, None]
        yield a, step.all_a_h
    yield h[0], r.final[0][1].T


@PAGE.equation(
    "7.3",
    r"\mathrm{output}_t = \begin{pmatrix} \overrightarrow{h_t} \\ \overleftarrow{h_t} \end{pmatrix}, d_{x_t} = "
    r"\overrightarrow{W}_{\mathrm{ih}}^{\top} \overrightarrow{d_{a_t}} + \overleftarrow{W}_{\mathrm{ih}}^{\top} "
    r"\overleftarrow{d_{a_t}}",
)
def both_directions():
    r = run("RNN tanh", bidirectional=True)
    for t, (there, back) in enumerate(zip(*r.of, strict=True)):
        yield np.concatenate([there.h, back.h]), r.output[t].T
        yield r.weight_ih_l0.T @ there.d_a_x + r.weight_ih_l0_reverse.T @ back.d_a_x, r.d_x[t].T


def packed(direction: int) -> Any:
    """Of every part of every cell's state, in a packed batch; direction 0 is forward, 1 reverse."""
    for name in CELLS:
        r = run(name, packed=True, bidirectional=True)
        steps = r.of[direction]
        for part, d_final, d_initial in zip(r.cell.state, r.d_state, r.d_initial, strict=True):
            d_prev = [getattr(step, f"d_{part}_prev") for step in steps]
            for t, step in enumerate(steps):
                d_after = step.d_h - step.d_h_outside if part == "h" else step.d_c
                next_one = t - 1 if direction else t + 1
                for k in range(d_after.shape[1]):
                    goes_on = 0 <= next_one < len(steps) and k < d_prev[next_one].shape[1]
                    page = d_prev[next_one][:, k] if goes_on else d_final[direction][k]
                    yield page, d_after[:, k], 1e-12  # of a difference
            for k, T_k in enumerate(LENGTHS):
                yield d_prev[T_k - 1 if direction else 0][:, k], d_initial[direction][k]


@PAGE.equation(
    "8.1",
    r"d_{s_t}^{\mathrm{after},k} = \begin{cases} d_{s_{\mathrm{prev}},t+1}^{k} k \le B_{t+1} \\[2pt] d_{s_n}^{k} "
    r"\text{otherwise} \end{cases}, d_{s_0}^{k} = d_{s_{\mathrm{prev}},1}^{k}",
)
def packed_forward():
    return packed(0)


@PAGE.equation(
    "8.2",
    r"d_{s_t}^{\mathrm{after},k} = \begin{cases} d_{s_{\mathrm{prev}},t-1}^{k} t \gt 1 \\[2pt] d_{s_n}^{k} t = 1 "
    r"\end{cases}, d_{s_0}^{k} = d_{s_{\mathrm{prev}},T_k}^{k}",
)
def packed_reverse():
    return packed(1)


@PAGE.equation("10.1", r"\text{forward: } 2GHN(I + P) + [P \lt H] 2PHN, \text{backward: twice as much.}")
def operations():
    """Forward, an entry of a matrix is multiplied and added once for each column; backward, in two products."""
    N = T * B
    for r in all_passes():
        G, width = len(r.cell.gates), r.weight_hh_l0.shape[1]
        matrices = sum(value.size for key, value in vars(r).items() if key.startswith("weight"))
        yield 2 * G * H * N * (I + width) + (width < H) * 2 * width * H * N, 2 * N * matrices


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_table_of_the_tape() -> None:
    """The numbers of each column, and the megabytes of an example."""
    *rows, (example, *megabytes) = [row[:4] for row in PAGE.tables()["array"]]
    steps, batch, features, units = map(int, re.findall(r"\d+", example)[:4])
    for k, kind in enumerate((nn.RNN, nn.LSTM, nn.GRU)):
        module = kind(features, units)
        tape = Tape(module.cell, Weights(*(parameter.data for parameter in module.parameters())), (batch,) * steps)
        chunks = [chunk for _, chunks in tape.sections for chunk in chunks]
        section, chunk = (max(each.stop - each.start for each in rows) for rows in (
            [rows for rows, _ in tape.sections], [chunk.rows for chunk in chunks]))  # fmt: skip
        before, kept = (sum(part.size for chunk in chunks for part in chunk.steps[n]) for n in (1, 4))
        found = {
            "`x`": features,
            "`a`": sum(chunk.steps.a.size for chunk in chunks if chunk.steps.a.strides[0]) / (steps * batch),
            "`before`, `after`": before / (steps * batch),
            "`kept`": kept / (steps * batch),
            "`tape.a`": tape.a.size / section,
            "`tape.a_recurrent`": 0 if tape.a_recurrent is tape.a else tape.a_recurrent.size / section,
            "`tape.h_prev`": tape.h_prev.size / section,
            "`slopes`": tape.slopes.size / chunk,
            "`d_a`": tape.d_a.size / chunk,
        }
        sizes = {"0": 0, "$I$": features, "$H$": units} | {f"${n}H$": n * units for n in range(2, 8)}
        assert {name: sizes[of[k]] for name, *of in rows} == found
        assert megabytes[k] == f"{(tape.nbytes + steps * batch * features * 4) / 1e6:.0f} MB"


@pytest.mark.parametrize(
    ("head", "functions", "needed"),
    [
        ("line", (bptt.forward, bptt.backward, bptt.sums_over_time), r"  # \(T\d\)"),
        ("line of the cell", (lstm.linearize, lstm.step_backward), r"^    (?!.* = |return|\"|Fills)\S.*[a-z]"),
    ],
)
def test_table_of_lines_has_every_line_that_computes(head: str, functions: Any, needed: str) -> None:
    lines = list(chain.from_iterable(inspect.getsource(function).splitlines() for function in functions))
    bare = [line.split("  #")[0].strip() for line in lines]
    in_table = [line for row in PAGE.tables()[head] for line in re.findall("`([^`]+)`", row[0])]
    assert set(in_table) <= set(bare)
    missing = [line for line, text in zip(lines, bare, strict=True) if re.search(needed, line) and text not in in_table]
    assert missing == []
