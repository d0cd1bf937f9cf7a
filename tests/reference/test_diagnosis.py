"""Faults planted in the textbook's pages, and in a stack of layers on top of them, and what the diagnosis says."""

import inspect
import re
import types
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pytest

from reference import space
from reference.candidates import Implementation, Raised, candidate
from reference.check import check
from reference.diagnosis import Diagnosis, diagnose
from reference.diagnosis.look import take
from reference.diagnosis.patterns import explain
from reference.equivalence import relative_error
from reference.faults import Fault, catalogue, run_faulty
from reference.problems import CELLS, Configuration, Problem, draw
from reference.runs import Run, run_scratch
from scratch.textbook import gru, lstm, rnn
from tests.reference import stack
from tests.reference.stack import PROJECTION, W_HR

RNN, LSTM, GRU = "RNN tanh", "LSTM", "GRU"
Replacements = tuple[tuple[str, str], ...]


class Planted(NamedTuple):
    """Texts of a page or of stack.py, what replaces them, and the patterns that are to be found: each, and no other."""

    cells: tuple[str, ...]
    replacements: Replacements
    patterns: tuple[str, ...]
    options: dict[str, Any]


def planted(cells: str | tuple[str, ...], old: str, new: str, *patterns: str, **options: Any) -> Planted:
    replacements = *PROJECTION * ("proj_size" in options), (old, new)
    return Planted((cells,) if isinstance(cells, str) else cells, replacements, patterns, options)


BOTH = (RNN, LSTM)
W_IH, W_HH = 'parameters["weight_ih"]', 'parameters["weight_hh"]'
ON_ITS_SIDE = f"{W_HH}.reshape(4, -1, {W_HH}.shape[1]).swapaxes(0, 1).reshape({W_HH}.shape[1], -1)"
BIASES = 'parameters["bias_ih"] + parameters["bias_hh"]'
SPLIT = "    i = sigmoid(a[:, :H]"
BEGIN, END = "output, steps = [], []", "return xp.stack(d_x[::-1]), d_state"
D_BEGIN, AFTER, LAST = "steps, parameters = tape", "d_h = d_output[t, :, :] + ", "(t == len(steps) - 1)"
D_H_PREV, D_X, D_X_T = f"d_h_prev = d_a @ {W_HH}", f"d_x = d_a @ {W_IH}", "d_x.append(d_x_t)"
SUM = "total + d_step[name]"
D_BIAS = "xp.sum(d_a, axis=0)"


def in_order(*order: int) -> str:
    """The blocks of an LSTM's pre-activations put in another order before they are read."""
    return f"    a = xp.concat([a[:, k * H : (k + 1) * H] for k in {order}], axis=1)\n{SPLIT}"


