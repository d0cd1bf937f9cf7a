"""A long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers, Schmidhuber and Cummins 2000).

     a = W_ih x + b_ih + W_hh h_prev + b_hh       four blocks a_i, a_f, a_g, a_o of (H, B), computed by the time loop
(1)  i = σ(a_i)                                   how much to write
(2)  f = σ(a_f)                                   how much to remember
(3)  g = tanh(a_g)                                what to write
(4)  o = σ(a_o)                                   how much to show
(5)  c = f ⊙ c_prev + i ⊙ g
(6)  h = o ⊙ tanh(c)

With proj_size this h is the m of bptt.py (T3), which the time loop multiplies by W_hr (Sak, Senior and Beaufays 2014).

Kept for backward: the four gates (in the memory of a), tanh(c), c_prev; what the products need, h_prev and x, is kept
by the time loop. Recomputed: nothing.
The way back is derived in ../textbook/lstm.md; the slopes, into which it is cut here, in from_textbook_to_core.md.
"""

import numpy as np

from ..types import Array
from .activations import sigmoid
from .cell import Cell, Equation, Equations, State
from .recurrent import Recurrent
from .recurrent_cell import RecurrentCell


def step(a: Array, state_prev: State, state: State, kept: State) -> None:
    """One step. a: (4, H, B), turned into the gates; c_prev: (H, B). Fills h, c and tanh_c: (H, B) each."""
    (_, c_prev), (h, c), (tanh_c,) = state_prev, state, kept
    i, f, g, o = a  # views of a: what is written there is written here
    sigmoid(a[:2])  # (1), (2)  i and f together
    np.tanh(g, out=g)  # (3)
    sigmoid(o)  # (4)
    np.multiply(f, c_prev, out=c)  # (5)
    c += i * g  # (5)
    np.tanh(c, out=tanh_c)  # (6)
    np.multiply(o, tanh_c, out=h)  # (6)


def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
    """The derivatives of the step. Fills slopes: (6, H, B)."""
    (_, c_prev), (tanh_c,), (i, f, g, o) = state_prev, kept, a
    c_by_a_i, c_by_a_f, c_by_a_g, h_by_a_o, h_by_c, c_by_c_prev = slopes
    np.subtract(1, a[:2], out=slopes[:2])
    slopes[:2] *= a[:2]  # (1), (2)  σ′ = σ(1 − σ)
    c_by_a_i *= g  # (5), (1)  g ⊙ σ′(a_i)
    c_by_a_f *= c_prev  # (5), (2)  c_prev ⊙ σ′(a_f)
    np.multiply(g, g, out=c_by_a_g)
    np.subtract(1, c_by_a_g, out=c_by_a_g)  # (3)  tanh′ = 1 − tanh²
    c_by_a_g *= i  # (5), (3)  i ⊙ tanh′(a_g)
    np.subtract(1, o, out=h_by_a_o)
    h_by_a_o *= o  # (4)  σ′
    h_by_a_o *= tanh_c  # (6), (4)  tanh(c) ⊙ σ′(a_o)
    np.multiply(tanh_c, tanh_c, out=h_by_c)
    np.subtract(1, h_by_c, out=h_by_c)  # tanh′
    h_by_c *= o  # (6)  o ⊙ tanh′(c)
    c_by_c_prev[...] = f  # (5)


def step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[None, State]:
    """The step, backward. d_h, d_c: (H, B), what comes from outside and from the step after.

    Fills d_a: (4, H, B); returns d_c_prev: (H, B). h_prev acts through W_hh alone.
    """
    d_h, d_c = d_state
    h_by_a_o, h_by_c, c_by_c_prev = slopes[3:]
    np.multiply(d_h, h_by_a_o, out=d_a[3])  # (6), (4)  d_a_o
    h_by_c *= d_h
    d_c += h_by_c  # (6)  c acts through h and through the step after
    np.multiply(d_c, slopes[:3], out=d_a[:3])  # (5), (1), (2), (3)  d_a_i, d_a_f, d_a_g
    d_c *= c_by_c_prev  # (5)  now d_c_prev
    return None, (d_c,)


def step_tangent(a_dot: Array, state_prev_dot: State, slopes: Array) -> State:
    """How h and c change in the step. a_dot: (4, H, K), c_prev_dot: (H, K). Returns h_dot, c_dot: (H, K) each.

    h_prev acts through W_hh alone.
    """
    _, c_prev_dot = state_prev_dot
    c_by_a_i, c_by_a_f, c_by_a_g, h_by_a_o, h_by_c, c_by_c_prev = slopes
    a_i_dot, a_f_dot, a_g_dot, a_o_dot = a_dot
    c_dot = c_by_a_i * a_i_dot + c_by_a_f * a_f_dot + c_by_a_g * a_g_dot + c_by_c_prev * c_prev_dot  # (5)
    h_dot = h_by_a_o * a_o_dot + h_by_c * c_dot  # (6)
    return h_dot, c_dot


CELL = Cell(
    gates=("i", "f", "g", "o"),
    state=("h", "c"),
    keeps_a=True,
    kept=1,
    slopes=6,
    step=step,
    linearize=linearize,
    step_backward=step_backward,
    step_tangent=step_tangent,
    equations=Equations(
        forward=(
            Equation("1", "i = σ(a_i)"),
            Equation("2", "f = σ(a_f)"),
            Equation("3", "g = tanh(a_g)"),
            Equation("4", "o = σ(a_o)"),
            Equation("5", "c = f ⊙ c_prev + i ⊙ g"),
            Equation("6", "h = o ⊙ tanh(c)"),
        ),
        backward=(
            Equation("6, 4", "d_a_o = d_h ⊙ tanh(c) ⊙ o ⊙ (1 − o)"),
            Equation("6", "d_c = d_c_after + d_h ⊙ o ⊙ (1 − tanh²(c))"),
            Equation("5, 1", "d_a_i = d_c ⊙ g ⊙ i ⊙ (1 − i)"),
            Equation("5, 2", "d_a_f = d_c ⊙ c_prev ⊙ f ⊙ (1 − f)"),
            Equation("5, 3", "d_a_g = d_c ⊙ i ⊙ (1 − g²)"),
            Equation("5", "d_c_prev = d_c ⊙ f"),
        ),
    ),
)


class LSTM(Recurrent[tuple[Array, Array]]):
    """A long short-term memory over whole sequences, as `torch.nn.LSTM`.

    input_size: I. hidden_size: H. num_layers: L. proj_size: P, 0 for no projection. What the other arguments do, the
    shapes, and what is raised when: see `Recurrent`. The state is the pair (h, c):
    `output, (h_n, c_n) = lstm(x, (h_0, c_0))`, `d_x, (d_h_0, d_c_0) = lstm.backward(d_output, (d_h_n, d_c_n))`.
    """

    cell = CELL
    projects = True


class LSTMCell(RecurrentCell[tuple[Array, Array]]):
    """One step of an LSTM, as `torch.nn.LSTMCell`.

    `h, c = cell(x, (h, c))`, `d_x, (d_h, d_c) = cell.backward((d_h, d_c))`. Shapes,
    and what is raised when: see `RecurrentCell`.
    """

    cell = CELL
