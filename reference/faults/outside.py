"""Faults that show only from outside: what comes in and goes out, layers, directions, layouts, dropout, leftovers.

A row is `edits | sentence`, with the edits of edits.py. S is a part of the state, or all at once; NAME is a
parameter. A row that makes no difference on a problem, or no sense, is no fault there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from ..problems import Configuration
from ..stages.equations import Cell
from ..stages.loops import STATE, choices, of_parts
from .edits import Fault, edit
from .machine import WEIGHTS

ENDS = """
d_S_n: 0 * m.state("d_S_n", B) | The gradient that comes in from the final state, d_S_n, is ignored: it is where the
    way back begins, before the last step.
layer_output: layer_output + layer_input | A layer's input is added to its output.
h_0: m.state("c_0", B); c_0: m.state("h_0", B); given_h_n: m.state_as_given(c_n); given_c_n: m.state_as_given(h_n);
    d_h_n: m.state("d_c_n", B); d_c_n: m.state("d_h_n", B); given_d_h_0: m.state_as_given(d_c_0); given_d_c_0:
    m.state_as_given(d_h_0) | The parts of the state are exchanged: the state is the tuple (h, c), in this order.
given_h_n: m.state_as_given(c_n); given_c_n: m.state_as_given(h_n); d_h_n: m.state("d_c_n", B); d_c_n:
    m.state("d_h_n", B) | The parts of the final state are exchanged: the state is the tuple (h, c), in this order.
given_d_h_0: m.state_as_given(d_c_0); given_d_c_0: m.state_as_given(d_h_0) | The parts of the gradient of the
    initial state are exchanged: (d_h_0, d_c_0).
d_h_n: m.state("d_c_n", B); d_c_n: m.state("d_h_n", B) | The parts of the gradient of the final state are exchanged:
    (d_h_n, d_c_n).
"""
WEIGHTS_READ = """
used: {**weights, "NAME": 0 * weights["NAME"]} | NAME is forgotten: it is not used where it belongs.
used: {**weights, "MATRIX": turned(weights["MATRIX"])} | MATRIX is read transposed.
gradient: turned(total) if name == "MATRIX" else total | The gradient of MATRIX is transposed.
"""
BIASES = """
used: {**weights, "b_ih": 0 * weights["b_ih"], "b_hh": 0 * weights["b_hh"]} | The biases are not added.
used: {**weights, "b_ih": weights["b_hh"]} | The second bias, b_hh, is added twice, and the first bias, b_ih, not at
    all.
used: {**weights, "b_hh": weights["b_ih"]} | The first bias, b_ih, is added twice, and the second bias, b_hh, not at
    all.
gradient: totals["b_ih"] + totals["b_hh"] if name in ("b_ih", "b_hh") else total | Each bias gets the sum of both
    gradients.
gradient: totals["b_hh"] if name == "b_ih" else total | The gradient of b_hh is given for b_ih, too.
gradient: totals["b_ih"] if name == "b_hh" else total | The gradient of b_ih is given for b_hh, too.
d_parameter: whole(total) if name in ("b_ih", "b_hh") else total | The gradient of the biases is summed over
    everything: every entry of it is the sum of all.
loop_forward.used: {**weights, "b_ih": weights["b_ih"] * (t == 0), "b_hh": weights["b_hh"] * (t == 0)} | The biases
    are added at the first step only: they belong to every step.
"""
UPDATED = """
loop_backward.used: {**weights, **{n: weights[n] - RATE * v for n, v in totals.items()}} | The weights are updated while
    the way back still needs them: they belong to all steps as they were.
"""
LAYERS = """
d_S_end: (layer == m.L - 1) * d_S_n[k_out][which] | The gradient of S_n is taken in at the last layer only; each
    layer has a final state.
d_below: 0 * d_x if layer else d_x | The gradient of a layer's input is the gradient of the output of the layer below,
    and it is not passed on.
d_below: d_output if layer else d_x | The gradient of the output enters at the last layer; the layers below get the
    gradient of the input of the layer above them, and here they get that of the output itself.
d_below: d_x + d_value if layer else d_x | The gradient of a layer's output is added to that of the layer below.
d_below: d_x + d_output if layer else d_x | The gradient of the output enters at the last layer; here it is added in
    every layer.
layer_input: x | Each layer reads the output of the layer below; here every layer reads the input x itself.
layer_input: x; d_below: 0 * d_x if layer else d_x | Each layer reads the output of the layer below; here every
    layer reads the input x itself.
given_S_n: m.state_as_given(S_n[[m.L * m.D - m.D + k % m.D for k in range(m.L * m.D)]]) | Every layer has a final state
    of its own; the last layer's is given for all.