EVERYWHERE = [
    # The order of the gates.
    planted(LSTM, SPLIT, in_order(0, 1, 3, 2), "the gates in the order i, f, o, g"),
    planted(LSTM, SPLIT, in_order(1, 0, 3, 2), "the gates in the order f, i, o, g"),
    planted(LSTM, SPLIT, in_order(3, 2, 1, 0), "the gates in the order o, g, f, i"),
    planted(
        LSTM,
        "[d_a_i, d_a_f, d_a_g, d_a_o]",
        "[d_a_i, d_a_f, d_a_o, d_a_g]",
        "the gates' gradients put together in the order i, f, o, g",
    ),
    # Transposes.
    planted(RNN, f"h_prev @ {W_HH}.T", f"h_prev @ {W_HH}", "W_hh transposed"),
    planted(RNN, f"x @ {W_IH}.T", f"x @ {W_IH}", "W_ih transposed"),
    planted(LSTM, f"{W_HH}.T", f"{W_HH}.reshape({W_HH}.shape[::-1])", "W_hh reshaped"),
    planted(LSTM, f"{W_IH}.T", f"{W_IH}.reshape({W_IH}.shape[::-1])", "W_ih reshaped"),
    planted(RNN, D_H_PREV, f"{D_H_PREV}.T", "W_hh not transposed backward"),
    planted(RNN, D_X, f"{D_X}.T", "W_ih not transposed backward"),
    planted(LSTM, f"{W_HH}.T", ON_ITS_SIDE, "W_hh transposed"),
    planted(LSTM, D_H_PREV, f"d_h_prev = d_a @ {ON_ITS_SIDE}.T", "W_hh not transposed backward"),
    planted(RNN, "d_a.T @ h_prev", "h_prev.T @ d_a", "the gradient of W_hh transposed"),
    # What is carried from step to step.
    planted(BOTH, AFTER, f"{AFTER}0 * ", "d_h from the step after overwritten"),
    planted(BOTH, AFTER, f"{AFTER}{LAST} * ", "d_h not carried"),
    planted(LSTM, "d_c = d_c_after + d_h", "d_c = d_h", "d_c from the step after overwritten"),
    planted(LSTM, "(d_h, d_c_after)", f"(d_h, d_c_after * {LAST})", "d_c not carried"),
    planted(LSTM, "d_c_prev = d_c * f", "d_c_prev = d_c_after", "d_c not carried"),
    planted(BOTH, D_H_PREV, "d_h_prev = 0 * h_prev", "d_h not carried"),
    planted(RNN, D_X_T, f"{D_X_T}; d_state = d_state * (t != len(steps) - 2)", "truncated after 2 steps"),
    planted(
        LSTM,
        D_X_T,
        f"{D_X_T}; d_state = tuple(d * ((len(steps) - t) % 3 != 0) for d in d_state)",
        "truncated after 3 steps",
    ),
    # A GRU's two halves of n, its reset gate, and its direct path.
    planted(GRU, "[d_a_r, d_a_z, d_h_n]", "[d_a_r, d_a_z, d_x_n]", "the input's d_a of n also for the state's half"),
    planted(GRU, "[d_a_r, d_a_z, d_x_n]", "[d_a_r, d_a_z, d_h_n]", "the state's d_a of n also for the input's half"),
    planted(GRU, "xp.sum(d_a_h", "xp.sum(d_a_x", "the gradient of b_ih for that of b_hh in n"),
    planted(GRU, "xp.sum(d_a_x", "xp.sum(d_a_h", "the gradient of b_hh for that of b_ih in n"),
    planted(GRU, "d_h_prev = d_h * z", "d_h_prev = 0", "the direct path from h to h_prev lost"),
    planted(GRU, "d_h_prev = d_h * z", "d_h_prev = d_h * (1 - z)", "the factor of h_prev, directly: 1 − z"),
    planted(GRU, "d_h_prev = d_h * z", "d_h_prev = d_h", "the factor of h_prev, directly: missing"),
    planted(GRU, "d_n = d_h * (1 - z)", "d_n = d_h * z", "the factor of n: z for 1 − z"),
    planted(GRU, "d_n = d_h * (1 - z)", "d_n = d_h", "the factor of n: missing"),
    planted(GRU, "d_z = d_h * (h_prev - n)", "d_z = d_h * (n - h_prev)", "the factor of z: n − h_prev"),
    planted(GRU, "d_z = d_h * (h_prev - n)", "d_z = d_h * h_prev", "the factor of z: h_prev"),
    planted(GRU, "d_x_n = d_n * (1 - n * n)", "d_x_n = d_n", "the factor of tanh: missing"),
    planted(GRU, "d_r = d_x_n * h_n", "d_r = d_x_n * h_prev", "the factor of r: h_prev"),
    planted(GRU, "d_r = d_x_n * h_n", "d_r = d_x_n", "the factor of r: missing"),
    planted(GRU, "d_h_n = d_x_n * r", "d_h_n = d_x_n * (1 - r)", "the factor of n_h: 1 − r"),
    planted(GRU, "d_a_r = d_r * r * (1 - r)", "d_a_r = d_r", "σ′ missing in r"),
    planted(GRU, "h = (1 - z) * n + z * h_prev", "h = z * n + (1 - z) * h_prev", "1 − σ(a) for σ(a) in z"),
    planted(GRU, "+ r * h_n", "+ h_n", "the gate r missing"),
    planted(
        GRU,
        "    n = xp.tanh(a_x[:, 2 * H :] + r * h_n)",
        f'    h_n = ((r * h_prev) @ {W_HH}.T + parameters.get("bias_hh", 0))[:, 2 * H :]\n'
        "    n = xp.tanh(a_x[:, 2 * H :] + h_n)",
        "r before the recurrent product",
    ),
    planted(GRU, 'a_h = a_h + parameters["bias_hh"]', "pass", "b_hh forgotten"),
    planted(
        GRU,
        "    h_n = a_h",
        "    a_x, a_h = (xp.concat([a[:, H : 2 * H], a[:, :H], a[:, 2 * H :]], axis=1) for a in (a_x, a_h))\n"
        "    h_n = a_h",
        "the gates in the order z, r, n",
    ),
    planted(
        GRU,
        "    n = xp.tanh(a_x[:, 2 * H :] + r * h_n)",
        '    b = parameters["bias_hh"][2 * H :]\n    n = xp.tanh(a_x[:, 2 * H :] + b + r * (h_n - b))',
        "b_hh of n in the input's half",
    ),
    planted(GRU, AFTER, f"{AFTER}0 * ", "d_h from the step after overwritten"),
    planted(GRU, "d_h * z + d_a_h @", "d_h * z + 0 * d_a_h @", "d_h_prev without the path through W_hh"),
    planted(
        GRU, "d_a_h.T @ h_prev", "d_a_h.T @ ((1 - z) * n + z * h_prev)", "the gradient of W_hh formed with h for h_prev"
    ),
    # The derivatives of the nonlinearities. What a step no longer has it computes again.
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h", "φ′ missing"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h)", "1 − h for tanh′"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - xp.tanh(h) ** 2)", "tanh′ taken at the value"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - xp.atanh(h) ** 2)", "tanh′ taken of the pre-activation"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * h * (1 - h)", "σ′ for φ′"),
    planted("RNN relu", "d_a = xp.where(h <= 0, xp.zeros_like(h), d_h)", "d_a = d_h", "φ′ missing"),
    planted("RNN relu", "d_a = xp.where(h <= 0, xp.zeros_like(h), d_h)", "d_a = d_h * h", "h for relu′"),
    planted("RNN relu", "d_a = xp.where(h <= 0, xp.zeros_like(h), d_h)", "d_a = d_h * (1 - h * h)", "tanh′ for φ′"),
    planted(LSTM, "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i", "σ′ missing in i"),
    planted(LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f", "σ′ missing in f"),
    planted(LSTM, "d_a_o = d_o * o * (1 - o)", "d_a_o = d_o", "σ′ missing in o"),
    planted(LSTM, "d_a_o = d_o * o * (1 - o)", "d_a_o = d_o * (1 - o)", "s missing from σ′ in o"),
    planted(LSTM, "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i * i", "1 − s missing from σ′ in i"),
    planted(
        LSTM,
        "d_a_f = d_f * f * (1 - f)",
        "a_f = xp.log(f / (1 - f)); d_a_f = d_f * a_f * (1 - a_f)",
        "σ′ taken of the pre-activation in f",
    ),
    planted(
        LSTM,
        "d_a_f = d_f * f * (1 - f)",
        "d_a_f = d_f * sigmoid(f, xp) * (1 - sigmoid(f, xp))",
        "σ′ taken at the gate in f",
    ),
    planted(LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * (1 - f * f)", "tanh′ for σ′ in f"),
    planted(LSTM, "[d_a_i, d_a_f, d_a_g, d_a_o]", "[d_i, d_f, d_a_g, d_o]", "σ′ missing in i, f and o"),
    planted(LSTM, "[d_a_i, d_a_f, d_a_g, d_a_o]", "[d_i, d_f, d_g, d_o]", "all derivatives of the gates missing"),
    planted(LSTM, "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g", "tanh′ missing in g"),
    planted(LSTM, "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g * (1 - g)", "1 − y for tanh′ in g"),
    planted(LSTM, "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g * g * (1 - g)", "σ′ for tanh′ in g"),
    planted(LSTM, "o * (1 - tanh_c * tanh_c)", "o", "tanh′(c) missing"),
    planted(LSTM, "o * (1 - tanh_c * tanh_c)", "o * (1 - (f * c_prev + i * g) ** 2)", "1 − c² for tanh′(c)"),
    planted(LSTM, "o * (1 - tanh_c * tanh_c)", "o * (1 - xp.tanh(tanh_c) ** 2)", "tanh′(c) taken at tanh(c)"),
    planted(LSTM, "d_h * o * (1 - tanh_c * tanh_c)", "d_h * (1 - tanh_c * tanh_c)", "o missing on the way from h to c"),
    planted(LSTM, "d_c_after + d_h * o * (1 - tanh_c * tanh_c)", "d_c_after", "c gets no gradient from h"),
    planted(LSTM, "d_f = d_c * c_prev", "d_f = d_c * (f * c_prev + i * g)", "the factor of d_f: c for c_prev"),
    planted(LSTM, "d_i = d_c * g", "d_i = d_c * i", "the factor of d_i: i for g"),
    planted(LSTM, "d_o = d_h * tanh_c", "d_o = d_h * (f * c_prev + i * g)", "the factor of d_o: c for tanh(c)"),
    planted(LSTM, "d_c_prev = d_c * f", "d_c_prev = d_c", "the factor of d_c_prev: 1 for f"),
    # The biases.
    planted(BOTH, BIASES, 'parameters["bias_ih"]', "b_hh forgotten"),
    planted(BOTH, BIASES, 'parameters["bias_hh"]', "b_ih forgotten"),
    planted(BOTH, BIASES, "0", "no bias added"),
    planted(LSTM, BIASES, 'parameters["bias_ih"] + parameters["bias_ih"]', "b_ih added twice"),
    planted(BOTH, f'"bias_hh": {D_BIAS}', f'"bias_hh": 0 * {D_BIAS}', "the gradient of b_hh zero"),
    planted(BOTH, D_BIAS, f"{D_BIAS} / 2", "the gradients of the two biases shared out"),
    planted(BOTH, D_BIAS, f"2 * {D_BIAS}", "the gradients of the two biases summed"),
    # The two ends.
    planted(RNN, D_BEGIN, f"{D_BEGIN}; d_state = 0 * d_state", "the gradient of h_n ignored"),
    planted(LSTM, D_BEGIN, f"{D_BEGIN}; d_state = 0 * d_state[0], d_state[1]", "the gradient of h_n ignored"),
    planted(LSTM, D_BEGIN, f"{D_BEGIN}; d_state = d_state[0], 0 * d_state[1]", "the gradient of c_n ignored"),
    planted(LSTM, D_BEGIN, f"{D_BEGIN}; d_state = (0 * d_state[1],) * 2", "the gradient of h_n and c_n ignored"),
    planted(BOTH, AFTER, "d_h = 0 * d_output[t, :, :] + ", "the gradient of the output ignored"),
    planted(
        BOTH,
        AFTER,
        f"d_h = {LAST} * d_output[t, :, :] + ",
        "only the last step's gradient of the output used",
    ),
    planted(RNN, END, END.replace("d_state", "0 * d_state"), "the gradient of h_0 lost"),
    planted(LSTM, END, END.replace("d_state", "(d_state[0], 0 * d_state[1])"), "the gradient of c_0 lost"),
    planted(RNN, BEGIN, f"{BEGIN}; state = 0 * state", "h_0 ignored"),
    planted(LSTM, BEGIN, f"{BEGIN}; state = 0 * state[0], 0 * state[1]", "h_0 and c_0 ignored"),
    planted(LSTM, BEGIN, f"{BEGIN}; state = state[0], 0 * state[1]", "c_0 ignored"),
    planted(LSTM, BEGIN, f"{BEGIN}; state = state[::-1]", "the parts of the initial state exchanged"),
    # Sums over time.
    planted(
        BOTH,
        SUM,
        'total * (name != "weight_hh") + d_step[name]',
        "gradient of W_hh of one step only (the first)",
    ),
    planted(BOTH, SUM, f'{SUM} * (name != "weight_ih" or {LAST})', "gradient of W_ih of one step only (the last)"),
    planted(RNN, "d_a.T @ h_prev", "d_a.T @ h", "the gradient of W_hh formed with h for h_prev"),
    planted(LSTM, "d_a.T @ h_prev", "d_a.T @ (o * tanh_c)", "the gradient of W_hh formed with h for h_prev"),
    planted(BOTH, SUM, f'{SUM} * (name != "weight_hh" or t > 0)', "the gradient of W_hh without the initial state"),
    planted(
        BOTH,
        f"{END}, d_parameters",
        f"{END}, {{name: total / len(steps) for name, total in d_parameters.items()}}",
        "gradients of all weights averaged over the steps",
    ),
    # The equations.
    planted(LSTM, "i = sigmoid(a[", "i = sigmoid(2 * a[", "σ(2a) for σ(a) in i"),
    planted(LSTM, "f = sigmoid(a[", "f = 1 - sigmoid(a[", "1 − σ(a) for σ(a) in f"),
    planted(LSTM, "c = f * c_prev + i * g", "c = c_prev + i * g", "the gate f missing"),
    planted(LSTM, "c = f * c_prev + i * g", "c = f * c_prev + (1 - f) * g", "1 − f for i"),
    planted(LSTM, "c = f * c_prev + i * g", "c = (1 - f) * c_prev + i * g", "1 − σ(a) for σ(a) in f"),
    planted(LSTM, "tanh_c = xp.tanh(c)", "tanh_c = c", "tanh(c) missing"),
    planted(LSTM, "g = xp.tanh(a[:, 2 * H : 3 * H])", "g = sigmoid(a[:, 2 * H : 3 * H], xp)", "σ for tanh in g"),
    planted(LSTM, "o = sigmoid(a[:, 3 * H :], xp)", "o = xp.tanh(a[:, 3 * H :])", "tanh for σ in o"),
    planted(LSTM, "h = o * tanh_c", "h = tanh_c", "the gate o missing"),
]

OPTIONS = {"num_layers": 3, "bidirectional": True}
TWO = {"bidirectional": True}
DEEP = {"num_layers": 3}
PACKED = {"layout": "packed", "lengths": (5, 3, 4)}
TURNED_BACK = "self.xp.flip(made, (0,))", "made"
K = "k = layer * self.D + direction"
START = "state = self.states(state)"
FINAL = "final = [self.xp.zeros_like(value) for value in state]"


def going_on(owner: str) -> str:
    """The state of one call kept for the next, where none is given."""
    kept = f"[getattr(v, 'detach', lambda: v)() for v in vars({owner}).get('final', self.states(None))]"
    return f"state = self.states(state) if state is not None else {kept}\n        {owner}.final = {FINAL}"


IN_THE_STACK = [
    # Two directions.
    planted(BOTH, *TURNED_BACK, "the reverse direction not turned back", **TWO),
    planted(BOTH, "= self.xp.flip(part, (0,))", "= part", "the reverse input not turned around", **TWO),
    planted(BOTH, "if direction else", "if False else", "the reverse direction not reversed", **TWO, lengths=(5, 5)),
    planted(
        BOTH,
        "slice(direction * self.P, (direction + 1) * self.P)",
        "slice((self.D - 1 - direction) * self.P, (self.D - direction) * self.P)",
        "the two directions exchanged in the output",
        **OPTIONS,
    ),
    planted(BOTH, "= d_part[::-1]", "= d_part", "the reverse direction's gradient of the input not turned back", **TWO),
    planted(
        BOTH,
        "= piece[::-1]",
        "= piece",
        "the reverse direction's gradient of the output not turned around",
        **TWO,
        **PACKED,
    ),
    planted(BOTH, "+= d_part", "= d_part", "the forward direction's gradient of the input lost", **OPTIONS),
    planted(
        BOTH,
        "zip(final, parts_of(end)",
        "zip(final, (made[-1], *parts_of(end)[1:])",
        "the last step of the reverse output for its final state",
        **TWO,
    ),
    planted(
        BOTH,
        "self.weights(layer, direction)",
        "self.weights(layer, 0)",
        "the weights of the forward direction for both",
        **TWO,
    ),
    planted(BOTH, K, "k = direction * self.layers + layer", "the states ordered by direction, then layer", **OPTIONS),
    planted(
        BOTH, K, "k = layer * self.D + (self.D - 1 - direction)", "the states of the two directions exchanged", **TWO
    ),
    # Layers.
    planted(
        RNN,
        K,
        "k = (self.layers - 1 - layer) * self.D + direction",
        "the states of the layers in the opposite order",
        **DEEP,
    ),
    planted(RNN, "d_y = d_x\n", "d_y = np.zeros_like(d_y)\n", "the gradient not passed to the layer below", **DEEP),
    planted(
        RNN,
        "x = output\n",
        "x = output if layer == self.layers - 1 else x\n",
        "the layers above read the input",
        **DEEP,
    ),
    planted(
        BOTH,
        "self.weights(layer, direction)",
        "self.weights(0, direction)",
        "the weights of layer 0 in every layer",
        **DEEP,
    ),
    planted(
        RNN,
        "[value[k, which] for value in state]",
        "[value[0, which] for value in state]",
        "the initial state of layer 0 in every layer",
        **DEEP,
    ),
    # Layouts.
    planted(
        LSTM,
        "return value.swapaxes(0, 1) if self.batch_first else value",
        "return value",
        "batch_first ignored",
        batch_first=True,
    ),
    planted(
        RNN,
        "[value[:, 0] if self.single else value for value in state]",
        "[value.swapaxes(0, 1) if self.batch_first else value for value in state]",
        "the state batch-first too",
        batch_first=True,
    ),
    planted(RNN, "(slice(b, b + 1), self.lengths[b])", "(slice(b, b + 1), self.steps)", "padding not masked", **PACKED),
    planted(
        RNN,
        "[value[:, 0] if self.single else value for value in state]",
        "[value[:, np.argsort([-n for n in self.lengths])] for value in state]",
        "the state of packed sequences in sorted order",
        **PACKED,
    ),
    # Dropout.
    planted(RNN, " / (1 - self.p or 1)", "", "dropout not scaled", **DEEP, dropout=0.5),
    planted(
        LSTM,
        "d_x = d_x * self.masks[layer - 1]",
        "pass",
        "the dropout mask not applied backward",
        **DEEP,
        dropout=0.5,
    ),
    planted(
        RNN,
        "and self.p and self.training",
        "and self.p",
        "dropout after eval()",
        **DEEP,
        dropout=1.0,
        training=False,
    ),
    # From call to call.
    planted(RNN, "parameter.grad = None\n", "pass\n", "gradients not reset between calls"),
    planted(RNN, f"{START}\n        {FINAL}", going_on("self"), "h not reset between calls", initial_state=False),
    planted(
        LSTM, f"{START}\n        {FINAL}", going_on("self"), "h and c not reset between calls", initial_state=False
    ),
    # A projection.
    planted(LSTM, f"{W_HR}.T", f"{W_HR}.reshape({W_HR}.shape[::-1])", "W_hr reshaped", proj_size=2),
    planted(
        LSTM, f"d_h @ {W_HR}", f"d_h @ {W_HR}.reshape({W_HR}.shape[::-1]).T", "W_hr reshaped backward", proj_size=2
    ),
    planted(
        LSTM,
        SUM,
        'total * (name != "weight_hr") + d_step[name]',
        "gradient of W_hr of one step only (the first)",
        proj_size=2,
    ),
]

TOGETHER = [
    (
        planted(LSTM, "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i"),
        planted(LSTM, "d_c = d_c_after + d_h", "d_c = d_h"),
        ("σ′ missing in i", "d_c from the step after overwritten"),
    ),
    (
        planted(LSTM, "tanh_c = xp.tanh(c)", "tanh_c = c"),
        planted(LSTM, BIASES, 'parameters["bias_ih"]'),
        ("tanh(c) missing", "b_hh forgotten"),
    ),
    (
        planted(LSTM, SPLIT, in_order(0, 1, 3, 2)),
        planted(LSTM, "f = sigmoid(a[", "f = sigmoid(2 * a["),
        ("the gates in the order i, f, o, g", "σ(2a) for σ(a) in f"),
    ),
    (
        planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h)"),
        planted(RNN, f'"bias_hh": {D_BIAS}', f'"bias_hh": 0 * {D_BIAS}'),
        ("1 − h for tanh′", "the gradient of b_hh zero"),
    ),
    (
        planted(RNN, BIASES, 'parameters["bias_ih"]'),
        planted(RNN, AFTER, f"{AFTER}0 * "),
        ("b_hh forgotten", "d_h from the step after overwritten"),
    ),
]

