"""A gated recurrent unit (Cho et al. 2014), in PyTorch's form: the reset gate acts after the product with W_hh.

(0)  a_x = W_ih x + b_ih                        three blocks of H features: a_r_x, a_z_x, a_n_x
     a_h = W_hh h_prev + b_hh                   three blocks of H features: a_r_h, a_z_h, a_n_h
(1)  r = σ(a_r),  a_r = a_r_x + a_r_h           reset: how much of the state goes into the candidate
(2)  z = σ(a_z),  a_z = a_z_x + a_z_h           update: how much of the state to keep
(3)  n = tanh(a_n_x + r ⊙ a_n_h)                the candidate
(4)  h = (1 − z) ⊙ n + z ⊙ h_prev               the new state, which is also the output

Letters: T steps, B sequences side by side, I input features, H hidden features. `d_name` is the gradient of the loss
with respect to `name`, and has its shape; with `_prev` or `_after` it is only the share that comes through one step.
Every array holds sequences as rows, (B, features), so that W x is written x @ W.T. The arrays may come from NumPy,
PyTorch, CuPy, JAX or any other library of the array API standard; `xp` is its namespace, as numpy or torch, the same in
every call. `parameters` maps PyTorch's names to arrays: weight_ih (3H, I), weight_hh (3H, H), and either both of
bias_ih (3H) and bias_hh (3H) or neither. gru.md derives every line of the way back.
"""

from typing import Any

import numpy as np

Array = Any  # of whichever library `xp` is
Parameters = dict[str, Array]


def sigmoid(a: Array, xp: Any) -> Array:
    """σ(a) = 1 / (1 + e⁻ᵃ) where a > 0, else eᵃ / (1 + eᵃ): the same number, by a power that is never above 1."""
    power = xp.exp(xp.where(a > 0, -a, a))  # σ  its power, e^−|a|
    return xp.where(a > 0, xp.ones_like(a), power) / (1 + power)  # σ


def step(x: Array, state: Array, parameters: Parameters, *, xp: Any = np) -> tuple[Any, Any]:
    """One step. x: (B, I); state: h_prev (B, H). Returns the new state h (B, H), and what step_backward needs."""
    h_prev = state
    a_x = x @ parameters["weight_ih"].T  # (0)  B, 3H
    a_h = h_prev @ parameters["weight_hh"].T  # (0)  B, 3H
    if "bias_ih" in parameters:
        a_x = a_x + parameters["bias_ih"]  # (0)
        a_h = a_h + parameters["bias_hh"]  # (0)
    H = h_prev.shape[1]
    a_n_h = a_h[:, 2 * H :]  # (0)  B, H
    r = sigmoid(a_x[:, :H] + a_h[:, :H], xp)  # (1)  B, H
    z = sigmoid(a_x[:, H : 2 * H] + a_h[:, H : 2 * H], xp)  # (2)  B, H
    n = xp.tanh(a_x[:, 2 * H :] + r * a_n_h)  # (3)  B, H
    h = (1 - z) * n + z * h_prev  # (4)  B, H
    return h, (x, h_prev, a_n_h, r, z, n)


def step_backward(d_state: Array, kept: Any, parameters: Parameters, *, xp: Any = np) -> tuple[Any, Any, Parameters]:
    """The same step, backward. d_state: d_h (B, H), all that the loss says about this step's h.

    Returns d_x (B, I), the gradient of the state before (B, H), and what this one step adds to d_parameters.
    """
    d_h = d_state
    x, h_prev, a_n_h, r, z, n = kept
    d_n = d_h * (1 - z)  # (4)
    d_z = d_h * (h_prev - n)  # (4)  h = n + z ⊙ (h_prev − n)
    d_a_n_x = d_n * (1 - n * n)  # (3)  tanh′ = 1 − tanh²
    d_a_n_h = d_a_n_x * r  # (3)
    d_r = d_a_n_x * a_n_h  # (3)
    d_a_z = d_z * z * (1 - z)  # (2)  σ′ = σ(1 − σ)
    d_a_r = d_r * r * (1 - r)  # (1)
    d_a_x = xp.concat([d_a_r, d_a_z, d_a_n_x], axis=1)  # (0)  B, 3H
    d_a_h = xp.concat([d_a_r, d_a_z, d_a_n_h], axis=1)  # (0)  B, 3H  other than d_a_x in n alone
    d_x = d_a_x @ parameters["weight_ih"]  # (0)  B, I  a = x Wᵀ, so d_x = d_a W …
    d_h_prev = d_h * z + d_a_h @ parameters["weight_hh"]  # (4), (0)  h_prev acts directly, too
    d_parameters = {"weight_ih": d_a_x.T @ x, "weight_hh": d_a_h.T @ h_prev}  # (0)  … and d_W = d_aᵀ x, summed over B
    if "bias_ih" in parameters:
        d_parameters |= {"bias_ih": xp.sum(d_a_x, axis=0), "bias_hh": xp.sum(d_a_h, axis=0)}  # (0)
    return d_x, d_h_prev, d_parameters


def forward(x: Array, state: Array, parameters: Parameters, *, xp: Any = np) -> tuple[Array, Any, Any]:
    """All steps. x: (T, B, I); state: h_0 (B, H). Returns output (T, B, H), the last state, and the tape.

    The tape is what `backward` needs: each step's `kept`, and the parameters. The x, states and parameters in it are
    the caller's own, not copies: do not change them before `backward`.
    """
    output, steps = [], []
    for t in range(x.shape[0]):
        state, kept = step(x[t, :, :], state, parameters, xp=xp)  # (0) to (4)
        output.append(state)
        steps.append(kept)
    return xp.stack(output), state, (steps, parameters)


def backward(d_output: Array, d_state: Array, tape: Any, *, xp: Any = np) -> tuple[Array, Any, Parameters]:
    """All steps, from the last to the first. d_output: (T, B, H); d_state: d_h of the last state (B, H).

    Of a loss on the last output alone give the gradient in one of the two, as the last output is the last h: they add
    up. Returns d_x (T, B, I), the gradient of the first state d_h_0 (B, H), and d_parameters, the sum over all steps.
    """
    steps, parameters = tape
    d_x = []
    d_parameters = {name: xp.zeros_like(value) for name, value in parameters.items()}
    for t in reversed(range(len(steps))):
        d_h = d_output[t, :, :] + d_state  # h is this step's output, and the state of the step after
        d_x_t, d_state, d_step = step_backward(d_h, steps[t], parameters, xp=xp)  # (4) to (0)
        d_x.append(d_x_t)
        d_parameters = {name: total + d_step[name] for name, total in d_parameters.items()}  # (0)
    return xp.stack(d_x[::-1]), d_state, d_parameters
