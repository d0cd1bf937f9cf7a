"""What a cell is, and the shapes that it lives in: the words that cells, time and stack have in common."""

from collections.abc import Callable
from typing import NamedTuple

from ..types import Array

State = tuple[Array, ...]
"""The state between two steps: h and whatever else the cell carries. (P or H, B) and (H, B)."""


class Cell(NamedTuple):
    """What the loop over time needs to know of a cell: the elementwise mathematics of one step, in three parts.

    `a`, `d_a` and `a_dot` are (G, H, B), a block for each gate; the parts of the state, `kept` and each of the n slopes
    are (H, B). What acts elementwise needs no layer as a whole: H may be some of its hidden units, and B any shape of
    what stands side by side.

    `step(a, state_prev, state, kept)` overwrites `a` with whatever of it is needed later, and fills `state` and `kept`.

    `linearize(a, state_prev, state, kept, slopes)` takes what `step` left and fills `slopes`, (n, H, B), with the
    derivatives of what it computed. They depend on no other step, so they can be made for many steps at once.

    With the slopes the chain rule is a few products, in either direction. `step_backward(d_state, slopes, d_a)` fills
    `d_a`, may overwrite the other two, and returns the gradient of the state before: of h_prev, without the path
    through W_hh (None for zero; a GRU, in which h_prev also acts directly, has one), and of the other parts.
    `step_tangent(a_dot, state_prev_dot, slopes)` goes from causes to effects: it returns the change of the state when
    `a` and the state before change by `a_dot` and `state_prev_dot`, in new arrays. There the slopes may be of one
    column, (n, H, 1), and the changes many, (H, K). Time does not need it: real-time recurrent learning
    (study/rtrl.py) does.
    """

    gates: tuple[str, ...]
    """The names of the G blocks of the pre-activations, in PyTorch's order."""
    state: tuple[str, ...]
    """The names of the parts of the state; the first is "h", the only one that is projected and given out."""
    keeps_a: bool
    """Whether linearize reads `a`. If not, all steps share one buffer for it."""
    kept: int
    """How many arrays of (H, B) `step` fills for `linearize` besides."""
    slopes: int
    """How many arrays of (H, B) `linearize` fills."""
    step: Callable[[Array, State, State, State], None]
    linearize: Callable[[Array, State, State, State, Array], None]
    step_backward: Callable[[State, Array, Array], tuple[Array | None, State]]
    step_tangent: Callable[[Array, State, Array], State]


class Weights(NamedTuple):
    """The parameters of one layer in one direction, or their gradients, in PyTorch's order."""

    W_ih: Array  # G·H, I
    W_hh: Array  # G·H, P or H
    b_ih: Array | None = None  # G·H
    b_hh: Array | None = None  # G·H
    W_hr: Array | None = None  # P, H

    def map(self, function: Callable[[Array], Array]) -> "Weights":
        """The function of each that there is."""
        W_ih, W_hh, *rest = self
        return Weights(function(W_ih), function(W_hh), *(None if w is None else function(w) for w in rest))