UNKNOWN = [
    (
        LSTM,
        "d_g = d_c * i",
        "d_g = -d_c * i",
        "d_bias_ih, d_bias_hh the rows of gate g are wrong and those of i, f and o right",
    ),
    (LSTM, "d_a.T @ h_prev", "3 * d_a.T @ h_prev", "d_weight_hh is exactly 3 times what it should be"),
    (RNN, "d_a.T @ h_prev", "-d_a.T @ h_prev", "d_weight_hh is exactly −1 times what it should be"),
    (LSTM, "steps.append(kept)", "steps.append((x[t - 1, :, :], *kept[1:]))", "Wrong: d_weight_ih. Right: output"),
    (RNN, "step(x[t, :, :]", "step(x[t - 1, :, :]", "The output is wrong from the first step on (of 5)"),
    (
        LSTM,
        "step(x[t, :, :]",
        "step(x[t, :, :] + (0.1 if t == 2 else 0)",
        "The output is right until step 2 and wrong from step 3 (of 5) on",
    ),
    (RNN, D_H_PREV, f"{D_H_PREV} * 0.9", "d_input is right at the last step and wrong at every earlier one"),
    (
        LSTM,
        "d_c_prev = d_c * f",
        "d_c_prev = 0.5 * d_c * f",
        "d_input is right at the last step and wrong at every earlier one",
    ),
    (
        LSTM,
        "output.append(state[0])",
        "output.append(state[0] + 1e-8 * xp.sin(1e5 * state[0]))",
        "as if float32 were used somewhere",
    ),
    (LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * f * (1 - i)", "d_input is wrong from the last step on"),
    (RNN, D_X, f"d_x = xp.clip(d_a @ {W_IH}, -0.5, 0.5)", "d_input is right but cut off at ±0.5"),
    (RNN, "d_a.T @ x", "xp.nan * d_a.T @ x", "d_weight_ih is not a number"),
    (
        LSTM,
        "return xp.stack(output), state",
        "return xp.stack(output)[:, :, :2], state",
        "output has the shape (5, 3, 2), expected (5, 3, 4)",
    ),
    (
        LSTM,
        "return xp.stack(output), state",
        "return xp.stack(output), (state[0].astype(xp.float32), state[1])",
        "h_n is float32, expected float64",
    ),
    (RNN, D_X, f"{D_X}[None, 0]", "It raises an error: ValueError"),
]

PAGES = {"RNN": rnn, "LSTM": lstm, "GRU": gru}
FORMS = {
    **dict.fromkeys(("step", "forward"), ("functions", "class", "torch")),
    **dict.fromkeys(("step_backward", "backward"), ("functions", "class")),
    **{"Layers": ("class", "torch"), "Stack": ("class",)},
}
"""In which forms of the implementations a function or a class of the texts is at work."""


@cache
def code(text: str) -> types.CodeType:
    return compile(text, "planted.py", "exec")


@cache
def compiled(cell: str, replacements: Replacements = ()) -> tuple[types.ModuleType, types.ModuleType, set[str]]:
    """The textbook's page and the stack with faults, and the forms in which the last of these is at work."""
    texts = [re.split(r"\n(?=def |class )", inspect.getsource(source)) for source in (PAGES[cell.split()[0]], stack)]
    forms: set[str] = set()
    for old, new in replacements:
        forms = set()
        for parts in texts:
            for n, part in enumerate(parts[1:], 1):  # the first is what stands above all functions and classes
                if old in part:
                    parts[n] = part.replace(old, new)
                    forms.update(FORMS[part.replace("(", " ").replace(":", " ").split()[1]])
        assert forms, f"neither in the textbook nor in stack.py: {old}"
    page, layers = types.ModuleType("planted"), types.ModuleType("planted")
    for module, parts in zip((page, layers), texts, strict=True):
        exec(code("\n".join(parts)), module.__dict__)
    return page, layers, forms


def subject(cell: str, form: str, *replacements: tuple[str, str]) -> Implementation:
    """An implementation with these faults, in one of the forms."""
    page, layers, _ = compiled(cell, replacements)
    name = cell.split()[0]
    if form == "functions":
        relu = {"nonlinearity": "relu"} if cell == "RNN relu" else {}
        return candidate((partial(page.forward, **relu), page.backward), name, cell)
    base = {"class": layers.Stack, "torch": layers.TorchStack}[form]
    return candidate(type(name, (base,), {"page": page, "cell": name}), name, cell)


def cases() -> Iterator[Any]:
    for fault in (*EVERYWHERE, *IN_THE_STACK):
        for cell in fault.cells:
            for form in sorted(compiled(cell, fault.replacements)[2]):
                yield pytest.param(fault, cell, form, id=f"{', '.join(fault.patterns)} | {cell}, {form}")


def names(diagnosis: Diagnosis) -> tuple[str, ...]:
    return tuple(fault.name for fault in diagnosis.patterns)


@pytest.mark.parametrize(("fault", "cell", "form"), list(cases()))
def test_names_a_planted_fault(fault: Planted, cell: str, form: str) -> None:
    diagnosis = diagnose(subject(cell, form, *fault.replacements), Configuration(cell, **fault.options))
    assert names(diagnosis) == fault.patterns, str(diagnosis)
    assert diagnosis.patterns[0].explanation in str(diagnosis)


@pytest.mark.parametrize(("one", "other", "patterns"), TOGETHER)
def test_names_two_planted_faults(one: Planted, other: Planted, patterns: tuple[str, ...]) -> None:
    (cell,) = one.cells
    diagnosis = of_functions(cell, *one.replacements, *other.replacements)
    assert set(names(diagnosis)) == set(patterns), str(diagnosis)
    assert len(diagnosis.explanations) == 1


@pytest.mark.parametrize(("cell", "old", "new", "seen"), UNKNOWN)
def test_names_no_known_fault_where_there_is_another(cell: str, old: str, new: str, seen: str) -> None:
    diagnosis = of_functions(cell, (old, new))
    assert diagnosis.patterns == ()
    assert seen in str(diagnosis)


@pytest.mark.parametrize("form", ["functions", "class", "torch"])
@pytest.mark.parametrize("cell", list(CELLS))
def test_the_implementations_are_right_without_a_fault(cell: str, form: str) -> None:
    found = check(
        [configuration for configuration in space.grid()[::7] if configuration.cell == cell],
        subject(cell, form, *PROJECTION * (cell == LSTM and form != "functions")),
        dtypes=("float64",),
        witnesses=False,
    )
    assert found.configurations
    assert all(row.agrees for row in found.rows)


def test_the_model_without_a_fault_is_scratch() -> None:
    for configuration in space.grid()[::17]:
        problem = draw(configuration)
        truth, masks = run_scratch(problem)
        model = run_faulty(problem, [], masks)
        assert list(model) == list(truth)
        for name, right in truth.items():
            assert model[name].shape == right.shape
            assert relative_error(model[name], right) < 1e-13, (name, configuration)


@pytest.mark.parametrize("cell", ["RNN tanh", "RNN relu", "LSTM"])
def test_no_two_faults_have_one_name(cell: str) -> None:
    configuration = Configuration(cell, num_layers=2, bidirectional=True, layout="packed", lengths=(5, 3))
    found = [fault.name for fault in catalogue(configuration)]
    assert len(set(found)) == len(found)


class Model(Implementation):
    """An implementation that has one of the known faults."""

    name, cells, dtypes = "model", (RNN,), ("float64",)

    def __init__(self, fault: Fault, variant: int) -> None:
        self.taps, self.leftover = fault.variants[variant], fault.leftover

    def run(self, problem: Problem) -> tuple[Run, None]:
        try:
            return run_faulty(problem, [self.taps]), None
        except (ValueError, IndexError) as error:
            raise Raised(str(error)) from error

    def first_run(self, problem: Problem) -> Run:
        return run_faulty(problem, []) if self.leftover else self.run(problem)[0]


def test_every_known_fault_is_told_from_every_other() -> None:
    configuration = Configuration(RNN, input_size=4, lengths=(5, 5, 5))
    truth, _ = run_scratch(draw(configuration))
    found = 0
    for fault in catalogue(configuration):
        for variant in range(len(fault.variants)):
            model = Model(fault, variant)
            run, _ = model.run(draw(configuration))
            if any(relative_error(run[name], right) > 1e-9 for name, right in truth.items()):
                assert names(diagnose(model, configuration)) == (fault.name,)
                found += 1
    assert found > 100


def test_says_which_option_makes_the_difference() -> None:
    configuration = Configuration("LSTM", **OPTIONS, batch_first=True, initial_state=False)
    told = str(diagnose(subject(LSTM, "class", TURNED_BACK), configuration))
    assert "only with two directions" in told
    assert "Only the reverse half of the output is wrong" in told


def test_says_how_the_error_grows_with_the_layer() -> None:
    grown = "x = output\n", "x = output * (1 + 0.1 * (layer < self.layers - 1))\n"
    told = str(diagnose(subject(RNN, "class", grown), Configuration(RNN, num_layers=3)))
    assert "wrong from layer 1 on" in told


def test_says_that_only_the_second_call_is_wrong() -> None:
    told = str(diagnose(subject(RNN, "class", ("parameter.grad = None\n", "pass\n")), Configuration(RNN)))
    assert "The first call is right and the second wrong" in told


def test_a_gradient_that_is_missing_is_named() -> None:
    diagnosis = of_functions(LSTM, (END, f"del d_parameters['bias_hh']; {END}"))
    assert names(diagnosis) == ("the gradient of b_hh zero",)
    assert "d_bias_hh_l0 is missing" in str(diagnosis)


def test_faults_of_what_is_not_offered_do_not_disturb() -> None:
    """A backward pass that knows no gradient of the cell's state, and averages over the batch and the steps."""

    def backward(d_output: Any, d_state: Any, tape: Any) -> Any:
        d_x, (d_h, _), gradients = lstm.backward(d_output, d_state, tape)
        gradients["weight_hh"] = gradients["weight_hh"] / (d_x.shape[0] * d_x.shape[1])
        return d_x, (d_h, None), gradients

    diagnosis = diagnose(candidate((lstm.forward, backward), "LSTM"), Configuration("LSTM"))
    assert names(diagnosis) == ("gradient of W_hh averaged over the steps and batch",)


def of_functions(cell: str, *replacements: tuple[str, str]) -> Diagnosis:
    """What is said to a pair of functions with these faults."""
    assert "functions" in compiled(cell, replacements)[2]
    return diagnose(subject(cell, "functions", *replacements), Configuration(cell))


@pytest.mark.parametrize("cell", [RNN, "RNN relu", LSTM])
@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (
            "return xp.stack(d_x[::-1])",
            "return xp.stack(d_x[::-1]).astype(float)",
            "d_input is float64, expected float32 as the input is.",
        ),
        ("return xp.stack(output)", "return xp.stack(output).astype(xp.longdouble)", "output is "),
        (
            "return xp.stack(output)",
            "return xp.stack(output).astype(complex)",
            "output is of dtype complex128, expected float64.",
        ),
    ],
)
def test_a_wrong_dtype_alone_is_no_wrong_value(cell: str, old: str, new: str, seen: str) -> None:
    diagnosis = of_functions(cell, (old, new))
    told = str(diagnosis)
    assert diagnosis.patterns == ()
    assert seen in told
    assert "Wrong in dtype alone: " in told
    assert "No known fault" not in told
    assert "accuracy of float32" not in told
    assert "could not be looked at" not in told


