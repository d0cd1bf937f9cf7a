"""Two forms of the textbook's cells that have equations of their own: an LSTM that projects, and a GRU in which the
reset gate acts before the product with W_hh.

The GRU of Cho et al. (2014), and Keras' with `reset_after=False`, resets the state before the product. With u for the
state after the reset, W_n and b_n for the rows of W_hh and b_hh that belong to n, and all else as in the textbook:

(3)  u = r ⊙ h_prev,   a_n = a_n_x + W_n u + b_n,   n = tanh(a_n)

On the way back d_a_n is as it was. The product is W_n u now, so d_u = W_nᵀ d_a_n, and the rows of n in the gradient of
W_hh are d_a_n uᵀ. Through u the reset gate gets d_r = d_u ⊙ h_prev. So h_prev has three shares: directly by (4),
through u, and through the gates' rows W_rz of W_hh. b_ih and b_hh have the same gradient, as n has one pre-activation:

     d_h_prev = d_h ⊙ z + d_u ⊙ r + W_rzᵀ (d_a_r, d_a_z)
"""

from typing import TypeVar

from scratch.textbook import gru, lstm

from ..candidates import Implementation
from ..problems import Configuration
from ..stages.equations import CELLS, Cell, Equation, equations
from ..stages.expressions import renamed, value_of

RESET_BEFORE = Cell(
    "GRU, reset before",
    gru,
    "rzn",
    "h",
    """
    a_x = x @ W_ih.T + b_ih (0)
    a_r_x = block(a_x, 0, H) (0)
    a_z_x = block(a_x, 1, H) (0)
    a_n_x = block(a_x, 2, H) (0)
    r = σ(a_r_x + h_prev @ rows(W_hh, 0, H).T + rows(b_hh, 0, H)) (1)
    z = σ(a_z_x + h_prev @ rows(W_hh, 1, H).T + rows(b_hh, 1, H)) (2)
    u = r * h_prev (3)
    n = tanh(a_n_x + u @ rows(W_hh, 2, H).T + rows(b_hh, 2, H)) (3)
    h = (1 - z) * n + z * h_prev (4)
    ---
    d_n = d_h * (1 - z) (4)
    d_z = d_h * (h_prev - n) (4)
    d_a_n = d_n * (1 - n**2) (3)
    d_u = d_a_n @ rows(W_hh, 2, H) (3)
    d_r = d_u * h_prev (3)
    d_a_z = d_z * z * (1 - z) (2)
    d_a_r = d_r * r * (1 - r) (1)
    d_a = side(d_a_r, d_a_z, d_a_n) (0)
    d_x = d_a @ W_ih (0)
    d_h_prev = d_h * z + d_u * r + d_a_r @ rows(W_hh, 0, H) + d_a_z @ rows(W_hh, 1, H) (4)
    d_W_ih = d_a.T @ x (0)
    d_W_hh = side(h_prev.T @ d_a_r, h_prev.T @ d_a_z, u.T @ d_a_n).T (0)
    d_b_ih = sum(d_a) (0)
    d_b_hh = sum(d_a) (0)
    ---
    h = z * n + (1 - z) * h_prev | z and 1 − z are exchanged
    d_W_hh = d_a.T @ h_prev | the rows of n are formed with h_prev, where u = r ⊙ h_prev belongs
    """,
)

LSTM = CELLS["LSTM"]
PROJECTING = Cell("LSTM", lstm, LSTM.gates, "hc", "---\n---\n")
"""An LSTM whose state is projected: h = W_hr m, m = o ⊙ tanh(c)."""
PROJECTING.step = tuple(
    Equation("m", right, number) if name == "h" else Equation(name, right, number) for name, right, number in LSTM.step
) + equations("h = m @ W_hr.T (7)")
PROJECTING.step_backward = equations("d_m = d_h @ W_hr (7)\nd_W_hr = d_h.T @ m (7)") + tuple(
    Equation(name, renamed(right, {"d_h": value_of("d_m")}), number) for name, right, number in LSTM.step_backward
)
PROJECTING.alternatives = LSTM.alternatives

FORMS = {"reset before": ("GRU", RESET_BEFORE)}
"""The forms of a cell that a subject may be held to instead of PyTorch's."""
Subject = TypeVar("Subject", bound=Implementation)


def cell_of(configuration: Configuration, form: str = "") -> Cell:
    """The equations of a configuration: of its cell, or of a form of it."""
    return FORMS[form][1] if form else PROJECTING if configuration.proj_size else CELLS[configuration.cell]


def held_to(subject: Subject, form: str) -> Subject:
    """The subject, which is compared with a form of its cell from now on: 'reset before', of a GRU.

    Raises ValueError for a form that is not known, and for a subject that has other cells.
    """
    if form not in FORMS:
        raise ValueError(f"expected a form among {', '.join(map(repr, FORMS))}, got {form!r}")
    if subject.cells != (FORMS[form][0],):
        raise ValueError(f"expected a {FORMS[form][0]} for the form {form!r}, got {', '.join(subject.cells)}")
    subject.cell_form = form
    return subject
