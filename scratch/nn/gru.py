"""A gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate acts after the recurrent product.

     a_r, a_z = W_ih x + b_ih + W_hh h_prev + b_hh     two blocks of (H, B), computed by the time loop
     a_n_x    = W_ih x + b_ih                          the third block, its two halves apart
     a_n_h    = W_hh h_prev + b_hh
(1)  r = σ(a_r)                                        how much of the state to look at
(2)  z = σ(a_z)                                        how much of the state to keep
(3)  n = tanh(a_n_x + r ⊙ a_n_h)                       what to write
(4)  h = (1 − z) ⊙ n + z ⊙ h_prev

Cho et al. reset first, W_hh (r ⊙ h_prev). The form here is that of cuDNN: it has one recurrent product instead of two,
one after the other. (Chung et al. 2014, and many after them, let z and 1 − z change places.)

Kept for backward: r, z, a_n_h and n (in the memory of a); h_prev, which the products need, too, is kept by the time
loop. Recomputed: nothing.
The way back is derived in ../textbook/gru.md; the slopes, into which it is cut here, in from_textbook_to_core.md.
"""

import numpy as np

from ..types import Array
from .activations import sigmoid
from .cell import Cell, Equation, Equations, State
from .recurrent import Recurrent
from .recurrent_cell import RecurrentCell


def step(a: Array, state_prev: State, state: State, kept: State) -> None:
    """One step. a: (4, H, B): a_r, a_z, a_n_h, a_n_x, turned into r, z, a_n_h, n; h_prev: (H, B). Fills h: (H, B)."""
    (h_prev,), (h,) = state_prev, state
    r, z, a_n_h, n = a  # views of a: what is written there is written here
    sigmoid(a[:2])  # (1), (2)  r and z together
    np.multiply(r, a_n_h, out=h)
    n += h  # (3)
    np.tanh(n, out=n)  # (3)
    np.subtract(h_prev, n, out=h)
    h *= z
    h += n  # (4)  (1 − z) ⊙ n + z ⊙ h_prev = n + z ⊙ (h_prev − n)


def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
    """The derivatives of the step. Fills slopes: (5, H, B)."""
    (h_prev,), (r, z, a_n_h, n) = state_prev, a
    h_by_a_r, h_by_a_z, h_by_a_n_h, h_by_a_n_x, h_by_h_prev = slopes
    h_by_h_prev[...] = z  # (4)
    np.subtract(1, a[:2], out=slopes[:2])  # 1 − r, 1 − z
    np.multiply(n, n, out=h_by_a_n_x)
    np.subtract(1, h_by_a_n_x, out=h_by_a_n_x)  # (3)  tanh′ = 1 − tanh²
    h_by_a_n_x *= h_by_a_z  # (4), (3)  (1 − z) ⊙ tanh′
    np.multiply(h_by_a_n_x, r, out=h_by_a_n_h)  # (3)  a_n_h acts through r
    h_by_a_r *= h_by_a_n_h  # (3), (1)  σ′ = r(1 − r), of which r is there already
    h_by_a_r *= a_n_h
    h_by_a_z *= z  # (2)  σ′
    h_by_a_z *= h_prev - n  # (4)


def step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[Array, State]:
    """The step, backward. d_h: (H, B). Fills d_a: (4, H, B), in the order of a.

    Returns what h_prev gets directly, by (4): (H, B).
    """
    (d_h,) = d_state
    np.multiply(d_h, slopes[:4], out=d_a)  # (1), (2), (3)  d_a_r, d_a_z, d_a_n_h, d_a_n_x
    d_h_direct: Array = d_h * slopes[4]  # (4)  d_h ⊙ z
    return d_h_direct, ()


def step_tangent(a_dot: Array, state_prev_dot: State, slopes: Array) -> State:
    """How h changes in the step. a_dot: (4, H, K), h_prev_dot: (H, K). Returns h_dot: (H, K)."""
    (h_prev_dot,) = state_prev_dot
    h_by_a_r, h_by_a_z, h_by_a_n_h, h_by_a_n_x, h_by_h_prev = slopes
    a_r_dot, a_z_dot, a_n_h_dot, a_n_x_dot = a_dot
    h_dot = h_by_a_z * a_z_dot + h_by_h_prev * h_prev_dot  # (4), (2)
    h_dot += h_by_a_r * a_r_dot + h_by_a_n_h * a_n_h_dot + h_by_a_n_x * a_n_x_dot  # (3), (1)
    return (h_dot,)


CELL = Cell(
    gates=("r", "z", "n"),
    apart=1,
    state=("h",),
    keeps_a=True,
    kept=0,
    slopes=5,
    step=step,
    linearize=linearize,
    step_backward=step_backward,
    step_tangent=step_tangent,
    equations=Equations(
        forward=(
            Equation("1", "r = σ(a_r)"),
            Equation("2", "z = σ(a_z)"),
            Equation("3", "n = tanh(a_n_x + r ⊙ a_n_h)"),
            Equation("4", "h = (1 − z) ⊙ n + z ⊙ h_prev"),
        ),
        backward=(
            Equation("4, 2", "d_a_z = d_h ⊙ (h_prev − n) ⊙ z ⊙ (1 − z)"),
            Equation("4, 3", "d_a_n_x = d_h ⊙ (1 − z) ⊙ (1 − n²)"),
            Equation("3", "d_a_n_h = d_a_n_x ⊙ r"),
            Equation("3, 1", "d_a_r = d_a_n_x ⊙ a_n_h ⊙ r ⊙ (1 − r)"),
            Equation("4", "d_h_direct = d_h ⊙ z"),
        ),
    ),
)


class GRU(Recurrent[Array]):
    """A gated recurrent unit over whole sequences, as `torch.nn.GRU`.

    input_size: I. hidden_size: H. num_layers: L. What the other arguments do, the shapes, and what is raised when: see
    `Recurrent`. The state is one array, h: `output, h_n = gru(x, h_0)`, `d_x, d_h_0 = gru.backward(d_output, d_h_n)`.

    Raises ValueError for a projection, which PyTorch offers for the LSTM alone.
    """

    cell = CELL


class GRUCell(RecurrentCell[Array]):
    """One step of a GRU, as `torch.nn.GRUCell`: `h = cell(x, h)`, `d_x, d_h = cell.backward(d_h)`.

    Shapes, and what is raised when: see `RecurrentCell`.
    """

    cell = CELL