@pytest.mark.parametrize("made", ["astype(object)", "astype(str)", "tolist()", "astype(bool)", "astype(int)", "imag"])
@pytest.mark.parametrize("old", ["return xp.stack(output)", "return xp.stack(d_x[::-1])"])
def test_tensors_of_any_kind_raise_nothing(old: str, made: str) -> None:
    given = old.removeprefix("return ")
    diagnosis = of_functions(LSTM, (old, f"return {given}.{made}"))
    assert diagnosis.observations
    assert "could not be looked at" not in str(diagnosis)


class Odd(Implementation):
    """An implementation that gives something that no run is."""

    name, cells = "odd", (RNN,)

    def __init__(self, given: Any) -> None:
        self.given = given

    def run(self, problem: Problem) -> Any:
        return self.given


@pytest.mark.parametrize("given", [None, (None, None), ({"output": None}, None), ({"output": [1, [2]]}, None), ({}, 3)])
def test_whatever_is_given_raises_nothing(given: Any) -> None:
    diagnosis = diagnose(Odd(given), Configuration(RNN))
    assert diagnosis.patterns == ()
    assert diagnosis.observations


def test_an_error_of_any_kind_is_told() -> None:
    class Broken(Odd):
        def run(self, problem: Problem) -> Any:
            raise LookupError("nothing here")

    told = str(diagnose(Broken(None), Configuration(RNN)))
    assert "What it gives could not be looked at (LookupError: nothing here)." in told


