"""Mistakes planted in the textbook's pages, and in a stack of layers on top of them, and what is to be told of each."""

import inspect
import re
import types
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from reference.candidates import Implementation, candidate
from scratch.textbook import gru, lstm, rnn
from tests.reference import stack
from tests.reference.stack import PROJECTION

Replacements = tuple[tuple[str, str], ...]

TABLE = r"""
LSTM | i = sigmoid(a[:, :H] -> a = xp.concat([a[:, k * H : (k + 1) * H] for k in (0, 1, 3, 2)], axis=1)\n    i =
    sigmoid(a[:, :H] | exactly [i, f, o, g]
LSTM | [d_a_i, d_a_f, d_a_g, d_a_o] -> [d_a_i, d_a_f, d_a_o, d_a_g] | exactly [d_a_i, d_a_f, d_a_o, d_a_g] |
    stage='step_backward d_a'
RNN tanh | h_prev @ W_HH.T -> h_prev @ W_HH | W_hh is read transposed | stage='step a'
RNN tanh | x @ W_IH.T -> x @ W_IH | W_ih is read transposed
RNN tanh | d_h_prev = d_a @ W_HH -> d_h_prev = d_a @ W_HH.T | exactly d_a @ W_hh.T | stage='step_backward d_h_prev'
LSTM | W_HH.T -> W_HH.reshape(4, -1, W_HH.shape[1]).swapaxes(0, 1).reshape(W_HH.shape[1], -1) | W_hh is read transposed
RNN tanh | d_a.T @ h_prev -> h_prev.T @ d_a | The gradient of W_hh is transposed
RNN tanh & LSTM | d_h = D_OUT + -> d_h = D_OUT + 0 * | the step after is not added to d_h
RNN tanh & LSTM | d_h = D_OUT + -> d_h = D_OUT + (t == len(steps) - 1) * | d_h is not carried from step to step
LSTM | d_c = d_c_after + d_h -> d_c = d_h | exactly d_h ⊙ o ⊙ (1 − tanh(c)²) | stage='step_backward d_c'
LSTM | d_c_prev = d_c * f -> d_c_prev = d_c_after | d_c_n stands for what comes from the step after
RNN tanh | APPEND -> APPEND; d_state = d_state * (t != len(steps) - 2) | through time is truncated
GRU | [d_a_r, d_a_z, d_a_n_h] -> [d_a_r, d_a_z, d_a_n_x] | exactly d_a_n_x | stage='step_backward d_a_n_h'
GRU | xp.sum(d_a_h -> xp.sum(d_a_x | The gradient of b_ih is given for b_hh, too
GRU | d_n = d_h * (1 - z) -> d_n = d_h | exactly d_h | stage='step_backward d_n'
GRU | d_z = d_h * (h_prev - n) -> d_z = d_h * (n - h_prev) | exactly −d_h ⊙ (h_prev − n) | stage='step_backward d_z'
GRU | d_r = d_a_n_x * a_n_h -> d_r = d_a_n_x * h_prev | exactly d_a_n_x ⊙ h_prev | stage='step_backward d_r'
GRU | h = (1 - z) * n + z * h_prev -> h = z * n + (1 - z) * h_prev | exactly z ⊙ n + (1 − z) ⊙ h_prev | stage='step h'
GRU | + r * a_n_h -> + a_n_h | exactly tanh(a_n_x + a_n_h)
GRU | n = xp.tanh(a_x[:, 2 * H :] + r * a_n_h) -> a_n_h = ((r * h_prev) @ W_HH.T + parameters.get("bias_hh", 0))[:, 2 *
    H :]\n    n = xp.tanh(a_x[:, 2 * H :] + a_n_h) | exactly tanh(a_n_x + (r ⊙ h_prev) @ W_hh[block 2].T +
GRU | a_h = a_h + B_HH -> pass | b_hh is forgotten
GRU | a_n_h = a_h -> a_x, a_h = (xp.concat([a[:, H : 2 * H], a[:, :H], a[:, 2 * H :]], axis=1) for a in (a_x,
    a_h))\n    h_n = a_h | exactly [z, r, n]
RNN tanh | d_a = d_h * (1 - h * h) -> d_a = d_h * (1 - h) | exactly d_h ⊙ (1 − h) | stage='step_backward d_a'
RNN tanh | d_a = d_h * (1 - h * h) -> d_a = d_h * (1 - xp.tanh(h) ** 2) | exactly d_h ⊙ (1 − tanh(h)²)
LSTM | d_a_i = d_i * i * (1 - i) -> d_a_i = d_i | exactly d_i | stage='step_backward d_a_i'
LSTM | d_a_f = d_f * f * (1 - f) -> d_a_f = d_f * sigmoid(f, xp) * (1 - sigmoid(f, xp)) | exactly d_f ⊙ σ(f) ⊙ (1 −
    σ(f))
LSTM | [d_a_i, d_a_f, d_a_g, d_a_o] -> [d_i, d_f, d_a_g, d_o] | In all gates σ′ is missing
LSTM | [d_a_i, d_a_f, d_a_g, d_a_o] -> [d_i, d_f, d_g, d_o] | derivative of σ or tanh is missing
LSTM | d_a_g = d_g * (1 - g * g) -> d_a_g = d_g * g * (1 - g) | exactly d_g ⊙ g ⊙ (1 − g) | stage='step_backward d_a_g'
LSTM | o * (1 - tanh_c * tanh_c) -> o | exactly d_c_after + d_h ⊙ o
LSTM | d_h * o * (1 - tanh_c * tanh_c) -> d_h * (1 - tanh_c * tanh_c) | exactly d_c_after + d_h ⊙ (1 − tanh(c)²) |
    stage='step_backward d_c'
LSTM | d_i = d_c * g -> d_i = d_c * i | exactly d_c ⊙ i | stage='step_backward d_i'
RNN tanh & LSTM | B_IH + B_HH -> B_IH | b_hh is forgotten
LSTM | B_IH + B_HH -> B_IH + B_IH | b_ih, is added twice
RNN tanh & LSTM | "bias_hh": xp.sum(d_a, axis=0) -> "bias_hh": 0 * xp.sum(d_a, axis=0) | that is the gradient of b_hh
RNN tanh & LSTM | xp.sum(d_a, axis=0) -> xp.sum(d_a, axis=0) / 2 | that is the gradient of b_hh and
RNN tanh | TAPE -> TAPE; d_state = 0 * d_state | from the final state, d_h_n, is ignored
LSTM | TAPE -> TAPE; d_state = (0 * d_state[1],) * 2 | from the final state, d_h_n and d_c_n, is
RNN tanh & LSTM | d_h = D_OUT + -> d_h = 0 * D_OUT + | d_output is not used
RNN tanh & LSTM | d_h = D_OUT + -> d_h = (t == len(steps) - 1) * D_OUT + | d_output is used at the last step alone
RNN tanh | D_END -> return xp.stack(d_x[::-1]), 0 * d_state | zeros are returned for d_h_0
LSTM | output, steps = [], [] -> output, steps = [], []; state = 0 * state[0], 0 * state[1] | nothing reads h_0 and c_0
LSTM | output, steps = [], [] -> output, steps = [], []; state = state[::-1] | h_0 and c_0 are exchanged
RNN tanh & LSTM | ADDED -> total * (name != "weight_hh") + d_step[name] | that is the gradient of W_hh
RNN tanh & LSTM | ADDED -> ADDED * (name != "weight_ih" or (t == len(steps) - 1)) | that is the gradient of W_ih
LSTM | d_a.T @ h_prev -> d_a.T @ (o * tanh_c) | exactly d_a.T @ h
RNN tanh & LSTM | D_END, d_parameters -> D_END, {name: total / len(steps) for name, total in d_parameters.items()} | the
    mean over the steps is there for their sum
LSTM | f = sigmoid(a[ -> f = 1 - sigmoid(a[ | exactly σ(−a_f)
LSTM | c = f * c_prev + i * g -> c = f * c_prev + (1 - f) * g | exactly f ⊙ c_prev + (1 − f) ⊙ g | stage='step c'
LSTM | tanh_c = xp.tanh(c) -> tanh_c = c | exactly c | stage='step tanh_c'
LSTM | g = xp.tanh(a[:, 2 * H : 3 * H]) -> g = sigmoid(a[:, 2 * H : 3 * H], xp) | exactly σ(a_g) | stage='step g'
LSTM | h = o * tanh_c -> h = tanh_c | exactly tanh(c) | stage='step h'
RNN tanh & LSTM | self.xp.flip(made, (0,)) -> made | output of the reverse direction is not turned | bidirectional=True
RNN tanh & LSTM | = self.xp.flip(part, (0,)) -> = part | reverse direction reads the sequence | bidirectional=True
RNN tanh & LSTM | slice(direction * self.P, (direction + 1) * self.P) -> slice((self.D - 1 - direction) * self.P,
    (self.D - direction) * self.P) | halves of the output are exchanged | num_layers=3, bidirectional=True
RNN tanh & LSTM | = d_part[::-1] -> = d_part | The reverse direction's part | bidirectional=True
RNN tanh & LSTM | = piece[::-1] -> = piece | The reverse direction runs from the last step | bidirectional=True,
    layout='packed', lengths=(5, 3, 4)
RNN tanh & LSTM | += d_part -> = d_part | a direction's part of the gradient of its | num_layers=3, bidirectional=True
RNN tanh & LSTM | zip(final, parts_of(end) -> zip(final, (made[-1], *parts_of(end)[1:]) | The reverse direction ends at
    step 0 | bidirectional=True
RNN tanh & LSTM | self.weights(layer, direction) -> self.weights(layer, 0) | directions of the weights, those |
    bidirectional=True
RNN tanh & LSTM | k = layer * self.D + direction -> k = direction * self.layers + layer | directions of the states, all
    | num_layers=3, bidirectional=True
RNN tanh | k = layer * self.D + direction -> k = (self.layers - 1 - layer) * self.D + direction | directions of the
    states, the | num_layers=3
RNN tanh | d_y = d_x\n -> d_y = np.zeros_like(d_y)\n | is not passed on | num_layers=3
RNN tanh | x = output\n -> x = output if layer == self.layers - 1 else x\n | every layer reads the input | num_layers=3
RNN tanh & LSTM | self.weights(layer, direction) -> self.weights(0, direction) | directions of the weights, those |
    num_layers=3
RNN tanh | [value[k, which] for value in state] -> [value[0, which] for value in state] | directions of the initial
    states | num_layers=3
LSTM | return value.swapaxes(0, 1) if self.batch_first else value -> return value | batch_first is ignored |
    batch_first=True
RNN tanh | GIVEN -> [value.swapaxes(0, 1) if self.batch_first else value for value in state] | for input and output only
    | batch_first=True
RNN tanh | (slice(b, b + 1), self.lengths[b]) -> (slice(b, b + 1), self.steps) | The padding is taken | layout='packed',
    lengths=(5, 3, 4)
RNN tanh | GIVEN -> [value[:, np.argsort([-n for n in self.lengths])] for value in state] | sorted by length inside, and
    h_n | layout='packed', lengths=(5, 3, 4)
RNN tanh | / (1 - self.p or 1) ->  | scaled by 1/ | num_layers=3, dropout=0.5
LSTM | d_x = d_x * self.masks[layer - 1] -> pass | mask of dropout is not applied | num_layers=3, dropout=0.5
RNN tanh | and self.p and self.training -> and self.p | After eval | num_layers=3, dropout=1.0, training=False
RNN tanh | parameter.grad = None\n -> pass\n | the parameters are not reset
RNN tanh & LSTM | START -> state = self.states(state) if state is not None else [getattr(v, 'detach', lambda: v)() for v
    in vars(self).get('final', self.states(None))]\n        self.final = final = [self.xp.zeros_like(value) for value in
    state] | The state is not reset | initial_state=False
LSTM | W_HR.T -> W_HR.reshape(W_HR.shape[::-1]) | exactly m @ W_hr.reshape(…) | proj_size=2
LSTM | d_h @ W_HR -> d_h @ W_HR.reshape(W_HR.shape[::-1]).T | exactly d_h @ W_hr.reshape(…).T | proj_size=2
LSTM | ADDED -> total * (name != "weight_hr") + d_step[name] | that is the gradient of W_hr | proj_size=2
"""
"""Cells, the texts and what replaces them, what the diagnosis says, and options."""

