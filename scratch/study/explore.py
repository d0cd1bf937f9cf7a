"""One text, forward and backward through time, with every number in between.

`trace_text` records every step of the library's own pass (trace.py) and lays everything down. For each layer, from the
first step to the last,

    a      = (W_ih x + b_ih + b_hh) + W_hh h_prev        (T1)   for gates that a cell wants apart, the two halves
    state  = step(a, state_prev)                         (T2)   the cell's own equations

Then the loss, the mean over the T steps of the cross-entropy of the next character. Then for each layer, the last
first, from the last step to the first,

    d_h           = d_output + d_h_after                 from the layer above or the loss, and from the step after
    d_a, d_c_prev = step_backward(d_state)               (T2)
    d_h_prev      = W_hhᵀ d_a                            (T1)   d_h_after one step earlier; plus d_h_direct, if any
    d_W_hh       += d_a h_prevᵀ                          (T1)
    d_x           = W_ihᵀ d_a                            (T1)   d_output of the layer below

What the cell computes in between is in its own equations, which it brings as data (`Equations` in nn/cell.py): nothing
here knows which cell it is.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from .. import nn
from ..nn.cell import Cell, Equations, Weights
from ..nn.checks import without_warnings
from ..nn.recurrent import Recurrent
from ..text import CharacterModel, probabilities
from ..types import Array
from .equations import blocks, evaluate, of_names, sides
from .trace import Step, trace


class LayerTrace(NamedTuple):
    """Everything that one layer computes on its way forward and backward. Row t of each array is step t."""

    cell: Cell
    x: Array  # what the layer reads: (T, I)
    d_x: Array  # the gradient of what the layer reads: (T, I)
    values: dict[str, Array]
    """Everything else, by the names in the cell's equations: (T, H) each.

    Forward: h_prev, from_input (W_ih x + b_ih + b_hh) and from_state (W_hh h_prev), both with the gate's name as in
    from_input_i, a_i, the gates, h. Backward: d_output, the gradient of h from the loss or the layer above; d_h_after,
    that from the step after, at last zero; d_h, the whole one; d_a_i; d_h_prev, what the step hands back. An LSTM has
    the same of c. A function of a name has a value too, called as in the code: tanh_c. What the cell's functions give
    is theirs; the rest is what its equation comes to.
    """

    def d_W_hh(self, units: slice = slice(None)) -> Array:
        """The sum that becomes d_W_hh, as it grows: (T, G, U, U), rows and columns of these hidden units.

        On the way back step T − 1 is the first that adds to it; row t holds the sum of steps t to T − 1. Row 0 is the
        gradient: as (G·H, H), for all units, it is `weight_hh_l…grad`.
        """
        names = blocks(self.cell)[: len(self.cell.gates)]
        d_a = np.stack([self.values[f"d_{name}"][:, units] for name in names], axis=1)  # T, G, U
        added = d_a[..., None] * self.values["h_prev"][:, None, None, units]  # (T1)
        growing: Array = np.cumsum(added[::-1], axis=0)[::-1]
        return growing


class TextTrace(NamedTuple):
    """Everything that a character model computes for one text, forward and backward."""

    indices: Array
    """The characters: (T + 1,). The model reads the first T and predicts the last T."""
    layers: list[LayerTrace]
    logits: Array  # of the next character: (T, V)
    probabilities: Array  # softmax of the logits: (T, V) float64
    losses: Array  # −log of the probability of the character that came: (T,)
    loss: float  # their mean
    d_logits: Array  # the gradient of that mean: (T, V)


@without_warnings
def trace_text(model: CharacterModel, indices: Array) -> TextTrace:
    """All that a character model computes when it reads a text and learns, at each step, which character comes next.

    model: a character model; it is only read, and nothing is dropped out. indices: (T + 1,) characters as integers, at
    least two. The initial states are zero.

    Raises ValueError for a recurrence in two directions, with a projection or with a cell that brings no equations and
    for fewer than two characters, and what the embedding and the loss raise for wrong indices.
    """
    rnn = model.rnn
    if not isinstance(rnn, Recurrent) or rnn.bidirectional or rnn.proj_size:
        raise ValueError(f"expected a recurrence in one direction and without a projection, got {rnn!r}")
    equations = rnn.cell.equations
    if equations is None:
        raise ValueError(f"expected a cell with equations, which say what it computes, got {rnn!r} without")
    indices = np.asarray(indices)
    if indices.ndim != 1 or len(indices) < 2:
        raise ValueError(f"expected at least 2 characters, (T + 1,), got {indices.shape}")
    read, following = indices[None, :-1], indices[1:]
    model = deepcopy(model).eval()  # in which nothing is dropped out
    (x,), (logits,), criterion = model.embed(read), model(read)[0], nn.CrossEntropyLoss()
    losses, loss = nn.CrossEntropyLoss(reduction="none")(logits, following), criterion(logits, following)
    d_logits = criterion.backward()
    d_output = d_logits @ model.fc.weight.data  # T, H
    all_steps = trace(model.rnn, x, None, d_output).steps
    inputs = [x, *(in_rows(step.state[0] for step in steps) for steps in all_steps)]
    layers: list[LayerTrace] = []
    for k in reversed(range(rnn.num_layers)):
        weights = rnn._weights(rnn._names[k])
        layers.insert(0, layer_trace(rnn.cell, equations, weights, inputs[k], all_steps[k], d_output))
        d_output = layers[0].d_x
    chances = np.stack([probabilities(row) for row in logits])
    return TextTrace(indices, layers, logits, chances, losses, float(loss), d_logits)


def layer_trace(
    cell: Cell, equations: Equations, weights: Weights, x: Array, steps: Sequence[Step], d_output: Array
) -> LayerTrace:
    """One layer over all steps. x: (T, I). d_output: (T, H), from above."""
    T, (W_ih, W_hh, *_) = len(x), weights
    a, d_a = in_rows(step.a for step in steps), in_rows(step.d_a for step in steps)  # T, G + apart, H
    halves = (half.swapaxes(0, 1).reshape(T, -1) for half in cell.halves(d_a.swapaxes(0, 1)))
    d_of_input, d_of_state = halves  # T, G·H
    d_h = in_rows(step.d_state[0] for step in steps)
    direct = [np.zeros_like(step.state[0]) if step.d_h_direct is None else step.d_h_direct for step in steps]
    d_h_direct = in_rows(direct)

    values = {name: a[:, n] for n, name in enumerate(blocks(cell))}
    values |= {f"{name}_prev": in_rows(step.state_prev[n] for step in steps) for n, name in enumerate(cell.state)}
    values |= before_the_sum(cell, weights, x, values["h_prev"])
    made = {name: in_rows(step.state[n] for step in steps) for n, name in enumerate(cell.state)}
    for name, right in map(sides, equations.forward):
        values[name] = made[name] if name in made else evaluate(right, values)

    d_prev = {"d_h_prev": d_of_state @ W_hh + d_h_direct}  # (T1)
    d_prev |= {f"d_{name}_prev": in_rows(step.d_rest[n] for step in steps) for n, name in enumerate(cell.state[1:])}
    given = {f"d_{name}": d_a[:, n] for n, name in enumerate(blocks(cell))} | d_prev | {"d_h_direct": d_h_direct}
    values |= {"d_output": d_output, "d_h": d_h}
    for name in cell.state:  # what each step gets from the step after it
        handed_back = d_prev[f"d_{name}_prev"]
        values[f"d_{name}_after"] = np.concatenate([handed_back[1:], np.zeros_like(handed_back[:1])])
    for name, right in map(sides, equations.backward):
        right, functions = of_names(right)
        values |= {function: evaluate(text, values) for function, text in functions.items()}
        values[name] = given[name] if name in given else evaluate(right, values)
    values |= d_prev
    for name in cell.state:
        values.setdefault(f"d_{name}", values[f"d_{name}_after"])  # it does not act within the step
    return LayerTrace(cell, x, d_of_input @ W_ih, values)


def before_the_sum(cell: Cell, weights: Weights, x: Array, h_prev: Array) -> dict[str, Array]:
    """The two parts of the pre-activation of each gate, from_input and from_state, unless they stay apart."""
    W_ih, W_hh, b_ih, b_hh, _ = weights
    b = 0 if b_ih is None or b_hh is None else b_ih + b_hh
    shape = len(x), len(cell.gates), -1
    from_input, from_state = (x @ W_ih.T + b).reshape(shape), (h_prev @ W_hh.T).reshape(shape)  # (T1)
    found: dict[str, Array] = {}
    for n, gate in enumerate(cell.summed):
        suffix = "" if len(cell.gates) == 1 else f"_{gate}"
        found |= {f"from_input{suffix}": from_input[:, n], f"from_state{suffix}": from_state[:, n]}
    return found


def in_rows(columns: Iterable[Array]) -> Array:
    """What one sequence has at each step, (…, 1), as row t of one array: (T, …)."""
    return np.stack([column[..., 0] for column in columns])