@pytest.mark.parametrize("factor", ["np.inf", "np.nan", "1e200", "1e300"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return xp.stack(output)", "return {} * xp.stack(output)"),
        ("h = o * tanh_c", "h = {} * o * tanh_c"),
        ("return xp.stack(d_x", "return {} * xp.stack(d_x"),
        (END, "d_parameters['weight_hh'] *= {}; " + END),
    ],
)
def test_numbers_beyond_all_bounds_name_no_fault(old: str, new: str, factor: str) -> None:
    diagnosis = of_functions(LSTM, (old, new.format(factor)))
    told = str(diagnosis)
    assert diagnosis.patterns == ()
    assert "0000000" not in told
    assert "could not be looked at" not in told


def test_huge_numbers_that_are_the_same_each_time_do_not_differ() -> None:
    told = str(of_functions(LSTM, ("return xp.stack(output)", "return 1e200 * xp.stack(output)")))
    assert "output is 1e+200 times what it should be" in told
    assert "different numbers" not in told


def test_a_factor_is_told_in_few_digits() -> None:
    old = "d_a.T @ h_prev"
    assert "d_weight_hh is 1e+200 times what it should be" in str(of_functions(LSTM, (old, f"1e200 * {old}")))
    assert "d_weight_hh is 0.7183 times what it should be" in str(of_functions(LSTM, (old, f"0.71828 * {old}")))
    assert "d_weight_hh is exactly −3/2 times what it should be" in str(of_functions(LSTM, (old, f"-1.5 * {old}")))


