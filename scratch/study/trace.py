"""Every step of a recurrent module, forward and backward, recorded while the library's own code computes it.

The time loop (nn/bptt.py) calls the cell's `step` once for each step, in the order in which the steps are taken, and
its `step_backward` once for each in the opposite order, layer by layer. `trace` swaps the cell for one that calls the
same functions and copies what they get and what they make. So a study needs no loop over time of its own, and sees the
numbers that the library computes.
"""

from copy import deepcopy
from typing import Any, NamedTuple

from ..nn.cell import State
from ..nn.recurrent import Recurrent
from ..types import Array


class Step(NamedTuple):
    """What the cell got and what it made at one step, in columns: B sequences take part in it."""

    a: Array  # G + apart, H, B    the pre-activations
    state_prev: State  # P or H, B; H, B    h, c, … before the step
    left: Array  # G + apart, H, B    what `step` made of `a`: an LSTM's gates
    state: State  # H, B    as the cell makes it. With a projection this h is m, and the next step begins with W_hr m
    kept: State  # H, B    what `step` kept besides
    d_state: State  # H, B    the gradient of `state`: from the output (or the layer above) and from the step after
    slopes: Array  # n, H, B    what `linearize` made
    d_a: Array  # G + apart, H, B    the gradient of `a`
    d_h_direct: Array | None  # P or H, B    what the cell hands to h_prev past W_hh; None for zero
    d_rest: State  # H, B    the gradient of c, … before the step


class Trace(NamedTuple):
    """What a module computes, in the forms of the module, and the steps in between."""

    output: Any
    state: Any  # the final state
    d_input: Any
    d_initial: Any
    d_parameters: dict[str, Array]
    dropout_masks: list[Any]
    steps: list[list[Step]]
    """For each layer and direction, in PyTorch's order, the steps as they are taken forward.

    So those of a reverse direction begin with the last one in time."""


def trace(module: Recurrent[Any], input: Any, hx: Any = None, d_output: Any = None, d_state: Any = None) -> Trace:
    """One pass of a recurrent module forward and backward, with all that its cell got and made at each step.

    input, hx: as `module.forward` takes them. d_output, d_state: as `module.backward` takes them. Any cell and every
    option will do; the columns of a packed batch are its sequences from the longest to the shortest, at each step as
    many as take part in it. Dropout acts as it would if the module were called now.

    The module stays as it is, with its tapes, gradients and generator. Everything is kept in copies; with
    `checkpoint_every`, also what the module would not keep.

    Raises what `module.forward` and `module.backward` raise for such arguments; RuntimeError inside `no_grad()`, where
    there is no backward pass.
    """
    cell = module.cell
    forward: list[tuple[Array, State, Array, State, State]] = []
    backward: list[tuple[State, Array, Array, Array | None, State]] = []

    def step(a: Array, state_prev: State, state: State, kept: State) -> None:
        given = a.copy(), copies(state_prev)
        cell.step(a, state_prev, state, kept)
        forward.append((*given, a.copy(), copies(state), copies(kept)))

    def step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[Array | None, State]:
        given = copies(d_state), slopes.copy()
        d_h_direct, d_rest = cell.step_backward(d_state, slopes, d_a)
        backward.append((*given, d_a.copy(), None if d_h_direct is None else d_h_direct.copy(), copies(d_rest)))
        return d_h_direct, d_rest

    recorded = deepcopy(module)  # it has the parameters and the generator, and no tapes
    recorded.cell, recorded.checkpoint_every = cell._replace(step=step, step_backward=step_backward), None
    recorded.requires_grad_().zero_grad()
    output, state = recorded(input, hx)
    d_input, d_initial = recorded.backward(d_output, d_state)

    L, D = module.num_layers, 1 + module.bidirectional
    T = len(forward) // (L * D)
    steps = []
    for k in range(L * D):  # forward the layers come in this order; backward the last comes first
        first, first_back = k * T, ((L - 1 - k // D) * D + k % D) * T
        there, back = forward[first : first + T], backward[first_back : first_back + T]
        steps.append([Step(*given, *undone) for given, undone in zip(there, reversed(back), strict=True)])
    gradients = {name: p.grad for name, p in recorded.named_parameters() if p.grad is not None}
    return Trace(output, state, d_input, d_initial, gradients, recorded.dropout_masks, steps)


def copies(parts: State) -> State:
    """Copies of the parts of a state: the loop may write over their memory."""
    return tuple(part.copy() for part in parts)
