"""Mistakes to plant in the textbook's pages, and what the stages are to say of each.

A row is `cell | old -> new ;; old -> new | function names: told`. names: the equations, or the slots of its loop, that
are named, first one that gives the numbers alone, or all that do together. told: what else is told, as where something
is written where it should not be, which has no equation. Rows of planted.py may have the same, as `stage`.
"""

from typing import NamedTuple

from .planted import MORE, TABLE, Replacements, planted, rows

STAGES = r"""
lstm | "bias_ih": xp.sum(d_a, axis=0) -> "bias_ih": xp.sum(d_a) | step_backward d_b_ih
rnn | xp.sum(d_a, axis=0) -> xp.sum(d_a) | step_backward d_b_ih, d_b_hh
rnn |     APPEND ->     APPEND\n        parameters = {name: value - 0.01 * d_step[name] for name, value in
    parameters.items()} | backward: or changes the weights on the way
lstm | for t in reversed(range(len(steps))): -> for t in reversed(range(1, len(steps))): ;; (d_x[::-1]) -> ([0 *
    steps[0][0], *d_x[::-1]]) | backward times
gru | for t in reversed(range(len(steps))): -> for t in reversed(range(1, len(steps))): | backward: one step is missing
lstm | d_a_f = d_f * f -> f *= 1 - f; d_a_f = d_f * f | step_backward d_a_f
lstm | d_a_f = d_f * f * (1 - f) -> f *= 1 - f; d_a_f = d_f * f | step_backward: in place
gru | (x, h_prev, a_n_h, r, z, n)\n -> (x, h_prev, a_n_h, r, 1 - z, n)\n | step_backward z: kept for the way back is
    another value, or changed in place
gru | return d_x, d_h_prev -> n *= 0.9; return d_x, d_h_prev | step_backward: in place
lstm | c = f * c_prev + i * g -> c = c_prev; c *= f; c += i * g | step: writes into `state`
gru | for t in range(x.shape[0]): -> state = 1 * state\n    for t in range(x.shape[0]): ;; STEP -> new, kept = step(x[t,
    :, :], state, parameters ;;         steps.append(kept) ->         steps.append(kept); state[...] = new ;;
    output.append(state) -> output.append(new) | forward: in place
lstm |         APPEND ->         APPEND; d_state = tuple(d.clip(-1, 1) for d in d_state) | backward d_h_after
rnn |         APPEND ->         APPEND; d_state = d_state.clip(-20, 20) | backward d_h_after
lstm |         APPEND ->         APPEND; d_state = tuple(d / 2 for d in d_state) | backward d_h_after: d_h
    and d_c are halved
gru |         APPEND ->         APPEND; d_state = d_state * (t > len(steps) - 3) | backward d_h_after: walked back
gru | ADDED -> ADDED.clip(-5, 5) | backward total
lstm |         APPEND ->         APPEND\n        for name in parameters:\n            parameters[name] -= 0.1 *
    d_step[name] | backward: `parameters`
lstm | D_OUT + d_h_after -> D_OUT + 2 * d_h_after | backward d_h
lstm | a = x @ W_IH.T + h_prev @ W_HH.T -> a = xp.concat([h_prev, x], axis=1) @ xp.concat([W_IH, W_HH], axis=1).T | step
    a
lstm | "weight_ih": d_a.T @ x -> "weight_ih": (d_a.T @ xp.concat([h_prev, x], axis=1))[:, : x.shape[1]] | step_backward
    d_W_ih
lstm | D_END, -> d_state = d_state[0], d_state[1] / steps[0][4]\n    D_END, | backward d_c_0
lstm | H = h_prev.shape[1] -> H = h_prev.shape[1]; a = xp.concat([a[:, k::4] for k in range(4)], axis=1) | step a
gru | a_n_h = a_h -> a_x, a_h = (xp.concat([a[:, k::3] for k in range(3)], axis=1) for a in (a_x, a_h))\n    a_n_h = a_h
    | step a_x and a_h
lstm | d_a_o = d_o * o * (1 - o) -> d_a_o = d_o * o * (1 - o * o) | step_backward d_a_o
rnn | xp.sum(d_a, axis=0) -> xp.sum(d_a, axis=1) | step_backward: a number for each row of the weights
lstm | c = f * c_prev + i * g -> c = i * c_prev + f * g | step a
lstm | c = f * c_prev + i * g -> c = f * c_prev + i * g + 0.01 * g * o | step
gru | n = xp.tanh(a_x[:, 2 * H :] + r * a_n_h) -> n = xp.tanh(a_x[:, 2 * H :] + a_n_h) | step n
gru |     n = xp.tanh(a_x[:, 2 * H :] + r * a_n_h) ->     a_n_h = ((r * h_prev) @ W_HH.T + parameters.get("bias_hh",
    0))[:, 2 * H :]\n    n = xp.tanh(a_x[:, 2 * H :] + a_n_h) | step n
rnn |  + h_prev @ W_HH.T ->  | step a
gru | a_h = a_h + B_HH -> a_h = a_h + B_IH | step a_h
lstm | h_prev, c_prev = state -> c_prev, h_prev = state | step a
lstm | d_h, d_c_after = d_state\n    x -> d_c_after, d_h = d_state\n    x | step_backward d_o
lstm | power = xp.exp(xp.where(a > 0, -a, a)) -> return 1 / (1 + xp.exp(a)) | step i
gru | r * a_n_h) -> a_n_h) ;; a_x[:, 2 * H :] -> r * a_x[:, 2 * H :] | step n
gru | a_n_h = a_h[:, 2 * H :] -> a_n_h = (h_prev @ W_HH.T)[:, 2 * H :] | step n
lstm | ADDED -> d_step[name] + total * ("bias" in name) | backward total
rnn | ADDED -> d_step[name] + total * ("weight" in name) | backward total
lstm | d_o = d_h * tanh_c -> d_o = d_h * c_prev | step_backward d_o
lstm | d_h * o * (1 - tanh_c * tanh_c) -> d_h * o * (1 - tanh_c) | step_backward d_c
lstm | "bias_ih": xp.sum(d_a, axis=0) -> "bias_ih": xp.mean(d_a, axis=0) | step_backward d_b_ih
lstm | d_h_prev = d_a @ W_HH -> d_h_prev = d_h + d_a @ W_HH | step_backward d_h_prev
gru | d_h_prev = d_h * z +  -> d_h_prev =  | step_backward d_h_prev
gru | xp.sum(d_a_h, axis=0) -> xp.sum(d_a_x, axis=0) | step_backward d_b_hh
rnn | xp.where(h <= 0, xp.zeros_like(h), d_h) -> d_h | step_backward d_a
rnn | "weight_hh": d_a.T @ h_prev -> "weight_hh": h_prev.T @ d_a | step_backward d_W_hh
gru | d_n = d_h * (1 - z) -> d_n = (d_h * (1 - z)).astype("float32") | step_backward: is something on the way float32
gru | d_n = d_h * (1 - z) -> d_n = d_h * z ;; "weight_ih": d_a_x.T @ x -> "weight_ih": d_a_h.T @ x | step_backward d_n,
    d_W_ih
lstm | STEP -> state, kept = step(x[0, :, :], state, parameters | forward x_t
lstm | STEP -> state, kept = step(x[min(t + 1, len(x) - 1), :, :], state, parameters | forward: No known mistake
lstm | output.append(state[0]) -> output.append(state[1]) | forward output_t
gru | for t in range(x.shape[0]): -> state = 0 * state\n    for t in range(x.shape[0]): | forward h
lstm | return xp.stack(output), state, -> return xp.stack(output), state[::-1], | forward: exchanged
rnn | return xp.stack(output), state, -> return xp.stack(output[::-1]), state, | forward output
lstm | for t in range(x.shape[0]): -> first = state\n    for t in range(x.shape[0]): ;; STEP -> state, kept = step(x[t,
    :, :], (state[0], first[1]), parameters | forward c_prev
lstm | (d_h, d_c_after) -> (d_h, 0 * d_c_after) | backward d_c
lstm | ADDED -> d_step[name] | backward total
rnn | d_x[::-1] -> d_x | backward d_x
rnn |     TAPE\n ->     TAPE\n    d_last, d_state = d_state, 0 * d_state\n | backward d_h
lstm | steps[t], parameters -> steps[t - 1], parameters | backward kept
gru |         APPEND ->         APPEND; d_state = d_state * (t != 2) | backward d_h_after
lstm |         APPEND ->         APPEND; d_state = d_state[0], d_state[1] + d_c_after | backward d_c_after
lstm | return (h, c), (x -> return h, (x | step: should be a tuple of 2 arrays
lstm | "weight_ih": d_a.T @ x -> "weight_ih": x.T @ d_a | step_backward: only its axes are in another order
lstm | return xp.stack(output), state, -> return xp.concat(output), state, | forward: only its shape is another
gru | return xp.stack(output), -> return xp.stack(output) + 0j, | forward: which holds no real numbers
rnn | "bias_hh": xp.sum -> "b_hh": xp.sum | step_backward: d_parameters should have
lstm | d_o = d_h * tanh_c -> d_o = d_h * tanhc | step_backward: NameError
gru | if "bias_ih" in parameters:\n        a_x -> if True:\n        a_x | step: Ask for them
lstm | a = a + B_IH + B_HH -> a = a + 2 * (B_IH + B_HH) | step a
rnn | a = a + B_IH + B_HH -> pass | step a: the biases are missing
lstm | return (h, c), (x -> return (c, h), (x | step: exchanged in what is returned
lstm | (x, h_prev, c_prev, i, f, g, o, tanh_c)\n -> (x, h, c_prev, i, f, g, o, tanh_c)\n | step_backward d_W_hh
lstm | (x, h_prev, c_prev, i, f, g, o, tanh_c)\n -> (x, h_prev, c_prev, f, f, g, o, tanh_c)\n | step_backward i
lstm | return d_x, (d_h_prev, d_c_prev) -> return d_x, (d_c_prev, d_h_prev) | step_backward: exchanged
lstm | "bias_ih": xp.sum(d_a, axis=0), "bias_hh": xp.sum(d_a, axis=0) -> "bias_ih": xp.sum(d_a, axis=0) / 2, "bias_hh":
    xp.sum(d_a, axis=0) / 2 | step_backward d_b_ih, d_b_hh
lstm | "weight_ih": d_a.T @ x, "weight_hh": d_a.T @ h_prev -> "weight_ih": d_a.T @ x / len(x), "weight_hh": d_a.T @
    h_prev / len(x) | step_backward d_W_ih, d_W_hh
lstm | d_f * f * (1 - f) -> (d_f * f * (1 - f)).clip(-0.05, 0.05) | step_backward: clips or rescales
gru | d_a_h.T @ h_prev -> d_a_h.T @ (r * h_prev) | step_backward d_W_hh
rnn | h = xp.tanh(a) -> h = 1 / (1 + xp.exp(-a)) | step h
lstm | for t in range(x.shape[0]): -> for t in range(x.shape[0] - 1): | forward: one step is missing
lstm |         APPEND ->         APPEND; d_state = 0.9 * d_state[0], 0.9 * d_state[1] | backward
lstm |         APPEND ->         APPEND; d_state = d_state[0] / max(1, (d_state[0] ** 2).sum() ** 0.5), d_state[1] |
    backward: clips or rescales
lstm | ADDED -> (ADDED) / 2 | backward
gru |         APPEND ->         APPEND; d_state = d_state + d_h | backward d_h_after
rnn | D_OUT + d_state -> d_output[t - 1, :, :] + d_state | backward d_h
lstm | d_h_after, d_c_after = d_state\n -> d_c_after, d_h_after = d_state\n | backward d_h
lstm | D_OUT + d_h_after -> d_h_after ;; d_x[::-1] -> d_x ;; ADDED -> d_step[name] | backward d_h, total, d_x
lstm | d_f = d_c * c_prev -> d_f = d_c ;; d_g * (1 - g * g) -> d_g | step_backward d_f, d_a_g
lstm | d_c_prev = d_c * f -> d_c_prev = d_c ;; d_g * (1 - g * g) -> 1.3 * d_g | step_backward d_c_prev: these have
    causes of their own
lstm | "weight_ih": d_a.T @ x -> "weight_ih": d_a.T @ x * xp.arange(1, 1 + d_a.shape[1])[:, None] | step_backward: No
    known mistake gives your numbers.
lstm | d_f * f * -> 1.1 * d_f * f * | step_backward: d_parameters["bias_ih"] is wrong in block f only
lstm | d_i = d_c * g -> d_i = 1.037 * d_c * g | step_backward: No known mistake gives your numbers.
gru | (d_x_t) -> (d_x_t * (1.1 if t == 1 else 1)) | backward: d_x is wrong in step 1 only
gru | if "bias_ih" in parameters:\n        a_x -> if True:\n        a_x | step: without biases, which `parameters` then
    does not have, it raises KeyError: 'bias_ih'
gru | if "bias_ih" in parameters:\n        a_x -> if True:\n        a_x | step: given: x (3, 5), state (3, 2),
    weight_ih (6, 5), weight_hh (6, 2)
lstm | xp.sum(d_a, axis=0), "bias_hh" -> d_a, "bias_hh" | step_backward: one for each sequence, which are to be
lstm | "bias_ih": xp.sum(d_a -> "bias_ih": 0 * xp.nan + xp.sum(d_a | step_backward: not a number
lstm | d_x, (d_h_prev, d_c_prev) -> None, (None, d_c_prev) ;; d_c_prev = d_c * f -> d_c_prev = d_c | step_backward
    d_c_prev
rnn |     return xp.stack(d_x ->     steps.clear()\n    return xp.stack(d_x | backward: at the first call only
"""


