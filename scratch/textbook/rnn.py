"""An Elman RNN (Elman 1990), forward and backward through time.

(0)  a = W_ih x + b_ih + W_hh h_prev + b_hh     the pre-activation: what comes in, and what is remembered
(1)  h = φ(a)                                   the new state, which is also the output; φ is tanh or relu

Letters: T steps, B sequences side by side, I input features, H hidden features. `d_name` is the gradient of the loss
with respect to `name`, and has its shape; with `_prev` or `_after` it is only the share that comes through one step.
Every array holds sequences as rows, (B, features), so that W x is written x @ W.T. The arrays may come from NumPy,
PyTorch, CuPy, JAX or any other library of the array API standard; `xp` is its namespace, as numpy or torch, the same in
every call. `parameters` maps PyTorch's names to arrays: weight_ih (H, I), weight_hh (H, H), and either both of bias_ih
(H) and bias_hh (H) or neither. rnn.md derives every line of the way back.
"""

from typing import Any

import numpy as np

Array = Any  # of whichever library `xp` is
Parameters = dict[str, Array]


def step(
    x: Array, state: Array, parameters: Parameters, *, nonlinearity: str = "tanh", xp: Any = np
) -> tuple[Any, Any]:
    """One step. x: (B, I); state: h_prev (B, H). Returns the new state h (B, H), and what step_backward needs.

    nonlinearity: "tanh" or "relu"; ValueError for any other.
    """
    h_prev = state
    a = x @ parameters["weight_ih"].T + h_prev @ parameters["weight_hh"].T  # (0)  B, H
    if "bias_ih" in parameters:
        a = a + parameters["bias_ih"] + parameters["bias_hh"]  # (0)
    if nonlinearity == "tanh":
        h = xp.tanh(a)  # (1)  B, H
    elif nonlinearity == "relu":
        h = xp.where(a <= 0, xp.zeros_like(a), a)  # (1)
    else:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")
    return h, (x, h_prev, h, nonlinearity)


def step_backward(d_state: Array, kept: Any, parameters: Parameters, *, xp: Any = np) -> tuple[Any, Any, Parameters]:
    """The same step, backward. d_state: d_h (B, H), all that the loss says about this step's h.

    Returns d_x (B, I), the gradient of the state before (B, H), and what this one step adds to d_parameters.
    """
    d_h = d_state
    x, h_prev, h, nonlinearity = kept
    if nonlinearity == "tanh":
        d_a = d_h * (1 - h * h)  # (1)  tanh′ = 1 − tanh²
    elif nonlinearity == "relu":
        d_a = xp.where(h <= 0, xp.zeros_like(h), d_h)  # (1)  relu′ = [a > 0] = [h > 0]
    d_x = d_a @ parameters["weight_ih"]  # (0)  B, I  a = x Wᵀ, so d_x = d_a W …
    d_h_prev = d_a @ parameters["weight_hh"]  # (0)  B, H
    d_parameters = {"weight_ih": d_a.T @ x, "weight_hh": d_a.T @ h_prev}  # (0)  … and d_W = d_aᵀ x, summed over B
    if "bias_ih" in parameters:
        d_parameters |= {"bias_ih": xp.sum(d_a, axis=0), "bias_hh": xp.sum(d_a, axis=0)}  # (0)
    return d_x, d_h_prev, d_parameters


def forward(
    x: Array, state: Array, parameters: Parameters, *, nonlinearity: str = "tanh", xp: Any = np
) -> tuple[Array, Any, Any]:
    """All steps. x: (T, B, I); state: h_0 (B, H). Returns output (T, B, H), the last state, and the tape.

    The tape is what `backward` needs: each step's `kept`, and the parameters. The x, states and parameters in it are
    the caller's own, not copies: do not change them before `backward`.
    """
    output, steps = [], []
    for t in range(x.shape[0]):
        state, kept = step(x[t, :, :], state, parameters, nonlinearity=nonlinearity, xp=xp)  # (0), (1)
        output.append(state)
        steps.append(kept)
    return xp.stack(output), state, (steps, parameters)


def backward(d_output: Array, d_state: Array, tape: Any, *, xp: Any = np) -> tuple[Array, Any, Parameters]:
    """All steps, from the last to the first. d_output: (T, B, H); d_state: d_h_n (B, H), of the last state.

    Of a loss on the last output alone give the gradient in one of the two, as the last output is the last h: they add
    up. Returns d_x (T, B, I), the gradient of the first state d_h_0 (B, H), and d_parameters, the sum over all steps.
    """
    steps, parameters = tape
    d_x = []
    d_parameters = {name: xp.zeros_like(value) for name, value in parameters.items()}
    for t in reversed(range(len(steps))):
        d_h = d_output[t, :, :] + d_state  # h is this step's output, and the state of the step after
        d_x_t, d_state, d_step = step_backward(d_h, steps[t], parameters, xp=xp)  # (1), (0)
        d_x.append(d_x_t)
        d_parameters = {name: total + d_step[name] for name, total in d_parameters.items()}  # (0)
    return xp.stack(d_x[::-1]), d_state, d_parameters
