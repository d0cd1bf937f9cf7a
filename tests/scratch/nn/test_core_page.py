"""What the names in the equations of from_textbook_to_core.md stand for, and what else the page says."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from reference.problems import Configuration, draw
from reference.runs import initial_state, make_scratch, pack, split, upstream
from scratch import nn
from scratch.nn.cell import Weights
from scratch.nn.tape import Tape
from scratch.study.equations import blocks
from scratch.study.trace import trace
from scratch.textbook import gru as gru_page
from scratch.textbook import lstm as lstm_page
from scratch.textbook import rnn as rnn_page
from tests.scratch.textbook.equations import FUNCTIONS, LETTERS, Page, in_columns
from tests.scratch.textbook.latex import Values

T, B, I, H, P = 5, 3, 4, 6, 2
LENGTHS = (5, 3, 3, 1)

CELLS = {"RNN tanh": rnn_page, "RNN relu": rnn_page, "LSTM": lstm_page, "GRU": gru_page}
GATES = {"LSTM": "i f g o", "GRU": "r z a_n_h n"}
"""What `step` leaves in the blocks of a."""
SLOPES = {
    "LSTM": "∂c/∂a_i ∂c/∂a_f ∂c/∂a_g ∂h/∂a_o ∂h/∂c ∂c/∂c_prev",
    "GRU": "∂h/∂a_r ∂h/∂a_z ∂h/∂a_n_h ∂h/∂a_n_x ∂h/∂h_prev",
}


@cache
def run(name: str, **options: Any) -> Any:
    """A random pass, and what the names stand for in each layer and direction, `values[k]`.

    Its steps are in the order of time. Of what the cell makes they have h and any c; of the state before h_prev and
    c_prev; d_h, d_a and so on; of h besides `d_h_outside`, the output's part in d_h, and `output`.
    """
    c = Configuration(name, **{"input_size": I, "hidden_size": H, "lengths": (T,) * B, **options})
    problem, D, is_packed = draw(c), 1 + c.bidirectional, c.layout == "packed"
    module, (d_output, d_state) = make_scratch(problem), upstream(problem)
    r = trace(module, pack(problem.input, c), initial_state(problem), d_output, d_state)
    d_rows = np.split(d_output.data, np.cumsum(d_output.batch_sizes)[:-1]) if is_packed else d_output
    parameters = problem.parameters | {f"d_{name}": value for name, value in r.d_parameters.items()}
    states = problem.initial | split(r.d_initial, c, "d_{}_0") | {f"d_{n}": v for n, v in problem.upstream.items()}
    all_values = []
    for k, (layer, direction) in enumerate(np.ndindex(c.num_layers, D)):
        suffix = f"_l{layer}" + ("_reverse" if direction else "")
        values = in_columns({n.removesuffix(suffix): v for n, v in parameters.items() if re.search(rf"{suffix}$", n)})
        steps = [named(name, step, values["W_hh"]) for step in r.steps[k][:: 1 - 2 * direction]]
        for t, (step, rows) in enumerate(zip(steps, d_rows, strict=True)):
            step["d_h_outside"] = np.split(rows, D, axis=1)[direction].T
            step |= {} if is_packed else {"x": problem.input[t].T, "d_x": r.d_input[t].T, "output": r.output[t].T}
        values |= {n: value[k].T for n, value in states.items() if n != "d_output"}
        all_values.append(values | {"steps": steps, "T": T, "H": H, **FUNCTIONS})
    return SimpleNamespace(cell=module.cell, values=all_values, dropout_masks=r.dropout_masks)


def named(name: str, step: Any, W_hh: Any) -> Values:
    """The numbers of a step by their names, as columns."""
    cell, G = nn.RECURRENCES[name].cell, len(W_hh) // H
    of = dict(zip(GATES.get(name, "").split(), step.left, strict=False))
    of |= dict(zip(SLOPES.get(name, "").split(), step.slopes, strict=False))
    for block, a, d_a in zip(blocks(cell), step.a, step.d_a, strict=True):
        of |= {block: a, f"d_{block}": d_a}
    for part, before, made, d_made in zip(cell.state, step.state_prev, step.state, step.d_state, strict=True):
        of |= {f"{part}_prev": before, part: made, f"d_{part}": d_made}
    of |= {f"d_{part}_prev": d_prev for part, d_prev in zip(cell.state[1:], step.d_rest, strict=True)}
    of |= {kind: value[:G].reshape(G * H, -1) for kind, value in (("a", step.a), ("d_a_h", step.d_a))}
    of["d_a_x"] = of["d_a_h"]
    if cell.apart:
        of["a"] = np.concatenate([of["a_r"], of["a_z"], of["a_n_h"] + of["a_n_x"]])
        of["d_a_x"] = np.concatenate([of["d_a_r"], of["d_a_z"], of["d_a_n_x"]])
    of["d_a"] = of["d_a_x"]
    of["d_h_prev"] = W_hh.T @ of["d_a_h"] + (0 if step.d_h_direct is None else step.d_h_direct)
    return of


def all_passes() -> list[Any]:
    return [*map(run, CELLS), run("LSTM", proj_size=P)]


def bold(steps: list[Values], *names: str) -> Values:
    """The columns of all steps side by side."""
    return {f"bold {name}": np.concatenate([step[name] for step in steps], axis=1) for name in names}


def usual() -> Iterator[Values]:
    """Of an LSTM. The code goes on with the whole of d_c at once: f takes it to the step before."""
    for r in run("LSTM"), run("LSTM", proj_size=P):
        (values,) = r.values
        steps = [s | {"d_c_after": s["d_c"], "d_c": s["d_c_prev"] / s["f"]} for s in values["steps"]]
        yield values | {"steps": steps}


PAGE = Page(Path(nn.__file__).parent / "from_textbook_to_core.md", usual)


@PAGE.given("T1")
def every_cell() -> Iterator[Values]:
    for r in all_passes():
        yield r.values[0]


@PAGE.given("T2")
def textbook() -> Iterator[Values]:
    """The textbook's equations of a step."""
    for name, page in CELLS.items():
        (values,), parts = run(name).values, run(name).cell.state
        parameters = {key: values[letter].squeeze() for key, letter in LETTERS.items() if letter in values}
        options = {"nonlinearity": name[4:]} if page is rnn_page else {}
        for t, s in enumerate(values["steps"], 1):
            before = tuple(s[f"{part}_prev"].T for part in parts)
            after, _ = page.step(s["x"].T, before if len(parts) > 1 else before[0], parameters, **options)
            made = np.concatenate(np.reshape(after, (len(parts), B, H)), axis=1).T
            rest = np.concatenate([s[part] for part in parts[1:]] or [np.empty((0, B))])
            yield values | {"step": lambda *_, made=made: made, "…": rest, "t": t}


