"""A long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers, Schmidhuber and Cummins 2000).

(0)  a = W_ih x + b_ih + W_hh h_prev + b_hh     four blocks of H features: a_i, a_f, a_g, a_o
(1)  i = σ(a_i)                                 how much to write
(2)  f = σ(a_f)                                 how much to remember
(3)  g = tanh(a_g)                              what to write
(4)  o = σ(a_o)                                 how much to show
(5)  c = f ⊙ c_prev + i ⊙ g                     the cell state, which is handed on
(6)  h = o ⊙ tanh(c)                            the hidden state, which is handed on and is also the output

Letters: T steps, B sequences side by side, I input features, H hidden features. `d_name` is the gradient of the loss
with respect to `name`, and has its shape; with `_prev` or `_after` it is only the share that comes through one step.
Every array holds sequences as rows, (B, features), so that W x is written x @ W.T. The arrays may come from NumPy,
PyTorch, CuPy, JAX or any other library of the array API standard; `xp` is its namespace, as numpy or torch, the same in
every call. `parameters` maps PyTorch's names to arrays: weight_ih (4H, I), weight_hh (4H, H), and either both of
bias_ih (4H) and bias_hh (4H) or neither. lstm.md derives every line of the way back.
"""

from typing import Any

import numpy as np

Array = Any  # of whichever library `xp` is
Parameters = dict[str, Array]


def sigmoid(a: Array, xp: Any) -> Array:
    """σ(a) = 1 / (1 + e⁻ᵃ) where a > 0, else eᵃ / (1 + eᵃ): the same number, by a power that is never above 1."""
    power = xp.exp(xp.where(a > 0, -a, a))  # σ  its power, e^−|a|
    return xp.where(a > 0, xp.ones_like(a), power) / (1 + power)  # σ


def step(x: Array, state: Any, parameters: Parameters, *, xp: Any = np) -> tuple[Any, Any]:
    """One step. x: (B, I); state: h_prev, c_prev (B, H) each. Returns (h, c), and what step_backward needs."""
    h_prev, c_prev = state
    a = x @ parameters["weight_ih"].T + h_prev @ parameters["weight_hh"].T  # (0)  B, 4H
    if "bias_ih" in parameters:
        a = a + parameters["bias_ih"] + parameters["bias_hh"]  # (0)
    H = h_prev.shape[1]
    i = sigmoid(a[:, :H], xp)  # (1)  B, H
    f = sigmoid(a[:, H : 2 * H], xp)  # (2)  B, H
    g = xp.tanh(a[:, 2 * H : 3 * H])  # (3)  B, H
    o = sigmoid(a[:, 3 * H :], xp)  # (4)  B, H
    c = f * c_prev + i * g  # (5)  B, H
    tanh_c = xp.tanh(c)  # (6)  B, H
    h = o * tanh_c  # (6)  B, H
    return (h, c), (x, h_prev, c_prev, i, f, g, o, tanh_c)


def step_backward(d_state: Any, kept: Any, parameters: Parameters, *, xp: Any = np) -> tuple[Any, Any, Parameters]:
    """The same step, backward. d_state: d_h, d_c_after (B, H) each: d_h is all that the loss says about this step's h,
    d_c_after only what reaches c through the step after; (6) adds the rest.

    Returns d_x (B, I), the gradient of the state before (d_h_prev, d_c_prev), and what this step adds to d_parameters.
    """
    d_h, d_c_after = d_state
    x, h_prev, c_prev, i, f, g, o, tanh_c = kept
    d_o = d_h * tanh_c  # (6)
    d_c = d_c_after + d_h * o * (1 - tanh_c * tanh_c)  # (6)  c acts through h as well; tanh′ = 1 − tanh²
    d_f = d_c * c_prev  # (5)
    d_i = d_c * g  # (5)
    d_g = d_c * i  # (5)
    d_c_prev = d_c * f  # (5)
    d_a_o = d_o * o * (1 - o)  # (4)  σ′ = σ(1 − σ)
    d_a_g = d_g * (1 - g * g)  # (3)
    d_a_f = d_f * f * (1 - f)  # (2)
    d_a_i = d_i * i * (1 - i)  # (1)
    d_a = xp.concat([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)  # (0)  B, 4H
    d_x = d_a @ parameters["weight_ih"]  # (0)  B, I  a = x Wᵀ, so d_x = d_a W …
    d_h_prev = d_a @ parameters["weight_hh"]  # (0)  B, H
    d_parameters = {"weight_ih": d_a.T @ x, "weight_hh": d_a.T @ h_prev}  # (0)  … and d_W = d_aᵀ x, summed over B
    if "bias_ih" in parameters:
        d_parameters |= {"bias_ih": xp.sum(d_a, axis=0), "bias_hh": xp.sum(d_a, axis=0)}  # (0)
    return d_x, (d_h_prev, d_c_prev), d_parameters


def forward(x: Array, state: Any, parameters: Parameters, *, xp: Any = np) -> tuple[Array, Any, Any]:
    """All steps. x: (T, B, I); state: h_0, c_0 (B, H) each. Returns output (T, B, H), the last state, and the tape.

    The tape is what `backward` needs: each step's `kept`, and the parameters. The x, states and parameters in it are
    the caller's own, not copies: do not change them before `backward`.
    """
    output, steps = [], []
    for t in range(x.shape[0]):
        state, kept = step(x[t, :, :], state, parameters, xp=xp)  # (0) to (6)
        output.append(state[0])
        steps.append(kept)
    return xp.stack(output), state, (steps, parameters)


def backward(d_output: Array, d_state: Any, tape: Any, *, xp: Any = np) -> tuple[Array, Any, Parameters]:
    """All steps, from the last to the first. d_output: (T, B, H); d_state: d_h_n, d_c_n (B, H) each, of the last state.

    Of a loss on the last output alone give the gradient in one of the two, as the last output is the last h: they add
    up. Returns d_x (T, B, I), the gradient of the first state d_h_0, d_c_0, and d_parameters, the sum over all steps.
    """
    steps, parameters = tape
    d_x = []
    d_parameters = {name: xp.zeros_like(value) for name, value in parameters.items()}
    for t in reversed(range(len(steps))):
        d_h_after, d_c_after = d_state
        d_h = d_output[t, :, :] + d_h_after  # h is this step's output, and goes into the step after
        d_x_t, d_state, d_step = step_backward((d_h, d_c_after), steps[t], parameters, xp=xp)  # (6) to (0)
        d_x.append(d_x_t)
        d_parameters = {name: total + d_step[name] for name, total in d_parameters.items()}  # (0)
    return xp.stack(d_x[::-1]), d_state, d_parameters
