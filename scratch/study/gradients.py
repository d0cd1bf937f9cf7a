"""Vanishing and exploding gradients (Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013), measured.

The state s is h for an RNN, and for an LSTM (h, c) as one column: S numbers. One step and many have the Jacobians

(1)  J_t = ∂s_t/∂s_{t−1}                                       S, S; for an RNN it is diag(φ′(a_t)) W_hh
(2)  ∂s_T/∂s_{T−k} = J_T J_{T−1} ⋯ J_{T−k+1}                   over a distance of k steps

so that a loss L that reads the last state alone has at the distance k the gradient

(3)  ∂L/∂s_{T−k} = J_{T−k+1}ᵀ ⋯ J_Tᵀ ∂L/∂s_T

For an RNN there is a bound (Pascanu, Mikolov and Bengio 2013, section 2.1). With σ_max the largest singular value and
γ the largest slope of the nonlinearity, which is 1 for tanh and for relu,

(4)  ‖∂s_T/∂s_{T−k}‖ ≤ (γ · σ_max(W_hh))ᵏ,   because   ‖J_t‖ ≤ ‖diag(φ′(a_t))‖ · ‖W_hh‖ ≤ γ · σ_max(W_hh)

For an LSTM the landmark is the path that never leaves the cell state,

(5)  f_T ⊙ f_{T−1} ⊙ ⋯ ⊙ f_{T−k+1}                              H; (textbook/lstm.md, section 4)

The spectral radius ρ, the largest |eigenvalue|, says how powers of one matrix grow in the long run; σ_max ≥ ρ says how
much one product can stretch a vector. For a multiple of an orthogonal matrix the two are equal. For one of independent
Gaussian numbers σ_max tends to 2ρ as H grows: with ρ = 1 the bound (4) grows like 2ᵏ.

The Jacobians are made by `step_tangent`, from causes to effects, and not by the backward pass. That the two agree by
(3) is a finding, which the study reports. The steps themselves are those of the library's own pass (trace.py).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import nn, optim
from ..nn.checks import without_warnings
from ..nn.recurrent import Recurrent
from ..types import Array
from .models import Model, Network, trials
from .trace import Trace, trace

GAMMA = 1.0  # the largest slope of tanh, and of relu


@without_warnings
def jacobians(module: Recurrent[Any], x: Array, hx: Any = None) -> Array:
    """J_1, …, J_T of (1) for one sequence: (T, S, S), with S = H for an RNN and 2H for an LSTM, h before c.

    module: one layer, one direction, no projection; it stays as it is. x: (T, I). hx: the state before, as the module
    takes it for one sequence; zeros if left out.

    Raises ValueError for another kind of module or more than one sequence, and what the module raises for an x or a
    state that does not fit.
    """
    steps = traced(module, x, hx).steps[0]
    cell, W_hh = module.cell, module.state_dict()["weight_hh_l0"]
    parts, H = len(cell.state), module.hidden_size
    one_each = np.eye(parts * H, dtype=module.dtype)  # column j: number j of the state before changes, by 1
    state_prev_dot = tuple(one_each.reshape(parts, H, -1))  # H, S each
    from_state_dot = (W_hh @ state_prev_dot[0]).reshape(len(cell.gates), H, -1)  # the same at every step
    a_dot = cell.joined(np.zeros_like(from_state_dot), from_state_dot)
    states_dot = (cell.step_tangent(a_dot, state_prev_dot, step.slopes) for step in steps)
    return np.array([np.concatenate(state_dot) for state_dot in states_dot])  # (1)


def products(steps: Array) -> Array:
    """(2) for the distances 1, …, T. steps: (T, S, S), the first step first. Returns (T, S, S)."""
    found = np.empty_like(steps)
    product = np.eye(steps.shape[-1], dtype=steps.dtype)
    for k, J in enumerate(steps[::-1]):
        found[k] = product = product @ J  # (2)
    return found


def pulled_back(steps: Array, d_state: Array) -> Array:
    """(3) for the distances 0, …, T. steps: (T, S, S), d_state: (S,), of the last step. Returns (T + 1, S)."""
    gradients = [d_state]
    for J in steps[::-1]:
        gradients.append(J.T @ gradients[-1])  # (3)
    return np.array(gradients)


def backward_gradients(module: Recurrent[Any], x: Array, d_state: Array, hx: Any = None) -> Array:
    """(3) by the library's own backward pass, for the distances 0, …, T: (T + 1, S).

    d_state: (S,), the gradient with respect to the last state. The other arguments, and what it raises: `jacobians`.
    """
    d_parts = np.reshape(d_state, (len(module.cell.state), 1, module.hidden_size))
    found = traced(module, x, hx, module._join(tuple(d_parts)))
    d_initial = np.concatenate(module._split("d_initial", found.d_initial), axis=None)
    return np.array([*(np.concatenate(step.d_state)[:, 0] for step in reversed(found.steps[0])), d_initial])


def forget_path(steps: Array) -> Array:
    """(5) for the distances 1, …, T. steps: (T, 2H, 2H), of an LSTM. Returns (T, H).

    With h_prev held fixed, c depends on c_prev through f alone: the lower right blocks are the diag(f_t).
    """
    H = steps.shape[-1] // 2
    forget = steps[:, H:, H:].diagonal(axis1=1, axis2=2)  # T, H
    found: Array = forget[::-1].cumprod(axis=0)  # (5)
    return found


@without_warnings
def bound(stretch: Any, distances: Any) -> Array:
    """The right side of (4). stretch: σ_max(W_hh), of an RNN. distances: numbers of steps. Infinite beyond float64."""
    return np.asarray((GAMMA * stretch) ** np.asarray(distances, np.float64))  # (4)


def bands(matrices: Array) -> Array:
    """The largest, the median and the smallest singular value of each matrix: (…, S, S) to (…, 3).

    A singular value below S·ε times the largest is NaN: it is lost in the rounding of that one, as the smaller ones of
    a long product soon are. So is the 0 that a relu unit makes when it is off, unless the whole matrix is 0.
    """
    S = matrices.shape[-1]
    found = np.linalg.svd(matrices, compute_uv=False)  # …, S, the largest first
    chosen = np.stack([found[..., 0], np.median(found, axis=-1), found[..., -1]], axis=-1)
    largest = found[..., :1]
    lost = (chosen <= S * np.finfo(matrices.dtype).eps * largest) & (largest > 0)
    return np.where(lost, np.nan, chosen)


def traced(module: Recurrent[Any], x: Array, hx: Any, d_state: Any = None) -> Trace:
    """The steps of one sequence. Raises what `jacobians` raises."""
    if module.num_layers > 1 or module.bidirectional or module.proj_size:
        raise ValueError(f"expected one layer in one direction without a projection, got {module!r}")
    if np.ndim(x) != 2:
        raise ValueError(f"expected x of shape (T, {module.input_size}), got {np.shape(x)}")
    return trace(module, x, hx, None, d_state)


FORGET_BIASES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0)

MODELS = (
    *(Model(name, name) for name in nn.RECURRENCES),
    *(
        Model(f"{name}, b_f = {bias:g}".replace("-", "−"), name, bias)
        for name, kind in nn.RECURRENCES.items()
        if "f" in kind.cell.gates
        for bias in FORGET_BIASES
    ),
)

RADII = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)


@without_warnings
def geometric_mean(values: Array, axis: int | None = None) -> Array:
    """Over an axis, or over everything; 0 if a value is."""
    return np.asarray(np.exp(np.log(values).mean(axis=axis)))


class Findings(NamedTuple):
    """What `study` measured, of M models, R radii and N draws over T steps. Distances run along the last axis."""

    models: tuple[Model, ...]
    radii: Array  # R
    gradient: Array  # M, R, N, T + 1   the norm of (3) at the distances 0 … T; L = uᵀ h_T with a random ‖u‖ = 1
    step: Array  # M, R, N, T, 3        the bands of the J_T, …, J_1
    product: Array  # M, R, N, T, 3     the bands of (2) at the distances 1 … T
    stretch: Array  # M, R, N           σ_max(W_hh); NaN where (4) does not hold
    forget: Array  # M, R, N, T         the largest of (5) at the distances 1 … T; NaN where there is no c
    difference: Array  # M, R, N        the largest difference of the backward pass from (3), relative to (3)

    @property
    def rate(self) -> Array:
        """The factor by which a step changes the norm of ∂s_T/∂s_0, as a geometric mean over all steps: (M, R, N)."""
        return np.asarray(self.product[..., -1, 0] ** (1 / self.product.shape[3]))


def study(
    models: Sequence[Model] = MODELS,
    radii: Sequence[float] = RADII,
    *,
    hidden_size: int = 32,
    input_size: int = 8,
    steps: int = 100,
    draws: int = 3,
    orthogonal: bool = False,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> Findings:
    """Measure every model at every radius, over a sequence of standard normal numbers that begins with a zero state.

    Each draw has weights, a sequence and an upstream gradient of its own, the same for all models and radii as far as
    their shapes allow. progress: is called M·R·N times. Raises FloatingPointError if numbers leave the range of
    float64, as those of a relu RNN do over enough steps.
    """

    def measured(point: tuple[Model, float, int]) -> tuple[Any, ...]:
        model, radius, n = point
        drawn = model._replace(radius=radius, orthogonal=orthogonal)
        return measure(drawn, input_size, hidden_size, steps, np.random.default_rng([seed, n]))

    found = trials(measured, models, radii, range(draws), progress=progress)
    return Findings(tuple(models), np.array(radii), *found)


@without_warnings
def measure(model: Model, input_size: int, hidden_size: int, T: int, rng: np.random.Generator) -> tuple[Any, ...]:
    """The fields of `Findings` from gradient on, for one draw."""
    x, u = rng.standard_normal((T, input_size)), rng.standard_normal(hidden_size)
    module = model.build(input_size, hidden_size, rng)
    J = jacobians(module, x)
    d_state = np.zeros(J.shape[-1])
    d_state[:hidden_size] = u / np.linalg.norm(u)  # L reads h, not c
    J_products, gradients, expected = products(J), backward_gradients(module, x, d_state), pulled_back(J, d_state)
    if not (np.isfinite(J_products).all() and np.isfinite(gradients).all()):
        raise FloatingPointError(
            f"expected gradients in the range of float64, got larger ones: {model.name}, "
            f"spectral radius {model.radius:g}, {T} steps"
        )
    gradient = np.linalg.norm(gradients, axis=-1)
    off = np.linalg.norm(gradients - expected, axis=-1) / np.maximum(gradient, np.finfo(float).tiny)
    stretch = np.linalg.norm(module.state_dict()["weight_hh_l0"], 2) if model.is_bounded else np.nan
    forget = forget_path(J).max(axis=-1) if "c" in model.state else np.full(T, np.nan)
    return gradient, bands(J[::-1]), bands(J_products), stretch, forget, off.max()


class Training(NamedTuple):
    """K trainings with one limit of the norm, over n updates; NaN for what is not finite."""

    max_norm: float  # infinity for no clipping
    loss: Array  # K, n
    norm: Array  # K, n   of all gradients together, before clipping

    @property
    def name(self) -> str:
        """What was done to the gradients."""
        return "not clipped" if np.isinf(self.max_norm) else f"clipped to {self.max_norm:g}"

    @property
    def length(self) -> Array:
        """The norm after clipping, to which the length of plain SGD's step is proportional: (K, n)."""
        return np.minimum(self.norm, self.max_norm)