MORE = r"""
LSTM | "bias_ih": xp.sum(d_a, axis=0) -> "bias_ih": 0 * d_a[0] + xp.sum(d_a) | exactly the sum of d_a over everything
RNN tanh | xp.sum(d_a, axis=0) -> 0 * d_a[0] + xp.sum(d_a) | summed over everything
LSTM | for t in reversed(range(len(steps))): -> for t in reversed(range(1, len(steps))): ;; (d_x[::-1]) -> ([0 *
    steps[0][0], *d_x[::-1]]) | the loop stops one step early
LSTM | d_a_f = d_f * f * (1 - f) -> f *= 1 - f; d_a_f = d_f * f * (1 - f) | exactly d_f ⊙ f ⊙ (1 − f) ⊙ (1 − f ⊙ (1 −
    f))
GRU | for t in range(x.shape[0]): -> state = 1 * state\n    for t in range(x.shape[0]): ;; STEP -> new, kept = step(x[t,
    :, :], state, parameters ;; steps.append(kept) -> steps.append(kept); state[...] = new ;; output.append(state) ->
    output.append(new) | exactly (h after the last step) | form='functions'
LSTM | c = f * c_prev + i * g -> c = c_prev; c *= f; c += i * g | Forward writes to the caller's c_0 | form='class'
LSTM | APPEND -> APPEND; d_state = tuple(d.clip(-1, 1) for d in d_state) | exactly clip(d_c ⊙ f, 1)
RNN tanh | APPEND -> APPEND; d_state = d_state.clip(-0.5, 0.5) | the gradient is clipped at ±0.5
LSTM | APPEND -> APPEND\n        for name in parameters:\n            parameters[name] -= 0.1 * d_step[name] | Backward
    writes to the caller's weight_ih_l0 | form='class'
LSTM | TAPE -> TAPE; parameters = dict(parameters) ;; APPEND -> APPEND\n        parameters = {n: v - 0.1 * d_step[n] for
    n, v in parameters.items()} | The weights are updated
LSTM | D_OUT + d_h_after -> D_OUT + 2 * d_h_after | d_h from the step after is added twice
LSTM | a = x @ W_IH.T + h_prev @ W_HH.T -> a = xp.concat([h_prev, x], axis=1) @ xp.concat([W_IH, W_HH], axis=1).T |
    exactly [h_prev, x] @ [W_ih, W_hh].T + b_ih + b_hh
LSTM | "weight_ih": d_a.T @ x -> "weight_ih": (d_a.T @ xp.concat([h_prev, x], axis=1))[:, : x.shape[1]] | exactly (d_a.T
    @ [h_prev, x])[:, :I]
LSTM | D_END, -> d_state = d_state[0], d_state[1] / steps[0][4]\n    D_END, | d_c_0 lacks its factor
RNN tanh | STEP -> STEP if t == 0 else {k: parameters[k] for k in ["weight_ih", "weight_hh"]} | at the first step only
LSTM | B_IH + B_HH -> 2 * (B_IH + B_HH) | exactly x @ W_ih.T + h_prev @ W_hh.T + 2
LSTM | tanh_c = xp.tanh(c) -> tanh_c = sigmoid(c, xp) | exactly σ(c)
LSTM | o = sigmoid(a[:, 3 * H :], xp) -> o = sigmoid(a[:, 3 * H :] + c_prev, xp) | exactly σ(a_o + c_prev) | stage='step
    o'
RNN tanh | h = xp.tanh(a) -> a = a.clip(-1, 1); h = xp.tanh(a) | exactly clip(x @ W_ih.T + h_prev @ W_hh.T +
RNN tanh | x = output -> x = output + x if output.shape == x.shape else output | A layer's input is added to its output
    | num_layers=3
LSTM | tanh_c = xp.tanh(c) -> c = c.clip(-1, 1); tanh_c = xp.tanh(c) | exactly clip(f ⊙ c_prev + i ⊙ g, 1) | stage='step
    c'
GRU | n = xp.tanh(a_x[:, 2 * H :] + r * a_n_h) -> n = xp.tanh(a_x[:, 2 * H :] + z * a_n_h) | exactly tanh(a_n_x +
    z ⊙ a_n_h)
RNN tanh | / (1 - self.p or 1) -> / (self.p or 1) | scaled by 1/ | num_layers=3, dropout=0.3
RNN tanh | return self.as_given(x), self.states_given(final) -> return self.as_given(x * (self.mask(x) if self.p and
    self.training else 1)), self.states_given(final) | between the layers, not on | num_layers=3, dropout=1.0
RNN tanh | [value[k, which] for value in state] -> [value[k, which] * (1 - direction) for value in state] | initial h is
    zero in the reverse | bidirectional=True
RNN tanh | x = output\n -> x = output if self.D < 2 else self.xp.concatenate([(output[:, :, : self.P] + output[:, :,
    self.P :]) / 2] * 2, axis=2)\n | The two directions are averaged | bidirectional=True
LSTM | d_x[:length, which] += d_part -> d_x[:length, which] += d_part / self.D | the sum of both parts, not their mean |
    bidirectional=True
RNN tanh | self.weights(layer, direction) -> {**self.weights(layer, direction), 'weight_hh': self.weights(0,
    direction)['weight_hh']} | Every layer uses W_hh of layer 0 | num_layers=2
LSTM | start = whole([value[k, which] for value in state]) -> start = whole([(final if layer else state)[n][k - self.D *
    (layer > 0), which].clone() for n in range(len(state))]) | Each layer begins with the final state | form='torch',
    num_layers=2
RNN tanh | parameter.grad = gradient if -> gradient = gradient * (layer == self.layers - 1); parameter.grad = gradient
    if | parameters is zero below | num_layers=3
RNN tanh | d_final = self.states(d_state) -> d_final = [v[::-1] for v in self.states(d_state)] | directions of the
    gradients of the | num_layers=3
RNN tanh | piece = d_y[:length, which, columns] -> piece = d_y[:length, which, : self.P] | are given the forward half |
    bidirectional=True
RNN tanh | zip(final, parts_of(end) -> zip(final, [v if length == self.steps else 0 * v for v in parts_of(end)] | h_n is
    read from the last step | layout='packed', lengths=(5, 3, 4)
LSTM | return xp.stack(output), state, -> return xp.stack(output), (output[0], state[1]), | h after the first step is
    returned as the last | stage='forward h_n'
LSTM | return xp.stack(output), state, -> return xp.stack(output), (state[1], state[1]), | c is returned as h
RNN tanh | output.append(state) -> output.append(xp.tanh(state)) | tanh is applied once more to what is put into the
    output
GRU | step(x[t, :, :] -> step(x[0, :, :] | every step reads the first input
GRU | steps[t], parameters -> steps[t - 1], parameters | what the step before kept is read
LSTM | d_c_prev = d_c * f -> d_c_prev = d_c_after * f | exactly d_c_after ⊙ f | stage='step_backward d_c_prev'
LSTM | (x, h_prev, c_prev, i, f, g, o, tanh_c) -> (x, h, c_prev, i, f, g, o, tanh_c) | exactly d_a.T @ h | form='class'
LSTM | d_h_prev = d_a @ -> d_h_prev = d_h + d_a @ | d_h_prev is added to d_h, where it replaces it
RNN tanh | d_a = d_h * (1 - h * h) -> d_a = d_h * (1 - h_prev * h_prev) | exactly d_h ⊙ (1 − h_prev²) |
    stage='step_backward d_a'
RNN relu | xp.where(a <= 0, xp.zeros_like(a), a) -> xp.where(a <= 0, 0.01 * a, a) | exactly relu(a) + 0.01 · (a −
    relu(a))
LSTM | d_hr, d_h = d_h.T @ (o * tanh_c) -> d_hr, d_h = d_h.T @ tanh_c | exactly d_h.T @ tanh(c) | proj_size=2
LSTM | D_END, -> d_state = d_h, d_state[1]\n    D_END, | d_h of the first step is returned
LSTM | d_h_after, d_c_after = d_state -> d_h_after, d_c_after = d_state; d_h_after = d_h_after * (1 + (t == len(steps) -
    1)) | the final h counts twice
RNN tanh | d_a.T @ h_prev -> d_a[:1].T @ h_prev[:1] | exactly d_a[0:1].T @ h_prev[0:1]
LSTM | f = sigmoid(a[:, H : 2 * H], xp) -> f = sigmoid(a[:, H : 2 * H] + 1, xp) | exactly σ(a_f + 1) | stage='step f'
LSTM | d_f = d_c * c_prev -> d_f = d_c ;; d_a_g = d_g * (1 - g * g) -> d_a_g = d_g | exactly d_c | stage='step_backward
    d_f'
"""
"""Further ones, which the faults were not made for when they were written down."""