given_S_n: m.state_as_given(S_n[[k % m.D for k in range(m.L * m.D)]]) | Every layer has a final state of its own; the
    first layer's is given for all.
layer_input: value + x | A layer's input is added to the output of the layer below.
weights: {**m.weights[direction], "W_ih": m.weights[k]["W_ih"]} | Every layer has weights of its own; here every
    layer uses W_hh and the biases of layer 0.
weights: {**m.weights[k], "NAME": m.weights[direction]["NAME"]} | Every layer has weights of its own; here every
    layer uses NAME of layer 0.
backward.weights: {**m.weights[k], "NAME": m.weights[direction]["NAME"]} | Backward every layer uses NAME of layer
    0; forward each uses its own.
backward.weights: {**m.weights[k], "all_x": m.time_first(m.input)[:, :, : m.weights[k]["I"]]}; loop_backward.used:
    {**weights, "x": weights["all_x"][t]} | The gradient of W_ih is Σ d_a xᵀ with x the layer's own input: the
    output of the layer below, not the input of the whole stack.
S_start: (layer == 0) * S_0[k_in][which] + (layer > 0) * S_ends.get(k - m.D, S_0[k_in])[which] | Every layer has an
    initial state of its own; here each begins with the final state of the layer below.
"""
DIRECTIONS = """
placed: made | The output of the reverse direction is not turned back: its results are put out in the order in which
    it makes them, but what it computed at step t belongs to step t of the output.
read: part; placed: made; d_made: d_part; d_placed: d_read | The reverse direction reads the sequence from the first
    step on, as the forward direction does.
read: part; d_placed: d_read | The reverse direction reads the sequence from the first step on, and its output is
    turned around all the same.
output_halves: list(reversed(halves)); column: m.D - 1 - direction | The two halves of the output are
    exchanged: the forward direction belongs first, then the reverse.
output_halves: [(halves[0] + halves[1]) / 2] * m.D | The two directions are averaged, where their
    outputs belong side by side.
h_final: m.last_rows(half) if direction else h_end | The reverse direction ends at step 0, and its final state is
    that of step 0; here it is the last step of its output, where it has seen a single step.
S_start: S_ends[k - 1][which] if direction else S_0[k_in][which] | The reverse direction has an initial state of its
    own; it begins where the forward direction ended.
weights: {**m.weights[k], "NAME": m.weights[layer * m.D]["NAME"]} | The reverse direction has weights of its own; it
    uses NAME of the forward direction.
d_placed: d_read | The reverse direction's part of the gradient of its input is in the order in which the reverse
    direction reads: it has to be turned back before the two directions' parts are added.
d_share: d_placed / m.D | Both directions read the same input, so its gradient is the sum of both parts; here it is
    their mean.
column: 0 | Both directions are given the forward half of the output's gradient: each has its own half.
column: 1 | Both directions are given the reverse half of the output's gradient: each has its own half.
column: m.D - 1 - direction | The two halves of the output's gradient are exchanged: the forward direction's belongs
    first.
d_made: d_part | The reverse direction runs from the last step to the first, and the gradient of its output has to
    be turned around with it.
"""
LAYOUTS = """
x: m.input; given_output: output; d_output: m.d_output; d_input: d_value | batch_first is ignored: the first axis of
    the input, the batch, is taken for time.
given_S_n: S_n.swapaxes(0, 1) | batch_first is for input and output only; S_n stays (layers, batch, features).
given_output: output | With batch_first the output is (batch, steps, features) too; it is given as (steps, batch,
    features).
d_input: d_value | With batch_first the gradient of the input is (batch, steps, features) too.
groups: [(slice(None), T)] | The padding is taken for part of the sequence: the steps after a sequence's own end
    change its state (and in the reverse direction, the steps before its beginning). A sequence that has ended keeps
    its state.
groups: [(slice(None), T)]; done: half | The padding is taken for part of the sequence: the steps after a sequence's
    own end change its state (and in the reverse direction, the steps before its beginning). A sequence that has
    ended keeps its state.
given_S_n: S_n[:, m.longest_first]; S_0: m.state("S_0", B)[:, m.back]; d_S_n: m.state("d_S_n", B)[:, m.back];
    given_S_n: S_n[:, m.longest_first]; given_d_S_0: d_S_0[:, m.longest_first] | The sequences of a packed batch are
    sorted by length inside; the state goes out in the order in which they were given, and here it is not put back.
given_d_S_0: d_S_0[:, m.longest_first] | The sequences of a packed batch are sorted by length inside; the state
    comes in and goes out in the order in which they were given, and here it is not put back (sorted_indices,
    unsorted_indices).