class Planted(NamedTuple):
    """A row of a table."""

    cell: str
    replacements: Replacements
    function: str
    names: tuple[str, ...]
    told: str = ""


def of_stage(cell: str, replacements: Replacements, stage: str) -> Planted:
    """A mistake with what the stages say of it."""
    function, _, told = stage.partition(": ")
    function, _, names = function.partition(" ")
    return Planted(cell.split()[0].lower(), replacements, function, tuple(names.split(", ")) if names else (), told)


EVERY = [of_stage(cell, replacements, stage) for cell, replacements, (stage,) in rows(STAGES)]
EVERY += [of_stage(row.cell, row.replacements, row.stage) for row in (*planted(TABLE), *planted(MORE)) if row.stage]

OTHERWISE = r"""
lstm |     H = h_prev.shape[1] ->     H = h_prev.shape[1]\n    s = sigmoid(xp.concat([a[:, : 2 * H], a[:, 3 * H :]],
    axis=1), xp) ;; i = sigmoid(a[:, :H], xp) -> i = s[:, :H] ;; f = sigmoid(a[:, H : 2 * H], xp) -> f = s[:, H : 2 * H]
    ;; o = sigmoid(a[:, 3 * H :], xp) -> o = s[:, 2 * H :] ;; c = f * c_prev + i * g -> c = c_prev + i * g - (1 - f) *
    c_prev ;; d_a_f = d_f * f * (1 - f) -> d_a_f = d_f * (f - f * f) ;; d_x = d_a @ W_IH -> d_x = xp.einsum('bg,gi->bi',
    d_a, W_IH) ;; return (h, c), (x, h_prev, c_prev, i, f, g, o, tanh_c) -> return [h, c], dict(x=x, h=h_prev, c=c_prev,
    gates=(i, f, g, o), tanh_c=tanh_c) ;; x, h_prev, c_prev, i, f, g, o, tanh_c = kept -> x, h_prev, c_prev, (i, f, g,
    o), tanh_c = kept.values() ;; return xp.stack(output), state, -> return output, list(state), ;; D_END, -> return
    d_x[::-1], list(d_state),
lstm |     h_prev, c_prev = state\n ->     h_prev, c_prev = (part.astype('float32') for part in state)\n    x =
    xp.asarray(x, dtype='float32')\n    parameters = {name: value.astype('float32') for name, value in
    parameters.items()}\n ;;     d_h, d_c_after = d_state\n ->     d_h, d_c_after = (d.astype('float32') for d in
    d_state)\n    parameters = {name: value.astype('float32') for name, value in parameters.items()}\n ;;
    xp.zeros_like(value) -> xp.zeros(value.shape, dtype='float32')
"""
"""What is right, written otherwise: with the gates in one call, other formulas, another tape and lists; in float32."""
OTHER_WAYS, IN_FLOAT32 = (replacements for _, replacements, _ in rows(OTHERWISE))