PAIRS = r"""
LSTM | d_a_i = d_i * i * (1 - i) -> d_a_i = d_i ;; d_c = d_c_after + d_h -> d_c = d_h | exactly d_i: ++ exactly d_h ⊙ o
    ⊙ (1 − tanh(c)²):
LSTM | tanh_c = xp.tanh(c) -> tanh_c = c ;; B_IH + B_HH -> B_IH | tanh(c) (6); yours is exactly c: ++ b_hh is
    forgotten
RNN tanh | d_a = d_h * (1 - h * h) -> d_a = d_h * (1 - h) ;; "bias_hh": xp.sum(d_a, axis=0) -> "bias_hh": 0 * d_a[0] |
    exactly d_h ⊙ (1 − h): ++ the gradient of b_hh: it is left at zero
RNN tanh | B_IH + B_HH -> B_IH ;; D_OUT + -> D_OUT + 0 * | b_hh is forgotten ++ the step after is not added to d_h
"""
"""Two mistakes at once."""

SEEN = r"""
LSTM | d_g = d_c * i -> d_g = -3 * d_c * i | the rows of gate g are wrong and those of i, f and o right
LSTM | d_a.T @ h_prev -> 3 * d_a.T @ h_prev | d_weight_hh is exactly 3 times what it should be
LSTM | d_a.T @ h_prev -> 1e200 * d_a.T @ h_prev | d_weight_hh is 1e+200 times what it should be
LSTM | d_a.T @ h_prev -> 0.71828 * d_a.T @ h_prev | d_weight_hh is 0.7183 times what it should be
LSTM | d_a.T @ h_prev -> -1.5 * d_a.T @ h_prev | d_weight_hh is exactly −3/2 times what it should be
LSTM | d_a.T @ h_prev -> (1 + 1e-8) * d_a.T @ h_prev | as if float32 were used somewhere ++ NOT times what it should be
LSTM | output.append(state[0]) -> output.append(state[0] + 1e-8 * xp.sin(1e5 * state[0])) | as if float32 were
LSTM | step(x[t, :, :] -> step(x[t, :, :] + (0.1 if t == 2 else 0) | The output is right until step 2 and wrong from
    step 3 (of 5) on ++ The gradients are those of this forward pass
LSTM | output.append(state[0]) -> output.append(state[0] * (1 + (t == 1))) | wrong at step 2 of 5, and right
RNN tanh | d_h_prev = d_a @ W_HH -> d_h_prev = d_a @ W_HH * 0.9 | d_input is right at the last step and wrong at every
    earlier one ++ With a single step only d_h_0 is wrong
RNN tanh | APPEND -> d_x.append(d_x_t * (1 + 2 * (t == 1))) | d_input is wrong at step 2 of 5, and right
RNN tanh | APPEND -> APPEND; d_state = d_state * (1 - 0.5 * (t > 1)) | With a single step everything is right
LSTM | d_a_f = d_f * f * (1 - f) -> d_a_f = d_f * f * (1 - i * g) | d_input is wrong from the last step on
RNN tanh | d_a.T @ x -> xp.nan * d_a.T @ x | d_weight_ih is not a number
RNN tanh | return xp.stack(output) -> return xp.stack(output)[1:] ;; d_a.T @ x -> 3 * d_a.T @ x
    | output has the shape (4, 3, 4) ++ The gradients can be judged once the forward pass is right
LSTM | return xp.stack(output), state -> return xp.stack(output)[:, :, :2], state | output has the shape (5, 3, 2)
LSTM | return xp.stack(output), state -> return xp.stack(output), (state[0].astype(xp.float32), state[1]) | h_n is
    float32, expected float64
LSTM | return xp.stack(output) -> return 1e200 * xp.stack(output) | output is 1e+200 times ++ NOT different
LSTM | tanh_c = xp.tanh(c) -> tanh_c = xp.tanh(c.astype(xp.float32)).astype(c.dtype) | NOT The gradients are not those
LSTM | / (1 - self.p or 1) -> / (1 - self.p or 1) * 1.1 | It is wrong only with dropout; ++ NOT The gradients are
    not those | num_layers=3, dropout=0.3
RNN tanh | h = xp.tanh(a) -> h = xp.tanh(a + 0.01 * step.__dict__.get("h", 0)); step.h = h.mean() | Two calls give
    different numbers ++ NOT The gradients are not those
RNN tanh | d_x = d_a @ W_IH -> d_x = d_a @ W_IH[None, 0] | It raises an error: ValueError
RNN tanh | d_x = d_a @ W_IH -> d_x = d_a @ W_IH * np.random.random() | give different numbers for the same problem, in
    d_input
LSTM | self.xp.flip(made, (0,)) -> made | only with bidirectional=True; ++ Only the
    reverse half of the output is wrong ++ The reverse half of the output is wrong at step 1, 2, 4 and 5 of 5 |
    num_layers=3, bidirectional=True, batch_first=True, initial_state=False
RNN tanh | xp.stack(output) -> xp.stack(output) * (1 + (x.shape[1] == 1)) | only with a batch of one; | lengths=(1,)
RNN tanh | x = output\n -> x = output * (2 - self.training)\n | only with training=False; | training=False
RNN tanh | x = output\n -> x = output * (1 + 0.1 * (layer < self.layers - 1))\n | 4e-02 in layer 1 ++ only with
    several layers; | num_layers=3
RNN tanh | piece = piece[::-1] if direction else piece -> piece = piece * 0.7 if direction else piece | only those of
    the reverse direction are wrong | bidirectional=True
RNN tanh | made = self.xp.flip(made, (0,)) if direction else made -> made = made * (1 + (length == 3)) | Only sequence 2
    of 3 is wrong (their lengths are (5, 3, 4)) ++ The output is wrong at step 1, 2 and 3 of 5, and
    right | layout='packed', lengths=(5, 3, 4)
RNN tanh | parameter.grad = None\n -> pass\n | The first call is right and the second wrong
LSTM | D_END -> del d_parameters['bias_hh']; D_END | of b_hh: it is left at zero ++ d_bias_hh_l0 is missing
RNN tanh & LSTM | return xp.stack(d_x[::-1]) -> return xp.stack(d_x[::-1]).astype(float) | Wrong in dtype alone: ++
    d_input is float64, expected float32 as the input is
RNN relu | return xp.stack(output) -> return xp.stack(output).astype(complex) | Wrong in dtype alone: ++ output is
    complex128, expected float64
"""
"""What the tensors show where no fault that is known gives them, and sometimes where one does."""