def test_a_small_deviation_is_no_factor() -> None:
    told = str(of_functions(LSTM, ("d_a.T @ h_prev", "(1 + 1e-8) * d_a.T @ h_prev")))
    assert "times what it should be" not in told
    assert "as if float32 were used somewhere" in told


@pytest.mark.parametrize("cell", [RNN, "RNN relu", LSTM])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"initial_state": False}, {"upstream": ("output",)}, {"num_layers": 3}],
    ids=lambda options: ", ".join(options) or "none",
)
def test_no_fault_without_a_difference_is_named(cell: str, options: dict[str, Any]) -> None:
    """Faults that change nothing on a problem are not among what a right subject is said to have."""
    configuration = Configuration(cell, input_size=4, lengths=(5, 5, 5), **options)
    look = take(subject(cell, "class"), configuration, "float64")
    assert look is not None
    assert look.wrong == []
    assert explain(look) == []
    names = [fault.name for fault in catalogue(configuration)]
    own = "relu" if cell == "RNN relu" else "tanh"
    assert f"{own} for the nonlinearity" not in names
    assert f"{own}′ for φ′" not in names
    assert not any("W_hr" in name or "weight_hr" in name for name in names)
    assert any("below the last layer" in name for name in names) == (configuration.num_layers > 1)


