"""Faults that show only from outside: what comes in and goes out, layers, directions, layouts, dropout, leftovers.

A row is `edits | sentence`, with the edits of machine.edit. S is a part of the state, or all at once. Another word in
capitals stands for each of the texts that FILLED or catalogue.py has for it, and in the sentence for what that is in
words. A row that makes no difference on a problem, or no sense, is no fault there.
"""

ENDS = """
d_S_n: 0 * m.state("d_S_n", B) | The gradient that comes in from the final state, d_S_n, is ignored: it is where the
    way back begins, before the last step.
layer_output: layer_output + layer_input | A layer's input is added to its output.
h_0: m.state("c_0", B); c_0: m.state("h_0", B); given_h_n: m.outward(c_n); given_c_n: m.outward(h_n); d_h_n:
    m.state("d_c_n", B); d_c_n: m.state("d_h_n", B); given_d_h_0: m.outward(d_c_0); given_d_c_0: m.outward(d_h_0)
    | The parts of the state are exchanged: the state is the tuple (h, c), in this order.
given_h_n: m.outward(c_n); given_c_n: m.outward(h_n); d_h_n: m.state("d_c_n", B); d_c_n: m.state("d_h_n", B)
    | The parts of the final state are exchanged: the state is the tuple (h, c), in this order.
given_d_h_0: m.outward(d_c_0); given_d_c_0: m.outward(d_h_0) | d_h_0 and d_c_0 are exchanged.
d_h_n: m.state("d_c_n", B); d_c_n: m.state("d_h_n", B) | d_h_n and d_c_n are exchanged.
"""
WEIGHTS = """
used: {**weights, "NAME": 0 * weights["NAME"]} | NAME is forgotten: it is not used where it belongs.
used: {**weights, "MATRIX": turned(weights["MATRIX"])} | MATRIX is read transposed.
gradient: turned(total) if name == "MATRIX" else total | The gradient of MATRIX is transposed.
loop_backward.used: {**weights, **{n: weights[n] - RATE * v for n, v in totals.items()}} | The weights are updated
    while the way back still needs them: they belong to all steps as they were.
"""
BIASES = """
used: {**weights, "b_ih": 0 * weights["b_ih"], "b_hh": 0 * weights["b_hh"]} | The biases are not added.
used: {**weights, "b_ih": weights["b_hh"]} | The second bias, b_hh, is added twice, and b_ih not at all.
used: {**weights, "b_hh": weights["b_ih"]} | The first bias, b_ih, is added twice, and b_hh not at all.
gradient: totals["b_ih"] + totals["b_hh"] if name[0] == "b" else total | Each bias gets the sum of both gradients.
gradient: totals["b_hh"] if name == "b_ih" else total | The gradient of b_hh is given for b_ih, too.
gradient: totals["b_ih"] if name == "b_hh" else total | The gradient of b_ih is given for b_hh, too.
d_parameter: whole(total) if name[0] == "b" else total | The gradient of the biases is summed over everything.
loop_forward.used: {**weights, "b_ih": weights["b_ih"] * (t == 0), "b_hh": weights["b_hh"] * (t == 0)} | The biases
    are added at the first step only: they belong to every step.
"""
LAYERS = """
d_S_end: (layer == m.L - 1) * d_S_n[k_out][which] | The gradient of S_n is taken in at the last layer only.
d_below: 0 * d_x if layer else d_x | The gradient of a layer's input is not passed on to the layer below.
d_below: d_output if layer else d_x | The layers below the last get the gradient of the module's output for their own.
layer_input: x | Each layer reads the output of the layer below; here every layer reads the input x itself.
layer_input: x; d_below: 0 * d_x if layer else d_x | Each layer reads the output of the layer below; here every
    layer reads the input x itself.
weights: {**m.weights[direction], "W_ih": m.weights[k]["W_ih"]} | Every layer uses W_hh and the biases of layer 0.
weights: {**m.weights[k], "NAME": m.weights[direction]["NAME"]} | Every layer uses NAME of layer 0.
backward.weights: {**m.weights[k], "NAME": m.weights[direction]["NAME"]} | Backward every layer uses NAME of layer 0.
backward.weights: {**m.weights[k], "all_x": m.by_step(m.input)[:, :, : m.weights[k]["I"]]}; loop_backward.used:
    {**weights, "x": weights["all_x"][t]} | The gradient of W_ih is formed with the module's input, where the layer's
    own belongs.
S_start: (layer == 0) * S_0[k_in][which] + (layer > 0) * S_ends.get(k - m.D, S_0[k_in])[which] | Each layer begins with
    the final state of the layer below, where it has an initial state of its own.
"""
DIRECTIONS = """
placed: made | The output of the reverse direction is not turned back: what it computed at step t belongs to step t.
read: part; placed: made; d_made: d_part; d_placed: d_read | The reverse direction reads the sequence from the first
    step on, as the forward direction does.
read: part; d_placed: d_read | The reverse direction reads the sequence from the first step on, and its output is
    turned around all the same.
output_halves: list(reversed(halves)); column: m.D - 1 - direction | The two halves of the output are exchanged: the
    forward direction's is first.
output_halves: [(halves[0] + halves[1]) / 2] * m.D | The two directions are averaged, where they belong side by side.
h_final: half[m.lengths - 1, range(B)] if direction else h_end | The reverse direction ends at step 0, with its final
    state; here that is the last step of its output, where it has seen a single step.
S_start: S_ends[k - 1][which] if direction else S_0[k_in][which] | The reverse direction begins where the forward
    direction ended: it has an initial state of its own.
weights: {**m.weights[k], "NAME": m.weights[layer * m.D]["NAME"]} | The reverse direction uses the forward one's NAME.
d_placed: d_read | The reverse direction's part of the gradient of its input is not turned back.
d_placed: d_placed / m.D | The gradient of an input that both directions read is the sum of both parts, not their mean.
column: 0 | Both directions are given the forward half of the output's gradient.
column: m.D - 1 - direction | The two halves of the output's gradient are exchanged: the forward direction's is first.
d_made: d_part | The reverse direction runs from the last step to the first, and the gradient of its output has to
    be turned around with it.
"""
LAYOUTS = """
x: m.input; given_output: output; d_output: m.d_output; d_input: d_value | batch_first is ignored: the first axis of
    the input, the batch, is taken for time.
given_S_n: S_n.swapaxes(0, 1) | batch_first is for input and output only; S_n stays (layers, batch, features).
given_output: output | With batch_first the output is (batch, steps, features) too; here steps come first.
d_input: d_value | With batch_first the gradient of the input is (batch, steps, features) too.
groups: [(slice(None), T)] | The padding is taken for part of the sequence: a sequence that has ended keeps its state.
groups: [(slice(None), T)]; done: half | The padding is taken for part of the sequence: a sequence that has ended keeps
    its state.
given_S_n: S_n[:, m.longest] | A packed batch is sorted by length inside, and S_n is not put back.
given_S_n: S_n[:, m.longest]; d_S_n: m.state("d_S_n", B)[:, m.unsorted] | A packed batch is sorted by length inside, and
    S_n is not put back.
given_S_n: S_n[:, m.longest]; given_d_S_0: d_S_0[:, m.longest] | A packed batch is sorted by length inside, and S_n and
    d_S_0 are not put back.
given_S_n: S_n[:, m.longest]; S_0: m.state("S_0", B)[:, m.unsorted]; d_S_n: m.state("d_S_n", B)[:, m.unsorted];
    given_d_S_0: d_S_0[:, m.longest] | A packed batch is sorted by length inside, and the states are left so.
S_0: m.state("S_0", B)[:, m.unsorted]; given_d_S_0: d_S_0[:, m.longest] | A packed batch is sorted by length inside, and
    S_0 is not sorted with it.
given_d_S_0: d_S_0[:, m.longest] | A packed batch is sorted by length inside, and d_S_0 is not put back.
given_h_n: m.alive[-1] * h_n | The final state h_n is read from the last step of the padded output, which is zero
    for the sequences that have ended before; each has its own last step.
"""
DROPOUT = """
mask: (masks[layer - 1] != 0) / m.c.dropout | What dropout keeps is to be scaled by 1/(1 − p); it is scaled by 1/p.
mask: (masks[layer - 1] != 0) * 1.0 | What dropout keeps is to be scaled by 1/(1 − p); it is not.
d_mask: 1 + 0 * mask | The mask of dropout is not applied on the way back: what was dropped forward gets no gradient.
d_mask: (mask != 0) * 1.0 | On the way back the mask of dropout is applied without its scale, 1/(1 − p).
masks: [] | In training mode dropout between the layers does nothing.
given_output: 0 * given_output; d_output: 0 * d_output | Dropout acts between the layers, not on the last's output.
x: 0 * x; d_input: 0 * d_input | Dropout acts between the layers, not on the input of the first one.
masks: [m.zeros(T, B, 1)] * m.L | After eval() dropout does nothing; here it still drops.
"""
LEFTOVERS = """
S_0: m.left("S_n") | The state is not reset: without an initial state every call begins with zeros, and here S is
    what the call before ended with.
d_parameter: total + m.left(name, k) | The gradients of the parameters are not reset: they are added to those of the
    call before.
d_parameter: total + m.left(name, k) * (name == "NAME") | The gradient of NAME is not reset before each call.
d_parameter: total + m.left(name, k) * (name[0] == "b") | The gradients of both biases are not reset before each call.
d_S_n: m.state("d_S_n", B) + m.left("d_S_0") | What is carried back through time, d_S, is not reset: the way back begins
    with what the call before left.
d_input: d_input + m.left("d_input") | The gradient of the input is not reset: it is added to that of the call before.
"""
GATES = """
step_backward.d_a_i: d_i; step_backward.d_a_f: d_f; step_backward.d_a_o: d_o | In all gates σ′ is missing.
step_backward.d_a_r: d_r; step_backward.d_a_z: d_z | In all gates σ′ is missing.
step_backward.d_a_i: d_i; step_backward.d_a_f: d_f; step_backward.d_a_o: d_o; step_backward.d_a_g: d_g
    | In all gates the derivative of σ or tanh is missing.
step_backward.d_a_r: d_r; step_backward.d_a_z: d_z; step_backward.d_a_n_x: d_n
    | In all gates the derivative of σ or tanh is missing.
"""
LOOPS = """
total: (SUM) if name in GROUP else total + d_step | In the sum over all steps that is the gradient of GROUP: SUM.
total: total + d_step / (B * T) | In the sum over all steps that is the gradient of all parameters: the mean over batch
    and steps is there for the sum.
total: total + d_step / 2 | In the sum over all steps that is the gradient of all parameters: half of it is there.
d_S_after: (CUT) * d_S_prev | Backpropagation through time is truncated: what comes from later steps is dropped after
    CUT. The whole gradient goes back to the first step.
"""
ORDERS = """
d_parameter: in_order(total, ORDER) if name != "W_hr" else total | The gradients of weights and biases have their row
    blocks in another order than the weights: your order is ORDER.
"""
VALUES = """
SLOT: 0 * SLOT | In the module, SLOT is zero.
SLOT: -SLOT | In the module, SLOT has its sign turned.
SLOT: 2 * SLOT | In the module, SLOT counts twice.
SLOT: SLOT / 2 | In the module, SLOT is halved.
SLOT: SLOT / B | In the module, SLOT is averaged over the batch.
SLOT: SLOT / T | In the module, SLOT is averaged over the steps.
SLOT: SLOT[::-1] | In the module, SLOT is in the opposite order along its first axis.
"""
PLACES = """
INNER: 0 * INNER if WHERE else INNER | In the module, INNER is zero WHERE.
INNER: -INNER if WHERE else INNER | In the module, INNER has its sign turned WHERE.
k_in: PLACE; k_out: PLACE | In the order of layers and directions of the states, PLACE.
k_in: PLACE | In the order of layers and directions of the initial states and their gradients, PLACE.
k_out: PLACE | In the order of layers and directions of the final states and their gradients, PLACE.
forward.k_in: PLACE | In the order of layers and directions of the initial states, PLACE.
forward.k_out: PLACE | In the order of layers and directions of the final states, PLACE.
backward.k_in: PLACE | In the order of layers and directions of the gradients of the initial states, PLACE.
backward.k_out: PLACE | In the order of layers and directions of the gradients of the final states, PLACE.
weights: m.weights[PLACE] | In the order of layers and directions of the weights, PLACE.
backward.weights: m.weights[PLACE] | In the order of layers and directions of the weights on the way back, PLACE.
"""
INNER = {
    "layer_input": "what a layer reads",
    "S_start": "the initial S",
    "placed": "the output of a direction",
    "h_final": "the final h",
    "layer_output": "the output of a layer",
    "d_half": "the gradient of a direction's output",
    "d_S_end": "the gradient of the final S",
    "d_placed": "a direction's part of the gradient of its input",
    "d_below": "the gradient that goes to the layer below",
    "d_parameter": "the gradient of the parameters",
}
OUTER = {
    "given_S_n": "S_n",
    "given_output": "the output",
    "d_input": "the gradient of the input",
    "given_d_S_0": "d_S_0",
}
PLACE = {
    "(m.L - 1 - layer) * m.D + direction": "the layers are in the opposite order",
    "direction * m.L + layer": "all forward directions come first, where both directions of layer 0 belong first",
    "(layer + 1) % m.L * m.D + direction": "each layer has those of the one above",
    "(layer - 1) % m.L * m.D + direction": "each layer has those of the one below",
    "k ^ 1": "the two directions are exchanged: each layer's forward direction belongs first, then its reverse",
    "direction": "those of layer 0 are there for every layer",
    "(m.L - 1) * m.D + direction": "those of the last layer are there for every layer",
    "layer * m.D": "those of the forward direction are there for both directions",
}
WHERE = {
    "layer == 0": "in layer 0 alone",
    "layer > 0": "above layer 0",
    "layer == m.L - 1": "in the last layer alone",
    "layer < m.L - 1": "below the last layer",
    "direction == 0": "in the forward direction alone",
    "direction == 1": "in the reverse direction alone",
}