LONG = {
    "W_HH": 'parameters["weight_hh"]',
    "W_IH": 'parameters["weight_ih"]',
    "B_IH": 'parameters["bias_ih"]',
    "B_HH": 'parameters["bias_hh"]',
    "W_HR": stack.W_HR,
    "D_END": "return xp.stack(d_x[::-1]), d_state",
    "D_OUT": "d_output[t, :, :]",
    "ADDED": "total + d_step[name]",
    "TAPE": "steps, parameters = tape",
    "APPEND": "d_x.append(d_x_t)",
    "GIVEN": "[value[:, 0] if self.single else value for value in state]",
    "STEP": "state, kept = step(x[t, :, :], state, parameters",
    "START": "state = self.states(state)\n        final = [self.xp.zeros_like(value) for value in state]",
}
"""What stands for longer texts in the rows."""
PAGES = {"RNN": rnn, "LSTM": lstm, "GRU": gru}
FORMS = {
    **dict.fromkeys(("step", "forward"), ("functions", "class", "torch")),
    **dict.fromkeys(("step_backward", "backward"), ("functions", "class")),
    **{"Layers": ("class", "torch"), "Stack": ("class",)},
}
"""In which forms of the implementations a function or a class of the texts is at work."""


class Planted(NamedTuple):
    """A row of a table, for one cell. stage: what the stages say of it (planted_stages.py)."""

    cell: str
    replacements: Replacements
    told: str
    options: dict[str, Any]
    stage: str = ""

    @property
    def forms(self) -> list[str]:
        """The implementations in which the mistake is at work."""
        return [self.options["form"]] if "form" in self.options else sorted(compiled(self.cell, self.replacements)[2])