def test_a_model_that_gives_the_truth_fits_nothing_wrong() -> None:
    slightly = "d_a.T @ h_prev", "(1 + 1.000000001e-10) * d_a.T @ h_prev"
    look = take(subject(RNN, "functions", slightly), Configuration(RNN), "float64")
    assert look is not None
    assert look.wrong_in_value == ["d_weight_hh_l0"]
    assert not look.fits(run_faulty(look.problem, []))


def test_the_same_fault_is_told_in_the_same_words_of_both_nonlinearities() -> None:
    tanh, relu = ({f.name: f.explanation for f in catalogue(Configuration(cell))} for cell in (RNN, "RNN relu"))
    assert len(tanh.keys() & relu.keys()) > 100
    assert all(tanh[name] == relu[name] for name in tanh.keys() & relu.keys())


def test_says_that_the_first_call_is_right_only_if_its_dtypes_are() -> None:
    class Upcast(Implementation):
        name, cells, dtypes = "upcast", (RNN,), ("float64",)

        def run(self, problem: Problem) -> tuple[Run, None]:
            return {name: 2 * value for name, value in run_scratch(problem)[0].items()}, None

        def first_run(self, problem: Problem) -> Run:
            return {name: value.astype(np.longdouble) for name, value in run_scratch(problem)[0].items()}

    assert "The first call is right" not in str(diagnose(Upcast(), Configuration(RNN)))


