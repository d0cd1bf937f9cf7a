"""The lean loop: the textbook's LSTM, with everything outside the loop over time that can stand there.

W_ih x needs no step before it. So it is one product for all T steps, before the loop. Nor do d_x and the gradients of
the parameters: if d_a of every step is kept, each of them is one product after the loop, because a sum over t of
products is the product of what stands side by side. Only W_hh h_prev and W_hhᵀ d_a stay inside.

`scratch/textbook/lstm.py` says the equations, their numbers, and the letters. Biases are required here.
"""

from typing import Any

import numpy as np

from scratch.textbook.lstm import Array, Parameters, sigmoid


def forward(x: Array, state: Any, parameters: Parameters, *, xp: Any = np) -> tuple[Array, Any, Any]:
    """All steps. x: (T, B, I); state: h_0, c_0 (B, H) each. Returns output (T, B, H), the last state, and the tape."""
    h, c = state
    T, (B, H) = x.shape[0], h.shape
    inputs = xp.reshape(x, (T * B, x.shape[2]))
    from_input = inputs @ parameters["weight_ih"].T + (parameters["bias_ih"] + parameters["bias_hh"])  # (0)  T·B, 4H
    output, steps = [], []
    for t in range(T):
        h_prev, c_prev = h, c
        a = from_input[t * B : (t + 1) * B, :] + h_prev @ parameters["weight_hh"].T  # (0)  B, 4H
        i = sigmoid(a[:, :H], xp)  # (1)  B, H
        f = sigmoid(a[:, H : 2 * H], xp)  # (2)  B, H
        g = xp.tanh(a[:, 2 * H : 3 * H])  # (3)  B, H
        o = sigmoid(a[:, 3 * H :], xp)  # (4)  B, H
        c = f * c_prev + i * g  # (5)  B, H
        tanh_c = xp.tanh(c)  # (6)  B, H
        h = o * tanh_c  # (6)  B, H
        output.append(h)
        steps.append((h_prev, c_prev, i, f, g, o, tanh_c))
    return xp.stack(output), (h, c), (inputs, steps, parameters)


def backward(d_output: Array, d_state: Any, tape: Any, *, xp: Any = np) -> tuple[Array, Any, Parameters]:
    """All steps, from the last to the first. d_output: (T, B, H); d_state: d_h_n, d_c_n (B, H) each, of the last state.

    Returns d_x (T, B, I), the gradient of the first state d_h_0, d_c_0, and d_parameters, the sum over all steps.
    """
    inputs, steps, parameters = tape
    d_h, d_c = d_state
    d_a_of_steps = []
    for t in reversed(range(len(steps))):
        _, c_prev, i, f, g, o, tanh_c = steps[t]
        d_h = d_output[t, :, :] + d_h
        d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)  # (6)
        d_a_o = d_h * tanh_c * o * (1 - o)  # (6) (4)
        d_a_g = d_c * i * (1 - g * g)  # (5) (3)
        d_a_f = d_c * c_prev * f * (1 - f)  # (5) (2)
        d_a_i = d_c * g * i * (1 - i)  # (5) (1)
        d_a = xp.concat([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)  # (0)  B, 4H
        d_c = d_c * f  # (5)  of c_prev
        d_h = d_a @ parameters["weight_hh"]  # (0)  of h_prev
        d_a_of_steps.append(d_a)
    d_a = xp.concat(d_a_of_steps[::-1], axis=0)  # T·B, 4H
    h_prev = xp.concat([step[0] for step in steps], axis=0)  # T·B, H
    d_x = xp.reshape(d_a @ parameters["weight_ih"], (*d_output.shape[:2], inputs.shape[1]))  # (0)  T, B, I
    d_parameters = {"weight_ih": d_a.T @ inputs, "weight_hh": d_a.T @ h_prev}  # (0)
    d_parameters |= {"bias_ih": xp.sum(d_a, axis=0), "bias_hh": xp.sum(d_a, axis=0)}  # (0)
    return d_x, (d_h, d_c), d_parameters