given_S_n: S_n[:, m.longest_first]; d_S_n: m.state("d_S_n", B)[:, m.back] | The sequences of a packed batch are
    sorted by length inside; the final state goes out in the order in which they were given, and here it is not put
    back.
S_0: m.state("S_0", B)[:, m.back]; given_d_S_0: d_S_0[:, m.longest_first] | The sequences of a packed batch are
    sorted by length inside; the initial state comes in in the order in which they were given, and here it is not
    sorted with them.
given_d_S_0: d_S_0[:, m.longest_first] | The sequences of a packed batch are sorted by length inside; the gradient
    of the initial state is not put back into the order in which they were given.
given_h_n: m.alive[-1] * h_n | The final state h_n is read from the last step of the padded output, which is zero
    for the sequences that have ended before; each has its own last step.
"""
DROPOUT = """
mask: (masks[layer - 1] != 0) / m.c.dropout | What dropout keeps is to be scaled by 1/(1 − p); it is scaled by 1/p.
mask: (masks[layer - 1] != 0) * 1.0 | What dropout keeps is to be scaled by 1/(1 − p), so that evaluation needs no
    scaling; it is not.
d_mask: 1 + 0 * mask | The mask of dropout is not applied on the way back: what was dropped forward gets no
    gradient, and what was kept is scaled.
d_mask: (mask != 0) * 1.0 | On the way back the mask of dropout is applied without its scale, 1/(1 − p).
masks: [] | In training mode dropout between the layers does nothing.
given_output: 0 * given_output; d_output: 0 * d_output | Dropout acts on what goes from one layer to the next; the
    last layer's output is not dropped.
x: 0 * x; d_input: 0 * d_input | Dropout acts on what goes from one layer to the next; the input of the first layer
    is not dropped.
masks: m.all_dropped | After eval() dropout does nothing; here it still drops.
"""
LEFTOVERS = """
S_0: m.left["S_n"] | The state is not reset: without an initial state every call begins with zeros, and here S of
    the second call goes on where the first ended.
d_parameter: total + m.left_of(name, k) | The gradients of the parameters are not reset: the second call adds to
    what the first left.
d_parameter: total + m.left_of(name, k) * (name == "NAME") | The gradient of NAME is not reset: the second call adds
    to what the first left.
d_parameter: total + m.left_of(name, k) * (name in ("b_ih", "b_hh")) | The gradients of both biases are not reset:
    the second call adds to what the first left.
d_S_n: m.state("d_S_n", B) + m.left["d_S_0"] | What is carried back through time, d_S, is not reset: the way back of
    the second call begins with what the first left.
d_input: d_input + m.left["d_input"] | The gradient of the input is not reset: the second call adds to what the
    first left.
"""


@cache
def from_outside(cell: Cell, c: Configuration) -> tuple[Fault, ...]:
    """The rows that a configuration can show."""
    tables = {
        ENDS: True,
        WEIGHTS_READ: not is_wired(c),
        **{UPDATED.replace("RATE", rate): not is_wired(c) for rate in ("1.0", "0.1", "0.01", "0.001")},
        BIASES: c.bias and not is_wired(c),
        LAYERS: c.num_layers > 1,
        DIRECTIONS: c.bidirectional,
        LAYOUTS: c.batch_first or c.layout == "packed",
        DROPOUT: c.dropout and c.num_layers > 1,
        LEFTOVERS: True,
    }
    names = [name for name in WEIGHTS.values() if (c.bias or name[0] == "W") and (c.proj_size or name != "W_hr")]
    return tuple(fault for table, can_be in tables.items() if can_be for fault in rows(table, cell.parts, names))


def is_wired(c: Configuration) -> bool:
    """Whether there are layers, directions or lengths: without them, the equations have been found right already."""
    return c.num_layers > 1 or c.bidirectional or len(set(c.lengths)) > 1


def rows(table: str, parts: str, names: Sequence[str]) -> Iterator[Fault]:
    """The rows of a table, for each part of the state and for all at once, and for each parameter."""
    matrices = [name for name in names if name[0] == "W"]
    for row in re.sub(r"\n +", " ", table).split("\n")[1:-1]:
        if "c" not in parts and re.search(r"\(h, c\)|, d_c_", row.split(" | ")[1]):
            continue
        for name in matrices if "MATRIX" in row else names if "NAME" in row else [""]:
            edits, sentence = re.sub("NAME|MATRIX", name, row).split(" | ")
            for chosen in choices(parts, edits):
                pieces = [
                    STATE.sub(part, piece)
                    for piece in edits.split("; ")
                    for part in (chosen if STATE.search(piece) else " ")
                ]
                text = "; ".join(pieces)
                yield Fault(text, of_parts(sentence, chosen), edit(text), 0, "m.left" in text)
