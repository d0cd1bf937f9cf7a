"""From the textbook to the core: one LSTM training step, written six times, each rung a few lines on top of the last.

The mathematics of a step stands once, in `step` and `step_backward`, and every rung computes the same numbers to
rounding. What changes is how the matrix products are asked for, and where the results go:

    per gate       the textbook: for each step and each gate its own products, eight forward
    grouped        the four gates' weights are one matrix already: one product instead of four
    hoisted        W_ih x needs no step before: one product for all steps, before the loop; d_x likewise, after it
    gathered       nor does Σ d_a xᵀ: d_a is kept, and each weight gradient is one product after the loop
    columns        states are (H, B) and the product is W_hh @ h: each gate lies in memory in one piece
    buffers        memory is allocated once and used again: the loop touches no fresh page
    scratch.nn     the core itself: the slopes of many steps at once, large layers in blocks and divided among threads;
                   with packing, layers, directions, projections and checks

These are the steps by which cuDNN became fast (Appleyard, Kočiský and Blunsom 2016, arXiv 1604.01946). What is left to
it is to fuse the elementwise work into a kernel, and to keep W_hh on the chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch.types import Array

from .contestants import MODULE, Contestant
from .problems import Numbers

Gates = Any
"""The four gates, or their pre-activations or gradients: i, f, g, o in a sequence, each (B, H) or (H, B)."""


def sigmoid(a: Array) -> Array:
    """σ(a)."""
    result: Array = 1 / (1 + np.exp(-a))
    return result


def step(a: Gates, c_prev: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """One step of an LSTM from its pre-activations. Returns h, c and what backward needs."""
    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
    c = f * c_prev + i * g
    tanh_c = np.tanh(c)
    return o * tanh_c, c, (i, f, g, o, c_prev, tanh_c)


def step_backward(d_h: Array, d_c: Array, kept: tuple[Array, ...]) -> tuple[list[Array], Array]:
    """The same step, backward. Returns the gradients of the four pre-activations and of c_prev."""
    i, f, g, o, c_prev, tanh_c = kept
    d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
    d_a = [d_c * g * i * (1 - i), d_c * c_prev * f * (1 - f), d_c * i * (1 - g * g), d_h * tanh_c * o * (1 - o)]
    return d_a, d_c * f


class PerGate:
    """The textbook: for each step and each gate its own products."""

    name = "per gate"

    def __init__(self, numbers: Numbers) -> None:
        self.W_ih, self.W_hh, self.b_ih, self.b_hh = numbers.parameters.values()
        self.H = self.W_hh.shape[1]

    def forward(self, x: Array) -> Array:
        """x: (T, B, I). Returns output: (T, B, H)."""
        self.x = x
        self.before_loop()
        h = c = np.zeros(self.state_shape(), x.dtype)
        self.h_prev, self.kept, output = [], [], []
        for t in range(len(x)):
            self.h_prev.append(h)
            h, c, kept = step(self.pre_activations(t, h), c)
            self.kept.append(kept)
            output.append(h)
        return self.as_output(output)

    def backward(self, d_output: Array) -> tuple[Array, dict[str, Array]]:
        """d_output: (T, B, H). Returns d_x: (T, B, I) and the gradients of the parameters."""
        self.d_x = np.empty_like(self.x)
        self.d_W_ih, self.d_W_hh, self.d_b = (np.zeros_like(w) for w in (self.W_ih, self.W_hh, self.b_ih))
        self.d_a: list[Any] = [None] * len(self.x)
        d_h_next = d_c = np.zeros(self.state_shape(), self.x.dtype)
        for t in reversed(range(len(self.x))):
            d_a, d_c = step_backward(self.as_state(d_output[t]) + d_h_next, d_c, self.kept[t])
            d_h_next = self.step_gradients(t, d_a)
        self.after_loop()
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return self.d_x, dict(zip(names, (self.d_W_ih, self.d_W_hh, self.d_b, self.d_b.copy()), strict=True))

    # What the rungs above change:

    def rows_of(self, gate: int) -> slice:
        """The rows of the weights that belong to a gate."""
        return slice(gate * self.H, (gate + 1) * self.H)

    def pre_activations(self, t: int, h: Array) -> Gates:
        """a = W_ih x + b_ih + W_hh h_prev + b_hh, for each gate."""
        return [
            self.x[t] @ self.W_ih[rows].T + self.b_ih[rows] + h @ self.W_hh[rows].T + self.b_hh[rows]
            for rows in map(self.rows_of, range(4))
        ]

    def step_gradients(self, t: int, d_a: list[Array]) -> Array:
        """Everything that comes from d_a. Returns d_h_prev; the rest is added up."""
        self.d_x[t] = 0
        d_h_prev = np.zeros_like(d_a[0])
        for gate, d in enumerate(d_a):
            rows = self.rows_of(gate)
            self.d_x[t] += d @ self.W_ih[rows]
            self.d_W_ih[rows] += d.T @ self.x[t]
            self.d_W_hh[rows] += d.T @ self.h_prev[t]
            self.d_b[rows] += d.sum(axis=0)
            d_h_prev += d @ self.W_hh[rows]
        return d_h_prev

    def before_loop(self) -> None:
        """What is computed for all steps at once, forward."""

    def after_loop(self) -> None:
        """What is computed for all steps at once, backward."""

    def state_shape(self) -> tuple[int, int]:
        """A state is rows: (B, H)."""
        return self.x.shape[1], self.H

    def as_state(self, rows: Array) -> Array:
        """Rows (B, H) as a state."""
        return rows

    def as_output(self, states: list[Array]) -> Array:
        """The states of all steps as (T, B, H)."""
        return np.stack(states)


class Grouped(PerGate):
    """One product for all four gates."""

    name = "grouped"

    def pre_activations(self, t: int, h: Array) -> Gates:
        """(B, 4H), cut into four."""
        return np.split(self.x[t] @ self.W_ih.T + self.b_ih + h @ self.W_hh.T + self.b_hh, 4, axis=1)

    def step_gradients(self, t: int, d_a: list[Array]) -> Array:
        """The four gradients side by side, (B, 4H)."""
        d = np.concatenate(d_a, axis=1)
        self.d_x[t] = d @ self.W_ih
        self.d_W_ih += d.T @ self.x[t]
        self.d_W_hh += d.T @ self.h_prev[t]
        self.d_b += d.sum(axis=0)
        return d @ self.W_hh


class Hoisted(Grouped):
    """W_ih x and d_x are one product for all steps."""

    name = "hoisted"

    def before_loop(self) -> None:
        """W_ih x + b for all steps."""
        self.input_part = self.x @ self.W_ih.T + (self.b_ih + self.b_hh)

    def pre_activations(self, t: int, h: Array) -> Gates:
        """Only W_hh h_prev is left in the loop."""
        return np.split(self.input_part[t] + h @ self.W_hh.T, 4, axis=1)

    def step_gradients(self, t: int, d_a: list[Array]) -> Array:
        """d_a is kept for after the loop."""
        d = self.d_a[t] = np.concatenate(d_a, axis=1)
        self.d_W_ih += d.T @ self.x[t]
        self.d_W_hh += d.T @ self.h_prev[t]
        self.d_b += d.sum(axis=0)
        return d @ self.W_hh

    def after_loop(self) -> None:
        """d_x for all steps."""
        self.d_x = np.stack(self.d_a) @ self.W_ih


class Gathered(Hoisted):
    """The weight gradients are one product each: a sum over t of products is a product of what stands side by side."""

    name = "gathered"

    def step_gradients(self, t: int, d_a: list[Array]) -> Array:
        """Only W_hhᵀ d_a is left in the loop."""
        self.d_a[t] = np.concatenate(d_a, axis=1)
        return self.d_a[t] @ self.W_hh

    def after_loop(self) -> None:
        """All other gradients, from all steps."""
        d_a = np.concatenate(self.d_a)  # T·B, 4H
        self.d_x = (d_a @ self.W_ih).reshape(self.x.shape)
        self.d_W_ih = d_a.T @ self.x.reshape(len(d_a), -1)
        self.d_W_hh = d_a.T @ np.concatenate(self.h_prev)
        self.d_b = d_a.sum(axis=0)


class Columns(Gathered):
    """States are columns, (H, B), and all steps together have T·B of them."""

    name = "columns"

    def before_loop(self) -> None:
        """W_ih x + b for all steps: (4H, T·B)."""
        steps, batch, features = self.x.shape
        self.at = [slice(t * batch, (t + 1) * batch) for t in range(steps)]
        self.input_part = self.W_ih @ self.x.reshape(-1, features).T + (self.b_ih + self.b_hh)[:, None]

    def pre_activations(self, t: int, h: Array) -> Gates:
        """(4H, B), cut into four without a copy."""
        return (self.input_part[:, self.at[t]] + self.W_hh @ h).reshape(4, *h.shape)

    def step_gradients(self, t: int, d_a: list[Array]) -> Array:
        """The four gradients one above the other, (4H, B)."""
        self.d_a[t] = np.concatenate(d_a)
        return self.W_hh.T @ self.d_a[t]

    def after_loop(self) -> None:
        """All other gradients, from all columns."""
        d_a = np.concatenate(self.d_a, axis=1)  # 4H, T·B
        self.d_x = (d_a.T @ self.W_ih).reshape(self.x.shape)
        self.d_W_ih = d_a @ self.x.reshape(d_a.shape[1], -1)
        self.d_W_hh = d_a @ np.concatenate(self.h_prev, axis=1).T
        self.d_b = d_a.sum(axis=1)

    def state_shape(self) -> tuple[int, int]:
        """A state is columns: (H, B)."""
        return self.H, self.x.shape[1]

    def as_state(self, rows: Array) -> Array:
        """Rows (B, H) turned."""
        return rows.T

    def as_output(self, states: list[Array]) -> Array:
        """(T, H, B) turned."""
        return np.stack(states).swapaxes(1, 2).copy()


class Buffers(Columns):
    """Memory is allocated at the first call and used again. The same lines, each with a place for its result."""

    name = "buffers"

    def before_loop(self) -> None:
        """The memory of all steps, if there is none yet for this shape; then W_ih x + b into it."""
        steps, batch, features = self.x.shape
        if getattr(self, "a", np.empty(0)).shape != (steps, 4 * self.H, batch):
            self.at = [slice(t * batch, (t + 1) * batch) for t in range(steps)]
            dtype = self.x.dtype
            self.a = np.empty((steps, 4 * self.H, batch), dtype)
            self.h, self.c, self.tanh_c = np.empty((3, steps, self.H, batch), dtype)
            self.input_part, self.d_a_columns = np.empty((2, 4 * self.H, steps * batch), dtype)
            self.h_prev_columns = np.empty((self.H, steps * batch), dtype)
            self.d_a_step, self.scratch = np.empty((2, 4 * self.H, batch), dtype)
            self.d_h = np.empty((self.H, batch), dtype)
        np.matmul(self.W_ih, self.x.reshape(-1, features).T, out=self.input_part)
        self.input_part += (self.b_ih + self.b_hh)[:, None]

    def forward(self, x: Array) -> Array:
        """x: (T, B, I). Returns output: (T, B, H)."""
        self.x = x
        self.before_loop()
        h = c = self.zeros = np.zeros(self.state_shape(), x.dtype)
        for t, a in enumerate(self.a):
            np.matmul(self.W_hh, h, out=a)
            a += self.input_part[:, self.at[t]]
            h, c = self.step(a, c, self.h[t], self.c[t], self.tanh_c[t])
        return self.h.swapaxes(1, 2).copy()

    def step(self, a: Array, c_prev: Array, h: Array, c: Array, tanh_c: Array) -> tuple[Array, Array]:
        """One step; the pre-activations turn into the gates where they lie."""
        i, f, g, o = a.reshape(4, *c.shape)
        for gates in (a[: 2 * self.H], o):  # i and f together
            np.negative(gates, out=gates)
            np.exp(gates, out=gates)
            gates += 1
            np.reciprocal(gates, out=gates)
        np.tanh(g, out=g)
        np.multiply(f, c_prev, out=c)
        c += np.multiply(i, g, out=h)
        np.tanh(c, out=tanh_c)
        np.multiply(o, tanh_c, out=h)
        return h, c

    def backward(self, d_output: Array) -> tuple[Array, dict[str, Array]]:
        """d_output: (T, B, H). Returns d_x: (T, B, I) and the gradients of the parameters."""
        self.d_h[...] = 0
        d_c = np.zeros_like(self.d_h)
        for t in reversed(range(len(self.x))):
            h_prev, c_prev = (self.h[t - 1], self.c[t - 1]) if t else (self.zeros, self.zeros)
            self.d_h += d_output[t].T
            self.step_backward(self.a[t], c_prev, self.tanh_c[t], d_c)
            self.d_a_columns[:, self.at[t]] = self.d_a_step
            self.h_prev_columns[:, self.at[t]] = h_prev
            np.matmul(self.W_hh.T, self.d_a_step, out=self.d_h)
        d_a, rows = self.d_a_columns, self.x.reshape(-1, self.x.shape[2])
        d_b = d_a.sum(axis=1)
        gradients = {"weight_ih_l0": d_a @ rows, "weight_hh_l0": d_a @ self.h_prev_columns.T}
        gradients |= {"bias_ih_l0": d_b, "bias_hh_l0": d_b.copy()}
        return (d_a.T @ self.W_ih).reshape(self.x.shape), gradients

    def step_backward(self, a: Array, c_prev: Array, tanh_c: Array, d_c: Array) -> None:
        """The same step, backward: fills d_a_step and turns d_c into d_c_prev."""
        shape = (4, *d_c.shape)
        (i, f, g, o), (d_i, d_f, d_g, d_o) = a.reshape(shape), self.d_a_step.reshape(shape)
        derivative, (spare, *_) = self.scratch, self.scratch.reshape(shape)
        np.multiply(tanh_c, tanh_c, out=spare)
        np.subtract(1, spare, out=spare)
        spare *= o
        spare *= self.d_h
        d_c += spare
        np.multiply(self.d_h, tanh_c, out=d_o)
        np.multiply(d_c, g, out=d_i)
        np.multiply(d_c, c_prev, out=d_f)
        np.multiply(d_c, i, out=d_g)
        d_c *= f
        np.subtract(1, a, out=derivative)  # σ′ = σ(1 − σ)
        derivative *= a
        slope_of_g = derivative.reshape(shape)[2]
        np.multiply(g, g, out=slope_of_g)  # but tanh′ = 1 − tanh²
        np.subtract(1, slope_of_g, out=slope_of_g)
        self.d_a_step *= derivative


RUNGS: dict[str, type[PerGate]] = {rung.name: rung for rung in (PerGate, Grouped, Hoisted, Gathered, Columns, Buffers)}
"""The rungs in NumPy, from the lowest."""

LOOP = "PyTorch loop"
"""The rung of a Python loop over `torch.nn.LSTMCell`."""

GAINS = {
    "per gate": "for each step and gate its own products",
    "grouped": "one product for all four gates",
    "hoisted": "W_ih x and d_x: one product for all steps",
    "gathered": "weight gradients: one product after the loop",
    "columns": "states are (H, B)",
    "buffers": "memory is used again",
    "scratch": "the core: slopes of many steps at once, blocks, threads; all options",
    LOOP: "torch.nn.LSTMCell, step by step",
    "PyTorch": "torch.nn.LSTM",
}
"""What is new on each rung."""


def rungs(dtype: str, device: str) -> list[Contestant]:
    """The ladder from below: the rungs in NumPy, the core, a loop in PyTorch, and PyTorch's own or cuDNN.

    Without a GPU, where one is asked for, those who need one still stand on it, and can say so.
    """
    ladder = [Contestant("scratch", dtype, form=name) for name in RUNGS]
    ladder.append(Contestant("scratch", dtype, form=MODULE))
    if device == "cpu":
        return [*ladder, Contestant("PyTorch", dtype, form=LOOP), Contestant("PyTorch", dtype)]
    loop = Contestant("PyTorch", dtype, "cuda", form=LOOP)
    own = [Contestant("PyTorch", dtype, "cuda", cudnn=cudnn) for cudnn in (False, True)]
    half = [Contestant("PyTorch", "float32", "cuda", "tf32"), Contestant("PyTorch", "float16", "cuda")]
    return [*ladder, loop, *own, *(half if dtype == "float32" else [])]