@pytest.mark.parametrize("form", ["torch", "functions"])
def test_gradients_of_a_wrong_forward_pass(form: str) -> None:
    """PyTorch's are right for any forward pass; of others it is said only what is known."""
    detached = "h_prev = state", "h_prev = state * 0.5 + state.detach() * 0.5"
    tripled = "d_a.T @ x", "3 * d_a.T @ x"
    forgotten = BIASES, 'parameters["bias_ih"]'
    diagnosis = diagnose(subject(RNN, form, forgotten, detached if form == "torch" else tripled), Configuration(RNN))
    told = str(diagnosis)
    assert names(diagnosis) == ("b_hh forgotten",)
    assert "not those of this forward pass" not in told
    assert ("The gradients are none of those that are known to go with such a forward pass" in told) == (
        form == "functions"
    )


def test_says_where_it_looked() -> None:
    diagnosis = of_functions(RNN, ("d_a.T @ h_prev", "3 * d_a.T @ h_prev"))
    lines = str(diagnosis).splitlines()
    assert lines[:2] == ["No known fault gives these numbers.", f"Looked at in {diagnosis.configuration}:"]
    assert lines[2].startswith("Wrong: ")


def test_writing_into_what_is_given_is_told() -> None:
    class Writes(Odd):
        def run(self, problem: Problem) -> Any:
            raise Raised("no error, but writes to the caller's d_h_n")

    lines = str(diagnose(Writes(None), Configuration(RNN))).splitlines()
    assert "It writes to the caller's d_h_n." in lines


@pytest.mark.parametrize(("cell", "parts"), [(RNN, "h"), (LSTM, "h and c")])
def test_a_state_that_outlives_the_object_is_named(cell: str, parts: str) -> None:
    kept = subject(cell, "class", (f"{START}\n        {FINAL}", going_on("type(self)")))
    diagnosis = diagnose(kept, Configuration(cell, initial_state=False))
    assert names(diagnosis) == (f"{parts} kept outside the object",)
    assert "A new object starts where another ended" in str(diagnosis)
    assert "a class attribute, a mutable default argument" in str(diagnosis)
    deep = Configuration(cell, initial_state=False, num_layers=2, bidirectional=True)
    assert names(diagnose(kept, deep)) == (f"{parts} kept outside the object",)


@pytest.mark.parametrize("cell", [RNN, LSTM])
def test_gradients_that_outlive_the_call_are_named(cell: str) -> None:
    key = f"({W_IH}.shape, {W_IH}.dtype)"
    zeros = "{name: xp.zeros_like(value) for name, value in parameters.items()}"
    diagnosis = of_functions(
        cell, (zeros, f"globals().get({key}) or {zeros}"), (END, f"globals()[{key}] = d_parameters; {END}")
    )
    assert names(diagnosis) == ("gradients kept outside the functions",)
    assert "A new call adds to the gradients that another left" in str(diagnosis)


def test_what_differs_between_new_objects_is_told() -> None:
    told = str(of_functions(RNN, (D_X, f"{D_X} * np.random.random()")))
    assert "Two calls give different numbers for the same problem, in d_input" in told


def test_the_sentences_are_whole() -> None:
    told = {fault.name: fault.explanation for fault in catalogue(Configuration(LSTM, initial_state=False))}
    assert "h and c of the second call go on where" in told["h and c not reset between calls"]
    assert told["the factor of d_i: i for g"] == "d_i = d_c ⊙ g, and i is there instead of g."
    assert told["the factor of d_i: 1 for g"] == "d_i = d_c ⊙ g, and g is missing."
