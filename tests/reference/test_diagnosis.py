"""Faults planted in implementations that share nothing with the catalogue, and what the diagnosis says to them."""

import inspect
import types
from collections.abc import Iterator
from functools import cache
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
from reference.problems import Configuration, Problem, draw
from reference.runs import Run, run_scratch
from tests.reference import plain

SOURCE = inspect.getsource(plain)
RNN, LSTM, GRU = "RNN tanh", "LSTM", "GRU"


class Planted(NamedTuple):
    """Text of plain.py, what replaces it, and the patterns that are to be found: each of them, and no other."""

    cells: tuple[str, ...]
    old: str
    new: str
    patterns: tuple[str, ...]
    options: dict[str, Any] = {}  # noqa: RUF012


def planted(cells: str | tuple[str, ...], old: str, new: str, *patterns: str, **options: Any) -> Planted:
    return Planted((cells,) if isinstance(cells, str) else cells, old, new, patterns, options)


BOTH = (RNN, LSTM)
ON_ITS_SIDE = "W_hh.reshape(4, -1, W_hh.shape[1]).swapaxes(0, 1).reshape(W_hh.shape[1], -1)"

EVERYWHERE = [
    # The order of the gates.
    planted(LSTM, "a_i, a_f, a_g, a_o = ", "a_i, a_f, a_o, a_g = ", "the gates in the order i, f, o, g"),
    planted(LSTM, "a_i, a_f, a_g, a_o = ", "a_f, a_i, a_o, a_g = ", "the gates in the order f, i, o, g"),
    planted(LSTM, "a_i, a_f, a_g, a_o = ", "a_o, a_g, a_f, a_i = ", "the gates in the order o, g, f, i"),
    planted(
        LSTM,
        "np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]",
        "np.concatenate([d_a_i, d_a_f, d_a_o, d_a_g]",
        "the gates' gradients put together in the order i, f, o, g",
    ),
    # Transposes.
    planted(RNN, "h_prev @ W_hh.T", "h_prev @ W_hh", "W_hh transposed"),
    planted(RNN, "x_t @ W_ih.T", "x_t @ W_ih", "W_ih transposed"),
    planted(LSTM, "h_prev @ W_hh.T", "h_prev @ W_hh.reshape(W_hh.shape[::-1])", "W_hh reshaped"),
    planted(LSTM, "x_t @ W_ih.T", "x_t @ W_ih.reshape(W_ih.shape[::-1])", "W_ih reshaped"),
    planted(RNN, "d_h_next = d_a @ W_hh\n", "d_h_next = d_a @ W_hh.T\n", "W_hh not transposed backward"),
    planted(RNN, "d_x[t] = d_a @ W_ih\n", "d_x[t] = d_a @ W_ih.T\n", "W_ih not transposed backward"),
    planted(LSTM, "h_prev @ W_hh.T", f"h_prev @ {ON_ITS_SIDE}", "W_hh transposed"),
    planted(LSTM, "d_h_next = d_a @ W_hh\n", f"d_h_next = d_a @ {ON_ITS_SIDE}.T\n", "W_hh not transposed backward"),
    planted(RNN, "d_a.T @ h_prev", "h_prev.T @ d_a", "the gradient of W_hh transposed"),
    # What is carried from step to step.
    planted(BOTH, "d_h = d_output[t] + d_h_next", "d_h = d_output[t]", "d_h from the step after overwritten"),
    planted(
        BOTH,
        "d_h = d_output[t] + d_h_next",
        "d_h = d_output[t] + (d_h_next if t == len(x) - 1 else 0)",
        "d_h not carried",
    ),
    planted(LSTM, "d_c = d_c_next + d_m", "d_c = d_m", "d_c from the step after overwritten"),
    planted(LSTM, "d_c = d_c_next + d_m", "d_c = (d_c_next if t == len(x) - 1 else 0) + d_m", "d_c not carried"),
    planted(LSTM, "d_c_next = d_c * f", "pass", "d_c not carried"),
    planted(BOTH, "d_h_next = d_a @ W_hh\n", "d_h_next = 0 * d_h_next\n", "d_h not carried"),
    planted(RNN, "d_h_next = d_a @ W_hh\n", "d_h_next = d_a @ W_hh * (t != len(x) - 2)\n", "truncated after 2 steps"),
    planted(
        LSTM,
        "d_h_next = d_a @ W_hh\n",
        "cut = (len(x) - t) % 3 != 0; d_h_next = d_a @ W_hh * cut; d_c_next = d_c_next * cut\n",
        "truncated after 3 steps",
    ),
    # A GRU's two halves of n, its reset gate, and its direct path.
    planted(
        GRU,
        "d_a_h = np.concatenate([d_a_r, d_a_z, d_h_n]",
        "d_a_h = np.concatenate([d_a_r, d_a_z, d_x_n]",
        "the input's d_a of n also for the state's half",
    ),
    planted(
        GRU,
        "d_a_x = np.concatenate([d_a_r, d_a_z, d_x_n]",
        "d_a_x = np.concatenate([d_a_r, d_a_z, d_h_n]",
        "the state's d_a of n also for the input's half",
    ),
    planted(
        GRU,
        """["bias_hh"] += d_a_h.sum""",
        """["bias_hh"] += d_a_x.sum""",
        "the gradient of b_ih for that of b_hh in n",
    ),
    planted(
        GRU,
        """["bias_ih"] += d_a_x.sum""",
        """["bias_ih"] += d_a_h.sum""",
        "the gradient of b_hh for that of b_ih in n",
    ),
    planted(
        GRU, "d_h_next = d_a_h @ W_hh + d_h * z", "d_h_next = d_a_h @ W_hh", "the direct path from h to h_prev lost"
    ),
    planted(
        GRU,
        "d_h_next = d_a_h @ W_hh + d_h * z",
        "d_h_next = d_a_h @ W_hh + d_h * (1 - z)",
        "the factor of h_prev, directly: 1 − z",
    ),
    planted(
        GRU,
        "d_h_next = d_a_h @ W_hh + d_h * z",
        "d_h_next = d_a_h @ W_hh + d_h",
        "the factor of h_prev, directly: missing",
    ),
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
    planted(GRU, "np.tanh(x_n + r * h_n)", "np.tanh(x_n + h_n)", "the gate r missing"),
    planted(
        GRU,
        "n = np.tanh(x_n + r * h_n)",
        "h_n = np.split((r * h_prev) @ W_hh.T + b_hh, 3, axis=1)[2]; n = np.tanh(x_n + h_n)",
        "r before the recurrent product",
    ),
    planted(
        GRU,
        "n = tanh(x_n + r * h_n)",
        "n = tanh(x_n + ((r * h_prev) @ W_hh.T + b_hh).chunk(3, dim=1)[2])",
        "r before the recurrent product",
    ),
    planted(
        GRU,
        "h_r, h_z, h_n = np.split(h_prev @ W_hh.T + b_hh, 3, axis=1)",
        "h_r, h_z, h_n = np.split(h_prev @ W_hh.T, 3, axis=1)",
        "b_hh forgotten",
    ),
    planted(
        GRU,
        "x_r, x_z, x_n = np.split(x_t @ W_ih.T + b_ih, 3, axis=1)\n        h_r, h_z, h_n",
        "x_z, x_r, x_n = np.split(x_t @ W_ih.T + b_ih, 3, axis=1)\n        h_z, h_r, h_n",
        "the gates in the order z, r, n",
    ),
    planted(
        GRU,
        "n = np.tanh(x_n + r * h_n)",
        "c = np.split(b_hh, 3)[2]; n = np.tanh(x_n + c + r * (h_n - c))",
        "b_hh of n in the input's half",
    ),
    planted(GRU, "d_h = d_output[t] + d_h_next", "d_h = d_output[t]", "d_h from the step after overwritten"),
    planted(GRU, "d_a_h @ W_hh + d_h * z", "d_h * z", "d_h_prev without the path through W_hh"),
    planted(
        GRU, "d_a_h.T @ h_prev", "d_a_h.T @ ((1 - z) * n + z * h_prev)", "the gradient of W_hh formed with h for h_prev"
    ),
    # The derivatives of the nonlinearities.
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h", "φ′ missing"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h)", "1 − h for tanh′"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - np.tanh(h) ** 2)", "tanh′ taken at the value"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - a * a)", "tanh′ taken of the pre-activation"),
    planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * h * (1 - h)", "σ′ for φ′"),
    planted("RNN relu", "d_a = d_h * (a > 0)", "d_a = d_h", "φ′ missing"),
    planted("RNN relu", "d_a = d_h * (a > 0)", "d_a = d_h * h", "h for relu′"),
    planted("RNN relu", "d_a = d_h * (a > 0)", "d_a = d_h * (1 - h * h)", "tanh′ for φ′"),
    planted(LSTM, "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i", "σ′ missing in i"),
    planted(LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f", "σ′ missing in f"),
    planted(LSTM, "d_a_o = d_o * o * (1 - o)", "d_a_o = d_o", "σ′ missing in o"),
    planted(LSTM, "d_a_o = d_o * o * (1 - o)", "d_a_o = d_o * (1 - o)", "s missing from σ′ in o"),
    planted(LSTM, "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i * i", "1 − s missing from σ′ in i"),
    planted(LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * a_f * (1 - a_f)", "σ′ taken of the pre-activation in f"),
    planted(
        LSTM,
        "d_a_f = d_f * f * (1 - f)",
        "d_a_f = d_f * sigmoid(f) * (1 - sigmoid(f))",
        "σ′ taken at the gate in f",
    ),
    planted(LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * (1 - f * f)", "tanh′ for σ′ in f"),
    planted(
        LSTM,
        "d_a = np.concatenate(",
        "d_a_i, d_a_f, d_a_o = d_i, d_f, d_o; d_a = np.concatenate(",
        "σ′ missing in i, f and o",
    ),
    planted(
        LSTM,
        "d_a = np.concatenate(",
        "d_a_i, d_a_f, d_a_g, d_a_o = d_i, d_f, d_g, d_o; d_a = np.concatenate(",
        "all derivatives of the gates missing",
    ),
    planted(LSTM, "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g", "tanh′ missing in g"),
    planted(LSTM, "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g * (1 - g)", "1 − y for tanh′ in g"),
    planted(LSTM, "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g * g * (1 - g)", "σ′ for tanh′ in g"),
    planted(LSTM, "o * (1 - tanh_c * tanh_c)", "o", "tanh′(c) missing"),
    planted(LSTM, "o * (1 - tanh_c * tanh_c)", "o * (1 - c * c)", "1 − c² for tanh′(c)"),
    planted(LSTM, "o * (1 - tanh_c * tanh_c)", "o * (1 - np.tanh(tanh_c) ** 2)", "tanh′(c) taken at tanh(c)"),
    planted(LSTM, "d_m * o * (1 - tanh_c * tanh_c)", "d_m * (1 - tanh_c * tanh_c)", "o missing on the way from h to c"),
    planted(LSTM, "d_c = d_c_next + d_m * o * (1 - tanh_c * tanh_c)", "d_c = d_c_next", "c gets no gradient from h"),
    planted(LSTM, "d_f = d_c * c_prev", "d_f = d_c * c", "the factor of d_f: c for c_prev"),
    planted(LSTM, "d_i = d_c * g", "d_i = d_c * i", "the factor of d_i: i for g"),
    planted(LSTM, "d_o = d_m * tanh_c", "d_o = d_m * c", "the factor of d_o: c for tanh(c)"),
    planted(LSTM, "d_c_next = d_c * f", "d_c_next = d_c", "the factor of d_c_prev: 1 for f"),
    # The biases.
    planted(BOTH, 'parameters["bias_ih"] + parameters["bias_hh"]', 'parameters["bias_ih"]', "b_hh forgotten"),
    planted(BOTH, 'parameters["bias_ih"] + parameters["bias_hh"]', 'parameters["bias_hh"]', "b_ih forgotten"),
    planted(BOTH, 'parameters["bias_ih"] + parameters["bias_hh"]', "0", "no bias added"),
    planted(
        LSTM,
        'parameters["bias_ih"] + parameters["bias_hh"]',
        'parameters["bias_ih"] + parameters["bias_ih"]',
        "b_ih added twice",
    ),
    planted(BOTH, 'gradients["bias_hh"] += d_a.sum(axis=0)', "pass", "the gradient of b_hh zero"),
    planted(BOTH, "+= d_a.sum(axis=0)", "+= d_a.sum(axis=0) / 2", "the gradients of the two biases shared out"),
    planted(BOTH, "+= d_a.sum(axis=0)", "+= 2 * d_a.sum(axis=0)", "the gradients of the two biases summed"),
    # The two ends.
    planted(RNN, "d_h_next = d_state", "d_h_next = 0 * d_state", "the gradient of h_n ignored"),
    planted(
        LSTM,
        "d_h_next, d_c_next = d_state",
        "d_h_next, d_c_next = 0 * d_state[0], d_state[1]",
        "the gradient of h_n ignored",
    ),
    planted(
        LSTM,
        "d_h_next, d_c_next = d_state",
        "d_h_next, d_c_next = d_state[0], 0 * d_state[1]",
        "the gradient of c_n ignored",
    ),
    planted(
        LSTM,
        "d_h_next, d_c_next = d_state",
        "d_h_next = d_c_next = 0 * d_state[1]",
        "the gradient of h_n and c_n ignored",
    ),
    planted(BOTH, "d_h = d_output[t] + d_h_next", "d_h = d_h_next", "the gradient of the output ignored"),
    planted(
        BOTH,
        "d_h = d_output[t] + d_h_next",
        "d_h = d_output[t] * (t == len(x) - 1) + d_h_next",
        "only the last step's gradient of the output used",
    ),
    planted(RNN, "return d_x, d_h_next, ", "return d_x, 0 * d_h_next, ", "the gradient of h_0 lost"),
    planted(
        LSTM, "return d_x, (d_h_next, d_c_next)", "return d_x, (d_h_next, 0 * d_c_next)", "the gradient of c_0 lost"
    ),
    planted(RNN, "h = state\n", "h = 0 * state\n", "h_0 ignored"),
    planted(LSTM, "h, c = state\n", "h, c = 0 * state[0], 0 * state[1]\n", "h_0 and c_0 ignored"),
    planted(LSTM, "h, c = state\n", "h, c = state[0], 0 * state[1]\n", "c_0 ignored"),
    planted(LSTM, "h, c = state\n", "c, h = state\n", "the parts of the initial state exchanged"),
    # Sums over time.
    planted(
        BOTH,
        'gradients["weight_hh"] += ',
        'gradients["weight_hh"][...] = ',
        "gradient of W_hh of one step only (the first)",
    ),
    planted(
        BOTH,
        'gradients["weight_ih"] += d_a.T @ x_t',
        'gradients["weight_ih"] += d_a.T @ x_t * (t == len(x) - 1)',
        "gradient of W_ih of one step only (the last)",
    ),
    planted(
        BOTH,
        'gradients["weight_hh"] += d_a.T @ h_prev',
        'gradients["weight_hh"] += d_a.T @ h',
        "the gradient of W_hh formed with h for h_prev",
    ),
    planted(
        BOTH,
        'gradients["weight_hh"] += d_a.T @ h_prev',
        'gradients["weight_hh"] += d_a.T @ h_prev * (t > 0)',
        "the gradient of W_hh without the initial state",
    ),
    planted(
        BOTH,
        "return d_x, ",
        "gradients = {n: v / len(x) for n, v in gradients.items()}; return d_x, ",
        "gradients of all weights averaged over the steps",
    ),
    # The equations.
    planted(LSTM, "i = sigmoid(a_i)", "i = sigmoid(2 * a_i)", "σ(2a) for σ(a) in i"),
    planted(LSTM, "f = sigmoid(a_f)", "f = 1 - sigmoid(a_f)", "1 − σ(a) for σ(a) in f"),
    planted(LSTM, "c = f * c_prev + i * g", "c = c_prev + i * g", "the gate f missing"),
    planted(LSTM, "c = f * c_prev + i * g", "c = f * c_prev + (1 - f) * g", "1 − f for i"),
    planted(LSTM, "c = f * c_prev + i * g", "c = (1 - f) * c_prev + i * g", "1 − σ(a) for σ(a) in f"),
    planted(LSTM, "tanh_c = tanh(c)", "tanh_c = c", "tanh(c) missing"),
    planted(LSTM, "g = tanh(a_g)", "g = sigmoid(a_g)", "σ for tanh in g"),
    planted(LSTM, "o = sigmoid(a_o)", "o = tanh(a_o)", "tanh for σ in o"),
    planted(LSTM, "m = o * tanh_c", "m = tanh_c", "the gate o missing"),
]

OPTIONS = {"num_layers": 3, "bidirectional": True}
TWO = {"bidirectional": True}
DEEP = {"num_layers": 3}
PACKED = {"layout": "packed", "lengths": (5, 3, 4)}
K = "k = layer * self.D + direction"

IN_THE_STACK = [
    # Two directions.
    planted(BOTH, "made = made[::-1]", "pass", "the reverse direction not turned back", **TWO),
    planted(BOTH, "half.flip(0) if direction else half", "half", "the reverse direction not turned back", **TWO),
    planted(BOTH, "x.flip(0) if direction else x", "x", "the reverse input not turned around", **TWO),
    planted(BOTH, "part = part[::-1]\n", "pass\n", "the reverse input not turned around", **TWO),
    planted(BOTH, "if direction:\n", "if False:\n", "the reverse direction not reversed", **TWO, lengths=(5, 5)),
    planted(
        BOTH,
        "slice(direction * self.P, (direction + 1) * self.P)",
        "slice((self.D - 1 - direction) * self.P, (self.D - direction) * self.P)",
        "the two directions exchanged in the output",
        **OPTIONS,
    ),
    planted(BOTH, "halves.append(half.", "halves.insert(0, half.", "the two directions exchanged in the output", **TWO),
    planted(
        BOTH, "d_part = d_part[::-1]", "pass", "the reverse direction's gradient of the input not turned back", **TWO
    ),
    planted(
        BOTH,
        "piece = piece[::-1]",
        "pass",
        "the reverse direction's gradient of the output not turned around",
        **TWO,
        **PACKED,
    ),
    planted(BOTH, "d_x = d_x + whole", "d_x = whole", "the forward direction's gradient of the input lost", **OPTIONS),
    planted(
        BOTH,
        "zip(final, self.parts_of(end))",
        "zip(final, (made[-1], *self.parts_of(end)[1:]))",
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
        LSTM,
        "self.weights(layer, direction)",
        "self.weights(0, direction)",
        "the weights of layer 0 in every layer",
        **DEEP,
    ),
    planted(
        RNN,
        "{name.removesuffix(suffix): v for",
        "{name.removesuffix(suffix): dict(self.named_parameters())[name.replace(suffix, '_l0')] for",
        "the weights of layer 0 in every layer",
        **DEEP,
    ),
    planted(
        RNN,
        "value[layer * self.directions + direction] for",
        "value[0] for",
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
        "tuple(value[:, 0] if self.single else value for value in state)",
        "tuple(value.swapaxes(0, 1) if self.batch_first else value for value in state)",
        "the state batch-first too",
        batch_first=True,
    ),
    planted(RNN, "(slice(b, b + 1), self.lengths[b])", "(slice(b, b + 1), time)", "padding not masked", **PACKED),
    planted(
        RNN,
        "tuple(value[:, 0] if self.single else value for value in state)",
        "tuple(value[:, np.argsort([-n for n in self.lengths])] for value in state)",
        "the state of packed sequences in sorted order",
        **PACKED,
    ),
    # Dropout.
    planted(RNN, "mask = mask / (1 - self.p)", "pass", "dropout not scaled", **DEEP, dropout=0.5),
    planted(
        LSTM,
        "d_x = d_x * self.sequences(self.dropout_masks[layer - 1])",
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
    planted(
        RNN,
        "state = self.states(state)\n        final = [np.zeros_like(value) for value in state]",
        "state = self.states(state) if state is not None else [v.copy() for v in vars(self).get('final', "
        "self.states(None))]\n        self.final = final = [np.zeros_like(value) for value in state]",
        "h not reset between calls",
        initial_state=False,
    ),
    planted(
        LSTM,
        "state = self.states(state)\n        final = [np.zeros_like(value) for value in state]",
        "state = self.states(state) if state is not None else [v.copy() for v in vars(self).get('final', "
        "self.states(None))]\n        self.final = final = [np.zeros_like(value) for value in state]",
        "h and c not reset between calls",
        initial_state=False,
    ),
    # A projection.
    planted(LSTM, "else m @ W_hr.T", "else m @ W_hr.reshape(W_hr.shape[::-1])", "W_hr reshaped", proj_size=2),
    planted(
        LSTM,
        "d_m = d_h @ W_hr",
        "d_m = d_h @ W_hr.reshape(W_hr.shape[::-1]).T",
        "W_hr reshaped backward",
        proj_size=2,
    ),
    planted(
        LSTM,
        'gradients["weight_hr"] += ',
        'gradients["weight_hr"][...] = ',
        "gradient of W_hr of one step only (the first)",
        proj_size=2,
    ),
]

TOGETHER = [
    (
        planted(LSTM, "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i"),
        planted(LSTM, "d_c = d_c_next + d_m", "d_c = d_m"),
        ("σ′ missing in i", "d_c from the step after overwritten"),
    ),
    (
        planted(LSTM, "tanh_c = tanh(c)", "tanh_c = c"),
        planted(LSTM, 'parameters["bias_ih"] + parameters["bias_hh"]', 'parameters["bias_ih"]'),
        ("tanh(c) missing", "b_hh forgotten"),
    ),
    (
        planted(
            LSTM,
            "a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)\n        i",
            "a_i, a_f, a_o, a_g = np.split(a, 4, axis=1)\n        i",
        ),
        planted(LSTM, "f = sigmoid(a_f)", "f = sigmoid(2 * a_f)"),
        ("the gates in the order i, f, o, g", "σ(2a) for σ(a) in f"),
    ),
    (
        planted(RNN, "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h)"),
        planted(RNN, 'gradients["bias_hh"] += d_a.sum(axis=0)', "pass"),
        ("1 − h for tanh′", "the gradient of b_hh zero"),
    ),
    (
        planted(RNN, 'parameters["bias_ih"] + parameters["bias_hh"]', 'parameters["bias_ih"]'),
        planted(RNN, "d_h = d_output[t] + d_h_next", "d_h = d_output[t]"),
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
    (
        LSTM,
        'gradients["weight_ih"] += d_a.T @ x_t',
        'gradients["weight_ih"] += d_a.T @ x[t - 1]',
        "Wrong: d_weight_ih. Right: output",
    ),
    (
        RNN,
        "x_t = x[t]\n        h_prev",
        "x_t = x[t - 1]\n        h_prev",
        "The output is wrong from the first step on (of 5)",
    ),
    (
        LSTM,
        "c = f * c_prev + i * g",
        "c = f * c_prev + i * g + (0.1 if t == 2 else 0)",
        "The output is right until step 2 and wrong from step 3 (of 5) on",
    ),
    (
        RNN,
        "d_h_next = d_a @ W_hh\n",
        "d_h_next = 0.9 * d_a @ W_hh\n",
        "d_input is right at the last step and wrong at every earlier one",
    ),
    (
        LSTM,
        "d_c_next = d_c * f",
        "d_c_next = 0.5 * d_c * f",
        "d_input is right at the last step and wrong at every earlier one",
    ),
    (LSTM, "output.append(h)", "output.append(h + 1e-8 * np.sin(1e5 * h))", "as if float32 were used somewhere"),
    (LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * f * (1 - i)", "d_input is wrong from the last step on"),
    (RNN, "d_x[t] = d_a @ W_ih\n", "d_x[t] = np.clip(d_a @ W_ih, -0.5, 0.5)\n", "d_input is right but cut off at ±0.5"),
    (RNN, 'gradients["weight_ih"] += d_a.T @ x_t', 'gradients["weight_ih"] += np.nan', "d_weight_ih is not a number"),
    (
        LSTM,
        "return np.stack(output), (h, c)",
        "return np.stack(output)[:, :, :2], (h, c)",
        "output has the shape (5, 3, 2), expected (5, 3, 4)",
    ),
    (
        LSTM,
        "return np.stack(output), (h, c)",
        "return np.stack(output), (h.astype(np.float32), c)",
        "h_n is float32, expected float64",
    ),
    (RNN, "d_x[t] = d_a @ W_ih\n", "d_x[t] = d_a @ W_ih[None, 0]\n", "It raises an error: ValueError"),
]


def parts() -> list[tuple[str, str]]:
    """The text of plain.py in its parts, with their titles; the first has none."""
    first, *rest = SOURCE.split("\n# === ")
    return [("", first), *(tuple(part.split(" ===\n", 1)) for part in rest)]  # type: ignore[misc]


@cache
def code(text: str) -> types.CodeType:
    return compile(text, "planted.py", "exec")


@cache
def compiled(module: str, replacements: tuple[tuple[str, str], ...] = ()) -> tuple[types.ModuleType, set[str]]:
    """plain.py with faults for one of the modules, and the forms in which they are."""
    texts, touched = [], []
    others = {"RNN", "LSTM", "GRU"} - {module}
    for title, text in parts():
        for old, new in replacements:
            if old in text and not any(other in title for other in others):
                text = text.replace(old, new)
                touched.append(title)
        texts.append(text)
    planted_module = types.ModuleType("planted")
    for text in texts:
        exec(code(text), planted_module.__dict__)
    forms = {
        form
        for title in touched
        for form in (
            ("torch",) if title.startswith("PyTorch") else ("class",) if "stack" in title else ("functions", "class")
        )
    }
    return planted_module, forms


def subject(module: types.ModuleType, cell: str, form: str) -> Implementation:
    name = cell.split()[0]
    if form == "functions":
        forward = "relu_forward" if cell == "RNN relu" else f"{name.lower()}_forward"
        return candidate((getattr(module, forward), getattr(module, f"{name.lower()}_backward")), name, cell)
    return candidate(getattr(module, {"class": name, "torch": f"Torch{name}"}[form]), name, cell)


def cases() -> Iterator[Any]:
    for fault in (*EVERYWHERE, *IN_THE_STACK):
        for cell in fault.cells:
            _, forms = compiled(cell.split()[0], ((fault.old, fault.new),))
            assert forms, f"not in plain.py: {fault.old}"
            for form in sorted(forms):
                yield pytest.param(fault, cell, form, id=f"{', '.join(fault.patterns)} | {cell}, {form}")


def names(diagnosis: Diagnosis) -> tuple[str, ...]:
    return tuple(fault.name for fault in diagnosis.patterns)


@pytest.mark.parametrize(("fault", "cell", "form"), list(cases()))
def test_names_a_planted_fault(fault: Planted, cell: str, form: str) -> None:
    module, _ = compiled(cell.split()[0], ((fault.old, fault.new),))
    diagnosis = diagnose(subject(module, cell, form), Configuration(cell, **fault.options))
    assert names(diagnosis) == fault.patterns, str(diagnosis)
    assert diagnosis.patterns[0].explanation in str(diagnosis)


@pytest.mark.parametrize(("one", "other", "patterns"), TOGETHER)
def test_names_two_planted_faults(one: Planted, other: Planted, patterns: tuple[str, ...]) -> None:
    (cell,) = one.cells
    module, _ = compiled(cell.split()[0], ((one.old, one.new), (other.old, other.new)))
    diagnosis = diagnose(subject(module, cell, "functions"), Configuration(cell))
    assert set(names(diagnosis)) == set(patterns), str(diagnosis)
    assert len(diagnosis.explanations) == 1


@pytest.mark.parametrize(("cell", "old", "new", "seen"), UNKNOWN)
def test_names_no_known_fault_where_there_is_another(cell: str, old: str, new: str, seen: str) -> None:
    module, forms = compiled(cell.split()[0], ((old, new),))
    assert "functions" in forms
    diagnosis = diagnose(subject(module, cell, "functions"), Configuration(cell))
    assert diagnosis.patterns == ()
    assert seen in str(diagnosis)


@pytest.mark.parametrize("form", ["functions", "class", "torch"])
@pytest.mark.parametrize("cell", ["RNN tanh", "RNN relu", "LSTM"])
def test_the_implementations_are_right_without_a_fault(cell: str, form: str) -> None:
    found = check(
        [configuration for configuration in space.grid()[::7] if configuration.cell == cell],
        subject(plain, cell, form),
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
    module, _ = compiled("LSTM", (("made = made[::-1]", "pass"),))
    configuration = Configuration("LSTM", **OPTIONS, batch_first=True, initial_state=False)
    told = str(diagnose(subject(module, "LSTM", "class"), configuration))
    assert "only with two directions" in told
    assert "Only the reverse half of the output is wrong" in told


def test_says_how_the_error_grows_with_the_layer() -> None:
    module, _ = compiled("RNN", (("x = output\n", "x = output * (1 + 0.1 * (layer < self.layers - 1))\n"),))
    told = str(diagnose(subject(module, RNN, "class"), Configuration(RNN, num_layers=3)))
    assert "wrong from layer 1 on" in told


def test_says_that_only_the_second_call_is_wrong() -> None:
    module, _ = compiled("RNN", (("parameter.grad = None\n", "pass\n"),))
    told = str(diagnose(subject(module, RNN, "class"), Configuration(RNN)))
    assert "The first call is right and the second wrong" in told


def test_a_gradient_that_is_missing_is_named() -> None:
    module, _ = compiled("LSTM", (("return d_x, (d_h_next", "del gradients['bias_hh']; return d_x, (d_h_next"),))
    diagnosis = diagnose(subject(module, "LSTM", "functions"), Configuration("LSTM"))
    assert names(diagnosis) == ("the gradient of b_hh zero",)
    assert "d_bias_hh_l0 is missing" in str(diagnosis)


def test_faults_of_what_is_not_offered_do_not_disturb() -> None:
    """A backward pass that knows no gradient of the cell's state, and averages over the batch and the steps."""

    def backward(d_output: Any, d_state: Any, tape: Any) -> Any:
        d_x, (d_h, _), gradients = plain.lstm_backward(d_output, d_state, tape)
        gradients["weight_hh"] = gradients["weight_hh"] / (d_x.shape[0] * d_x.shape[1])
        return d_x, (d_h, None), gradients

    diagnosis = diagnose(candidate((plain.lstm_forward, backward), "LSTM"), Configuration("LSTM"))
    assert names(diagnosis) == ("gradient of W_hh averaged over the steps and batch",)


def of_functions(cell: str, *replacements: tuple[str, str], configuration: Configuration | None = None) -> Diagnosis:
    """What is said to a pair of functions with these faults."""
    module, forms = compiled(cell.split()[0], replacements)
    assert "functions" in forms
    return diagnose(subject(module, cell, "functions"), configuration or Configuration(cell))


@pytest.mark.parametrize("cell", [RNN, "RNN relu", LSTM])
@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("d_x = np.zeros_like(x)", "d_x = np.zeros(x.shape)", "d_input is float64, expected float32 as the input is."),
        ("return np.stack(output)", "return np.stack(output).astype(np.longdouble)", "output is "),
        (
            "return np.stack(output)",
            "return np.stack(output).astype(complex)",
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
@pytest.mark.parametrize("old", ["return np.stack(output)", "return d_x"])
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
        ("return np.stack(output)", "return {} * np.stack(output)"),
        ("h = m if W_hr is None else m @ W_hr.T", "h = {} * m"),
        ("return d_x", "return {} * d_x"),
        ("return d_x", "gradients['weight_hh'] *= {}; return d_x"),
    ],
)
def test_numbers_beyond_all_bounds_name_no_fault(old: str, new: str, factor: str) -> None:
    diagnosis = of_functions(LSTM, (old, new.format(factor)))
    told = str(diagnosis)
    assert diagnosis.patterns == ()
    assert "0000000" not in told
    assert "could not be looked at" not in told


def test_huge_numbers_that_are_the_same_each_time_do_not_differ() -> None:
    told = str(of_functions(LSTM, ("return np.stack(output)", "return 1e200 * np.stack(output)")))
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
    look = take(subject(plain, cell, "class"), configuration, "float64")
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
    module, _ = compiled("RNN", (("d_a.T @ h_prev", "(1 + 1.000000001e-10) * d_a.T @ h_prev"),))
    look = take(subject(module, RNN, "functions"), Configuration(RNN), "float64")
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
    forgotten = 'parameters["bias_ih"] + parameters["bias_hh"]', 'parameters["bias_ih"]'
    detached = "h_prev = h\n            a = x_t", "h_prev = h * 0.5 + h.detach() * 0.5\n            a = x_t"
    tripled = "d_a.T @ x_t", "3 * d_a.T @ x_t"
    module, forms = compiled("RNN", (forgotten, detached if form == "torch" else tripled))
    assert form in forms
    diagnosis = diagnose(subject(module, RNN, form), Configuration(RNN))
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


ON_THE_CLASS = (
    "state = self.states(state)\n        final = [np.zeros_like(value) for value in state]",
    "state = self.states(state) if state is not None else [v.copy() for v in vars(type(self)).get('final', "
    "self.states(None))]\n        type(self).final = final = [np.zeros_like(value) for value in state]",
)


@pytest.mark.parametrize(("cell", "parts"), [(RNN, "h"), (LSTM, "h and c")])
def test_a_state_that_outlives_the_object_is_named(cell: str, parts: str) -> None:
    module, _ = compiled(cell.split()[0], (ON_THE_CLASS,))
    diagnosis = diagnose(subject(module, cell, "class"), Configuration(cell, initial_state=False))
    assert names(diagnosis) == (f"{parts} kept outside the object",)
    assert "A new object starts where another ended" in str(diagnosis)
    assert "a class attribute, a mutable default argument" in str(diagnosis)
    deep = Configuration(cell, initial_state=False, num_layers=2, bidirectional=True)
    assert names(diagnose(subject(module, cell, "class"), deep)) == (f"{parts} kept outside the object",)


@pytest.mark.parametrize("cell", [RNN, LSTM])
def test_gradients_that_outlive_the_call_are_named(cell: str) -> None:
    old = "gradients = {name: np.zeros_like(value) for name, value in parameters.items()}"
    new = old.replace("gradients = ", "gradients = globals().setdefault(('kept', W_ih.shape, W_ih.dtype), ") + ")"
    diagnosis = of_functions(cell, (old, new))
    assert names(diagnosis) == ("gradients kept outside the functions",)
    assert "A new call adds to the gradients that another left" in str(diagnosis)


def test_what_differs_between_new_objects_is_told() -> None:
    told = str(of_functions(RNN, ("d_x[t] = d_a @ W_ih\n", "d_x[t] = d_a @ W_ih * np.random.random()\n")))
    assert "Two calls give different numbers for the same problem, in d_input" in told


def test_the_sentences_are_whole() -> None:
    told = {fault.name: fault.explanation for fault in catalogue(Configuration(LSTM, initial_state=False))}
    assert "h and c of the second call go on where" in told["h and c not reset between calls"]
    assert told["the factor of d_i: i for g"] == "d_i = d_c ⊙ g, and i is there instead of g."
    assert told["the factor of d_i: 1 for g"] == "d_i = d_c ⊙ g, and g is missing."