@PAGE.given("T3", "6.1")
def projection() -> Iterator[Values]:
    (values,) = run("LSTM", proj_size=P).values
    after = [*(s["d_h_prev"] for s in values["steps"][1:]), values["d_h_n"]]
    steps = [
        s | {"m": s["h"], "d_m": s["d_h"], "h": s["output"], "d_h": s["d_h_outside"] + d}
        for s, d in zip(values["steps"], after, strict=True)
    ]
    yield values | bold(steps, "d_h", "m") | {"steps": steps}


def with_sums(apart: bool) -> Iterator[Values]:
    """With what stands side by side before and after the loop, of cells with halves apart, or of the others."""
    for r in all_passes():
        (values,) = r.values
        steps = [s | {"p": s["a"] - values["W_hh"] @ s["h_prev"], "h": s["output"]} for s in values["steps"]]
        wide = bold(steps, "p", "x", "d_x", "h_prev", "d_a", "d_a_x", "d_a_h")
        if bool(r.cell.apart) == apart:
            yield values | wide | {"steps": steps, "bold 1": np.ones((T * B, 1))}


PAGE.given("3.1", "3.2")(lambda: with_sums(apart=False))
PAGE.given("5.7")(lambda: with_sums(apart=True))


@PAGE.given("4.9")
def what_c_is_made_of() -> Iterator[Values]:
    for values in usual():
        for t, s in enumerate(values["steps"], 1):
            for u in "a_i", "a_f", "a_g", "c_prev":
                yield values | {"d_u": s[f"d_{u}"], "∂c/∂u": s[f"∂c/∂{u}"], "t": t}


PAGE.given("5.1", "5.2", "5.3", "5.4", "5.5")(lambda: run("GRU").values)


