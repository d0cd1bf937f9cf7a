"""An Elman RNN (Elman 1990), with tanh or with relu.

     a = W_ih x + b_ih + W_hh h_prev + b_hh       (H, B), computed by the time loop (bptt.py)
(1)  h = φ(a)                                     φ is tanh or relu

Kept for backward: h. Recomputed: nothing, because φ′ follows from h: tanh′ = 1 − h², relu′ = [h > 0].
The equations and their derivatives are derived in ../textbook/rnn.md.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from .activations import relu
from .cell import Cell, Equation, Equations, State
from .recurrent import Recurrent
from .recurrent_cell import RecurrentCell


def tanh_step(a: Array, state_prev: State, state: State, kept: State) -> None:
    """One step. a: (1, H, B). Fills h: (H, B)."""
    (h,), (a_h,) = state, a
    np.tanh(a_h, out=h)  # (1)  H, B


def tanh_linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
    """The derivative of the step. Fills slopes: (1, H, B)."""
    (h,), (h_by_a,) = state, slopes
    np.multiply(h, h, out=h_by_a)
    np.subtract(1, h_by_a, out=h_by_a)  # (1)  tanh′ = 1 − h²


def tanh_step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[None, State]:
    """The step, backward. d_h: (H, B). Fills d_a: (1, H, B). h_prev acts through W_hh alone."""
    (d_h,) = d_state
    np.multiply(d_h, slopes, out=d_a)  # (1)  d_a = d_h ⊙ φ′
    return None, ()


def tanh_step_tangent(a_dot: Array, state_prev_dot: State, slopes: Array) -> State:
    """How h changes in the step. a_dot: (1, H, K). Returns h_dot: (H, K). h_prev acts through W_hh alone."""
    (a_h_dot,), (h_by_a,) = a_dot, slopes
    h_dot = h_by_a * a_h_dot  # (1)  h_dot = φ′ ⊙ a_dot
    return (h_dot,)


def relu_step(a: Array, state_prev: State, state: State, kept: State) -> None:
    """One step. a: (1, H, B). Fills h: (H, B)."""
    (h,), (a_h,) = state, a
    relu(a_h, out=h)  # (1)  H, B


def relu_linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
    """The derivative of the step, taken as 0 at 0. Fills slopes: (1, H, B)."""
    (h,), (h_by_a,) = state, slopes
    h_by_a[...] = ~(h.real <= 0)  # (1)  relu′ = [h > 0]; 1 at NaN, so that d_h passes


def relu_step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[None, State]:
    """The step, backward. d_h: (H, B). Fills d_a: (1, H, B)."""
    (d_h,) = d_state
    np.multiply(d_h, slopes, out=d_a)  # (1)  d_a = d_h ⊙ [h > 0]
    if not np.isfinite(d_a).all():
        d_a[...] = np.where(slopes == 0, 0, d_h)  # (1)  0 also for an infinite d_h; far slower, as it branches
    return None, ()


def relu_step_tangent(a_dot: Array, state_prev_dot: State, slopes: Array) -> State:
    """How h changes in the step. a_dot: (1, H, K). Returns h_dot: (H, K)."""
    (a_h_dot,), (h_by_a,) = a_dot, slopes
    h_dot = np.where(h_by_a == 0, 0, a_h_dot)  # (1)  h_dot = [h > 0] ⊙ a_dot
    return (h_dot,)


TANH = Cell(
    gates=("h",),
    state=("h",),
    keeps_a=False,
    kept=0,
    slopes=1,
    step=tanh_step,
    linearize=tanh_linearize,
    step_backward=tanh_step_backward,
    step_tangent=tanh_step_tangent,
    equations=Equations(
        forward=(Equation("1", "h = tanh(a)"),),
        backward=(Equation("1", "d_a = d_h ⊙ (1 − h²)"),),
    ),
)
RELU = TANH._replace(
    step=relu_step,
    linearize=relu_linearize,
    step_backward=relu_step_backward,
    step_tangent=relu_step_tangent,
    equations=Equations(
        forward=(Equation("1", "h = relu(a)"),),
        backward=(Equation("1", "d_a = d_h ⊙ [h > 0]"),),
    ),
)
CELLS = {"tanh": TANH, "relu": RELU}


def cell_of(nonlinearity: Any) -> Cell:
    """The cell with this nonlinearity. Raises ValueError if there is none."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")
    return CELLS[nonlinearity]


class RNN(Recurrent[Array]):
    """An Elman RNN over whole sequences, as `torch.nn.RNN`: h = tanh(W_ih x + b_ih + W_hh h_prev + b_hh).

    input_size: I. hidden_size: H. num_layers: L. nonlinearity: 'tanh' or 'relu'. What the other arguments do, the
    shapes, and what is raised when: see `Recurrent`. The state is one array, h: `output, h_n = rnn(x, h_0)`,
    `d_x, d_h_0 = rnn.backward(d_output, d_h_n)`.

    Raises ValueError for an unknown nonlinearity and for a projection, which PyTorch offers for the LSTM alone.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
        *,
        proj_size: int = 0,
        checkpoint_every: int | None = None,
    ) -> None:
        self.cell, self.nonlinearity = cell_of(nonlinearity), nonlinearity
        super().__init__(
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


class RNNCell(RecurrentCell[Array]):
    """One step of an Elman RNN, as `torch.nn.RNNCell`: `h = cell(x, h)`, `d_x, d_h = cell.backward(d_h)`.

    Shapes, and what is raised when: see `RecurrentCell`. Raises ValueError for an unknown nonlinearity.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        self.cell, self.nonlinearity = cell_of(nonlinearity), nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype, rng)

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")
