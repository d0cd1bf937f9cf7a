"""A long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers, Schmidhuber and Cummins 2000).

     a = W_ih x + b_ih + W_hh h_prev + b_hh       (4H, B), four row blocks a_i, a_f, a_g, a_o, computed by the time loop
(1)  i = σ(a_i)                                   how much to write
(2)  f = σ(a_f)                                   how much to remember
(3)  g = tanh(a_g)                                what to write
(4)  o = σ(a_o)                                   how much to show
(5)  c = f ⊙ c_prev + i ⊙ g
(6)  h = o ⊙ tanh(c)

With proj_size this h is the m of bptt.py (T3), which the time loop multiplies by W_hr (Sak, Senior and Beaufays 2014).

Kept for backward: the four gates (in the memory of a), tanh(c), c_prev; what the products need, h_prev and x, is kept
by the time loop. Recomputed: nothing.
The derivation of every line is in lstm.md.
"""

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from .activations import sigmoid
from .bptt import Cell, State
from .recurrent import Recurrent, RecurrentCell


def step(a: Array, state_prev: State, state: State, kept: State) -> None:
    """One step. a: (4H, B), turned into the gates; c_prev: (H, B). Fills h, c and tanh_c: (H, B) each."""
    (_, c_prev), (h, c), (tanh_c,) = state_prev, state, kept
    H = len(c)
    i, f, g, o = a.reshape(4, *c.shape)  # views of a: what is written there is written here
    sigmoid(a[: 2 * H])  # (1), (2)  i and f together, the first 2H rows of a
    np.tanh(g, out=g)  # (3)
    sigmoid(o)  # (4)
    np.multiply(f, c_prev, out=c)  # (5)
    c += i * g  # (5)
    np.tanh(c, out=tanh_c)  # (6)
    np.multiply(o, tanh_c, out=h)  # (6)


def step_backward(
    d_state: State, a: Array, state_prev: State, state: State, kept: State, d_a: Array
) -> tuple[None, State]:
    """The same step, backward. d_h, d_c: (H, B), what comes from outside and from the step after.

    Fills d_a: (4H, B); returns d_c_prev: (H, B). h_prev acts through W_hh alone.
    """
    (d_h, d_c), (_, c_prev), (tanh_c,) = d_state, state_prev, kept
    i, f, g, o = a.reshape(4, *d_c.shape)
    d_i, d_f, d_g, d_o = d_a.reshape(4, *d_c.shape)
    np.multiply(d_h, tanh_c, out=d_o)  # (6)  d_o = d_h ⊙ tanh(c)
    d_c += d_h * o * (1 - tanh_c * tanh_c)  # (6)  tanh′ = 1 − tanh²; c also acts through the step after
    np.multiply(d_c, g, out=d_i)  # (5)
    np.multiply(d_c, c_prev, out=d_f)  # (5)
    np.multiply(d_c, i, out=d_g)  # (5)
    d_c *= f  # (5)  now d_c_prev
    d_i *= i * (1 - i)  # (1)  d_a_i: σ′ = σ(1 − σ)
    d_f *= f * (1 - f)  # (2)  d_a_f
    d_g *= 1 - g * g  # (3)  d_a_g: tanh′ = 1 − tanh²
    d_o *= o * (1 - o)  # (4)  d_a_o
    return None, (d_c,)


def step_tangent(a_dot: Array, state_prev_dot: State, a: Array, state_prev: State, state: State, kept: State) -> State:
    """How h and c change in the same step. a_dot: (4H, K), c_prev_dot: (H, K). Returns h_dot, c_dot: (H, K) each.

    h_prev acts through W_hh alone.
    """
    (_, c_prev_dot), (_, c_prev), (tanh_c,) = state_prev_dot, state_prev, kept
    i, f, g, o = a.reshape(4, *tanh_c.shape)
    a_i_dot, a_f_dot, a_g_dot, a_o_dot = a_dot.reshape(4, *c_prev_dot.shape)
    i_dot = i * (1 - i) * a_i_dot  # (1)  σ′ = σ(1 − σ)
    f_dot = f * (1 - f) * a_f_dot  # (2)
    g_dot = (1 - g * g) * a_g_dot  # (3)  tanh′ = 1 − tanh²
    o_dot = o * (1 - o) * a_o_dot  # (4)
    c_dot = f * c_prev_dot + c_prev * f_dot + i * g_dot + g * i_dot  # (5)
    h_dot = tanh_c * o_dot + o * (1 - tanh_c * tanh_c) * c_dot  # (6)
    return h_dot, c_dot


CELL = Cell(
    gates=("i", "f", "g", "o"),
    state=("h", "c"),
    keeps_a=True,
    kept=1,
    step=step,
    step_backward=step_backward,
    step_tangent=step_tangent,
)


class LSTM(Recurrent[tuple[Array, Array]]):
    """A long short-term memory over whole sequences, as `torch.nn.LSTM`.

    input_size: I. hidden_size: H. num_layers: L. proj_size: P, 0 for no projection. What the other arguments do, the
    shapes, and what is raised when: see `Recurrent`. The state is the pair (h, c):
    `output, (h_n, c_n) = lstm(x, (h_0, c_0))`, `d_x, (d_h_0, d_c_0) = lstm.backward(d_output, (d_h_n, d_c_n))`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
        *,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(
            CELL,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype,
            rng,
            checkpoint_every=checkpoint_every,
        )


class LSTMCell(RecurrentCell[tuple[Array, Array]]):
    """One step of an LSTM, as `torch.nn.LSTMCell`.

    `h, c = cell(x, (h, c))`, `d_x, (d_h, d_c) = cell.backward((d_h, d_c))`. Shapes,
    and what is raised when: see `RecurrentCell`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__(CELL, input_size, hidden_size, bias, dtype, rng)