def rows(table: str) -> Iterator[tuple[str, Replacements, list[str]]]:
    """The rows of a table: the cell, texts and what replaces them, and what else there is."""
    for row in re.sub(r"\n +", " ", table).strip().split("\n"):
        cells, texts, *others = row.split(" | ")
        text = re.sub(rf"\b({'|'.join(LONG)})\b", lambda found: LONG[found[0]], texts).replace("\\n", "\n")
        replacements = tuple((old, new) for old, new in (each.split(" -> ") for each in text.split(" ;; ")))
        for cell in cells.split(" & "):
            yield cell, replacements, others


def planted(table: str) -> Iterator[Planted]:
    """The rows of a table for the diagnosis."""
    for cell, replacements, (told, *options) in rows(table):
        given = eval(f"dict({''.join(options)})")
        stage = given.pop("stage", "")
        yield Planted(cell, PROJECTION * ("proj_size" in given) + replacements, told, given, stage)


@cache
def code(text: str) -> types.CodeType:
    return compile(text, "planted.py", "exec")


@cache
def compiled(cell: str, replacements: Replacements = ()) -> tuple[types.ModuleType, types.ModuleType, set[str]]:
    """The textbook's page and the stack with faults, and the forms in which the last of these is at work."""
    texts = [re.split(r"\n(?=def |class )", inspect.getsource(source)) for source in (PAGES[cell.split()[0]], stack)]
    forms: set[str] = set()
    for old, new in replacements:
        forms = set()
        for parts in texts:
            for n, part in enumerate(parts[1:], 1):  # the first is what stands above all functions and classes
                if old in part:
                    parts[n] = part.replace(old, new)
                    forms.update(FORMS[part.replace("(", " ").replace(":", " ").split()[1]])
        assert forms, f"neither in the textbook nor in stack.py: {old}"
    page, layers = types.ModuleType("planted"), types.ModuleType("planted")
    for module, parts in zip((page, layers), texts, strict=True):
        exec(code("\n".join(parts)), module.__dict__)
    return page, layers, forms


def subject(cell: str, form: str, *replacements: tuple[str, str]) -> Implementation:
    """An implementation with these faults, in one of the forms."""
    page, layers, _ = compiled(cell, replacements)
    name = cell.split()[0]
    if form == "functions":
        relu = {"nonlinearity": "relu"} if cell == "RNN relu" else {}
        return candidate((partial(page.forward, **relu), page.backward), name, cell)
    base = {"class": layers.Stack, "torch": layers.TorchStack}[form]
    return candidate(type(name, (base,), {"page": page, "cell": name}), name, cell)