@PAGE.given("5.6")
def gru_backward() -> Iterator[Values]:
    (values,) = run("GRU").values
    before = [values["d_h_0"], *(s["d_h"] - s["d_h_outside"] for s in values["steps"][:-1])]
    for t, (s, d_h_prev) in enumerate(zip(values["steps"], before, strict=True), 1):
        for u in blocks(run("GRU").cell):
            s = s | {"d_a_u": s[f"d_{u}"], "∂h/∂a_u": s[f"∂h/∂{u}"], "d_h_prev": d_h_prev}
            yield values | s | {"t": t}


@PAGE.given("7.1", tolerance=1e-11)
def layers() -> Iterator[Values]:
    """The input of the layer above is what its a has been made of."""
    for dropout in 0.0, 0.4:
        r = run("RNN tanh", num_layers=2, dropout=dropout)
        below, above = r.values
        masks = r.dropout_masks[0] if dropout else np.ones((T, B, H))
        assert len(np.unique(masks)) == (2 if dropout else 1)
        d_after = [*(s["d_h_prev"] for s in below["steps"][1:]), below["d_h_n"]]
        for t, (one, s) in enumerate(zip(below["steps"], above["steps"], strict=True)):
            from_x = s["a"] - above["b_ih"] - above["W_hh"] @ s["h_prev"] - above["b_hh"]
            yield {
                "x_(l+1)": np.linalg.solve(above["W_ih"], from_x),
                "output_(l)": one["h"],
                "m": masks[t].T,
                "d_output_(l)": one["d_h"] - d_after[t],
                "d_x_(l+1)": above["W_ih"].T @ s["d_a"],
                "t": t,
            }


@PAGE.given("7.2")
def reverse_direction() -> Iterator[Values]:
    values = run("RNN tanh", bidirectional=True).values[1]
    yield values | {f"h_{T + 1}": values["steps"][-1]["h_prev"]}


@PAGE.given("7.3")
def both_directions() -> Iterator[Values]:
    there, back = run("RNN tanh", bidirectional=True).values
    pairs = [
        {f"right {n}": s[n] for n in s} | {f"left {n}": o[n] for n in s}
        for s, o in zip(there["steps"], back["steps"], strict=True)
    ]
    steps = [s | both for s, both in zip(there["steps"], pairs, strict=True)]
    yield {"steps": steps, "right W_ih": there["W_ih"], "left W_ih": back["W_ih"]}


def packed(direction: int) -> Iterator[Values]:
    """Of every part of every cell's state, in a packed batch; direction 0 is forward, 1 reverse."""
    for name in CELLS:
        r = run(name, layout="packed", lengths=LENGTHS, bidirectional=True)
        values = r.values[direction]
        sizes = [s["h"].shape[1] for s in values["steps"]] + [0]
        for part in r.cell.state:
            d_prev = [s[f"d_{part}_prev"] for s in values["steps"]]
            for t, s in enumerate(values["steps"]):
                d_after = s["d_h"] - s["d_h_outside"] if part == "h" else s["d_c"]
                for k in range(sizes[t]):
                    of_sequence = {
                        "d_s_t_after_k": d_after[:, k],
                        "d_s_n_k": values[f"d_{part}_n"][:, k],
                        "d_s_0_k": values[f"d_{part}_0"][:, k],
                        "d_s_prev_1_k": d_prev[0][:, k],
                        "d_s_prev_T_k_k": d_prev[LENGTHS[k] - 1][:, k],
                        "B_t+1": sizes[t + 1],
                    }
                    for step, index in (("t-1", t - 1), ("t+1", t + 1)):
                        if 0 <= index < T and k < sizes[index]:
                            of_sequence[f"d_s_prev_{step}_k"] = d_prev[index][:, k]
                    yield of_sequence | {"k": k + 1, "t": t + 1}


PAGE.given("8.1", tolerance=1e-12)(lambda: packed(0))
PAGE.given("8.2", tolerance=1e-12)(lambda: packed(1))


@PAGE.given("10.1")
def operations() -> Iterator[Values]:
    """Forward, an entry of a matrix is multiplied and added once for each column; backward, in two products."""
    for r in all_passes():
        (values,) = r.values
        matrices = sum(values[letter].size for letter in ("W_ih", "W_hh", "W_hr") if letter in values)
        sizes = {"G": len(r.cell.gates), "H": H, "N": T * B, "I": I, "P": values["W_hh"].shape[1]}
        yield sizes | {"value": 2 * T * B * matrices, "t": 1}


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