def latch(batch_size: int, steps: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The latching problem (after Bengio, Simard and Frasconi 1994): to keep a sign through noise.

    Each sequence shows −1 or +1 in its first three steps, with noise of 0.3 over all steps. The question comes at its
    end. Returns x: (T, B, 1), and the answers, 0 for −1 and 1 for +1: (B,).
    """
    x = 0.3 * rng.standard_normal((steps, batch_size, 1))
    shown = rng.integers(0, 2, batch_size)
    x[:3, :, 0] += 2 * shown - 1
    return x, shown


@without_warnings
def train_latch(max_norm: float, updates: int, rng: np.random.Generator, steps: int = 50) -> tuple[Array, Array]:
    """Train a tanh RNN to latch, with plain SGD. Returns the loss and the norm of the gradients at every update.

    Both are (updates,), and NaN where one of them is not finite. steps: T.
    """
    rnn = Model("RNN tanh", "RNN tanh", radius=1.5).build(1, 32, rng)
    network = Network(rnn, 2, nn.CrossEntropyLoss(), 1, rng)
    optimizer = optim.SGD(network.parameters(), lr=0.1)
    made = np.array([network.update(optimizer, *latch(16, steps, rng), max_norm) for _ in range(updates)]).T
    losses, norms = np.where(np.isfinite(made).all(axis=0), made, np.nan)
    return losses, norms


def clipping(
    max_norms: Sequence[float] = (np.inf, 1.0),
    *,
    trainings: int = 5,
    updates: int = 400,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> tuple[Training, ...]:
    """Train with each of the limits, from the same weights and over the same sequences. progress: after each one."""

    def train(point: tuple[float, int]) -> tuple[Array, Array]:
        return train_latch(point[0], updates, np.random.default_rng([seed, point[1]]))

    results = trials(train, max_norms, range(trainings), progress=progress)
    return tuple(Training(*each) for each in zip(map(float, max_norms), *results, strict=True))
